/* What the meta_*.c files share: the environment, its transactions, and the grouping of writers.
 * Nobody else includes this, or lmdb.h.
 *
 * How writers are grouped: a caller puts its change into a queue and, if nobody is writing, becomes
 * the leader: it takes the whole queue, applies it in one transaction, commits (the one sync that all
 * share), and wakes everyone. Changes that arrived meanwhile wait for the next leader, the first of
 * them. A change that fails for reasons of its own (NOT_FOUND, ALREADY_EXISTS) does not disturb the
 * others; when the transaction itself fails, all that share it fail. */
#ifndef STOWAGE_CONTENT_META_INTERNAL_H
#define STOWAGE_CONTENT_META_INTERNAL_H

#include "content/base/lock.h"
#include "content/base/mem.h"
#include "content/meta.h"

#include <lmdb.h>

#define META_MAGIC 0x4d455441u

enum { NODE_ID_LEN = 32 };

/* One change to the database, embedded in what it needs. */
struct change {
	/* Runs inside the transaction, on the leader's thread, and again if the map had to grow.
	 * Returns 0, an LMDB or errno value (the transaction has failed), or CHANGE_REFUSED with
	 * c->err set: the caller fails, what was written so far stays. */
	int (*apply)(struct meta *m, MDB_txn *txn, struct change *c);
	bool may_be_undone; /* by a power loss: see meta_blob_add() */
	struct change *next;
	pthread_cond_t turn;
	bool done;
	bool failed;
	struct stow_err err;
};
enum { CHANGE_REFUSED = -1 };

/* Lock order: `queue_lock` is never held during a transaction; `map_lock` is held, shared, by every
 * transaction, and exclusively while the map is resized. */
struct meta {
	uint32_t magic;
	MDB_env *env;
	MDB_dbi blobs, ingests, info;
	MDB_dbi remote, pins;
	bool has_remote, has_pins; /* false for a reader of an environment that an older program has made */
	char *path;
	char node_id[NODE_ID_LEN + 1];
	pthread_rwlock_t map_lock;
	struct lock queue_lock;
	struct change *head, **tail;
	bool writing;
	uint64_t reserved; /* bytes of the file that have blocks; the leader's */
};

/* An LMDB or errno value as a failure of ours; `what` names the step. Returns -1. */
int meta_fail(struct stow_err *err, int rc, const char *what);

/* Begins a read transaction; every meta_read_begin() that returned 0 needs its meta_read_end().
 * Cursors are closed before: LMDB does not close those of read transactions. */
int meta_read_begin(struct meta *m, MDB_txn **ret_txn, struct stow_err *err) MUST_CHECK;
void meta_read_end(struct meta *m, MDB_txn *txn);

/* Gets `c` into a transaction, and returns when that is durable, or has failed. */
int meta_change(struct meta *m, struct change *c, struct stow_err *err) MUST_CHECK;

/* The numbers of the table `meta`. Return LMDB values. */
extern const char META_KEY_BYTES[];
int meta_number_get(struct meta *m, MDB_txn *txn, const char *name, uint64_t *ret_v);
int meta_number_put(struct meta *m, MDB_txn *txn, const char *name, uint64_t n);
/* The same for sums that an older program has not begun: they are 0 then. */
int meta_sum_get(struct meta *m, MDB_txn *txn, const char *name, uint64_t *ret_v);
int meta_sum_adjust(struct meta *m, MDB_txn *txn, const char *name, uint64_t plus, uint64_t minus);

/* A ref may be longer than LMDB's keys may be, so its SHA-256 is the key. */
void meta_ref_key(const char *ref, struct digest *ret_key);

/* NOT_FOUND for a blob without a row. Returns -1. */
int meta_fail_missing(const struct digest *d, struct stow_err *err);

/* The cursor at the first row after *after (DIGEST_NONE: of all), which may be gone meanwhile. Returns LMDB
 * values. */
int meta_cursor_begin(MDB_cursor *c, const struct digest *after, MDB_val *ret_k, MDB_val *ret_v);

/* Visits up to `max` rows of a table by digest, as meta_blobs_next() has it. */
typedef int meta_row_visit(void *arg, const struct digest *d, const MDB_val *v, struct stow_err *err);
int meta_rows_next(struct meta *m, MDB_dbi table, struct digest *cursor, size_t max, meta_row_visit *visit,
		   void *arg, size_t *ret_n, struct stow_err *err) MUST_CHECK;

/* For the functions that change `blobs`: the same in `remote`, whose sum is kept too. Return LMDB values. */
int meta_remote_add_row(struct meta *m, MDB_txn *txn, MDB_val *key, int64_t seen_ns, uint64_t size);
int meta_remote_delete_row(struct meta *m, MDB_txn *txn, MDB_val *key, uint64_t size);
/* The same in `pins`; that there is none is no failure. */
int meta_pin_delete_row(struct meta *m, MDB_txn *txn, MDB_val *key, uint64_t size);

static inline MDB_val meta_val(const void *p, size_t n)
{
	return (MDB_val){ .mv_size = n, .mv_data = (void *)(uintptr_t)p };
}

#endif
