#include "backends/s3/s3_options.h"

#include "backends/s3/aws_profile.h"
#include "backends/s3/endpoint.h"
#include "backends/s3/sigv4.h"
#include "content/base/buf.h"
#include "content/base/encode.h"
#include "content/base/mem.h"

enum { HEADER_MAX = 64 * 1024 };

int s3_options_region(const struct s3_options *o, char **ret_region, struct stow_err *err)
{
	CLEANUP(aws_profile_free) struct aws_profile profile = { 0 };
	const char *region;

	if (*o->region) {
		*ret_region = x_strdup(o->region);
		return 0;
	}
	if (aws_profile_read(o->credentials.environment, o->credentials.profile, &profile, err) < 0 &&
	    !(o->files_may_come && *o->endpoint))
		return stow_wrap(err, "looking for the region");
	region = aws_profile_get(&profile, "region");
	if (region && !s3_region_ok(region))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "profile %s in %s has a region that is none",
				 profile.name, profile.origin);
	if (!region && *o->endpoint)
		region = "us-east-1";
	if (!region)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "no region: set remote.s3.region or AWS_REGION, or the region of profile %s",
				 profile.name);
	*ret_region = x_strdup(region);
	return 0;
}

/* --- headers --- */

/* Appends one pair as a header wants it. */
typedef int append_pair(struct buf *b, const char *name, const char *value, struct stow_err *err);

/* All pairs; NULL for none. The texts have limits (conf/), and what is made of them is within the cap. */
static char *join_pairs(const char *pairs, const char *before, append_pair *append, const char *after)
{
	CLEANUP(freep) char *text = x_strdup(pairs);
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	char *rest = NULL;
	int r = 0;

	buf_init(&b, HEADER_MAX);
	for (char *pair = strtok_r(text, ",", &rest); pair && r == 0; pair = strtok_r(NULL, ",", &rest)) {
		char *equals = strchr(pair, '=');
		assert(equals);
		*equals = 0;
		r = append(&b, pair, equals + 1, &err);
	}
	assert(r == 0);
	if (b.len == 0)
		return NULL;
	return x_asprintf("%s%.*s%s", before, (int)b.len, (const char *)b.p, after);
}

static int append_tag(struct buf *b, const char *name, const char *value, struct stow_err *err)
{
	if (b->len > 0 && buf_printf(b, err, "&") < 0)
		return -1;
	if (sigv4_encode(b, name, false, err) < 0 || buf_printf(b, err, "=") < 0)
		return -1;
	return sigv4_encode(b, value, false, err);
}

/* The configuration lets no character in that JSON would have to escape. */
static int append_member(struct buf *b, const char *name, const char *value, struct stow_err *err)
{
	return buf_printf(b, err, "%s\"%s\":\"%s\"", b->len > 0 ? "," : "", name, value);
}

char *s3_tagging_header(const char *pairs)
{
	return join_pairs(pairs, "", append_tag, "");
}

char *s3_kms_context_header(const char *pairs)
{
	CLEANUP(freep) char *json = join_pairs(pairs, "{", append_member, "}");
	if (!json)
		return NULL;
	size_t n = strlen(json);
	char *out = x_malloc(BASE64_SIZE(n));
	base64_encode(out, (const uint8_t *)json, n);
	return out;
}
