/* The table of what is to stay here. */
#include "content/base/mem.h"
#include "content/meta.h"
#include "tests/unit/store_env.h"

#include <lmdb.h>
#include <stdio.h>

static char dir[TEMP_DIR_MAX], path[TEMP_DIR_MAX + 16];
static struct meta *m;

static void reopen(unsigned flags)
{
	struct stow_err err;

	meta_close(TAKE(m));
	expect_ok(meta_open(path, flags, 0, &m, NULL, &err), &err);
}

static int setup(void **state UNUSED)
{
	temp_dir_make(dir);
	snprintf(path, sizeof(path), "%s/meta.mdb", dir);
	reopen(0);
	return 0;
}

static int teardown(void **state UNUSED)
{
	meta_close(TAKE(m));
	temp_dir_remove(dir);
	return 0;
}

/* A blob of 1000 + seed bytes. */
static struct digest add(unsigned seed)
{
	struct blob_info i = { .digest = some_digest(DIGEST_SHA256, seed),
			       .size = 1000 + seed,
			       .created_ns = 5 };
	struct stow_err err;

	expect_ok(meta_blob_add(m, &i, NULL, false, &err), &err);
	return i.digest;
}

static void pin(const struct digest *v, size_t n, int64_t now_ns)
{
	struct stow_err err;

	expect_ok(meta_pins_add(m, v, n, now_ns, &err), &err);
}

static void expect_pinned(const struct digest *d, bool named, int64_t pinned_ns)
{
	struct stow_err err;
	struct pin p;

	expect_ok(meta_pin_get(m, d, &p, &err), &err);
	assert_true(digest_equal(&p.digest, d));
	assert_int_equal(p.named, named);
	assert_int_equal(p.pinned_ns, pinned_ns);
}

static void expect_not_pinned(const struct digest *d)
{
	struct stow_err err;

	expect_fail(meta_pin_get(m, d, NULL, &err), &err, STOW_NOT_FOUND);
}

static void expect_count(uint64_t n, uint64_t bytes)
{
	uint64_t got_n, got_bytes;
	struct stow_err err;

	expect_ok(meta_pin_count(m, &got_n, &got_bytes, &err), &err);
	assert_int_equal(got_n, n);
	assert_int_equal(got_bytes, bytes);
}

static void the_first_is_named_and_the_others_come_with_it(void **state UNUSED)
{
	struct digest v[] = { add(1), add(2), some_digest(DIGEST_SHA256, 3) };

	expect_count(0, 0);
	expect_not_pinned(&v[0]);
	pin(v, 3, 77);
	reopen(0);
	expect_pinned(&v[0], true, 77);
	expect_pinned(&v[1], false, 77);
	expect_not_pinned(&v[2]); /* no blob of this node's */
	expect_count(2, 2003);
	pin(&v[1], 1, 78);
	expect_pinned(&v[1], true, 77);
	pin(v, 2, 79);
	expect_pinned(&v[1], true, 77);
	expect_count(2, 2003);
}

static void what_has_no_row_cannot_be_pinned(void **state UNUSED)
{
	struct digest v[] = { some_digest(DIGEST_SHA256, 9), add(1) };
	struct stow_err err;

	expect_fail(meta_pins_add(m, v, 2, 1, &err), &err, STOW_NOT_FOUND);
	expect_count(0, 0);
}

static void a_blob_takes_its_pin_with_it(void **state UNUSED)
{
	struct digest v[] = { add(1), add(2) };
	struct stow_err err;

	pin(v, 2, 1);
	expect_ok(meta_blob_delete(m, &v[0], &err), &err);
	expect_not_pinned(&v[0]);
	expect_count(1, 1002);
	add(1);
	expect_not_pinned(&v[0]);
}

static void unpinning(void **state UNUSED)
{
	struct digest v[] = { add(1), add(2), add(3), add(4) };
	uint64_t n, bytes;
	struct stow_err err;

	pin(v, 3, 1);
	expect_ok(meta_pins_remove(m, &v[0], v + 1, 3, &n, &bytes, &err), &err); /* v[3] is not pinned */
	assert_int_equal(n, 2);
	assert_int_equal(bytes, 2005);
	expect_pinned(&v[0], false, 1); /* it stays with another one, so to speak */
	expect_not_pinned(&v[1]);
	expect_count(1, 1001);
	expect_ok(meta_pins_remove(m, &v[0], v, 1, &n, &bytes, &err), &err);
	assert_int_equal(n, 1);
	expect_count(0, 0);
	expect_ok(meta_pins_remove(m, &v[0], v, 4, &n, &bytes, &err), &err);
	assert_int_equal(n, 0);
	assert_int_equal(bytes, 0);
}

struct seen {
	unsigned n, named, stop_at;
	uint64_t bytes;
};

static int see(void *arg, const struct pin *p, struct stow_err *err UNUSED)
{
	struct seen *s = arg;

	s->bytes += p->size;
	s->named += p->named;
	return ++s->n == s->stop_at;
}

static void a_walk_shows_each_once(void **state UNUSED)
{
	enum { N = 40, STEP = 7 };
	struct seen s = { 0 }, some = { .stop_at = 2 };
	struct digest v[N], cursor = { 0 };
	struct stow_err err;
	size_t n;

	for (unsigned i = 0; i < N; i++)
		v[i] = add(i);
	pin(v, N, 1);
	do {
		expect_ok(meta_pins_next(m, &cursor, STEP, see, &s, &n, &err), &err);
	} while (n == STEP);
	assert_int_equal(s.n, N);
	assert_int_equal(s.named, 1);
	assert_int_equal(s.bytes, N * 1000 + N * (N - 1) / 2);
	cursor = (struct digest){ 0 };
	expect_ok(meta_pins_next(m, &cursor, 100, see, &some, &n, &err), &err);
	assert_int_equal(n, 2);
	expect_ok(meta_pins_next(m, &cursor, 100, see, &some, &n, &err), &err);
	assert_int_equal(some.n, N);
}

/* --- what other programs have left --- */

/* Changes the database as lmdb has it. */
static void change(const char *table, const void *key, size_t key_len, void *value, size_t len)
{
	MDB_env *lmdb;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = len, .mv_data = value };

	assert_int_equal(mdb_env_create(&lmdb), 0);
	assert_int_equal(mdb_env_set_maxdbs(lmdb, 8), 0);
	assert_int_equal(mdb_env_open(lmdb, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(lmdb, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
	if (key)
		assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	else
		assert_int_equal(mdb_drop(txn, dbi, 1), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(lmdb);
}

static void a_database_of_before_has_no_pins(void **state UNUSED)
{
	struct digest d = add(1), cursor = { 0 };
	struct seen s = { 0 };
	uint64_t before = 2;
	struct stow_err err;
	size_t n;

	meta_close(TAKE(m));
	change("pins", NULL, 0, NULL, 0);
	change("meta", "schema", 6, &before, sizeof(before));
	reopen(META_READ_ONLY);
	expect_count(0, 0);
	expect_not_pinned(&d);
	expect_ok(meta_pins_next(m, &cursor, 10, see, &s, &n, &err), &err);
	assert_int_equal(n, 0);
	reopen(0);
	pin(&d, 1, 5);
	reopen(META_READ_ONLY);
	expect_pinned(&d, true, 5);
	expect_count(1, 1001);
}

static void a_damaged_row_is_no_pin(void **state UNUSED)
{
	struct digest d = add(1), cursor = { 0 };
	struct seen s = { 0 };
	uint8_t key[65] = { d.alg };
	struct stow_err err;
	size_t n;

	meta_close(TAKE(m));
	memcpy(key + 1, d.b, d.len);
	change("pins", key, 1u + d.len, (uint8_t[17]){ 2 }, 17);
	reopen(0);
	expect_fail(meta_pin_get(m, &d, NULL, &err), &err, STOW_DATA_LOSS);
	expect_fail(meta_pins_next(m, &cursor, 10, see, &s, &n, &err), &err, STOW_DATA_LOSS);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(the_first_is_named_and_the_others_come_with_it),
		CASE(what_has_no_row_cannot_be_pinned),
		CASE(a_blob_takes_its_pin_with_it),
		CASE(unpinning),
		CASE(a_walk_shows_each_once),
		CASE(a_database_of_before_has_no_pins),
		CASE(a_damaged_row_is_no_pin),
	};

	return cmocka_run_group_tests_name("meta pins", tests, NULL, NULL);
}
