/* The backends that there are, and how each one is made. Only cmd/ and the tests include this:
 * everyone else knows a backend by its table alone (content/backend.h). */
#ifndef STOWAGE_BACKENDS_H
#define STOWAGE_BACKENDS_H

#include "content/backend.h"

#include <stdatomic.h>

/* Bytes in the directory `path`, which is made if it is missing (mode 0700):
 *
 *   blobs/<alg>/<hex>   finished blobs, as containerd's own store and an OCI image layout have them
 *   ingest/<name>       stages
 *
 * The failure names the path. */
int local_new(const char *path, struct backend **ret_b, struct stow_err *err) MUST_CHECK;

/* How a directory, or a bucket, that others have filled is laid out. */
enum source_layout {
	SOURCE_REGISTRY, /* the distribution registry's: docker/registry/v2/blobs/<alg>/<2 of hex>/<hex>/data
			  */
	SOURCE_STOWAGE,  /* ours, and containerd's: blobs/<alg>/<hex> */
};
/* Where the blobs are below the directory: "blobs". Static storage. */
const char *source_dir_top(enum source_layout layout);
/* The blobs in the directory `path`, for reading alone: what would change anything is UNIMPLEMENTED. Fit to
 * stand behind a tiered backend. NOT_FOUND if there is no such directory; one that is empty, or comes to be
 * filled later, is none of our business. */
int source_dir_new(const char *path, enum source_layout layout, struct backend **ret_b,
		   struct stow_err *err) MUST_CHECK;

/* Bytes in memory, lost with the process: the reference that the suite is written against. */
int mem_new(struct backend **ret_b, struct stow_err *err) MUST_CHECK;
/* Another backend with the blobs and notes of `b`, which is one of these: as another machine would have it,
 * so with stages, and records of what it sends, of its own. What they share lasts as long as the last of
 * them. */
struct backend *mem_share(struct backend *b);

/* What can go wrong, one slot an operation. Each counts down: 0 or less is "never", n is "the n-th
 * call from now", once; set `forever` to fail from then on. */
enum fault_op {
	FAULT_STAT,
	FAULT_OPEN,
	FAULT_PREAD,
	FAULT_REMOVE,
	FAULT_SCAN,
	FAULT_STAGE_CREATE,
	FAULT_STAGE_RESUME,
	FAULT_STAGE_WRITE,
	FAULT_STAGE_TRUNCATE,
	FAULT_STAGE_SYNC,
	FAULT_STAGE_PREAD,
	FAULT_STAGE_PUBLISH,
	FAULT_STAGE_DISCARD,
	FAULT_STAGE_SCAN,
	FAULT_SPACE,
	FAULT_LOOK, /* this and what follows: content/behind.h */
	FAULT_DROP,
	FAULT_PROBE,
	FAULT_SEND_OPEN,
	FAULT_SEND_REWIND,
	FAULT_SEND_MOVE,
	FAULT_SEND_FINISH,
	FAULT_SEND_DISCARD,
	FAULT_SEND_SCAN,
	FAULT_NOTE_PUT,
	FAULT_NOTE_GET,
	FAULT_NOTE_REMOVE,
	FAULT_NOTE_SCAN,
	FAULT_OP_COUNT,
};
struct fault_plan {
	atomic_int after[FAULT_OP_COUNT];
	atomic_bool forever;
	_Atomic(enum stow_code) code; /* of the failure */
	atomic_bool shorten;          /* preads that fail return half the bytes instead */
	atomic_bool hang;     /* calls that fail wait before, until this is false again or backend_stop() */
	atomic_uint delay_us; /* before every call */
	_Atomic uint64_t space_free, space_total; /* `space` answers so, unless the total is 0 */
};

/* Decorates `inner`, no tiered one, which it owns from then on (also on failure). `plan` is the caller's,
 * outlives the backend, and may be changed at any time. With an all-zero plan it is invisible. */
int fault_new(struct backend *inner, struct fault_plan *plan, struct backend **ret_b,
	      struct stow_err *err) MUST_CHECK;

#endif
