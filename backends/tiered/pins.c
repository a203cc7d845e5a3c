#include "backends/tiered/pins.h"

#include "backends/tiered/tree.h"
#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"
#include "content/meta.h"

#define PINS_MAGIC 0x71e20009u

enum { ROWS = 1000 }; /* looked at in one transaction */

struct pins {
	unsigned magic;
	struct pins_options o;
	struct meta *meta; /* from the start on */
	pthread_t thread;
	bool complained; /* the thread's: more is pinned than may stay, and that was logged */

	struct lock lock; /* for what follows */
	pthread_cond_t change;
	bool running, stopping;
	bool poked;
	bool busy; /* somebody pins or unpins */
};

/* --- what is missing is brought --- */

struct rows {
	struct pin v[ROWS];
	size_t n;
};

static int note_row(void *arg, const struct pin *p, struct stow_err *err UNUSED)
{
	struct rows *r = arg;

	r->v[r->n++] = *p;
	return 0;
}

static bool is_here(const struct pins *p, const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(p->o.fast, d, &st, &err) == 0;
}

static bool is_stopping(struct pins *p)
{
	LOCK_SCOPE(&p->lock);
	return p->stopping;
}

static uint64_t cache_limit(const struct pins *p)
{
	struct fleet_status st = { 0 };

	cache_status(p->o.cache, &st);
	return st.cache_limit;
}

/* Logged once, until it is otherwise. */
static void complain(struct pins *p, uint64_t sum, uint64_t limit)
{
	bool too_much = limit > 0 && sum > limit;

	if (too_much && !p->complained)
		log_warn("more is pinned than may stay here", LOG_I("pinned", sum), LOG_I("limit", limit));
	p->complained = too_much;
}

/* How many pinned blobs are not here, of those that there is room for; 0 also where that cannot be told. */
static uint64_t bring_all(struct pins *p, struct rows *r)
{
	struct digest cursor = { 0 };
	uint64_t sum = 0, absent = 0, limit = cache_limit(p);
	struct stow_err err;
	size_t n;

	do {
		r->n = 0;
		if (meta_pins_next(p->meta, &cursor, ROWS, note_row, r, &n, &err) < 0) {
			log_error("looking for what is pinned failed", LOG_S("error", err.msg));
			return 0;
		}
		for (size_t i = 0; i < r->n && !is_stopping(p); i++) {
			sum += r->v[i].size;
			if ((limit > 0 && sum > limit) || is_here(p, &r->v[i].digest))
				continue;
			absent++;
			fetch_prefetch(p->o.fetches, &r->v[i].digest);
		}
	} while (n == ROWS && !is_stopping(p));
	complain(p, sum, limit);
	return absent;
}

/* False at the end. *ret_poked: it was cut short. */
static bool sleep_until(struct pins *p, int64_t mono_ns, bool *ret_poked)
{
	LOCK_SCOPE(&p->lock);
	while (!p->stopping && !p->poked && lock_wait_until(&p->lock, &p->change, mono_ns))
		;
	*ret_poked = p->poked;
	p->poked = false;
	return !p->stopping;
}

static void *run(void *arg)
{
	CLEANUP(freep) struct rows *r = x_calloc(1, sizeof(*r));
	struct pins *p = arg;
	int64_t rest_ns = PINS_RETRY_NS;
	uint64_t absent, before = 0;
	bool poked;

	do {
		absent = bring_all(p, r);
		if (absent == 0 || absent < before)
			rest_ns = PINS_RETRY_NS;
		before = absent;
		if (!sleep_until(p, clock_mono_ns() + (absent > 0 ? rest_ns : PINS_LOOK_NS), &poked))
			return NULL;
		rest_ns = poked ? PINS_RETRY_NS : 2 * rest_ns < PINS_LOOK_NS ? 2 * rest_ns : PINS_LOOK_NS;
	} while (true);
}

void pins_flush(struct pins *p)
{
	CHECK_OBJ(p, PINS_MAGIC);
	LOCK_SCOPE(&p->lock);
	p->poked = true;
	pthread_cond_broadcast(&p->change);
}

/* --- pinning --- */

/* Two at once could each take for granted what the other changes. */
static int busy_begin(struct pins *p, struct stow_err *err)
{
	LOCK_SCOPE(&p->lock);
	while (p->busy && !p->stopping)
		lock_wait(&p->lock, &p->change);
	if (!p->running)
		return stow_fail(err, STOW_UNAVAILABLE, "the store is starting or stopping");
	p->busy = true;
	return 0;
}

static void busy_end(struct pins *p)
{
	LOCK_SCOPE(&p->lock);
	p->busy = false;
	pthread_cond_broadcast(&p->change);
}

/* What a tree's pins come to; *ret_new are the bytes that were not pinned before. */
static int add_up(struct pins *p, const struct tree *t, struct fleet_pinned *ret_p, uint64_t *ret_new,
		  struct stow_err *err)
{
	*ret_p = (struct fleet_pinned){ 0 };
	*ret_new = 0;
	for (size_t i = 0; i < t->n; i++) {
		CLEANUP(blob_info_free) struct blob_info info = { 0 };

		if (meta_blob_get(p->meta, &t->v[i], &info, err) < 0) {
			if (err->code != STOW_NOT_FOUND)
				return -1;
			continue; /* gone just now */
		}
		ret_p->blobs++;
		ret_p->bytes += info.size;
		if (!is_here(p, &t->v[i])) {
			ret_p->absent++;
			ret_p->absent_bytes += info.size;
		}
		if (meta_pin_get(p->meta, &t->v[i], NULL, err) == 0)
			continue;
		if (err->code != STOW_NOT_FOUND)
			return -1;
		*ret_new += info.size;
	}
	return 0;
}

static int has_room(struct pins *p, uint64_t more, struct stow_err *err)
{
	uint64_t n, bytes, limit = cache_limit(p);

	if (limit == 0 || more == 0)
		return 0;
	if (meta_pin_count(p->meta, &n, &bytes, err) < 0)
		return -1;
	if (bytes + more <= limit)
		return 0;
	return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
			 "no room: %llu bytes are pinned, it would be %llu more, and %llu may stay here "
			 "(max_size)",
			 (unsigned long long)bytes, (unsigned long long)more, (unsigned long long)limit);
}

static int pin_tree(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	CLEANUP(tree_free) struct tree t = { 0 };
	struct fleet_pinned result;
	uint64_t more;

	if (tree_collect(p->meta, p->o.front, d, true, &t, err) < 0 ||
	    add_up(p, &t, &result, &more, err) < 0 || has_room(p, more, err) < 0 ||
	    meta_pins_add(p->meta, t.v, t.n, clock_wall_ns(), err) < 0)
		return -1;
	for (size_t i = 0; i < t.n; i++) {
		CLEANUP(claim_release) struct claim claim = { 0 };

		claim_take(p->o.claims, &claim, &t.v[i]);
	}
	pins_flush(p);
	*ret_p = result;
	return 0;
}

int pins_pin(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	int result;

	CHECK_OBJ(p, PINS_MAGIC);
	if (busy_begin(p, err) < 0)
		return -1;
	result = pin_tree(p, d, ret_p, err);
	busy_end(p);
	return result;
}

/* --- unpinning --- */

/* Of what is to be unpinned, takes out what the named pins in `r` refer to, but for `d` itself, which is one.
 * *ret_with is one of those that `d` is pinned with; DIGEST_NONE: there is none. */
static int spare_shared(struct pins *p, const struct rows *r, const struct digest *d, struct tree *t,
			struct digest *ret_with, struct stow_err *err)
{
	for (size_t i = 0; i < r->n; i++) {
		CLEANUP(tree_free) struct tree other = { 0 };
		const struct digest *root = &r->v[i].digest;

		if (!r->v[i].named || digest_equal(root, d))
			continue;
		if (tree_collect(p->meta, p->o.front, root, false, &other, err) < 0) {
			if (err->code != STOW_NOT_FOUND)
				return -1;
			continue; /* gone just now */
		}
		if (tree_has(&other, d))
			*ret_with = *root;
		tree_subtract(t, &other);
	}
	return 0;
}

static int unpin_tree(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p,
		      struct stow_err *err)
{
	CLEANUP(freep) struct rows *r = x_calloc(1, sizeof(*r));
	CLEANUP(tree_free) struct tree t = { 0 };
	struct digest cursor = { 0 }, with = { 0 };
	char text[DIGEST_STR_MAX];
	struct fleet_pinned result = { 0 };
	struct pin pin;
	size_t n;

	if (meta_pin_get(p->meta, d, &pin, err) < 0 ||
	    tree_collect(p->meta, p->o.front, d, false, &t, err) < 0)
		return -1;
	do {
		r->n = 0;
		if (meta_pins_next(p->meta, &cursor, ROWS, note_row, r, &n, err) < 0 ||
		    spare_shared(p, r, d, &t, &with, err) < 0)
			return -1;
	} while (n == ROWS);
	if (digest_is_set(&with) && !pin.named) {
		digest_format(&with, text);
		return stow_fail(err, STOW_FAILED_PRECONDITION, "it is pinned with %s: unpin that", text);
	}
	if (meta_pins_remove(p->meta, d, t.v, t.n, &result.blobs, &result.bytes, err) < 0)
		return -1;
	cache_added(p->o.cache, 0); /* some of it may go now */
	*ret_p = result;
	return 0;
}

int pins_unpin(struct pins *p, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	int result;

	CHECK_OBJ(p, PINS_MAGIC);
	if (busy_begin(p, err) < 0)
		return -1;
	result = unpin_tree(p, d, ret_p, err);
	busy_end(p);
	return result;
}

int pins_status(struct pins *p, struct fleet_status *st, struct stow_err *err)
{
	CHECK_OBJ(p, PINS_MAGIC);
	return p->meta == NULL ? 0 : meta_pin_count(p->meta, &st->pinned, &st->pinned_bytes, err);
}

/* --- life --- */

struct pins *pins_new(const struct pins_options *o)
{
	struct pins *p = x_calloc(1, sizeof(*p));

	p->magic = PINS_MAGIC;
	p->o = *o;
	lock_init(&p->lock, RANK_PINS);
	lock_cond_init(&p->change);
	return p;
}

void pins_start(struct pins *p, struct meta *m)
{
	CHECK_OBJ(p, PINS_MAGIC);
	p->meta = m;
	lock_take(&p->lock);
	p->running = true;
	lock_release(&p->lock);
	thread_start(&p->thread, "pins", run, p);
}

void pins_stop(struct pins *p)
{
	bool was_running;

	CHECK_OBJ(p, PINS_MAGIC);
	lock_take(&p->lock);
	was_running = p->running;
	p->running = false;
	p->stopping = true;
	pthread_cond_broadcast(&p->change);
	lock_release(&p->lock);
	if (was_running)
		pthread_join(p->thread, NULL);
}

void pins_free(struct pins *p)
{
	if (p == NULL)
		return;
	CHECK_OBJ(p, PINS_MAGIC);
	pthread_cond_destroy(&p->change);
	lock_destroy(&p->lock);
	FREE_OBJ(p);
}
