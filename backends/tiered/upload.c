/* One upload: is it to be made, is it needed, and what is to be done about bytes that are not here. */
#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"

#include <inttypes.h>

/* Finds the size of a blob that is pending. True if it is to be uploaded now; else *ret_end. */
static bool is_pending(struct queue *q, const struct digest *d, uint64_t *ret_size, enum upload_end *ret_end,
		       struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };

	*ret_end = END_OVER;
	if (meta_blob_get(q->meta, d, &info, err) == 0) {
		*ret_size = info.size;
		if (meta_remote_get(q->meta, d, NULL, err) == 0)
			return false;
	} else if (err->code == STOW_NOT_FOUND) {
		return false;
	}
	if (err->code != STOW_NOT_FOUND)
		*ret_end = END_BROKEN;
	else if (q->o.refused != NULL && q->o.refused(q->o.arg, d))
		*ret_end = END_REFUSED;
	else
		return true;
	return false;
}

/* It is in a storage behind, by `end`. */
static enum upload_end record(struct queue *q, const struct digest *d, uint64_t size, size_t at,
			      enum upload_end end, struct stow_err *err)
{
	if (meta_remote_put(q->meta, d, clock_wall_ns(), err) < 0)
		return err->code == STOW_NOT_FOUND ? END_OVER : END_BROKEN; /* removed meanwhile */
	lookup_note(q->o.lookup, d, at, size);
	if (q->o.done != NULL)
		q->o.done(q->o.arg, d);
	return end;
}

int queue_look_behind(struct queue *q, const struct digest *d, uint64_t size, size_t *ret_at,
		      struct stow_err *err)
{
	struct tiers *t = q->o.tiers;
	struct stow_err trouble = { 0 };

	for (size_t i = 0; i < t->n; i++) {
		struct blob_stat st;

		if (lookup_is_bad(q->o.lookup, d, i))
			continue;
		if (!tier_usable(&t->v[i])) {
			stow_fail(&trouble, STOW_UNAVAILABLE, "%s: cannot be asked now", t->v[i].name);
			continue;
		}
		tier_ask(&t->v[i]);
		if (backend_stat(t->v[i].backend, d, &st, err) == 0) {
			tier_report(&t->v[i], NULL);
			if (st.size != size)
				continue;
			*ret_at = i;
			return 0;
		}
		tier_report(&t->v[i], err);
		if (err->code != STOW_NOT_FOUND) {
			trouble = *err;
			trouble.code = STOW_UNAVAILABLE;
		}
	}
	if (trouble.code == STOW_OK)
		return stow_fail(err, STOW_NOT_FOUND, "no storage behind has it");
	*err = trouble;
	return -1;
}

/* A row without bytes here, which is not known to be behind: the table of what is behind was of another
 * storage, perhaps, or it has gone from there. */
static enum upload_end seek(struct queue *q, const struct digest *d, uint64_t size, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];
	struct blob_stat st;
	size_t at;

	if (queue_look_behind(q, d, size, &at, err) == 0)
		return record(q, d, size, at, END_FOUND, err);
	if (err->code != STOW_NOT_FOUND)
		return END_AWAY;
	if (backend_stat(q->o.fast, d, &st, err) == 0) {
		stow_fail(err, STOW_UNAVAILABLE, "its bytes came just now");
		return END_AWAY;
	}
	if (err->code != STOW_NOT_FOUND)
		return END_BROKEN;
	digest_format(d, text);
	log_warn("blob has bytes neither here nor behind: it is not listed any more", LOG_S("digest", text));
	lookup_forget(q->o.lookup, d);
	if (q->o.lost != NULL)
		q->o.lost(q->o.arg, d);
	return END_OVER;
}

/* Whether the storage is without it: then *ret_flags are those to send it with; else *ret_end. */
static bool is_missing(struct queue *q, const struct digest *d, uint64_t size, unsigned *ret_flags,
		       enum upload_end *ret_end, struct stow_err *err)
{
	struct tier *tier = &q->o.tiers->v[0];
	char text[DIGEST_STR_MAX];
	struct blob_stat st;

	*ret_flags = 0;
	if (lookup_is_bad(q->o.lookup, d, 0)) {
		*ret_flags = SENDING_REPLACE;
		return true;
	}
	tier_ask(tier);
	if (q->behind->ops->behind->look(q->behind, d, &st, err) < 0) {
		tier_report(tier, err);
		*ret_end = END_AWAY;
		return err->code == STOW_NOT_FOUND;
	}
	tier_report(tier, NULL);
	if (st.size == size) {
		*ret_end = record(q, d, size, 0, END_FOUND, err);
		return false;
	}
	digest_format(d, text);
	log_warn("blob has a wrong size behind: it is replaced", LOG_S("storage", tier->name),
		 LOG_S("digest", text), LOG_I("size", st.size), LOG_I("right_size", size));
	*ret_flags = SENDING_REPLACE;
	return true;
}

static bool is_stopped(struct queue *q, const struct entry *e)
{
	LOCK_SCOPE(&q->lock);

	return q->stopping || e->cancelled;
}

/* Why the sending has failed: because of what it was told, of what it read, or of where it went. */
static enum upload_end judge(struct queue *q, struct entry *e, struct stow_err *err)
{
	if (is_stopped(q, e))
		return END_STOPPED;
	LOCK_SCOPE(&q->lock);
	if (e->source_err == NULL)
		return END_FAILED;
	*err = *e->source_err;
	return END_BROKEN;
}

enum upload_end queue_upload(struct queue *q, struct entry *e, uint64_t *ret_size, struct stow_err *err)
{
	const struct digest *d = &e->digest;
	struct blob_stat st;
	enum upload_end end;
	uint64_t size;
	unsigned flags;

	*ret_size = 0;
	if (!is_pending(q, d, &size, &end, err) || !is_missing(q, d, size, &flags, &end, err))
		return end;
	if (backend_stat(q->o.fast, d, &st, err) < 0)
		return err->code == STOW_NOT_FOUND ? seek(q, d, size, err) : END_BROKEN;
	if (st.size != size) {
		stow_fail(err, STOW_DATA_LOSS, "%" PRIu64 " bytes are here, %" PRIu64 " were recorded",
			  st.size, size);
		return END_BROKEN;
	}
	if (queue_send(q, e, size, flags, err) < 0)
		return judge(q, e, err);
	*ret_size = size;
	lookup_mark_good(q->o.lookup, d, 0);
	return record(q, d, size, 0, END_SENT, err);
}
