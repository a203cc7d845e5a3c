/* Stages: one of `fast`, which is a stage in full, and a sending beside it where it is known what the blob
 * will be called. What the sending does is nobody's failure, unless a COMMIT is to fail with its upload. */
#include "backends/tiered/tiered_internal.h"
#include "content/base/mem.h"

#include <inttypes.h>

#define STAGE_MAGIC 0x71e20004u

struct tiered_stage {
	struct stage base;
	unsigned magic;
	char name[STAGE_NAME_LEN + 1];
	struct stage *inner;     /* owned */
	struct sending *sending; /* NULL: none */
	struct digest guess;     /* what it is sent as; DIGEST_NONE: not known */
	atomic_uint_least64_t size;
	struct digest sent; /* what is behind, sent by this stage's sending; DIGEST_NONE: nothing */
	bool sealed;

	/* Of the backend's list, under its lock. */
	struct tiered_stage *next;
	bool discarded;
};

static struct tiered_stage *stage_from(struct stage *st)
{
	struct tiered_stage *ts = CONTAINER_OF(st, struct tiered_stage, base);

	CHECK_OBJ(ts, STAGE_MAGIC);
	return ts;
}

/* --- the sending --- */

static const struct behind_ops *send_ops(const struct tiered *t)
{
	return t->tiers.v[0].backend->ops->behind;
}

static int read_stage(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	struct tiered_stage *ts = arg;

	while (n > 0) {
		size_t got;

		if (stage_pread(ts->inner, to, n, off, &got, err) < 0)
			return -1;
		if (got == 0)
			return stow_fail(err, STOW_DATA_LOSS,
					 "stage %s: ends at byte %" PRIu64 ", before what is sent", ts->name,
					 off);
		to = (uint8_t *)to + got;
		off += got;
		n -= got;
	}
	return 0;
}

static int open_sending(struct tiered *t, struct tiered_stage *ts, const struct stage_hint *hint,
			uint64_t have, struct stow_err *err)
{
	return send_ops(t)->send_open(t->tiers.v[0].backend, ts->name, hint, have, read_stage, ts,
				      &ts->sending, err);
}

static void drop_sending(struct tiered *t, struct tiered_stage *ts, bool forget)
{
	if (ts->sending != NULL)
		send_ops(t)->send_close(TAKE(ts->sending), forget);
}

/* Where nobody knows what the blob will be called, all of it is sent after the COMMIT; so it is where it is
 * known to be behind, or nothing can be sent now. */
static void begin_sending(struct tiered *t, struct tiered_stage *ts, const struct stage_hint *hint)
{
	struct blob_stat st;
	struct stow_err ignored;
	size_t at;

	if (t->queue == NULL || !digest_is_set(&hint->digest) || !tier_usable(&t->tiers.v[0]))
		return;
	if (lookup_known(t->lookup, &hint->digest, &st, &at, &ignored) == 0 && at == 0)
		return;
	(void)!open_sending(t, ts, hint, 0, &ignored);
}

/* What an earlier handle has sent beyond `size` must be void before others take the place of those bytes: by
 * taking it up, also where it cannot go on now, or by giving it up. */
static int resume_sending(struct tiered *t, struct tiered_stage *ts, const struct stage_hint *hint,
			  uint64_t size, struct stow_err *err)
{
	if (t->queue == NULL)
		return 0;
	if (open_sending(t, ts, hint, size, err) == 0)
		return 0;
	if (send_ops(t)->send_discard(t->tiers.v[0].backend, ts->name, err) == 0)
		return 0;
	return err->code == STOW_NOT_FOUND ? 0 : -1;
}

/* --- life --- */

/* Whether the disk was full, of bytes or of files, and what this node only keeps to have it near has made
 * way: `size` bytes are to be written. */
static bool made_room(struct tiered *t, uint64_t size, const struct stow_err *err)
{
	return err->code == STOW_RESOURCE_EXHAUSTED && cache_squeeze(t->cache, size);
}

static struct tiered_stage *stage_new(struct tiered *t, const char *name, const struct stage_hint *hint)
{
	struct tiered_stage *ts = x_calloc(1, sizeof(*ts));

	ts->base = (struct stage){ .backend = &t->base };
	ts->magic = STAGE_MAGIC;
	memcpy(ts->name, name, sizeof(ts->name));
	ts->guess = hint->digest;
	return ts;
}

static void list_stage(struct tiered *t, struct tiered_stage *ts)
{
	LOCK_SCOPE(&t->lock);
	ts->next = t->stages;
	t->stages = ts;
}

/* Whether it was discarded before. */
static bool unlist_stage(struct tiered *t, struct tiered_stage *ts)
{
	LOCK_SCOPE(&t->lock);
	struct tiered_stage **at = &t->stages;

	while (*at != ts)
		at = &(*at)->next;
	*at = ts->next;
	return ts->discarded;
}

static struct tiered_stage *find_open_locked(struct tiered *t, const char *name)
{
	struct tiered_stage *ts = t->stages;

	LOCK_ASSERT(&t->lock);
	while (ts != NULL && strcmp(ts->name, name) != 0)
		ts = ts->next;
	return ts;
}

int tiered_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			struct stage **ret_st, struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	struct tiered_stage *ts = stage_new(t, name, hint);

	if (backend_stage_create(t->fast, name, hint, &ts->inner, err) < 0 &&
	    (!made_room(t, 0, err) || backend_stage_create(t->fast, name, hint, &ts->inner, err) < 0)) {
		FREE_OBJ(ts);
		return -1;
	}
	begin_sending(t, ts, hint);
	list_stage(t, ts);
	*ret_st = &ts->base;
	return 0;
}

int tiered_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			struct stage **ret_st, struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	struct tiered_stage *ts = stage_new(t, name, hint);

	if (backend_stage_resume(t->fast, name, size, hint, &ts->inner, err) < 0) {
		FREE_OBJ(ts);
		return -1;
	}
	atomic_store(&ts->size, size);
	if (resume_sending(t, ts, hint, size, err) < 0) {
		stage_close(ts->inner);
		FREE_OBJ(ts);
		return -1;
	}
	list_stage(t, ts);
	*ret_st = &ts->base;
	return 0;
}

void tiered_stage_close(struct stage *st)
{
	struct tiered_stage *ts = stage_from(st);
	struct tiered *t = tiered_from(st->backend);
	bool discarded = unlist_stage(t, ts);

	/* It reads the stage until it is closed. */
	drop_sending(t, ts, discarded || ts->sealed);
	stage_close(ts->inner);
	FREE_OBJ(ts);
}

/* --- bytes --- */

int tiered_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	struct tiered_stage *ts = stage_from(st);
	struct tiered *t = tiered_from(st->backend);
	uint64_t size = off;

	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;
	if (stage_write(ts->inner, iov, n, off, err) < 0 &&
	    (!made_room(t, size - off, err) || stage_write(ts->inner, iov, n, off, err) < 0))
		return -1;
	atomic_store(&ts->size, size);
	if (ts->sending != NULL)
		send_ops(t)->send_advance(ts->sending, size);
	return 0;
}

int tiered_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	struct tiered_stage *ts = stage_from(st);
	struct tiered *t = tiered_from(st->backend);

	if (size == atomic_load(&ts->size))
		return 0;
	if (ts->sending != NULL && send_ops(t)->send_rewind(ts->sending, err) < 0)
		return -1;
	ts->sent = (struct digest){ 0 };
	if (stage_truncate(ts->inner, size, err) < 0)
		return -1;
	atomic_store(&ts->size, size);
	if (ts->sending != NULL)
		send_ops(t)->send_advance(ts->sending, size);
	return 0;
}

int tiered_stage_sync(struct stage *st, struct stow_err *err)
{
	return stage_sync(stage_from(st)->inner, err);
}

int tiered_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
		       struct stow_err *err)
{
	return stage_pread(stage_from(st)->inner, to, n, off, ret_n, err);
}

/* --- the end --- */

/* The blob gets behind before it is one here. */
static int send_now(struct tiered *t, struct tiered_stage *ts, const struct digest *d, struct stow_err *err)
{
	uint64_t size = atomic_load(&ts->size);
	struct stage_hint hint = { .digest = *d, .total = size };
	struct tier *tier = &t->tiers.v[0];
	bool bad = lookup_is_bad(t->lookup, d, 0);

	if (!tier_usable(tier))
		return stow_fail(err, STOW_UNAVAILABLE, "%s is away, and commits wait for it", tier->name);
	if (t->holdings != NULL && holdings_refused(t->holdings, d))
		return stow_fail(err, STOW_UNAVAILABLE, "%s: the blob is being collected there", tier->name);
	if (digest_is_set(&ts->sent)) /* before it failed here, and as another blob */
		drop_sending(t, ts, true);
	if (ts->sending == NULL && open_sending(t, ts, &hint, size, err) < 0)
		return stow_wrap(err, "%s", tier->name);
	if (send_ops(t)->send_finish(ts->sending, d, size, bad ? SENDING_REPLACE : 0, err) < 0) {
		if (err->code == STOW_NOT_FOUND)
			err->code = STOW_UNAVAILABLE; /* the upload or the bucket; not the stage */
		return stow_wrap(err, "%s", tier->name);
	}
	if (bad)
		lookup_mark_good(t->lookup, d, 0);
	ts->sent = *d;
	return 0;
}

static int publish_fast(struct tiered *t, struct tiered_stage *ts, const struct digest *d,
			struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };

	claim_take(&t->claims, &claim, d);
	return stage_publish(ts->inner, d, err);
}

static bool stage_is_discarded(struct tiered *t, const struct tiered_stage *ts)
{
	LOCK_SCOPE(&t->lock);

	return ts->discarded;
}

/* The order: where a COMMIT is to fail with its upload, the bytes are behind before they are a blob here: a
 * failure leaves the stage, which can be published again, and an object behind that is right and that nobody
 * has asked for. Everywhere else they are a blob here first, durably, and what is left to send is the
 * queue's, which the row to come reminds of it after any crash; what a crash leaves between the two is a
 * record of a sending without its stage, which tiered_stage_scan() shows. */
int tiered_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	struct tiered_stage *ts = stage_from(st);
	struct tiered *t = tiered_from(st->backend);
	uint64_t size = atomic_load(&ts->size);

	assert(!ts->sealed);
	if (stage_is_discarded(t, ts))
		return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", ts->name);
	if (t->queue != NULL && t->commit_wait_ns == INT64_MAX && !digest_equal(&ts->sent, d) &&
	    send_now(t, ts, d, err) < 0)
		return -1;
	if (publish_fast(t, ts, d, err) < 0 && (!made_room(t, size, err) || publish_fast(t, ts, d, err) < 0))
		return -1;
	ts->sealed = true;
	cache_added(t->cache, size);
	if (t->queue == NULL)
		return 0;
	/* A wrong guess has sent what is of no use. */
	if (digest_is_set(&ts->sent) || (digest_is_set(&ts->guess) && !digest_equal(&ts->guess, d)))
		drop_sending(t, ts, true);
	queue_offer(t->queue, d, size, TAKE(ts->sending));
	return 0;
}

/* --- kept stages --- */

/* An open stage gives up its sending when it is closed, which its user is about to do. */
static bool discard_open(struct tiered *t, const char *name)
{
	LOCK_SCOPE(&t->lock);
	struct tiered_stage *ts = find_open_locked(t, name);

	if (ts != NULL)
		ts->discarded = true;
	return ts != NULL;
}

int tiered_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	bool gave_up = false;

	if (t->queue != NULL && !discard_open(t, name)) {
		/* The record first: without its stage it would be harder to find. */
		gave_up = send_ops(t)->send_discard(t->tiers.v[0].backend, name, err) == 0;
		if (!gave_up && err->code != STOW_NOT_FOUND)
			return -1;
	}
	if (backend_stage_discard(t->fast, name, err) == 0)
		return 0;
	return gave_up && err->code == STOW_NOT_FOUND ? 0 : -1;
}

struct names {
	struct tiered *t;
	char (*v)[STAGE_NAME_LEN + 1];
	size_t n, cap;
};

static void add_name(struct names *l, const char *name)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 64 : 2 * l->cap;
		l->v = x_reallocarray(l->v, l->cap, sizeof(*l->v));
	}
	memcpy(l->v[l->n++], name, sizeof(*l->v));
}

/* The stages of fetches are nobody's but theirs. */
static int see_stage(void *arg, const char *name, struct stow_err *err UNUSED)
{
	if (!fetch_is_stage(name))
		add_name(arg, name);
	return 0;
}

/* A record whose stage is gone is one, too, unless its user is about to give it up: discarding it gives up
 * what was sent. */
static int see_record(void *arg, const char *name, struct stow_err *err UNUSED)
{
	struct names *l = arg;
	LOCK_SCOPE(&l->t->lock);

	if (stage_name_ok(name) && find_open_locked(l->t, name) == NULL)
		add_name(l, name);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

int tiered_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	struct names l = { .t = t };
	int result = backend_stage_scan(t->fast, see_stage, &l, err);

	if (result == 0 && t->queue != NULL)
		result = send_ops(t)->send_scan(t->tiers.v[0].backend, see_record, &l, err);
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), compare_names);
	for (size_t i = 0; i < l.n && result == 0; i++)
		if (i == 0 || strcmp(l.v[i - 1], l.v[i]) != 0)
			result = visit(arg, l.v[i], err);
	free(l.v);
	return result;
}
