/* What this node holds, told to the fleet, so that `stowage gc` removes nothing that somebody needs.
 *
 * Notes in the bucket (content/behind.h), lines of text:
 *
 *   nodes/<node id>     "stowage-holdings 1", "time <ns>", "grace <ns>", "marks <run id or ->", "count <n>",
 * then the digests that the node's view has, one a line, sorted, and at last "end". gc/marks "stowage-marks
 * 1", "run <id>", "time <ns>", then digests, then "end"
 *
 * The protocol that makes collecting safe, whoever adopts at the same moment:
 *   1. gc reads all holdings, lists the objects, and puts those that no living node holds, and that are older
 * than the grace period, into gc/marks (NOTE_IF_ABSENT: there is one set of marks at a time, and it is never
 * changed).
 *   2. Each node reads gc/marks whenever it publishes, and at least every claim_interval. From then on it
 * neither adopts nor uploads what is marked (holdings_refused), unless its holdings have it; it then
 * publishes its holdings, with the marks' run id: they are whole, and all that it may adopt later is not
 * marked.
 *   3. When every living node has published holdings with that run id, gc removes the marked objects that
 * none of them holds, and then gc/marks. A node that comes up reads gc/marks before it adopts anything, and
 * publishes before it does, too. A node that was not heard of for its grace is dead: its holdings do not
 * count, its note is removed. A node whose own note has been removed, or was older than its grace when it
 * published next, has been taken for dead: it forgets what it knows to be behind (meta_remote_identity with
 * another identity), and looks for everything again.
 *
 * So a collection may be killed anywhere and be taken up by anybody: marks that are there are carried on
 * with.
 *
 * Threads: any, one of its own. */
#ifndef STOWAGE_BACKENDS_TIERED_HOLDINGS_H
#define STOWAGE_BACKENDS_TIERED_HOLDINGS_H

#include "backends/tiered/tier.h"

struct holdings;

struct holdings_options {
	struct tier *tier; /* the writable one */
	int64_t interval_ns, grace_ns;
	/* The node was taken for dead. No lock held. */
	void (*forgotten)(void *arg);
	void *arg;
};
struct holdings *holdings_new(const struct holdings_options *o);
void holdings_start(struct holdings *h, struct meta *m);
void holdings_stop(struct holdings *h);
void holdings_free(struct holdings *h); /* NULL is a no-op */

/* The view has changed: it is published within the interval. Does not block. */
void holdings_changed(struct holdings *h);
/* Whether a blob may be neither adopted nor uploaded now: it is marked, or the marks have not been read since
 * the start. Does not block. */
bool holdings_refused(void *h, const struct digest *d);

#endif
