/* A role, for a token that says who we are: AssumeRoleWithWebIdentity of AWS's Security Token Service, as
 * EKS sets it up for a pod ("IAM roles for service accounts"), and as other servers have it.
 *
 * After the AWS STS API Reference and "Assume role credential provider" in the AWS SDKs and Tools
 * Reference Guide. The request is not signed: the token is what counts. */
#include "backends/s3/creds_internal.h"
#include "backends/s3/creds_sts_answer.h"
#include "backends/s3/endpoint.h"
#include "backends/s3/file.h"
#include "backends/s3/sigv4.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <ctype.h>

enum { FORM_MAX = 256 * 1024, SESSION_NAME_MAX = 64 };

struct sts {
	struct creds_provider base;
	char *role_arn, *token_file, *session_name;
};

/* --- where it is --- */

/* The domain of the region's endpoints for IPv4 and IPv6; only some partitions have them. */
static const char *dual_stack_domain(const char *region)
{
	const char *domain = s3_aws_domain(region);
	if (strcmp(domain, "amazonaws.com") == 0)
		return "api.aws";
	return strcmp(domain, "amazonaws.com.cn") == 0 ? "api.amazonwebservices.com.cn" : domain;
}

char *creds_sts_url(const struct creds_context *cx)
{
	bool ignore = aws_variable_is_true(cx->environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	const char *url = creds_variable(cx, "AWS_ENDPOINT_URL_STS");
	const char *mode = creds_variable(cx, "AWS_STS_REGIONAL_ENDPOINTS");

	if (!url)
		url = creds_variable(cx, "AWS_ENDPOINT_URL");
	if (url && !ignore)
		return x_asprintf("%s%s", url, url[strlen(url) - 1] == '/' ? "" : "/");
	if (!*cx->region || (mode && strcasecmp(mode, "legacy") == 0))
		return x_strdup("https://sts.amazonaws.com/");
	return x_asprintf("https://sts%s.%s.%s/", cx->fips ? "-fips" : "", cx->region,
			  cx->dual_stack ? dual_stack_domain(cx->region) : s3_aws_domain(cx->region));
}

/* --- asking --- */

static int append_field(struct buf *b, const char *name, const char *value, struct stow_err *err)
{
	if (buf_printf(b, err, "&%s=", name) < 0)
		return -1;
	return sigv4_encode(b, value, false, err);
}

static int make_form(const struct sts *s, struct buf *b, struct stow_err *err)
{
	CLEANUP(freep) char *token = NULL;

	/* At each fetch: the token is short-lived, and the file is written anew. */
	if (file_read_word(s->token_file, &token, err) < 0)
		return stow_wrap(err, "the web identity token");
	if (buf_printf(b, err, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15") < 0 ||
	    append_field(b, "RoleArn", s->role_arn, err) < 0 ||
	    append_field(b, "RoleSessionName", s->session_name, err) < 0 ||
	    append_field(b, "WebIdentityToken", token, err) < 0)
		return -1;
	return buf_append(b, "", 1, err);
}

/* STS could not reach who has signed the token; it says so with a 400, and asks us to try again. */
static bool is_passing(const struct creds_sts_error *e)
{
	return strcmp(e->code, "IDPCommunicationError") == 0 || strcmp(e->code, "Throttling") == 0 ||
	       strcmp(e->code, "RequestLimitExceeded") == 0;
}

static int judge(const struct sts *s, const char *url, const struct http_response *r,
		 struct creds_value *ret_v, struct stow_err *err)
{
	struct creds_sts_error said;
	const char *text = r->body.p ? (const char *)r->body.p : "";

	if (r->status == 200) {
		if (creds_sts_read(text, r->body.len, ret_v, err) < 0)
			return stow_wrap(err, "%s", url);
		return 0;
	}
	creds_sts_read_error(text, r->body.len, &said);
	if (!*said.code)
		return creds_refused(url, r, err);
	return stow_fail(err, is_passing(&said) ? STOW_UNAVAILABLE : STOW_PERMISSION_DENIED,
			 "%s: AssumeRoleWithWebIdentity of %.120s: HTTP %d %s: %s", url, s->role_arn,
			 r->status, said.code, said.message);
}

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct sts *s = CONTAINER_OF(p, struct sts, base);
	CLEANUP(http_response_free) struct http_response r;
	CLEANUP(buf_free) struct buf form;
	CLEANUP(freep) char *url = creds_sts_url(p->cx);
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded", NULL };

	http_response_init(&r);
	buf_init(&form, FORM_MAX);
	if (make_form(s, &form, err) < 0)
		return -1;
	const struct creds_request rq = {
		.what = url,
		.method = "POST",
		.url = url,
		.headers = headers,
		.body = (const char *)form.p,
		.connect_ns = 5 * NSEC_PER_SEC,
		.total_ns = 15 * NSEC_PER_SEC,
		.attempts = 3,
	};
	if (creds_request(p->cx, &rq, &r, NULL, err) < 0)
		return -1;
	return judge(s, url, &r, ret_v, err);
}

/* --- life --- */

static void sts_free(struct creds_provider *p)
{
	struct sts *s = CONTAINER_OF(p, struct sts, base);
	free(s->role_arn);
	free(s->token_file);
	free(s->session_name);
	free(s);
}

/* "stowage-" and this machine's name, for whoever reads the logs of STS; only letters that it takes. */
static char *default_session_name(void)
{
	char host[SESSION_NAME_MAX] = "";
	char *name;

	(void)gethostname(host, sizeof(host) - 1);
	name = x_asprintf("stowage-%.*s", SESSION_NAME_MAX - 8, host);
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("=,.@-_", *p))
			*p = '-';
	return name;
}

struct creds_provider *creds_sts_new(const char *name, const char *role_arn, const char *token_file,
				     const char *session_name)
{
	struct sts *s = x_calloc(1, sizeof(*s));
	s->base = (struct creds_provider){ .name = name, .fetch = fetch, .free = sts_free };
	s->base.detail = x_asprintf("role %s, token in %s", role_arn, token_file);
	s->role_arn = x_strdup(role_arn);
	s->token_file = x_strdup(token_file);
	s->session_name = session_name ? x_strdup(session_name) : default_session_name();
	return &s->base;
}

CREDS_FIND(creds_find_web_identity)
{
	const char *file = creds_variable(cx, "AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = creds_variable(cx, "AWS_ROLE_ARN");

	(void)o;
	if (!file && !role) {
		snprintf(why, CREDS_WHY_MAX, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
		return 0;
	}
	if (!file || !role)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is set, and %s is not",
				 file ? "AWS_WEB_IDENTITY_TOKEN_FILE" : "AWS_ROLE_ARN",
				 file ? "AWS_ROLE_ARN" : "AWS_WEB_IDENTITY_TOKEN_FILE");
	*ret_p = creds_sts_new("web identity", role, file, creds_variable(cx, "AWS_ROLE_SESSION_NAME"));
	return 0;
}
