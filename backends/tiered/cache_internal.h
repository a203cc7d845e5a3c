/* The cache, as its files see it: cache.c has the limits, the thread and the rooms, cache_scan.c finds what
 * may go. */
#ifndef STOWAGE_BACKENDS_TIERED_CACHE_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_CACHE_INTERNAL_H

#include "backends/tiered/cache.h"
#include "content/base/lock.h"

#define CACHE_MAGIC 0x71e20004u

struct cache {
	unsigned magic;
	struct cache_options o;
	struct meta *meta; /* from the start on */
	pthread_t thread;
	/* The thread's: since when (monotonic) nothing could be removed, 0 where that is not so; and that it
	 * was logged. */
	int64_t stuck_ns;
	bool complained;

	struct lock lock; /* for what follows */
	pthread_cond_t poked, rounded;
	bool running, stopping;
	bool resting;       /* a moment ago nothing was left that could be removed */
	int64_t bytes;      /* of all blobs */
	uint64_t promised;  /* of all rooms */
	uint64_t unwritten; /* of these, which the disk does not have yet */
	int64_t unlooked;   /* that were added since the thread has looked */
	uint64_t wanted;    /* that others wait for room for */
	uint64_t squeeze;   /* that must go whatever the limits are */
	uint64_t limit;     /* 0: none; as it was last */
	uint64_t rounds;    /* that the thread has begun, and ended */
	uint64_t rounds_done;
	uint64_t drops; /* how often something went */
	uint64_t evicted, evicted_bytes;
};

/* A blob that may go. */
struct candidate {
	struct digest digest;
	uint64_t size;
	int64_t used_ns;
};

/* What one scan finds. */
struct pick {
	struct cache *c;
	uint64_t sum;        /* of all blobs */
	struct candidate *v; /* room for CACHE_CANDIDATES, lent; NULL: only the sum is wanted */
	size_t n;            /* those that were not used for longest, and these in that order */
	bool more;           /* there were others that could go */
};

/* Puts the sum right, too. False if it failed or was stopped. */
bool cache_scan(struct pick *p);

#endif
