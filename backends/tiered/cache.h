/* How much of `fast` may be filled, and what goes when it is full.
 *
 * All bytes count; only blobs go that are known to be behind, least recently used first (backend.h: used_ns),
 * and none that `keep` speaks for. There is no table of them in memory: when something has to go, a scan adds
 * up what is there and picks the oldest. CACHE_SLACK_PERCENT of the limit (of the floor, where there is no
 * limit) goes beyond what has to, so that the next one is not soon. The sum is made by the scan and adjusted
 * between two of them, so it is right after a crash, and a mistake does not last.
 *
 * That more is stored than allowed, and nothing may go, is logged once.
 *
 * Threads: any. */
#ifndef STOWAGE_BACKENDS_TIERED_CACHE_H
#define STOWAGE_BACKENDS_TIERED_CACHE_H

#include "backends/tiered/tiered.h"

struct cache;

enum { CACHE_SLACK_PERCENT = 5, CACHE_CANDIDATES = 4096 /* that one scan remembers */ };

struct cache_options {
	struct backend *fast;
	struct tiered_share max_size, min_free;
	/* Whether it must not go now: it is being read, or is on its way. No lock held. */
	bool (*keep)(void *arg, const struct digest *d);
	/* Removes its bytes from `fast`, unless it must not go after all: FAILED_PRECONDITION then. The look
	 * whether it is behind, and the removal, are one step here for whoever publishes it meanwhile. No
	 * lock held. */
	int (*evict)(void *arg, const struct digest *d, struct stow_err *err);
	void *arg;
};
struct cache *cache_new(const struct cache_options *o);
/* Its thread begins; `m` tells what is behind. */
void cache_start(struct cache *c, struct meta *m);
void cache_stop(struct cache *c);
void cache_free(struct cache *c); /* NULL is a no-op */

/* `size` bytes have come or gone. Does not block. */
void cache_added(struct cache *c, uint64_t size);
void cache_removed(struct cache *c, uint64_t size);
/* Makes room for `size` bytes more, which may take time. RESOURCE_EXHAUSTED if there is none to be had. */
int cache_make_room(struct cache *c, uint64_t size, struct stow_err *err) MUST_CHECK;

void cache_status(struct cache *c, struct fleet_status *st);

#endif
