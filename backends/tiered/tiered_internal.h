/* What the backend's parts are, and where each is told of the others.
 *
 *   tiered.c    the table, start and end
 *   blob.c      handles on blobs
 *   stage.c     stages: one of `fast`, and a sending beside it
 *   tier.c      the storages behind, and their circuits
 *   lookup.c    who behind has a blob
 *   queue.c     uploads after COMMIT; queue_internal.h has its other files
 *   fetch.c     what comes from behind, for readers and ahead of them
 *   pins.c      what is to stay here;  bring.c  what is brought ahead of time
 *   tree.c      what a blob refers to, by manifest.c, which reads those of images
 *   cache.c     how much may stay here; cache_scan.c: what goes
 *   keyset.c    sets of digests, sorted;  notes.c  what the notes of a fleet look like
 *   holdings.c  what this node tells the fleet
 *   gc.c        what is removed for the fleet
 *
 * Calls go one way: tiered, stage, bring -> queue, pins -> fetch -> cache, lookup, holdings -> tier; back by
 * the callbacks that each part's header has. No lock is held across any of them. */
#ifndef STOWAGE_BACKENDS_TIERED_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_INTERNAL_H

#include "backends/tiered/cache.h"
#include "backends/tiered/fetch.h"
#include "backends/tiered/holdings.h"
#include "backends/tiered/keyset.h"
#include "backends/tiered/lookup.h"
#include "backends/tiered/pins.h"
#include "backends/tiered/queue.h"
#include "backends/tiered/tiered.h"
#include "content/base/lock.h"
#include "content/claims.h"
#include "content/meta.h"

#define TIERED_MAGIC 0x71e20001u

enum { TIERED_BUCKETS = 256, TIERED_LEASES = 8 };

/* What somebody has brought here is not evicted meanwhile (fleet.h). */
struct tiered_lease {
	int64_t id;
	int64_t until_ns; /* monotonic; 0: never used */
	struct keyset keys;
};

struct tiered {
	struct backend base;
	unsigned magic;
	struct backend *fast;
	struct tiers tiers;
	struct lookup *lookup;
	struct queue *queue; /* NULL: nothing behind is writable */
	struct fetches *fetches;
	struct cache *cache;
	struct pins *pins;
	struct holdings *holdings; /* NULL likewise */
	int64_t info_timeout_ns;
	int64_t commit_wait_ns;
	bool exclusive;
	char *identity;
	bool stopped;
	struct meta *meta; /* from the start on */
	/* Held while a blob gets its bytes in `fast` or loses them: whoever evicts looks whether it is behind
	 * and removes it, and nobody must publish the same content in between. */
	struct claims claims;
	struct lock lock;                          /* for what follows */
	struct tiered_blob *open[TIERED_BUCKETS];  /* handles, by digest */
	struct tiered_stage *stages;               /* open ones: stage.c's */
	struct tiered_lease leases[TIERED_LEASES]; /* bring.c's */
};
struct tiered *tiered_from(struct backend *b);

/* The slots of the table that blob.c fills; their promises are those of struct backend_ops. */
int tiered_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		struct stow_err *err);
void tiered_close(struct blob *blob);
int tiered_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		 struct stow_err *err);
/* Whether somebody reads the blob, or did a moment ago. */
bool tiered_is_read(struct tiered *t, const struct digest *d);
/* The blob's handles give up the bytes in `fast`; they open it anew when they are read. */
void tiered_give_up(struct tiered *t, const struct digest *d);
/* The blob loses its bytes in `fast`, and the cache hears of it; the caller holds the claim. */
int tiered_drop_fast(struct tiered *t, const struct digest *d, struct stow_err *err);

/* The slot of struct fleet_ops that bring.c fills. */
int tiered_bring(struct backend *b, const struct digest *d, uint64_t size, int64_t lease, bool begin,
		 struct fleet_brought *ret_b, struct stow_err *err);
/* Whether it was asked for so that it must not be evicted now. */
bool tiered_is_leased(struct tiered *t, const struct digest *d);

/* The slots of the table that stage.c fills; their promises are those of struct backend_ops. */
int tiered_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			struct stage **ret_st, struct stow_err *err);
int tiered_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			struct stage **ret_st, struct stow_err *err);
int tiered_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err);
int tiered_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err);
int tiered_stage_sync(struct stage *st, struct stow_err *err);
int tiered_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
		       struct stow_err *err);
int tiered_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err);
void tiered_stage_close(struct stage *st);
int tiered_stage_discard(struct backend *b, const char *name, struct stow_err *err);
int tiered_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

#endif
