/* Rows: what is written is read back, whatever it is; anything else is DATA_LOSS and never a guess. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/meta_codec.h"
#include "tests/unit/unit.h"

#include <stdio.h>

/* --- random rows, the same ones in each run --- */

static uint64_t state;

static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Small, large and odd ones alike. */
static uint64_t any_number(void)
{
	switch (number() % 5) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return number() % 300;
	default:
		return number() >> number() % 64;
	}
}

static char *any_text(size_t min, size_t max)
{
	size_t n = min + (size_t)(number() % (max - min + 1));
	char *s = x_malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)(number() % 255 + 1); /* no NUL; rows do not care for UTF-8 */
	s[n] = 0;
	return s;
}

static struct digest any_digest(void)
{
	struct digest d = { .alg = (uint8_t)(1 + number() % 3) };

	d.len = (uint8_t)digest_alg_len((enum digest_alg)d.alg);
	for (size_t i = 0; i < d.len; i++)
		d.b[i] = (uint8_t)number();
	return d;
}

static struct blob_info any_blob(void)
{
	struct blob_info i = {
		.digest = any_digest(),
		.size = any_number(),
		.created_ns = (int64_t)any_number(),
		.updated_ns = (int64_t)any_number(),
	};
	struct stow_err err;

	for (uint64_t n = number() % 6; n; n--) {
		CLEANUP(freep) char *key = any_text(1, 40);
		CLEANUP(freep) char *value = any_text(0, 40);

		assert_int_equal(labels_set(&i.labels, key, value, &err), 0);
	}
	return i;
}

static struct ingest_row any_ingest(void)
{
	struct ingest_row r = {
		.ref = any_text(0, number() % 50 ? 60 : LIMIT_REF),
		.started_ns = (int64_t)any_number(),
		.updated_ns = (int64_t)any_number(),
		.total = any_number(),
		.offset = any_number(),
		.hash.len = (uint8_t)(number() % (HASH_STATE_MAX + 1)),
	};

	if (number() % 3)
		r.expected = any_digest();
	snprintf(r.stage, sizeof(r.stage), "%016llx", (unsigned long long)number());
	for (size_t i = 0; i < r.hash.len; i++)
		r.hash.b[i] = (uint8_t)number();
	return r;
}

static int reset(void **unused UNUSED)
{
	state = UINT64_C(88172645463325252);
	return 0;
}

/* --- blobs --- */

static void check_blob_equal(const struct blob_info *a, const struct blob_info *b)
{
	assert_true(digest_equal(&a->digest, &b->digest));
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->created_ns, b->created_ns);
	assert_int_equal(a->updated_ns, b->updated_ns);
	assert_true(labels_equal(&a->labels, &b->labels));
}

/* Exactly as long as it is, so that a sanitizer sees one byte too many being read. */
static int decode_blob(const struct digest *d, const void *p, size_t n, struct blob_info *ret_i,
		       struct stow_err *err)
{
	CLEANUP(freep) void *copy = x_malloc(n);

	memcpy(copy, p, n);
	return blob_row_decode(d, copy, n, ret_i, err);
}

static void blob_rows(void **unused UNUSED)
{
	for (int round = 0; round < 300; round++) {
		CLEANUP(blob_info_free) struct blob_info i = any_blob();
		CLEANUP(blob_info_free) struct blob_info back = { 0 };
		CLEANUP(buf_free) struct buf b;
		struct blob_info none = { .size = 42 };
		struct stow_err err;

		buf_init(&b, ROW_MAX);
		assert_int_equal(blob_row_encode(&i, &b, &err), 0);
		assert_int_equal(decode_blob(&i.digest, b.p, b.len, &back, &err), 0);
		check_blob_equal(&i, &back);
		for (size_t n = 0; n < b.len; n++) {
			assert_int_equal(decode_blob(&i.digest, b.p, n, &none, &err), -1);
			assert_int_equal(err.code, STOW_DATA_LOSS);
		}
		assert_int_equal(buf_append(&b, "", 1, &err), 0); /* and one byte too many */
		assert_int_equal(decode_blob(&i.digest, b.p, b.len, &none, &err), -1);
		assert_int_equal(err.code, STOW_DATA_LOSS);
		assert_int_equal(none.size, 42);
	}
}

static void blob_rows_of_another_version(void **unused UNUSED)
{
	CLEANUP(blob_info_free) struct blob_info i = any_blob();
	CLEANUP(buf_free) struct buf b;
	struct blob_info none;
	struct stow_err err;

	buf_init(&b, ROW_MAX);
	assert_int_equal(blob_row_encode(&i, &b, &err), 0);
	assert_int_equal(b.p[0], 1);
	for (int version = 0; version < 256; version++) {
		b.p[0] = (uint8_t)version;
		if (version == 1)
			continue;
		assert_int_equal(blob_row_decode(&i.digest, b.p, b.len, &none, &err), -1);
		assert_int_equal(err.code, STOW_DATA_LOSS);
	}
}

static void the_largest_blob_row_fits(void **unused UNUSED)
{
	CLEANUP(blob_info_free) struct blob_info i = { .digest = any_digest() };
	CLEANUP(blob_info_free) struct blob_info back = { 0 };
	CLEANUP(freep) char *value = x_malloc(LIMIT_LABEL);
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	memset(value, 'v', LIMIT_LABEL);
	value[LIMIT_LABEL - 4] = 0;
	for (int n = 0; n < LIMIT_LABELS; n++) {
		char key[5];

		snprintf(key, sizeof(key), "%04d", n);
		assert_int_equal(labels_set(&i.labels, key, value, &err), 0);
	}
	buf_init(&b, ROW_MAX);
	assert_int_equal(blob_row_encode(&i, &b, &err), 0);
	assert_int_equal(blob_row_decode(&i.digest, b.p, b.len, &back, &err), 0);
	check_blob_equal(&i, &back);
}

/* --- ingests --- */

static int decode_ingest(const void *p, size_t n, struct ingest_row *ret_r, struct stow_err *err)
{
	CLEANUP(freep) void *copy = x_malloc(n);

	memcpy(copy, p, n);
	return ingest_row_decode(copy, n, ret_r, err);
}

static void check_ingest_equal(const struct ingest_row *a, const struct ingest_row *b)
{
	assert_string_equal(a->ref, b->ref);
	assert_string_equal(a->stage, b->stage);
	assert_int_equal(a->started_ns, b->started_ns);
	assert_int_equal(a->updated_ns, b->updated_ns);
	assert_int_equal(a->total, b->total);
	assert_true(digest_equal(&a->expected, &b->expected));
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->hash.len, b->hash.len);
	assert_memory_equal(a->hash.b, b->hash.b, a->hash.len);
}

static void ingest_rows(void **unused UNUSED)
{
	for (int round = 0; round < 300; round++) {
		CLEANUP(ingest_row_free) struct ingest_row r = any_ingest();
		CLEANUP(ingest_row_free) struct ingest_row back = { 0 };
		CLEANUP(buf_free) struct buf b;
		struct ingest_row none = { .total = 42 };
		struct stow_err err;

		buf_init(&b, ROW_MAX);
		assert_int_equal(ingest_row_encode(&r, &b, &err), 0);
		assert_int_equal(decode_ingest(b.p, b.len, &back, &err), 0);
		check_ingest_equal(&r, &back);
		for (size_t n = 0; n < b.len; n++) {
			assert_int_equal(decode_ingest(b.p, n, &none, &err), -1);
			assert_int_equal(err.code, STOW_DATA_LOSS);
		}
		assert_int_equal(buf_append(&b, "", 1, &err), 0);
		assert_int_equal(decode_ingest(b.p, b.len, &none, &err), -1);
		assert_int_equal(err.code, STOW_DATA_LOSS);
		assert_int_equal(none.total, 42);
	}
}

/* Any byte changed: refused, or a row that was meant so, since it is written as it was read. */
static void changed_bytes(void **unused UNUSED)
{
	for (int round = 0; round < 60; round++) {
		CLEANUP(ingest_row_free) struct ingest_row r = any_ingest();
		CLEANUP(buf_free) struct buf b;
		struct stow_err err;

		buf_init(&b, ROW_MAX);
		assert_int_equal(ingest_row_encode(&r, &b, &err), 0);
		for (size_t at = 0; at < b.len; at++) {
			CLEANUP(ingest_row_free) struct ingest_row back = { 0 };
			CLEANUP(buf_free) struct buf again;
			uint8_t was = b.p[at];

			b.p[at] = number() % 2 ? 0 : (uint8_t)(was ^ (1 + number() % 255));
			buf_init(&again, ROW_MAX);
			if (decode_ingest(b.p, b.len, &back, &err) == 0) {
				assert_int_equal(ingest_row_encode(&back, &again, &err), 0);
				assert_int_equal(again.len, b.len);
				assert_memory_equal(again.p, b.p, b.len);
			} else {
				assert_int_equal(err.code, STOW_DATA_LOSS);
			}
			b.p[at] = was;
		}
	}
}

/* --- keys --- */

static void keys(void **unused UNUSED)
{
	for (int round = 0; round < 300; round++) {
		struct digest d = any_digest(), back = { 0 }, none = { 0 };
		uint8_t key[DIGEST_ROW_KEY_MAX + 1] = { 0 };
		size_t n = digest_to_key(&d, key);
		struct stow_err err;

		assert_int_equal(n, 1 + d.len);
		assert_int_equal(digest_from_key(key, n, &back, &err), 0);
		assert_true(digest_equal(&d, &back));
		for (size_t wrong = 0; wrong <= sizeof(key); wrong++) {
			if (wrong == n)
				continue;
			assert_int_equal(digest_from_key(key, wrong, &none, &err), -1);
			assert_int_equal(err.code, STOW_DATA_LOSS);
		}
		key[0] = number() % 2 ? 0 : 4;
		assert_int_equal(digest_from_key(key, n, &none, &err), -1);
		assert_int_equal(err.code, STOW_DATA_LOSS);
		assert_false(digest_is_set(&none));
	}
}

/* The order of keys is the order of digests, which makes a cursor of a digest. */
static void keys_sort_as_digests(void **unused UNUSED)
{
	for (int round = 0; round < 300; round++) {
		struct digest x = any_digest(), y = any_digest();
		uint8_t kx[DIGEST_ROW_KEY_MAX], ky[DIGEST_ROW_KEY_MAX];
		size_t nx, ny;
		int order;

		y.b[0] = number() % 2 ? x.b[0] : y.b[0];
		nx = digest_to_key(&x, kx);
		ny = digest_to_key(&y, ky);
		order = memcmp(kx, ky, nx < ny ? nx : ny);
		assert_int_equal(order < 0, digest_compare(&x, &y) < 0);
		assert_int_equal(order > 0, digest_compare(&x, &y) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(blob_rows, reset),
		cmocka_unit_test_setup(blob_rows_of_another_version, reset),
		cmocka_unit_test_setup(the_largest_blob_row_fits, reset),
		cmocka_unit_test_setup(ingest_rows, reset),
		cmocka_unit_test_setup(changed_bytes, reset),
		cmocka_unit_test_setup(keys, reset),
		cmocka_unit_test_setup(keys_sort_as_digests, reset),
	};

	return cmocka_run_group_tests_name("meta codec", tests, NULL, NULL);
}
