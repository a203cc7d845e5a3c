/* What the queue learns from the database: what is pending at the start and when there is room, and whether
 * what is behind is there still. */
#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"

/* Rows of one transaction. */
enum { WALK_BATCH = 1024, RECHECK_BATCH = 256 };

static const int64_t RECHECK_PACE_NS = 10 * NSEC_PER_MSEC;  /* between two looks */
static const int64_t RECHECK_REST_NS = 3600 * NSEC_PER_SEC; /* between two walks, at most */
static const int64_t RECHECK_AWAY_NS = 5 * NSEC_PER_SEC;

static bool is_stopping(struct queue *q)
{
	LOCK_SCOPE(&q->lock);

	return q->stopping;
}

/* --- what is pending --- */

struct batch {
	struct pending {
		struct digest digest;
		int64_t created_ns;
	} v[WALK_BATCH];
	size_t n;
};

static int see_pending(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct batch *b = arg;

	b->v[b->n++] = (struct pending){ .digest = i->digest, .created_ns = i->created_ns };
	return 0;
}

/* False: there is no room for more. */
static bool add_batch(struct queue *q, const struct batch *b)
{
	LOCK_SCOPE(&q->lock);

	for (size_t i = 0; i < b->n; i++)
		if (queue_add_locked(q, &b->v[i].digest, b->v[i].created_ns) == NULL)
			return false;
	return true;
}

int queue_walk_pending(struct queue *q, struct stow_err *err)
{
	CLEANUP(freep) struct batch *b = x_malloc(sizeof(*b));
	struct digest cursor = { 0 };
	size_t looked;

	do {
		b->n = 0;
		if (meta_pending_next(q->meta, &cursor, WALK_BATCH, see_pending, b, &looked, err) < 0)
			return -1;
	} while (add_batch(q, b) && looked == WALK_BATCH && !is_stopping(q));
	return 0;
}

/* --- what was sent --- */

struct records {
	struct digest *v;
	size_t n;
};

static int see_record(void *arg, const char *name, struct stow_err *err UNUSED)
{
	const char *hex = strchr(name, '-');
	struct records *r = arg;
	struct stow_err ignored;
	enum digest_alg alg;
	struct digest d;

	if (hex == NULL || r->n == QUEUE_ENTRIES)
		return 0; /* a stage's; or more than there can be of ours */
	alg = digest_alg_find(name, (size_t)(hex - name));
	if (alg == DIGEST_NONE || digest_parse_hex(&d, alg, hex + 1, strlen(hex + 1), &ignored) < 0)
		return 0;
	r->v = x_reallocarray(r->v, r->n + 1, sizeof(*r->v));
	r->v[r->n++] = d;
	return 0;
}

/* NOT_FOUND if it is not pending. */
static int created_of(struct queue *q, const struct digest *d, int64_t *ret_created_ns, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };

	if (meta_blob_get(q->meta, d, &info, err) < 0)
		return -1;
	if (meta_remote_get(q->meta, d, NULL, err) == 0)
		return stow_fail(err, STOW_NOT_FOUND, "it is behind");
	if (err->code != STOW_NOT_FOUND)
		return -1;
	*ret_created_ns = info.created_ns;
	return 0;
}

static int take_record(struct queue *q, const struct digest *d, struct stow_err *err)
{
	char record[SENDING_RECORD_MAX];
	struct stow_err ignored;
	int64_t created_ns = 0;
	struct entry *e;

	lock_take(&q->lock);
	e = queue_find_locked(q, d);
	lock_release(&q->lock);
	if (e != NULL)
		return 0; /* offered meanwhile: the record is of this process */
	if (created_of(q, d, &created_ns, err) < 0) {
		if (err->code != STOW_NOT_FOUND)
			return -1;
		queue_record(d, record);
		(void)!q->behind->ops->behind->send_discard(q->behind, record, &ignored);
		return 0;
	}
	LOCK_SCOPE(&q->lock);
	e = queue_add_locked(q, d, created_ns);
	if (e != NULL && e->state == ENTRY_WAITING)
		e->kept = true;
	return 0;
}

int queue_walk_records(struct queue *q, struct stow_err *err)
{
	struct records r = { 0 };
	int result = q->behind->ops->behind->send_scan(q->behind, see_record, &r, err);

	for (size_t i = 0; i < r.n && result == 0 && !is_stopping(q); i++)
		result = take_record(q, &r.v[i], err);
	free(r.v);
	return result;
}

/* --- whether it is there still --- */

struct stale {
	int64_t before_ns; /* wall clock */
	struct seen {
		struct digest digest;
		int64_t ns;
	} v[RECHECK_BATCH];
	size_t n;
};

static int see_remote(void *arg, const struct digest *d, int64_t seen_ns, struct stow_err *err UNUSED)
{
	struct stale *s = arg;

	if (seen_ns <= s->before_ns)
		s->v[s->n++] = (struct seen){ .digest = *d, .ns = seen_ns };
	return 0;
}

/* What has gone is pending again, and the queue finds out whether there are bytes here: in this order, so
 * that nobody evicts them meanwhile. Nor does one who has just read in the database that it is behind: he has
 * the claim until the bytes are gone. */
static void miss(struct queue *q, const struct seen *seen, int64_t created_ns)
{
	const struct digest *d = &seen->digest;
	struct claim claim = { 0 };
	char text[DIGEST_STR_MAX];
	struct stow_err err;
	int result;

	digest_format(d, text);
	lookup_forget(q->o.lookup, d);
	claim_take(q->o.claims, &claim, d);
	result = meta_remote_renew(q->meta, d, seen->ns, 0, &err);
	claim_release(&claim);
	if (result < 0 && err.code == STOW_NOT_FOUND)
		return; /* another one by now */
	if (result < 0) {
		log_warn("cannot record that a blob has gone from behind", LOG_S("digest", text),
			 LOG_S("error", err.msg));
		return;
	}
	log_warn("blob has gone from behind", LOG_S("digest", text));
	LOCK_SCOPE(&q->lock);
	(void)queue_add_locked(q, d, created_ns);
}

/* What a look says is of the row that there was before it: while it takes its time, the blob may be deleted,
 * behind too, and committed anew. */
static void recheck(struct queue *q, const struct seen *seen)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	const struct digest *d = &seen->digest;
	struct stow_err err;
	size_t at;

	if (q->o.refused != NULL && q->o.refused(q->o.arg, d))
		return;
	if (meta_blob_get(q->meta, d, &info, &err) < 0)
		return;
	if (queue_look_behind(q, d, info.size, &at, &err) == 0)
		(void)!meta_remote_renew(q->meta, d, seen->ns, clock_wall_ns(), &err); /* or another time */
	else if (err.code == STOW_NOT_FOUND)
		miss(q, seen, info.created_ns);
}

/* False: the end. */
static bool pause_for(struct queue *q, int64_t ns)
{
	int64_t until = clock_mono_ns() + ns;
	LOCK_SCOPE(&q->lock);

	while (!q->stopping && clock_mono_ns() < until)
		queue_pause_locked(q, until);
	return !q->stopping;
}

/* Waits while the storage is away. False: the end. */
static bool wait_until_usable(struct queue *q)
{
	while (!tier_usable(&q->o.tiers->v[0]))
		if (!pause_for(q, RECHECK_AWAY_NS))
			return false;
	return true;
}

/* False: the end. */
static bool recheck_all(struct queue *q)
{
	CLEANUP(freep) struct stale *s = x_malloc(sizeof(*s));
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t looked;

	do {
		s->n = 0;
		s->before_ns = clock_wall_ns() - q->o.recheck_every_ns;
		if (meta_remote_next(q->meta, &cursor, RECHECK_BATCH, see_remote, s, &looked, &err) < 0) {
			log_warn("cannot see what is behind", LOG_S("error", err.msg));
			break;
		}
		for (size_t i = 0; i < s->n; i++) {
			if (!wait_until_usable(q))
				return false;
			recheck(q, &s->v[i]);
			if (!pause_for(q, RECHECK_PACE_NS))
				return false;
		}
	} while (looked == RECHECK_BATCH && !is_stopping(q));
	return true;
}

void *queue_recheck(void *arg)
{
	struct queue *q = arg;
	int64_t rest = q->o.recheck_every_ns / 8;

	while (recheck_all(q))
		if (!pause_for(q, rest < RECHECK_REST_NS ? rest : RECHECK_REST_NS))
			break;
	return NULL;
}
