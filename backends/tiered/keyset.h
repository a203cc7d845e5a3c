/* A set of digests by their first 64 bits: what a fleet tells of its blobs, and compares, is this much of
 * each. Two digests that share them count as one. That errs on the safe side, since sets only say what is to
 * be kept or left alone; and of a million blobs it happens once in 10 million fleets.
 *
 * Threads: none of its own; one user at a time. */
#ifndef STOWAGE_BACKENDS_TIERED_KEYSET_H
#define STOWAGE_BACKENDS_TIERED_KEYSET_H

#include "content/base/digest.h"

#include <stddef.h>

/* All zero is an empty one. */
struct keyset {
	uint64_t *slots; /* owned; 0: free */
	size_t cap;      /* 0 or a power of 2 */
	size_t n;        /* without the key 0 */
	bool zero;       /* the key 0 is in it */
};

/* The digest's first eight bytes, the first one the highest. */
uint64_t keyset_key(const struct digest *d);

void keyset_free(struct keyset *s); /* what it holds; it is empty then. Fit for CLEANUP */
void keyset_add(struct keyset *s, uint64_t key);
void keyset_remove(struct keyset *s, uint64_t key);
bool keyset_has(const struct keyset *s, uint64_t key);
size_t keyset_count(const struct keyset *s);
/* What `from` has is in `s` afterwards, except what is in `but` (may be NULL). */
void keyset_add_all(struct keyset *s, const struct keyset *from, const struct keyset *but);
/* Goes through it: *at is 0 at first. False at the end. Nothing may be added meanwhile. */
bool keyset_next(const struct keyset *s, size_t *at, uint64_t *ret_key);

#endif
