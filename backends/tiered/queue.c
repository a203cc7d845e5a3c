#include "backends/tiered/queue.h"

#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

#include <stdio.h>
#include <sys/random.h>

static const int64_t BACKOFF_MIN_NS = NSEC_PER_SEC;
static const int64_t BACKOFF_MAX_NS = 300 * NSEC_PER_SEC;
static const int64_t BRAKE_MIN_NS = 5 * NSEC_PER_SEC;
static const int64_t REFUSED_NS = 30 * NSEC_PER_SEC;    /* until gc is asked again */
static const int64_t OFFERED_NS = 60 * NSEC_PER_SEC;    /* in which a published blob gets its row */
static const int64_t AWAY_NS = 5 * NSEC_PER_SEC;        /* until an open circuit is looked at again */
static const int64_t WALK_AGAIN_NS = 60 * NSEC_PER_SEC; /* where the database could not be read */
static const int64_t WAITER_NS = 200 * NSEC_PER_MSEC;   /* until who waits looks for trouble */

/* --- who has an entry --- */

void queue_pause_locked(struct queue *q, int64_t until_ns)
{
	LOCK_ASSERT(&q->lock);
	(void)lock_wait_until(&q->lock, &q->change, until_ns);
}

/* Who had it BUSY is done with it: it goes where it is `over`, or was cancelled, unless it is wanted again.
 */
static void give_back(struct queue *q, struct entry *e, bool over, int64_t due_ns)
{
	LOCK_SCOPE(&q->lock);

	while ((over || e->cancelled) && (e->sending != NULL || e->kept)) {
		lock_release(&q->lock);
		queue_send_close(q, e, true);
		lock_take(&q->lock);
	}
	if ((over || e->cancelled) && !e->again) {
		queue_table_remove_locked(q, e);
		pthread_cond_broadcast(&q->change);
		return;
	}
	if (e->again)
		due_ns = clock_mono_ns();
	e->cancelled = e->again = e->shut = false;
	free(TAKE(e->source_err));
	queue_defer_locked(q, e, due_ns);
	pthread_cond_broadcast(&q->change);
}

/* --- the brake, and what else is remembered of how it went --- */

static int64_t backoff_ns(unsigned failed, int64_t min_ns)
{
	int64_t ns = min_ns;
	uint64_t random = 0;

	while (--failed > 0 && ns < BACKOFF_MAX_NS)
		ns *= 2;
	if (ns > BACKOFF_MAX_NS)
		ns = BACKOFF_MAX_NS;
	while (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		;
	return ns / 2 + (int64_t)(random % (uint64_t)(ns / 2 + 1));
}

static void note_error_locked(struct queue *q, const struct entry *e, const struct stow_err *err)
{
	char text[DIGEST_STR_MAX], hex[DIGEST_HEX_MAX];

	digest_format(&e->digest, text);
	digest_format_hex(&e->digest, hex);
	if (strstr(err->msg, hex) != NULL) /* the object's name has it */
		(void)snprintf(q->error, sizeof(q->error), "%s: %.400s", stow_code_name(err->code), err->msg);
	else
		(void)snprintf(q->error, sizeof(q->error), "%.90s: %s: %.300s", text,
			       stow_code_name(err->code), err->msg);
	q->error_ns = clock_wall_ns();
}

/* What is to be said when the lock has been given back: writing a line may take its time, and reads wait. */
enum say { SAY_NOTHING, SAY_BRAKED, SAY_FREE, SAY_BLOB };

static void say(const struct queue *q, const struct entry *e, enum say what, const struct stow_err *err)
{
	const char *storage = q->o.tiers->v[0].name, *reason = stow_code_name(err->code);
	char text[DIGEST_STR_MAX];

	switch (what) {
	case SAY_NOTHING:
		return;
	case SAY_BRAKED:
		log_warn("storage takes no uploads: they wait", LOG_S("storage", storage),
			 LOG_S("reason", reason), LOG_S("error", err->msg));
		return;
	case SAY_FREE:
		log_info("storage takes uploads again", LOG_S("storage", storage));
		return;
	case SAY_BLOB:
		digest_format(&e->digest, text);
		log_warn("blob cannot be uploaded", LOG_S("digest", text), LOG_S("reason", reason),
			 LOG_S("error", err->msg));
		return;
	}
}

static enum say brake_locked(struct queue *q)
{
	bool braked = q->braked;

	if (++q->failures < TIER_FAILURES)
		return SAY_NOTHING;
	q->brake_ns = clock_mono_ns() + backoff_ns(q->failures - TIER_FAILURES + 1, BRAKE_MIN_NS);
	q->braked = true;
	return braked ? SAY_NOTHING : SAY_BRAKED;
}

static enum say unbrake_locked(struct queue *q)
{
	bool braked = q->braked;

	q->failures = 0;
	q->braked = false;
	return braked ? SAY_FREE : SAY_NOTHING;
}

/* It is tried again later. */
static enum say put_off_locked(struct queue *q, struct entry *e, enum upload_end end,
			       const struct stow_err *err, int64_t *ret_due_ns)
{
	enum say what = SAY_NOTHING;

	if (end == END_FAILED) {
		what = brake_locked(q);
	} else if (end == END_BROKEN && !e->complained) {
		e->complained = true;
		what = SAY_BLOB;
	}
	note_error_locked(q, e, err);
	*ret_due_ns = clock_mono_ns() + backoff_ns(++e->failed, BACKOFF_MIN_NS);
	return what;
}

/* What follows from the end of an upload, but for the entry's place. *ret_due_ns: when it is tried again. */
static enum say account_locked(struct queue *q, struct entry *e, enum upload_end end, uint64_t size,
			       const struct stow_err *err, int64_t *ret_due_ns)
{
	*ret_due_ns = clock_mono_ns();
	switch (end) {
	case END_SENT:
		q->uploaded++;
		q->uploaded_bytes += size;
		q->error[0] = '\0';
		return unbrake_locked(q);
	case END_FOUND:
		if (!q->braked)
			q->error[0] = '\0';
		break;
	case END_OVER:
	case END_STOPPED:
		break;
	case END_REFUSED:
		*ret_due_ns += REFUSED_NS;
		break;
	case END_AWAY:
	case END_FAILED:
	case END_BROKEN:
		return put_off_locked(q, e, end, err, ret_due_ns);
	}
	return SAY_NOTHING;
}

/* --- the threads --- */

/* Whether an upload may begin now; if not, *ret_until_ns may become earlier. */
static bool may_begin_locked(struct queue *q, int64_t now, int64_t *ret_until_ns)
{
	int64_t until = 0;

	if (!q->walked)
		return false; /* its end is told */
	if (!tier_usable(&q->o.tiers->v[0]))
		until = now + AWAY_NS;
	else if (q->braked && q->trying)
		return false; /* its end is told */
	else if (q->braked && now < q->brake_ns)
		until = q->brake_ns;
	else if (now < q->paid_ns)
		until = q->paid_ns;
	if (until != 0 && until < *ret_until_ns)
		*ret_until_ns = until;
	return until == 0;
}

/* The next one, BUSY; NULL: not before *ret_until_ns. */
static struct entry *next_locked(struct queue *q, int64_t *ret_until_ns)
{
	int64_t now = clock_mono_ns();
	struct entry *e;

	*ret_until_ns = q->walk_ns;
	if (q->n_heap == 0 || !may_begin_locked(q, now, ret_until_ns))
		return NULL;
	e = q->heap[0];
	if (e->due_ns > now) {
		if (e->due_ns < *ret_until_ns)
			*ret_until_ns = e->due_ns;
		return NULL;
	}
	queue_take_locked(q, e);
	q->uploading++;
	pthread_cond_signal(&q->work); /* the next one is another thread's, which slept until this one */
	return e;
}

/* The lock is held before and after, but not meanwhile. */
static void walk_unlocked(struct queue *q)
{
	bool first = !q->walked;
	struct stow_err err;
	int result;

	q->walk_ns = INT64_MAX;
	lock_release(&q->lock);
	if (first && queue_walk_records(q, &err) < 0)
		log_warn("cannot see what was sent before", LOG_S("error", err.msg));
	result = queue_walk_pending(q, &err);
	if (result < 0)
		log_warn("cannot see which blobs are to be uploaded", LOG_S("error", err.msg));
	lock_take(&q->lock);
	if (result < 0 && q->walk_ns == INT64_MAX)
		q->walk_ns = clock_mono_ns() + WALK_AGAIN_NS;
	q->walked = true;
	pthread_cond_broadcast(&q->work);
}

static void upload_unlocked(struct queue *q, struct entry *e)
{
	uint64_t flushes = q->flushes;
	bool trial = q->braked;
	struct stow_err err = { 0 };
	enum upload_end end;
	int64_t due_ns;
	enum say what;
	uint64_t size;
	bool over;

	q->trying = q->trying || trial;
	lock_release(&q->lock);
	end = queue_upload(q, e, &size, &err);
	over = end == END_SENT || end == END_FOUND || end == END_OVER;
	if (!over && end != END_REFUSED)
		queue_send_close(q, e, false); /* it is taken up when its time comes */
	lock_take(&q->lock);
	q->uploading--;
	q->trying = q->trying && !trial;
	if (trial)
		pthread_cond_broadcast(&q->work);
	what = account_locked(q, e, end, size, &err, &due_ns);
	if (q->flushes != flushes) /* it was answered before what the flush is for */
		due_ns = clock_mono_ns();
	lock_release(&q->lock);
	say(q, e, what, &err);
	give_back(q, e, over, due_ns);
	lock_take(&q->lock);
}

static void *work(void *arg)
{
	struct queue *q = arg;
	LOCK_SCOPE(&q->lock);

	while (!q->stopping) {
		struct entry *e;
		int64_t until;

		if (q->walk_ns <= clock_mono_ns()) {
			walk_unlocked(q);
			continue;
		}
		e = next_locked(q, &until);
		if (e != NULL)
			upload_unlocked(q, e);
		else
			(void)lock_wait_until(&q->lock, &q->work, until);
	}
	return NULL;
}

/* --- life --- */

struct queue *queue_new(const struct queue_options *o)
{
	struct queue *q = x_calloc(1, sizeof(*q));

	assert(o->uploads >= 1 && o->tiers->writable);
	q->magic = QUEUE_MAGIC;
	q->o = *o;
	q->behind = o->tiers->v[0].backend;
	q->max = QUEUE_ENTRIES;
	lock_init(&q->lock, RANK_QUEUE);
	lock_cond_init(&q->change);
	lock_cond_init(&q->work);
	return q;
}

void queue_start(struct queue *q, struct meta *m)
{
	CHECK_OBJ(q, QUEUE_MAGIC);
	assert(!q->started);
	q->meta = m;
	q->started = true;
	q->threads = x_calloc(q->o.uploads, sizeof(*q->threads));
	for (unsigned i = 0; i < q->o.uploads; i++)
		thread_start(&q->threads[i], "upload", work, q);
	if (q->o.recheck_every_ns > 0)
		thread_start(&q->rechecker, "recheck", queue_recheck, q);
}

void queue_stop(struct queue *q)
{
	CHECK_OBJ(q, QUEUE_MAGIC);
	lock_take(&q->lock);
	q->stopping = true;
	pthread_cond_broadcast(&q->change);
	pthread_cond_broadcast(&q->work);
	lock_release(&q->lock);
	if (q->started) {
		for (unsigned i = 0; i < q->o.uploads; i++)
			(void)pthread_join(q->threads[i], NULL);
		if (q->o.recheck_every_ns > 0)
			(void)pthread_join(q->rechecker, NULL);
		q->started = false;
	}
	lock_take(&q->lock);
	for (size_t i = 0; i < q->n_heap;) {
		struct entry *e = q->heap[i++];

		if (e->sending == NULL)
			continue;
		queue_take_locked(q, e);
		lock_release(&q->lock);
		queue_send_close(q, e, false);
		give_back(q, e, false, e->due_ns);
		lock_take(&q->lock);
		i = 0; /* the heap is another one now */
	}
	lock_release(&q->lock);
}

void queue_free(struct queue *q)
{
	if (q == NULL)
		return;
	CHECK_OBJ(q, QUEUE_MAGIC);
	queue_stop(q);
	lock_take(&q->lock);
	while (q->n_heap > 0) {
		struct entry *e = q->heap[0];

		queue_take_locked(q, e);
		queue_table_remove_locked(q, e);
	}
	assert(q->n == 0);
	lock_release(&q->lock);
	pthread_cond_destroy(&q->work);
	pthread_cond_destroy(&q->change);
	lock_destroy(&q->lock);
	free(q->heap);
	free(q->threads);
	FREE_OBJ(q);
}

/* --- what others tell --- */

void queue_offer(struct queue *q, const struct digest *d, uint64_t size, struct sending *s)
{
	const struct behind_ops *ops = q->behind->ops->behind;
	struct entry *e = NULL;
	bool keep_open;

	CHECK_OBJ(q, QUEUE_MAGIC);
	lock_take(&q->lock);
	if (queue_find_locked(q, d) == NULL)
		e = queue_table_add_locked(q, d, clock_wall_ns());
	if (e != NULL)
		e->offered = true;
	keep_open = !q->stopping && q->n_sendings < QUEUE_SENDINGS;
	lock_release(&q->lock);
	if (e == NULL) {
		/* No room, or another one of the same content is under way or kept: they share a record. */
		if (s != NULL)
			ops->send_close(s, true);
		return;
	}
	if (s != NULL)
		queue_send_adopt(q, e, s, size);
	if (!keep_open)
		queue_send_close(q, e, false);
	give_back(q, e, false, clock_mono_ns() + OFFERED_NS);
}

void queue_recorded(struct queue *q, const struct digest *d)
{
	LOCK_SCOPE(&q->lock);
	struct entry *e = queue_add_locked(q, d, clock_wall_ns());

	if (e == NULL)
		return;
	e->offered = false;
	if (e->state == ENTRY_BUSY)
		e->again = true;
	else
		queue_hasten_locked(q, e, clock_mono_ns());
}

static bool is_behind(struct queue *q, const struct digest *d)
{
	struct stow_err err;

	return q->meta != NULL && meta_remote_get(q->meta, d, NULL, &err) == 0;
}

static bool useless_locked(struct queue *q)
{
	return q->stopping || q->braked || !tier_usable(&q->o.tiers->v[0]);
}

bool queue_wait(struct queue *q, const struct digest *d, int64_t until_mono_ns)
{
	struct entry *e;

	lock_take(&q->lock);
	e = queue_find_locked(q, d);
	if (e != NULL && e->state == ENTRY_WAITING && e->failed == 0)
		queue_hasten_locked(q, e, INT64_MIN);
	while (e != NULL && (e->state == ENTRY_BUSY || e->failed == 0) && !useless_locked(q)) {
		int64_t now = clock_mono_ns();

		if (now >= until_mono_ns)
			break;
		queue_pause_locked(q, until_mono_ns - now < WAITER_NS ? until_mono_ns : now + WAITER_NS);
		e = queue_find_locked(q, d);
	}
	lock_release(&q->lock);
	return e == NULL && is_behind(q, d);
}

void queue_cancel(struct queue *q, const struct digest *d)
{
	struct entry *e;

	lock_take(&q->lock);
	e = queue_find_locked(q, d);
	if (e != NULL && e->state == ENTRY_BUSY) {
		e->cancelled = true;
		e->again = false;
		e->held++;
		pthread_cond_broadcast(&q->change); /* it may wait for its turn to be paid */
		queue_send_shut_locked(q, e);
		e->held--;
		pthread_cond_broadcast(&q->change);
		e = NULL;
	} else if (e != NULL) {
		queue_take_locked(q, e);
	}
	lock_release(&q->lock);
	if (e != NULL)
		give_back(q, e, true, 0);
}

static bool ends_locked(struct queue *q, const struct digest *d)
{
	const struct entry *e = queue_find_locked(q, d);

	return e != NULL && e->state == ENTRY_BUSY && e->cancelled;
}

bool queue_settle(struct queue *q, const struct digest *d, int64_t until_mono_ns)
{
	LOCK_SCOPE(&q->lock);

	while (ends_locked(q, d) && clock_mono_ns() < until_mono_ns)
		queue_pause_locked(q, until_mono_ns);
	return !ends_locked(q, d);
}

void queue_flush(struct queue *q)
{
	int64_t now = clock_mono_ns();
	LOCK_SCOPE(&q->lock);

	for (size_t i = 0; i < q->n_heap; i++) {
		struct entry *e = q->heap[i];

		if (e->due_ns > now && !e->offered)
			e->due_ns = now;
		e->failed = 0;
	}
	queue_sort_locked(q);
	q->flushes++;
	q->brake_ns = now;
	q->walk_ns = now;
	tier_probe(&q->o.tiers->v[0]);
	pthread_cond_broadcast(&q->work);
}

int queue_status(struct queue *q, struct fleet_status *st, struct stow_err *err)
{
	CHECK_OBJ(q, QUEUE_MAGIC);
	if (q->meta != NULL && meta_pending_count(q->meta, &st->pending, &st->pending_bytes, err) < 0)
		return -1;
	LOCK_SCOPE(&q->lock);
	st->oldest_ns = 0;
	for (size_t i = 0; i < QUEUE_BUCKETS && st->pending > 0; i++)
		for (const struct entry *e = q->table[i]; e != NULL; e = e->next)
			if (st->oldest_ns == 0 || e->created_ns < st->oldest_ns)
				st->oldest_ns = e->created_ns;
	st->uploading = q->uploading;
	st->uploaded = q->uploaded;
	st->uploaded_bytes = q->uploaded_bytes;
	(void)snprintf(st->upload_error, sizeof(st->upload_error), "%s", q->error);
	st->upload_error_ns = q->error[0] == '\0' ? 0 : q->error_ns;
	return 0;
}
