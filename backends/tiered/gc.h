/* Removing from the bucket what no node holds: the other side of holdings.h, for `stowage gc`. Needs no
 * daemon, and may run on any machine that reaches the bucket. */
#ifndef STOWAGE_BACKENDS_TIERED_GC_H
#define STOWAGE_BACKENDS_TIERED_GC_H

#include "content/behind.h"

#include <stdatomic.h>

struct gc_options {
	struct backend *bucket; /* borrowed */
	int64_t grace_ns;       /* objects that are younger stay */
	bool dry_run;           /* says what would go */
	int64_t wait_ns;        /* how long to wait for the nodes to take note of the marks */
	/* What happens, for people; one line each, no newline. May be NULL. */
	void (*say)(void *arg, const char *line);
	void *arg;
	const atomic_bool *stop; /* ends early, in a state that the next one carries on with */
};

struct gc_result {
	uint64_t objects, bytes;         /* that the bucket has */
	uint64_t held;                   /* of these, by a node at least */
	uint64_t young;                  /* not held, but younger than the grace period */
	uint64_t marked, marked_bytes;   /* to go */
	uint64_t removed, removed_bytes; /* gone */
	unsigned nodes, dead;            /* nodes; of these not heard of for their grace */
	unsigned silent;                 /* living nodes that have not taken note: nothing was removed */
};
int gc_run(const struct gc_options *o, struct gc_result *ret_r, struct stow_err *err) MUST_CHECK;

/* Who holds a blob, and what would become of it: `say` gets it. */
int gc_explain(const struct gc_options *o, const struct digest *d, struct stow_err *err) MUST_CHECK;

#endif
