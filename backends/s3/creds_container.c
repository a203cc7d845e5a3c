/* The endpoint that ECS and EKS Pod Identity give to a container.
 *
 * After "Container credential provider" in the AWS SDKs and Tools Reference Guide, from which come the
 * variables, the addresses, and the rule that the token in a file goes before the one in the variable. */
#include "backends/s3/creds_internal.h"
#include "backends/s3/file.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <arpa/inet.h>

#define ECS_ORIGIN "http://169.254.170.2"

struct container {
	struct creds_provider base;
	char *url;
	char *token, *token_file; /* NULL: none; the file is read at each fetch, for the token changes */
};

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct container *c = CONTAINER_OF(p, struct container, base);
	CLEANUP(http_response_free) struct http_response r;
	CLEANUP(freep) char *token = c->token ? x_strdup(c->token) : NULL;
	CLEANUP(freep) char *authorization = NULL;

	http_response_init(&r);
	if (c->token_file && file_read_word(c->token_file, &token, err) < 0)
		return stow_wrap(err, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	if (token)
		authorization = x_asprintf("Authorization: %s", token);
	const char *headers[] = { "Accept: application/json", authorization, NULL };
	const struct creds_request rq = {
		.what = c->url,
		.method = "GET",
		.url = c->url,
		.headers = headers,
		.no_proxy = true,
		.connect_ns = 2 * NSEC_PER_SEC,
		.total_ns = 5 * NSEC_PER_SEC,
		.attempts = 3,
	};
	if (creds_request(p->cx, &rq, &r, NULL, err) < 0)
		return -1;
	if (r.status != 200)
		return creds_refused(c->url, &r, err);
	if (creds_document_read(CREDS_FORM_ENDPOINT, r.body.p ? (const char *)r.body.p : "", r.body.len,
				ret_v, err) < 0)
		return stow_wrap(err, "%s", c->url);
	return 0;
}

static void container_free(struct creds_provider *p)
{
	struct container *c = CONTAINER_OF(p, struct container, base);
	free(c->url);
	free(c->token);
	free(c->token_file);
	free(c);
}

/* --- the URL --- */

/* Whether `host` is this machine, or one of the addresses that ECS and EKS have for this. */
static bool is_trusted(const char *host)
{
	static const char *const known[] = { "169.254.170.2", "169.254.170.23", "fd00:ec2::23" };
	struct in_addr v4, known_v4;
	struct in6_addr v6, known_v6;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1) {
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (inet_pton(AF_INET, known[i], &known_v4) == 1 && v4.s_addr == known_v4.s_addr)
				return true;
		return ntohl(v4.s_addr) >> 24 == 127;
	}
	if (inet_pton(AF_INET6, host, &v6) == 1) {
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (inet_pton(AF_INET6, known[i], &known_v6) == 1 &&
			    memcmp(&v6, &known_v6, sizeof(v6)) == 0)
				return true;
		return IN6_IS_ADDR_LOOPBACK(&v6);
	}
	return false;
}

/* The host of an http URL without its port and brackets; "" where there is none, or a user before it. */
static void host_of(const char *url, char out[256])
{
	const char *host = url + strlen("http://");
	size_t n = strcspn(host, "/?#");

	*out = 0;
	if (memchr(host, '@', n))
		return;
	if (*host == '[') {
		host++;
		n = strcspn(host, "]/?#");
		if (host[n] != ']' || !strchr(":/?#", host[n + 1])) /* strchr finds the text's end, too */
			return;
	} else {
		n = strcspn(host, ":/?#");
	}
	snprintf(out, 256, "%.*s", (int)n, host);
}

/* The keys come over this: anybody may be asked by https, and over http only who is near. */
static int check_url(const char *url, struct stow_err *err)
{
	char host[256];

	for (const char *p = url; *p; p++)
		if (*p <= 0x20 || *p > 0x7e)
			return stow_fail(err, STOW_FAILED_PRECONDITION,
					 "the URL has an unprintable character");
	if (strncasecmp(url, "https://", 8) == 0)
		return 0;
	if (strncasecmp(url, "http://", 7) != 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%.200s is no URL with http or https", url);
	host_of(url, host);
	if (!is_trusted(host))
		return stow_fail(
			err, STOW_FAILED_PRECONDITION,
			"%.200s: http may only go to this machine (localhost, 127.0.0.0/8, ::1) or to "
			"169.254.170.2, 169.254.170.23 or fd00:ec2::23; others need https",
			url);
	return 0;
}

/* A token within a header must not begin another one. */
static int check_token(const char *token, struct stow_err *err)
{
	for (const char *p = token; p && *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return stow_fail(err, STOW_FAILED_PRECONDITION,
					 "AWS_CONTAINER_AUTHORIZATION_TOKEN has an unprintable character");
	return 0;
}

CREDS_FIND(creds_find_container)
{
	const char *relative = creds_variable(cx, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = creds_variable(cx, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *token = creds_variable(cx, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	const char *token_file = creds_variable(cx, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");

	(void)o;
	if (!relative && !full) {
		snprintf(why, CREDS_WHY_MAX,
			 "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
		return 0;
	}
	if (relative && *relative != '/')
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: %.200s does not begin with a slash",
				 relative);
	CLEANUP(freep) char *url = relative ? x_asprintf(ECS_ORIGIN "%s", relative) : x_strdup(full);
	if (check_url(url, err) < 0)
		return stow_wrap(err, "AWS_CONTAINER_CREDENTIALS_%s_URI", relative ? "RELATIVE" : "FULL");
	if (!token_file && check_token(token, err) < 0)
		return -1;
	struct container *c = x_calloc(1, sizeof(*c));
	c->base = (struct creds_provider){ .name = "container", .fetch = fetch, .free = container_free };
	c->base.detail = x_strdup(url);
	c->url = TAKE(url);
	if (token_file)
		c->token_file = x_strdup(token_file);
	else if (token)
		c->token = x_strdup(token);
	*ret_p = &c->base;
	return 0;
}
