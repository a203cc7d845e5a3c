/* What Stowage knows about its bytes, in one LMDB environment. The meta_*.c files alone see lmdb.h.
 *
 *   table     key                   value
 *   blobs     digest                size, times, labels
 *   ingests   SHA-256 of the ref    ref, stage, times, total, expected, durable offset, hash state
 *   remote    digest                when a storage behind this one was last known to have the blob
 *   pins      digest                when it was pinned, its size, whether it was named
 *   meta      name                  schema version, node id, sums of sizes, which storage that is
 *
 * Writers are grouped: calls that arrive while a transaction is being synced share the next one, so
 * that the cost of a sync is divided among them. Each returns when its own change is durable.
 * Results are copies; nothing points into the map. The map is grown when it is full.
 *
 * LMDB's rules that this file hides: one environment a process, no long read transactions, none
 * open while the map is resized, one thread a transaction.
 *
 * Threads: all functions from any thread. The readers never block on a writer or on the disk's
 * sync (only on pages that are not in memory). */
#ifndef STOWAGE_CONTENT_META_H
#define STOWAGE_CONTENT_META_H

#include "content/backend.h"
#include "content/base/digest.h"
#include "content/base/hash.h"
#include "content/labels.h"

#include <stdbool.h>
#include <stdint.h>

struct meta;

struct blob_info {
	struct digest digest;
	uint64_t size;
	int64_t created_ns; /* wall clock; when it was committed or adopted */
	int64_t updated_ns; /* the last label change, or the commit */
	struct labels labels;
};
void blob_info_free(struct blob_info *i); /* what it holds, not itself; fit for CLEANUP */

/* A parked ingest, or the last durable point of an open one. */
struct ingest_row {
	char *ref; /* owned */
	char stage[STAGE_NAME_LEN + 1];
	int64_t started_ns, updated_ns;
	uint64_t total;         /* 0: not declared */
	struct digest expected; /* DIGEST_NONE: not declared */
	uint64_t offset;        /* durable bytes */
	struct hash_state hash; /* of these bytes */
};
void ingest_row_free(struct ingest_row *r);

enum meta_flags {
	META_READ_ONLY = 1, /* for the command line, beside a daemon or without one */
};

/* Opens the environment in the file `path` (its lock beside it as path-lock), making it if it is
 * missing and not META_READ_ONLY. FAILED_PRECONDITION if its schema is newer than this program,
 * DATA_LOSS if it is damaged, NOT_FOUND if it is missing. `map_size` 0 is the default; it is only
 * where the growing begins. *ret_created (may be NULL) tells whether it was made just now. */
int meta_open(const char *path, unsigned flags, size_t map_size, struct meta **ret_m, bool *ret_created,
	      struct stow_err *err) MUST_CHECK;
void meta_close(struct meta *m); /* NULL is a no-op */
void meta_closep(struct meta **m);

/* Reads every row of the environment at `path` in a child process, since a damaged map may kill who
 * reads it. 0 if it is sound or missing, DATA_LOSS if not. To be called before there are threads. */
int meta_probe(const char *path, struct stow_err *err) MUST_CHECK;

/* --- blobs --- */

/* NOT_FOUND if there is none. *ret_i is to be freed. */
int meta_blob_get(struct meta *m, const struct digest *d, struct blob_info *ret_i,
		  struct stow_err *err) MUST_CHECK;

/* Visits up to `max` blobs after *cursor (DIGEST_NONE: from the start), in the order of their keys,
 * inside one short read transaction: `visit` must not call into this file, nor wait. `i` and what it
 * holds are borrowed. It returns 0 to go on, 1 to stop after this one, or -1 with *err set. *cursor moves to
 * the last one visited, *ret_n counts them; fewer than `max`: that was the end, unless it stopped. */
typedef int meta_blob_visit(void *arg, const struct blob_info *i, struct stow_err *err);
int meta_blobs_next(struct meta *m, struct digest *cursor, size_t max, meta_blob_visit *visit, void *arg,
		    size_t *ret_n, struct stow_err *err) MUST_CHECK;

/* Adds a blob, and drops the ingest `ref` (NULL: none) in the same transaction. If the blob is there
 * already: ALREADY_EXISTS, the row is left as it is, and the ingest is dropped all the same.
 * `may_be_undone`: until the next change, a power loss may undo it (not a crash of this process), in
 * exchange for a sync less. For rows that say no more than what can be learned from the bytes. */
int meta_blob_add(struct meta *m, const struct blob_info *i, const char *ref, bool may_be_undone,
		  struct stow_err *err) MUST_CHECK;
/* Adds those of the `n` blobs that are not there, in one transaction; with `behind` also to the table
 * `remote`, seen now. */
int meta_blobs_adopt(struct meta *m, const struct blob_info *v, size_t n, bool behind,
		     struct stow_err *err) MUST_CHECK;
/* NOT_FOUND if there is none. Its rows in `remote` and `pins` go with it. */
int meta_blob_delete(struct meta *m, const struct digest *d, struct stow_err *err) MUST_CHECK;
/* Changes labels by labels_apply() and sets updated_ns, in one transaction; gives the result, to be
 * freed. NOT_FOUND, or the failure of labels_apply(). */
int meta_blob_update(struct meta *m, const struct digest *d, const struct labels *from,
		     const char *const *paths, size_t n, int64_t now_ns, struct blob_info *ret_i,
		     struct stow_err *err) MUST_CHECK;
/* How many there are, and the sum of their sizes. */
int meta_blob_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* --- ingests --- */

int meta_ingest_get(struct meta *m, const char *ref, struct ingest_row *ret_r,
		    struct stow_err *err) MUST_CHECK;
typedef int meta_ingest_visit(void *arg, const struct ingest_row *r, struct stow_err *err);
/* Visits all, in one read transaction; same rules as for blobs. */
int meta_ingests(struct meta *m, meta_ingest_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;
/* Adds or replaces. RESOURCE_EXHAUSTED past LIMIT_INGESTS. */
int meta_ingest_put(struct meta *m, const struct ingest_row *r, struct stow_err *err) MUST_CHECK;
/* An absent one is no error. */
int meta_ingest_delete(struct meta *m, const char *ref, struct stow_err *err) MUST_CHECK;

/* --- what is behind a tiered backend (backend.h) ---
 *
 * A row of `remote` has a row in `blobs`. A blob that has none in `remote` is pending: it has yet to be
 * brought there. So a commit has no queue to write to, and the queue's length is the difference of two
 * tables. */

/* The blob is behind, seen at `seen_ns`. NOT_FOUND if it has no row in `blobs`. A power loss may undo it:
 * then it is looked for again. */
int meta_remote_put(struct meta *m, const struct digest *d, int64_t seen_ns, struct stow_err *err) MUST_CHECK;
/* What was known since `seen_ns` was looked for again: it is seen at `now_ns`, or (0) it is not there any
 * more, durably. NOT_FOUND, and nothing changes, where `seen_ns` is not what is known: since the look began
 * the blob was deleted, and perhaps committed or adopted anew, of which that look says nothing. */
int meta_remote_renew(struct meta *m, const struct digest *d, int64_t seen_ns, int64_t now_ns,
		      struct stow_err *err) MUST_CHECK;
/* NOT_FOUND where the blob is pending, or has no row at all. *ret_seen_ns may be NULL. */
int meta_remote_get(struct meta *m, const struct digest *d, int64_t *ret_seen_ns,
		    struct stow_err *err) MUST_CHECK;
/* Empties the table if it is of another storage than `identity` (some 500 bytes at most), and says so where
 * there was something in it. */
int meta_remote_identity(struct meta *m, const char *identity, bool *ret_emptied,
			 struct stow_err *err) MUST_CHECK;

/* Look at up to `max` rows after *cursor, as meta_blobs_next() does, and visit the pending blobs among them,
 * or those that are behind. Fewer than `max` rows looked at: that was the end. */
int meta_pending_next(struct meta *m, struct digest *cursor, size_t max, meta_blob_visit *visit, void *arg,
		      size_t *ret_looked, struct stow_err *err) MUST_CHECK;
typedef int meta_remote_visit(void *arg, const struct digest *d, int64_t seen_ns, struct stow_err *err);
int meta_remote_next(struct meta *m, struct digest *cursor, size_t max, meta_remote_visit *visit, void *arg,
		     size_t *ret_looked, struct stow_err *err) MUST_CHECK;
/* How many are pending, and the sum of their sizes. */
int meta_pending_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* --- what is to stay here (fleet.h) ---
 *
 * A row of `pins` has a row in `blobs`. A commit has nothing to do with them, and a look is one read. */

struct pin {
	struct digest digest;
	uint64_t size;
	int64_t pinned_ns; /* wall clock */
	bool named;        /* by a person; else it came with one that was */
};

/* Pins those of the `n` blobs that have a row in `blobs`, in one transaction. The first one was named:
 * NOT_FOUND if it has no row. What is pinned already stays as it is, but for that. */
int meta_pins_add(struct meta *m, const struct digest *v, size_t n, int64_t now_ns,
		  struct stow_err *err) MUST_CHECK;
/* `named` is no named one any more, and the `n` blobs are not pinned any more, in one transaction. *ret_n and
 * *ret_bytes are of those that were. */
int meta_pins_remove(struct meta *m, const struct digest *named, const struct digest *v, size_t n,
		     uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err) MUST_CHECK;
/* NOT_FOUND where it is not pinned. *ret_p may be NULL. */
int meta_pin_get(struct meta *m, const struct digest *d, struct pin *ret_p, struct stow_err *err) MUST_CHECK;
/* As meta_blobs_next(). */
typedef int meta_pin_visit(void *arg, const struct pin *p, struct stow_err *err);
int meta_pins_next(struct meta *m, struct digest *cursor, size_t max, meta_pin_visit *visit, void *arg,
		   size_t *ret_n, struct stow_err *err) MUST_CHECK;
/* How many there are, and the sum of their sizes. */
int meta_pin_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* A random name of this store, made with it: 32 hex digits. Borrowed for the life of `m`. */
const char *meta_node_id(const struct meta *m);

#endif
