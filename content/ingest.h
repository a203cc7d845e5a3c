/* Ingest: one resumable upload, keyed by its ref.
 *
 *   state      entered by                    legal calls             next
 *   OPEN       ingest_open (new, resumed)    write truncate status   COMMITTED PARKED, gone
 *                                            digest commit close
 *   PARKED     close, refused commit         (no handle)             OPEN (open), gone (abort, sweep)
 *   COMMITTED  commit                        (no handle)             none: the blob is there
 *
 * store_ingests() shows what is OPEN or PARKED. Info and Read see the blob from COMMITTED on, never
 * earlier. The table of refs lets one handle exist for a ref at a time.
 *
 * What is durable of an OPEN ingest is its last checkpoint: its bytes synced, and a row with their
 * count and the hash's state, made every LIMIT_CHECKPOINT bytes or second, beside the writing. So a
 * crash costs no more than that, and resuming reads no byte again. The write that completes the declared
 * total syncs the bytes, so that the commit has little left to do.
 *
 * Threads: an ingest has one user at a time, but Status and Abort reach it from others. Every
 * function may block, except those that say otherwise. */
#ifndef STOWAGE_CONTENT_INGEST_H
#define STOWAGE_CONTENT_INGEST_H

#include "content/base/digest.h"
#include "content/labels.h"

#include <stdint.h>
#include <sys/uio.h>

struct store;
struct ingest;

struct ingest_spec {
	const char *ref;        /* checked by ref_check() */
	uint64_t total;         /* bytes that are to come; 0: not declared */
	struct digest expected; /* DIGEST_NONE: not declared */
};

struct ingest_status {
	char *ref; /* owned */
	int64_t started_ns, updated_ns;
	uint64_t offset;
	uint64_t total;
	struct digest expected;
};
void ingest_status_free(struct ingest_status *s); /* what it holds; fit for CLEANUP */

/* Opens a ref, new or parked. A parked one comes with its bytes, unless its declared total differs
 * from that of `spec`: then it starts again from 0.
 * UNAVAILABLE if the ref is open elsewhere (after a short wait: its stream may be ending just now);
 * ALREADY_EXISTS if the expected blob is there, and the ref's bytes are dropped then. */
int ingest_open(struct store *s, const struct ingest_spec *spec, struct ingest **ret_in,
		struct stow_err *err) MUST_CHECK;

/* Appends. On failure nothing was appended. NOT_FOUND once the ref has been aborted. `when_ns` is when
 * the bytes were accepted, on the wall clock: it becomes updated_at. */
int ingest_write(struct ingest *in, const struct iovec *iov, int n, int64_t when_ns,
		 struct stow_err *err) MUST_CHECK;
/* Back to no bytes at all. */
int ingest_restart(struct ingest *in, struct stow_err *err) MUST_CHECK;

/* NOT_FOUND once the ref has been aborted. Does not block, from any thread. */
int ingest_check(struct ingest *in, struct stow_err *err) MUST_CHECK;
/* Does not block, from any thread. *ret_s is to be freed. */
void ingest_status(struct ingest *in, struct ingest_status *ret_s);
/* The SHA-256 of all bytes so far. Does not block. */
void ingest_digest(const struct ingest *in, struct digest *ret_d);
/* Bytes so far. Does not block. */
uint64_t ingest_offset(const struct ingest *in);

struct ingest_commit {
	uint64_t total;         /* 0: not checked */
	struct digest expected; /* DIGEST_NONE: not checked, the SHA-256 becomes the name */
	struct labels labels;   /* borrowed */
};
/* Makes the bytes a blob. When it returns 0, the blob is durable, under *ret_d, with its labels.
 * ALREADY_EXISTS if it is there: the ingest is dropped. FAILED_PRECONDITION if size or digest differ,
 * and any other failure: the bytes stay parked. Consumes `in`, however it ends. */
int ingest_commit(struct ingest *in, const struct ingest_commit *c, struct digest *ret_d,
		  struct stow_err *err) MUST_CHECK;
/* Parks: the bytes become durable and stay under the ref. NULL is a no-op. A failure to make them
 * durable is told in *err, and what was durable before is what stays. Consumes `in`. */
int ingest_close(struct ingest *in, struct stow_err *err) MUST_CHECK;
/* Drops the ingest with its bytes. Consumes `in`. */
int ingest_drop(struct ingest *in, struct stow_err *err) MUST_CHECK;

#endif
