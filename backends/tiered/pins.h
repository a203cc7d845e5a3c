/* What people want to stay here: the table `pins` of meta.h, and the bytes that belong to it.
 *
 * A thread looks whether the bytes of all pinned blobs are here, and has those brought that are not: at the
 * start, when something was pinned, after PINS_RETRY_NS and ever longer while some are missing and none
 * comes, and every PINS_LOOK_NS. Together they are held to max_size: what is pinned beyond it, because that
 * is smaller than it was, is not brought.
 *
 * Who evicts asks the table, with the claim on the digest (tiered_internal.h). Whoever pins waits for that
 * claim after its row is durable: so an eviction that had not seen the row has ended when the thread looks.
 *
 * Threads: any, where nothing else is said. */
#ifndef STOWAGE_BACKENDS_TIERED_PINS_H
#define STOWAGE_BACKENDS_TIERED_PINS_H

#include "backends/tiered/fetch.h"
#include "content/claims.h"

struct pins;

static const int64_t PINS_RETRY_NS = INT64_C(10000000000);
static const int64_t PINS_LOOK_NS = INT64_C(600000000000);

struct pins_options {
	struct backend *front; /* which manifests are read from, wherever they are */
	struct backend *fast;
	struct fetches *fetches;
	struct cache *cache;
	struct claims *claims; /* of who evicts */
};
struct pins *pins_new(const struct pins_options *o);
/* Its thread begins. */
void pins_start(struct pins *p, struct meta *m);
void pins_stop(struct pins *p); /* also without a start */
void pins_free(struct pins *p); /* NULL is a no-op */

/* As fleet.h has them; after the start. One at a time, the others wait. */
int pins_pin(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p,
	     struct stow_err *err) MUST_CHECK;
int pins_unpin(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p,
	       struct stow_err *err) MUST_CHECK;
/* What is missing is tried now. Does not block. */
void pins_flush(struct pins *p);
/* Fills in what is the pins' in *st. */
int pins_status(struct pins *p, struct fleet_status *st, struct stow_err *err) MUST_CHECK;

#endif
