/* What the files of the store know about an ingest. */
#ifndef STOWAGE_CONTENT_INGEST_INTERNAL_H
#define STOWAGE_CONTENT_INGEST_INTERNAL_H

#include "content/backend.h"
#include "content/base/hash.h"
#include "content/base/lock.h"
#include "content/base/pool.h"
#include "content/ingest.h"
#include "content/meta.h"
#include "content/refs.h"

#include <stdatomic.h>

#define INGEST_MAGIC 0x494e4753u

struct ingest {
	uint32_t magic;
	atomic_uint users; /* the handle's holder, and who reached it through the table of refs */
	struct store *store;
	char *ref;
	struct ref_hold hold;
	char stage_name[STAGE_NAME_LEN + 1];

	/* The handle's user alone. */
	struct stage *stage;
	struct hash *hash;          /* SHA-256 of all bytes */
	uint64_t checkpoint_offset; /* bytes at the last checkpoint that was begun */
	int64_t checkpoint_mono_ns; /* its time */

	struct lock lock;            /* for all that follows */
	struct ingest_status status; /* its ref is NULL: see above */
	bool aborted;                /* by another stream */
	bool over;                   /* committed, parked or dropped: the handle is gone */
	bool busy;                   /* somebody changes what is durable of it */
	pthread_cond_t idle;         /* busy has ended */
	bool has_row;                /* the database knows it */
	uint64_t synced;             /* bytes that are durable */
	struct stow_err sync_err;    /* code not OK: a sync has failed, the bytes after `synced` are lost */

	/* The checkpoint under way, its job's while busy. */
	struct job checkpoint_job;
	struct hash_state checkpoint_hash;
};

void ingest_ref(struct ingest *in);
void ingest_unref(struct ingest *in);

/* Drops an open ingest on behalf of another stream than its own: takes it off its ref, with bytes and
 * row. False if it was over or aborted before that; then the ref has to be looked up again. */
bool ingest_abort(struct ingest *in, int *ret_result, struct stow_err *err);
/* Removes row and bytes of a parked ingest whose ref the caller holds. */
int parked_drop(struct store *s, const struct ingest_row *row, struct stow_err *err) MUST_CHECK;

#endif
