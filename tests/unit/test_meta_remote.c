/* The table of what is behind, and what is pending by its absence. */
#include "content/base/mem.h"
#include "content/meta.h"
#include "tests/unit/store_env.h"

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

static struct digest add(unsigned seed)
{
	struct blob_info i = { .digest = some_digest(DIGEST_SHA256, seed),
			       .size = 1000 + seed,
			       .created_ns = 5 };
	struct stow_err err;

	expect_ok(meta_blob_add(m, &i, NULL, false, &err), &err);
	return i.digest;
}

static void expect_pending(uint64_t n, uint64_t bytes)
{
	uint64_t got_n, got_bytes;
	struct stow_err err;

	expect_ok(meta_pending_count(m, &got_n, &got_bytes, &err), &err);
	assert_int_equal(got_n, n);
	assert_int_equal(got_bytes, bytes);
}

static void a_commit_is_pending_until_it_is_behind(void **state UNUSED)
{
	struct digest a = add(1), b = add(2);
	struct stow_err err;
	int64_t seen;

	expect_pending(2, 2003);
	expect_fail(meta_remote_get(m, &a, NULL, &err), &err, STOW_NOT_FOUND);
	expect_ok(meta_remote_put(m, &a, 77, &err), &err);
	expect_pending(1, 1002);
	expect_ok(meta_remote_put(m, &a, 78, &err), &err);
	expect_pending(1, 1002);
	expect_ok(meta_remote_get(m, &a, &seen, &err), &err);
	assert_int_equal(seen, 78);
	reopen(0);
	expect_pending(1, 1002);
	expect_ok(meta_remote_renew(m, &a, 78, 0, &err), &err);
	expect_pending(2, 2003);
	expect_ok(meta_remote_put(m, &b, 79, &err), &err);
	expect_pending(1, 1001);
}

static void what_has_no_row_is_not_behind(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 9);
	struct stow_err err;

	expect_fail(meta_remote_put(m, &d, 1, &err), &err, STOW_NOT_FOUND);
	expect_fail(meta_remote_renew(m, &d, 1, 0, &err), &err, STOW_NOT_FOUND);
	expect_pending(0, 0);
}

/* A look that began before says nothing of what has been seen, deleted or committed since. */
static void what_is_newer_is_not_changed_by_what_is_older(void **state UNUSED)
{
	struct digest a = add(1);
	struct stow_err err;
	int64_t seen;

	expect_fail(meta_remote_renew(m, &a, 77, 78, &err), &err, STOW_NOT_FOUND);
	expect_ok(meta_remote_put(m, &a, 77, &err), &err);
	expect_fail(meta_remote_renew(m, &a, 76, 78, &err), &err, STOW_NOT_FOUND);
	expect_fail(meta_remote_renew(m, &a, 76, 0, &err), &err, STOW_NOT_FOUND);
	expect_ok(meta_remote_renew(m, &a, 77, 78, &err), &err);
	expect_ok(meta_remote_get(m, &a, &seen, &err), &err);
	assert_int_equal(seen, 78);
	expect_pending(0, 0);
	expect_ok(meta_blob_delete(m, &a, &err), &err);
	add(1);
	expect_fail(meta_remote_renew(m, &a, 78, 79, &err), &err, STOW_NOT_FOUND);
	expect_pending(1, 1001);
}

static void a_row_takes_its_mark_with_it(void **state UNUSED)
{
	struct digest a = add(1), b = add(2);
	struct stow_err err;

	expect_ok(meta_remote_put(m, &a, 1, &err), &err);
	expect_ok(meta_blob_delete(m, &a, &err), &err);
	expect_fail(meta_remote_get(m, &a, NULL, &err), &err, STOW_NOT_FOUND);
	expect_pending(1, 1002);
	expect_ok(meta_blob_delete(m, &b, &err), &err);
	expect_pending(0, 0);
	add(1);
	expect_pending(1, 1001);
}

static void adopted_from_behind_is_not_pending(void **state UNUSED)
{
	struct blob_info v[2] = {
		{ .digest = some_digest(DIGEST_SHA256, 1), .size = 10, .created_ns = 3 },
		{ .digest = add(2), .size = 1002, .created_ns = 3 },
	};
	struct stow_err err;
	int64_t seen;

	expect_ok(meta_blobs_adopt(m, v, 2, true, &err), &err);
	expect_ok(meta_remote_get(m, &v[0].digest, &seen, &err), &err);
	assert_int_equal(seen, 3);
	expect_pending(1, 1002); /* its row was there, and its own */
}

static void another_storage_empties_the_table(void **state UNUSED)
{
	struct digest a = add(1);
	struct stow_err err;
	bool emptied;

	expect_ok(meta_remote_identity(m, "here", &emptied, &err), &err);
	assert_false(emptied);
	expect_ok(meta_remote_put(m, &a, 1, &err), &err);
	reopen(0);
	expect_ok(meta_remote_identity(m, "here", &emptied, &err), &err);
	assert_false(emptied);
	expect_pending(0, 0);
	expect_ok(meta_remote_identity(m, "there", &emptied, &err), &err);
	assert_true(emptied);
	expect_pending(1, 1001);
	expect_ok(meta_remote_identity(m, "elsewhere", &emptied, &err), &err);
	assert_false(emptied); /* there was nothing in it */
}

/* --- walks --- */

struct seen {
	unsigned n;
	uint64_t bytes;
	unsigned stop_at;
};

static int see_pending(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct seen *s = arg;

	s->bytes += i->size;
	return ++s->n == s->stop_at;
}

static int see_behind(void *arg, const struct digest *d UNUSED, int64_t seen_ns, struct stow_err *err UNUSED)
{
	struct seen *s = arg;

	s->bytes += (uint64_t)seen_ns;
	return ++s->n == s->stop_at;
}

static void walks_show_each_once(void **state UNUSED)
{
	enum { N = 40, STEP = 7 };
	struct seen pending = { 0 }, behind = { 0 };
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t looked;

	for (unsigned i = 0; i < N; i++) {
		struct digest d = add(i);

		if (i % 4 == 0)
			expect_ok(meta_remote_put(m, &d, 1 + i, &err), &err);
	}
	do {
		expect_ok(meta_pending_next(m, &cursor, STEP, see_pending, &pending, &looked, &err), &err);
	} while (looked == STEP);
	assert_int_equal(pending.n, N - N / 4);
	assert_int_equal(pending.bytes, 30 * 1000 + 780 - 180);
	cursor = (struct digest){ 0 };
	do {
		expect_ok(meta_remote_next(m, &cursor, STEP, see_behind, &behind, &looked, &err), &err);
	} while (looked == STEP);
	assert_int_equal(behind.n, N / 4);
	assert_int_equal(behind.bytes, 180 + 10);
}

static void a_walk_stops_and_goes_on(void **state UNUSED)
{
	struct seen s = { .stop_at = 2 };
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t looked;

	for (unsigned i = 0; i < 5; i++)
		add(i);
	expect_ok(meta_pending_next(m, &cursor, 100, see_pending, &s, &looked, &err), &err);
	assert_int_equal(s.n, 2);
	assert_int_equal(looked, 100); /* not the end */
	expect_ok(meta_pending_next(m, &cursor, 100, see_pending, &s, &looked, &err), &err);
	assert_int_equal(s.n, 5);
	assert_int_equal(looked, 3);
}

static void readers_see_it_too(void **state UNUSED)
{
	struct digest a = add(1);
	struct stow_err err;

	expect_ok(meta_remote_put(m, &a, 1, &err), &err);
	add(2);
	reopen(META_READ_ONLY);
	expect_pending(1, 1002);
	expect_ok(meta_remote_get(m, &a, NULL, &err), &err);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_commit_is_pending_until_it_is_behind),
		CASE(what_has_no_row_is_not_behind),
		CASE(what_is_newer_is_not_changed_by_what_is_older),
		CASE(a_row_takes_its_mark_with_it),
		CASE(adopted_from_behind_is_not_pending),
		CASE(another_storage_empties_the_table),
		CASE(walks_show_each_once),
		CASE(a_walk_stops_and_goes_on),
		CASE(readers_see_it_too),
	};

	return cmocka_run_group_tests_name("meta remote", tests, NULL, NULL);
}
