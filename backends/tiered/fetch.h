/* Reading what is only behind, and bringing it here.
 *
 * One fetch for a digest, for any number of readers: it reads the blob behind in order, hashes it, and writes
 * it to a stage of `fast`, from which the readers are served as the bytes arrive. Who reads far ahead of it
 * is served from behind directly. The last FETCH_HELD bytes are given to a reader only when the whole has
 * been proven by its hash, so nobody has read a wrong blob to its end. What that proves are the bytes of one
 * object: where they come from another one in the midst, who was served from the first directly begins again.
 *
 *   state      entered by             readers get                                next
 *   WANTED     fetch_open, _prefetch  wait: who has it is being found out        COMING GOOD FAILED BROKEN
 *   COMING     one behind has it      bytes as they come                         GOOD BROKEN STREAMED FAILED
 *   BROKEN     a failure behind       wait; UNAVAILABLE after FETCH_PATIENCE_NS  COMING STREAMED FAILED
 *   STREAMED   no room for it here    bytes from behind; the end when proven     BROKEN FAILED
 *   GOOD       proven and published   ALREADY_EXISTS: it is in `fast`            gone
 *   FAILED     see below              why                                        gone
 *
 * It fails where its hash is another one (DATA_LOSS: logged, with the storage's name, and lookup_mark_bad());
 * where nobody behind has it (NOT_FOUND) or all who have it are bad (DATA_LOSS); where it was removed
 * (NOT_FOUND); and with UNAVAILABLE where nothing can be said against a storage: the hash is another one, but
 * the bytes came from two storages, or from an earlier process. The next fetch begins at the beginning then.
 *
 * A fetch that nobody reads any more goes on, within the limit of `prefetch`. One that is broken then is
 * tried again FETCH_TRIES times, and ends; its stage is kept. Where a reader has the fetch, it is tried again
 * while somebody waits. While no storage behind can be reached nothing is prefetched. Kept stages are taken
 * up again when their blob is wanted: the bytes that are there are hashed, not fetched. After a restart those
 * whose blob is in the node's view are wanted, and the others are removed.
 *
 * The cache promises each fetch room for all of its blob before the first byte comes, until the blob is here
 * or comes without being kept. A kept stage counts with the bytes that it has, and is the first to go.
 *
 * Threads: any. */
#ifndef STOWAGE_BACKENDS_TIERED_FETCH_H
#define STOWAGE_BACKENDS_TIERED_FETCH_H

#include "backends/tiered/cache.h"
#include "backends/tiered/lookup.h"

#include <string.h>

struct fetches;
struct fetch_reader;

#define FETCH_HELD (UINT64_C(64) << 10)
#define FETCH_PIECE (UINT64_C(1) << 20) /* what is read, hashed and written at a time */
#define FETCH_AHEAD (UINT64_C(8) << 20) /* who reads further ahead than this is served from behind */
static const int64_t FETCH_PATIENCE_NS = INT64_C(30000000000); /* without a byte */
enum {
	FETCH_TRIES = 5,
	FETCH_QUEUE = 4096, /* prefetches that wait; a blob that is one too many comes when it is read */
	FETCH_LOOKS = 64,   /* children of one manifest that are looked up ahead */
};

struct fetches_options {
	struct backend *fast;
	struct tiers *tiers;
	struct lookup *lookup;
	struct cache *cache;
	unsigned prefetch; /* fetches at once that nobody reads; those with readers are not limited by it */
	/* The stage, whose bytes have been proven, becomes the blob `d` of `fast`. FAILED_PRECONDITION: this
	 * node has no such blob any more, so that its bytes must not come to be here. No lock held. */
	int (*publish)(void *arg, struct stage *st, const struct digest *d, struct stow_err *err);
	void *arg;
};
struct fetches *fetches_new(const struct fetches_options *o);
/* Before this nothing is prefetched; readers are served all the same. `m` says what is in the node's view. */
void fetches_start(struct fetches *f, struct meta *m);
/* After tiers_stop(): what is under way ends, its stages are kept; readers are told UNAVAILABLE. */
void fetches_stop(struct fetches *f);
void fetches_free(struct fetches *f); /* no reader is open; NULL is a no-op */

/* A reader of a blob that is not in `fast`. NOT_FOUND only where every storage behind has said so (or would
 * be bad: then DATA_LOSS); UNAVAILABLE where one could not be asked; ALREADY_EXISTS where it is in `fast`
 * after all. */
int fetch_open(struct fetches *f, const struct digest *d, struct fetch_reader **ret_r, uint64_t *ret_size,
	       struct stow_err *err) MUST_CHECK;
/* As pread of backend.h. ALREADY_EXISTS: it is in `fast` now, to be read there. After any other failure but
 * that of a read that must not wait, the reader may be done for: another one is to be opened. */
int fetch_read(struct fetch_reader *r, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
	       struct stow_err *err) MUST_CHECK;
void fetch_close(struct fetch_reader *r);

/* Brings it here when there is room and time; the oldest wish first. If it is an image's manifest or index,
 * its children are looked up ahead. Does not block. */
void fetch_prefetch(struct fetches *f, const struct digest *d);
/* It is being removed: no stage of it is left when this returns, and nothing is published any more; readers
 * fail. Does not wait for the network. */
void fetch_cancel(struct fetches *f, const struct digest *d);
/* Of cache_options: stages that are kept, and those of fetches that are broken and have no reader. */
uint64_t fetches_drop_kept(struct fetches *f, uint64_t goal);
/* Whether it is coming. Does not block. */
bool fetch_is_coming(struct fetches *f, const struct digest *d);
/* Fills in what is the fetches' in *st. */
void fetch_status(struct fetches *f, struct fleet_status *st);

/* The stages of fetches are not the store's: whether a stage has a name of theirs. They have one that follows
 * from the digest, and a file name's form (stage_name_ok), beginning with "fe7c". (A stage of the store's
 * that is named so by chance, one in 65536, is kept as long as one of ours is.) */
static inline bool fetch_is_stage(const char *name)
{
	return strncmp(name, "fe7c", 4) == 0;
}

#endif
