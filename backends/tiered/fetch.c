#include "backends/tiered/fetch_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

/* Between two tries. */
static const int64_t RETRY_MIN_NS = 200 * NSEC_PER_MSEC;
static const int64_t RETRY_MAX_NS = 5 * NSEC_PER_SEC;

/* --- life --- */

struct fetches *fetches_new(const struct fetches_options *o)
{
	struct fetches *fs = x_calloc(1, sizeof(*fs));

	fs->magic = FETCHES_MAGIC;
	fs->o = *o;
	if (fs->o.prefetch > FETCH_PREFETCH_MAX)
		fs->o.prefetch = FETCH_PREFETCH_MAX;
	fs->patience_ns = FETCH_PATIENCE_NS;
	lock_init(&fs->lock, RANK_FETCH);
	lock_cond_init(&fs->work);
	lock_cond_init(&fs->kept_change);
	fs->n_threads = FETCH_READ_THREADS + fs->o.prefetch;
	fs->threads = x_calloc(fs->n_threads, sizeof(*fs->threads));
	for (unsigned i = 0; i < fs->n_threads; i++)
		thread_start(&fs->threads[i], "fetch", fetch_thread, fs);
	return fs;
}

void fetches_start(struct fetches *fs, struct meta *m)
{
	CHECK_OBJ(fs, FETCHES_MAGIC);
	LOCK_SCOPE(&fs->lock);
	assert(!fs->started);
	fs->meta = m;
	fs->started = fs->recover = true;
	pthread_cond_broadcast(&fs->work);
}

static struct fetch *any_locked(struct fetches *fs)
{
	return fs->active.first != NULL ? fs->active.first : fs->queue.first;
}

void fetches_stop(struct fetches *fs)
{
	struct stow_err err;
	struct fetch *f;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	lock_take(&fs->lock);
	assert(!fs->stopping);
	fs->stopping = true;
	pthread_cond_broadcast(&fs->work);
	for (int i = 0; i < FETCH_BUCKETS; i++) {
		for (f = fs->table[i]; f != NULL; f = f->next)
			pthread_cond_broadcast(&f->change);
	}
	lock_release(&fs->lock);
	for (unsigned i = 0; i < fs->n_threads; i++)
		(void)pthread_join(fs->threads[i], NULL);
	(void)stow_fail(&err, STOW_UNAVAILABLE, "the store is stopping");
	lock_take(&fs->lock);
	while ((f = any_locked(fs)) != NULL) {
		f->users++;
		if (fetch_ended(f)) /* somebody is about to take it off the list */
			(void)fetch_wait_locked(f, INT64_MAX);
		else
			fetch_end_locked(f, FETCH_FAILED, &err, true);
		fetch_unuse_locked(f);
	}
	lock_release(&fs->lock);
}

void fetches_free(struct fetches *fs)
{
	if (fs == NULL)
		return;
	CHECK_OBJ(fs, FETCHES_MAGIC);
	if (!fs->stopping)
		fetches_stop(fs);
	assert(fs->open == 0);
	for (struct kept_stage *k; (k = fs->kept) != NULL; free(k)) {
		fs->kept = k->next;
		cache_room_drop(&k->room);
	}
	free(fs->threads);
	pthread_cond_destroy(&fs->kept_change);
	pthread_cond_destroy(&fs->work);
	lock_destroy(&fs->lock);
	FREE_OBJ(fs);
}

/* --- the table and its lists --- */

static struct fetch **bucket(struct fetches *fs, const struct digest *d)
{
	return &fs->table[digest_key(d) % FETCH_BUCKETS];
}

struct fetch *fetch_find_locked(struct fetches *fs, const struct digest *d)
{
	struct fetch *f = *bucket(fs, d);

	LOCK_ASSERT(&fs->lock);
	while (f != NULL && !digest_equal(&f->digest, d))
		f = f->next;
	return f;
}

static struct fetch_list *list_of(struct fetch *f)
{
	return f->queued ? &f->home->queue : &f->home->active;
}

static void list_push(struct fetch_list *l, struct fetch *f)
{
	f->after = NULL;
	f->before = l->last;
	*(l->last != NULL ? &l->last->after : &l->first) = f;
	l->last = f;
	l->n++;
}

static void list_take(struct fetch_list *l, struct fetch *f)
{
	*(f->before != NULL ? &f->before->after : &l->first) = f->after;
	*(f->after != NULL ? &f->after->before : &l->last) = f->before;
	l->n--;
}

void fetch_to_end_locked(struct fetch_list *l, struct fetch *f)
{
	list_take(list_of(f), f);
	f->queued = l == &f->home->queue;
	list_push(l, f);
}

static struct fetch *fetch_new_locked(struct fetches *fs, const struct digest *d, bool queued)
{
	struct fetch *f = x_calloc(1, sizeof(*f)), **at = bucket(fs, d);

	f->home = fs;
	f->digest = *d;
	fetch_stage_name(fs, d, f->name);
	lock_cond_init(&f->change);
	f->users = 1;
	f->listed = true;
	f->queued = queued;
	f->next = *at;
	*at = f;
	list_push(list_of(f), f);
	return f;
}

void fetch_unuse_locked(struct fetch *f)
{
	LOCK_ASSERT(&f->home->lock);
	if (--f->users > 0)
		return;
	assert(!f->listed && f->source == NULL && f->stage == NULL && f->room.cache == NULL);
	hash_free(f->hash);
	pthread_cond_destroy(&f->change);
	free(f);
}

static void unlist_locked(struct fetch *f)
{
	struct fetch **at = bucket(f->home, &f->digest);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	list_take(list_of(f), f);
	f->listed = false;
	fetch_unuse_locked(f);
}

bool fetch_wait_locked(struct fetch *f, int64_t until_mono_ns)
{
	bool in_time;

	f->users++;
	in_time = lock_wait_until(&f->home->lock, &f->change, until_mono_ns);
	fetch_unuse_locked(f);
	return in_time;
}

void held_put(struct fetches *fs, struct held *h)
{
	bool last;

	if (h == NULL)
		return;
	lock_take(&fs->lock);
	last = --h->users == 0;
	lock_release(&fs->lock);
	if (!last)
		return;
	blob_close(h->blob);
	stage_close(h->stage);
	free(h);
}

/* --- what failed --- */

static struct fetch_failure *failure_locked(struct fetches *fs, const struct digest *d)
{
	LOCK_ASSERT(&fs->lock);
	for (size_t i = 0; i < FETCH_FAILURES; i++)
		if (digest_equal(&fs->failed[i].digest, d))
			return &fs->failed[i];
	return NULL;
}

static void note_failure_locked(struct fetches *fs, const struct digest *d, const struct stow_err *err)
{
	struct fetch_failure *at = failure_locked(fs, d);

	if (at == NULL)
		at = &fs->failed[fs->next_failed++ % FETCH_FAILURES];
	*at = (struct fetch_failure){ .digest = *d, .err = *err };
}

bool fetch_failed(struct fetches *fs, const struct digest *d, struct stow_err *ret_why)
{
	const struct fetch_failure *at;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	LOCK_SCOPE(&fs->lock);
	at = failure_locked(fs, d);
	if (at != NULL)
		*ret_why = at->err;
	return at != NULL;
}

/* --- how it ends --- */

void fetch_end_locked(struct fetch *f, enum fetch_state state, const struct stow_err *err, bool keep)
{
	struct fetches *fs = f->home;
	struct held *stage, *source;
	struct cache_room room;
	bool kept, useless;

	LOCK_ASSERT(&fs->lock);
	if (fetch_ended(f))
		return;
	f->users++;
	f->state = state;
	if (err != NULL)
		f->err = *err;
	if (state == FETCH_FAILED)
		note_failure_locked(fs, &f->digest, &f->err);
	pthread_cond_broadcast(&f->change);
	/* A stage is published by its name, which the next fetch of this digest will use, too. */
	while (f->staging)
		lock_wait(&fs->lock, &f->change);
	stage = TAKE(f->stage);
	source = TAKE(f->source);
	room = f->room;
	f->room = (struct cache_room){ 0 };
	kept = keep && state != FETCH_GOOD && stage != NULL && f->have > 0 && fs->n_kept < FETCH_KEPT_MAX;
	useless = state != FETCH_GOOD && stage != NULL && !kept;
	if (useless || !keep)
		(void)fetch_drop_locked(fs, f->name);
	lock_release(&fs->lock);
	held_put(fs, stage);
	held_put(fs, source);
	if (kept)
		cache_room_keep_written(&room);
	else
		cache_room_drop(&room);
	lock_take(&fs->lock);
	if (kept)
		fetch_keep_locked(fs, f->name, &room);
	unlist_locked(f);
	pthread_cond_broadcast(&f->change);
	pthread_cond_signal(&fs->work);
	fetch_unuse_locked(f);
}

void fetch_settle_locked(struct fetch *f)
{
	bool idle_for_good = f->streamed || f->home->o.prefetch == 0 || f->tries >= FETCH_TRIES ||
			     (!f->opened && !f->prefetch);

	if (f->readers == 0 && !f->running && idle_for_good && !fetch_ended(f)) {
		struct stow_err err = { .code = STOW_CANCELLED, .msg = "nobody needs it any more" };

		if (f->streamed || f->tries >= FETCH_TRIES)
			err = f->err;
		fetch_end_locked(f, FETCH_FAILED, &err, true);
	}
}

void fetch_break_locked(struct fetch *f, struct held *source, const struct stow_err *err)
{
	struct fetches *fs = f->home;
	struct held *old = NULL;
	int64_t wait = RETRY_MIN_NS << (f->tries < 8 ? f->tries : 8);

	LOCK_ASSERT(&fs->lock);
	/* Of several who have failed at once, the first one counts. */
	if (fetch_ended(f) || f->source != source)
		return;
	old = TAKE(f->source);
	if (wait > RETRY_MAX_NS)
		wait = RETRY_MAX_NS;
	/* Not all nodes at once: somewhere in the second half. */
	wait -= clock_mono_ns() % (wait / 2);
	f->retry_ns = clock_mono_ns() + wait;
	f->state = FETCH_BROKEN;
	f->err = *err;
	f->tries++;
	f->failures++;
	pthread_cond_broadcast(&f->change);
	pthread_cond_signal(&fs->work);
	if (old == NULL)
		return;
	f->users++;
	lock_release(&fs->lock);
	held_put(fs, old);
	lock_take(&fs->lock);
	fetch_unuse_locked(f);
}

void fetch_wrong_locked(struct fetch *f)
{
	struct fetches *fs = f->home;
	const char *name = fs->o.tiers->v[f->at].name;
	bool again = f->mixed && !f->anew && (f->prefetch || f->readers > 0);
	char text[DIGEST_STR_MAX];
	struct stow_err err;

	LOCK_ASSERT(&fs->lock);
	digest_format(&f->digest, text);
	f->users++;
	if (f->mixed) {
		(void)stow_fail(&err, STOW_UNAVAILABLE, "%s: what came of it in several parts is not it",
				text);
	} else {
		(void)stow_fail(&err, STOW_DATA_LOSS, "%s: %s has other bytes under this name", text, name);
		lock_release(&fs->lock);
		lookup_mark_bad(fs->o.lookup, &f->digest, f->at);
		log_error("a storage has wrong bytes for a blob", LOG_S("storage", name),
			  LOG_S("digest", text), LOG_I("size", f->size));
		lock_take(&fs->lock);
	}
	fetch_end_locked(f, FETCH_FAILED, &err, false);
	if (again && !fs->stopping && fetch_find_locked(fs, &f->digest) == NULL) {
		struct fetch *next = fetch_new_locked(fs, &f->digest, true);

		next->prefetch = next->anew = true;
		pthread_cond_signal(&fs->work);
	}
	fetch_unuse_locked(f);
}

/* --- what others ask for --- */

/* The digest's fetch, which has not ended; NULL: none. Waits for one that is about to be gone. */
static struct fetch *fetch_live_locked(struct fetches *fs, const struct digest *d)
{
	struct fetch *f;

	while ((f = fetch_find_locked(fs, d)) != NULL && fetch_ended(f))
		(void)fetch_wait_locked(f, INT64_MAX);
	return f;
}

/* Waits until the size is known. */
static int opened_locked(struct fetch *f, int64_t until_mono_ns, struct stow_err *err)
{
	struct fetches *fs = f->home;
	unsigned seen = f->failures;
	bool in_time = true;

	f->waiting++;
	while (!f->opened && !fetch_ended(f) && f->failures == seen && !fs->stopping && in_time)
		in_time = fetch_wait_locked(f, until_mono_ns);
	f->waiting--;
	if (fs->stopping)
		return stow_fail(err, STOW_UNAVAILABLE, "the store is stopping");
	if (f->state != FETCH_FAILED && f->opened)
		return 0;
	if (f->state == FETCH_GOOD)
		return stow_fail(err, STOW_ALREADY_EXISTS, "it is here already");
	if (!in_time)
		return stow_fail(err, STOW_UNAVAILABLE, "the storages behind do not answer");
	*err = f->err;
	return -1;
}

int fetch_open(struct fetches *fs, const struct digest *d, unsigned flags, struct fetch_reader **ret_r,
	       uint64_t *ret_size, struct stow_err *err)
{
	int64_t until = clock_mono_ns() + fs->patience_ns;
	struct fetch_reader *r;
	struct fetch *f;
	int result;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	lock_take(&fs->lock);
	f = fetch_live_locked(fs, d);
	if (fs->stopping) {
		lock_release(&fs->lock);
		return stow_fail(err, STOW_UNAVAILABLE, "the store is stopping");
	}
	if (flags != 0 && (f == NULL || !f->opened)) {
		lock_release(&fs->lock);
		return stow_fail(err, STOW_UNAVAILABLE, "not here yet");
	}
	if (f == NULL)
		f = fetch_new_locked(fs, d, false);
	else if (f->queued)
		fetch_to_end_locked(&fs->active, f);
	f->users++;
	f->readers++;
	if (!f->opened) /* whatever has failed, failed for somebody else */
		f->retry_ns = 0;
	pthread_cond_signal(&fs->work);
	result = opened_locked(f, until, err);
	if (result == 0) {
		r = x_calloc(1, sizeof(*r));
		*r = (struct fetch_reader){ .magic = FETCH_READER_MAGIC, .fetch = f };
		*ret_r = r;
		*ret_size = f->size;
		fs->open++;
	} else {
		f->readers--;
		fetch_settle_locked(f);
		fetch_unuse_locked(f);
	}
	lock_release(&fs->lock);
	return result;
}

void fetch_close(struct fetch_reader *r)
{
	struct fetch *f = r->fetch;
	struct fetches *fs = f->home;

	CHECK_OBJ(r, FETCH_READER_MAGIC);
	FREE_OBJ(r);
	lock_take(&fs->lock);
	fs->open--;
	if (--f->readers == 0)
		f->direct = false; /* whoever comes has none of these bytes */
	fetch_settle_locked(f);
	fetch_unuse_locked(f);
	pthread_cond_signal(&fs->work); /* it is another one's turn, maybe */
	lock_release(&fs->lock);
}

int fetch_want(struct fetches *fs, const struct digest *d, struct stow_err *err)
{
	struct fetch_failure *failure;
	struct fetch *f;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	if (fs->o.prefetch == 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "nothing is brought here that nobody reads (prefetch = 0 in [remote])");
	LOCK_SCOPE(&fs->lock);
	f = fetch_find_locked(fs, d);
	if (fs->stopping || (f != NULL && fetch_ended(f)) || (f == NULL && fs->queue.n >= FETCH_QUEUE))
		return stow_fail(err, STOW_UNAVAILABLE, "it cannot be wanted just now");
	failure = failure_locked(fs, d);
	if (failure != NULL)
		*failure = (struct fetch_failure){ 0 };
	if (f == NULL)
		f = fetch_new_locked(fs, d, true);
	f->prefetch = true;
	pthread_cond_signal(&fs->work);
	return 0;
}

void fetch_prefetch(struct fetches *fs, const struct digest *d)
{
	struct stow_err ignored;

	(void)!fetch_want(fs, d, &ignored);
}

void fetch_cancel(struct fetches *fs, const struct digest *d)
{
	char text[DIGEST_STR_MAX], name[STAGE_NAME_LEN + 1];
	struct stow_err err;
	struct fetch *f;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	digest_format(d, text);
	fetch_stage_name(fs, d, name);
	LOCK_SCOPE(&fs->lock);
	f = fetch_live_locked(fs, d);
	if (f != NULL) {
		(void)stow_fail(&err, STOW_NOT_FOUND, "%s: removed", text);
		fetch_end_locked(f, FETCH_FAILED, &err, false);
	} else {
		(void)fetch_drop_locked(fs, name);
	}
}

/* A fetch that is broken, and that only this node's foresight wants; NULL: none has room. */
static struct fetch *idle_locked(struct fetches *fs)
{
	struct fetch *f = fs->active.first;

	while (f != NULL && (f->state != FETCH_BROKEN || f->readers > 0 || f->running || f->room.bytes == 0))
		f = f->after;
	return f;
}

/* A kept stage that nobody is at: after a wait for one it might be a fetch's. NULL: there is none. */
static const struct kept_stage *idle_kept_locked(const struct fetches *fs)
{
	const struct kept_stage *k = fs->kept;

	while (k != NULL && k->busy)
		k = k->next;
	return k;
}

uint64_t fetches_drop_kept(struct fetches *fs, uint64_t goal)
{
	const struct stow_err err = { .code = STOW_CANCELLED, .msg = "there is no room for it any more" };
	const struct kept_stage *k;
	uint64_t gone = 0;
	struct fetch *f;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	LOCK_SCOPE(&fs->lock);
	while (gone < goal && (k = idle_kept_locked(fs)) != NULL)
		gone += fetch_drop_locked(fs, k->name);
	while (gone < goal && (f = idle_locked(fs)) != NULL) {
		gone += f->room.bytes;
		fetch_end_locked(f, FETCH_FAILED, &err, false);
	}
	return gone;
}

bool fetch_is_coming(struct fetches *fs, const struct digest *d)
{
	struct fetch *f;

	CHECK_OBJ(fs, FETCHES_MAGIC);
	LOCK_SCOPE(&fs->lock);
	f = fetch_find_locked(fs, d);
	return f != NULL && !fetch_ended(f);
}

/* What is not kept comes while somebody reads it, and not for as long as he has it open. */
static bool is_idle_locked(const struct fetch *f)
{
	return f->state == FETCH_STREAMED && f->waiting == 0 && !f->proving &&
	       (f->source == NULL || f->source->users == 1);
}

void fetch_status(struct fetches *fs, struct fleet_status *st)
{
	CHECK_OBJ(fs, FETCHES_MAGIC);
	LOCK_SCOPE(&fs->lock);
	st->fetching = 0;
	for (const struct fetch *f = fs->active.first; f != NULL; f = f->after)
		st->fetching += !fetch_ended(f) && !is_idle_locked(f);
	st->fetched = fs->fetched;
	st->fetched_bytes = fs->fetched_bytes;
}
