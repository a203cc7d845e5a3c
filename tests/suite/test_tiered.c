/* What a node of a fleet promises, whatever its bucket does. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/tiered_env.h"

enum { SIZE = 300000 };

static struct fleet fleet;
static struct node *const a = &fleet.node[0], *const b = &fleet.node[1];

static int setup(void **state)
{
	(void)state;
	fleet_make(&fleet);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fleet_remove(&fleet);
	return 0;
}

static void start_two(void)
{
	node_start(&fleet, 0);
	node_start(&fleet, 1);
}

/* --- the view --- */

static void what_is_committed_gets_into_the_bucket(void **state)
{
	struct digest d;

	(void)state;
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	node_check(a, &d, SIZE, 1);
	wait_uploaded(a);
	check_blob(fleet.bucket, &d, SIZE, 1);
	assert_int_equal(node_status(a).uploaded, 1);
	assert_int_equal(node_status(a).uploaded_bytes, SIZE);
}

static void what_one_node_has_another_one_finds(void **state)
{
	struct digest d;

	(void)state;
	start_two();
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	assert_false(node_lists(b, &d));
	assert_true(node_has(b, &d));
	assert_true(node_lists(b, &d));
	node_check(b, &d, SIZE, 1);
	wait_for(backend_has(b->disk, &d));
	check_blob(b->disk, &d, SIZE, 1);
	assert_int_equal(node_status(b).pending, 0);
}

/* Its bytes come without anybody reading them. */
static void what_is_adopted_is_brought(void **state)
{
	struct digest d[20];

	(void)state;
	start_two();
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		d[i] = node_put(a, SIZE, i);
	wait_uploaded(a);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		assert_true(node_has(b, &d[i]));
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		wait_for(backend_has(b->disk, &d[i]));
	assert_int_equal(node_status(b).fetched, ARRAY_LEN(d));
}

static void what_nobody_has_is_not_found(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 9);

	(void)state;
	start_two();
	assert_false(node_has(a, &d));
	assert_false(node_lists(a, &d));
}

static void an_adopted_blob_outlives_a_restart(void **state)
{
	struct digest d;

	(void)state;
	start_two();
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	assert_true(node_has(b, &d));
	node_restart(&fleet, 1);
	assert_true(node_lists(b, &d));
	node_check(b, &d, SIZE, 1);
	assert_int_equal(node_status(b).pending, 0);
}

static void a_node_that_lost_everything_finds_it_again(void **state)
{
	struct digest d;
	struct stow_err err;

	(void)state;
	start_two();
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_stop(a);
	expect_ok(backend_remove(a->disk, &d, &err), &err);
	temp_dir_remove(a->dir);
	temp_dir_make(a->dir);
	node_start(&fleet, 0);
	assert_false(node_lists(a, &d));
	node_check(a, &d, SIZE, 1);
}

static void a_source_is_asked_after_the_bucket(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 5);

	(void)state;
	fleet_add_source(&fleet);
	put_blob(fleet.source, &d, SIZE, 5);
	node_start(&fleet, 0);
	node_check(a, &d, SIZE, 5);
	assert_int_equal(node_status(a).n_behind, 2);
	assert_int_equal(node_status(a).pending, 0);
}

/* --- the end of a blob --- */

static void deleting_takes_the_nodes_bytes_alone(void **state)
{
	struct digest d;

	(void)state;
	start_two();
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_check(b, &d, SIZE, 1);
	node_delete(a, &d);
	assert_false(node_lists(a, &d));
	assert_false(backend_has(a->disk, &d));
	assert_true(backend_has(fleet.bucket, &d));
	node_check(b, &d, SIZE, 1);
	/* It is there to be found again. */
	node_check(a, &d, SIZE, 1);
}

static void what_is_deleted_is_not_uploaded(void **state)
{
	struct digest d;

	(void)state;
	node_cut_off(a, STOW_UNAVAILABLE);
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	node_delete(a, &d);
	assert_int_equal(node_status(a).pending, 0);
	node_reconnect(a);
	node_restart(&fleet, 0);
	assert_false(node_lists(a, &d));
	assert_false(backend_has(fleet.bucket, &d));
	assert_int_equal(count_stages(a->disk), 0);
}

static void an_exclusive_owner_deletes_behind_too(void **state)
{
	struct digest d;
	struct stow_err err;

	(void)state;
	a->options.exclusive = true;
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_cut_off(a, STOW_UNAVAILABLE);
	expect_fail(store_delete(a->store, &d, &err), &err, STOW_UNAVAILABLE);
	node_check(a, &d, SIZE, 1);
	node_reconnect(a);
	wait_for(store_delete(a->store, &d, &err) == 0);
	assert_false(backend_has(fleet.bucket, &d));
	assert_false(node_has(a, &d));
}

/* The bucket hangs: the collector is not held up for long, and comes again. */
static void an_exclusive_delete_ends_in_time(void **state)
{
	struct digest d;
	struct stow_err err;

	(void)state;
	a->options.exclusive = true;
	a->options.info_timeout_ns = 20 * NSEC_PER_MSEC;
	node_start(&fleet, 0);
	assert_int_equal(store_far(a->store), BACKEND_FAR_STAT | BACKEND_FAR_REMOVE);
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	atomic_store(&a->net_plan.hang, true);
	node_cut_off(a, STOW_UNAVAILABLE);
	expect_fail(store_delete(a->store, &d, &err), &err, STOW_UNAVAILABLE);
	assert_true(node_lists(a, &d));
	node_check(a, &d, SIZE, 1);
	assert_true(backend_has(fleet.bucket, &d));
	atomic_store(&a->net_plan.hang, false);
	node_reconnect(a);
	wait_for(store_delete(a->store, &d, &err) == 0);
	assert_false(backend_has(fleet.bucket, &d));
}

/* --- trouble --- */

static void what_is_here_is_read_while_the_bucket_hangs(void **state)
{
	struct digest here, behind, unknown = blob_digest(DIGEST_SHA256, SIZE, 99);
	struct open_blob *blob;
	struct stow_err err;
	uint8_t byte;
	size_t n;

	(void)state;
	b->options.prefetch = 0;
	start_two();
	assert_int_equal(store_far(b->store), BACKEND_FAR_STAT);
	behind = node_put(a, SIZE, 1);
	wait_uploaded(a);
	assert_true(node_has(b, &behind));
	here = node_put(b, SIZE, 2);
	atomic_store(&b->net_plan.hang, true);
	node_cut_off(b, STOW_UNAVAILABLE);
	expect_ok(store_read_begin(b->store, &here, BACKEND_READ_NEAR, &blob, &err), &err);
	expect_ok(store_read(b->store, blob, &byte, 1, 0, BACKEND_READ_NEAR, &n, &err), &err);
	store_read_end(b->store, blob);
	expect_fail(store_read_begin(b->store, &behind, BACKEND_READ_NEAR, &blob, &err), &err,
		    STOW_UNAVAILABLE);
	expect_fail(store_read_begin(b->store, &unknown, BACKEND_READ_NEAR, &blob, &err), &err,
		    STOW_UNAVAILABLE);
	atomic_store(&b->net_plan.hang, false);
	node_reconnect(b);
	node_check(b, &behind, SIZE, 1);
}

static void an_outage_harms_nobody(void **state)
{
	struct digest first, second, unknown = blob_digest(DIGEST_SHA256, SIZE, 99);

	(void)state;
	start_two();
	first = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_cut_off(a, STOW_UNAVAILABLE);
	second = node_put(a, SIZE, 2);
	for (unsigned i = 0; i < 10; i++) {
		struct digest d = blob_digest(DIGEST_SHA256, SIZE, 100 + i);

		assert_false(node_has(a, &d));
	}
	wait_for(node_status(a).behind[0].away);
	assert_string_not_equal(node_status(a).behind[0].error, "");
	assert_false(node_has(a, &unknown));
	node_check(a, &first, SIZE, 1);
	node_check(a, &second, SIZE, 2);
	assert_int_equal(node_status(a).pending, 1);
	assert_int_equal(node_status(a).pending_bytes, SIZE);
	node_reconnect(a);
	wait_uploaded(a);
	assert_false(node_status(a).behind[0].away);
	node_check(b, &second, SIZE, 2);
}

static void what_is_pending_outlives_a_restart(void **state)
{
	struct digest d;

	(void)state;
	node_cut_off(a, STOW_PERMISSION_DENIED);
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	assert_int_equal(node_status(a).pending, 1);
	assert_true(node_status(a).oldest_ns > 0);
	node_stop(a);
	node_reconnect(a);
	node_start(&fleet, 0);
	wait_uploaded(a);
	check_blob(fleet.bucket, &d, SIZE, 1);
}

static void wrong_bytes_reach_nobody(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct stow_err err;

	(void)state;
	start_two();
	put_wrong(fleet.bucket, &d, SIZE);
	assert_true(node_has(b, &d));
	expect_fail(node_read(b, &d, SIZE, 1, &err), &err, STOW_DATA_LOSS);
	assert_false(node_lists(b, &d));
	assert_false(node_has(b, &d));
	assert_false(backend_has(b->disk, &d));
	/* It comes from its registry, and mends the bucket. */
	(void)node_put(b, SIZE, 1);
	wait_uploaded(b);
	check_blob(fleet.bucket, &d, SIZE, 1);
	node_check(a, &d, SIZE, 1);
}

static void what_vanished_is_forgotten_or_comes_again(void **state)
{
	struct digest here, gone;
	struct stow_err err;

	(void)state;
	b->options.prefetch = 0;
	b->options.recheck_every_ns = 50 * NSEC_PER_MSEC;
	start_two();
	gone = node_put(a, SIZE, 1);
	wait_uploaded(a);
	assert_true(node_has(b, &gone));
	here = node_put(b, SIZE, 2);
	wait_uploaded(b);
	node_stop(a);
	expect_ok(backend_remove(fleet.bucket, &gone, &err), &err);
	expect_ok(backend_remove(fleet.bucket, &here, &err), &err);
	wait_for(!node_lists(b, &gone));
	wait_for(backend_has(fleet.bucket, &here));
	node_check(b, &here, SIZE, 2);
}

static void another_bucket_is_filled_anew(void **state)
{
	struct digest d;
	struct stow_err err;

	(void)state;
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_stop(a);
	expect_ok(backend_remove(fleet.bucket, &d, &err), &err);
	a->options.identity = "another bucket";
	node_start(&fleet, 0);
	wait_for(backend_has(fleet.bucket, &d));
	wait_uploaded(a);
}

/* --- local bytes as a cache --- */

static uint64_t disk_bytes_of(struct backend *disk, const struct digest *d, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += backend_has(disk, &d[i]) ? SIZE : 0;
	return sum;
}

static void what_is_too_much_is_evicted_and_comes_back(void **state)
{
	struct digest d[20];

	(void)state;
	a->options.max_size.bytes = UINT64_C(5) * SIZE;
	node_start(&fleet, 0);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		d[i] = node_put(a, SIZE, i);
	wait_uploaded(a);
	wait_for(disk_bytes_of(a->disk, d, ARRAY_LEN(d)) <= UINT64_C(5) * SIZE);
	assert_true(node_status(a).evicted > 0);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		node_check(a, &d[i], SIZE, i);
}

static void what_is_pending_is_never_evicted(void **state)
{
	struct digest d[20];

	(void)state;
	a->options.max_size.bytes = UINT64_C(5) * SIZE;
	node_cut_off(a, STOW_UNAVAILABLE);
	node_start(&fleet, 0);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		d[i] = node_put(a, SIZE, i);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		node_check(a, &d[i], SIZE, i);
	assert_int_equal(node_status(a).pending, ARRAY_LEN(d));
}

static void a_blob_larger_than_the_cache_streams_through(void **state)
{
	struct digest d;

	(void)state;
	b->options.max_size.bytes = SIZE / 3;
	start_two();
	d = node_put(a, SIZE, 1);
	wait_uploaded(a);
	node_check(b, &d, SIZE, 1);
	assert_false(backend_has(b->disk, &d));
}

/* --- commit --- */

static void a_commit_can_wait_for_the_bucket(void **state)
{
	struct digest d;

	(void)state;
	a->options.commit_wait_ns = 10 * NSEC_PER_SEC;
	node_start(&fleet, 0);
	d = node_put(a, SIZE, 1);
	assert_true(backend_has(fleet.bucket, &d));
}

static void a_commit_can_depend_on_the_bucket(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct stow_err err;

	(void)state;
	a->options.commit_wait_ns = INT64_MAX;
	node_start(&fleet, 0);
	node_cut_off(a, STOW_UNAVAILABLE);
	expect_fail(node_try_put(a, &d, SIZE, 1, &err), &err, STOW_UNAVAILABLE);
	assert_false(node_lists(a, &d));
	node_reconnect(a);
	node_restart(&fleet, 0);
	d = node_put(a, SIZE, 2);
	assert_true(backend_has(fleet.bucket, &d));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_committed_gets_into_the_bucket),
		TEST(what_one_node_has_another_one_finds),
		TEST(what_is_adopted_is_brought),
		TEST(what_nobody_has_is_not_found),
		TEST(an_adopted_blob_outlives_a_restart),
		TEST(a_node_that_lost_everything_finds_it_again),
		TEST(a_source_is_asked_after_the_bucket),
		TEST(deleting_takes_the_nodes_bytes_alone),
		TEST(what_is_deleted_is_not_uploaded),
		TEST(an_exclusive_owner_deletes_behind_too),
		TEST(an_exclusive_delete_ends_in_time),
		TEST(what_is_here_is_read_while_the_bucket_hangs),
		TEST(an_outage_harms_nobody),
		TEST(what_is_pending_outlives_a_restart),
		TEST(wrong_bytes_reach_nobody),
		TEST(what_vanished_is_forgotten_or_comes_again),
		TEST(another_bucket_is_filled_anew),
		TEST(what_is_too_much_is_evicted_and_comes_back),
		TEST(what_is_pending_is_never_evicted),
		TEST(a_blob_larger_than_the_cache_streams_through),
		TEST(a_commit_can_wait_for_the_bucket),
		TEST(a_commit_can_depend_on_the_bucket),
	};

	return cmocka_run_group_tests_name("tiered", tests, NULL, NULL);
}
