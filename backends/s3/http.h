/* HTTP for the S3 backend: one transfer thread that runs libcurl's multi interface, and timers on it.
 * It knows nothing of S3: no signing, no retry, no redirect is followed.
 *
 *   http_new → http_submit | http_perform | http_after … → http_free
 *
 * Connections are kept open and used again, TLS sessions are resumed, TLS is 1.2 at least. At most
 * `max_transfers` transfers are under way, on as many connections, and the urgent ones; further ones wait
 * their turn, and their timeouts begin when they start.
 *
 * Threads: any may call, unless a function says otherwise. Callbacks (done, sink, body_read, timers) run
 * on the transfer thread with no lock held, and must not block: everybody's transfers wait meanwhile.
 * They may submit, cancel and set timers. */
#ifndef STOWAGE_BACKENDS_S3_HTTP_H
#define STOWAGE_BACKENDS_S3_HTTP_H

#include "content/base/buf.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct http;

struct http_options {
	unsigned max_transfers;  /* at once; 1 at least */
	const char *ca_file;     /* PEM, instead of the system's authorities; NULL: those */
	bool ca_may_come;        /* it need not be there yet: until it is, every handshake fails */
	const char *proxy;       /* URL; "": none; NULL: as http_proxy, https_proxy, no_proxy say */
	const char *user_agent;  /* NULL: "stowage/<version>" */
	bool http2;              /* offered over TLS; transfers share a connection then */
	size_t max_header_bytes; /* of one answer; 0: 64 KiB */
};

/* Starts the thread; `o` is copied. INVALID_ARGUMENT where the CA file must be there and cannot be read. */
int http_new(const struct http_options *o, struct http **ret_h, struct stow_err *err) MUST_CHECK;
/* Ends what is under way as CANCELLED, joins the thread. Timers that are set never run. NULL is a
 * no-op. Not on the transfer thread. */
void http_free(struct http *h);
void http_freep(struct http **h);

/* One request. Everything it points to is the caller's, and stays until `done`. */
struct http_request {
	const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
	const char *url;    /* sent as it is: no part of the path is normalised */
	/* "Name: value", ended by NULL; NULL: none. Host follows from the URL. A name without a value is
	 * not sent. */
	const char *const *headers;
	/* The body of PUT and POST: read from any offset, more than once where a connection has died.
	 * All `n` bytes, from memory or the page cache, or -1. */
	uint64_t body_size;
	int (*body_read)(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err);
	/* The body of a 2xx answer as it comes, NULL: kept in the response. 0, or -1 with *err set to
	 * end the transfer. Status and headers are in the transfer's response by then. */
	int (*sink)(void *arg, const void *p, size_t n, struct stow_err *err);
	void *arg; /* of body_read and sink */
	/* Cap of a body that is kept: a longer one fails a 2xx answer (RESOURCE_EXHAUSTED), and is cut
	 * where the answer is an error anyway. */
	size_t max_body;
	bool urgent;   /* does not wait for its turn */
	bool no_proxy; /* go directly, whatever the options and the environment say */
	/* Nanoseconds; 0: no limit (connect: libcurl's, 300 s). connect: name, TCP, TLS. first_byte: from the
	 * last byte sent to the first one received. stall: between two bytes of a body, either way. total:
	 * all of it. */
	int64_t connect_ns, first_byte_ns, stall_ns, total_ns;
};

struct http_response {
	int status;         /* 0: none came */
	struct buf headers; /* "name: value" lines, each ended by NUL */
	struct buf body;    /* what was not given to the sink */
};
void http_response_init(struct http_response *r);
void http_response_free(struct http_response *r); /* empty and usable again; fit for CLEANUP */
/* The first header of that name, in whatever case, without blanks around; NULL: there is none. Valid
 * while the response is. */
const char *http_header(const struct http_response *r, const char *name);

/* What kept an answer from coming; what may help is for the caller to judge. */
enum http_failure {
	HTTP_ANSWERED,  /* no failure: any status */
	HTTP_RESOLVE,   /* the name is not known (UNAVAILABLE) */
	HTTP_CONNECT,   /* no connection or handshake, or not in time, server or proxy (UNAVAILABLE) */
	HTTP_TLS,       /* a certificate that is not trusted (FAILED_PRECONDITION) */
	HTTP_TIMEOUT,   /* first byte, stall, total (UNAVAILABLE) */
	HTTP_BROKEN,    /* connection reset, answer cut off or no HTTP (UNAVAILABLE) */
	HTTP_CANCELLED, /* http_cancel or http_free (CANCELLED) */
	HTTP_REFUSED,   /* by our side: body_read or sink failed (their error), the answer is too long
			 * (RESOURCE_EXHAUSTED), the request is none (INVALID_ARGUMENT) */
};

struct http_transfer {
	struct http_request req; /* the caller's, set before submit */
	/* Runs once. The transfer is the caller's again: it may be freed or submitted again. */
	void (*done)(struct http_transfer *t);

	/* The result, from `done` on; during the transfer only callbacks may look at it. */
	enum http_failure failure;
	struct stow_err err;          /* unless ANSWERED */
	struct http_response resp;    /* what came, also where the rest failed; the caller frees it */
	int64_t elapsed_ns, first_ns; /* from the start to the end, and to the first byte (0: none) */

	struct http_active *active; /* http.c's */
	struct http_transfer *next;
	bool cancelled;
	unsigned place;
};

/* `done` runs also where the request is refused at once, never before this returns from another thread.
 * The response is reset first; *t must be zeroed or from an earlier submit. */
void http_submit(struct http *h, struct http_transfer *t);
/* Makes a submitted transfer end soon, as CANCELLED unless it has ended otherwise. *t must be alive:
 * callers see to it that `done` has not freed it. */
void http_cancel(struct http *h, struct http_transfer *t);

/* Submits and waits. 0 for any status; -1 for every failure of the above. *ret_r must be initialised, and
 * is reset; it holds what came. Not on the transfer thread. */
int http_perform(struct http *h, const struct http_request *req, struct http_response *ret_r,
		 struct stow_err *err) MUST_CHECK;
/* For assertions. */
bool http_on_thread(const struct http *h);

/* A timer, embedded in the object that it works for, zeroed before its first use. */
struct http_timer {
	void (*run)(struct http_timer *t); /* once for each http_after; may set it again or free it */
	struct http_timer *next;           /* http.c's */
	int64_t due_ns;
	bool set;
};
/* Runs it in `ns` nanoseconds or a little later; a timer that is set already is moved. */
void http_after(struct http *h, struct http_timer *t, int64_t ns);
/* It does not run any more, and, unless this is the transfer thread, is not running when this returns.
 * Whether it was set. */
bool http_timer_stop(struct http *h, struct http_timer *t);

#endif
