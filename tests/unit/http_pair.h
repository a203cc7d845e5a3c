/* A server that echoes or misbehaves, and the HTTP client of it. */
#ifndef STOWAGE_TESTS_HTTP_PAIR_H
#define STOWAGE_TESTS_HTTP_PAIR_H

#include "backends/s3/http.h"
#include "content/base/clock.h"
#include "tests/unit/http_env.h"

#define MS NSEC_PER_MSEC

struct http_pair {
	struct http_env *server;
	struct http *http;
	char url[64];
};

/* Four transfers at once, no proxy. */
extern const struct http_options pair_four;

void pair_start(struct http_pair *e, env_handler *handler, void *arg, const struct http_options *o);
void pair_end(struct http_pair *e);

/* 200, or 404 for "/missing", with what was asked: X-Line, X-Body (bytes), X-Connection. */
void pair_echo(void *arg, const struct env_request *req, struct env_answer *a);
/* The path says what is wrong with the answer. */
void pair_misbehave(void *arg, const struct env_request *req, struct env_answer *a);

/* A GET of a whole URL; and of a path of the server, the URL being kept in `url`. */
struct http_request pair_get(const char *url);
struct http_request pair_get_path(const struct http_pair *e, char url[128], const char *path);

void pair_expect_failure(struct http_pair *e, const struct http_request *req, enum stow_code code,
			 const char *text);
/* From pair_echo: 200, this first line, so many bytes of body. */
void pair_expect_line(struct http_pair *e, struct http_request req, const char *line, const char *body_n);

#endif
