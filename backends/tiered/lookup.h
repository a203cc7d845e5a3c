/* Who behind has a blob that is not here.
 *
 * One look at a time for a digest, whoever asks; the storages in their order. Answers are kept:
 * LOOKUP_FOUND_NS where there is one, LOOKUP_MISSED_NS where there is none. The looks run on threads of their
 * own, so that who asks can stop waiting: a late answer is kept for the next one. A storage whose circuit is
 * open is passed over.
 *
 * Nobody is told of a failure: a blob that cannot be looked for now is one that is not there, and comes from
 * its registry.
 *
 * Threads: any. */
#ifndef STOWAGE_BACKENDS_TIERED_LOOKUP_H
#define STOWAGE_BACKENDS_TIERED_LOOKUP_H

#include "backends/tiered/tier.h"

struct lookup;

enum { LOOKUP_ENTRIES = 65536 }; /* answers that are kept; the oldest go first */
static const int64_t LOOKUP_FOUND_NS = INT64_C(300000000000);
static const int64_t LOOKUP_MISSED_NS = INT64_C(10000000000);
static const int64_t LOOKUP_BAD_NS = INT64_C(3600000000000);

/* `refused` (may be NULL): whether a blob may not be adopted now from the storage that is writable, though it
 * be there (gc is about to remove it); called with no lock held, must not block. Threads begin with the first
 * look. */
struct lookup *lookup_new(struct tiers *t, int64_t timeout_ns,
			  bool (*refused)(void *arg, const struct digest *d), void *arg);
/* After tiers_stop(): what is under way ends, and everybody who waits is told NOT_FOUND. */
void lookup_stop(struct lookup *l);
void lookup_free(struct lookup *l); /* NULL is a no-op */

/* NOT_FOUND, also where that could not be found out in time. *ret_at is an index of tiers; may be NULL. */
int lookup_find(struct lookup *l, const struct digest *d, struct blob_stat *ret_st, size_t *ret_at,
		struct stow_err *err) MUST_CHECK;
/* The same from what is known already; NOT_FOUND where nothing is. Does not block. */
int lookup_known(struct lookup *l, const struct digest *d, struct blob_stat *ret_st, size_t *ret_at,
		 struct stow_err *err) MUST_CHECK;
/* Begins to look, for who will ask soon. Does not block. */
void lookup_ahead(struct lookup *l, const struct digest *d);

/* Learnt in another way. None blocks. */
void lookup_note(struct lookup *l, const struct digest *d, size_t at, uint64_t size); /* it is there */
void lookup_forget(struct lookup *l, const struct digest *d); /* whatever is known may be wrong now */
void lookup_clear(struct lookup *l); /* of all blobs: those behind may have gone without a word */
/* The bytes at `at` are not the digest's. For LOOKUP_BAD_NS it is not found there, so that it comes from
 * elsewhere, its registry for instance; an upload replaces it. */
void lookup_mark_bad(struct lookup *l, const struct digest *d, size_t at);
bool lookup_is_bad(struct lookup *l, const struct digest *d, size_t at);
void lookup_mark_good(struct lookup *l, const struct digest *d, size_t at); /* it was replaced */

#endif
