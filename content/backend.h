/* A backend keeps bytes: finished blobs, by digest, and stages, which are blobs in the making.
 * It knows nothing of refs, labels or times; those are the store's, in LMDB.
 *
 * This header is the whole contract. Each promise below is a case of tests/suite/, which every
 * backend passes; callers use the backend_*() functions, never `->ops` themselves.
 *
 * A stage's life:
 *
 *   state      entered by              legal calls                          next
 *   open       stage_create, _resume   write truncate sync read publish     sealed, kept, gone
 *   sealed     stage_publish           read close                           gone
 *   kept       stage_close             (none: no handle)  resume discard    open, gone
 *
 * Durability: a stage's bytes are durable up to what was written before a stage_sync() that
 * returned 0. A blob that stage_publish() made is durable, under its name, when it returns 0.
 *
 * Threads: every function on a backend may be called from any number of threads at once. A stage
 * has one user at a time, but stage_sync may run beside stage_write. A blob handle may be read by
 * any number of threads at once.
 *
 * Errors: as content/base/err.h. NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED (no space) and
 * DATA_LOSS (bytes that cannot be right) have the meaning that they have on the wire; UNAVAILABLE
 * is a storage that cannot be reached now, PERMISSION_DENIED one that refuses us; ABORTED is said by reads
 * with BACKEND_READ_SAME alone; everything else is INTERNAL. */
#ifndef STOWAGE_CONTENT_BACKEND_H
#define STOWAGE_CONTENT_BACKEND_H

#include "content/base/digest.h"
#include "content/base/err.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct backend;
struct behind_ops;
struct fleet_ops;
struct blob;
struct meta;
struct stage;

/* A stage's name: chosen by the store, unique for ever, 16 lower-case hex digits, good as a file
 * name and as part of an object key. */
enum { STAGE_NAME_LEN = 16 };

/* What is thought of a stage's bytes before they are there, so that a backend can send them on their way
 * while they come. It may be wrong: what stage_publish() is told counts, and a stage that was opened with
 * another hint, or none, ends as the same blob. */
struct stage_hint {
	struct digest digest; /* DIGEST_NONE: not known */
	uint64_t total;       /* bytes of the whole blob; 0: not known */
};

/* What a backend knows of a finished blob. */
struct blob_stat {
	uint64_t size;
	int64_t modified_ns; /* wall clock, when its bytes came to be there; 0: not known */
	int64_t used_ns;     /* the last touch(), or the making; 0: not known */
	bool behind;         /* of a tiered backend: one behind it has the blob, see `tiered` */
};

/* Called by scans, on the scanning thread. Returning -1 with *err set ends the scan with that
 * failure. */
typedef int backend_blob_visit(void *arg, const struct digest *d, const struct blob_stat *st,
			       struct stow_err *err);
typedef int backend_stage_visit(void *arg, const char *name, struct stow_err *err);

/* How long a read, or the opening for one, may wait. */
enum backend_read_flags {
	BACKEND_READ_NOWAIT = 1, /* for nothing: neither disk nor network; not for opening */
	BACKEND_READ_NEAR = 2,   /* for this machine's disk, and not for the network */
	BACKEND_READ_SAME =
		4, /* only of the version that was opened: else ABORTED, see `remote`; not for opening */
};

/* What of a backend may wait for another machine, and is therefore no work for threads that are few, and that
 * those need who wait for this machine's disk alone. */
enum backend_far {
	BACKEND_FAR_READ = 1,   /* every read that BACKEND_READ_NOWAIT does not give, and opening */
	BACKEND_FAR_STAT = 2,   /* stat() of what is not here */
	BACKEND_FAR_COMMIT = 4, /* stage_publish(), and recorded() of a commit */
	BACKEND_FAR_REMOVE = 8, /* remove() */
	BACKEND_FAR_ALL = 15,
};

/* All slots are required unless they say otherwise, and all may block unless they say otherwise. */
struct backend_ops {
	const char *name; /* "local", "s3", "mem", "fault" */

	/* Frees the backend. No handle may be open. */
	void (*free)(struct backend *b);

	/* --- finished blobs --- */

	/* NOT_FOUND if it is not there. */
	int (*stat)(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		    struct stow_err *err);

	/* A handle for reading; NOT_FOUND if there is no such blob. It stays readable, with the same
	 * bytes, when the blob is removed (but see `remote`) or published again meanwhile. With
	 * BACKEND_READ_NEAR, UNAVAILABLE where only the network could tell, as for pread. */
	int (*open)(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		    struct stow_err *err);
	void (*close)(struct blob *blob);

	/* Reads up to `n` bytes at `off`; short only at the blob's end (0 bytes at or beyond it).
	 * With BACKEND_READ_NOWAIT it never blocks: it returns -1 with UNAVAILABLE where the bytes
	 * are not at hand, and the caller asks again on a worker, with BACKEND_READ_NEAR. That is
	 * UNAVAILABLE where the bytes are not on this machine, without waiting for the network; the
	 * caller asks again without a flag, on a thread that may be held up. */
	int (*pread)(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		     struct stow_err *err);

	/* Removes the blob's bytes. NOT_FOUND if there is none. Open handles go on, but see `remote`. */
	int (*remove)(struct backend *b, const struct digest *d, struct stow_err *err);

	/* Visits every blob, in no order. Blobs that come or go meanwhile may be seen or not; names
	 * that are no digest are not. */
	int (*scan)(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err);

	/* --- stages --- */

	/* A new, empty stage. ALREADY_EXISTS if the name is taken. `hint` is never NULL here. */
	int (*stage_create)(struct backend *b, const char *name, const struct stage_hint *hint,
			    struct stage **ret_st, struct stow_err *err);

	/* A kept stage, cut to `size` bytes: what follows them is forgotten. NOT_FOUND if it is
	 * gone, DATA_LOSS if it has fewer bytes (it is left as it is then). */
	int (*stage_resume)(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			    struct stage **ret_st, struct stow_err *err);

	/* Writes all bytes of the `n` vectors at offset `off`, which is the stage's size. On failure
	 * the stage's size is what it was, as far as any later call can see. */
	int (*stage_write)(struct stage *st, const struct iovec *iov, int n, uint64_t off,
			   struct stow_err *err);

	/* Cut to `size` bytes, no more than it has. */
	int (*stage_truncate)(struct stage *st, uint64_t size, struct stow_err *err);

	/* What has been written becomes durable. May run on another thread beside stage_write; bytes
	 * written meanwhile may be included or not. A failure may be final for the handle, and what
	 * was not durable is lost then: close keeps what an earlier sync covered. */
	int (*stage_sync)(struct stage *st, struct stow_err *err);

	/* As pread on a blob. May run on other threads beside stage_write and stage_publish, for bytes that
	 * were there before. */
	int (*stage_pread)(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
			   struct stow_err *err);

	/* The stage's bytes, all of them, become the blob `d`, durably and at once; or nothing
	 * changes, and the stage stays open. The caller has proven that their hash is `d`. A blob
	 * that is there already counts as success: it has the same bytes. The stage is sealed then
	 * and can only be read and closed, which leaves nothing behind. Where the storage fails so late that
	 * nobody can tell whether the name is durable, the call fails although the blob is there, and
	 * the stage can only be published again or closed, which leaves nothing behind but the blob. */
	int (*stage_publish)(struct stage *st, const struct digest *d, struct stow_err *err);

	/* Frees the handle. The bytes of an open stage are kept under its name (durable only as far
	 * as synced); a sealed one leaves nothing. */
	void (*stage_close)(struct stage *st);

	/* Removes a kept stage, or the name of an open one while its user goes on: calls on that
	 * handle may fail from then on, and its close leaves nothing. NOT_FOUND if there is none. */
	int (*stage_discard)(struct backend *b, const char *name, struct stow_err *err);

	/* Visits every kept or open stage, in no order. */
	int (*stage_scan)(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

	/* --- optional: threads of its own, beside an open store --- */

	/* The store is open, and its rows are in `m`: work beside the calls begins. Called once. */
	void (*start)(struct backend *b, struct meta *m);
	/* What is under way ends soon, with UNAVAILABLE, and no such work begins any more. Calls that are
	 * answered from this machine alone go on. Before free; also without a start. */
	void (*stop)(struct backend *b);
	/* The store has a durable row for a blob that stage_publish() or scan() have shown. Where `commit`, a
	 * COMMIT is about to be answered, and this may wait; else it does not block. */
	void (*recorded)(struct backend *b, const struct digest *d, bool commit);

	/* --- optional: what a cache must know of the backend that it fills --- */

	/* The blob is in use: its used_ns is now, or soon. Does not block for long. */
	void (*touch)(struct backend *b, const struct digest *d);
	/* Bytes that are free for us, and that there are in all, where the blobs are. */
	int (*space)(struct backend *b, uint64_t *ret_free, uint64_t *ret_total, struct stow_err *err);

	/* --- optional: what a backend must know to stand behind a tiered one (content/behind.h) --- */
	const struct behind_ops *behind;

	/* --- optional: of a tiered backend alone (content/fleet.h) --- */
	const struct fleet_ops *fleet;
};

/* The base of every backend, blob handle and stage: the first member of the implementation's own
 * struct. */
struct backend {
	const struct backend_ops *ops;
	/* Its blobs are on another machine, and others may change them. So nobody goes through all of them
	 * unless a person asks for that; and a handle whose blob has been removed may answer NOT_FOUND. One
	 * whose blob has been put there anew goes on with that, since a name stands for the same bytes; who
	 * reads bytes that nothing has proven yet says BACKEND_READ_SAME. */
	bool remote;
	/* Its blobs are here, or in a storage behind it, or both. The store's table of what is known to be
	 * behind (meta.h) belongs to it: what is listed there may be without bytes here, and what is not
	 * has bytes here, which are on their way. scan() shows what is here. A blob that answers DATA_LOSS
	 * is to be forgotten, so that it can come from elsewhere. A handle that was opened while the bytes
	 * were not here may answer NOT_FOUND when the blob has been removed. */
	bool tiered;
	unsigned far; /* of backend_far */
};
struct blob {
	struct backend *backend;
	uint64_t size; /* set by open, fixed for the handle's life */
	/* Set by open: what was opened is known by it. Two handles on one blob that have the same version,
	 * not 0, give the same bytes, as far as they are read with BACKEND_READ_SAME. 0: nobody knows. */
	uint64_t version;
};
struct stage {
	struct backend *backend;
};

void backend_free(struct backend *b); /* NULL is a no-op */
void backend_freep(struct backend **b);
int backend_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		 struct stow_err *err) MUST_CHECK;
/* `flags`: 0 or BACKEND_READ_NEAR. */
int backend_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		 struct stow_err *err) MUST_CHECK;
int backend_remove(struct backend *b, const struct digest *d, struct stow_err *err) MUST_CHECK;
int backend_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;
/* `hint` may be NULL: nothing is known. It is read during the call only. */
int backend_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			 struct stage **ret_st, struct stow_err *err) MUST_CHECK;
int backend_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			 struct stage **ret_st, struct stow_err *err) MUST_CHECK;
int backend_stage_discard(struct backend *b, const char *name, struct stow_err *err) MUST_CHECK;
int backend_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg,
		       struct stow_err *err) MUST_CHECK;

/* The optional ones: no-ops where the backend has none. */
void backend_start(struct backend *b, struct meta *m);
void backend_stop(struct backend *b);
void backend_recorded(struct backend *b, const struct digest *d, bool commit);
void backend_touch(struct backend *b, const struct digest *d);

int blob_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
	       struct stow_err *err) MUST_CHECK;
void blob_close(struct blob *blob); /* NULL is a no-op */
void blob_closep(struct blob **blob);
/* A version, from what a storage says to tell an object from what was there before. */
uint64_t blob_version(const void *tag, size_t n);

int stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off,
		struct stow_err *err) MUST_CHECK;
int stage_truncate(struct stage *st, uint64_t size, struct stow_err *err) MUST_CHECK;
int stage_sync(struct stage *st, struct stow_err *err) MUST_CHECK;
int stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
		struct stow_err *err) MUST_CHECK;
int stage_publish(struct stage *st, const struct digest *d, struct stow_err *err) MUST_CHECK;
void stage_close(struct stage *st); /* NULL is a no-op */
void stage_closep(struct stage **st);

/* Whether `name` has a stage name's form. */
bool stage_name_ok(const char *name);

#endif
