/* One S3 request with its attempts: sign, send, judge, and try again where that may help.
 *
 * An attempt that failed is tried again after a back-off with full jitter (retry.h), as long as its
 * attempts and the client's retry budget last. Beside that, and once each for a request:
 *   RequestTimeTooSkewed        the server's Date corrects the client's clock; a 403 that says nothing, with
 *                               a Date that is far off, corrects it for this request, and for all when
 *                               that has helped
 *   ExpiredToken, InvalidToken  the credentials are refreshed
 *   301, 307, 400 with another region for the bucket: the client signs for, and goes to, that region
 *
 * Threads: any may start a request; `done` runs on the transfer thread. */
#ifndef STOWAGE_BACKENDS_S3_REQUEST_H
#define STOWAGE_BACKENDS_S3_REQUEST_H

#include "backends/s3/client.h"
#include "backends/s3/endpoint.h"
#include "backends/s3/http.h"
#include "backends/s3/retry.h"
#include "backends/s3/sigv4.h"
#include "backends/s3/xml.h"
#include "content/base/lock.h"

#include <stdbool.h>

/* Credentials held: borrowed from their source, for as long as they are not released. */
struct s3_creds {
	struct sigv4_key key;
	const void *held; /* the source's own */
};

/* Where credentials come from. Called on any thread at any time, the transfer thread too: none of these
 * may block. */
struct s3_creds_source {
	void *arg;
	/* The ones to sign with now: 0. None yet, but they are being asked for, so that another try soon may
	 * find them: 1, with *err saying so. -1: the request's failure. */
	int (*get)(void *arg, struct s3_creds *ret_c, struct stow_err *err);
	/* The server does not take `failed` any longer: get newer ones meanwhile. NULL: there are none. */
	void (*refresh)(void *arg, const struct s3_creds *failed);
	/* Each that get returned. NULL: nothing to do. */
	void (*release)(void *arg, struct s3_creds *c);
};

/* What all requests of a client share, and learn. */
struct request_env {
	const struct s3_options *o;
	const struct s3_creds_source *creds;
	struct http *http;
	bool tls;         /* whatever the region */
	const char *home; /* the configured region */

	struct lock lock;            /* guards the rest, the groups, and what each request says is guarded */
	struct request *running;     /* from start to end */
	bool stopped;                /* nothing goes on, or begins */
	struct s3_endpoint endpoint; /* of the region */
	struct s3_learnt learnt;
	int64_t sign_offset_ns; /* added to our clock in signatures */
	struct retry_budget budget;
};
/* Requests that are ended together. Zeroed before its first use; outlives them. */
struct request_group {
	bool stopped; /* under the environment's lock */
};
/* All is borrowed, and outlives it. INVALID_ARGUMENT as s3_endpoint_make. */
int request_env_init(struct request_env *s, const struct s3_options *o, const char *region, struct http *http,
		     const struct s3_creds_source *creds, struct stow_err *err) MUST_CHECK;
void request_env_destroy(struct request_env *s);
/* The time to sign for, after what is known of the server's clock. */
int64_t request_env_now(struct request_env *s);
/* Ends soon what is under way in the group, as CANCELLED; NULL: in all of them, as UNAVAILABLE. What is
 * started later fails at once in the same way. */
void request_env_stop(struct request_env *s, struct request_group *g);
/* Whether it, or all, has been stopped. */
bool request_env_stopped(struct request_env *s, const struct request_group *g);

enum { REQUEST_PAIRS = 24, REQUEST_TEXT_MAX = 32 * 1024 };

enum request_flags {
	REQUEST_IF_ABSENT = 1,  /* If-None-Match is sent: 412 is ALREADY_EXISTS */
	REQUEST_LATE_ERROR = 2, /* a 2xx may have an error for a body */
	REQUEST_TAKES_TIME = 4, /* no limit but the one on all of it */
	/* It makes something at the server whose name is in the answer alone. Where it is stopped on its
	 * way, the answer may still come for half a second. */
	REQUEST_NAMES_ITS_WORK = 8,
};

/* Embedded in the operation that it works for. */
struct request {
	uint32_t magic;
	struct request_env *env;
	const struct request_group *group;
	const char *op; /* S3's name of it: "PutObject" */
	const char *method;
	char *key; /* NULL: the bucket itself */
	unsigned flags;
	struct sigv4_pair query[REQUEST_PAIRS], headers[REQUEST_PAIRS]; /* strings of its own */
	size_t query_n, headers_n;
	struct s3_body body;          /* of PUT and POST */
	char payload[DIGEST_HEX_MAX]; /* its hash, in hex, or SIGV4_UNSIGNED */

	/* As in http.h, for 2xx; `arg` goes to it. */
	int (*sink)(void *arg, const void *p, size_t n, struct stow_err *err);
	void *arg;
	size_t max_body;
	/* Before each attempt; NULL: nothing to do. On the starting or the transfer thread. */
	void (*begin)(struct request *r);
	/* Looks at a 2xx answer; NULL: it is good. -1 is the request's failure, tried again where
	 * bad_answer has been set. On the transfer thread. */
	int (*check)(struct request *r, struct stow_err *err);
	bool bad_answer; /* the sink may set it, too */
	/* Once, on the transfer thread; the request may be freed. */
	void (*done)(struct request *r);

	/* Not 0: one attempt, and another one of what request_repair() puts right, ahead of what waits for
	 * its turn. It has this limit, and half of it for the first byte, instead of the options'. */
	int64_t once_ns;

	/* Set with `err` before the start: it fails at once, in the way of all failures. */
	bool failed;

	/* The result, from `done` on; the answer is in t.resp. */
	int result;
	struct stow_err err;
	struct http_transfer t;

	/* request.c's. */
	struct s3_error error;
	struct s3_creds creds;
	bool has_creds;
	struct http_timer timer;
	void *waiter;
	/* These five are guarded by the environment's lock. */
	bool waiting;                              /* for the timer */
	bool flying;                               /* the transfer is http's */
	bool cancelled;                            /* by itself */
	struct request *next, **at;                /* of the running ones */
	bool skew_used, refresh_used, region_used; /* each once */
	unsigned attempts;
	int64_t creds_until_ns;
	int64_t sign_offset_ns;     /* of the last attempt: added to our clock */
	bool skew_suspected;        /* it is not the environment's */
	char region[S3_REGION_MAX]; /* of the last attempt */
	struct buf url, text;
	const char *lines[REQUEST_PAIRS + 8];
};

/* `key` is copied; op and method must stay. */
void request_init(struct request *r, struct request_env *s, const struct request_group *g, const char *op,
		  const char *method, const char *key);
void request_destroy(struct request *r);
/* Both are formatted and copied. */
void request_query(struct request *r, const char *name, const char *fmt, ...) PRINTF(3, 4);
void request_header(struct request *r, const char *name, const char *fmt, ...) PRINTF(3, 4);

/* From any thread; `done` may run before this returns, on another thread. */
void request_start(struct request *r);
/* Starts it and waits; not on the transfer thread. `done` is this function's. */
int request_perform(struct request *r, struct stow_err *err) MUST_CHECK;
/* Ends it soon, as CANCELLED unless it has ended. With the environment's lock held, under which the caller
 * has seen that it is alive. */
void request_cancel_locked(struct request *r);

#endif
