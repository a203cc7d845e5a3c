/* Streaming hashes whose state can be looked at, saved and taken up again.
 *
 * The saved state is what makes resuming an ingest O(1). OpenSSL's EVP interface cannot export a
 * running state, so hash.c uses its low-level SHA functions, whose context is public. The saved
 * form is our own: algorithm, count, chaining words (big endian) and the bytes of the open block,
 * so that it does not depend on OpenSSL's layout or on the machine.
 *
 * Threads: one user at a time. */
#ifndef STOWAGE_BASE_HASH_H
#define STOWAGE_BASE_HASH_H

#include "content/base/digest.h"

#include <stddef.h>

struct hash;

enum { HASH_STATE_MAX = 1 + 8 + 64 + 128 };
struct hash_state {
	uint8_t len; /* bytes used of b; 0: no state */
	uint8_t b[HASH_STATE_MAX];
};

/* `alg` is not DIGEST_NONE. */
struct hash *hash_new(enum digest_alg alg);
void hash_free(struct hash *h); /* NULL is a no-op */
void hash_freep(struct hash **h);

void hash_reset(struct hash *h);
void hash_update(struct hash *h, const void *p, size_t n);
/* The digest of all bytes so far; the hash goes on afterwards. */
void hash_digest(const struct hash *h, struct digest *ret_d);

void hash_save(const struct hash *h, struct hash_state *ret_st);
/* Takes up a saved state of the same algorithm. DATA_LOSS, and the hash is unchanged, if it
 * is no state of that kind. */
int hash_restore(struct hash *h, const struct hash_state *st, struct stow_err *err) MUST_CHECK;
/* How many bytes went into a saved state; 0 for an empty one. */
uint64_t hash_state_count(const struct hash_state *st);

#endif
