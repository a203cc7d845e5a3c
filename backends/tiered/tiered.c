#include "backends/tiered/tiered.h"

#include "backends/tiered/tiered_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"

/* A removal behind may take as long as so many answers to a look. */
enum { REMOVE_EXCHANGES = 4 };

struct tiered *tiered_from(struct backend *b)
{
	struct tiered *t = CONTAINER_OF(b, struct tiered, base);

	CHECK_OBJ(t, TIERED_MAGIC);
	return t;
}

/* --- what the parts are told of each other --- */

static bool refused(void *arg, const struct digest *d)
{
	struct tiered *t = arg;

	return t->holdings != NULL && holdings_refused(t->holdings, d);
}

static bool lookup_refused(void *arg, const struct digest *d)
{
	struct tiered *t = arg;

	return t->holdings != NULL && holdings_would_refuse(t->holdings, d);
}

static bool cache_keep(void *arg, const struct digest *d)
{
	struct tiered *t = arg;
	struct stow_err err;

	return tiered_is_read(t, d) || tiered_is_leased(t, d) || fetch_is_coming(t->fetches, d) ||
	       meta_pin_get(t->meta, d, NULL, &err) == 0 || err.code != STOW_NOT_FOUND;
}

/* In this order: nobody can publish the blob while the claim is held; so if it is behind now, what is removed
 * is not the only copy, and if a COMMIT comes afterwards, it brings its own. */
static int cache_evict(void *arg, const struct digest *d, struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct tiered *t = arg;

	claim_take(&t->claims, &claim, d);
	if (cache_keep(t, d) || meta_remote_get(t->meta, d, NULL, err) < 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "it is wanted here");
	/* What is known to be behind counts only while the fleet knows that this node holds it. */
	if (t->holdings != NULL && holdings_would_refuse(t->holdings, d))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "it may be removed from the storage behind");
	tiered_give_up(t, d);
	return backend_remove(t->fast, d, err);
}

static uint64_t cache_drop_kept(void *arg, uint64_t goal)
{
	struct tiered *t = arg;

	return fetches_drop_kept(t->fetches, goal);
}

/* What got behind may be evicted from now on. */
static void queue_done(void *arg, const struct digest *d UNUSED)
{
	struct tiered *t = arg;

	cache_added(t->cache, 0);
}

static void queue_lost(void *arg, const struct digest *d)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct tiered *t = arg;
	struct stow_err err;
	struct blob_stat st;

	/* It may have come back, by a Delete and another COMMIT. */
	claim_take(&t->claims, &claim, d);
	if (backend_stat(t->fast, d, &st, &err) < 0 && err.code == STOW_NOT_FOUND &&
	    meta_remote_get(t->meta, d, NULL, &err) < 0 && err.code == STOW_NOT_FOUND &&
	    meta_blob_delete(t->meta, d, &err) == 0)
		holdings_changed(t->holdings);
}

/* What has been deleted while it came nobody would ever remove. A Delete takes the row first, and the bytes
 * under the claim; so they are not here yet, or it finds them. To publish all the same and to look afterwards
 * would be wrong: bytes that are here without a row may be those of a COMMIT, which is about to have its own.
 */
static int fetch_publish(void *arg, struct stage *st, const struct digest *d, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct tiered *t = arg;

	claim_take(&t->claims, &claim, d);
	if (t->meta != NULL && meta_blob_get(t->meta, d, &info, err) < 0 && err->code == STOW_NOT_FOUND) {
		err->code = STOW_FAILED_PRECONDITION;
		return -1;
	}
	return stage_publish(st, d, err);
}

/* --- start and end --- */

/* Two changes of the identity: whatever happens between them, the table is empty at the next start. */
static void taken_for_dead(void *arg)
{
	struct tiered *t = arg;
	struct stow_err err;
	bool emptied;

	if (meta_remote_identity(t->meta, "", &emptied, &err) < 0 ||
	    meta_remote_identity(t->meta, t->identity, &emptied, &err) < 0)
		log_error("forgetting what is behind failed", LOG_S("error", err.msg));
	lookup_clear(t->lookup);
	queue_flush(t->queue);
}

static void tiered_start(struct backend *b, struct meta *m)
{
	struct tiered *t = tiered_from(b);
	struct stow_err err;
	bool emptied;

	t->meta = m;
	/* Not knowing what is behind, nothing must be evicted; and so on. */
	if (meta_remote_identity(t->meta, t->identity, &emptied, &err) < 0) {
		log_error("the storage behind is left alone", LOG_S("error", err.msg));
		return;
	}
	if (emptied)
		log_info("what is behind has another address than before, and is looked at anew",
			 LOG_S("storage", t->tiers.v[0].name));
	tiers_start(&t->tiers);
	cache_start(t->cache, m);
	fetches_start(t->fetches, m);
	pins_start(t->pins, m);
	if (t->queue != NULL) {
		queue_start(t->queue, m);
		holdings_start(t->holdings, m);
	}
}

/* The tiers first: whoever waits for the network is told that it has ended. */
static void tiered_stop(struct backend *b)
{
	struct tiered *t = tiered_from(b);

	if (t->stopped)
		return;
	t->stopped = true;
	if (t->holdings != NULL)
		holdings_leave(t->holdings);
	tiers_stop(&t->tiers);
	pins_stop(t->pins);
	lookup_stop(t->lookup);
	if (t->queue != NULL) {
		queue_stop(t->queue);
		holdings_stop(t->holdings);
	}
	fetches_stop(t->fetches);
	cache_stop(t->cache);
}

static void tiered_free(struct backend *b)
{
	struct tiered *t = tiered_from(b);

	tiered_stop(b);
	queue_free(t->queue);
	pins_free(t->pins);
	fetches_free(t->fetches);
	cache_free(t->cache);
	lookup_free(t->lookup);
	holdings_free(t->holdings);
	tiers_free(&t->tiers);
	backend_free(t->fast);
	for (unsigned i = 0; i < TIERED_BUCKETS; i++)
		assert(t->open[i] == NULL);
	claims_destroy(&t->claims);
	for (unsigned i = 0; i < TIERED_LEASES; i++)
		keyset_free(&t->leases[i].keys);
	lock_destroy(&t->lock);
	free(t->identity);
	FREE_OBJ(t);
}

/* --- blobs --- */

/* At a start, nothing may be adopted before the fleet has been asked what is being collected. A bucket that
 * does not answer this in time is as one that does not answer a look. */
static void await_fleet(struct tiered *t)
{
	struct tier *bucket = &t->tiers.v[0];
	struct stow_err late;

	if (t->holdings == NULL || !tier_usable(bucket) ||
	    holdings_await(t->holdings, clock_mono_ns() + t->info_timeout_ns))
		return;
	stow_fail(&late, STOW_DEADLINE_EXCEEDED, "did not say within %lld ms what is being collected",
		  (long long)(t->info_timeout_ns / NSEC_PER_MSEC));
	tier_report(bucket, &late);
}

static int tiered_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		       struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	char text[DIGEST_STR_MAX];
	size_t at;

	if (backend_stat(t->fast, d, ret_st, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND)
		return -1;
	await_fleet(t);
	if (lookup_find(t->lookup, d, ret_st, &at, err) < 0)
		return -1;
	/* From here on it counts as held: what says so is asked for what is there alone. */
	if (at == 0 && refused(t, d)) {
		lookup_forget(t->lookup, d);
		digest_format(d, text);
		return stow_fail(err, STOW_NOT_FOUND, "blob %s: is being collected", text);
	}
	ret_st->behind = true;
	return 0;
}

int tiered_drop_fast(struct tiered *t, const struct digest *d, struct stow_err *err)
{
	struct blob_stat st;

	if (backend_stat(t->fast, d, &st, err) < 0 || backend_remove(t->fast, d, err) < 0)
		return -1;
	cache_removed(t->cache, st.size);
	return 0;
}

/* The object of a store that has the bucket for itself: after an upload of it that has come to its end, a
 * look, and the removal. Whoever collects garbage keeps pulls from beginning meanwhile (docs/fleet.md). */
static int remove_behind(struct tiered *t, const struct digest *d, struct stow_err *err)
{
	int64_t until_ns = clock_mono_ns() + REMOVE_EXCHANGES * t->info_timeout_ns;
	struct tier *tier = &t->tiers.v[0];
	int result;

	if (!tier_usable(tier))
		return stow_fail(err, STOW_UNAVAILABLE, "%s cannot be reached now", tier->name);
	if (!queue_settle(t->queue, d, until_ns))
		return stow_fail(err, STOW_UNAVAILABLE, "%s: its upload has not ended yet", tier->name);
	tier_ask(tier);
	result = tier->backend->ops->behind->drop(tier->backend, d, until_ns, err);
	tier_report(tier, result < 0 && err->code != STOW_NOT_FOUND ? err : NULL);
	lookup_forget(t->lookup, d);
	return result;
}

/* Behind first: what fails there leaves everything here, and its row, by which the collector comes again for
 * it, also after a restart. */
static int tiered_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct tiered *t = tiered_from(b);
	bool was_behind = false;
	int result;

	if (t->queue != NULL)
		queue_cancel(t->queue, d);
	fetch_cancel(t->fetches, d);
	if (t->exclusive) {
		was_behind = remove_behind(t, d, err) == 0;
		if (!was_behind && err->code != STOW_NOT_FOUND)
			return -1;
	}
	claim_take(&t->claims, &claim, d);
	result = tiered_drop_fast(t, d, err);
	if (result < 0 && err->code != STOW_NOT_FOUND)
		return -1;
	if (t->holdings != NULL)
		holdings_gone(t->holdings, d);
	return was_behind ? 0 : result;
}

static int tiered_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	return backend_scan(tiered_from(b)->fast, visit, arg, err);
}

static void tiered_recorded(struct backend *b, const struct digest *d, bool commit)
{
	struct tiered *t = tiered_from(b);
	struct stow_err err;
	struct blob_stat st;
	bool here;

	if (t->meta == NULL) /* of a store that was not started: the next process finds it pending */
		return;
	if (t->holdings != NULL)
		holdings_changed(t->holdings);
	here = !commit && backend_stat(t->fast, d, &st, &err) == 0;
	if (here)
		cache_added(t->cache, st.size); /* it was put there without our doing */
	if (!commit && meta_remote_get(t->meta, d, NULL, &err) == 0) {
		if (!here)
			fetch_prefetch(t->fetches, d);
		return;
	}
	if (t->queue == NULL)
		return;
	queue_recorded(t->queue, d);
	if (commit && t->commit_wait_ns > 0 && t->commit_wait_ns < INT64_MAX)
		(void)queue_wait(t->queue, d, clock_mono_ns() + t->commit_wait_ns);
}

/* --- what people ask --- */

static int tiered_status(struct backend *b, struct fleet_status *ret_st, struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	struct fleet_status st = { .n_behind = t->tiers.n };

	if ((t->queue != NULL && queue_status(t->queue, &st, err) < 0) || pins_status(t->pins, &st, err) < 0)
		return -1;
	cache_status(t->cache, &st);
	fetch_status(t->fetches, &st);
	if (t->holdings != NULL)
		holdings_status(t->holdings, &st);
	for (size_t i = 0; i < t->tiers.n; i++)
		tier_status(&t->tiers.v[i], &st.behind[i]);
	*ret_st = st;
	return 0;
}

static void tiered_flush(struct backend *b)
{
	struct tiered *t = tiered_from(b);

	for (size_t i = 0; i < t->tiers.n; i++)
		tier_probe(&t->tiers.v[i]);
	if (t->queue != NULL)
		queue_flush(t->queue);
	pins_flush(t->pins);
}

static int tiered_pin(struct backend *b, const struct digest *d, struct fleet_pinned *ret_p,
		      struct stow_err *err)
{
	return pins_pin(tiered_from(b)->pins, d, ret_p, err);
}

static int tiered_unpin(struct backend *b, const struct digest *d, struct fleet_pinned *ret_p,
			struct stow_err *err)
{
	return pins_unpin(tiered_from(b)->pins, d, ret_p, err);
}

static const struct fleet_ops tiered_fleet_ops = {
	.status = tiered_status,
	.flush = tiered_flush,
	.pin = tiered_pin,
	.unpin = tiered_unpin,
	.bring = tiered_bring,
};

static const struct backend_ops tiered_ops = {
	.name = "tiered",
	.free = tiered_free,
	.stat = tiered_stat,
	.open = tiered_open,
	.close = tiered_close,
	.pread = tiered_pread,
	.remove = tiered_remove,
	.scan = tiered_scan,
	.stage_create = tiered_stage_create,
	.stage_resume = tiered_stage_resume,
	.stage_write = tiered_stage_write,
	.stage_truncate = tiered_stage_truncate,
	.stage_sync = tiered_stage_sync,
	.stage_pread = tiered_stage_pread,
	.stage_publish = tiered_stage_publish,
	.stage_close = tiered_stage_close,
	.stage_discard = tiered_stage_discard,
	.stage_scan = tiered_stage_scan,
	.start = tiered_start,
	.stop = tiered_stop,
	.recorded = tiered_recorded,
	.fleet = &tiered_fleet_ops,
};

/* --- making one --- */

/* What was put off, because the network or the fleet could not be asked, need not wait longer. */
static void behind_is_back(void *arg)
{
	struct tiered *t = arg;

	if (t->queue != NULL)
		queue_flush(t->queue);
}

/* What gc is about to remove must not be found in what was looked up before. */
static void some_may_go(void *arg)
{
	struct tiered *t = arg;

	lookup_clear(t->lookup);
}

static void make_parts(struct tiered *t, const struct tiered_options *o)
{
	tiers_init(&t->tiers, o->behind, o->names, o->n_behind, o->writable);
	tiers_on_return(&t->tiers, behind_is_back, t);
	t->lookup = lookup_new(&t->tiers, o->info_timeout_ns, lookup_refused, t);
	t->cache = cache_new(&(struct cache_options){
		.fast = o->fast,
		.max_size = o->max_size,
		.min_free = o->min_free,
		.keep = cache_keep,
		.evict = cache_evict,
		.drop_kept = cache_drop_kept,
		.arg = t,
	});
	t->fetches = fetches_new(&(struct fetches_options){
		.fast = o->fast,
		.tiers = &t->tiers,
		.lookup = t->lookup,
		.cache = t->cache,
		.prefetch = o->prefetch,
		.publish = fetch_publish,
		.arg = t,
	});
	t->pins = pins_new(&(struct pins_options){
		.front = &t->base,
		.fast = o->fast,
		.fetches = t->fetches,
		.cache = t->cache,
		.claims = &t->claims,
	});
	if (!o->writable)
		return;
	t->holdings = holdings_new(&(struct holdings_options){
		.tier = &t->tiers.v[0],
		.interval_ns = o->claim_interval_ns,
		.grace_ns = o->claim_grace_ns,
		.forgotten = taken_for_dead,
		.marked = some_may_go,
		.returned = behind_is_back,
		.arg = t,
	});
	t->queue = queue_new(&(struct queue_options){
		.fast = o->fast,
		.tiers = &t->tiers,
		.lookup = t->lookup,
		.claims = &t->claims,
		.uploads = o->uploads,
		.bandwidth = o->upload_bandwidth,
		.recheck_every_ns = o->recheck_every_ns,
		.refused = refused,
		.done = queue_done,
		.lost = queue_lost,
		.arg = t,
	});
}

static bool behind_is_fit(const struct tiered_options *o, struct stow_err *err)
{
	assert(o->n_behind > 0 && o->n_behind <= FLEET_BEHIND_MAX);
	for (size_t i = 0; i < o->n_behind; i++) {
		const struct behind_ops *ops = o->behind[i]->ops->behind;

		if (ops == NULL || (i == 0 && o->writable && ops->send_open == NULL)) {
			stow_fail(err, STOW_UNIMPLEMENTED, "%s: a %s backend cannot stand behind another one",
				  o->names[i], o->behind[i]->ops->name);
			return false;
		}
	}
	return true;
}

/* What waits for those behind. While a COMMIT waits for its upload, whoever removes that blob waits for it.
 */
static unsigned far_of(const struct tiered_options *o)
{
	unsigned far = BACKEND_FAR_STAT;

	if (o->writable && o->commit_wait_ns > 0)
		far |= BACKEND_FAR_COMMIT;
	if (o->writable && (o->exclusive || o->commit_wait_ns == INT64_MAX))
		far |= BACKEND_FAR_REMOVE;
	return far;
}

int tiered_new(const struct tiered_options *o, struct backend **ret_b, struct stow_err *err)
{
	struct tiered *t;

	if (!behind_is_fit(o, err)) {
		for (size_t i = 0; i < o->n_behind; i++)
			backend_free(o->behind[i]);
		backend_free(o->fast);
		return -1;
	}
	t = x_calloc(1, sizeof(*t));
	t->base = (struct backend){ .ops = &tiered_ops, .tiered = true, .far = far_of(o) };
	t->magic = TIERED_MAGIC;
	t->fast = o->fast;
	t->info_timeout_ns = o->info_timeout_ns;
	t->commit_wait_ns = o->commit_wait_ns;
	t->exclusive = o->writable && o->exclusive;
	t->identity = x_strdup(o->identity);
	claims_init(&t->claims);
	lock_init(&t->lock, RANK_TIERED);
	make_parts(t, o);
	*ret_b = &t->base;
	return 0;
}
