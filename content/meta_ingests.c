/* The table of ingests. */
#include "content/base/limits.h"
#include "content/meta_codec.h"
#include "content/meta_internal.h"

void meta_ref_key(const char *ref, struct digest *ret_key)
{
	struct hash *h = hash_new(DIGEST_SHA256);

	hash_update(h, ref, strlen(ref));
	hash_digest(h, ret_key);
	hash_free(h);
}

/* --- reading --- */

int meta_ingest_get(struct meta *m, const char *ref, struct ingest_row *ret_r, struct stow_err *err)
{
	struct digest rk;
	MDB_val key, v;
	MDB_txn *txn;
	int rc, result;

	CHECK_OBJ(m, META_MAGIC);
	meta_ref_key(ref, &rk);
	key = meta_val(rk.b, rk.len);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_get(txn, m->ingests, &key, &v);
	if (rc == 0)
		result = ingest_row_decode(v.mv_data, v.mv_size, ret_r, err);
	else if (rc == MDB_NOTFOUND)
		result = stow_fail(err, STOW_NOT_FOUND, "ref %s: not found", ref);
	else
		result = meta_fail(err, rc, "read ingest");
	meta_read_end(m, txn);
	return result;
}

int meta_ingests(struct meta *m, meta_ingest_visit *visit, void *arg, struct stow_err *err)
{
	MDB_cursor *c = NULL;
	MDB_txn *txn;
	MDB_val k, v;
	int rc, result = 0;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_cursor_open(txn, m->ingests, &c);
	while (rc == 0 && result == 0 && (rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		struct ingest_row row;

		result = ingest_row_decode(v.mv_data, v.mv_size, &row, err);
		if (result == 0) {
			result = visit(arg, &row, err);
			ingest_row_free(&row);
		}
	}
	if (c)
		mdb_cursor_close(c);
	meta_read_end(m, txn);
	if (result == 0 && rc != MDB_NOTFOUND)
		return meta_fail(err, rc, "list ingests");
	return result;
}

/* --- writing --- */

struct ingest_change {
	struct change c;
	struct digest key;
	struct buf row; /* put */
};

static int apply_ingest_put(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct ingest_change *i = CONTAINER_OF(c, struct ingest_change, c);
	MDB_val key = meta_val(i->key.b, i->key.len), row = meta_val(i->row.p, i->row.len), old;
	MDB_stat stat;
	int rc = mdb_stat(txn, m->ingests, &stat);

	if (rc == 0 && stat.ms_entries >= LIMIT_INGESTS &&
	    mdb_get(txn, m->ingests, &key, &old) == MDB_NOTFOUND) {
		stow_fail(&c->err, STOW_RESOURCE_EXHAUSTED, "%d ingests are parked, the most there may be",
			  LIMIT_INGESTS);
		return CHANGE_REFUSED;
	}
	return rc == 0 ? mdb_put(txn, m->ingests, &key, &row, 0) : rc;
}

int meta_ingest_put(struct meta *m, const struct ingest_row *r, struct stow_err *err)
{
	struct ingest_change i = { .c.apply = apply_ingest_put };
	int result;

	meta_ref_key(r->ref, &i.key);
	buf_init(&i.row, ROW_MAX);
	result = ingest_row_encode(r, &i.row, err);
	if (result == 0)
		result = meta_change(m, &i.c, err);
	buf_free(&i.row);
	return result;
}

static int apply_ingest_delete(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct ingest_change *i = CONTAINER_OF(c, struct ingest_change, c);
	MDB_val key = meta_val(i->key.b, i->key.len);
	int rc = mdb_del(txn, m->ingests, &key, NULL);

	return rc == MDB_NOTFOUND ? 0 : rc;
}

int meta_ingest_delete(struct meta *m, const char *ref, struct stow_err *err)
{
	struct ingest_change i = { .c.apply = apply_ingest_delete };

	meta_ref_key(ref, &i.key);
	return meta_change(m, &i.c, err);
}
