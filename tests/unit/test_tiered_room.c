/* What of the fetches counts in the cache, and what of theirs makes way. */
#include "backends/tiered/cache_internal.h"
#include "tests/unit/fetch_env.h"

/* What counts of the fetches: promised, or there. */
static uint64_t promised(void)
{
	struct cache *c = env.cache;
	LOCK_SCOPE(&c->lock);

	return c->promised;
}

static uint64_t here(void)
{
	struct fleet_status st = { 0 };

	cache_status(env.cache, &st);
	return st.cache_bytes;
}

static void what_is_coming_has_its_room(void **state UNUSED)
{
	struct digest d = blob_behind(0, 5 * MIB, 1), other = blob_behind(1, 5 * MIB, 2);
	struct fetch_reader *r, *q;

	again_with_room(8 * MIB, FETCH_ENV_PREFETCH);
	hold(&env.tier[0], 2 * MIB);
	r = open_reader(&d, 5 * MIB);
	read_part(r, MIB, MIB, 0, 1);
	assert_int_equal(promised(), 5 * MIB);
	assert_int_equal(here(), 2 * MIB);
	q = open_reader(&other, 5 * MIB); /* so there is none for this one */
	read_rest(q, 0, 5 * MIB, 2);
	check_no_blob(env.fast, &other);
	assert_int_equal(promised(), 5 * MIB);
	fetch_close(q);
	release(&env.tier[0]);
	read_rest(r, 0, 5 * MIB, 1);
	fetch_close(r);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, 5 * MIB, 1);
	assert_int_equal(promised(), 0);
	assert_int_equal(here(), 5 * MIB);
}

/* However it ends: it cannot be written, it is wrong, it is removed. */
static void the_room_of_what_does_not_come_is_given_back(void **state UNUSED)
{
	struct digest full = blob_behind(0, 4 * MIB, 1), wrong = wrong_behind(0, 4 * MIB, 2);
	struct digest removed = blob_behind(1, 4 * MIB, 3);
	struct fetch_reader *r;

	atomic_store(&env.plan.code, STOW_RESOURCE_EXHAUSTED);
	atomic_store(&env.plan.after[FAULT_STAGE_WRITE], 3);
	r = open_reader(&full, 4 * MIB);
	read_rest(r, 0, 4 * MIB, 1);
	wait_for(promised() == 0);
	fetch_close(r);
	hold(&env.tier[0], 3 * MIB);
	r = open_reader(&wrong, 4 * MIB);
	release(&env.tier[0]);
	read_fails(r, 4 * MIB - 1, 1, STOW_DATA_LOSS);
	fetch_close(r);
	wait_for(promised() == 0);
	hold(&env.tier[1], 2 * MIB);
	r = open_reader(&removed, 4 * MIB);
	read_part(r, 0, MIB, 0, 3);
	assert_int_equal(promised(), 4 * MIB);
	fetch_cancel(env.fetches, &removed);
	assert_int_equal(promised(), 0);
	release(&env.tier[1]);
	fetch_close(r);
	assert_int_equal(here(), 0);
}

/* A fetch that is broken off leaves `n` bytes. */
static struct digest break_off(uint64_t size, uint64_t n, unsigned seed)
{
	struct digest d = blob_behind(0, size, seed);
	struct fetch_reader *r;

	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], (int)(n / MIB) + 1);
	r = open_reader(&d, size);
	read_part(r, n - MIB, MIB, 0, seed);
	wait_for(atomic_load(&env.tier[0].plan.after[FAULT_PREAD]) == 0);
	fetch_close(r);
	wait_for(!fetch_is_coming(env.fetches, &d));
	return d;
}

static void what_is_kept_counts_with_what_it_has(void **state UNUSED)
{
	struct digest d;
	struct fetch_reader *r;

	again(0);
	d = break_off(8 * MIB, 3 * MIB, 1);
	assert_int_equal(promised(), 3 * MIB);
	assert_int_equal(count_stages(env.fast), 1);
	hold(&env.tier[0], 5 * MIB);
	r = open_reader(&d, 8 * MIB);
	read_part(r, 4 * MIB, MIB, 0, 1);
	assert_int_equal(promised(), 8 * MIB);
	assert_int_equal(here(), 5 * MIB);
	release(&env.tier[0]);
	read_rest(r, 5 * MIB, 8 * MIB, 1);
	fetch_close(r);
	wait_for(promised() == 0);
	d = break_off(8 * MIB, 2 * MIB, 2);
	assert_int_equal(promised(), 2 * MIB);
	fetch_cancel(env.fetches, &d);
	assert_int_equal(promised(), 0);
	assert_int_equal(count_stages(env.fast), 0);
}

/* An attempt that does not come so far that it needs them is no reason to throw bytes away. */
static void what_is_kept_survives_a_storage_that_is_away(void **state UNUSED)
{
	struct fetch_reader *r;
	struct stow_err err;
	struct digest d;
	uint64_t size;

	again(0);
	d = break_off(8 * MIB, 3 * MIB, 1);
	env.tier[0].bytes = 0;
	atomic_store(&env.tier[0].plan.after[FAULT_OPEN], 1);
	expect_fail(fetch_open(env.fetches, &d, 0, &r, &size, &err), &err, STOW_UNAVAILABLE);
	wait_for(!fetch_is_coming(env.fetches, &d));
	assert_int_equal(count_stages(env.fast), 1);
	r = open_reader(&d, 8 * MIB);
	read_rest(r, 0, 8 * MIB, 1);
	fetch_close(r);
	assert_int_equal(env.tier[0].bytes, 5 * MIB);
}

static void what_is_kept_makes_way(void **state UNUSED)
{
	struct digest d, other = blob_behind(1, 4 * MIB, 3);
	struct fetch_reader *r;

	again_with_room(9 * MIB, 0);
	cache_start(env.cache, env.meta);
	(void)break_off(8 * MIB, 3 * MIB, 1);
	d = break_off(8 * MIB, 1 * MIB, 2); /* only the first one is in its way */
	assert_int_equal(count_stages(env.fast), 1);
	assert_int_equal(promised(), MIB);
	r = open_reader(&other, 4 * MIB);
	read_rest(r, 0, 4 * MIB, 3);
	fetch_close(r);
	check_blob(env.fast, &other, 4 * MIB, 3);
	assert_int_equal(count_stages(env.fast), 1);
	assert_int_equal(fetches_drop_kept(env.fetches, 1), MIB);
	assert_int_equal(fetches_drop_kept(env.fetches, 1), 0);
	assert_int_equal(count_stages(env.fast), 0);
	assert_false(fetch_is_coming(env.fetches, &d));
}

static void set_busy(bool busy)
{
	LOCK_SCOPE(&env.fetches->lock);
	env.fetches->kept->busy = busy;
	pthread_cond_broadcast(&env.fetches->kept_change);
}

/* Not while somebody is at it, as at the start: a fetch may wait for it, too, and has it next. */
static void what_is_kept_stays_while_somebody_is_at_it(void **state UNUSED)
{
	struct fetch_reader *r;
	struct digest d;

	again(0);
	d = break_off(8 * MIB, 3 * MIB, 1);
	env.tier[0].bytes = 0;
	set_busy(true);
	r = open_reader(&d, 8 * MIB);
	assert_int_equal(fetches_drop_kept(env.fetches, 1), 0);
	set_busy(false);
	read_rest(r, 0, 8 * MIB, 1);
	fetch_close(r);
	assert_int_equal(env.tier[0].bytes, 5 * MIB);
}

/* A prefetch that nobody reads has its room while it goes on, but not while its storage is away. */
static void what_is_broken_without_a_reader_makes_way(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB, 1);
	uint64_t dropped = 0;

	hold(&env.tier[0], 3 * MIB);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	wait_for(here() == 3 * MIB);
	assert_int_equal(fetches_drop_kept(env.fetches, 1), 0);
	tier_goes_away(0);
	tier_goes_away(1);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	release(&env.tier[0]);
	wait_for((dropped += fetches_drop_kept(env.fetches, 1)) > 0);
	wait_for(!fetch_is_coming(env.fetches, &d));
	assert_int_equal(promised(), 0);
	assert_int_equal(count_stages(env.fast), 0);
}

/* Also where nothing is prefetched, and it waits for a reader. */
static void what_an_earlier_process_has_kept_counts(void **state UNUSED)
{
	struct blob_info info = { .size = 8 * MIB };
	struct stow_err err;

	again(0);
	fetches_start(env.fetches, env.meta); /* which the stage's name depends on */
	info.digest = break_off(8 * MIB, 5 * MIB, 1);
	expect_ok(meta_blobs_adopt(env.meta, &info, 1, true, &err), &err);
	again(0);
	fetches_start(env.fetches, env.meta);
	wait_for(here() == 5 * MIB);
	assert_int_equal(fetches_drop_kept(env.fetches, 1), 5 * MIB);
	assert_int_equal(here(), 0);
	assert_int_equal(count_stages(env.fast), 0);
}

static void an_empty_stage_is_not_kept(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB, 1);
	struct blob_info info = { .digest = d, .size = 8 * MIB };
	char name[STAGE_NAME_LEN + 1];
	struct stow_err err;
	struct stage *st;

	again(0);
	fetches_start(env.fetches, env.meta);
	fetch_stage_name(env.fetches, &d, name);
	expect_ok(backend_stage_create(env.fast, name, NULL, &st, &err), &err);
	stage_close(st);
	expect_ok(meta_blobs_adopt(env.meta, &info, 1, true, &err), &err);
	again(0);
	fetches_start(env.fetches, env.meta);
	wait_for(count_stages(env.fast) == 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fetch_env_setup, fetch_env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_coming_has_its_room),
		CASE(the_room_of_what_does_not_come_is_given_back),
		CASE(what_is_kept_counts_with_what_it_has),
		CASE(what_is_kept_survives_a_storage_that_is_away),
		CASE(what_is_kept_makes_way),
		CASE(what_is_kept_stays_while_somebody_is_at_it),
		CASE(what_is_broken_without_a_reader_makes_way),
		CASE(what_an_earlier_process_has_kept_counts),
		CASE(an_empty_stage_is_not_kept),
	};

	return cmocka_run_group_tests_name("tiered_room", tests, NULL, NULL);
}
