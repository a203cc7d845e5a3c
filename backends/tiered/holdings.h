/* What this node holds, told to the fleet, so that `stowage gc` removes nothing that somebody needs.
 *
 * A node tells what its view has, by a note in the bucket (notes.h has their forms), and respects the marks
 * of a run of gc. The protocol that makes collecting safe, whoever adopts what at the same moment:
 *
 *   1. gc reads what all nodes hold, lists the objects, puts those that no living node holds, and that are
 *      older than its grace, into gc/marks-<run>, and makes gc/run, which names the run. There is one run
 *      at a time, and its marks never change.
 *   2. A node looks for gc/run at least every interval. Once it has read the marks, it neither adopts nor
 *      uploads what is marked; then it tells what it holds, with the run. What it tells then is whole, and
 *      all on which it comes to rely later is not marked. So it does not matter how old is what gc has read.
 *   3. When all living nodes have told that, gc makes gc/sweep-<run>, and reads what they hold once more. It
 *      makes gc/work-<run>-<id>, looks for gc/run again, removes what is marked and not held, and, when all
 *      that is answered, its gc/work; then gc/run, and then the rest of its notes.
 *
 * Rules that make this hold:
 *   - What is asked for by holdings_refused() counts as held from that moment on, whatever the answer is,
 *     until it has a row, or ASKED_NS have passed. So nothing is lost between the answer and the row.
 *   - A node that wants what is marked may have it after all: it tells that it holds it, and looks afterwards
 *     for gc/sweep-<run>, and then for gc/run again, with which the other one goes. Where gc/run alone is
 *     there, gc will read the node's note once more. Such a blob stays in all that the node tells while the
 *     run lasts. So marks that nobody carries on with hinder nobody for longer than an exchange or two.
 *   - A node that comes up tells first, and looks for gc/run afterwards; until then everything is refused. In
 *     this order gc either sees the node, or the node sees the run.
 *   - When a node has seen that gc/run has gone, or is another one, it lists gc/work-<run>-*. Where there
 *     is none, the marks are void at once: whoever makes such a note from now on looks for gc/run
 *     afterwards, and removes nothing. Where there is one, another gc may be at work with the same marks,
 *     or was killed, or has had an answer so late that a request of it may be on its way still: then what
 *     was marked is refused until there is none, and for HOLDINGS_LINGER_NS at most. Who is at work asks
 *     for nothing any more half of HOLDINGS_LINGER_LEAST_NS after he has seen gc/run.
 *   - Who was refused what is about to be removed need not wait for the interval: gc/run is looked for again
 *     after a second, and after twice as long each time that it is there still.
 *   - A node that ends in good order says so; what it held counts, but nobody waits for it. One that was not
 *     heard of for its grace is dead: what it held does not count, and gc removes its note. A node that finds
 *     its note gone, or too old, has been taken for dead: it forgets what it knows to be behind, and looks
 *     for everything again. Ages are by the clocks of bucket and node: 3/4 of the grace is too old for the
 *     node itself, and until it has told again, everything is refused.
 *
 * So a run may be killed anywhere and be carried on with by anybody. With one gc at a time all this needs no
 * assumption on time but those on dead nodes; with several, or one after another that was killed, that the
 * bucket does what it was asked for within the other half of that, and that no node comes up meanwhile. What
 * was removed wrongly all the same, by whomever, is found out by the queue's looking again (queue.h).
 *
 * The note's name is the store's node id and a hash of the machine's, so that copies of a machine, with the
 * store in it, do not write each other's.
 *
 * Threads: any, one of its own. */
#ifndef STOWAGE_BACKENDS_TIERED_HOLDINGS_H
#define STOWAGE_BACKENDS_TIERED_HOLDINGS_H

#include "backends/tiered/tier.h"
#include "content/fleet.h"

struct holdings;

#define HOLDINGS_LINGER_NS (INT64_C(60) * 1000000000)
#define HOLDINGS_LINGER_LEAST_NS (INT64_C(30) * 1000000000)

struct holdings_options {
	struct tier *tier; /* the writable one */
	int64_t interval_ns, grace_ns;
	/* 0: HOLDINGS_LINGER_NS; or a quarter of the grace, since where that is short, nothing is believed to
	 * stand still for as long, but HOLDINGS_LINGER_LEAST_NS, since nobody who is at work looks more
	 * often. */
	int64_t linger_ns;
	/* The node was taken for dead. On the own thread, no lock held. */
	void (*forgotten)(void *arg);
	/* The marks of a run are respected from now on: what was seen behind before may soon be gone.
	 * Likewise; may be NULL. */
	void (*marked)(void *arg);
	/* Something that was refused is not refused any more: the fleet could not be asked, or a run has
	 * ended, or a marked blob may be had after all. Likewise; may be NULL. */
	void (*returned)(void *arg);
	void *arg;
};
struct holdings *holdings_new(const struct holdings_options *o);
void holdings_start(struct holdings *h, struct meta *m);
/* The node is about to end: from now on everything is refused, and what it holds is told for the last time,
 * which is waited for for 2 s at most. Before tiers_stop(); also without a start. */
void holdings_leave(struct holdings *h);
void holdings_stop(struct holdings *h); /* after tiers_stop(); also without a start */
void holdings_free(struct holdings *h); /* NULL is a no-op */

/* The view has changed: it is told within the interval, or a few for large ones. Does not block. */
void holdings_changed(struct holdings *h);
/* The blob has been deleted here, row and all, by somebody who has the store's claim on it. Does not block.
 */
void holdings_gone(struct holdings *h, const struct digest *d);
/* Whether a blob may not be adopted now, nor be uploaded or found to be behind: it is marked, or the marks
 * have not been read since the start. To be asked for each blob before the node relies on its object. Does
 * not block. */
bool holdings_refused(void *h, const struct digest *d);
/* The answer alone, for who does not yet know whether there is such an object: nothing counts as held for it.
 */
bool holdings_would_refuse(struct holdings *h, const struct digest *d);
/* Waits, at a start, until that can be answered or could not be found out; false if that took longer than
 * `until_mono_ns`. Costs nothing afterwards. Who is about to look for a blob waits here, since all would be
 * refused. */
bool holdings_await(struct holdings *h, int64_t until_mono_ns);
/* Fills in what is its own in *st. Does not block. */
void holdings_status(struct holdings *h, struct fleet_status *st);

#endif
