#include "backends/tiered/holdings.h"

#include "backends/tiered/holdings_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

#include <stdio.h>

/* After a round that failed, and between two that somebody waits for; the interval, where that is shorter. */
static const int64_t RETRY_NS = 5 * NSEC_PER_SEC;
static const int64_t URGENT_NS = NSEC_PER_SEC;
/* How long the end of the process waits for the last note. */
static const int64_t LEAVE_NS = 2 * NSEC_PER_SEC;

static int64_t least(int64_t x, int64_t y)
{
	return x < y ? x : y;
}

/* --- life --- */

static int64_t linger_of(int64_t grace_ns)
{
	int64_t ns = least(HOLDINGS_LINGER_NS, grace_ns / 4);

	return ns > HOLDINGS_LINGER_LEAST_NS ? ns : HOLDINGS_LINGER_LEAST_NS;
}

struct holdings *holdings_new(const struct holdings_options *o)
{
	struct holdings *h = x_calloc(1, sizeof(*h));

	assert(o->interval_ns > 0 && o->grace_ns > 0);
	h->magic = HOLDINGS_MAGIC;
	h->options = *o;
	if (h->options.linger_ns == 0)
		h->options.linger_ns = linger_of(o->grace_ns);
	lock_init(&h->lock, RANK_HOLDINGS);
	lock_cond_init(&h->wake);
	lock_cond_init(&h->settled);
	return h;
}

static void marks_free(struct marks *m)
{
	keyset_free(&m->marked);
	keyset_free(&m->kept);
	free(m);
}

void holdings_free(struct holdings *h)
{
	if (h == NULL)
		return;
	CHECK_OBJ(h, HOLDINGS_MAGIC);
	assert(!h->started || h->stopping);
	while (h->marks != NULL) {
		struct marks *m = h->marks;

		h->marks = m->next;
		marks_free(m);
	}
	keyset_free(&h->asked[0]);
	keyset_free(&h->asked[1]);
	keyset_free(&h->gone);
	pthread_cond_destroy(&h->settled);
	pthread_cond_destroy(&h->wake);
	lock_destroy(&h->lock);
	FREE_OBJ(h);
}

/* --- what others ask --- */

struct marks *holdings_run_locked(struct holdings *h)
{
	LOCK_ASSERT(&h->lock);
	return h->marks != NULL && h->marks->until_mono_ns == INT64_MAX ? h->marks : NULL;
}

bool holdings_is_late_locked(const struct holdings *h)
{
	int64_t wall = clock_wall_ns() - h->told_wall_ns;
	int64_t mono = clock_mono_ns() - h->told_mono_ns;
	int64_t limit = h->options.grace_ns / 4 * 3;

	return wall > limit || mono > limit;
}

void holdings_changed(struct holdings *h)
{
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	h->dirty = true;
}

void holdings_gone(struct holdings *h, const struct digest *d)
{
	uint64_t key = keyset_key(d);
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	h->dirty = true;
	keyset_remove(&h->asked[0], key);
	keyset_remove(&h->asked[1], key);
	if (h->telling)
		keyset_add(&h->gone, key);
}

void holdings_look_soon_locked(struct holdings *h)
{
	LOCK_ASSERT(&h->lock);
	if (h->look_ns > 0)
		return;
	h->look_ns = least(h->options.interval_ns, URGENT_NS);
	pthread_cond_signal(&h->wake);
}

static void hurry_locked(struct holdings *h)
{
	h->dirty = true;
	h->urgent = true;
	pthread_cond_signal(&h->wake);
}

/* Whether it is marked, and told by us too late or not at all. */
static bool is_marked_locked(struct holdings *h, uint64_t key, bool *ret_hopeful)
{
	int64_t now = clock_mono_ns();
	bool marked = false;

	*ret_hopeful = false;
	for (const struct marks *m = h->marks; m != NULL; m = m->next) {
		if (m->until_mono_ns <= now || !keyset_has(&m->marked, key) || keyset_has(&m->kept, key))
			continue;
		marked = true;
		*ret_hopeful |= m->until_mono_ns == INT64_MAX && !m->swept;
	}
	return marked;
}

static bool refuses_all_locked(const struct holdings *h)
{
	return !h->ready || h->leaving || holdings_is_late_locked(h);
}

bool holdings_would_refuse(struct holdings *h, const struct digest *d)
{
	bool hopeful;
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	return refuses_all_locked(h) || is_marked_locked(h, keyset_key(d), &hopeful);
}

bool holdings_refused(void *arg, const struct digest *d)
{
	struct holdings *h = arg;
	uint64_t key = keyset_key(d);
	bool marked, hopeful, full;
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	if (refuses_all_locked(h))
		return true;
	full = keyset_count(&h->asked[0]) >= ASKED_MAX;
	if (!full)
		keyset_add(&h->asked[0], key);
	marked = is_marked_locked(h, key, &hopeful);
	if (marked && !hopeful)
		holdings_look_soon_locked(h);
	/* To be told, so that it may be had; or so that those are forgotten that have got their rows. */
	if (hopeful || keyset_count(&h->asked[0]) >= ASKED_MAX / 2)
		hurry_locked(h);
	return marked || full;
}

void holdings_status(struct holdings *h, struct fleet_status *st)
{
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	(void)snprintf(st->node, sizeof(st->node), "%s", h->name + strlen(NOTE_NODES));
	st->untold_ns = h->untold_ns;
	if (h->untold_ns == 0)
		return;
	st->unshared = refuses_all_locked(h);
	(void)snprintf(st->untold_error, sizeof(st->untold_error), "%s", h->untold.msg);
}

bool holdings_await(struct holdings *h, int64_t until_mono_ns)
{
	CHECK_OBJ(h, HOLDINGS_MAGIC);
	if (atomic_load(&h->tried))
		return true;
	LOCK_SCOPE(&h->lock);
	while (h->started && !h->stopping && !h->leaving && !atomic_load(&h->tried))
		if (!lock_wait_until(&h->lock, &h->settled, until_mono_ns))
			return false;
	return true;
}

/* --- the thread --- */

/* Whether there were any. */
static bool drop_lingering_locked(struct holdings *h)
{
	int64_t now = clock_mono_ns();
	bool any = false;

	LOCK_ASSERT(&h->lock);
	for (struct marks **at = &h->marks; *at != NULL;) {
		struct marks *m = *at;

		if (m->until_mono_ns > now) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		marks_free(m);
		any = true;
	}
	return any;
}

/* Of what follows in a text: numbers, and what begins with a parenthesis, are one request's. */
static const char *skip_of_request(const char *s)
{
	while (*s >= '0' && *s <= '9')
		s++;
	return *s == '(' ? "" : s;
}

static bool is_same_reason(const struct stow_err *x, const struct stow_err *y)
{
	const char *a = skip_of_request(x->msg), *b = skip_of_request(y->msg);

	while (*a != '\0' && *a == *b) {
		a = skip_of_request(a + 1);
		b = skip_of_request(b + 1);
	}
	return x->code == y->code && *a == *b;
}

/* How a round went. What a person is told of it is for the log: that it fails, each reason, and that it does
 * not any more. */
static void note_round(struct holdings *h, const struct stow_err *err)
{
	struct stow_err was;
	bool failed, unshared;

	lock_take(&h->lock);
	failed = h->untold_ns != 0;
	was = h->untold;
	if (err == NULL) {
		h->untold_ns = 0;
	} else {
		if (!failed)
			h->untold_ns = clock_wall_ns();
		h->untold = *err;
	}
	unshared = refuses_all_locked(h);
	lock_release(&h->lock);
	if (err == NULL && failed)
		log_info("what this node holds has been told to the fleet again");
	else if (err != NULL && (!failed || !is_same_reason(&was, err)))
		log_warn(unshared
				 ? "what this node holds cannot be told to the fleet: nothing is shared with "
				   "it until it can"
				 : "what this node holds cannot be told to the fleet: `stowage gc` removes "
				   "nothing until it can",
			 LOG_S("storage", h->options.tier->name), LOG_S("error", err->msg));
}

/* A storage that is away is asked by its probe alone. */
static bool round_done(struct holdings *h)
{
	struct stow_err err;
	bool good;

	if (!tier_usable(h->options.tier))
		return false;
	good = holdings_round(h, &err) == 0;
	note_round(h, good ? NULL : &err);
	return good;
}

/* When the thread has something to do, after a good round at `now`. */
static int64_t next_round_locked(const struct holdings *h, int64_t now)
{
	int64_t at = now + h->options.interval_ns;

	if (h->urgent)
		at = least(at, now + least(h->options.interval_ns, URGENT_NS));
	if (h->look_ns == 0)
		return at;
	for (const struct marks *m = h->marks; m != NULL; m = m->next)
		at = least(at, m->until_mono_ns);
	return least(at, now + h->look_ns);
}

static void wait_for_next_locked(struct holdings *h, bool good)
{
	int64_t now = clock_mono_ns(), until;

	while (!h->stopping && !h->leaving) {
		until = good ? next_round_locked(h, now) : now + least(h->options.interval_ns, RETRY_NS);
		if (clock_mono_ns() >= until)
			return;
		(void)lock_wait_until(&h->lock, &h->wake, until);
	}
}

/* Who was refused is told that this may have changed; who waits for more asks again. Else it is looked for
 * less often, so that a run of an hour costs some dozens of looks. */
static void answer_locked(struct holdings *h, bool may_have_more)
{
	if (!may_have_more) {
		h->look_ns = least(2 * h->look_ns, h->options.interval_ns);
		return;
	}
	h->look_ns = 0;
	if (h->options.returned == NULL)
		return;
	lock_release(&h->lock);
	h->options.returned(h->options.arg);
	lock_take(&h->lock);
}

static void *holdings_main(void *arg)
{
	struct holdings *h = arg;
	struct stow_err err;
	bool good = false, was_good, lifted = false, leaving;

	lock_take(&h->lock);
	while (!h->stopping && !h->leaving) {
		lifted |= drop_lingering_locked(h);
		lock_release(&h->lock);
		was_good = good;
		good = round_done(h);
		lock_take(&h->lock);
		h->ready |= good;
		lifted |= drop_lingering_locked(h);
		answer_locked(h, good && (!was_good || lifted));
		lifted &= !good;
		atomic_store(&h->tried, true);
		pthread_cond_broadcast(&h->settled);
		wait_for_next_locked(h, good);
	}
	leaving = h->leaving;
	lock_release(&h->lock);
	if (leaving && h->registered && tier_usable(h->options.tier) && holdings_tell_end(h, &err) < 0)
		log_warn("the fleet was not told that this node ends: `stowage gc` will wait for it",
			 LOG_S("error", err.msg));
	lock_take(&h->lock);
	h->left = true;
	pthread_cond_broadcast(&h->settled);
	lock_release(&h->lock);
	return NULL;
}

void holdings_start(struct holdings *h, struct meta *m)
{
	CHECK_OBJ(h, HOLDINGS_MAGIC);
	assert(!h->started);
	h->meta = m;
	h->asked_mono_ns = clock_mono_ns();
	holdings_set_name(h);
	lock_take(&h->lock);
	h->started = true;
	thread_start(&h->thread, "holdings", holdings_main, h);
	lock_release(&h->lock);
}

void holdings_leave(struct holdings *h)
{
	int64_t until = clock_mono_ns() + LEAVE_NS;
	LOCK_SCOPE(&h->lock);

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	h->leaving = true;
	pthread_cond_signal(&h->wake);
	pthread_cond_broadcast(&h->settled);
	while (h->started && !h->left)
		if (!lock_wait_until(&h->lock, &h->settled, until))
			return;
}

void holdings_stop(struct holdings *h)
{
	bool started;

	CHECK_OBJ(h, HOLDINGS_MAGIC);
	lock_take(&h->lock);
	started = h->started && !h->stopping;
	h->stopping = true;
	pthread_cond_signal(&h->wake);
	pthread_cond_broadcast(&h->settled);
	lock_release(&h->lock);
	if (started)
		(void)pthread_join(h->thread, NULL);
}
