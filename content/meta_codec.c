#include "content/meta_codec.h"

#include "content/base/limits.h"
#include "content/base/mem.h"

enum { BLOB_ROW_VERSION = 1, INGEST_ROW_VERSION = 1 };

void blob_info_free(struct blob_info *i)
{
	labels_free(&i->labels);
}

void ingest_row_free(struct ingest_row *r)
{
	free(r->ref);
	r->ref = NULL;
}

/* --- writing --- */

static int put_uint(struct buf *to, uint64_t v, size_t bytes, struct stow_err *err)
{
	uint8_t b[8];

	for (size_t i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	return buf_append(to, b, bytes, err);
}

static int put_digest(struct buf *to, const struct digest *d, struct stow_err *err)
{
	uint8_t key[DIGEST_ROW_KEY_MAX];
	size_t n = digest_to_key(d, key);

	if (put_uint(to, n, 1, err) < 0)
		return -1;
	return buf_append(to, key, n, err);
}

/* --- reading --- */

struct reader {
	const uint8_t *p;
	size_t n;
};

/* The next `n` bytes, or NULL past the end. */
static const uint8_t *get_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (n > r->n)
		return NULL;
	r->p += n;
	r->n -= n;
	return p;
}

static bool get_uint(struct reader *r, size_t bytes, uint64_t *ret_v)
{
	const uint8_t *p = get_bytes(r, bytes);
	uint64_t v = 0;

	if (!p)
		return false;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	*ret_v = v;
	return true;
}

static bool get_time(struct reader *r, int64_t *ret_ns)
{
	uint64_t v;

	if (!get_uint(r, 8, &v))
		return false;
	*ret_ns = (int64_t)v;
	return true;
}

static bool get_digest(struct reader *r, struct digest *ret_d)
{
	struct stow_err ignored;
	uint64_t n;
	const uint8_t *p;

	if (!get_uint(r, 1, &n) || !(p = get_bytes(r, n)))
		return false;
	if (n == 1 && p[0] == DIGEST_NONE) {
		*ret_d = (struct digest){ 0 };
		return true;
	}
	return digest_from_key(p, n, ret_d, &ignored) == 0;
}

/* --- digests as keys --- */

size_t digest_to_key(const struct digest *d, uint8_t out[DIGEST_ROW_KEY_MAX])
{
	out[0] = d->alg;
	memcpy(out + 1, d->b, d->len);
	return 1 + (size_t)d->len;
}

int digest_from_key(const void *p, size_t n, struct digest *ret_d, struct stow_err *err)
{
	const uint8_t *b = p;
	struct digest d = { 0 };

	if (n < 1 || b[0] == DIGEST_NONE || b[0] >= DIGEST_ALG_COUNT || n - 1 != digest_alg_len(b[0]))
		return stow_fail(err, STOW_DATA_LOSS, "database: a blob's key of %zu bytes is no digest", n);
	d.alg = b[0];
	d.len = (uint8_t)(n - 1);
	memcpy(d.b, b + 1, n - 1);
	*ret_d = d;
	return 0;
}

/* --- blobs --- */

int blob_row_encode(const struct blob_info *i, struct buf *to, struct stow_err *err)
{
	if (put_uint(to, BLOB_ROW_VERSION, 1, err) < 0 || put_uint(to, i->size, 8, err) < 0 ||
	    put_uint(to, (uint64_t)i->created_ns, 8, err) < 0 ||
	    put_uint(to, (uint64_t)i->updated_ns, 8, err) < 0)
		return -1;
	return labels_encode(&i->labels, to, err);
}

int blob_row_decode(const struct digest *d, const void *p, size_t n, struct blob_info *ret_i,
		    struct stow_err *err)
{
	struct reader r = { p, n };
	struct blob_info i = { .digest = *d };
	uint64_t version;

	if (!get_uint(&r, 1, &version) || version != BLOB_ROW_VERSION || !get_uint(&r, 8, &i.size) ||
	    !get_time(&r, &i.created_ns) || !get_time(&r, &i.updated_ns))
		return stow_fail(err, STOW_DATA_LOSS, "database: a blob's row of %zu bytes is damaged", n);
	if (labels_decode(r.p, r.n, &i.labels, err) < 0)
		return stow_wrap(err, "database: a blob's row");
	*ret_i = i;
	return 0;
}

/* --- ingests --- */

int ingest_row_encode(const struct ingest_row *r, struct buf *to, struct stow_err *err)
{
	size_t ref_len = strlen(r->ref);

	if (put_uint(to, INGEST_ROW_VERSION, 1, err) < 0 || put_uint(to, ref_len, 4, err) < 0 ||
	    buf_append(to, r->ref, ref_len, err) < 0 || buf_append(to, r->stage, STAGE_NAME_LEN, err) < 0 ||
	    put_uint(to, (uint64_t)r->started_ns, 8, err) < 0 ||
	    put_uint(to, (uint64_t)r->updated_ns, 8, err) < 0 || put_uint(to, r->total, 8, err) < 0 ||
	    put_digest(to, &r->expected, err) < 0 || put_uint(to, r->offset, 8, err) < 0 ||
	    put_uint(to, r->hash.len, 1, err) < 0)
		return -1;
	return buf_append(to, r->hash.b, r->hash.len, err);
}

static bool get_ingest(struct reader *r, struct ingest_row *row, const uint8_t **ret_ref,
		       uint64_t *ret_ref_len)
{
	uint64_t version, hash_len;
	const uint8_t *stage, *hash;

	if (!get_uint(r, 1, &version) || version != INGEST_ROW_VERSION)
		return false;
	if (!get_uint(r, 4, ret_ref_len) || *ret_ref_len > LIMIT_REF ||
	    !(*ret_ref = get_bytes(r, *ret_ref_len)) || memchr(*ret_ref, 0, *ret_ref_len))
		return false;
	if (!(stage = get_bytes(r, STAGE_NAME_LEN)))
		return false;
	memcpy(row->stage, stage, STAGE_NAME_LEN);
	if (!get_time(r, &row->started_ns) || !get_time(r, &row->updated_ns) ||
	    !get_uint(r, 8, &row->total) || !get_digest(r, &row->expected) || !get_uint(r, 8, &row->offset))
		return false;
	if (!get_uint(r, 1, &hash_len) || hash_len > HASH_STATE_MAX || !(hash = get_bytes(r, hash_len)))
		return false;
	row->hash.len = (uint8_t)hash_len;
	memcpy(row->hash.b, hash, hash_len);
	return r->n == 0 && stage_name_ok(row->stage);
}

int ingest_row_decode(const void *p, size_t n, struct ingest_row *ret_r, struct stow_err *err)
{
	struct reader r = { p, n };
	struct ingest_row row = { 0 };
	const uint8_t *ref = NULL;
	uint64_t ref_len = 0;

	if (!get_ingest(&r, &row, &ref, &ref_len))
		return stow_fail(err, STOW_DATA_LOSS, "database: an ingest's row of %zu bytes is damaged", n);
	row.ref = x_strndup((const char *)ref, ref_len);
	*ret_r = row;
	return 0;
}
