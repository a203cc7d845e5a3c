/* Bringing what was committed here to behind[0].
 *
 * What is to be brought is what the database says is pending (meta.h), so nothing is lost with this process;
 * the queue in memory says when each one's time is. Oldest first, `uploads` at once; each is looked for first
 * and not sent if it is there. A failure puts a blob off, for 1 s up to 5 min. At most QUEUE_ENTRIES are held
 * (then it is the oldest of those): the database is walked again when half of them are done.
 *
 *   state      meaning                                                        next
 *   OFFERED    its bytes are here, its row is not yet                         WAITING, gone
 *   WAITING    its time comes: now, or when its back-off ends                 UPLOADING, gone
 *   UPLOADING  a thread of ours has it                                        WAITING, gone
 *
 * While the circuit of behind[0] is open nothing is tried. A storage that answers and takes nothing (it is
 * full, or forbids it) has a brake of its own: after TIER_FAILURES failures in a row one upload at a time is
 * tried, at growing intervals, until one succeeds. That is logged once when it begins and once when it ends.
 *
 * It also looks again, slowly, whether what is behind is there still (recheck_every): what is not, and has
 * bytes here, is pending again; what has not, is no blob of this node any more.
 *
 * Threads: any, where nothing else is said. */
#ifndef STOWAGE_BACKENDS_TIERED_QUEUE_H
#define STOWAGE_BACKENDS_TIERED_QUEUE_H

#include "backends/tiered/lookup.h"
#include "content/behind.h"
#include "content/claims.h"

struct queue;

enum { QUEUE_ENTRIES = 65536 };

struct queue_options {
	struct backend *fast;
	struct tiers *tiers; /* writable */
	struct lookup *lookup;
	struct claims *claims; /* held by who evicts a blob since it is behind */
	unsigned uploads;
	/* Bytes a second on the average, 0: no limit. What is begun is paced; what was under way already when
	 * its COMMIT came goes on at its own speed, and others wait for it. */
	uint64_t bandwidth;
	int64_t recheck_every_ns; /* 0: never */
	/* A blob must not be uploaded now (gc is about to remove its object); may be NULL. */
	bool (*refused)(void *arg, const struct digest *d);
	/* A blob has got behind, or was found there: it may be evicted from here. May be NULL. No lock held.
	 */
	void (*done)(void *arg, const struct digest *d);
	/* A blob has bytes nowhere: its row is to go, unless that has changed. No lock held. May be NULL. */
	void (*lost)(void *arg, const struct digest *d);
	void *arg;
};
struct queue *queue_new(const struct queue_options *o);
/* The threads begin, and the database is walked on one of them. What earlier processes have sent of blobs
 * that are not pending any more is given up. */
void queue_start(struct queue *q, struct meta *m);
/* After tiers_stop(). What is under way ends; its records stay for the next process. */
void queue_stop(struct queue *q);
void queue_free(struct queue *q); /* NULL is a no-op */

/* The blob has been published and will have a row soon; `s` (NULL: none) has sent a part of it, reads from
 * `fast` from now on, and is the queue's: nothing reads its old source when this returns. Does not wait for
 * the network. */
void queue_offer(struct queue *q, const struct digest *d, uint64_t size, struct sending *s);
/* It has its row: its time is now. Does not block. */
void queue_recorded(struct queue *q, const struct digest *d);
/* Waits until it is behind, or its upload has failed and is put off, or there is trouble that makes waiting
 * useless, or `until_mono_ns`. Those that are waited for come first. True if it is behind. */
bool queue_wait(struct queue *q, const struct digest *d, int64_t until_mono_ns);
/* It is being removed here: nothing reads its bytes when this returns, what was sent is given up. Does not
 * wait for the network: an upload that has all bytes may still come to its end. */
void queue_cancel(struct queue *q, const struct digest *d);
/* After queue_cancel(), for who removes it behind, too: waits until none is under way. False if one still is
 * at `until_mono_ns`. */
bool queue_settle(struct queue *q, const struct digest *d, int64_t until_mono_ns) MUST_CHECK;

/* All back-offs end, an open circuit is probed, and the database is walked again. To be called when a circuit
 * has closed, or rows of `remote` have gone. Does not block. */
void queue_flush(struct queue *q);
/* Fills in what is the queue's in *st. */
int queue_status(struct queue *q, struct fleet_status *st, struct stow_err *err) MUST_CHECK;

/* The record by which a sending of a finished blob is known: "sha256-<hex>". */
void queue_record(const struct digest *d, char ret_record[SENDING_RECORD_MAX]);

#endif
