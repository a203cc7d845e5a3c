/* The backend in memory, as its own files see it. */
#ifndef STOWAGE_BACKENDS_MEM_INTERNAL_H
#define STOWAGE_BACKENDS_MEM_INTERNAL_H

#include "content/backend.h"
#include "content/base/lock.h"

#include <stdatomic.h>

#define MEM_MAGIC 0x3e3001u

enum { MEM_BUCKETS = 256 };

struct bytes {
	atomic_uint refs;
	uint8_t *p;
	size_t len, cap;
};
struct entry { /* a finished blob, or a stage that is open or kept */
	struct entry *next;
	struct digest digest;
	char name[STAGE_NAME_LEN + 1];
	int64_t modified_ns, used_ns; /* of a blob */
	struct bytes *bytes;
};
struct note;   /* mem_behind.c's */
struct record; /* likewise */
struct mem {
	struct backend base;
	unsigned magic;
	struct lock lock; /* the tables' */
	struct entry *blobs[MEM_BUCKETS];
	struct entry *stages;
	struct note *notes;     /* by name */
	struct record *records; /* of sendings */
};
struct mem *mem_from(struct backend *b);

/* Gives `m` the blob `d`, whose bytes are `n` at `p`, allocated by x_malloc and the backend's from then on.
 * What is there stays, unless it is to be replaced. */
void mem_put(struct mem *m, const struct digest *d, void *p, size_t n, bool replace);

extern const struct behind_ops mem_behind_ops;
/* Frees notes and records. */
void mem_behind_free(struct mem *m);

#endif
