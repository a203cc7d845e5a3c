#include "tests/unit/http_pair.h"

#include "content/base/mem.h"
#include "tests/unit/unit.h"

const struct http_options pair_four = { .max_transfers = 4, .proxy = "" };

void pair_start(struct http_pair *e, env_handler *handler, void *arg, const struct http_options *o)
{
	struct stow_err err;

	e->server = http_env_new(handler, arg);
	assert_int_equal(http_new(o, &e->http, &err), 0);
	(void)snprintf(e->url, sizeof(e->url), "http://%s", http_env_host(e->server));
}

void pair_end(struct http_pair *e)
{
	http_free(TAKE(e->http));
	http_env_free(TAKE(e->server));
}

struct http_request pair_get(const char *url)
{
	return (struct http_request){
		.method = "GET", .url = url, .max_body = 1 << 20, .total_ns = 20 * NSEC_PER_SEC
	};
}

void pair_expect_failure(struct http_pair *e, const struct http_request *req, enum stow_code code,
			 const char *text)
{
	CLEANUP(http_response_free) struct http_response r;
	struct stow_err err = { 0 };

	http_response_init(&r);
	assert_int_equal(http_perform(e->http, req, &r, &err), -1);
	if (err.code != code || strstr(err.msg, text) == NULL)
		fail_msg("%s: %s; expected %s and \"%s\"", stow_code_name(err.code), err.msg,
			 stow_code_name(code), text);
}

void pair_echo(void *arg, const struct env_request *req, struct env_answer *a)
{
	char line[256];

	(void)arg;
	(void)snprintf(line, sizeof(line), "X-Line: %.*s\r\nX-Body: %zu\r\nX-Connection: %u\r\n",
		       (int)strcspn(req->head, "\r"), req->head, req->body_n, req->connection);
	env_say(a, strstr(req->head, "/missing") != NULL ? "404 Not Found" : "200 OK", line,
		strncmp(req->head, "HEAD", 4) == 0 ? "" : "what was asked for");
}

void pair_expect_line(struct http_pair *e, struct http_request req, const char *line, const char *body_n)
{
	CLEANUP(http_response_free) struct http_response r;
	struct stow_err err;

	http_response_init(&r);
	assert_int_equal(http_perform(e->http, &req, &r, &err), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(http_header(&r, "x-line"), line);
	assert_string_equal(http_header(&r, "x-body"), body_n);
}

void pair_misbehave(void *arg, const struct env_request *req, struct env_answer *a)
{
	struct stow_err err;

	(void)arg;
	if (strstr(req->head, "/continue") != NULL)
		MUST(buf_printf(&a->text, &err,
				"HTTP/1.1 102 Processing\r\nX-One: 1\r\n\r\n"
				"HTTP/1.1 103 Early Hints\r\nX-Two: 2\r\n\r\n") == 0);
	if (strstr(req->head, "/garbage") != NULL) {
		MUST(buf_printf(&a->text, &err, "SSH-2.0-OpenSSH\r\n") == 0);
		a->after = ENV_CLOSE;
		return;
	}
	if (strstr(req->head, "/headers") != NULL) {
		MUST(buf_printf(&a->text, &err, "HTTP/1.1 200 OK\r\n") == 0);
		for (int i = 0; i < 1000; i++)
			MUST(buf_printf(&a->text, &err, "X-%d: %0100d\r\n", i, i) == 0);
	}
	env_say(a, "200 OK", "", "0123456789");
	if (strstr(req->head, "/cut") != NULL) {
		a->cut = a->text.len - 3;
		a->after = ENV_CLOSE;
	} else if (strstr(req->head, "/behead") != NULL) {
		a->cut = 25; /* "HTTP/1.1 200 OK", and a bit of a header */
		a->after = ENV_CLOSE;
	} else if (strstr(req->head, "/reset") != NULL) {
		a->cut = 5;
		a->after = ENV_RESET;
	} else if (strstr(req->head, "/silent") != NULL) {
		buf_reset(&a->text);
		a->after = ENV_HANG;
	} else if (strstr(req->head, "/stall") != NULL) {
		a->cut = a->text.len - 3;
		a->after = ENV_HANG;
	} else if (strstr(req->head, "/drip") != NULL) {
		a->drip_ms = 20;
	} else if (strstr(req->head, "/stale") != NULL) {
		a->after = ENV_CLOSE;
	}
}

struct http_request pair_get_path(const struct http_pair *e, char url[128], const char *path)
{
	(void)snprintf(url, 128, "%s%s", e->url, path);
	return pair_get(url);
}
