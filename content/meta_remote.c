/* The table of blobs that a storage behind this one is known to have. */
#include "content/meta_codec.h"
#include "content/meta_internal.h"

static const char KEY_REMOTE_BYTES[] = "remote bytes";
static const char KEY_IDENTITY[] = "remote";

/* --- rows --- */

int meta_remote_add_row(struct meta *m, MDB_txn *txn, MDB_val *key, int64_t seen_ns, uint64_t size)
{
	MDB_val v = meta_val(&seen_ns, sizeof(seen_ns));
	int rc = mdb_put(txn, m->remote, key, &v, MDB_NOOVERWRITE);

	if (rc == 0)
		return meta_sum_adjust(m, txn, KEY_REMOTE_BYTES, size, 0);
	if (rc != MDB_KEYEXIST)
		return rc;
	v = meta_val(&seen_ns, sizeof(seen_ns)); /* LMDB has put the old one there */
	return mdb_put(txn, m->remote, key, &v, 0);
}

int meta_remote_delete_row(struct meta *m, MDB_txn *txn, MDB_val *key, uint64_t size)
{
	int rc = mdb_del(txn, m->remote, key, NULL);

	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? meta_sum_adjust(m, txn, KEY_REMOTE_BYTES, 0, size) : rc;
}

static int seen_decode(const MDB_val *v, int64_t *ret_seen_ns)
{
	if (v->mv_size != sizeof(*ret_seen_ns))
		return MDB_CORRUPTED;
	memcpy(ret_seen_ns, v->mv_data, sizeof(*ret_seen_ns));
	return 0;
}

/* --- one row --- */

struct remote_change {
	struct change c;
	const struct digest *digest;
	int64_t seen_ns; /* 0: the row goes */
	int64_t was_ns;  /* what it must say now; 0: whatever it says */
};

static int fail_unknown(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_NOT_FOUND, "content %s: not known to be behind", text);
}

/* Whether the row says what the change is about. */
static int check_remote(struct meta *m, MDB_txn *txn, MDB_val *key, struct remote_change *r)
{
	int64_t seen_ns;
	MDB_val v;
	int rc = mdb_get(txn, m->remote, key, &v);

	if (rc == 0)
		rc = seen_decode(&v, &seen_ns);
	if (rc != MDB_NOTFOUND && (rc != 0 || seen_ns == r->was_ns))
		return rc;
	(void)fail_unknown(r->digest, &r->c.err);
	return CHANGE_REFUSED;
}

static int apply_remote(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct remote_change *r = CONTAINER_OF(c, struct remote_change, c);
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(r->digest, bytes)), v;
	int rc = mdb_get(txn, m->blobs, &key, &v);

	if (rc == MDB_NOTFOUND) {
		meta_fail_missing(r->digest, &c->err);
		return CHANGE_REFUSED;
	}
	if (rc != 0)
		return rc;
	if (blob_row_decode(r->digest, v.mv_data, v.mv_size, &info, &c->err) < 0)
		return CHANGE_REFUSED;
	if (r->was_ns != 0)
		rc = check_remote(m, txn, &key, r);
	if (rc != 0)
		return rc;
	return r->seen_ns ? meta_remote_add_row(m, txn, &key, r->seen_ns, info.size)
			  : meta_remote_delete_row(m, txn, &key, info.size);
}

int meta_remote_put(struct meta *m, const struct digest *d, int64_t seen_ns, struct stow_err *err)
{
	struct remote_change r = {
		.c = { .apply = apply_remote, .may_be_undone = true },
		.digest = d,
		.seen_ns = seen_ns,
	};

	assert(seen_ns > 0);
	return meta_change(m, &r.c, err);
}

int meta_remote_renew(struct meta *m, const struct digest *d, int64_t seen_ns, int64_t now_ns,
		      struct stow_err *err)
{
	struct remote_change r = {
		.c = { .apply = apply_remote, .may_be_undone = now_ns > 0 },
		.digest = d,
		.seen_ns = now_ns,
		.was_ns = seen_ns,
	};

	assert(seen_ns > 0 && now_ns >= 0);
	return meta_change(m, &r.c, err);
}

int meta_remote_get(struct meta *m, const struct digest *d, int64_t *ret_seen_ns, struct stow_err *err)
{
	uint8_t bytes[DIGEST_ROW_KEY_MAX];
	MDB_val key = meta_val(bytes, digest_to_key(d, bytes)), v;
	int64_t seen_ns;
	MDB_txn *txn;
	int rc;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = m->has_remote ? mdb_get(txn, m->remote, &key, &v) : MDB_NOTFOUND;
	if (rc == 0)
		rc = seen_decode(&v, &seen_ns);
	meta_read_end(m, txn);
	if (rc == MDB_NOTFOUND)
		return fail_unknown(d, err);
	if (rc != 0)
		return meta_fail(err, rc, "read remote");
	if (ret_seen_ns)
		*ret_seen_ns = seen_ns;
	return 0;
}

/* --- the whole table --- */

struct identity_change {
	struct change c;
	const char *identity;
	bool emptied;
};

static int apply_identity(struct meta *m, MDB_txn *txn, struct change *c)
{
	struct identity_change *i = CONTAINER_OF(c, struct identity_change, c);
	MDB_stat known;
	MDB_val key = meta_val(KEY_IDENTITY, strlen(KEY_IDENTITY)), v;
	size_t n = strlen(i->identity);
	int rc = mdb_get(txn, m->info, &key, &v);

	i->emptied = false;
	if (rc == 0 && v.mv_size == n && memcmp(v.mv_data, i->identity, n) == 0)
		return 0;
	if (rc != 0 && rc != MDB_NOTFOUND)
		return rc;
	rc = mdb_stat(txn, m->remote, &known);
	i->emptied = rc == 0 && known.ms_entries > 0;
	if (rc == 0)
		rc = mdb_drop(txn, m->remote, 0);
	if (rc == 0)
		rc = meta_number_put(m, txn, KEY_REMOTE_BYTES, 0);
	v = meta_val(i->identity, n);
	return rc == 0 ? mdb_put(txn, m->info, &key, &v, 0) : rc;
}

int meta_remote_identity(struct meta *m, const char *identity, bool *ret_emptied, struct stow_err *err)
{
	struct identity_change i = { .c.apply = apply_identity, .identity = identity };

	if (meta_change(m, &i.c, err) < 0)
		return -1;
	*ret_emptied = i.emptied;
	return 0;
}

int meta_pending_count(struct meta *m, uint64_t *ret_n, uint64_t *ret_bytes, struct stow_err *err)
{
	uint64_t blobs = 0, remote = 0;
	MDB_stat all, behind = { 0 };
	MDB_txn *txn;
	int rc;

	CHECK_OBJ(m, META_MAGIC);
	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_stat(txn, m->blobs, &all);
	if (rc == 0)
		rc = meta_number_get(m, txn, META_KEY_BYTES, &blobs);
	if (rc == 0 && m->has_remote) {
		rc = mdb_stat(txn, m->remote, &behind);
		if (rc == 0)
			rc = meta_sum_get(m, txn, KEY_REMOTE_BYTES, &remote);
	}
	meta_read_end(m, txn);
	if (rc != 0)
		return meta_fail(err, rc, "count pending blobs");
	*ret_n = all.ms_entries - behind.ms_entries;
	*ret_bytes = blobs - remote;
	return 0;
}

/* --- walks --- */

struct walk {
	struct meta *m;
	MDB_txn *txn;
	meta_blob_visit *pending; /* one of the two */
	meta_remote_visit *behind;
	void *arg;
};

/* 0 to go on, 1 to stop, -1. */
static int walk_show(struct walk *w, MDB_val *k, const MDB_val *v, const struct digest *d,
		     struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	MDB_val ignored;
	int64_t seen_ns;
	int rc;

	if (w->behind) {
		rc = seen_decode(v, &seen_ns);
		return rc == 0 ? w->behind(w->arg, d, seen_ns, err) : meta_fail(err, rc, "read remote");
	}
	rc = w->m->has_remote ? mdb_get(w->txn, w->m->remote, k, &ignored) : MDB_NOTFOUND;
	if (rc == 0)
		return 0;
	if (rc != MDB_NOTFOUND)
		return meta_fail(err, rc, "read remote");
	if (blob_row_decode(d, v->mv_data, v->mv_size, &info, err) < 0)
		return -1;
	return w->pending(w->arg, &info, err);
}

static int walk(struct walk *w, struct digest *cursor, size_t max, size_t *ret_looked, struct stow_err *err)
{
	struct meta *m = w->m;
	MDB_cursor *c = NULL;
	MDB_val k, v;
	size_t n = 0;
	int rc, result = 0;

	CHECK_OBJ(m, META_MAGIC);
	*ret_looked = 0;
	if (w->behind && !m->has_remote)
		return 0;
	if (meta_read_begin(m, &w->txn, err) < 0)
		return -1;
	rc = mdb_cursor_open(w->txn, w->behind ? m->remote : m->blobs, &c);
	if (rc == 0)
		rc = meta_cursor_begin(c, cursor, &k, &v);
	for (; rc == 0 && n < max && result == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		result = digest_from_key(k.mv_data, k.mv_size, cursor, err);
		if (result == 0)
			result = walk_show(w, &k, &v, cursor, err);
		n++;
	}
	if (c)
		mdb_cursor_close(c);
	meta_read_end(m, w->txn);
	if (result >= 0 && rc != 0 && rc != MDB_NOTFOUND)
		result = meta_fail(err, rc, "walk");
	if (result < 0)
		return -1;
	*ret_looked = result > 0 ? max : n;
	return 0;
}

int meta_pending_next(struct meta *m, struct digest *cursor, size_t max, meta_blob_visit *visit, void *arg,
		      size_t *ret_looked, struct stow_err *err)
{
	struct walk w = { .m = m, .pending = visit, .arg = arg };

	return walk(&w, cursor, max, ret_looked, err);
}

int meta_remote_next(struct meta *m, struct digest *cursor, size_t max, meta_remote_visit *visit, void *arg,
		     size_t *ret_looked, struct stow_err *err)
{
	struct walk w = { .m = m, .behind = visit, .arg = arg };

	return walk(&w, cursor, max, ret_looked, err);
}
