/* The table of blobs that are to stay here. */
#include "content/meta_codec.h"
#include "content/meta_internal.h"

static const char KEY_PINNED_BYTES[] = "pinned bytes";

/* --- rows --- */

/* Whether it was named, one byte; time and size, eight bytes each. */
enum { ROW_LEN = 17 };

static void row_encode(const struct pin *p, uint8_t row[ROW_LEN])
{
	row[0] = p->named;
	memcpy(row + 1, &p->pinned_ns, 8);
	memcpy(row + 9, &p->size, 8);
}

static int row_decode(const MDB_val *v, struct pin *ret_p)
{
	const uint8_t *row = v->mv_data;

	if (v->mv_size != ROW_LEN || row[0] > 1)
		return MDB_CORRUPTED;
	ret_p->named = row[0];
	memcpy(&ret_p->pinned_ns, row + 1, 8);
	memcpy(&ret_p->size, row + 9, 8);
	return 0;
}

/* The digest's row; MDB_NOTFOUND. */
static int row_get(struct meta *m, MDB_txn *txn, const struct digest *d, struct pin *ret_p)
{
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(d, bytes)), v;
	int rc = m->has_pins ? mdb_get(txn, m->pins, &key, &v) : MDB_NOTFOUND;

	ret_p->digest = *d;
	return rc == 0 ? row_decode(&v, ret_p) : rc;
}

static int row_put(struct meta *m, MDB_txn *txn, const struct pin *p)
{
	uint8_t bytes[DIGEST_ROW_KEY_MAX], row[ROW_LEN];
	MDB_val key = meta_val(bytes, digest_to_key(&p->digest, bytes)), v = meta_val(row, sizeof(row));

	row_encode(p, row);
	return mdb_put(txn, m->pins, &key, &v, 0);
}

int meta_pin_delete_row(struct meta *m, MDB_txn *txn, MDB_val *key, uint64_t size)
{
	int rc = mdb_del(txn, m->pins, key, NULL);

	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? meta_sum_adjust(m, txn, KEY_PINNED_BYTES, 0, size) : rc;
}

/* --- changing --- */

struct pins_change {
	struct change c;
	const struct digest *v;
	size_t n;
	int64_t now_ns;             /* add */
	const struct digest *named; /* remove */
	uint64_t removed, removed_bytes;
};

/* The size that the blob's row has; MDB_NOTFOUND, or CHANGE_REFUSED. */
static int blob_size(struct meta *m, MDB_txn *txn, const struct digest *d, uint64_t *ret_size,
		     struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(d, bytes)), v;
	int rc = mdb_get(txn, m->blobs, &key, &v);

	if (rc == 0 && blob_row_decode(d, v.mv_data, v.mv_size, &info, err) < 0)
		return CHANGE_REFUSED;
	*ret_size = info.size;
	return rc;
}

static int apply_add(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct pins_change *pc = CONTAINER_OF(c, struct pins_change, c);

	for (size_t i = 0; i < pc->n; i++) {
		struct pin p = { .digest = pc->v[i] };
		int rc = row_get(m, txn, &pc->v[i], &p);
		bool is_new = rc == MDB_NOTFOUND;

		if (is_new) {
			p.pinned_ns = pc->now_ns;
			rc = blob_size(m, txn, &p.digest, &p.size, &c->err);
		}
		if (rc == MDB_NOTFOUND && i > 0)
			continue;
		if (rc == MDB_NOTFOUND) {
			meta_fail_missing(&p.digest, &c->err);
			return CHANGE_REFUSED;
		}
		p.named = p.named || i == 0;
		if (rc == 0)
			rc = row_put(m, txn, &p);
		if (rc == 0 && is_new)
			rc = meta_sum_adjust(m, txn, KEY_PINNED_BYTES, p.size, 0);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int meta_pins_add(struct meta *m, const struct digest *v, size_t n, int64_t now_ns, struct stow_err *err)
{
	struct pins_change pc = { .c.apply = apply_add, .v = v, .n = n, .now_ns = now_ns };

	return meta_change(m, &pc.c, err);
}

static int apply_remove(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct pins_change *pc = CONTAINER_OF(c, struct pins_change, c);
	struct pin p;
	int rc = row_get(m, txn, pc->named, &p);

	if (rc == 0) {
		p.named = false;
		rc = row_put(m, txn, &p);
	}
	pc->removed = pc->removed_bytes = 0; /* of an attempt before the map grew */
	for (size_t i = 0; i < pc->n && (rc == 0 || rc == MDB_NOTFOUND); i++) {
		uint8_t bytes[DIGEST_ROW_KEY_MAX];
		MDB_val key = meta_val(bytes, digest_to_key(&pc->v[i], bytes));

		rc = row_get(m, txn, &pc->v[i], &p);
		if (rc != 0)
			continue;
		rc = meta_pin_delete_row(m, txn, &key, p.size);
		pc->removed++;
		pc->removed_bytes += p.size;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int meta_pins_remove(struct meta *m, const struct digest *named, const struct digest *v, size_t n,
		     uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err)
{
	struct pins_change pc = { .c.apply = apply_remove, .v = v, .n = n, .named = named };

	if (meta_change(m, &pc.c, err) < 0)
		return -1;
	*ret_n = pc.removed;
	*ret_bytes = pc.removed_bytes;
	return 0;
}

/* --- looking --- */

int meta_pin_get(struct meta *m, const struct digest *d, struct pin *ret_p, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];
	struct pin p;
	MDB_txn *txn;
	int rc;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = row_get(m, txn, d, &p);
	meta_read_end(m, txn);
	if (rc == MDB_NOTFOUND) {
		digest_format(d, text);
		return stow_fail(err, STOW_NOT_FOUND, "content %s: not pinned", text);
	}
	if (rc != 0)
		return meta_fail(err, rc, "read pin");
	if (ret_p)
		*ret_p = p;
	return 0;
}

struct pin_walk {
	meta_pin_visit *visit;
	void *arg;
};

static int show_pin(void *arg, const struct digest *d, const MDB_val *v, struct stow_err *err)
{
	const struct pin_walk *w = arg;
	struct pin p = { .digest = *d };
	int rc = row_decode(v, &p);

	return rc == 0 ? w->visit(w->arg, &p, err) : meta_fail(err, rc, "read pin");
}

int meta_pins_next(struct meta *m, struct digest *cursor, size_t max, meta_pin_visit *visit, void *arg,
		   size_t *ret_n, struct stow_err *err)
{
	struct pin_walk w = { .visit = visit, .arg = arg };

	CHECK_OBJ(m, META_MAGIC);
	*ret_n = 0;
	return m->has_pins ? meta_rows_next(m, m->pins, cursor, max, show_pin, &w, ret_n, err) : 0;
}

int meta_pin_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err)
{
	MDB_stat stat = { 0 };
	uint64_t bytes = 0;
	MDB_txn *txn;
	int rc = 0;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	if (m->has_pins)
		rc = mdb_stat(txn, m->pins, &stat);
	if (rc == 0)
		rc = meta_sum_get(m, txn, KEY_PINNED_BYTES, &bytes);
	meta_read_end(m, txn);
	if (rc != 0)
		return meta_fail(err, rc, "count pins");
	*ret_n = stat.ms_entries;
	*ret_bytes = bytes;
	return 0;
}
