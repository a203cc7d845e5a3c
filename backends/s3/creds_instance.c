/* The role of the machine, from EC2's instance metadata service; version 2 of it only: version 1 gives
 * keys to whoever can make this machine fetch a URL.
 *
 * After "Use the Instance Metadata Service" in the EC2 User Guide and "IMDS credential provider" in the
 * AWS SDKs and Tools Reference Guide. */
#include "backends/s3/creds_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <ctype.h>

#define ROLES "/latest/meta-data/iam/security-credentials/"

struct instance {
	struct creds_provider base;
	char *origin; /* "http://169.254.169.254" */
};

/* GET or PUT of a path, with one header. */
static int ask(const struct instance *in, const char *method, const char *path, const char *header,
	       struct http_response *ret_r, enum http_failure *ret_failure, struct stow_err *err)
{
	CLEANUP(freep) char *url = x_asprintf("%s%s", in->origin, path);
	CLEANUP(freep) char *what = x_asprintf("the instance metadata service: %s %s", method, url);
	const char *headers[] = { header, NULL };
	const struct creds_request rq = {
		.what = what,
		.method = method,
		.url = url,
		.headers = headers,
		.no_proxy = true,
		.connect_ns = NSEC_PER_SEC,
		.total_ns = 2 * NSEC_PER_SEC,
		.attempts = 3,
	};
	return creds_request(in->base.cx, &rq, ret_r, ret_failure, err);
}

/* What kept the token from coming, in words that help. */
static int explain_token(const struct instance *in, enum http_failure failure, struct stow_err *err)
{
	switch (failure) {
	case HTTP_TIMEOUT:
		/* The answer's hops are counted, and the last one is used up before it reaches a container.
		 */
		return stow_fail(
			err, STOW_UNAVAILABLE,
			"the instance metadata service at %s does not answer the request for a token; "
			"from within a container the instance's hop limit must be 2: aws ec2 "
			"modify-instance-metadata-options --http-put-response-hop-limit 2",
			in->origin);
	case HTTP_CONNECT:
	case HTTP_RESOLVE:
		return stow_wrap(err, "nothing else is configured, and this seems to be no EC2 instance");
	case HTTP_ANSWERED:
	case HTTP_TLS:
	case HTTP_BROKEN:
	case HTTP_CANCELLED:
	case HTTP_REFUSED:
		break;
	}
	return -1;
}

/* The token as the header that later requests carry. */
static int get_token(const struct instance *in, char **ret_header, struct stow_err *err)
{
	CLEANUP(http_response_free) struct http_response r;
	enum http_failure failure = HTTP_ANSWERED;

	http_response_init(&r);
	if (ask(in, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", &r, &failure,
		err) < 0)
		return explain_token(in, failure, err);
	if (r.status == 403)
		return stow_fail(
			err, STOW_FAILED_PRECONDITION,
			"the instance metadata service is switched off for this instance (HTTP 403)");
	if (r.status == 404 || r.status == 405)
		return stow_fail(
			err, STOW_FAILED_PRECONDITION,
			"the instance metadata service at %s has no version 2 (HTTP %d for a token), and "
			"version 1 is not used",
			in->origin, r.status);
	if (r.status != 200)
		return creds_refused("the instance metadata service, for a token", &r, err);
	for (size_t i = 0; i < r.body.len; i++)
		if (r.body.p[i] <= 0x20 || r.body.p[i] > 0x7e)
			return stow_fail(err, STOW_FAILED_PRECONDITION,
					 "the instance metadata service gave a token that is none");
	*ret_header = x_asprintf("X-aws-ec2-metadata-token: %.*s", (int)r.body.len,
				 r.body.p ? (const char *)r.body.p : "");
	return 0;
}

/* The first line of the list of roles; there is one at most. */
static int get_role(const struct instance *in, const char *token, char **ret_role, struct stow_err *err)
{
	CLEANUP(http_response_free) struct http_response r;
	static const char none[] =
		"no role is attached to this instance (no instance profile), and nothing else is "
		"configured";
	size_t n = 0;

	http_response_init(&r);
	if (ask(in, "GET", ROLES, token, &r, NULL, err) < 0)
		return -1;
	if (r.status == 404)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s", none);
	if (r.status != 200)
		return creds_refused("the instance metadata service, for the role", &r, err);
	while (n < r.body.len && !strchr("\r\n", r.body.p[n]))
		n++;
	if (n == 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s", none);
	/* It becomes a part of a path. */
	for (size_t i = 0; i < n; i++)
		if (!isalnum(r.body.p[i]) && !strchr("+=,.@-_", r.body.p[i]))
			return stow_fail(err, STOW_FAILED_PRECONDITION,
					 "the instance metadata service gave a role's name that is none");
	*ret_role = x_strndup((const char *)r.body.p, n);
	return 0;
}

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct instance *in = CONTAINER_OF(p, struct instance, base);
	CLEANUP(http_response_free) struct http_response r;
	CLEANUP(freep) char *token = NULL, *role = NULL, *path = NULL;

	http_response_init(&r);
	if (get_token(in, &token, err) < 0 || get_role(in, token, &role, err) < 0)
		return -1;
	path = x_asprintf(ROLES "%s", role);
	if (ask(in, "GET", path, token, &r, NULL, err) < 0)
		return -1;
	if (r.status != 200)
		return creds_refused("the instance metadata service, for the keys", &r, err);
	if (creds_document_read(CREDS_FORM_ENDPOINT, r.body.p ? (const char *)r.body.p : "", r.body.len,
				ret_v, err) < 0)
		return stow_wrap(err, "the instance metadata service, role %s", role);
	return 0;
}

static void instance_free(struct creds_provider *p)
{
	struct instance *in = CONTAINER_OF(p, struct instance, base);
	free(in->origin);
	free(in);
}

/* Where the service is. */
static int find_origin(const struct creds_context *cx, char **ret_origin, struct stow_err *err)
{
	const char *endpoint = creds_variable(cx, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = creds_variable(cx, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	size_t n;

	if (endpoint) {
		if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
			return stow_fail(
				err, STOW_FAILED_PRECONDITION,
				"AWS_EC2_METADATA_SERVICE_ENDPOINT: %.200s is no URL with http or https",
				endpoint);
		n = strlen(endpoint);
		*ret_origin = x_strndup(endpoint, n - (endpoint[n - 1] == '/'));
		return 0;
	}
	if (mode && strcasecmp(mode, "IPv4") != 0 && strcasecmp(mode, "IPv6") != 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: %.80s is neither IPv4 nor IPv6",
				 mode);
	*ret_origin = x_strdup(mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]"
								     : "http://169.254.169.254");
	return 0;
}

CREDS_FIND(creds_find_instance)
{
	CLEANUP(freep) char *origin = NULL;

	(void)o;
	if (aws_variable_is_true(cx->environment, "AWS_EC2_METADATA_DISABLED")) {
		snprintf(why, CREDS_WHY_MAX, "AWS_EC2_METADATA_DISABLED is true");
		return 0;
	}
	if (find_origin(cx, &origin, err) < 0)
		return -1;
	struct instance *in = x_calloc(1, sizeof(*in));
	in->base = (struct creds_provider){ .name = "instance", .fetch = fetch, .free = instance_free };
	in->base.detail = x_asprintf("metadata service at %s", origin);
	in->origin = TAKE(origin);
	*ret_p = &in->base;
	return 0;
}
