/* What is sent of a blob: where its bytes come from, and how fast they go. */
#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

/* Bytes that are paid for together. */
static const uint64_t PACE = UINT64_C(1) << 20;

void queue_record(const struct digest *d, char ret_record[SENDING_RECORD_MAX])
{
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	(void)snprintf(ret_record, SENDING_RECORD_MAX, "%s-%s", digest_alg_name(d->alg), hex);
}

/* --- the price --- */

static void pay_locked(struct queue *q, uint64_t bytes)
{
	int64_t now = clock_mono_ns();

	LOCK_ASSERT(&q->lock);
	if (q->paid_ns < now)
		q->paid_ns = now;
	q->paid_ns += (int64_t)((double)bytes * (double)NSEC_PER_SEC / (double)q->o.bandwidth);
}

/* Tells the sending of the source's bytes bit by bit, as if they came so slowly. False if there is no use in
 * going on. */
static bool pace(struct queue *q, struct entry *e, uint64_t size)
{
	uint64_t have = 0;

	while (have < size) {
		uint64_t step = size - have < PACE ? size - have : PACE;

		lock_take(&q->lock);
		while (!q->stopping && !e->cancelled && clock_mono_ns() < q->paid_ns)
			queue_pause_locked(q, q->paid_ns);
		if (q->stopping || e->cancelled) {
			lock_release(&q->lock);
			return false;
		}
		pay_locked(q, step);
		lock_release(&q->lock);
		have += step;
		q->behind->ops->behind->send_advance(e->sending, have);
	}
	return true;
}

/* --- the source --- */

static int open_source(struct entry *e, struct blob **ret_blob, struct stow_err *err)
{
	struct queue *q = e->queue;
	struct blob *blob, *other = NULL;

	if (backend_open(q->o.fast, &e->digest, 0, &blob, err) < 0)
		return -1;
	lock_take(&q->lock);
	if (e->blob == NULL)
		e->blob = blob;
	else
		other = blob; /* two have come at once */
	*ret_blob = e->blob;
	lock_release(&q->lock);
	blob_close(other);
	return 0;
}

static int read_all(struct blob *blob, uint8_t *to, size_t n, uint64_t off, struct stow_err *err)
{
	while (n > 0) {
		size_t got;

		if (blob_pread(blob, to, n, off, 0, &got, err) < 0)
			return -1;
		if (got == 0)
			return stow_fail(err, STOW_DATA_LOSS, "it ends at byte %" PRIu64, off);
		to += got;
		n -= got;
		off += got;
	}
	return 0;
}

/* Whether the read may begin; then it ends by end_read(). */
static int begin_read(struct entry *e, size_t n, struct blob **ret_blob, struct stow_err *err)
{
	struct queue *q = e->queue;
	uint64_t cost;
	LOCK_SCOPE(&q->lock);

	if (e->shut || q->stopping)
		return stow_fail(err, STOW_CANCELLED, "the upload was given up");
	cost = n < e->charge ? n : e->charge;
	if (q->o.bandwidth > 0 && cost > 0)
		pay_locked(q, cost);
	e->charge -= cost;
	e->readers++;
	*ret_blob = e->blob;
	return 0;
}

static void end_read(struct entry *e, const struct stow_err *err)
{
	struct queue *q = e->queue;
	LOCK_SCOPE(&q->lock);

	if (err != NULL && e->source_err == NULL) {
		e->source_err = x_malloc(sizeof(*e->source_err));
		*e->source_err = *err;
	}
	if (--e->readers == 0)
		pthread_cond_broadcast(&q->change);
}

static int read_source(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	struct entry *e = arg;
	struct blob *blob = NULL;
	int result = 0;

	if (begin_read(e, n, &blob, err) < 0)
		return -1;
	if (blob == NULL)
		result = open_source(e, &blob, err);
	if (result == 0)
		result = read_all(blob, to, n, off, err);
	if (result < 0)
		stow_wrap(err, "read it here");
	end_read(e, result < 0 ? err : NULL);
	return result;
}

void queue_send_shut_locked(struct queue *q, struct entry *e)
{
	LOCK_ASSERT(&q->lock);
	e->shut = true;
	while (e->readers > 0)
		lock_wait(&q->lock, &q->change);
}

/* --- the sending --- */

void queue_send_adopt(struct queue *q, struct entry *e, struct sending *s, uint64_t size)
{
	const struct behind_ops *ops = q->behind->ops->behind;
	char record[SENDING_RECORD_MAX];
	struct stow_err ignored;

	queue_record(&e->digest, record);
	e->charge = size;
	if (ops->send_move(s, record, read_source, e, &ignored) < 0) {
		ops->send_close(s, true); /* the upload begins anew, in its time */
		return;
	}
	e->sending = s;
	e->kept = true;
}

static int begin(struct queue *q, struct entry *e, uint64_t size, struct stow_err *err)
{
	struct stage_hint hint = { .digest = e->digest, .total = size };
	const struct behind_ops *ops = q->behind->ops->behind;
	bool paced = q->o.bandwidth > 0 && !e->kept;
	char record[SENDING_RECORD_MAX];

	queue_record(&e->digest, record);
	lock_take(&q->lock);
	e->charge = paced ? 0 : size; /* what is paced is paid for before it is read */
	lock_release(&q->lock);
	if (ops->send_open(q->behind, record, &hint, e->kept ? size : 0, read_source, e, &e->sending, err) <
	    0)
		return -1;
	e->kept = true;
	if (paced && !pace(q, e, size))
		return stow_fail(err, STOW_CANCELLED, "the upload was given up");
	return 0;
}

int queue_send(struct queue *q, struct entry *e, uint64_t size, unsigned flags, struct stow_err *err)
{
	if (e->sending == NULL && begin(q, e, size, err) < 0)
		return -1;
	return q->behind->ops->behind->send_finish(e->sending, &e->digest, size, flags, err);
}

void queue_send_close(struct queue *q, struct entry *e, bool forget)
{
	const struct behind_ops *ops = q->behind->ops->behind;
	char record[SENDING_RECORD_MAX];
	struct stow_err ignored;
	struct blob *blob;

	if (e->sending != NULL) {
		ops->send_close(TAKE(e->sending), forget);
	} else if (forget && e->kept) {
		queue_record(&e->digest, record);
		/* What cannot be removed now is found at the next start. */
		(void)!ops->send_discard(q->behind, record, &ignored);
	}
	e->kept = e->kept && !forget;
	lock_take(&q->lock);
	queue_send_shut_locked(q, e);
	blob = TAKE(e->blob);
	lock_release(&q->lock);
	blob_close(blob);
}
