/* A small HTTP server on loopback for the tests of what speaks HTTP: one thread a connection, and a
 * function of the test's that answers. It can do what a server must not: cut, hang, reset. */
#ifndef STOWAGE_TESTS_HTTP_ENV_H
#define STOWAGE_TESTS_HTTP_ENV_H

#include "content/base/buf.h"

#include <stdatomic.h>
#include <stdbool.h>

struct http_env;

struct env_request {
	unsigned number;     /* of all requests, from 1 */
	unsigned connection; /* that it came on, from 1 */
	const char *head;    /* request line and headers as they came, NUL at the end */
	const uint8_t *body;
	size_t body_n;
};

/* What is sent back, as it stands: the test writes status line, headers and body. */
struct env_answer {
	struct buf text;
	size_t cut;   /* send only so many bytes of it (0: all), then do `after` */
	int delay_ms; /* before the first byte */
	int drip_ms;  /* between two bytes; 0: all at once */
	enum env_after {
		ENV_KEEP,  /* the connection goes on */
		ENV_CLOSE, /* it is closed, in order */
		ENV_RESET, /* it is reset */
		ENV_HANG   /* nothing more is sent until the server ends */
	} after;
};

/* Runs on the connection's thread; several at once. */
typedef void env_handler(void *arg, const struct env_request *req, struct env_answer *a);

struct http_env *http_env_new(env_handler *handler, void *arg);
/* Over TLS, with a context of tls_env.h. */
struct http_env *http_env_new_tls(env_handler *handler, void *arg, void *tls);
/* How many handshakes took up an earlier session. */
unsigned http_env_resumed(const struct http_env *e);
/* The clients must have ended before: a connection that waits for its next request is ended by them. */
void http_env_free(struct http_env *e);
void http_env_freep(struct http_env **e);
/* "127.0.0.1:port". */
const char *http_env_host(const struct http_env *e);
/* The connections that the server has open now, the most that were open at once, and all there have been. */
unsigned http_env_open(const struct http_env *e);
unsigned http_env_most(const struct http_env *e);
unsigned http_env_connections(const struct http_env *e);
/* Reads no body any more: the client's send stalls. */
void http_env_stop_reading(struct http_env *e);

/* A whole answer: "HTTP/1.1 <status>", the header lines ("A: b\r\n…" or ""), Content-Length, the body. */
void env_say(struct env_answer *a, const char *status, const char *headers, const char *body);
/* The value of a header of the request, or "" where there is none; cut to `size`. */
const char *env_header(const struct env_request *req, const char *name, char *out, size_t size);

/* cmocka's asserts are for the main thread; abort() is for all. */
#define MUST(x)                                                                                              \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			abort();                                                                             \
	} while (0)

#endif
