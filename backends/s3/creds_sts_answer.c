#include "backends/s3/creds_sts_answer.h"

#include "backends/s3/rfc3339.h"
#include "backends/s3/xml.h"
#include "content/base/mem.h"
#include "content/base/text.h"

/* The last two names of a path: "Credentials/AccessKeyId". */
static const char *tail(const char *path)
{
	const char *last = strrchr(path, '/');
	const char *before = last ? memrchr(path, '/', (size_t)(last - path)) : NULL;
	return before ? before + 1 : path;
}

struct credentials {
	struct creds_value value;
	char *expiration;
};

static void credentials_free(struct credentials *c)
{
	creds_value_free(&c->value);
	free(c->expiration);
}

static int take_member(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct credentials *c = arg;
	const struct {
		const char *name;
		char **to;
	} members[] = {
		{ "Credentials/AccessKeyId", &c->value.access_key },
		{ "Credentials/SecretAccessKey", &c->value.secret_key },
		{ "Credentials/SessionToken", &c->value.session_token },
		{ "Credentials/Expiration", &c->expiration },
	};

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (strcmp(tail(path), members[i].name) != 0)
			continue;
		if (*members[i].to)
			return stow_fail(err, STOW_DATA_LOSS, "the answer has two %s", members[i].name);
		*members[i].to = x_strdup(text);
	}
	return 0;
}

int creds_sts_read(const char *text, size_t n, struct creds_value *ret_v, struct stow_err *err)
{
	CLEANUP(credentials_free) struct credentials c = { 0 };

	if (xml_walk(text, n, take_member, &c, err) < 0)
		return -1;
	if (!c.value.access_key || !c.value.secret_key || !c.value.session_token || !c.expiration)
		return stow_fail(err, STOW_DATA_LOSS, "the answer has no Credentials, or not all of them");
	if (rfc3339_read(c.expiration, &c.value.expires_ns, err) < 0)
		return stow_wrap(err, "the answer's Expiration");
	if (creds_value_check(&c.value, "the answer", err) < 0)
		return -1;
	*ret_v = c.value;
	c.value = (struct creds_value){ 0 };
	return 0;
}

static int take_error(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct creds_sts_error *e = arg;

	(void)err;
	if (strcmp(tail(path), "Error/Code") == 0)
		snprintf(e->code, sizeof(e->code), "%s", text);
	else if (strcmp(tail(path), "Error/Message") == 0)
		text_quote(e->message, sizeof(e->message), text, strlen(text));
	return 0;
}

void creds_sts_read_error(const char *text, size_t n, struct creds_sts_error *ret_e)
{
	struct creds_sts_error e = { 0 };
	struct stow_err err;

	*ret_e = (struct creds_sts_error){ 0 };
	if (xml_walk(text, n, take_error, &e, &err) < 0)
		return;
	for (char *p = e.code; *p; p++)
		if (*p <= 0x20 || *p > 0x7e)
			*p = '?';
	*ret_e = e;
}
