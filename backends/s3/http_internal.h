/* Between http.c, which has the thread, and http_curl.c, which has curl. All but http_curl_wake is for
 * the transfer thread. */
#ifndef STOWAGE_BACKENDS_S3_HTTP_INTERNAL_H
#define STOWAGE_BACKENDS_S3_HTTP_INTERNAL_H

#include "backends/s3/http.h"
#include "content/base/lock.h"

struct curl_slist;

/* What an active transfer waits for; each has its own limit.
 *
 *   CONNECTING  curl has no connection yet           connect (curl's own timer)
 *   SENDING     the body is not all with curl        stall
 *   WAITING     the first byte of the answer         first_byte
 *   RECEIVING   the rest of it                       stall
 *
 * A connection that was kept too long dies at its first use; curl then begins again on another one. */
enum phase { CONNECTING, SENDING, WAITING, RECEIVING };

struct http_active {
	struct http *h;
	struct http_transfer *t;
	struct http_active *next;
	void *easy; /* CURL */
	struct curl_slist *headers;
	enum phase phase;
	int64_t start_ns, progress_ns;
	uint64_t body_off;
	bool refused;  /* by a callback of the caller's; t->err is set */
	bool informal; /* the headers that come belong to a 1xx answer */
	int refusal;   /* CURLcode: an option that curl does not take */
	bool headed;   /* all headers have come: curl takes a head that is cut off for a whole one */
	char detail[256 /* CURL_ERROR_SIZE */];
};

struct http {
	uint32_t magic;
	struct http_options o; /* with strings of its own */
	void *multi;           /* CURLM */
	void *share;           /* CURLSH, of TLS sessions, which would be each handle's own */
	pthread_t thread;

	struct lock lock; /* guards all of the following */
	struct http_transfer *head, *tail;
	struct http_timer *timers;
	const struct http_timer *running;
	pthread_cond_t timer_ran;
	bool stopping, cancels;
	bool changed; /* since the thread last looked */
	bool awake;   /* it will look again before it sleeps */

	/* The thread's own. */
	struct http_active *active;
	unsigned active_n, sockets_n;
	int sockets[64]; /* that are open; those beyond are only not acknowledged at once */
};

/* Curl's part of an http, and its end. */
void http_curl_init(struct http *h);
void http_curl_destroy(struct http *h);
/* From any thread: http_curl_poll returns, now or the next time. */
void http_curl_wake(struct http *h);

/* Gives `a`, whose h, t and times are set, to curl. NULL, or why curl does not take it: then it has only to
 * be stopped. */
const char *http_curl_start(struct http_active *a);
/* Takes it back, under way or not. */
void http_curl_stop(struct http_active *a);
/* Moves what can be moved, and calls http_ended for what has come to its end. */
void http_curl_run(struct http *h);
/* Sleeps, for `ms` at most, until there is something to move. */
void http_curl_poll(struct http *h, int ms);

/* What curl says of a transfer: `detail` is its text where it has failed. The last call on `a`. */
void http_ended(struct http_active *a, enum http_failure failure, const char *detail);

#endif
