/* The database: its operations, the grouping of writers, the growing of the map. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/meta_codec.h"
#include "tests/unit/store_env.h"

#include <lmdb.h>
#include <stdio.h>

static char dir[TEMP_DIR_MAX], path[TEMP_DIR_MAX + 16];
static struct meta *m;

static void reopen(size_t map_size)
{
	struct stow_err err;

	meta_close(TAKE(m));
	expect_ok(meta_open(path, 0, map_size, &m, NULL, &err), &err);
}

static int setup(void **state UNUSED)
{
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
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

static struct digest nth_digest(enum digest_alg alg, unsigned seed)
{
	struct digest d = some_digest(alg, seed); /* which has not as many as are needed here */

	memcpy(d.b + 8, &seed, sizeof(seed));
	return d;
}

static struct blob_info blob_of(unsigned seed)
{
	struct blob_info i = {
		.digest = nth_digest(DIGEST_SHA256, seed),
		.size = 1000 + seed,
		.created_ns = 1 + seed,
		.updated_ns = 2 + seed,
	};

	return i;
}

static int add(unsigned seed, struct stow_err *err)
{
	struct blob_info i = blob_of(seed);

	return meta_blob_add(m, &i, NULL, false, err);
}

static void add_ok(unsigned seed)
{
	struct stow_err err;

	expect_ok(add(seed, &err), &err);
}

static bool has(unsigned seed)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct digest d = nth_digest(DIGEST_SHA256, seed);
	struct stow_err err;

	if (meta_blob_get(m, &d, &info, &err) == 0)
		return info.size == 1000 + seed && digest_equal(&info.digest, &d);
	thread_check(err.code == STOW_NOT_FOUND);
	return false;
}

static void check_count(uint64_t n, uint64_t bytes)
{
	struct stow_err err;
	uint64_t got_n, got_bytes;

	expect_ok(meta_blob_count(m, &got_n, &got_bytes, &err), &err);
	assert_int_equal(got_n, n);
	assert_int_equal(got_bytes, bytes);
}

static struct ingest_row row_of(const char *ref, uint64_t offset)
{
	struct ingest_row r = { .ref = (char *)(uintptr_t)ref, .offset = offset, .updated_ns = 7 };

	memcpy(r.stage, "0123456789abcdef", sizeof(r.stage));
	return r;
}

static bool has_ingest(const char *ref, uint64_t offset)
{
	CLEANUP(ingest_row_free) struct ingest_row r = { 0 };
	struct stow_err err;

	return meta_ingest_get(m, ref, &r, &err) == 0 && r.offset == offset && !strcmp(r.ref, ref);
}

/* --- blobs --- */

static void add_get_delete(void **state UNUSED)
{
	struct digest d = nth_digest(DIGEST_SHA256, 1);
	struct blob_info info = blob_of(1);
	struct stow_err err;

	assert_false(has(1));
	add_ok(1);
	assert_true(has(1));
	check_count(1, 1001);
	info.size = 5;
	expect_fail(meta_blob_add(m, &info, NULL, false, &err), &err, STOW_ALREADY_EXISTS);
	assert_true(has(1)); /* as it was */
	add_ok(2);
	reopen(0);
	assert_true(has(1) && has(2));
	check_count(2, 2003);
	expect_ok(meta_blob_delete(m, &d, &err), &err);
	assert_false(has(1));
	expect_fail(meta_blob_delete(m, &d, &err), &err, STOW_NOT_FOUND);
	reopen(0);
	assert_false(has(1));
	check_count(1, 1002);
}

static void each_algorithm_is_a_key_of_its_own(void **state UNUSED)
{
	struct stow_err err;

	for (int alg = DIGEST_SHA256; alg < DIGEST_ALG_COUNT; alg++) {
		struct blob_info info = { .digest = nth_digest((enum digest_alg)alg, 1),
					  .size = (uint64_t)alg };

		expect_ok(meta_blob_add(m, &info, NULL, false, &err), &err);
	}
	for (int alg = DIGEST_SHA256; alg < DIGEST_ALG_COUNT; alg++) {
		struct digest d = nth_digest((enum digest_alg)alg, 1);
		struct blob_info info;

		expect_ok(meta_blob_get(m, &d, &info, &err), &err);
		assert_int_equal(info.size, alg);
		blob_info_free(&info);
	}
}

static void adding_a_blob_ends_its_ingest(void **state UNUSED)
{
	struct ingest_row r = row_of("default/1/layer", 10), other = row_of("default/1/laye", 20);
	struct blob_info info = blob_of(1);
	struct stow_err err;

	expect_ok(meta_ingest_put(m, &r, &err), &err);
	expect_ok(meta_ingest_put(m, &other, &err), &err);
	expect_ok(meta_blob_add(m, &info, r.ref, false, &err), &err);
	assert_false(has_ingest(r.ref, 10));
	assert_true(has_ingest(other.ref, 20));
	/* Also where the blob is there, and where the ingest is not. */
	expect_fail(meta_blob_add(m, &info, other.ref, false, &err), &err, STOW_ALREADY_EXISTS);
	assert_false(has_ingest(other.ref, 20));
	info = blob_of(2);
	expect_ok(meta_blob_add(m, &info, r.ref, false, &err), &err);
}

static void adopting_adds_what_is_not_there(void **state UNUSED)
{
	struct blob_info v[40];
	struct stow_err err;

	add_ok(7);
	for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
		v[i] = blob_of(i);
		v[i].size += i == 7 ? 100000 : 0; /* not looked at */
	}
	expect_ok(meta_blobs_adopt(m, v, ARRAY_LEN(v), false, &err), &err);
	for (unsigned i = 0; i < ARRAY_LEN(v); i++)
		assert_true(has(i));
	check_count(40, 40 * 1000 + 39 * 40 / 2);
	expect_ok(meta_blobs_adopt(m, v, ARRAY_LEN(v), false, &err), &err);
	check_count(40, 40 * 1000 + 39 * 40 / 2);
}

static void update_changes_labels_and_time(void **state UNUSED)
{
	const char *const path_a[] = { "labels.a" }, *const wrong[] = { "labels.a", "size" };
	struct labels from = { 0 };
	struct blob_info info = blob_of(1), got;
	struct stow_err err;

	expect_ok(labels_set(&from, "a", "1", &err), &err);
	expect_ok(labels_set(&from, "b", "2", &err), &err);
	expect_fail(meta_blob_update(m, &info.digest, &from, NULL, 0, 99, &got, &err), &err, STOW_NOT_FOUND);
	add_ok(1);
	expect_fail(meta_blob_update(m, &info.digest, &from, wrong, 2, 99, &got, &err), &err,
		    STOW_INVALID_ARGUMENT);
	expect_ok(meta_blob_get(m, &info.digest, &got, &err), &err);
	assert_int_equal(got.labels.n, 0);
	assert_int_equal(got.updated_ns, 3);
	blob_info_free(&got);

	expect_ok(meta_blob_update(m, &info.digest, &from, path_a, 1, 99, &got, &err), &err);
	assert_int_equal(got.labels.n, 1);
	assert_int_equal(got.updated_ns, 99);
	assert_int_equal(got.created_ns, 2);
	assert_int_equal(got.size, 1001);
	blob_info_free(&got);
	reopen(0);
	expect_ok(meta_blob_get(m, &info.digest, &got, &err), &err);
	assert_string_equal(labels_get(&got.labels, "a"), "1");
	assert_int_equal(got.updated_ns, 99);
	blob_info_free(&got);
	labels_free(&from);
	check_count(1, 1001);
}

/* --- looking through all --- */

struct walk {
	unsigned seen[300]; /* by seed */
	struct digest last;
	size_t stop_after;
};

static int walk_visit(void *arg, const struct blob_info *i, struct stow_err *err)
{
	struct walk *w = arg;

	if (digest_is_set(&w->last))
		assert_true(digest_compare(&w->last, &i->digest) < 0);
	w->last = i->digest;
	w->seen[i->size - 1000]++;
	return w->stop_after && --w->stop_after == 0 ? stow_fail(err, STOW_CANCELLED, "enough") : 0;
}

static void cursor_sees_each_once_while_rows_go(void **state UNUSED)
{
	for (size_t max = 1; max < 40; max += 6) {
		struct walk w = { 0 };
		struct digest cursor = { 0 };
		struct stow_err err;
		size_t n;

		for (unsigned i = 0; i < ARRAY_LEN(w.seen); i++)
			if (add(i, &err) < 0)
				assert_int_equal(err.code, STOW_ALREADY_EXISTS);
		do {
			expect_ok(meta_blobs_next(m, &cursor, max, walk_visit, &w, &n, &err), &err);
			assert_true(n <= max);
			assert_true(digest_equal(&cursor, &w.last));
			/* The cursor's own row goes, so that it has to find the next by itself. */
			if (digest_is_set(&cursor))
				(void)!meta_blob_delete(m, &cursor, &err);
		} while (n == max);
		for (unsigned i = 0; i < ARRAY_LEN(w.seen); i++)
			assert_int_equal(w.seen[i], 1);
	}
}

static void cursor_at_the_end(void **state UNUSED)
{
	struct walk w = { 0 };
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t n = 42;

	expect_ok(meta_blobs_next(m, &cursor, 10, walk_visit, &w, &n, &err), &err);
	assert_int_equal(n, 0);
	assert_false(digest_is_set(&cursor));
	for (unsigned i = 0; i < 10; i++)
		add_ok(i);
	expect_ok(meta_blobs_next(m, &cursor, 10, walk_visit, &w, &n, &err), &err);
	assert_int_equal(n, 10);
	expect_ok(meta_blobs_next(m, &cursor, 10, walk_visit, &w, &n, &err), &err);
	assert_int_equal(n, 0);
	cursor = (struct digest){ 0 };
	w = (struct walk){ .stop_after = 4 };
	expect_fail(meta_blobs_next(m, &cursor, 10, walk_visit, &w, &n, &err), &err, STOW_CANCELLED);
}

/* --- ingests --- */

static int count_row(void *arg, const struct ingest_row *r, struct stow_err *err UNUSED)
{
	assert_int_equal(r->updated_ns, 7);
	++*(int *)arg;
	return 0;
}

static int stop_at_row(void *arg, const struct ingest_row *r UNUSED, struct stow_err *err)
{
	++*(int *)arg;
	return stow_fail(err, STOW_CANCELLED, "enough");
}

static void ingests_come_and_go(void **state UNUSED)
{
	CLEANUP(freep) char *longest = x_malloc(LIMIT_REF + 1);
	struct ingest_row r = row_of("a", 1), l = row_of(longest, 2);
	struct ingest_row none;
	struct stow_err err;
	int n = 0;

	memset(longest, 'r', LIMIT_REF);
	longest[LIMIT_REF] = 0;
	expect_fail(meta_ingest_get(m, "a", &none, &err), &err, STOW_NOT_FOUND);
	expect_ok(meta_ingest_put(m, &r, &err), &err);
	expect_ok(meta_ingest_put(m, &l, &err), &err);
	r.offset = 3;
	expect_ok(meta_ingest_put(m, &r, &err), &err); /* replaces */
	reopen(0);
	assert_true(has_ingest("a", 3) && has_ingest(longest, 2));
	expect_ok(meta_ingests(m, count_row, &n, &err), &err);
	assert_int_equal(n, 2);
	expect_fail(meta_ingests(m, stop_at_row, &n, &err), &err, STOW_CANCELLED);
	assert_int_equal(n, 3);
	expect_ok(meta_ingest_delete(m, "a", &err), &err);
	expect_ok(meta_ingest_delete(m, "a", &err), &err);
	assert_false(has_ingest("a", 3));
	assert_true(has_ingest(longest, 2));
}

/* Fills the table of ingests up to the limit, by a transaction of our own. */
static void fill_ingests(void)
{
	MDB_env *mdb;
	MDB_txn *txn;
	MDB_dbi dbi;

	meta_close(TAKE(m));
	assert_int_equal(mdb_env_create(&mdb), 0);
	assert_int_equal(mdb_env_set_maxdbs(mdb, 8), 0);
	assert_int_equal(mdb_env_set_mapsize(mdb, 1 << 30), 0);
	assert_int_equal(mdb_env_open(mdb, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(mdb, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "ingests", 0, &dbi), 0);
	for (unsigned i = 0; i < LIMIT_INGESTS - 1; i++) {
		struct digest d = nth_digest(DIGEST_SHA256, i);
		MDB_val k = { .mv_size = 32, .mv_data = d.b }, v = { .mv_size = 1, .mv_data = d.b };

		assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	}
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(mdb);
	reopen(0);
}

static void ingests_have_a_limit(void **state UNUSED)
{
	struct ingest_row last = row_of("the last one", 1), over = row_of("one too many", 1);
	struct stow_err err;

	fill_ingests();
	expect_ok(meta_ingest_put(m, &last, &err), &err);
	expect_fail(meta_ingest_put(m, &over, &err), &err, STOW_RESOURCE_EXHAUSTED);
	/* At the limit, those that are there can still be replaced: their checkpoints go on. */
	last.offset = 2;
	expect_ok(meta_ingest_put(m, &last, &err), &err);
	assert_true(has_ingest("the last one", 2));
	expect_ok(meta_ingest_delete(m, "the last one", &err), &err);
	expect_ok(meta_ingest_put(m, &over, &err), &err);
}

/* --- writers in groups --- */

enum { WRITERS = 16, ROUNDS = 40 };

/* Each change is seen by whoever reads after the call has returned. */
static void write_rows(void *arg UNUSED, int i)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned seed = (unsigned)i * ROUNDS + round;
		struct digest d = nth_digest(DIGEST_SHA256, seed);
		struct ingest_row r;
		struct stow_err err;
		char ref[32];

		snprintf(ref, sizeof(ref), "ref-%u", seed);
		r = row_of(ref, seed);
		thread_check(meta_ingest_put(m, &r, &err) == 0);
		thread_check(has_ingest(ref, seed));
		thread_check(add(seed, &err) == 0);
		thread_check(has(seed));
		/* In the same groups, others fail for reasons of their own. */
		thread_check(add(seed, &err) < 0 && err.code == STOW_ALREADY_EXISTS);
		d = nth_digest(DIGEST_SHA256, 100000 + seed);
		thread_check(meta_blob_delete(m, &d, &err) < 0 && err.code == STOW_NOT_FOUND);
		thread_check(meta_ingest_delete(m, ref, &err) == 0);
		thread_check(!has_ingest(ref, seed));
		if (round % 4 == 0) {
			d = nth_digest(DIGEST_SHA256, seed);
			thread_check(meta_blob_delete(m, &d, &err) == 0);
			thread_check(!has(seed));
		}
	}
}

static void writers_share_transactions(void **state UNUSED)
{
	struct stow_err err;
	int n = 0;

	run_threads(WRITERS, write_rows, NULL);
	reopen(0);
	for (unsigned seed = 0; seed < WRITERS * ROUNDS; seed++)
		assert_int_equal(has(seed), seed % ROUNDS % 4 != 0);
	expect_ok(meta_ingests(m, count_row, &n, &err), &err);
	assert_int_equal(n, 0);
}

/* All add the same blob: one of them has added it. */
static void one_of_many(void *arg, int i UNUSED)
{
	for (unsigned seed = 0; seed < 50; seed++) {
		struct stow_err err;

		if (add(seed, &err) == 0)
			atomic_fetch_add((atomic_int *)arg, 1);
		else
			thread_check(err.code == STOW_ALREADY_EXISTS);
	}
}

static void a_blob_is_added_once(void **state UNUSED)
{
	atomic_int added = 0;

	run_threads(WRITERS, one_of_many, &added);
	assert_int_equal(added, 50);
	check_count(50, 50 * 1000 + 49 * 50 / 2);
}

/* --- the map --- */

enum { GROW_ROWS = 3000, GROW_WRITERS = 3, GROW_READERS = 4 };
struct growing {
	atomic_uint done[GROW_WRITERS]; /* rows that each has written */
	atomic_int writers;
	atomic_uint reads;
};

static int count_blob(void *arg, const struct blob_info *i UNUSED, struct stow_err *err UNUSED)
{
	++*(unsigned *)arg;
	return 0;
}

static void grow_read(struct growing *g)
{
	do {
		unsigned before = 0, seen = 0;
		struct digest cursor = { 0 };
		struct stow_err err;
		size_t n;

		for (unsigned w = 0; w < GROW_WRITERS; w++) {
			unsigned done = atomic_load(&g->done[w]);

			before += done;
			thread_check(done == 0 || has(w * GROW_ROWS + done - 1));
		}
		thread_check(meta_blobs_next(m, &cursor, SIZE_MAX, count_blob, &seen, &n, &err) == 0);
		thread_check(seen >= before);
		atomic_fetch_add(&g->reads, 1);
	} while (atomic_load(&g->writers) > 0);
}

static void grow(void *arg, int i)
{
	struct growing *g = arg;
	struct labels labels = { 0 };
	struct stow_err err;
	char value[1000];

	if (i >= GROW_WRITERS) {
		grow_read(g);
		return;
	}
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = 0;
	thread_check(labels_set(&labels, "key", value, &err) == 0);
	for (unsigned row = 0; row < GROW_ROWS; row += 50) {
		struct blob_info v[50];

		for (unsigned k = 0; k < ARRAY_LEN(v); k++) {
			v[k] = blob_of((unsigned)i * GROW_ROWS + row + k);
			v[k].labels = labels;
		}
		thread_check(meta_blobs_adopt(m, v, ARRAY_LEN(v), false, &err) == 0);
		atomic_store(&g->done[i], row + (unsigned)ARRAY_LEN(v));
	}
	labels_free(&labels);
	atomic_fetch_sub(&g->writers, 1);
}

static void map_grows_under_readers(void **state UNUSED)
{
	struct growing g = { .writers = GROW_WRITERS };

	reopen(256 << 10);
	run_threads(GROW_WRITERS + GROW_READERS, grow, &g);
	assert_true(g.reads > 0);
	for (unsigned seed = 0; seed < GROW_WRITERS * GROW_ROWS; seed++)
		assert_true(has(seed));
	reopen(256 << 10); /* smaller than the file is */
	assert_true(has(GROW_ROWS - 1));
	add_ok(GROW_WRITERS * GROW_ROWS);
}

/* The row is changed by the attempt that succeeds alone. */
static void update_while_the_map_grows(void **state UNUSED)
{
	struct labels from = { 0 };
	struct blob_info info = blob_of(1), got;
	struct stow_err err;
	char key[32], value[4000];

	reopen(128 << 10);
	add_ok(1);
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "%d", i);
		expect_ok(labels_set(&from, key, value, &err), &err);
		expect_ok(meta_blob_update(m, &info.digest, &from, NULL, 0, 9, &got, &err), &err);
		assert_true(labels_equal(&got.labels, &from));
		blob_info_free(&got);
	}
	expect_ok(meta_blob_get(m, &info.digest, &got, &err), &err);
	assert_true(labels_equal(&got.labels, &from));
	blob_info_free(&got);
	labels_free(&from);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(add_get_delete),
		CASE(each_algorithm_is_a_key_of_its_own),
		CASE(adding_a_blob_ends_its_ingest),
		CASE(adopting_adds_what_is_not_there),
		CASE(update_changes_labels_and_time),
		CASE(cursor_sees_each_once_while_rows_go),
		CASE(cursor_at_the_end),
		CASE(ingests_come_and_go),
		CASE(ingests_have_a_limit),
		CASE(writers_share_transactions),
		CASE(a_blob_is_added_once),
		CASE(map_grows_under_readers),
		CASE(update_while_the_map_grows),
	};

	return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
