/* Removing from the bucket what no node holds: the other side of holdings.h, which has the protocol, for
 * `stowage gc`. Needs no daemon, and may run on any machine that reaches the bucket, more than once at a
 * time.
 *
 * Objects are removed many at once, by a request each: all storages know that one in the same way, it says of
 * each object how it went, and AWS counts each object of a larger request as one. Where the bucket asks for
 * less (503), or cannot be reached, there are fewer at once, after pauses, until it takes more again.
 *
 * All ages are by the bucket's clock, so that a machine whose own is wrong removes nothing for that.
 *
 * Where the bucket has no way of making a note only if there is none (NOTE_IF_ABSENT), two runs that begin
 * within some seconds could both believe to be the one. So it looks again after a while which of them it is,
 * and the other one carries on with that; beyond that, what holdings.h says of several at a time must do. */
#ifndef STOWAGE_BACKENDS_TIERED_GC_H
#define STOWAGE_BACKENDS_TIERED_GC_H

#include "content/behind.h"

#include <stdatomic.h>

struct gc_options {
	struct backend *bucket; /* borrowed */
	int64_t grace_ns;       /* objects that are younger stay */
	bool dry_run;           /* says what would go */
	int64_t wait_ns;        /* how long to wait for the nodes to take note of the marks, each time */
	int64_t poll_ns; /* how often to look whether they have, after some looks that are quicker; 0: 2 s */
	int64_t leftover_ns; /* what a killed run has left is removed when it is older; 0: a day */
	size_t at_a_time;    /* objects that one run marks, of all that there are; 0: NOTE_MARKS_LIMIT */
	int64_t pause_ns;    /* the first pause where the bucket takes no more removals; 0: 1 s */
	int64_t patience_ns; /* after how long without a removal that is given up; 0: 5 min */
	/* What happens, for people; one line each, no newline. May be NULL. */
	void (*say)(void *arg, const char *line);
	/* An object that a dry run would remove; NULL: it is said. */
	void (*would_remove)(void *arg, const struct digest *d, uint64_t size);
	void *arg;
	const atomic_bool *stop; /* ends early, in a state that the next one carries on with; may be NULL */
};

struct gc_result {
	uint64_t objects, bytes;         /* that the bucket had at the beginning */
	uint64_t held;                   /* of these, by a node at least */
	uint64_t young;                  /* not held, but younger than the grace period */
	uint64_t marked, marked_bytes;   /* to go; as a dry run has it: that would be */
	uint64_t removed, removed_bytes; /* gone */
	unsigned nodes, dead;            /* nodes; of these not heard of for their grace */
	unsigned silent;                 /* living nodes that have not taken note: nothing was removed */
};
/* CANCELLED where it was told to stop. FAILED_PRECONDITION where no living node tells what it holds: such a
 * bucket is never emptied. UNIMPLEMENTED where the storage keeps no notes; DATA_LOSS where one of them cannot
 * be read, since a node may be behind it; UNAVAILABLE where the bucket has taken nothing for `patience_ns`.
 */
int gc_run(const struct gc_options *o, struct gc_result *ret_r, struct stow_err *err) MUST_CHECK;

/* Who holds a blob, and what would become of it: `say` gets it. */
int gc_explain(const struct gc_options *o, const struct digest *d, struct stow_err *err) MUST_CHECK;

#endif
