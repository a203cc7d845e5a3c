/* What the tests and the fuzzer of proto/wire.h share: messages in pieces, and what was read of them as
 * text, so that two readings can be compared. */
#ifndef STOWAGE_TESTS_WIRE_ENV_H
#define STOWAGE_TESTS_WIRE_ENV_H

#include "proto/wire.h"

/* A message in pieces, each in memory of its own, exactly as long as it is. */
struct pieces {
	struct iovec *iov;
	int n;
};
/* Cut at the `n` places, which do not fall. A place that comes twice makes an empty piece. */
struct pieces pieces_cut(const void *p, size_t size, const size_t *places, int n);
/* Cut by chance; the same for the same seed. Seed 0 leaves it whole, seed 1 cuts everywhere. */
struct pieces pieces_random(const void *p, size_t size, unsigned seed);
void pieces_free(struct pieces *p); /* fit for CLEANUP */
/* Whether `n` bytes at `at` lie in one of them. */
bool pieces_hold(const struct pieces *p, const void *at, size_t n);

enum wire_kind { KIND_DIGEST, KIND_REF, KIND_FILTER, KIND_UPDATE, KIND_WRITE, KIND_HEALTH, KIND_COUNT };
/* Decodes as a request of that kind, and says what was read, or how it failed. To be freed. Stops the
 * process if a promise of the decoder does not hold. */
char *wire_reading(enum wire_kind kind, const struct pieces *p);

/* The data of `w` as one run, to be freed. Each piece lies in `p`, and none is empty. */
uint8_t *wire_data(const struct wire_write *w, const struct pieces *p);

#endif
