#include "content/store.h"

#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/store_internal.h"

#include <errno.h>

unsigned store_far(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->backend->far;
}

/* --- blobs --- */

int store_info_now(struct store *s, const struct digest *d, struct blob_info *ret_i, struct stow_err *err)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return meta_blob_get(s->meta, d, ret_i, err);
}

bool store_has(struct store *s, const struct digest *d)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct stow_err err;

	return store_info_now(s, d, &info, &err) == 0;
}

/* Makes a row for bytes that the backend has. NOT_FOUND if it has none. */
static int adopt(struct store *s, const struct digest *d, struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct blob_info info = { .digest = *d };
	struct blob_stat st;

	if (backend_stat(s->backend, d, &st, err) < 0)
		return -1;
	/* Once more with the claim: a deletion may have been under way. */
	claim_take(&s->claims, &claim, d);
	if (backend_stat(s->backend, d, &st, err) < 0)
		return -1;
	info.size = st.size;
	info.created_ns = info.updated_ns = clock_wall_ns();
	if (meta_blobs_adopt(s->meta, &info, 1, st.behind, err) < 0)
		return -1;
	backend_recorded(s->backend, d, false);
	return 0;
}

int store_info(struct store *s, const struct digest *d, struct blob_info *ret_i, struct stow_err *err)
{
	if (store_info_now(s, d, ret_i, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND || adopt(s, d, err) < 0)
		return -1;
	return store_info_now(s, d, ret_i, err);
}

int store_update(struct store *s, const struct digest *d, const struct labels *from, const char *const *paths,
		 size_t n, struct blob_info *ret_i, struct stow_err *err)
{
	int64_t now = clock_wall_ns();

	CHECK_OBJ(s, STORE_MAGIC);
	if (meta_blob_update(s->meta, d, from, paths, n, now, ret_i, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND || adopt(s, d, err) < 0)
		return -1;
	return meta_blob_update(s->meta, d, from, paths, n, now, ret_i, err);
}

int store_count(struct store *s, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return meta_blob_count(s->meta, ret_n, ret_bytes, err);
}

int store_delete(struct store *s, const struct digest *d, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct stow_err ignored;
	struct pin pin;
	bool listed, pinned;

	CHECK_OBJ(s, STORE_MAGIC);
	claim_take(&s->claims, &claim, d);
	/* Row first: a blob is listed only while its bytes are there. What a crash leaves between the
	 * two is a blob without a row, which is adopted and collected again. */
	pinned = meta_pin_get(s->meta, d, &pin, &ignored) == 0;
	listed = meta_blob_get(s->meta, d, &info, err) == 0 && meta_blob_delete(s->meta, d, err) == 0;
	if (!listed && err->code != STOW_NOT_FOUND)
		return -1;
	blobs_drop(&s->blobs, d);
	if (backend_remove(s->backend, d, err) == 0 || (listed && err->code == STOW_NOT_FOUND))
		return 0;
	/* It may well be there still, and who collects garbage looks for it in the list. */
	if (listed && meta_blob_add(s->meta, &info, NULL, false, &ignored) == 0) {
		if (pinned) /* as one that was named: it rather stays too long */
			(void)!meta_pins_add(s->meta, d, 1, pin.pinned_ns, &ignored);
		backend_recorded(s->backend, d, false);
	}
	return -1;
}

/* --- listing --- */

struct listing {
	const struct filter *filter;
	meta_blob_visit *visit;
	void *arg;
	size_t shown;
	bool stopped; /* by `visit` */
};

const char *blob_info_field(const void *subject, const char *first, const char *joined)
{
	const struct blob_info *i = subject;
	static _Thread_local char text[DIGEST_STR_MAX];

	if (!strcmp(first, "labels"))
		return labels_get(&i->labels, joined);
	if (strcmp(first, "digest") != 0)
		return NULL;
	digest_format(&i->digest, text);
	return text;
}

static int list_visit(void *arg, const struct blob_info *i, struct stow_err *err)
{
	struct listing *l = arg;
	int result;

	if (!filter_match(l->filter, blob_info_field, i))
		return 0;
	l->shown++;
	result = l->visit(l->arg, i, err);
	l->stopped = result > 0;
	return result;
}

int store_list(struct store *s, const struct filter *f, struct digest *cursor, size_t max,
	       meta_blob_visit *visit, void *arg, bool *ret_end, struct stow_err *err)
{
	struct listing l = { .filter = f, .visit = visit, .arg = arg };
	size_t asked, n;

	CHECK_OBJ(s, STORE_MAGIC);
	do {
		asked = max - l.shown;
		if (meta_blobs_next(s->meta, cursor, asked, list_visit, &l, &n, err) < 0)
			return -1;
	} while (n == asked && l.shown < max && !l.stopped);
	*ret_end = n < asked && !l.stopped;
	return 0;
}

/* --- reading --- */

struct open_blob *store_read_begin_now(struct store *s, const struct digest *d)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return blobs_get(&s->blobs, d);
}

/* Whether a failure means that there are no such bytes. Behind a tiered backend there is another's word for
 * them, and what this node needs is the blob: without its row it is pulled again. Damaged bytes of our own
 * disk are a person's business (`stowage verify`). */
static bool is_gone(const struct store *s, const struct stow_err *err)
{
	return err->code == STOW_NOT_FOUND || (s->backend->tiered && err->code == STOW_DATA_LOSS);
}

/* The database promised bytes that are not there: the row goes, so that they can be pulled again. */
static int forget_missing(struct store *s, const struct digest *d, struct stow_err *err)
{
	struct stow_err ignored;

	(void)!meta_blob_delete(s->meta, d, &ignored);
	return stow_wrap(err, "recorded, but its bytes are gone");
}

/* Whether the blob was neither deleted nor recorded anew since that was read. */
static bool is_same_row(struct store *s, const struct blob_info *info)
{
	CLEANUP(blob_info_free) struct blob_info now = { 0 };
	struct stow_err err;

	if (store_info_now(s, &info->digest, &now, &err) < 0)
		return err.code != STOW_NOT_FOUND; /* the database's trouble says nothing of the blob */
	return now.created_ns == info->created_ns;
}

static int fail_deleted(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_NOT_FOUND, "content %s: not found", text);
}

static int info_to_read(struct store *s, const struct digest *d, unsigned flags, struct blob_info *ret_i,
			struct stow_err *err)
{
	if (flags == 0 || (s->backend->far & BACKEND_FAR_STAT) == 0)
		return store_info(s, d, ret_i, err);
	if (store_info_now(s, d, ret_i, err) == 0)
		return 0;
	/* What has no row may be anywhere. */
	return err->code == STOW_NOT_FOUND ? stow_fail(err, STOW_UNAVAILABLE, "not recorded here") : -1;
}

int store_read_begin(struct store *s, const struct digest *d, unsigned flags, struct open_blob **ret_b,
		     struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	CLEANUP(claim_release) struct claim claim = { 0 };
	CLEANUP(blob_closep) struct blob *blob = NULL;
	char text[DIGEST_STR_MAX];
	int result;

	if (info_to_read(s, d, flags, &info, err) < 0)
		return -1;
	/* Opened without the claim: a storage behind may take its time, and who deletes must not wait for it.
	 * So the row is looked at again: only one that is the same speaks of what was opened, or was not. */
	result = backend_open(s->backend, d, flags, &blob, err);
	claim_take(&s->claims, &claim, d);
	if (!is_same_row(s, &info))
		return result < 0 ? -1 : fail_deleted(d, err);
	if (result < 0)
		return is_gone(s, err) ? forget_missing(s, d, err) : -1;
	if (blob->size != info.size) {
		digest_format(d, text);
		return stow_fail(err, STOW_DATA_LOSS, "content %s: %llu bytes are stored, %llu were recorded",
				 text, (unsigned long long)blob->size, (unsigned long long)info.size);
	}
	*ret_b = blobs_add(&s->blobs, d, TAKE(blob));
	return 0;
}

uint64_t store_read_size(const struct open_blob *b)
{
	return b->blob->size;
}

int store_read(struct store *s, struct open_blob *b, void *to, size_t n, uint64_t off, unsigned flags,
	       size_t *ret_n, struct stow_err *err)
{
	if (blob_pread(b->blob, to, n, off, flags, ret_n, err) == 0)
		return 0;
	/* A handle that is not in the table any more is of a blob that was deleted, or replaced, since. */
	if (s->backend->tiered && !(flags & BACKEND_READ_NOWAIT) && is_gone(s, err) &&
	    blobs_drop_this(&s->blobs, b))
		return forget_missing(s, &b->digest, err);
	return -1;
}

void store_read_end(struct store *s, struct open_blob *b)
{
	CHECK_OBJ(s, STORE_MAGIC);
	blobs_put(&s->blobs, b);
}

/* --- ingests --- */

static void status_of_row(const struct ingest_row *row, struct ingest_status *ret_s)
{
	*ret_s = (struct ingest_status){
		.ref = row->ref,
		.started_ns = row->started_ns,
		.updated_ns = row->updated_ns,
		.offset = row->offset,
		.total = row->total,
		.expected = row->expected,
	};
}

int store_ingest_status(struct store *s, const char *ref, struct ingest_status *ret_s, struct stow_err *err)
{
	struct ingest *in;
	struct ingest_row row;

	CHECK_OBJ(s, STORE_MAGIC);
	in = refs_get(&s->refs, ref);
	if (in) {
		ingest_status(in, ret_s);
		ingest_unref(in);
		return 0;
	}
	if (meta_ingest_get(s->meta, ref, &row, err) < 0)
		return -1;
	status_of_row(&row, ret_s); /* takes over the row's ref */
	return 0;
}

static const char *ingest_field(const void *subject, const char *first, const char *joined UNUSED)
{
	const struct ingest_status *st = subject;

	return strcmp(first, "ref") == 0 ? st->ref : NULL;
}

/* All statuses of one look: the open ones from memory, and the parked ones from the database. */
struct statuses {
	struct ingest_status *v;
	size_t n, open, room;
};

static void statuses_free(struct statuses *l)
{
	for (size_t i = 0; i < l->n; i++)
		ingest_status_free(&l->v[i]);
	free(l->v);
}

static struct ingest_status *statuses_add(struct statuses *l)
{
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 16;
		l->v = x_reallocarray(l->v, l->room, sizeof(*l->v));
	}
	return &l->v[l->n++];
}

static int compare_refs(const void *a, const void *b)
{
	return strcmp(((const struct ingest_status *)a)->ref, ((const struct ingest_status *)b)->ref);
}

static int add_parked(void *arg, const struct ingest_row *row, struct stow_err *err UNUSED)
{
	struct statuses *l = arg;
	struct ingest_status st;

	status_of_row(row, &st);
	if (l->open && bsearch(&st, l->v, l->open, sizeof(*l->v), compare_refs))
		return 0; /* an open ingest's checkpoint */
	st.ref = x_strdup(st.ref);
	*statuses_add(l) = st;
	return 0;
}

int store_ingests(struct store *s, const struct filter *f, store_ingest_visit *visit, void *arg,
		  struct stow_err *err)
{
	CLEANUP(statuses_free) struct statuses l = { 0 };
	struct ingest **open;
	size_t n;

	CHECK_OBJ(s, STORE_MAGIC);
	open = refs_all(&s->refs, &n);
	for (size_t i = 0; i < n; i++) {
		ingest_status(open[i], statuses_add(&l));
		ingest_unref(open[i]);
	}
	free(open);
	l.open = l.n;
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), compare_refs);
	if (meta_ingests(s->meta, add_parked, &l, err) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++)
		if (filter_match(f, ingest_field, &l.v[i]) && visit(arg, &l.v[i], err) < 0)
			return -1;
	return 0;
}

/* Drops the parked ingest of a ref that nobody has open. */
static int drop_parked(struct store *s, const char *ref, int64_t untouched_since_ns, struct stow_err *err)
{
	struct ref_hold hold = { 0 };
	struct ingest_row row;
	int result;

	if (!refs_take(&s->refs, &hold, ref, REF_WAIT_NS))
		return stow_fail(err, STOW_UNAVAILABLE, "ref %s is locked", ref);
	result = meta_ingest_get(s->meta, ref, &row, err);
	if (result == 0) {
		if (row.updated_ns <= untouched_since_ns)
			result = parked_drop(s, &row, err);
		else
			result = stow_fail(err, STOW_UNAVAILABLE, "ref %s is in use", ref);
		ingest_row_free(&row);
	}
	refs_release(&s->refs, &hold);
	return result;
}

int store_abort(struct store *s, const char *ref, struct stow_err *err)
{
	CHECK_OBJ(s, STORE_MAGIC);
	for (;;) {
		struct ingest *in = refs_get(&s->refs, ref);
		int result;
		bool aborted;

		if (!in) {
			result = drop_parked(s, ref, INT64_MAX, err);
			if (result < 0 && err->code == STOW_UNAVAILABLE)
				continue; /* it was opened just now */
			return result;
		}
		aborted = ingest_abort(in, &result, err);
		ingest_unref(in);
		if (aborted)
			return result;
	}
}

/* --- upkeep --- */

struct stale {
	int64_t before_ns;
	char **refs;
	size_t n;
};

static int note_stale(void *arg, const struct ingest_row *row, struct stow_err *err UNUSED)
{
	struct stale *st = arg;

	if (row->updated_ns > st->before_ns)
		return 0;
	st->refs = x_reallocarray(st->refs, st->n + 1, sizeof(*st->refs));
	st->refs[st->n++] = x_strdup(row->ref);
	return 0;
}

int store_sweep(struct store *s, int64_t age_ns, uint64_t *ret_n, struct stow_err *err)
{
	struct stale st = { .before_ns = clock_wall_ns() - age_ns };
	uint64_t dropped = 0;
	int result;

	CHECK_OBJ(s, STORE_MAGIC);
	result = meta_ingests(s->meta, note_stale, &st, err);
	for (size_t i = 0; i < st.n; i++) {
		/* One that was opened, or is gone, since we looked is none of ours. */
		if (result == 0 && drop_parked(s, st.refs[i], st.before_ns, err) == 0)
			dropped++;
		else if (result == 0 && err->code != STOW_UNAVAILABLE && err->code != STOW_NOT_FOUND)
			result = -1;
		free(st.refs[i]);
	}
	free(st.refs);
	if (result == 0)
		*ret_n = dropped;
	return result;
}
