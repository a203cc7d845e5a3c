#include "backends/tiered/cache.h"

#include "backends/tiered/cache_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

/* Free space is looked at so often though nothing was added: others fill the same disk. */
static const int64_t LOOK_EVERY_NS = 10 * NSEC_PER_SEC;
/* And when so many bytes were added. */
#define LOOK_EVERY_BYTES (INT64_C(64) << 20)
/* After a scan that found too little to remove, the next one waits so many times as long as it took. */
enum { REST_FACTOR = 10 };
static const int64_t REST_MIN_NS = 50 * NSEC_PER_MSEC;
static const int64_t REST_MAX_NS = 60 * NSEC_PER_SEC;
static const int64_t PATIENCE_NS = 60 * NSEC_PER_SEC;

/* --- limits --- */

/* What there is and what may be, in bytes. What cannot be found out about the disk is no limit. */
struct limits {
	uint64_t limit; /* 0: none */
	uint64_t floor; /* 0: none */
	uint64_t left;  /* on the disk; only where that is known */
	bool known;
	uint64_t slack;
};

static uint64_t share_of(const struct tiered_share *s, uint64_t total)
{
	return s->percent > 0 ? total / 100 * s->percent : s->bytes;
}

static struct limits limits_now(const struct cache *c)
{
	struct backend *fast = c->o.fast;
	uint64_t total = 0;
	struct limits l = { 0 };
	struct stow_err err;

	l.known = fast->ops->space != NULL && fast->ops->space(fast, &l.left, &total, &err) == 0;
	if (!l.known)
		l.left = total = 0;
	l.limit = share_of(&c->o.max_size, total);
	l.floor = total > 0 ? share_of(&c->o.min_free, total) : 0;
	l.slack = (l.limit > 0 ? l.limit : l.floor) / 100 * CACHE_SLACK_PERCENT;
	return l;
}

/* No more than there can be: what a storage says of a blob's size may be nonsense. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

static uint64_t excess(uint64_t need, uint64_t have)
{
	return need > have ? need - have : 0;
}

static uint64_t counted_locked(const struct cache *c)
{
	return (c->bytes > 0 ? (uint64_t)c->bytes : 0) + c->promised;
}

/* How many bytes have to go so that `more` have room; 0: none. */
static uint64_t over_locked(const struct cache *c, const struct limits *l, uint64_t more)
{
	uint64_t size = l->limit > 0 ? excess(sum(counted_locked(c), more), l->limit) : 0;
	uint64_t space = l->floor > 0 ? excess(sum(l->floor + c->unwritten, more), l->left) : 0;

	LOCK_ASSERT(&c->lock);
	return size > space ? size : space;
}

/* --- a round --- */

/* What has to go now. */
struct need {
	uint64_t over; /* because of the limits; 0: nothing */
	uint64_t goal; /* with the slack, and what the disk has refused; 0: nothing */
	bool squeeze;  /* the disk has refused something */
};

static struct need need_now(struct cache *c)
{
	struct limits l = limits_now(c);
	struct need n = { 0 };
	LOCK_SCOPE(&c->lock);

	c->limit = l.limit;
	n.over = over_locked(c, &l, c->wanted);
	n.goal = n.over > 0 ? sum(n.over, l.slack) : 0;
	n.squeeze = c->squeeze > 0;
	if (n.goal < c->squeeze)
		n.goal = c->squeeze;
	return n;
}

/* Removes candidates until `goal` bytes and `count` of them are gone; returns how many bytes are. */
static uint64_t evict(struct cache *c, const struct pick *p, uint64_t goal, unsigned count)
{
	uint64_t gone = 0;
	unsigned n = 0;

	for (size_t i = 0; i < p->n && (gone < goal || n < count); i++) {
		struct stow_err err;

		if (c->o.evict(c->o.arg, &p->v[i].digest, &err) < 0)
			continue;
		gone += p->v[i].size;
		n++;
		lock_take(&c->lock);
		c->bytes -= (int64_t)p->v[i].size;
		c->drops++;
		c->evicted++;
		c->evicted_bytes += p->v[i].size;
		lock_release(&c->lock);
	}
	return gone;
}

/* Logged once, until all is well again; and not before it has lasted: at a start, and while something is read
 * or uploaded, what cannot go now can go in a moment. */
static void complain(struct cache *c, uint64_t over)
{
	int64_t now = clock_mono_ns();

	if (over == 0) {
		c->stuck_ns = 0;
		c->complained = false;
		return;
	}
	if (c->stuck_ns == 0)
		c->stuck_ns = now;
	if (c->complained || now - c->stuck_ns < (c->o.patience_ns > 0 ? c->o.patience_ns : PATIENCE_NS))
		return;
	log_warn("more is stored here than was allowed: what is left is in use, or not behind yet",
		 LOG_I("bytes", over));
	c->complained = true;
}

/* One scan, and what has to go for it. *ret_again: another scan would find more to remove. */
static bool round_once(struct cache *c, struct candidate *v, bool *ret_again)
{
	struct pick p = { .c = c, .v = v };
	struct need need;
	uint64_t gone;

	*ret_again = false;
	if (!cache_scan(&p))
		return false;
	need = need_now(c);
	if (need.goal == 0)
		return true;
	gone = evict(c, &p, need.goal, need.squeeze ? CACHE_SQUEEZE : 0);
	*ret_again = gone > 0 && p.more;
	return gone > 0 && gone >= need.over;
}

/* What is only kept for later. True if that was enough. */
static bool drop_kept(struct cache *c)
{
	struct need need = need_now(c);
	uint64_t gone = need.goal > 0 && c->o.drop_kept != NULL ? c->o.drop_kept(c->o.arg, need.goal) : 0;

	if (gone == 0)
		return need.goal == 0;
	lock_take(&c->lock);
	c->drops++;
	lock_release(&c->lock);
	return gone >= need.goal || need_now(c).goal == 0;
}

/* True if enough is gone, or nothing has to go. */
static bool free_some(struct cache *c)
{
	CLEANUP(freep) struct candidate *v = NULL;
	bool enough, again;

	if (drop_kept(c))
		return true;
	v = x_calloc(CACHE_CANDIDATES, sizeof(*v));
	do {
		enough = round_once(c, v, &again);
	} while (!enough && again);
	return enough;
}

/* --- the thread --- */

static bool is_due_locked(const struct cache *c)
{
	return c->stopping || c->rounds_done < c->rounds || c->unlooked >= LOOK_EVERY_BYTES ||
	       (c->limit > 0 && counted_locked(c) > c->limit);
}

/* Sleeps until there may be something to do, at least until `rest_ns`; false at the end. */
static bool sleep_until_due(struct cache *c, int64_t rest_ns)
{
	int64_t look_ns = clock_mono_ns() + LOOK_EVERY_NS;

	LOCK_SCOPE(&c->lock);
	while (!c->stopping && lock_wait_until(&c->lock, &c->poked, rest_ns))
		;
	c->resting = false;
	while (!is_due_locked(c) && lock_wait_until(&c->lock, &c->poked, look_ns))
		;
	c->unlooked = 0;
	return !c->stopping;
}

static void *run(void *arg)
{
	struct pick all = { .c = arg };
	struct cache *c = arg;
	int64_t rest_ns = 0;

	(void)cache_scan(&all); /* the sum, where nothing is limited */
	while (sleep_until_due(c, rest_ns)) {
		int64_t start = clock_mono_ns(), rest;
		uint64_t asked;
		bool enough = true;

		lock_take(&c->lock);
		asked = c->rounds;
		lock_release(&c->lock);
		if (need_now(c).goal > 0)
			enough = free_some(c);
		complain(c, enough ? 0 : need_now(c).over);
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

/* Waits for a round that begins after this; unless there is no hope. */
static void wait_for_round_locked(struct cache *c)
{
	uint64_t mine = ++c->rounds;

	LOCK_ASSERT(&c->lock);
	pthread_cond_broadcast(&c->poked);
	while (c->running && !c->resting && c->rounds_done < mine)
		lock_wait(&c->lock, &c->rounded);
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

bool cache_squeeze(struct cache *c, uint64_t size)
{
	uint64_t drops;

	CHECK_OBJ(c, CACHE_MAGIC);
	size += size == 0; /* of a file, not of bytes */
	LOCK_SCOPE(&c->lock);
	drops = c->drops;
	c->squeeze += size;
	wait_for_round_locked(c);
	c->squeeze -= size;
	return c->drops > drops;
}

static uint64_t room_locked(const struct cache *c, const struct limits *l)
{
	uint64_t size = l->limit > 0 ? excess(l->limit, counted_locked(c)) : UINT64_MAX;
	uint64_t space = l->known ? excess(l->left, sum(l->floor, c->unwritten)) : UINT64_MAX;

	LOCK_ASSERT(&c->lock);
	return size < space ? size : space;
}

void cache_status(struct cache *c, struct fleet_status *st)
{
	struct limits l;

	CHECK_OBJ(c, CACHE_MAGIC);
	l = limits_now(c);
	LOCK_SCOPE(&c->lock);
	st->cache_room = room_locked(c, &l);
	st->cache_bytes = counted_locked(c) - c->unwritten;
	st->cache_limit = c->limit;
	st->evicted = c->evicted;
	st->evicted_bytes = c->evicted_bytes;
}

bool cache_can_hold(struct cache *c, uint64_t size)
{
	struct limits l = limits_now(c);

	CHECK_OBJ(c, CACHE_MAGIC);
	return l.limit == 0 || size <= l.limit;
}

/* --- rooms --- */

static void room_grow_locked(struct cache *c, struct cache_room *room, uint64_t size, uint64_t written)
{
	assert(room->cache == NULL || room->cache == c);
	room->cache = c;
	room->bytes += size;
	room->written += written;
	c->promised += size;
	c->unwritten += size - written;
}

/* One who has not waited does not get in before those who wait. */
static bool promise(struct cache *c, uint64_t size, bool waited, struct cache_room *room)
{
	struct limits l = limits_now(c);
	LOCK_SCOPE(&c->lock);

	if (over_locked(c, &l, sum(size, waited ? 0 : c->wanted)) > 0)
		return false;
	room_grow_locked(c, room, size, 0);
	return true;
}

static void wait_for_room(struct cache *c, uint64_t size)
{
	LOCK_SCOPE(&c->lock);
	c->wanted += size;
	wait_for_round_locked(c);
	c->wanted -= size;
}

int cache_make_room(struct cache *c, uint64_t size, struct cache_room *room, struct stow_err *err)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	if (promise(c, size, false, room))
		return 0;
	if (cache_can_hold(c, sum(room->bytes, size))) {
		wait_for_room(c, size);
		if (promise(c, size, true, room))
			return 0;
	}
	return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "no room for %llu bytes more among the local ones",
			 (unsigned long long)size);
}

void cache_room_found(struct cache *c, uint64_t size, struct cache_room *room)
{
	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	room_grow_locked(c, room, size, size);
	if (is_due_locked(c))
		pthread_cond_broadcast(&c->poked);
}

void cache_room_written(struct cache_room *r, uint64_t written)
{
	struct cache *c = r->cache;

	CHECK_OBJ(c, CACHE_MAGIC);
	assert(written <= r->bytes);
	LOCK_SCOPE(&c->lock);
	c->unwritten += r->written;
	c->unwritten -= written;
	r->written = written;
}

void cache_room_keep_written(struct cache_room *r)
{
	struct cache *c = r->cache;

	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	c->promised -= r->bytes - r->written;
	c->unwritten -= r->bytes - r->written;
	r->bytes = r->written;
}

/* `blob` bytes of it are a blob's. */
static void room_end(struct cache_room *r, uint64_t blob)
{
	struct cache *c = r->cache;

	CHECK_OBJ(c, CACHE_MAGIC);
	LOCK_SCOPE(&c->lock);
	c->promised -= r->bytes;
	c->unwritten -= r->bytes - r->written;
	c->bytes += (int64_t)blob;
	c->unlooked += (int64_t)blob;
	*r = (struct cache_room){ 0 };
	if (is_due_locked(c))
		pthread_cond_broadcast(&c->poked);
}

void cache_room_used(struct cache_room *r)
{
	room_end(r, r->bytes);
}

void cache_room_drop(struct cache_room *r)
{
	if (r->cache != NULL)
		room_end(r, 0);
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
	(void)need_now(c); /* for the limit */
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
	assert(c->promised == 0 && c->unwritten == 0);
	pthread_cond_destroy(&c->rounded);
	pthread_cond_destroy(&c->poked);
	lock_destroy(&c->lock);
	FREE_OBJ(c);
}
