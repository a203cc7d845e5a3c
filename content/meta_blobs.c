/* The table of blobs. */
#include "content/meta_codec.h"
#include "content/meta_internal.h"

int meta_fail_missing(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_NOT_FOUND, "content %s: not found", text);
}

/* --- reading --- */

int meta_blob_get(struct meta *m, const struct digest *d, struct blob_info *ret_i, struct stow_err *err)
{
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(d, bytes)), v;
	MDB_txn *txn;
	int rc, result;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_get(txn, m->blobs, &key, &v);
	if (rc == 0) {
		result = blob_row_decode(d, v.mv_data, v.mv_size, ret_i, err);
	} else if (rc == MDB_NOTFOUND) {
		result = meta_fail_missing(d, err);
	} else {
		result = meta_fail(err, rc, "read blob");
	}
	meta_read_end(m, txn);
	return result;
}

int meta_cursor_begin(MDB_cursor *c, const struct digest *after, MDB_val *ret_k, MDB_val *ret_v)
{
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	size_t n;
	int rc;

	if (!digest_is_set(after))
		return mdb_cursor_get(c, ret_k, ret_v, MDB_FIRST);
	n = digest_to_key(after, bytes);
	*ret_k = meta_val(bytes, n);
	rc = mdb_cursor_get(c, ret_k, ret_v, MDB_SET_RANGE);
	if (rc == 0 && ret_k->mv_size == n && memcmp(ret_k->mv_data, bytes, n) == 0)
		rc = mdb_cursor_get(c, ret_k, ret_v, MDB_NEXT);
	return rc;
}

int meta_rows_next(struct meta *m, MDB_dbi table, struct digest *cursor, size_t max, meta_row_visit *visit,
		   void *arg, size_t *ret_n, struct stow_err *err)
{
	MDB_val k, v;
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	size_t n = 0;
	int rc, result = 0;

	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_cursor_open(txn, table, &c);
	if (rc == 0)
		rc = meta_cursor_begin(c, cursor, &k, &v);
	for (; rc == 0 && n < max; rc = n < max ? mdb_cursor_get(c, &k, &v, MDB_NEXT) : 0) {
		result = digest_from_key(k.mv_data, k.mv_size, cursor, err);
		if (result == 0)
			result = visit(arg, cursor, &v, err);
		n += result >= 0;
		if (result != 0)
			break;
	}
	if (c)
		mdb_cursor_close(c);
	meta_read_end(m, txn);
	if (result == 0 && rc != 0 && rc != MDB_NOTFOUND)
		result = meta_fail(err, rc, "list rows");
	if (result < 0)
		return -1;
	*ret_n = n;
	return 0;
}

struct blob_walk {
	meta_blob_visit *visit;
	void *arg;
};

static int show_blob(void *arg, const struct digest *d, const MDB_val *v, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	const struct blob_walk *w = arg;

	if (blob_row_decode(d, v->mv_data, v->mv_size, &info, err) < 0)
		return -1;
	return w->visit(w->arg, &info, err);
}

int meta_blobs_next(struct meta *m, struct digest *cursor, size_t max, meta_blob_visit *visit, void *arg,
		    size_t *ret_n, struct stow_err *err)
{
	struct blob_walk w = { .visit = visit, .arg = arg };

	CHECK_OBJ(m, META_MAGIC);
	return meta_rows_next(m, m->blobs, cursor, max, show_blob, &w, ret_n, err);
}

int meta_blob_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err)
{
	MDB_stat stat;
	MDB_txn *txn;
	uint64_t bytes = 0;
	int rc;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_stat(txn, m->blobs, &stat);
	if (rc == 0)
		rc = meta_number_get(m, txn, META_KEY_BYTES, &bytes);
	meta_read_end(m, txn);
	if (rc != 0)
		return meta_fail(err, rc, "count blobs");
	*ret_n = stat.ms_entries;
	*ret_bytes = bytes;
	return 0;
}

/* --- writing --- */

struct blob_change {
	struct change c;
	const struct digest *digest;
	struct buf row;             /* add: the row */
	uint64_t size;              /* add: its size */
	const struct digest *drop;  /* add: the ingest that ends; NULL: none */
	struct blob_update *update; /* update */
};

struct blob_update {
	const struct labels *from;
	const char *const *paths;
	size_t n;
	int64_t now_ns;
	struct blob_info info; /* the result */
};

static int bytes_adjust(struct meta *m, MDB_txn *txn, uint64_t plus, uint64_t minus)
{
	uint64_t bytes;
	int rc = meta_number_get(m, txn, META_KEY_BYTES, &bytes);

	return rc == 0 ? meta_number_put(m, txn, META_KEY_BYTES, bytes + plus - minus) : rc;
}

static int refuse_missing(struct change *c, const struct digest *d)
{
	meta_fail_missing(d, &c->err);
	return CHANGE_REFUSED;
}

static int apply_blob_add(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct blob_change *b = CONTAINER_OF(c, struct blob_change, c);
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(b->digest, bytes)), row = meta_val(b->row.p, b->row.len);
	char text[DIGEST_STR_MAX];
	int rc;

	if (b->drop) {
		MDB_val ref = meta_val(b->drop->b, b->drop->len);

		rc = mdb_del(txn, m->ingests, &ref, NULL);
		if (rc != 0 && rc != MDB_NOTFOUND)
			return rc;
	}
	rc = mdb_put(txn, m->blobs, &key, &row, MDB_NOOVERWRITE);
	if (rc == MDB_KEYEXIST) {
		digest_format(b->digest, text);
		stow_fail(&c->err, STOW_ALREADY_EXISTS, "content %s: already exists", text);
		return CHANGE_REFUSED; /* the ingest is dropped all the same, as meta.h says */
	}
	return rc == 0 ? bytes_adjust(m, txn, b->size, 0) : rc;
}

int meta_blob_add(struct meta *m, const struct blob_info *i, const char *ref, bool may_be_undone,
		  struct stow_err *err)
{
	struct digest rk;
	struct blob_change b = {
		.c = { .apply = apply_blob_add, .may_be_undone = may_be_undone },
		.digest = &i->digest,
		.size = i->size,
	};
	int result;

	if (ref) {
		meta_ref_key(ref, &rk);
		b.drop = &rk;
	}
	buf_init(&b.row, ROW_MAX);
	result = blob_row_encode(i, &b.row, err);
	if (result == 0)
		result = meta_change(m, &b.c, err);
	buf_free(&b.row);
	return result;
}

struct adopt_change {
	struct change c;
	const struct blob_info *v;
	size_t n;
	bool behind;
	struct buf row;
};

static int apply_blobs_adopt(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct adopt_change *a = CONTAINER_OF(c, struct adopt_change, c);
	uint64_t added = 0;

	for (size_t i = 0; i < a->n; i++) {
		uint8_t bytes[DIGEST_ROW_KEY_MAX];
		MDB_val key = meta_val(bytes, digest_to_key(&a->v[i].digest, bytes)), row;
		int rc;

		buf_reset(&a->row);
		if (blob_row_encode(&a->v[i], &a->row, &c->err) < 0)
			return CHANGE_REFUSED;
		row = meta_val(a->row.p, a->row.len);
		rc = mdb_put(txn, m->blobs, &key, &row, MDB_NOOVERWRITE);
		if (rc == MDB_KEYEXIST)
			continue;
		added += a->v[i].size;
		if (rc == 0 && a->behind)
			rc = meta_remote_add_row(m, txn, &key, a->v[i].created_ns, a->v[i].size);
		if (rc != 0)
			return rc;
	}
	return bytes_adjust(m, txn, added, 0);
}

int meta_blobs_adopt(struct meta *m, const struct blob_info *v, size_t n, bool behind, struct stow_err *err)
{
	struct adopt_change a = { .c.apply = apply_blobs_adopt, .v = v, .n = n, .behind = behind };
	int result;

	buf_init(&a.row, ROW_MAX);
	result = meta_change(m, &a.c, err);
	buf_free(&a.row);
	return result;
}

static int apply_blob_delete(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct blob_change *b = CONTAINER_OF(c, struct blob_change, c);
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(b->digest, bytes)), v;
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	int rc = mdb_get(txn, m->blobs, &key, &v);

	if (rc == MDB_NOTFOUND)
		return refuse_missing(c, b->digest);
	if (rc == 0 && blob_row_decode(b->digest, v.mv_data, v.mv_size, &info, &c->err) < 0)
		return CHANGE_REFUSED;
	if (rc == 0)
		rc = mdb_del(txn, m->blobs, &key, NULL);
	if (rc == 0)
		rc = meta_remote_delete_row(m, txn, &key, info.size);
	if (rc == 0)
		rc = meta_pin_delete_row(m, txn, &key, info.size);
	return rc == 0 ? bytes_adjust(m, txn, 0, info.size) : rc;
}

int meta_blob_delete(struct meta *m, const struct digest *d, struct stow_err *err)
{
	struct blob_change b = { .c.apply = apply_blob_delete, .digest = d };

	return meta_change(m, &b.c, err);
}

static int apply_blob_update(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct blob_change *b = CONTAINER_OF(c, struct blob_change, c);
	struct blob_update *u = b->update;
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(b->digest, bytes)), v;
	int rc = mdb_get(txn, m->blobs, &key, &v);

	if (rc == MDB_NOTFOUND)
		return refuse_missing(c, b->digest);
	if (rc != 0)
		return rc;
	blob_info_free(&u->info); /* of an attempt before the map grew */
	u->info = (struct blob_info){ 0 };
	buf_reset(&b->row);
	if (blob_row_decode(b->digest, v.mv_data, v.mv_size, &u->info, &c->err) < 0 ||
	    labels_apply(&u->info.labels, u->from, u->paths, u->n, &c->err) < 0)
		return CHANGE_REFUSED;
	u->info.updated_ns = u->now_ns;
	if (blob_row_encode(&u->info, &b->row, &c->err) < 0)
		return CHANGE_REFUSED;
	v = meta_val(b->row.p, b->row.len);
	return mdb_put(txn, m->blobs, &key, &v, 0);
}

int meta_blob_update(struct meta *m, const struct digest *d, const struct labels *from,
		     const char *const *paths, size_t n, int64_t now_ns, struct blob_info *ret_i,
		     struct stow_err *err)
{
	struct blob_update u = { .from = from, .paths = paths, .n = n, .now_ns = now_ns };
	struct blob_change b = { .c.apply = apply_blob_update, .digest = d, .update = &u };
	int result;

	buf_init(&b.row, ROW_MAX);
	result = meta_change(m, &b.c, err);
	buf_free(&b.row);
	if (result == 0)
		*ret_i = u.info;
	else
		blob_info_free(&u.info);
	return result;
}
