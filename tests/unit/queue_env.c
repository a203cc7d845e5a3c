#include "tests/unit/queue_env.h"

#include "backends/tiered/cache.h"
#include "content/base/mem.h"

#include <stdio.h>

struct parts parts;
struct told told;

/* --- stand-ins --- */

int lookup_known(struct lookup *l UNUSED, const struct digest *d UNUSED, struct blob_stat *ret_st,
		 size_t *ret_at, struct stow_err *err)
{
	if (!atomic_load(&parts.known))
		return stow_fail(err, STOW_NOT_FOUND, "not known");
	*ret_st = (struct blob_stat){ 0 };
	*ret_at = 0;
	return 0;
}

void lookup_note(struct lookup *l UNUSED, const struct digest *d UNUSED, size_t at UNUSED,
		 uint64_t size UNUSED)
{
	atomic_fetch_add(&parts.notes, 1);
}

void lookup_forget(struct lookup *l UNUSED, const struct digest *d UNUSED)
{
	atomic_fetch_add(&parts.forgotten, 1);
}

bool lookup_is_bad(struct lookup *l UNUSED, const struct digest *d UNUSED, size_t at)
{
	return at == 0 && atomic_load(&parts.bad);
}

void lookup_mark_good(struct lookup *l UNUSED, const struct digest *d UNUSED, size_t at UNUSED)
{
	atomic_fetch_add(&parts.made_good, 1);
	atomic_store(&parts.bad, false);
}

bool cache_squeeze(struct cache *c UNUSED, uint64_t size UNUSED)
{
	atomic_fetch_add(&parts.rooms, 1);
	return !atomic_load(&parts.no_room);
}

void cache_added(struct cache *c UNUSED, uint64_t size)
{
	atomic_fetch_add(&parts.cached, size);
}

/* --- the environment --- */

static void returned(void *arg)
{
	struct queue_env *e = arg;

	queue_flush(e->queue);
}

static void make_tiers(struct queue_env *e)
{
	const char *name = "bucket";

	tiers_init(&e->tiers, &e->behind, &name, 1, true);
	tiers_on_return(&e->tiers, returned, e);
}

static struct backend *make_faulty(struct fault_plan *plan)
{
	struct backend *mem, *b;
	struct stow_err err;

	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(fault_new(mem, plan, &b, &err), &err);
	return b;
}

void queue_env_make(struct queue_env *e)
{
	struct stow_err err;

	*e = (struct queue_env){ .options = { .uploads = 1 } };
	memset(&parts, 0, sizeof(parts));
	temp_dir_make(e->dir);
	(void)snprintf(e->path, sizeof(e->path), "%s/meta.mdb", e->dir);
	expect_ok(meta_open(e->path, 0, 0, &e->meta, NULL, &err), &err);
	e->fast = make_faulty(&e->fast_plan);
	e->behind = make_faulty(&e->behind_plan);
	make_tiers(e);
	claims_init(&e->claims);
}

static void on_done(void *arg UNUSED, const struct digest *d)
{
	int i = atomic_fetch_add(&told.next, 1);

	if (i < 8)
		told.done[i] = *d;
	atomic_fetch_add(&told.n_done, 1);
}

static void on_lost(void *arg, const struct digest *d)
{
	struct queue_env *e = arg;
	struct stow_err err;

	thread_check(meta_blob_delete(e->meta, d, &err) == 0);
	atomic_fetch_add(&told.n_lost, 1);
}

static bool on_refused(void *arg UNUSED, const struct digest *d UNUSED)
{
	return atomic_load(&told.refuse);
}

void queue_env_listen(struct queue_env *e)
{
	memset(&told, 0, sizeof(told));
	e->options.done = on_done;
	e->options.lost = on_lost;
	e->options.refused = on_refused;
	e->options.arg = e;
}

void queue_env_queue(struct queue_env *e)
{
	assert_null(e->queue);
	e->options.fast = e->fast;
	e->options.tiers = &e->tiers;
	e->options.claims = &e->claims;
	e->queue = queue_new(&e->options);
}

void queue_env_start(struct queue_env *e)
{
	if (e->queue == NULL)
		queue_env_queue(e);
	if (!e->running)
		tiers_start(&e->tiers);
	e->running = true;
	queue_start(e->queue, e->meta);
}

void queue_env_end(struct queue_env *e)
{
	queue_stop(e->queue);
	queue_free(TAKE(e->queue));
}

void queue_env_remove(struct queue_env *e)
{
	tiers_stop(&e->tiers);
	if (e->queue != NULL)
		queue_env_end(e);
	tiers_free(&e->tiers);
	claims_destroy(&e->claims);
	backend_free(TAKE(e->fast));
	meta_close(TAKE(e->meta));
	temp_dir_remove(e->dir);
}

/* --- blobs --- */

struct digest queue_env_row(struct queue_env *e, size_t n, unsigned seed, int64_t created_ns)
{
	struct blob_info i = { .digest = blob_digest(DIGEST_SHA256, n, seed), .size = n };
	struct stow_err err;

	i.created_ns = i.updated_ns = created_ns != 0 ? created_ns : clock_wall_ns();
	expect_ok(meta_blob_add(e->meta, &i, NULL, true, &err), &err);
	return i.digest;
}

struct digest queue_env_blob(struct queue_env *e, size_t n, unsigned seed, int64_t created_ns)
{
	struct digest d = blob_digest(DIGEST_SHA256, n, seed);

	put_blob(e->fast, &d, n, seed);
	return queue_env_row(e, n, seed, created_ns);
}

struct digest queue_env_commit(struct queue_env *e, size_t n, unsigned seed, struct sending *s)
{
	struct digest d = blob_digest(DIGEST_SHA256, n, seed);

	put_blob(e->fast, &d, n, seed);
	queue_offer(e->queue, &d, n, s);
	queue_env_row(e, n, seed, 0);
	queue_recorded(e->queue, &d);
	return d;
}

bool queue_env_is_behind(struct queue_env *e, const struct digest *d)
{
	struct stow_err err;

	return meta_remote_get(e->meta, d, NULL, &err) == 0;
}

uint64_t queue_env_pending(struct queue_env *e)
{
	struct stow_err err;
	uint64_t n, bytes;

	expect_ok(meta_pending_count(e->meta, &n, &bytes, &err), &err);
	return n;
}

static int count_record(void *arg, const char *name UNUSED, struct stow_err *err UNUSED)
{
	++*(size_t *)arg;
	return 0;
}

size_t queue_env_records(struct queue_env *e)
{
	struct stow_err err;
	size_t n = 0;

	expect_ok(e->behind->ops->behind->send_scan(e->behind, count_record, &n, &err), &err);
	return n;
}

struct fleet_status queue_env_status(struct queue_env *e)
{
	struct fleet_status st = { 0 };
	struct stow_err err;

	expect_ok(queue_status(e->queue, &st, &err), &err);
	return st;
}

void queue_env_fault(struct queue_env *e, enum fault_op op, int n, bool forever, enum stow_code code)
{
	atomic_store(&e->behind_plan.forever, forever);
	atomic_store(&e->behind_plan.code, code);
	atomic_store(&e->behind_plan.after[op], n);
}

int64_t queue_env_soon(void)
{
	return clock_mono_ns() + 20 * NSEC_PER_SEC;
}
