/* Which refs are in use: the lock that an open ingest has on its ref.
 *
 * Threads: any. */
#ifndef STOWAGE_CONTENT_REFS_H
#define STOWAGE_CONTENT_REFS_H

#include "content/base/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REF_BUCKETS = 1024 };

struct ingest;

/* One ref in use, embedded in who uses it. */
struct ref_hold {
	const char *name;      /* the holder's, unchanged while held */
	struct ingest *ingest; /* open, and fit to be looked at; NULL: being opened, dropped or swept */
	struct ref_hold *next;
	bool held;
	bool ending; /* its holder is about to release it, as soon as the disk lets it */
};

struct refs {
	struct lock lock;
	pthread_cond_t released;
	struct ref_hold *buckets[REF_BUCKETS];
};

void refs_init(struct refs *t);
/* No ref may be held. */
void refs_destroy(struct refs *t);

/* Takes the ref, waiting for its holder for `wait_ns` (0: not at all), or for as long as the holder that
 * is ending takes. False if it is in use. `h` is filled in. */
bool refs_take(struct refs *t, struct ref_hold *h, const char *name, int64_t wait_ns);
/* The holder does nothing any more but what makes its end durable. */
void refs_end(struct refs *t, struct ref_hold *h);
/* Gives it back; one that is not held is left alone. */
void refs_release(struct refs *t, struct ref_hold *h);
/* Lets others find `in` under the ref that `h` holds. */
void refs_show(struct refs *t, struct ref_hold *h, struct ingest *in);

/* The open ingest of that ref, or NULL. A use of it is taken by ingest_ref() before the lock goes, so
 * it is to be given back by ingest_unref(). */
struct ingest *refs_get(struct refs *t, const char *name);
/* All open ingests, as refs_get() gives them, in an array that is to be freed. */
struct ingest **refs_all(struct refs *t, size_t *ret_n);

#endif
