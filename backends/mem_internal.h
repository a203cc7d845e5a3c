/* The backend in memory: two tables of reference-counted bytes under one lock. A blob's bytes never change
 * once they are in the table, so its readers need no lock. A stage's bytes belong to its one user until they
 * are published.
 *
 *   mem.c          the table, blobs and stages
 *   mem_behind.c   sendings and notes */
#ifndef STOWAGE_BACKENDS_MEM_INTERNAL_H
#define STOWAGE_BACKENDS_MEM_INTERNAL_H

#include "backends/backends.h"
#include "content/base/lock.h"
#include "content/behind.h"

#define MEM_MAGIC 0x3e3001u

enum { MEM_BUCKETS = 256 };

struct bytes {
	atomic_uint refs;
	uint8_t *p;
	size_t len, cap;
};
struct bytes *bytes_ref(struct bytes *b);
void bytes_unref(struct bytes *b);

struct entry { /* a finished blob, or a stage that is open or kept */
	struct entry *next;
	struct digest digest;
	char name[STAGE_NAME_LEN + 1];
	struct bytes *bytes;
	int64_t modified_ns, used_ns; /* of a blob, as is the next */
	uint64_t version;
};

struct note;
struct record;

/* What backends that share their blobs have together. */
struct mem_store {
	atomic_uint refs; /* backends */
	struct lock lock; /* for all tables, those of the backends too */
	struct entry *blobs[MEM_BUCKETS];
	uint64_t versions;  /* given so far */
	struct note *notes; /* in the order of their names */
};
struct mem {
	struct backend base;
	unsigned magic;
	struct mem_store *store;
	struct entry *stages;
	struct record *records;
};
struct mem *mem_from(struct backend *b);

int mem_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err);

/* Where the blob's entry hangs, or would hang: *result is NULL if there is none. */
struct entry **mem_find_blob_locked(struct mem *m, const struct digest *d);
/* A blob that is not there yet. The bytes are referred to, not taken. */
void mem_add_blob_locked(struct mem *m, const struct digest *d, struct bytes *bytes);
void mem_entry_drop(struct entry **at);

extern const struct behind_ops mem_behind_ops;
void mem_records_free(struct mem *m);
void mem_notes_free(struct mem_store *s);

#endif
