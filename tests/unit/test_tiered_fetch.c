/* What comes from behind: for its readers while it comes, and ahead of them. */
#include "tests/unit/fetch_env.h"

#include <time.h>

static void a_blob_comes_and_is_here(void **state UNUSED)
{
	struct digest d = blob_behind(0, 5 * MIB + 7, 1);
	struct fetch_reader *r = open_reader(&d, 5 * MIB + 7);
	struct fleet_status st = { 0 };

	read_rest(r, 0, 5 * MIB + 7, 1);
	wait_for(has_ended(r));
	read_fails(r, 0, 1, STOW_ALREADY_EXISTS);
	fetch_close(r);
	check_blob(env.fast, &d, 5 * MIB + 7, 1);
	assert_int_equal(count_stages(env.fast), 0);
	wait_for(atomic_load(&env.done) == 1);
	wait_for((fetch_status(env.fetches, &st), st.fetching == 0));
	assert_int_equal(st.fetched, 1);
	assert_int_equal(st.fetched_bytes, 5 * MIB + 7);
	cache_status(env.cache, &st);
	assert_int_equal(st.cache_bytes, 5 * MIB + 7);
	assert_int_equal(env.tier[0].bytes, 5 * MIB + 7); /* once */
}

static void blobs_of_any_size_come(void **state UNUSED)
{
	static const size_t sizes[] = { 0, 1, FETCH_HELD, FETCH_HELD + 1, FETCH_PIECE, FETCH_PIECE + 1 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct digest d = blob_behind(0, sizes[i], 10 + i);
		struct fetch_reader *r = open_reader(&d, sizes[i]);
		struct stow_err err;
		uint8_t byte;
		size_t got = 1;

		expect_ok(fetch_read(r, &byte, 1, sizes[i], 0, &got, &err), &err);
		assert_int_equal(got, 0);
		read_rest(r, 0, sizes[i], 10 + i);
		wait_for(has_ended(r));
		fetch_close(r);
		check_blob(env.fast, &d, sizes[i], 10 + i);
	}
}

static void bytes_are_given_as_they_come(void **state UNUSED)
{
	struct digest d = blob_behind(0, 4 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], 2 * MIB);
	r = open_reader(&d, 4 * MIB);
	read_part(r, 0, 2 * MIB, 0, 1);
	read_part(r, MIB, MIB, BACKEND_READ_NOWAIT, 1);
	read_now_fails(r, 2 * MIB - 1, 2);
	read_now_fails(r, 3 * MIB, 1);
	release(&env.tier[0]);
	read_rest(r, 0, 4 * MIB, 1);
	fetch_close(r);
}

/* Who may wait for the disk alone is given what has come, and told at once of what has not. */
static void near_is_what_has_come(void **state UNUSED)
{
	struct digest d = blob_behind(0, 12 * MIB, 1);
	struct fetch_reader *r, *near = NULL;
	uint64_t size;
	struct stow_err err;

	expect_fail(fetch_open(env.fetches, &d, BACKEND_READ_NEAR, &near, &size, &err), &err,
		    STOW_UNAVAILABLE);
	assert_int_equal(env.tier[0].opens, 0);
	hold(&env.tier[0], 2 * MIB);
	r = open_reader(&d, 12 * MIB);
	read_part(r, 0, 2 * MIB, 0, 1);
	expect_ok(fetch_open(env.fetches, &d, BACKEND_READ_NEAR, &near, &size, &err), &err);
	assert_int_equal(size, 12 * MIB);
	read_part(near, MIB, MIB, BACKEND_READ_NEAR, 1);
	read_near_fails(near, 2 * MIB - 1, 2);
	read_near_fails(near, 12 * MIB - 1, 1);
	release(&env.tier[0]);
	read_rest(near, 0, 12 * MIB, 1);
	fetch_close(near);
	fetch_close(r);
}

static void the_end_is_held_back_until_the_whole_is_proven(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], 3 * MIB - 1);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, 2 * MIB, 0, 1);
	read_now_fails(r, 3 * MIB - FETCH_HELD, 1);
	release(&env.tier[0]);
	/* All bytes are there then, but the last ones are given with the proof alone. */
	read_rest(r, 2 * MIB, 3 * MIB, 1);
	assert_int_equal(count_blobs(env.fast), 1);
	fetch_close(r);
}

/* Before anybody can know that the bytes are wrong. */
static struct fetch_reader *open_early(const struct digest *d, uint64_t size)
{
	struct fetch_reader *r;

	hold(&env.tier[0], size - 1);
	r = open_reader(d, size);
	release(&env.tier[0]);
	return r;
}

static void wrong_bytes_are_never_read_to_their_end(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 3 * MIB, 1);
	struct fetch_reader *r = open_early(&d, 3 * MIB);
	struct stow_err err;
	uint64_t size;

	read_fails(r, 3 * MIB - 1, 1, STOW_DATA_LOSS);
	read_fails(r, 0, 1, STOW_DATA_LOSS);
	fetch_close(r);
	assert_true(lookup_is_bad(env.lookup, &d, 0));
	wait_for(count_stages(env.fast) == 0);
	check_no_blob(env.fast, &d);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_DATA_LOSS);
	assert_int_equal(atomic_load(&env.done), 0);
}

static void wrong_bytes_in_one_storage_leave_the_other(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 3 * MIB, 1);
	struct fetch_reader *r = open_early(&d, 3 * MIB);

	read_fails(r, 3 * MIB - 1, 1, STOW_DATA_LOSS);
	fetch_close(r);
	put_blob(env.tier[1].backend, &d, 3 * MIB, 1);
	r = open_reader(&d, 3 * MIB);
	read_rest(r, 0, 3 * MIB, 1);
	fetch_close(r);
	assert_false(lookup_is_bad(env.lookup, &d, 1));
}

static void read_one(void *arg, int i)
{
	const struct digest *d = arg;
	CLEANUP(freep) uint8_t *to = x_malloc(MIB);
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t size;
	size_t got;

	if (fetch_open(env.fetches, d, 0, &r, &size, &err) < 0) {
		thread_check(err.code == STOW_OK);
		return;
	}
	for (uint64_t off = (uint64_t)i * 1000; off < size; off += got) {
		if (fetch_read(r, to, MIB, off, 0, &got, &err) < 0) {
			thread_check(err.code == STOW_ALREADY_EXISTS);
			break;
		}
		thread_check(same(to, got, off, 1));
	}
	fetch_close(r);
}

static void any_number_of_readers_cost_one_transfer(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB, 1);

	run_threads(12, read_one, &d);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, 8 * MIB, 1);
	assert_int_equal(env.tier[0].bytes, 8 * MIB);
}

static void who_reads_far_ahead_is_served_from_behind(void **state UNUSED)
{
	struct digest d = blob_behind(0, 20 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], MIB);
	r = open_reader(&d, 20 * MIB);
	read_part(r, 16 * MIB, MIB, 0, 1);
	read_part(r, 12 * MIB, 1000, BACKEND_READ_NOWAIT, 1);
	/* Not the end of it, though. */
	read_now_fails(r, 20 * MIB - 1, 1);
	release(&env.tier[0]);
	read_rest(r, 16 * MIB, 20 * MIB, 1);
	fetch_close(r);
}

static void a_broken_connection_costs_no_byte_twice(void **state UNUSED)
{
	struct digest d = blob_behind(0, 6 * MIB, 1);
	struct fetch_reader *r;

	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 4);
	r = open_reader(&d, 6 * MIB);
	read_rest(r, 0, 6 * MIB, 1);
	fetch_close(r);
	assert_int_equal(env.tier[0].bytes, 6 * MIB);
}

static void another_storage_finishes_what_one_began(void **state UNUSED)
{
	struct digest d = blob_behind(0, 6 * MIB, 1);
	struct fetch_reader *r;

	put_blob(env.tier[1].backend, &d, 6 * MIB, 1);
	hold(&env.tier[0], 3 * MIB);
	r = open_reader(&d, 6 * MIB);
	read_part(r, 0, 3 * MIB, 0, 1);
	atomic_store(&env.tier[0].plan.forever, true);
	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	atomic_store(&env.tier[0].plan.after[FAULT_OPEN], 1);
	release(&env.tier[0]);
	read_rest(r, 3 * MIB, 6 * MIB, 1);
	fetch_close(r);
	assert_int_equal(env.tier[1].bytes, 3 * MIB);
}

/* The first half is wrong in one, the second comes from another: nobody knows whose fault it is. */
static void what_is_wrong_in_several_parts_is_held_against_nobody(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 6 * MIB, 1);
	struct fetch_reader *r;

	put_blob(env.tier[1].backend, &d, 6 * MIB, 1);
	hold(&env.tier[0], 3 * MIB);
	r = open_reader(&d, 6 * MIB);
	wait_for(env.tier[0].bytes == 3 * MIB);
	atomic_store(&env.tier[0].plan.forever, true);
	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	atomic_store(&env.tier[0].plan.after[FAULT_OPEN], 1);
	release(&env.tier[0]);
	read_fails(r, 6 * MIB - 1, 1, STOW_UNAVAILABLE);
	fetch_close(r);
	assert_false(lookup_is_bad(env.lookup, &d, 0));
	assert_false(lookup_is_bad(env.lookup, &d, 1));
	r = open_reader(&d, 6 * MIB);
	read_rest(r, 0, 6 * MIB, 1);
	fetch_close(r);
	check_blob(env.fast, &d, 6 * MIB, 1);
}

static void nobody_has_it(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t size;

	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_NOT_FOUND);
	/* One who cannot be asked may have it. */
	atomic_store(&env.tier[1].plan.code, STOW_PERMISSION_DENIED);
	atomic_store(&env.tier[1].plan.after[FAULT_OPEN], 1);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_UNAVAILABLE);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_NOT_FOUND);
	assert_false(fetch_is_coming(env.fetches, &d));
}

static void nobody_can_be_asked(void **state UNUSED)
{
	struct digest d = blob_behind(0, MIB, 1);
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t size;

	tier_goes_away(0);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_UNAVAILABLE);
	assert_int_equal(env.tier[0].opens, 0);
}

static void a_reader_is_told_when_nothing_comes(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	env.fetches->patience_ns = 50 * NSEC_PER_MSEC;
	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_fails(r, 2 * MIB, 1, STOW_UNAVAILABLE);
	release(&env.tier[0]);
	fetch_close(r);
}

static void read_or_let_go(void *arg, int i)
{
	const struct timespec longer = { .tv_nsec = 150000000 };
	struct stow_err err;
	uint8_t byte;
	size_t got;

	if (i == 0) {
		thread_check(fetch_read(arg, &byte, 1, MIB - 1, 0, &got, &err) == 0);
		return;
	}
	(void)nanosleep(&longer, NULL);
	atomic_store(&env.plan.hang, false);
}

/* It is the storages behind that a reader has no patience with. */
static void our_own_disk_may_take_its_time(void **state UNUSED)
{
	struct digest d = blob_behind(0, MIB, 1);
	struct fetch_reader *r;

	env.fetches->patience_ns = 50 * NSEC_PER_MSEC;
	atomic_store(&env.plan.hang, true);
	atomic_store(&env.plan.after[FAULT_STAGE_PUBLISH], 1);
	r = open_reader(&d, MIB);
	run_threads(2, read_or_let_go, r);
	fetch_close(r);
}

static void what_is_gone_behind_is_not_found(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;
	struct stow_err err;

	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, MIB, 0, 1);
	expect_ok(backend_remove(env.tier[0].backend, &d, &err), &err);
	atomic_store(&env.tier[0].plan.code, STOW_NOT_FOUND);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	release(&env.tier[0]);
	read_fails(r, 3 * MIB - 1, 1, STOW_NOT_FOUND);
	fetch_close(r);
	wait_for(count_stages(env.fast) == 0);
}

static void a_blob_that_is_here_already_is_not_fetched(void **state UNUSED)
{
	struct digest d = blob_behind(0, MIB, 1);
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t size;

	put_blob(env.fast, &d, MIB, 1);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_ALREADY_EXISTS);
	assert_int_equal(env.tier[0].opens, 0);
}

static void a_removed_blob_does_not_come(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, MIB, 0, 1);
	fetch_cancel(env.fetches, &d); /* although the storage does not answer */
	assert_int_equal(count_stages(env.fast), 0);
	assert_false(fetch_is_coming(env.fetches, &d));
	read_fails(r, 0, 1, STOW_NOT_FOUND);
	fetch_close(r);
	/* The next one has nothing to do with it, even while the first still waits for its bytes. */
	fetch_prefetch(env.fetches, &d);
	release(&env.tier[0]);
	fetches_start(env.fetches, env.meta);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, 3 * MIB, 1);
	assert_int_equal(count_stages(env.fast), 0);
}

static void a_fetch_goes_on_without_readers(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, MIB, 0, 1);
	fetch_close(r);
	release(&env.tier[0]);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, 3 * MIB, 1);
}

static void without_prefetching_it_ends_and_keeps_what_it_has(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	again(0);
	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, MIB, 0, 1);
	fetch_close(r);
	release(&env.tier[0]);
	wait_for(!fetch_is_coming(env.fetches, &d));
	assert_int_equal(count_stages(env.fast), 1);
	check_no_blob(env.fast, &d);
	env.tier[0].bytes = 0;
	r = open_reader(&d, 3 * MIB);
	read_rest(r, 0, 3 * MIB, 1);
	fetch_close(r);
	assert_true(env.tier[0].bytes <= 2 * MIB);
}

static void waits(void *arg, int i)
{
	struct fetch_reader *r = arg;
	struct stow_err err;
	uint8_t byte;
	size_t got;

	if (i == 0) {
		thread_check(fetch_read(r, &byte, 1, 2 * MIB, 0, &got, &err) < 0);
		thread_check(err.code == STOW_UNAVAILABLE);
		return;
	}
	while (!has_waiting(r))
		sched_yield();
	stop_all();
}

static void stopping_ends_what_is_under_way(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r, *other;
	struct stow_err err;
	uint64_t size;

	hold(&env.tier[0], MIB);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 0, MIB, 0, 1);
	run_threads(2, waits, r);
	expect_fail(fetch_open(env.fetches, &d, 0, &other, &size, &err), &err, STOW_UNAVAILABLE);
	fetch_close(r);
	assert_int_equal(count_stages(env.fast), 1);
}

static void come_and_go(void *arg, int i)
{
	const struct digest *d = arg;
	uint8_t to[1000];

	for (unsigned k = 0; k < 200; k++) {
		const struct digest *mine = &d[(unsigned)(i * 7 + (int)k) % 5];
		struct fetch_reader *r;
		struct stow_err err;
		uint64_t size;
		size_t got;

		if (k % 9 == 8)
			fetch_cancel(env.fetches, mine);
		if (k % 13 == 12)
			(void)!backend_remove(env.fast, mine, &err);
		if (k % 5 == 4)
			fetch_prefetch(env.fetches, mine);
		if (fetch_open(env.fetches, mine, 0, &r, &size, &err) < 0) {
			thread_check(err.code == STOW_NOT_FOUND || err.code == STOW_ALREADY_EXISTS);
			continue;
		}
		if (fetch_read(r, to, sizeof(to), (k * 37777) % size, k % 2, &got, &err) == 0)
			thread_check(same(to, got, (k * 37777) % size, (unsigned)(mine - d)));
		else
			thread_check(err.code == STOW_ALREADY_EXISTS || err.code == STOW_NOT_FOUND ||
				     err.code == STOW_UNAVAILABLE);
		fetch_close(r);
	}
}

static void readers_come_and_go(void **state UNUSED)
{
	struct digest d[5];

	for (unsigned i = 0; i < 5; i++)
		d[i] = blob_behind(0, MIB + 1000 * i, i);
	fetches_start(env.fetches, env.meta);
	run_threads(8, come_and_go, d);
	for (unsigned i = 0; i < 5; i++) {
		fetch_prefetch(env.fetches, &d[i]);
		wait_for(!fetch_is_coming(env.fetches, &d[i]));
		check_blob(env.fast, &d[i], MIB + 1000 * i, i);
	}
	assert_int_equal(count_stages(env.fast), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fetch_env_setup, fetch_env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_blob_comes_and_is_here),
		CASE(blobs_of_any_size_come),
		CASE(bytes_are_given_as_they_come),
		CASE(near_is_what_has_come),
		CASE(the_end_is_held_back_until_the_whole_is_proven),
		CASE(wrong_bytes_are_never_read_to_their_end),
		CASE(wrong_bytes_in_one_storage_leave_the_other),
		CASE(any_number_of_readers_cost_one_transfer),
		CASE(who_reads_far_ahead_is_served_from_behind),
		CASE(a_broken_connection_costs_no_byte_twice),
		CASE(another_storage_finishes_what_one_began),
		CASE(what_is_wrong_in_several_parts_is_held_against_nobody),
		CASE(nobody_has_it),
		CASE(nobody_can_be_asked),
		CASE(a_reader_is_told_when_nothing_comes),
		CASE(our_own_disk_may_take_its_time),
		CASE(what_is_gone_behind_is_not_found),
		CASE(a_blob_that_is_here_already_is_not_fetched),
		CASE(a_removed_blob_does_not_come),
		CASE(a_fetch_goes_on_without_readers),
		CASE(without_prefetching_it_ends_and_keeps_what_it_has),
		CASE(stopping_ends_what_is_under_way),
		CASE(readers_come_and_go),
	};

	return cmocka_run_group_tests_name("tiered_fetch", tests, NULL, NULL);
}
