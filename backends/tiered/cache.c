#include "backends/tiered/cache.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"
#include "content/meta.h"

#define CACHE_MAGIC 0x71e20004u

/* Free space is looked at so often though nothing was added: others fill the same disk. */
static const int64_t LOOK_EVERY_NS = 10 * NSEC_PER_SEC;
/* And when so many bytes were added. */
#define LOOK_EVERY_BYTES (INT64_C(64) << 20)
/* After a scan that found too little to remove, the next one waits so many times as long as it took. */
enum { REST_FACTOR = 10 };
static const int64_t REST_MIN_NS = 50 * NSEC_PER_MSEC;
static const int64_t REST_MAX_NS = 60 * NSEC_PER_SEC;

struct candidate {
	struct digest digest;
	uint64_t size;
	int64_t used_ns;
};

struct cache {
	unsigned magic;
	struct cache_options o;
	struct meta *meta; /* from the start on */
	pthread_t thread;
	bool complained; /* the thread's: nothing could be removed, and that was logged */

	struct lock lock; /* for what follows */
	pthread_cond_t poked, rounded;
	bool running, stopping;
	bool resting;     /* a moment ago nothing was left that could be removed */
	int64_t bytes;    /* of all blobs */
	int64_t unlooked; /* that were added since the thread has looked */
	int64_t wanted;   /* that others wait for room for */
	uint64_t limit;   /* 0: none */
	uint64_t slack;   /* what is removed beyond it, or for the free space beyond its floor */
	uint64_t rounds;  /* that the thread has begun, and ended */
	uint64_t rounds_done;
	uint64_t evicted, evicted_bytes;
};

/* --- limits --- */

static uint64_t share_of(const struct tiered_share *s, uint64_t total)
{
	return s->percent > 0 ? total / 100 * s->percent : s->bytes;
}

/* How many bytes have to go so that `more` have room; 0: none. *ret_limit as cache_status() shows it,
 * *ret_slack as it is declared. What cannot be found out about the disk is no limit. */
static uint64_t too_much(const struct cache *c, uint64_t bytes, uint64_t more, uint64_t *ret_limit,
			 uint64_t *ret_slack)
{
	struct backend *fast = c->o.fast;
	uint64_t left = 0, total = 0, over = 0, floor;
	struct stow_err err;

	if (fast->ops->space == NULL || fast->ops->space(fast, &left, &total, &err) < 0)
		left = total = 0;
	*ret_limit = share_of(&c->o.max_size, total);
	floor = total > 0 ? share_of(&c->o.min_free, total) : 0;
	*ret_slack = (*ret_limit > 0 ? *ret_limit : floor) / 100 * CACHE_SLACK_PERCENT;
	if (*ret_limit > 0 && bytes + more > *ret_limit)
		over = bytes + more - *ret_limit;
	if (floor > 0 && left < floor + more && floor + more - left > over)
		over = floor + more - left;
	return over;
}

/* --- one scan: the sum, and the blobs that were not used for longest --- */

struct pick {
	struct cache *c;
	uint64_t sum;
	struct candidate *v; /* a heap: the one that was used last is on top */
	size_t n;
	bool more; /* there were others that could go */
};

static void swap(struct candidate *x, struct candidate *y)
{
	struct candidate t = *x;

	*x = *y;
	*y = t;
}

static void heap_push(struct pick *p, const struct candidate *new)
{
	size_t i = p->n++;

	for (p->v[i] = *new; i > 0 && p->v[i].used_ns > p->v[(i - 1) / 2].used_ns; i = (i - 1) / 2)
		swap(&p->v[i], &p->v[(i - 1) / 2]);
}

static void heap_replace_top(struct pick *p, const struct candidate *new)
{
	size_t i = 0;

	p->v[0] = *new;
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < p->n && p->v[child + 1].used_ns > p->v[child].used_ns)
			child++;
		if (child >= p->n || p->v[child].used_ns <= p->v[i].used_ns)
			return;
		swap(&p->v[i], &p->v[child]);
		i = child;
	}
}

static int see(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	struct pick *p = arg;
	struct candidate new = { .digest = *d, .size = st->size, .used_ns = st->used_ns };
	struct stow_err not_behind;
	struct cache *c = p->c;
	bool stopping;

	lock_take(&c->lock);
	stopping = c->stopping;
	lock_release(&c->lock);
	if (stopping)
		return stow_fail(err, STOW_CANCELLED, "stopped");
	p->sum += st->size;
	if (p->v == NULL || meta_remote_get(c->meta, d, NULL, &not_behind) < 0)
		return 0;
	p->more |= p->n == CACHE_CANDIDATES;
	if (p->n == CACHE_CANDIDATES && new.used_ns >= p->v[0].used_ns)
		return 0;
	if (c->o.keep(c->o.arg, d))
		return 0;
	if (p->n < CACHE_CANDIDATES)
		heap_push(p, &new);
	else
		heap_replace_top(p, &new);
	return 0;
}

static int compare_use(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

/* False if it failed or was stopped. What is added or removed meanwhile counts on top: it may have been seen
 * or not, which the next scan puts right. */
static bool scan(struct cache *c, struct pick *p)
{
	struct stow_err err;
	int64_t before;

	lock_take(&c->lock);
	before = c->bytes;
	lock_release(&c->lock);
	if (backend_scan(c->o.fast, see, p, &err) < 0) {
		if (err.code != STOW_CANCELLED)
			log_error("looking for what may be removed here failed", LOG_S("error", err.msg));
		return false;
	}
	if (p->n > 0)
		qsort(p->v, p->n, sizeof(*p->v), compare_use);
	lock_take(&c->lock);
	c->bytes += (int64_t)p->sum - before;
	lock_release(&c->lock);
	return true;
}

/* --- a round --- */

static uint64_t now_too_much(struct cache *c)
{
	uint64_t bytes, wanted, limit, slack, over;

	lock_take(&c->lock);
	bytes = c->bytes > 0 ? (uint64_t)c->bytes : 0;
	wanted = (uint64_t)c->wanted;
	lock_release(&c->lock);
	over = too_much(c, bytes, wanted, &limit, &slack);
	lock_take(&c->lock);
	c->limit = limit;
	c->slack = slack;
	lock_release(&c->lock);
	return over;
}

/* Removes candidates until `goal` bytes are gone; returns how many are. */
static uint64_t evict(struct cache *c, const struct pick *p, uint64_t goal)
{
	uint64_t gone = 0;

	for (size_t i = 0; i < p->n && gone < goal; i++) {
		struct stow_err err;

		if (c->o.evict(c->o.arg, &p->v[i].digest, &err) < 0)
			continue;
		gone += p->v[i].size;
		lock_take(&c->lock);
		c->bytes -= (int64_t)p->v[i].size;
		c->evicted++;
		c->evicted_bytes += p->v[i].size;
		lock_release(&c->lock);
	}
	return gone;
}

/* Logged once, until all is well again. */
static void complain(struct cache *c, uint64_t over)
{
	if (over > 0 && !c->complained)
		log_warn("more is stored here than was allowed: what is left is in use, or not behind yet",
			 LOG_I("bytes", over));
	c->complained = over > 0;
}

/* One scan, and what has to go for it. *ret_again: another scan would find more to remove. */
static bool round_once(struct cache *c, struct candidate *v, bool *ret_again)
{
	struct pick p = { .c = c, .v = v };
	uint64_t over, slack, gone;

	*ret_again = false;
	if (!scan(c, &p))
		return false;
	over = now_too_much(c);
	if (over == 0)
		return true;
	lock_take(&c->lock);
	slack = c->slack;
	lock_release(&c->lock);
	gone = evict(c, &p, over + slack);
	*ret_again = gone > 0 && p.more;
	return gone >= over;
}

/* True if enough is gone, or nothing has to go. */
static bool make_room(struct cache *c)
{
	CLEANUP(freep) struct candidate *v = x_calloc(CACHE_CANDIDATES, sizeof(*v));
	bool enough, again;

	do {
		enough = round_once(c, v, &again);
	} while (!enough && again);
	return enough;
}

/* Makes the sum, where nothing is limited. */
static void count_once(struct cache *c)
{
	struct pick p = { .c = c };

	(void)scan(c, &p);
}

/* --- the thread --- */

static bool is_limited(const struct cache *c)
{
	const struct tiered_share *size = &c->o.max_size, *floor = &c->o.min_free;

	return size->bytes > 0 || size->percent > 0 || floor->bytes > 0 || floor->percent > 0;
}

static bool is_due_locked(const struct cache *c)
{
	return c->stopping || c->rounds_done < c->rounds || c->unlooked >= LOOK_EVERY_BYTES ||
	       (c->limit > 0 && c->bytes > (int64_t)c->limit);
}

/* Sleeps until there may be something to do, at least until `rest_ns`; false at the end. */
static bool sleep_until_due(struct cache *c, int64_t rest_ns)
{
	int64_t look_ns = clock_mono_ns() + LOOK_EVERY_NS;

	LOCK_SCOPE(&c->lock);
	while (!c->stopping && lock_wait_until(&c->lock, &c->poked, rest_ns))
		;
	while (!is_due_locked(c) && lock_wait_until(&c->lock, &c->poked, look_ns))
		;
	c->unlooked = 0;
	c->resting = false;
	return !c->stopping;
}

static void *run(void *arg)
{
	struct cache *c = arg;
	int64_t rest_ns = 0;

	count_once(c);
	while (sleep_until_due(c, rest_ns)) {
		int64_t start = clock_mono_ns(), rest;
		uint64_t asked;
		bool enough = true;

		lock_take(&c->lock);
		asked = c->rounds;
		lock_release(&c->lock);
		if (is_limited(c) && now_too_much(c) > 0)
			enough = make_room(c);
		complain(c, enough ? 0 : now_too_much(c));
		rest = REST_FACTOR * (clock_mono_ns() - start);
		rest = rest < REST_MIN_NS ? REST_MIN_NS : rest > REST_MAX_NS ? REST_MAX_NS : rest;
		rest_ns = enough ? 0 : start + rest;
		lock_take(&c->lock);
		c->rounds_done = asked;
		c->resting = !enough;
		pthread_cond_broadcast(&c->rounded);
		lock_release(&c->lock);
	}
	return NULL;
}

/* --- what others say --- */

void cache_added(struct cache *c, uint64_t size)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	c->bytes += (int64_t)size;
	c->unlooked += (int64_t)size;
	if (is_due_locked(c))
		pthread_cond_broadcast(&c->poked);
}

void cache_removed(struct cache *c, uint64_t size)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	c->bytes -= (int64_t)size;
}

/* Waits for a round that begins after this, and takes `size` into account; unless there is no hope. */
static void wait_for_round(struct cache *c, uint64_t size)
{
	uint64_t mine;

	LOCK_SCOPE(&c->lock);
	c->wanted += (int64_t)size;
	mine = ++c->rounds;
	pthread_cond_broadcast(&c->poked);
	while (c->running && !c->resting && c->rounds_done < mine)
		lock_wait(&c->lock, &c->rounded);
	c->wanted -= (int64_t)size;
}

static bool has_room(struct cache *c, uint64_t size)
{
	uint64_t bytes, limit, slack;

	lock_take(&c->lock);
	bytes = c->bytes > 0 ? (uint64_t)c->bytes : 0;
	lock_release(&c->lock);
	return too_much(c, bytes, size, &limit, &slack) == 0;
}

/* Whether there would be room if there were nothing else. */
static bool can_fit(const struct cache *c, uint64_t size)
{
	uint64_t limit, slack;

	(void)too_much(c, 0, 0, &limit, &slack);
	return limit == 0 || size <= limit;
}

int cache_make_room(struct cache *c, uint64_t size, struct stow_err *err)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	if (!is_limited(c) || has_room(c, size))
		return 0;
	if (can_fit(c, size)) {
		wait_for_round(c, size);
		if (has_room(c, size))
			return 0;
	}
	return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "no room for %llu bytes more among the local ones",
			 (unsigned long long)size);
}

void cache_status(struct cache *c, struct fleet_status *st)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	st->cache_bytes = c->bytes > 0 ? (uint64_t)c->bytes : 0;
	st->cache_limit = c->limit;
	st->evicted = c->evicted;
	st->evicted_bytes = c->evicted_bytes;
}

/* --- life --- */

struct cache *cache_new(const struct cache_options *o)
{
	struct cache *c = x_calloc(1, sizeof(*c));

	c->magic = CACHE_MAGIC;
	c->o = *o;
	lock_init(&c->lock, RANK_CACHE);
	lock_cond_init(&c->poked);
	lock_cond_init(&c->rounded);
	return c;
}

void cache_start(struct cache *c, struct meta *m)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	c->meta = m;
	(void)now_too_much(c); /* for the limit */
	lock_take(&c->lock);
	c->running = true;
	lock_release(&c->lock);
	thread_start(&c->thread, "cache", run, c);
}

void cache_stop(struct cache *c)
{
	bool was_running;

	CHECK_OBJ(c, CACHE_MAGIC);
	lock_take(&c->lock);
	was_running = c->running;
	c->running = false;
	c->stopping = true;
	pthread_cond_broadcast(&c->poked);
	pthread_cond_broadcast(&c->rounded);
	lock_release(&c->lock);
	if (was_running)
		pthread_join(c->thread, NULL);
}

void cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CACHE_MAGIC);
	pthread_cond_destroy(&c->rounded);
	pthread_cond_destroy(&c->poked);
	lock_destroy(&c->lock);
	FREE_OBJ(c);
}
