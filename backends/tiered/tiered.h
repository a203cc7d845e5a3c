/* A fast backend in front of others: local bytes in front of a bucket that a fleet shares, and of sources
 * that others have filled.
 *
 *   fast       has the stages, and the bytes of what was committed here; of everything else it is a cache
 *   behind[0]  takes every blob that is committed here, later or at once (where `writable`)
 *   behind[1]  and so on are asked for blobs, in this order, and never changed
 *
 * What this node shows is what it has committed or adopted (the store's rows); what is behind, and was not
 * asked for, it does not show. A blob is adopted when somebody asks for it and one of those behind has it.
 * No trouble behind is trouble here: who asks whether a blob is there is told so within info_timeout, or that
 * it is not; what cannot be uploaded now is uploaded later.
 *
 * Read tiered_internal.h for the parts. */
#ifndef STOWAGE_BACKENDS_TIERED_H
#define STOWAGE_BACKENDS_TIERED_H

#include "content/backend.h"
#include "content/fleet.h"

/* A share of a storage, or a number of bytes; both 0: none. */
struct tiered_share {
	uint64_t bytes;
	unsigned percent; /* of the storage's size, where it is not 0 */
};

struct tiered_options {
	struct backend *fast;                     /* the backend's from then on, also on failure */
	struct backend *behind[FLEET_BEHIND_MAX]; /* likewise; each with ops->behind */
	const char *names[FLEET_BEHIND_MAX];      /* for people; copied */
	size_t n_behind;                          /* at least 1 */
	bool writable;                            /* behind[0] is no source */
	/* What is known to be behind is forgotten when this is another text than at the last start; borrowed
	 * for the call. */
	const char *identity;

	int64_t info_timeout_ns;
	int64_t commit_wait_ns;    /* INT64_MAX: a COMMIT fails where its upload does */
	bool exclusive;            /* removing a blob removes it from behind[0], too */
	unsigned uploads;          /* at once, after their COMMIT */
	uint64_t upload_bandwidth; /* bytes a second for these; 0: no limit */
	unsigned prefetch;         /* fetches at once of what nobody reads yet */
	struct tiered_share max_size, min_free;
	int64_t claim_interval_ns; /* how often the node's holdings are published, if they have changed */
	int64_t claim_grace_ns;    /* a node that was not heard of for so long is taken for gone */
	int64_t recheck_every_ns;  /* how often each blob behind is looked for again; 0: never */
};

/* Does not wait for the network. It answers calls at once, but uploads, brings and publishes nothing before
 * backend_start(). */
int tiered_new(const struct tiered_options *o, struct backend **ret_b, struct stow_err *err) MUST_CHECK;

#endif
