/* Removing many objects at once.
 *
 * Each of some threads removes one object after the other. The calling thread looks for gc/run meanwhile, and
 * no removal begins that is not covered by a look of late: so somebody else's end of the run ends this one,
 * too, even if the bucket answers slowly. A removal that fails since the bucket is overloaded is made again
 * by its thread; and how many there may be at once is halved then, after which it grows by one for as many
 * that went well (as TCP does it). */
#include "backends/tiered/gc_internal.h"
#include "backends/tiered/holdings.h"
#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

/* As many as connections, where nothing else is configured. */
enum { REMOVALS = 32 };
/* How often it is made sure that the run is still under way, for how long that counts, and how long a removal
 * may take that begins then, with all its attempts: so none is tried any more GC_TRUST_NS after a look. */
static const int64_t CHECK_NS = 5 * NSEC_PER_SEC;
static const int64_t CHECKED_NS = 10 * NSEC_PER_SEC;
static_assert(2 * GC_TRUST_NS <= HOLDINGS_LINGER_LEAST_NS, "nodes wait much longer than that");
/* A request that was answered sooner is not under way any more, whatever became of earlier attempts. */
static const int64_t LATE_NS = 5 * NSEC_PER_SEC;
static const int64_t PAUSE_NS = NSEC_PER_SEC, PAUSE_MAX_NS = 10 * NSEC_PER_SEC;
static const int64_t PATIENCE_NS = 300 * NSEC_PER_SEC;
static const int64_t PROGRESS_NS = 10 * NSEC_PER_SEC;
/* How soon a stop is noticed. */
static const int64_t STOP_NS = 100 * NSEC_PER_MSEC;

struct removing {
	struct gc *g;
	const struct note_run *run;
	const struct note_mark *v;
	size_t n;
	const struct keyset *held;

	struct lock lock; /* for what follows, and what g->r counts */
	pthread_cond_t change;
	size_t next;                /* of v: those before are somebody's, or stay */
	unsigned threads;           /* that have not ended */
	unsigned busy, limit, good; /* removals: under way, allowed at once, gone well since that changed */
	/* When gc/run was looked for, and found; by both clocks, of which the monotonic one stands still
	 * while the machine does. */
	int64_t checked_ns, checked_wall_ns;
	int64_t pause_ns, pause_until_ns; /* the last pause was so long; 0: none since a removal went well */
	int64_t moved_ns;                 /* when a removal went well, or none had been tried */
	bool ending;                      /* no more begin */
	bool slowed;                      /* the bucket has asked for less */
	bool late;                        /* a request may be under way still, somewhere */
	int result;
	struct stow_err err; /* the first one */
};

static void end_locked(struct removing *r)
{
	LOCK_ASSERT(&r->lock);
	r->ending = true;
	pthread_cond_broadcast(&r->change);
}

static void fail_locked(struct removing *r, const struct stow_err *err)
{
	if (r->result == 0)
		r->err = *err;
	r->result = -1;
	end_locked(r);
}

/* --- how fast --- */

static void went_well_locked(struct removing *r, int64_t now)
{
	r->moved_ns = now;
	r->pause_ns = 0;
	if (r->limit == REMOVALS || ++r->good < r->limit)
		return;
	r->limit++;
	r->good = 0;
	pthread_cond_broadcast(&r->change);
}

/* Those that fail together count as one. False: the patience is over. */
static bool slow_down_locked(struct removing *r, int64_t now)
{
	const struct gc_options *o = r->g->o;

	if (now - r->moved_ns > (o->patience_ns > 0 ? o->patience_ns : PATIENCE_NS))
		return false;
	r->slowed = true;
	if (now < r->pause_until_ns)
		return true;
	if (r->pause_ns == 0)
		r->pause_ns = o->pause_ns > 0 ? o->pause_ns : PAUSE_NS;
	else if (r->pause_ns < PAUSE_MAX_NS)
		r->pause_ns *= 2;
	r->pause_until_ns = now + r->pause_ns;
	r->limit = r->limit > 1 ? r->limit / 2 : 1;
	r->good = 0;
	return true;
}

static bool is_checked_locked(const struct removing *r, int64_t now)
{
	int64_t wall = clock_wall_ns() - r->checked_wall_ns;

	LOCK_ASSERT(&r->lock);
	return now - r->checked_ns <= CHECKED_NS && wall >= 0 && wall <= CHECKED_NS;
}

/* False: none begins any more. */
static bool wait_for_turn_locked(struct removing *r)
{
	while (!r->ending) {
		int64_t now = clock_mono_ns();

		if (now < r->pause_until_ns)
			(void)lock_wait_until(&r->lock, &r->change, r->pause_until_ns);
		else if (r->busy >= r->limit || !is_checked_locked(r, now))
			lock_wait(&r->lock, &r->change);
		else
			return true;
	}
	return false;
}

/* --- the threads --- */

static const struct note_mark *take_locked(struct removing *r)
{
	while (r->next < r->n && keyset_has(r->held, keyset_key(&r->v[r->next].digest)))
		r->next++;
	return r->next < r->n ? &r->v[r->next++] : NULL;
}

/* What has come of a removal; false: it is to be made again. */
static bool account_locked(struct removing *r, const struct note_mark *m, int64_t begun_ns, int result,
			   struct stow_err *err)
{
	int64_t now = clock_mono_ns();

	r->busy--;
	if (r->limit < REMOVALS)
		pthread_cond_broadcast(&r->change);
	r->late |= now - begun_ns > LATE_NS;
	if (result == 0) {
		r->g->r.removed++;
		r->g->r.removed_bytes += m->size;
	}
	if (result == 0 || err->code == STOW_NOT_FOUND) { /* another one has come as far */
		went_well_locked(r, now);
		return true;
	}
	if (err->code == STOW_UNAVAILABLE) {
		r->late = true;
		if (slow_down_locked(r, now))
			return false;
	}
	(void)stow_wrap(err, "remove an object");
	fail_locked(r, err);
	return true;
}

static void *remove_some(void *arg)
{
	struct removing *r = arg;
	const struct note_mark *m;
	struct stow_err err;
	bool done;
	LOCK_SCOPE(&r->lock);

	while (!r->ending && (m = take_locked(r)) != NULL)
		for (done = false; !done && wait_for_turn_locked(r);) {
			int64_t begun = clock_mono_ns(), until = r->checked_ns + GC_TRUST_NS;
			int result;

			r->busy++;
			lock_release(&r->lock);
			result = r->g->behind->drop(r->g->o->bucket, &m->digest, until, &err);
			lock_take(&r->lock);
			done = account_locked(r, m, begun, result, &err);
		}
	r->threads--;
	pthread_cond_broadcast(&r->change);
	return NULL;
}

/* --- the one that waits for them --- */

/* Looks for gc/run, which may fail as long as removals may. *ret_same as gc_remove_objects(). */
static void check_unlocked(struct removing *r, bool *ret_same)
{
	int64_t now = clock_mono_ns(), wall = clock_wall_ns();
	struct stow_err err;
	int result;

	lock_release(&r->lock);
	result = gc_check_run(r->g, r->run, ret_same, &err);
	lock_take(&r->lock);
	if (result == 0 && *ret_same) {
		r->checked_ns = now;
		r->checked_wall_ns = wall;
		pthread_cond_broadcast(&r->change);
	} else if (result == 0) {
		end_locked(r);
	} else if (err.code != STOW_UNAVAILABLE || !slow_down_locked(r, clock_mono_ns())) {
		fail_locked(r, &err);
	}
}

static void say_unlocked(struct removing *r, bool *said_slow, int64_t *said_ns)
{
	int64_t now = clock_mono_ns();
	bool slow = r->slowed && !*said_slow, progress = now - *said_ns >= PROGRESS_NS;
	size_t next = r->next;

	if (!slow && !progress)
		return;
	*said_slow |= slow;
	if (progress)
		*said_ns = now;
	lock_release(&r->lock);
	if (slow)
		gc_say(r->g, "the bucket takes no more for now: objects are removed more slowly");
	if (progress)
		gc_say(r->g, "%zu of %zu marked objects have been dealt with", next, r->n);
	lock_take(&r->lock);
}

static void wait_locked(struct removing *r, bool *ret_same)
{
	int64_t said_ns = clock_mono_ns(), next_check_ns = r->checked_ns + CHECK_NS;
	bool said_slow = false;
	struct stow_err err;

	*ret_same = true;
	while (r->threads > 0) {
		int64_t now = clock_mono_ns();

		if (!r->ending && gc_go_on(r->g, &err) < 0)
			fail_locked(r, &err);
		if (!r->ending && now >= next_check_ns && now >= r->pause_until_ns) {
			next_check_ns = now + CHECK_NS;
			check_unlocked(r, ret_same);
		}
		say_unlocked(r, &said_slow, &said_ns);
		if (r->threads > 0)
			(void)lock_wait_until(&r->lock, &r->change, now + STOP_NS);
	}
}

/* While it is made known that somebody removes. */
static int remove_known(struct removing *r, bool *ret_same, struct stow_err *err)
{
	pthread_t threads[REMOVALS];
	unsigned n = r->n < REMOVALS ? (unsigned)r->n : REMOVALS;

	r->checked_ns = r->moved_ns = clock_mono_ns();
	r->checked_wall_ns = clock_wall_ns();
	if (gc_check_run(r->g, r->run, ret_same, err) < 0)
		return -1;
	if (!*ret_same)
		return 0;
	lock_init(&r->lock, RANK_GC);
	lock_cond_init(&r->change);
	lock_take(&r->lock);
	r->threads = n;
	for (unsigned i = 0; i < n; i++)
		thread_start(&threads[i], "gc", remove_some, r);
	wait_locked(r, ret_same);
	lock_release(&r->lock);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	pthread_cond_destroy(&r->change);
	lock_destroy(&r->lock);
	if (r->result < 0)
		*err = r->err;
	return r->result;
}

int gc_remove_objects(struct gc *g, const struct note_run *run, const struct note_mark *v, size_t n,
		      const struct keyset *held, bool *ret_same, struct stow_err *err)
{
	struct removing r = { .g = g, .run = run, .v = v, .n = n, .held = held, .limit = REMOVALS };
	char id[NOTE_RUN_MAX];
	struct stow_err other;
	int result;

	if (note_new_run(id, err) < 0 || gc_make_work(g, run, id, err) < 0)
		return -1;
	result = remove_known(&r, ret_same, err);
	/* Else it stays for a day, and nodes wait before they use what was marked. */
	if (!r.late && gc_remove_work(g, run, id, result < 0 ? &other : err) < 0)
		return -1;
	return result;
}
