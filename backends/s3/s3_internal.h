/* What the files of the backend share.
 *
 *   s3.c         the table, finished blobs, start and end
 *   keys.c       what objects are called
 *   stage.c      stages: a spool, and an upload beside it
 *   behind.c     sendings: an upload without a spool;  notes.c  small objects for a fleet
 *   upload*.c    one blob's way into the bucket
 *   sidecar.c    what of it must survive a restart;  leftovers.c  aborting what is to be forgotten
 *   reader.c     read-ahead for all readers together
 *   session.c    transfer thread, credentials and client as one
 *
 * Locks: none is held across an operation on the bucket that waits. An upload's lock, the list of open
 * stages' and the reader's are of one rank, so that no thread ever has two of them. */
#ifndef STOWAGE_BACKENDS_S3_INTERNAL_H
#define STOWAGE_BACKENDS_S3_INTERNAL_H

#include "backends/s3/leftovers.h"
#include "backends/s3/reader.h"
#include "backends/s3/session.h"
#include "backends/s3/upload.h"
#include "backends/spool.h"
#include "content/behind.h"

#define S3_MAGIC 0x53330001u

struct s3_sending;
struct s3_stage;

struct s3 {
	struct backend base;
	unsigned magic;
	struct s3_session *session;
	struct s3_client *client; /* the session's */
	char *prefix;             /* of all keys: "", or with its slash at the end */
	enum s3_layout layout;
	uint64_t small_blob, part_size;
	unsigned upload_concurrency;
	/* The server has said that it does not know If-None-Match; so we look before we send. */
	atomic_bool unconditional;

	struct dir root;
	struct spool_dir ingest;
	struct pool *pool; /* beginnings of uploads, hashes of parts, aborts */
	struct leftovers leftovers;
	struct reader *reader;
	struct lock lock; /* for the lists */
	struct s3_stage *open;
	struct s3_sending *sendings; /* open */
};
struct s3 *s3_from(struct backend *b);

/* What the keys of all blobs begin with; and that of one, as the layout has it. To be freed. */
char *s3_blobs_prefix(const struct s3 *s);
char *s3_layout_blobs(const char *prefix, enum s3_layout layout);
char *s3_blob_key(const struct s3 *s, const struct digest *d);
/* True, with the digest, for a key of that form. */
bool s3_key_digest(const struct s3 *s, const char *key, struct digest *ret_d);

/* s3_head(), and where that is refused, with the server's reason: one request more. NOT_FOUND may be wrong.
 */
int s3_head_told(struct s3_client *c, const char *key, struct s3_object *ret_o,
		 struct stow_err *err) MUST_CHECK;
/* The object of that key, but NOT_FOUND only if so many looks have not found it, with pauses in between: for
 * one that must be there, in a bucket whose answers may lag behind its writes. And only if the server has
 * said that it is the key which is missing: a store that hears NOT_FOUND forgets the blob. */
int s3_head_sure(struct s3_client *c, const char *key, unsigned looks, struct s3_object *ret_o,
		 struct stow_err *err) MUST_CHECK;

/* A failure of the client as the store has to hear of it: what has no meaning there (FAILED_PRECONDITION
 * would be a wrong digest, ABORTED something to repeat at once) becomes INTERNAL. Returns -1. */
int s3_fail(struct stow_err *err);
/* The same for upload_finish(): what is not found, the upload or its object, is gone again; a later try
 * begins anew. */
int s3_fail_upload(struct stow_err *err);

/* Removes a blob's object, by a client of the backend's. */
int s3_remove_by(struct s3 *s, struct s3_client *c, const struct digest *d, struct stow_err *err);

/* The store ends: calls under way fail soon with UNAVAILABLE, later ones at once, so that nothing waits for a
 * bucket that does not answer. On any thread; does not block. */
void s3_stop(struct backend *b);

/* The slots of the table that stage.c fills; their promises are those of struct backend_ops. */
int s3_stage_create(struct backend *b, const char *name, const struct stage_hint *hint, struct stage **ret_st,
		    struct stow_err *err);
int s3_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
		    struct stage **ret_st, struct stow_err *err);
int s3_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err);
int s3_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err);
int s3_stage_sync(struct stage *st, struct stow_err *err);
int s3_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err);
int s3_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err);
void s3_stage_close(struct stage *st);
int s3_stage_discard(struct backend *b, const char *name, struct stow_err *err);
int s3_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

/* What content/behind.h wants; notes.c has the notes. */
extern const struct behind_ops s3_behind_ops;
int s3_look(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err);
int s3_answers(struct backend *b, struct stow_err *err);
int s3_note_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
		struct stow_err *err);
int s3_note_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err);
int s3_note_remove(struct backend *b, const char *name, struct stow_err *err);
int s3_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg, struct stow_err *err);

#endif
