#include "backends/tiered/fetch_internal.h"
#include "backends/tiered/manifest.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"

/* While no storage behind can be reached, prefetches look that often whether one can. */
static const int64_t AWAY_NS = NSEC_PER_SEC;

/* --- whose turn it is --- */

static bool all_away(const struct fetches *fs)
{
	for (size_t i = 0; i < fs->o.tiers->n; i++) {
		if (tier_usable(&fs->o.tiers->v[i]))
			return false;
	}
	return true;
}

/* Whether there is something to be done for it; *wake_ns goes down to when there will be. */
static bool ready(const struct fetch *f, int64_t now, int64_t *wake_ns)
{
	if (f->running || fetch_ended(f) || f->state == FETCH_STREAMED)
		return false;
	if (f->state != FETCH_BROKEN)
		return true;
	if (f->waiting == 0 && (f->readers > 0 || f->tries >= FETCH_TRIES))
		return false;
	if (f->retry_ns > now && f->retry_ns < *wake_ns)
		*wake_ns = f->retry_ns;
	return f->retry_ns <= now;
}

/* The next one to work on: somebody waits for it, or has it open, or nobody does; among equals the one that
 * has waited longest. NULL: none, before *ret_wake_ns. */
static struct fetch *next_locked(struct fetches *fs, int64_t *ret_wake_ns)
{
	struct fetch *open = NULL, *idle = NULL;
	unsigned n_idle = 0, n_running = 0;
	int64_t now = clock_mono_ns();
	bool away = all_away(fs);

	*ret_wake_ns = INT64_MAX;
	for (struct fetch *f = fs->active.first; f != NULL; f = f->after) {
		bool is_ready = ready(f, now, ret_wake_ns);

		if (is_ready && f->waiting > 0)
			return f;
		if (is_ready && f->readers > 0 && open == NULL)
			open = f;
		if (is_ready && f->readers == 0 && idle == NULL)
			idle = f;
		n_idle += f->readers == 0;
		n_running += f->readers == 0 && f->running;
	}
	if (open != NULL)
		return open;
	if (away && (idle != NULL || fs->queue.n > 0) && *ret_wake_ns > now + AWAY_NS)
		*ret_wake_ns = now + AWAY_NS;
	if (away || n_running >= fs->o.prefetch)
		return NULL;
	if (idle != NULL)
		return idle;
	return fs->started && n_idle < fs->o.prefetch ? fs->queue.first : NULL;
}

/* --- the bytes --- */

/* One behind has the blob. */
static void take_source_locked(struct fetch *f, struct held *h)
{
	bool same = fetch_is_same_origin(f, h);

	if (!same && (f->direct || (f->streamed && f->done > 0))) {
		struct stow_err err;

		/* Readers have bytes of the first one, of which the hash of this one's says nothing. */
		(void)stow_fail(&err, STOW_UNAVAILABLE, "it comes from another object now");
		fetch_end_locked(f, FETCH_FAILED, &err, true);
		return;
	}
	f->mixed = f->mixed || (f->done > 0 && !same);
	f->at = h->at;
	f->version = h->blob->version;
	f->state = f->streamed ? FETCH_STREAMED : FETCH_COMING;
	h->users++;
	f->source = h;
	if (f->opened)
		return;
	f->size = h->blob->size;
	f->hash = hash_new((enum digest_alg)f->digest.alg);
	f->opened = true;
	f->progress_ns = clock_mono_ns();
}

/* It has come here in another way. Who has had bytes of it already, which nothing has proven, begins again.
 */
static void found_here_locked(struct fetch *f)
{
	struct stow_err err;

	(void)stow_fail(&err, STOW_UNAVAILABLE, "it has come here in another way");
	fetch_end_locked(f, f->opened ? FETCH_FAILED : FETCH_GOOD, &err, false);
}

/* The fetch goes on, or begins: with one who has the blob, unless it is here. */
static void step_open(struct fetch *f)
{
	struct fetches *fs = f->home;
	struct held *h = NULL;
	struct blob_stat st;
	struct stow_err err;

	if (backend_stat(fs->o.fast, &f->digest, &st, &err) == 0) {
		LOCK_SCOPE(&fs->lock);
		found_here_locked(f);
		return;
	}
	h = fetch_open_behind(f, &err);
	lock_take(&fs->lock);
	if (fetch_ended(f))
		; /* removed meanwhile */
	else if (h != NULL)
		take_source_locked(f, h);
	else if (err.code == STOW_UNAVAILABLE)
		fetch_break_locked(f, NULL, &err);
	else
		fetch_end_locked(f, FETCH_FAILED, &err, false);
	pthread_cond_broadcast(&f->change);
	lock_release(&fs->lock);
	held_put(fs, h);
}

/* Says that the stage is about to be changed: nobody ends the fetch meanwhile. False if it has ended. */
static bool staging_begin(struct fetch *f)
{
	LOCK_SCOPE(&f->home->lock);
	f->staging = !fetch_ended(f);
	return f->staging;
}

static void staging_end(struct fetch *f)
{
	LOCK_SCOPE(&f->home->lock);
	f->staging = false;
	f->progress_ns = clock_mono_ns();
	pthread_cond_broadcast(&f->change);
}

/* What is hashed so far came from elsewhere than what readers would be given from now on, and one proof
 * cannot speak for both: it begins anew, by whoever wants it. */
static bool give_up_mixed(struct fetch *f, struct stow_err *err)
{
	LOCK_SCOPE(&f->home->lock);

	if (!f->mixed || f->done == 0)
		return false;
	(void)stow_fail(err, STOW_UNAVAILABLE,
			"it cannot be kept here, and not all of it is from one storage");
	fetch_end_locked(f, FETCH_FAILED, err, false);
	return true;
}

/* That a blob comes again and again is worth knowing, once; that there was no room just now is not. */
static void tell_large(struct fetches *fs, const struct fetch *f)
{
	char text[DIGEST_STR_MAX];
	bool told;

	if (cache_can_hold(fs->o.cache, f->size))
		return;
	lock_take(&fs->lock);
	told = fs->told_large;
	fs->told_large = true;
	lock_release(&fs->lock);
	digest_format(&f->digest, text);
	if (!told)
		log_warn("a blob is larger than local.max_size: it, and others like it, are always read from "
			 "behind",
			 LOG_S("digest", text), LOG_I("bytes", f->size));
}

/* Bytes are not kept here from now on: those who want them get them from behind. */
static void give_up_stage(struct fetch *f, bool proven, const struct stow_err *why)
{
	struct fetches *fs = f->home;
	struct cache_room room;
	struct held *stage;
	struct stow_err ignored, err;
	char text[DIGEST_STR_MAX];

	if (give_up_mixed(f, &err) || !staging_begin(f))
		return;
	if (why->code != STOW_RESOURCE_EXHAUSTED) {
		digest_format(&f->digest, text);
		log_warn("a blob cannot be kept here: it is read from behind", LOG_S("digest", text),
			 LOG_S("error", why->msg));
	} else {
		tell_large(fs, f);
	}
	(void)!backend_stage_discard(fs->o.fast, f->name, &ignored);
	lock_take(&fs->lock);
	stage = TAKE(f->stage);
	room = f->room;
	f->room = (struct cache_room){ 0 };
	f->streamed = true;
	f->proven = proven;
	f->err = *why;
	if (f->state == FETCH_COMING)
		f->state = FETCH_STREAMED;
	f->staging = false;
	pthread_cond_broadcast(&f->change);
	lock_release(&fs->lock);
	held_put(fs, stage);
	cache_room_drop(&room);
}

/* The stage has `have` bytes, and is to get all of the blob. */
static int make_room(struct fetch *f, uint64_t have, struct stow_err *err)
{
	struct cache *c = f->home->o.cache;

	cache_room_found(c, have > f->room.bytes ? have - f->room.bytes : 0, &f->room);
	cache_room_written(&f->room, have);
	cache_room_keep_written(&f->room);
	return cache_make_room(c, f->size - have, &f->room, err);
}

static void step_stage(struct fetch *f)
{
	struct fetches *fs = f->home;
	struct stage *st = NULL;
	struct stow_err err;
	uint64_t have = 0;
	int result;

	if (!staging_begin(f))
		return;
	lock_take(&fs->lock);
	f->room = fetch_unkeep_locked(fs, f->name);
	lock_release(&fs->lock);
	result = fetch_stage_open(f, &st, &have, &err);
	if (result == 0)
		result = make_room(f, have, &err);
	lock_take(&fs->lock);
	if (st != NULL) {
		f->stage = held_new();
		f->stage->stage = st;
		f->have = have;
		f->mixed = f->mixed || have > 0;
	}
	f->staging = false;
	pthread_cond_broadcast(&f->change);
	lock_release(&fs->lock);
	if (result < 0)
		give_up_stage(f, false, &err);
}

/* `n` bytes have been hashed, and are in the stage. */
static void progress(struct fetch *f, size_t n)
{
	if (f->have < f->done + n)
		cache_room_written(&f->room, f->done + n);
	LOCK_SCOPE(&f->home->lock);
	f->done += n;
	if (f->have < f->done)
		f->have = f->done;
	f->tries = 0;
	f->progress_ns = clock_mono_ns();
	pthread_cond_broadcast(&f->change);
}

/* The stage has no bytes beyond the hashed ones any more. */
static void cut(struct fetch *f)
{
	cache_room_written(&f->room, f->done);
	LOCK_SCOPE(&f->home->lock);
	f->have = f->done;
}

/* Bytes of an earlier process, or of a fetch that ended: only to be hashed. */
static void step_kept(struct fetch *f, struct held *stage, uint8_t *piece, size_t n)
{
	struct stow_err err;
	size_t got = 0;
	int result = 0;

	if (!staging_begin(f))
		return;
	if (stage_pread(stage->stage, piece, n, f->done, &got, &err) == 0 && got == n) {
		hash_update(f->hash, piece, n);
		progress(f, n);
	} else {
		result = stage_truncate(stage->stage, f->done, &err); /* they are fetched again */
		cut(f);
	}
	staging_end(f);
	if (result < 0)
		give_up_stage(f, false, &err);
}

static void step_fetch(struct fetch *f, struct held *source, struct held *stage, uint8_t *piece, size_t n)
{
	struct fetches *fs = f->home;
	struct iovec v = { .iov_base = piece, .iov_len = n };
	struct stow_err err;
	int result;

	if (fetch_from_behind(fs, source, piece, n, f->done, 0, &err) < 0) {
		lock_take(&fs->lock);
		if (err.code == STOW_DATA_LOSS)
			fetch_wrong_locked(f);
		else
			fetch_break_locked(f, source, &err);
		lock_release(&fs->lock);
		return;
	}
	if (!staging_begin(f))
		return;
	result = stage_write(stage->stage, &v, 1, f->done, &err);
	if (result == 0) {
		hash_update(f->hash, piece, n);
		progress(f, n);
	}
	staging_end(f);
	if (result < 0)
		give_up_stage(f, false, &err);
}

static void step_piece(struct fetch *f, uint8_t *piece)
{
	struct fetches *fs = f->home;
	struct held *source, *stage;
	uint64_t rest;

	lock_take(&fs->lock);
	source = f->source;
	stage = f->stage;
	if (fetch_ended(f) || source == NULL || stage == NULL) {
		lock_release(&fs->lock);
		return;
	}
	source->users++;
	stage->users++;
	rest = f->done < f->have ? f->have - f->done : f->size - f->done;
	lock_release(&fs->lock);
	if (f->done < f->have)
		step_kept(f, stage, piece, rest < FETCH_PIECE ? (size_t)rest : FETCH_PIECE);
	else
		step_fetch(f, source, stage, piece, rest < FETCH_PIECE ? (size_t)rest : FETCH_PIECE);
	held_put(fs, source);
	held_put(fs, stage);
}

/* --- the end --- */

/* What the blob speaks of is asked for next. */
static void look_ahead(struct fetches *fs, const struct digest *d)
{
	CLEANUP(freep) struct fleet_child *child = NULL;
	struct blob_stat st;
	struct stow_err err;
	size_t n, looks = 0;

	if (manifest_read(fs->o.fast, d, &child, &n, &err) < 0)
		return;
	for (size_t i = 0; i < n && looks < FETCH_LOOKS; i++) {
		if (backend_stat(fs->o.fast, &child[i].digest, &st, &err) == 0)
			continue;
		lookup_ahead(fs->o.lookup, &child[i].digest);
		looks++;
	}
}

static void step_publish(struct fetch *f, struct held *stage)
{
	struct fetches *fs = f->home;
	struct stow_err err;
	bool good;
	int result;

	if (!staging_begin(f))
		return;
	result = fs->o.publish(fs->o.arg, stage->stage, &f->digest, &err);
	if (result == 0)
		cache_room_used(&f->room);
	staging_end(f);
	if (result < 0 && err.code == STOW_FAILED_PRECONDITION) {
		err.code = STOW_NOT_FOUND;
		lock_take(&fs->lock);
		fetch_end_locked(f, FETCH_FAILED, &err, false);
		lock_release(&fs->lock);
		return;
	}
	if (result < 0) {
		give_up_stage(f, true, &err);
		return;
	}
	lock_take(&fs->lock);
	fs->fetched++;
	fs->fetched_bytes += f->size;
	fetch_end_locked(f, FETCH_GOOD, NULL, true);
	good = f->state == FETCH_GOOD; /* not removed just now */
	lock_release(&fs->lock);
	if (good && f->size <= MANIFEST_MAX)
		look_ahead(fs, &f->digest);
}

/* All bytes are there: are they the blob? */
static void step_prove(struct fetch *f)
{
	struct fetches *fs = f->home;
	struct held *stage;
	struct digest is;

	hash_digest(f->hash, &is);
	lock_take(&fs->lock);
	if (!digest_equal(&is, &f->digest)) {
		fetch_wrong_locked(f);
		lock_release(&fs->lock);
		return;
	}
	stage = f->stage;
	if (stage != NULL)
		stage->users++;
	lock_release(&fs->lock);
	if (stage != NULL)
		step_publish(f, stage);
	held_put(fs, stage);
}

/* A step in the life of a fetch that has `running` set; afterwards it is somebody else's turn. What of it
 * only `running` changes is read without the lock. */
static void step(struct fetch *f, uint8_t **piece)
{
	struct fetches *fs = f->home;
	bool source, stage;

	lock_take(&fs->lock);
	source = f->source != NULL;
	stage = f->stage != NULL;
	lock_release(&fs->lock);
	if (!source) {
		step_open(f);
	} else if (!stage) {
		step_stage(f);
	} else if (f->done < f->size) {
		if (*piece == NULL)
			*piece = x_malloc(FETCH_PIECE);
		step_piece(f, *piece);
	} else {
		step_prove(f);
	}
}

void *fetch_thread(void *arg)
{
	struct fetches *fs = arg;
	CLEANUP(freep) uint8_t *piece = NULL;
	struct fetch *f;
	int64_t wake_ns;

	lock_take(&fs->lock);
	while (!fs->stopping) {
		if (fs->recover) {
			fs->recover = false;
			lock_release(&fs->lock);
			fetch_recover(fs);
			lock_take(&fs->lock);
			continue;
		}
		f = next_locked(fs, &wake_ns);
		if (f == NULL) {
			(void)lock_wait_until(&fs->lock, &fs->work, wake_ns);
			continue;
		}
		fetch_to_end_locked(&fs->active, f);
		pthread_cond_signal(&fs->work); /* there may be more, for one who sleeps */
		f->running = true;
		f->users++;
		lock_release(&fs->lock);
		step(f, &piece);
		lock_take(&fs->lock);
		f->running = false;
		fetch_settle_locked(f);
		fetch_unuse_locked(f);
	}
	lock_release(&fs->lock);
	return NULL;
}
