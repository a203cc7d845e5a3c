/* The storages behind, and whether each can be reached.
 *
 * A circuit per storage: TIER_FAILURES failures in a row open it, or a probe that fails. There is one at the
 * start, and one when somebody has asked and for TIER_PATIENCE_NS nobody has had an answer: what is asked may
 * take minutes to fail, a probe takes seconds. While the circuit is open nobody asks that storage for
 * anything but the probe, which looks whether it is back, at growing intervals, and closes it then. What
 * counts is a storage that does not answer or refuses us when it is looked at or read (UNAVAILABLE,
 * DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, FAILED_PRECONDITION, RESOURCE_EXHAUSTED); NOT_FOUND,
 * ALREADY_EXISTS, DATA_LOSS and what else concerns one blob are answers. A storage that answers and takes no
 * uploads is none of this: it still has what others need (queue.h). Opening and closing are logged, once,
 * with the reason; what fails in between is not.
 *
 * Threads: any. Nothing here blocks, but tiers_stop(). */
#ifndef STOWAGE_BACKENDS_TIERED_TIER_H
#define STOWAGE_BACKENDS_TIERED_TIER_H

#include "content/fleet.h"

#include <stdbool.h>
#include <stdint.h>

enum { TIER_FAILURES = 5 };
static const int64_t TIER_PATIENCE_NS = INT64_C(5000000000);
static const int64_t TIER_STUCK_NS = INT64_C(60000000000);

struct tier {
	struct backend *backend;
	char *name;
	struct circuit *circuit; /* tier.c's own */
};

struct tiers {
	struct tier v[FLEET_BEHIND_MAX];
	size_t n;
	bool writable;       /* v[0] takes uploads */
	int64_t patience_ns; /* TIER_PATIENCE_NS; tests may want less, before the start */
};

/* Takes the backends over. tiers_free() frees them; after tiers_stop(). */
void tiers_init(struct tiers *t, struct backend *const *behind, const char *const *names, size_t n,
		bool writable);
/* The probes' thread starts, and ends; stopping also stops the backends (backend_stop). Once each; stop also
 * without a start. */
void tiers_start(struct tiers *t);
void tiers_stop(struct tiers *t);
void tiers_free(struct tiers *t);

/* Whether it may be asked now. */
bool tier_usable(const struct tier *t);
/* A reader has waited in vain for a byte of what it says it has: looks alone are answered, perhaps. For
 * TIER_STUCK_NS nobody is told of what it has, so that it comes from its registry; reads are tried all the
 * same. Said in the log, once in that time. Does not block. */
void tier_stuck(struct tier *t);
/* Whether it may be asked, and is not stuck. */
bool tier_trusted(const struct tier *t);
/* Before an exchange with it, whose end tier_report() tells. Costs nothing, and does not block. */
void tier_ask(struct tier *t);
/* How an exchange with it ended: err is what it failed with, NULL if it has answered. CANCELLED tells
 * nothing. */
void tier_report(struct tier *t, const struct stow_err *err);
void tier_status(const struct tier *t, struct fleet_behind *ret_st);
/* Where the circuit is open: the next probe is now, not when its time comes. Does not block. */
void tier_probe(struct tier *t);
/* Called on the probe's thread whenever a circuit has closed again, not for the start; set before the start.
 */
void tiers_on_return(struct tiers *t, void (*call)(void *arg), void *arg);

#endif
