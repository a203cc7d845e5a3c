/* Which provider it is: the first one that is configured, and no other (creds.h). */
#include "backends/s3/creds_internal.h"
#include "content/base/mem.h"

void creds_provider_free(struct creds_provider *p)
{
	if (!p)
		return;
	free(p->detail);
	p->free(p);
}

int creds_choose(const struct creds_context *cx, const struct s3_credential_options *o,
		 struct creds_provider **ret_p, struct buf *trail, struct stow_err *err)
{
	static const struct {
		const char *name;
		creds_find *find;
	} order[] = {
		{ "configuration", creds_find_configured }, { "environment", creds_find_environment },
		{ "profile", creds_find_profile },          { "web identity", creds_find_web_identity },
		{ "container", creds_find_container },      { "instance", creds_find_instance },
	};

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		struct creds_provider *found = NULL;
		char why[CREDS_WHY_MAX] = "";
		if (order[i].find(cx, o, &found, why, err) < 0)
			return stow_wrap(err, "credentials from the %s", order[i].name);
		if (found) {
			*ret_p = found;
			return 0;
		}
		if (buf_printf(trail, err, "not from the %s: %s\n", order[i].name, why) < 0)
			return -1;
	}
	return stow_fail(err, STOW_FAILED_PRECONDITION,
			 "no credentials are configured: no access_key, AWS_ACCESS_KEY_ID, profile, "
			 "AWS_WEB_IDENTITY_TOKEN_FILE or container endpoint, and AWS_EC2_METADATA_DISABLED");
}
