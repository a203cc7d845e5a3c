/* Making the database agree with the bytes, while everybody else goes on. */
#include "content/base/mem.h"
#include "content/store_internal.h"

enum { BATCH = 256 }; /* blobs of one transaction, and claims held together */

struct pass {
	struct store *store;
	const atomic_bool *stop;
	struct reconciled *result;
	struct digest found[BATCH]; /* without a row */
	size_t n;
};

static int compare_found(const void *a, const void *b)
{
	return digest_compare(a, b);
}

/* Adopts what the scan has found. Each is looked at again with its claim held: it may have been
 * deleted, or committed, since. Claims are taken in the order of their digests, so that two who
 * reconcile do not wait for each other; and each once: a scan may see a blob twice that was removed
 * and made anew meanwhile. */
static int adopt_batch(struct pass *p, struct stow_err *err)
{
	struct store *s = p->store;
	struct claim claims[BATCH] = { 0 };
	struct blob_info infos[BATCH];
	size_t n = 0;
	int result = 0;
	int64_t now = clock_wall_ns();

	qsort(p->found, p->n, sizeof(*p->found), compare_found);
	for (size_t i = 0; i < p->n; i++) {
		struct blob_info info = { .digest = p->found[i], .created_ns = now, .updated_ns = now };
		struct blob_stat st;

		if (i > 0 && digest_equal(&p->found[i - 1], &p->found[i]))
			continue;
		claim_take(&s->claims, &claims[i], &p->found[i]);
		if (backend_stat(s->backend, &info.digest, &st, err) < 0)
			continue;
		info.size = st.size;
		infos[n++] = info;
	}
	if (n)
		result = meta_blobs_adopt(s->meta, infos, n, false, err);
	for (size_t i = 0; i < p->n; i++)
		claim_release(&claims[i]);
	for (size_t i = 0; i < n && result == 0; i++)
		backend_recorded(s->backend, &infos[i].digest, false);
	if (result == 0)
		p->result->adopted += n;
	p->n = 0;
	return result;
}

static int seen(void *arg, const struct digest *d, const struct blob_stat *st UNUSED, struct stow_err *err)
{
	struct pass *p = arg;

	if (atomic_load(p->stop))
		return stow_fail(err, STOW_CANCELLED, "stopped");
	p->result->seen++;
	if (store_has(p->store, d))
		return 0;
	p->found[p->n++] = *d;
	return p->n == BATCH ? adopt_batch(p, err) : 0;
}

/* --- rows without bytes --- */

struct rows {
	struct digest v[BATCH];
	size_t n;
};

static int note_row(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct rows *r = arg;

	r->v[r->n++] = i->digest;
	return 0;
}

static int drop_if_missing(struct pass *p, const struct digest *d, struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct store *s = p->store;
	struct blob_stat st;

	if (backend_stat(s->backend, d, &st, err) == 0)
		return 0;
	claim_take(&s->claims, &claim, d);
	if (backend_stat(s->backend, d, &st, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND)
		return -1;
	if (meta_blob_delete(s->meta, d, err) < 0)
		return err->code == STOW_NOT_FOUND ? 0 : -1;
	blobs_drop(&s->blobs, d);
	p->result->dropped++;
	return 0;
}

static int drop_rows_without_bytes(struct pass *p, struct stow_err *err)
{
	struct digest cursor = { 0 };
	struct rows rows;
	size_t n;

	do {
		rows.n = 0;
		if (meta_blobs_next(p->store->meta, &cursor, BATCH, note_row, &rows, &n, err) < 0)
			return -1;
		for (size_t i = 0; i < rows.n; i++) {
			if (atomic_load(p->stop))
				return stow_fail(err, STOW_CANCELLED, "stopped");
			if (drop_if_missing(p, &rows.v[i], err) < 0)
				return -1;
		}
	} while (n == BATCH);
	return 0;
}

int store_reconcile(struct store *s, const atomic_bool *stop, struct reconciled *ret_r, struct stow_err *err)
{
	struct pass p = { .store = s, .stop = stop, .result = ret_r };
	uint64_t rows, bytes;
	int result;

	CHECK_OBJ(s, STORE_MAGIC);
	*ret_r = (struct reconciled){ 0 };
	/* Blobs of a remote one are adopted when they are asked for, and rows without bytes go when they are
	 * read: both cost one request each, and not one for everything that a fleet has stored. */
	if (s->backend->remote)
		return 0;
	result = backend_scan(s->backend, seen, &p, err);
	if (result == 0 && p.n)
		result = adopt_batch(&p, err);
	/* A tiered one knows which of its rows need no bytes here, and looks after the others. */
	if (result < 0 || s->backend->tiered)
		return result < 0 && err->code != STOW_CANCELLED ? -1 : 0;
	/* As many rows as blobs: none is missing its bytes, and a million stats are saved. */
	result = store_count(s, &rows, &bytes, err);
	if (result == 0 && rows > ret_r->seen)
		result = drop_rows_without_bytes(&p, err);
	return result < 0 && err->code == STOW_CANCELLED ? 0 : result;
}
