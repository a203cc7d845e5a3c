/* S3 as operations on one bucket. Each is signed, sent, retried with back-off, and judged; what comes
 * back is the answer or the one error that a caller can act on.
 *
 * Keys are whole keys: the configured prefix is the caller's business.
 *
 * Threads: any. The plain functions wait, for retries too, and are not for the transfer thread; the
 * *_start functions are for parts and ranges, which run in parallel.
 *
 * Errors, the same for all; the message names operation, bucket, key, HTTP status, S3's code and the
 * request's id:
 *   NOT_FOUND            404 for a key or an upload
 *   PERMISSION_DENIED    401, 403
 *   ALREADY_EXISTS       412 where S3_IF_ABSENT was asked for
 *   FAILED_PRECONDITION  412 where an ETag was asked for (the object has changed); what only the
 *                        configuration can help: no such bucket, wrong region, certificate not trusted
 *   RESOURCE_EXHAUSTED   507, and the codes for a full or limited store
 *   DATA_LOSS            the server says that a checksum is wrong, or an answer cannot be right,
 *                        after all retries
 *   UNIMPLEMENTED        501, and 400 or 405 that say so: the server does not know this
 *   ABORTED              409: a concurrent operation got in the way; begin again
 *   CANCELLED            s3_op_cancel, s3_client_stop on a fork
 *   UNAVAILABLE          5xx, 429, timeouts, connections, after all retries; no credentials now;
 *                        s3_client_stop
 *   INVALID_ARGUMENT     any other 4xx */
#ifndef STOWAGE_BACKENDS_S3_CLIENT_H
#define STOWAGE_BACKENDS_S3_CLIENT_H

#include "content/base/digest.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct http;
struct s3_client;
struct s3_options;      /* backends/s3/s3_options.h */
struct s3_creds_source; /* backends/s3/request.h */

/* The options and *creds are copied; `http` and creds->arg outlive the client. INVALID_ARGUMENT where the
 * options cannot go together; else as s3_options_region(). Does not connect. */
int s3_client_new(const struct s3_options *o, struct http *http, const struct s3_creds_source *creds,
		  struct s3_client **ret_c, struct stow_err *err) MUST_CHECK;
/* Nothing may be under way, and no fork be left. NULL is a no-op. */
void s3_client_free(struct s3_client *c);
void s3_client_freep(struct s3_client **c);

/* Another client of the same bucket, which shares all with `c` (no fork itself), but can be stopped alone.
 * Costs nothing but memory. */
struct s3_client *s3_client_fork(struct s3_client *c);
/* All that is under way, waiting calls and back-offs too, ends soon: within half a second, which
 * CreateMultipartUpload has to hear what it has made; the others at once. What is begun later fails at once.
 * For good. Does not block. Of the first client, its forks are stopped with it. */
void s3_client_stop(struct s3_client *c);

enum {
	S3_KEY_MAX = 1024,       /* bytes, as S3 */
	S3_ETAG_MAX = 128,       /* with its quotes and a NUL; S3's own have 32 to 38 */
	S3_UPLOAD_ID_MAX = 1024, /* and a NUL; AWS documents no limit, its own have about 130 */
	S3_PARTS_MAX = 10000,    /* of one upload; numbers are from 1 on */
};
#define S3_PART_MIN (UINT64_C(5) << 20)   /* bytes of a part that is not the last one */
#define S3_PUT_MAX (UINT64_C(5) << 30)    /* bytes of one PUT, and of a part */
#define S3_OBJECT_MAX (UINT64_C(5) << 40) /* bytes of an object */

struct s3_object {
	uint64_t size;
	int64_t modified_ns;    /* wall clock, of the server, whole seconds; 0 where it did not say it */
	char etag[S3_ETAG_MAX]; /* as it came, quotes included; "" where the server sent none */
};

/* A body to send. Borrowed until the operation has ended. */
struct s3_body {
	uint64_t size;
	/* As body_read of http.h: any offset, more than once, all `n` bytes; on the transfer thread, and
	 * where a hash is needed and not given, on the caller's too. NULL: no bytes. */
	int (*read)(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err);
	void *arg;
	/* SHA-256 of the bytes where it is known; else DIGEST_NONE, and it is computed first, on the
	 * caller's thread, if plain http or the checksums wanted need it. */
	struct digest sha256;
};

enum s3_flags {
	S3_IF_ABSENT = 1, /* If-None-Match: *; ALREADY_EXISTS where the key is taken */
};

/* --- objects --- */

/* NOT_FOUND may also mean that there is no bucket, or no S3 at all: the answer cannot say it. */
int s3_head(struct s3_client *c, const char *key, struct s3_object *ret_o, struct stow_err *err) MUST_CHECK;

/* Whether the bucket answers for a key that is not there: 0 for a sure 404, or else why not. Asked once,
 * ahead of what waits for its turn, and for `limit_ns` at most, half of that without a byte of the answer,
 * whatever the options say. */
int s3_ask(struct s3_client *c, const char *key, int64_t limit_ns, struct stow_err *err) MUST_CHECK;

/* Exactly `n` bytes (at least 1) at `off` into `to`: all of them, or a failure. `etag`, unless NULL or
 * "", must be the object's still. OUT_OF_RANGE where the object is shorter. */
int s3_get(struct s3_client *c, const char *key, const char *etag, uint64_t off, size_t n, void *to,
	   struct stow_err *err) MUST_CHECK;

/* S3_PUT_MAX bytes at most. ret_o (may be NULL) has the size sent, and the ETag. With S3_IF_ABSENT the
 * ALREADY_EXISTS may speak of our own bytes, where a first answer was lost. */
int s3_put(struct s3_client *c, const char *key, const struct s3_body *body, unsigned flags,
	   struct s3_object *ret_o, struct stow_err *err) MUST_CHECK;

/* S3 says success too where there is no such key; NOT_FOUND only from servers that tell. */
int s3_delete(struct s3_client *c, const char *key, struct stow_err *err) MUST_CHECK;

/* Visits keys that begin with `prefix`, after `start_after` (NULL: from the first), in the order of
 * their bytes, a page of up to 1000 at a time; the visitor may take its time. -1 with *err set ends it.
 * max (0: none) keys at most. Here and below, DATA_LOSS where what is listed does not rise, or pages lead
 * in a circle. */
typedef int s3_list_visit(void *arg, const char *key, const struct s3_object *o, struct stow_err *err);
int s3_list(struct s3_client *c, const char *prefix, const char *start_after, uint64_t max,
	    s3_list_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;

/* --- multipart uploads --- */

struct s3_upload {
	const char *key;
	const char *id;
};

struct s3_part {
	unsigned number; /* from 1 */
	uint64_t size;
	char etag[S3_ETAG_MAX];
	struct digest sha256; /* DIGEST_NONE where it was not sent with the part */
};

/* Where an answer is lost and the request goes out again, an upload stays behind that nobody knows: what the
 * bucket's rule for incomplete uploads is there for. */
int s3_upload_create(struct s3_client *c, const char *key, char ret_id[S3_UPLOAD_ID_MAX + 1],
		     struct stow_err *err) MUST_CHECK;

/* Waits; as s3_upload_part_start. */
int s3_upload_part(struct s3_client *c, const struct s3_upload *u, unsigned number,
		   const struct s3_body *body, struct s3_part *ret_part, struct stow_err *err) MUST_CHECK;

/* `parts` in rising order of their numbers, all that the object is made of. A 200 whose body is an error
 * is that error. Safe to repeat after a failure: where the upload is gone, but the object is there with
 * the size of all parts, that is success (an answer was lost), unless S3_IF_ABSENT: then ALREADY_EXISTS.
 * ABORTED also where the server says InternalError to all attempts: it may do so for this upload alone.
 * Does not look at the object otherwise. */
int s3_upload_complete(struct s3_client *c, const struct s3_upload *u, const struct s3_part *parts, size_t n,
		       unsigned flags, struct s3_object *ret_o, struct stow_err *err) MUST_CHECK;

/* NOT_FOUND where it is gone already. */
int s3_upload_abort(struct s3_client *c, const struct s3_upload *u, struct stow_err *err) MUST_CHECK;

/* The parts that the bucket has, in rising order of their numbers; NOT_FOUND where the upload is gone. */
typedef int s3_part_visit(void *arg, const struct s3_part *part, struct stow_err *err);
int s3_upload_parts(struct s3_client *c, const struct s3_upload *u, s3_part_visit *visit, void *arg,
		    struct stow_err *err) MUST_CHECK;

/* Uploads under way for keys that begin with `prefix`; others' among them. */
typedef int s3_upload_visit(void *arg, const struct s3_upload *u, struct stow_err *err);
int s3_uploads(struct s3_client *c, const char *prefix, s3_upload_visit *visit, void *arg,
	       struct stow_err *err) MUST_CHECK;

/* --- operations that run beside each other --- */

/* Embedded in the object that it works for, zeroed before its first use. */
struct s3_op {
	/* Runs once, on the transfer thread, with no lock held, and must not block; may start the next
	 * operation, or free what holds the op. */
	void (*done)(struct s3_op *op);

	/* The result, from `done` on. */
	int result; /* 0, or -1 with err set */
	struct stow_err err;
	struct s3_part part; /* of upload_part */

	struct request *request; /* the client's */
};

/* As s3_get. `key` and `etag` are copied, `to` is the caller's until `done`. May be called on the transfer
 * thread. */
void s3_get_start(struct s3_client *c, struct s3_op *op, const char *key, const char *etag, uint64_t off,
		  size_t n, void *to);
/* op->part is what s3_upload_complete wants. Sending a number again replaces the part. `u` is copied,
 * what body->arg points to stays until `done`. On the transfer thread only where no hash has to be
 * computed. */
void s3_upload_part_start(struct s3_client *c, struct s3_op *op, const struct s3_upload *u, unsigned number,
			  const struct s3_body *body);
/* Makes it end soon, as CANCELLED unless it has ended. The op must be alive: started, and `done` has not
 * freed it. */
void s3_op_cancel(struct s3_client *c, struct s3_op *op);

/* --- for `stowage check` --- */

/* A GET of `key` (need not exist) that is good for `expires_s` seconds, with today's credentials. */
int s3_presign(struct s3_client *c, const char *key, unsigned expires_s, char *out, size_t size,
	       struct stow_err *err) MUST_CHECK;

enum { S3_REGION_MAX = 64 };
struct s3_learnt {
	bool any;                /* an answer has come since the start */
	int64_t clock_offset_ns; /* server's clock less ours, from the last answer's Date (whole seconds) */
	char region[S3_REGION_MAX]; /* what is signed for now */
	bool region_changed;        /* the server said so; the configured one was another */
	uint64_t requests, retries; /* sent, and sent again */
};
void s3_client_learnt(struct s3_client *c, struct s3_learnt *ret_l);

#endif
