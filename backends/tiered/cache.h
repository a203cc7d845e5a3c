/* How much of `fast` may be filled, and what goes when it is full.
 *
 * What counts: the bytes of all blobs; what a fetch has been promised room for, from the promise on; and the
 * stages that fetches have left for later. The stages of ingests do not count before they are blobs: they are
 * the store's, which sweeps those that nobody goes on with, and nothing could be done here about one that is
 * too large. The floor of free space sees them all the same, since the disk does.
 *
 * What goes: stages that are kept for later, and that nobody works on, before any blob (`drop_kept`). Then
 * blobs that are known to be behind, least recently used first (backend.h: used_ns), and none that `keep`
 * speaks for. There is no table of them in memory: when something has to go, a scan adds up what is there and
 * picks the oldest. CACHE_SLACK_PERCENT of the limit (of the floor, where there is no limit) goes beyond what
 * has to, so that the next one is not soon. The sum is made by the scan and adjusted between two of them, so
 * it is right after a crash, and a mistake does not last.
 *
 * That more is stored than allowed, and for a minute nothing more could go, is logged once.
 *
 * Threads: any; a struct cache_room is one thread's at a time. */
#ifndef STOWAGE_BACKENDS_TIERED_CACHE_H
#define STOWAGE_BACKENDS_TIERED_CACHE_H

#include "backends/tiered/tiered.h"

struct cache;

enum {
	CACHE_SLACK_PERCENT = 5,
	CACHE_CANDIDATES = 4096, /* that one scan remembers */
	CACHE_SQUEEZE = 16,      /* blobs that go where the disk is full of it does not say what */
};

struct cache_options {
	struct backend *fast;
	struct tiered_share max_size, min_free;
	/* Whether it must not go now: it is being read, or is on its way. No lock held. */
	bool (*keep)(void *arg, const struct digest *d);
	/* Removes its bytes from `fast`, unless it must not go after all: FAILED_PRECONDITION then. The look
	 * whether it is behind, and the removal, are one step here for whoever publishes it meanwhile. No
	 * lock held. */
	int (*evict)(void *arg, const struct digest *d, struct stow_err *err);
	/* Removes stages that are kept for later, the oldest first, until `goal` bytes are gone or none is
	 * left, and drops their rooms. Returns how many bytes are gone. No lock held. */
	uint64_t (*drop_kept)(void *arg, uint64_t goal);
	int64_t patience_ns; /* for how long there may be too much before that is logged; 0: a minute */
	void *arg;
};
struct cache *cache_new(const struct cache_options *o);
/* Its thread begins; `m` tells what is behind. */
void cache_start(struct cache *c, struct meta *m);
void cache_stop(struct cache *c);
void cache_free(struct cache *c); /* after all rooms; NULL is a no-op */

/* `size` bytes of a blob have come or gone, for which there was no room promised. Does not block. */
void cache_added(struct cache *c, uint64_t size);
void cache_removed(struct cache *c, uint64_t size);

/* --- room for what comes slowly ---
 *
 *   empty      all zero          cache_make_room, cache_room_found            promised
 *   promised   counts in full    the same; _written, _keep_written            promised
 *                                cache_room_used: it is a blob now            empty
 *                                cache_room_drop: it is not, and gone         empty
 *
 * Every room that is not empty ends by one of the last two, by whoever has it then. */
struct cache_room {
	struct cache *cache;
	uint64_t bytes;
	uint64_t written; /* of these, which the disk's free space is without already */
};

/* Promises `size` bytes more to *room, and makes room for them, which may take time. RESOURCE_EXHAUSTED if
 * there is none to be had: *room is as it was. No two calls get the same room. */
int cache_make_room(struct cache *c, uint64_t size, struct cache_room *room, struct stow_err *err) MUST_CHECK;
/* `size` bytes more are there already, of an earlier process for instance: they count, allowed or not. Does
 * not block, as all that follow. */
void cache_room_found(struct cache *c, uint64_t size, struct cache_room *room);
/* So many of its bytes are on the disk now, in all. */
void cache_room_written(struct cache_room *r, uint64_t written);
/* The rest is given back: it is only kept for later. */
void cache_room_keep_written(struct cache_room *r);
/* The bytes are a blob now, and count as one. */
void cache_room_used(struct cache_room *r);
/* There are no such bytes, or not any more. An empty one is a no-op; fit for CLEANUP. */
void cache_room_drop(struct cache_room *r);

/* The disk has taken no more, of bytes or of files, whatever its numbers say: something goes, `size` bytes
 * and CACHE_SQUEEZE blobs if so much may go. False: nothing has gone, and to try again is of no use. May take
 * time. */
bool cache_squeeze(struct cache *c, uint64_t size);

/* Fills in what is the cache's in *st. Does not block, but for asking the file system. */
void cache_status(struct cache *c, struct fleet_status *st);
/* Whether so many bytes would fit if there were nothing else. */
bool cache_can_hold(struct cache *c, uint64_t size);

#endif
