/* The content store: what containerd calls content.Store, over one backend and one database.
 *
 * A blob is listed from the moment when its bytes and its row are durable, never earlier. Bytes are
 * the truth: a blob that the backend has and the database does not know (the database was lost, or a
 * person put it there) is adopted when it is asked for, or by store_reconcile().
 *
 * Threads: every function from any thread, except open and close. They may block, except those that
 * say otherwise. */
#ifndef STOWAGE_CONTENT_STORE_H
#define STOWAGE_CONTENT_STORE_H

#include "content/backend.h"
#include "content/base/pool.h"
#include "content/filter.h"
#include "content/fleet.h"
#include "content/ingest.h"
#include "content/meta.h"

#include <stdatomic.h>

struct store;

struct store_options {
	const char *root;        /* directory of the database and the lock; made if it is missing */
	const char *bytes;       /* directory that the backend has for itself, locked too; NULL: none */
	struct backend *backend; /* the store's from then on, also when opening fails */
};

/* What was found at the start, for the log. */
struct store_opened {
	bool created;         /* the database is new: the blobs will be adopted */
	char set_aside[4096]; /* where the damaged one was moved; "" if it was sound */
	uint64_t strays;      /* stages that no ingest knew, removed */
};

/* Locks both directories (FAILED_PRECONDITION, naming the process, if another one has them), opens the
 * database, setting it aside if it is damaged, and removes what cannot be resumed: stages without a
 * row, and rows without their stage. Does not look at the blobs' bytes; the database is read once, which
 * takes some 0.1 s a million blobs. To be called before there are threads. */
int store_open(const struct store_options *o, struct store **ret_s, struct store_opened *ret_o,
	       struct stow_err *err) MUST_CHECK;
/* Gives it the pool for its checkpoints, which outlives the open ingests; before the first of them. A pool
 * of their own: those who wait for a checkpoint, an Abort for instance, wait on workers, and it must
 * not stand in the queue behind them. */
void store_use_pool(struct store *s, struct pool *p);
/* What the backend does beside the calls begins (backend.h: start), and ends. Stopping may be done twice. */
void store_start(struct store *s);
void store_stop(struct store *s);
/* No ingest may be open, and no blob read. NULL is a no-op. */
void store_close(struct store *s);
void store_closep(struct store **s);

/* A random name of this store; borrowed for its life. */
const char *store_node_id(const struct store *s);

/* Paths below a root: "<root>/meta.mdb", "<root>/lock". To be freed. */
char *store_meta_path(const char *root);
char *store_lock_path(const char *root);

/* Of a tiered backend: -1 with UNIMPLEMENTED where the store has another. */
int store_fleet_status(struct store *s, struct fleet_status *ret_st, struct stow_err *err) MUST_CHECK;
int store_flush(struct store *s, struct stow_err *err) MUST_CHECK;
/* As fleet.h has them. NOT_FOUND for a digest that the database has not. */
int store_pin(struct store *s, const struct digest *d, struct fleet_pinned *ret_p,
	      struct stow_err *err) MUST_CHECK;
int store_unpin(struct store *s, const struct digest *d, struct fleet_pinned *ret_p,
		struct stow_err *err) MUST_CHECK;
/* The same; adopts what is not in the database, as store_info() does. *ret_b is to be freed. */
int store_bring(struct store *s, const struct digest *d, int64_t lease, bool begin,
		struct fleet_brought *ret_b, struct stow_err *err) MUST_CHECK;

/* Of backend_far: what of the backend's may wait for another machine. It concerns: READ store_read_begin()
 * and store_read() without a flag; STAT store_info(), and store_update() of what the database does not have;
 * COMMIT ingest_commit(), and store_abort() of what is being committed; REMOVE store_delete(). */
unsigned store_far(const struct store *s);

/* --- blobs --- */

/* From the database alone, without blocking: NOT_FOUND may only mean that store_info() has to look. */
int store_info_now(struct store *s, const struct digest *d, struct blob_info *ret_i,
		   struct stow_err *err) MUST_CHECK;
/* NOT_FOUND if neither the database nor the backend has it. *ret_i is to be freed. */
int store_info(struct store *s, const struct digest *d, struct blob_info *ret_i,
	       struct stow_err *err) MUST_CHECK;
/* Whether the database has it; does not block. */
bool store_has(struct store *s, const struct digest *d);

/* labels_apply() on the blob's labels. Gives the blob as it is then, to be freed. */
int store_update(struct store *s, const struct digest *d, const struct labels *from, const char *const *paths,
		 size_t n, struct blob_info *ret_i, struct stow_err *err) MUST_CHECK;

/* The filter_lookup of blobs: `subject` is a struct blob_info. The result is good until the thread's next
 * call. */
const char *blob_info_field(const void *subject, const char *first, const char *joined);

/* Visits up to `max` blobs that `f` matches, after *cursor (DIGEST_NONE: from the start); *cursor
 * moves on, *ret_end tells that there are no more. `visit` as meta_blobs_next() has it. */
int store_list(struct store *s, const struct filter *f, struct digest *cursor, size_t max,
	       meta_blob_visit *visit, void *arg, bool *ret_end, struct stow_err *err) MUST_CHECK;

/* Row and bytes go, in this order; where the backend fails, the row comes back. Readers that have it open
 * finish. */
int store_delete(struct store *s, const struct digest *d, struct stow_err *err) MUST_CHECK;

/* Number and bytes of all blobs. Does not block. */
int store_count(struct store *s, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* --- reading --- */

struct open_blob;

/* An open blob, to be given back by store_read_end(). NOT_FOUND if there is no such blob; DATA_LOSS
 * if its bytes are not as many as recorded. With BACKEND_READ_NEAR, UNAVAILABLE where only the network could
 * tell. */
int store_read_begin(struct store *s, const struct digest *d, unsigned flags, struct open_blob **ret_b,
		     struct stow_err *err) MUST_CHECK;
/* The same without blocking: NULL where store_read_begin() is needed. */
struct open_blob *store_read_begin_now(struct store *s, const struct digest *d);
uint64_t store_read_size(const struct open_blob *b);
/* As blob_pread(), flags included. */
int store_read(struct store *s, struct open_blob *b, void *to, size_t n, uint64_t off, unsigned flags,
	       size_t *ret_n, struct stow_err *err) MUST_CHECK;
void store_read_end(struct store *s, struct open_blob *b);

/* --- ingests; see also ingest.h --- */

/* An open or parked one. *ret_s is to be freed. */
int store_ingest_status(struct store *s, const char *ref, struct ingest_status *ret_s,
			struct stow_err *err) MUST_CHECK;
typedef int store_ingest_visit(void *arg, const struct ingest_status *st, struct stow_err *err);
/* Visits all open and parked ones that `f` matches, each once. */
int store_ingests(struct store *s, const struct filter *f, store_ingest_visit *visit, void *arg,
		  struct stow_err *err) MUST_CHECK;
/* Drops it with its bytes; if it is open, its stream's next message fails. */
int store_abort(struct store *s, const char *ref, struct stow_err *err) MUST_CHECK;

/* --- upkeep, on a thread of its own --- */

/* Drops the ingests that nobody has touched for `age_ns`; *ret_n counts them. */
int store_sweep(struct store *s, int64_t age_ns, uint64_t *ret_n, struct stow_err *err) MUST_CHECK;

struct reconciled {
	uint64_t seen;    /* blobs that the backend has */
	uint64_t adopted; /* that the database did not know */
	uint64_t dropped; /* rows whose bytes are gone */
};
/* Makes the database agree with the backend: adopts blobs without a row, drops rows without bytes.
 * Others go on meanwhile. Ends early, with 0, once *stop is true. Does nothing over a remote backend, whose
 * blobs may be many: each is adopted, or its row dropped, when somebody asks for it. */
int store_reconcile(struct store *s, const atomic_bool *stop, struct reconciled *ret_r,
		    struct stow_err *err) MUST_CHECK;

#endif
