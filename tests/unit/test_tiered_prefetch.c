/* What comes from behind before anybody reads it, what cannot stay here, and what a restart finds. */
#include "tests/unit/fetch_env.h"

#include <stdio.h>

/* --- ahead of readers --- */

static void a_thousand_wishes_are_fulfilled_a_few_at_a_time(void **state UNUSED)
{
	enum { N = 1000, SIZE = 3000 };
	CLEANUP(freep) struct digest *d = x_calloc(N, sizeof(*d));

	for (unsigned i = 0; i < N; i++) {
		d[i] = blob_digest(DIGEST_SHA256, SIZE, i);
		put_blob(env.tier[0].backend, &d[i], SIZE, i);
		fetch_prefetch(env.fetches, &d[i]);
	}
	assert_true(fetch_is_coming(env.fetches, &d[0]));
	assert_int_equal(env.tier[0].opens, 0); /* not before the start */
	fetches_start(env.fetches, env.meta);
	wait_for(atomic_load(&env.done) == N);
	for (unsigned i = 0; i < N; i++)
		check_blob(env.fast, &d[i], SIZE, i);
	assert_int_equal(env.tier[0].bytes, (uint64_t)N * SIZE);
	assert_in_range(env.tier[0].most, 1, FETCH_ENV_PREFETCH);
}

static void a_reader_does_not_wait_for_prefetches(void **state UNUSED)
{
	struct digest first[FETCH_ENV_PREFETCH + 1], read = blob_behind(1, 2 * MIB, 20);
	struct fetch_reader *r;

	hold(&env.tier[0], 0); /* all of them */
	for (unsigned i = 0; i < FETCH_ENV_PREFETCH + 1; i++) {
		first[i] = blob_behind(0, MIB, i);
		fetch_prefetch(env.fetches, &first[i]);
	}
	fetches_start(env.fetches, env.meta);
	wait_for(env.tier[0].now == FETCH_ENV_PREFETCH);
	r = open_reader(&read, 2 * MIB);
	read_rest(r, 0, 2 * MIB, 20);
	fetch_close(r);
	assert_int_equal(env.tier[0].now, FETCH_ENV_PREFETCH);
	release(&env.tier[0]);
	for (unsigned i = 0; i < FETCH_ENV_PREFETCH + 1; i++)
		wait_for(!fetch_is_coming(env.fetches, &first[i]));
}

struct queue_up {
	struct digest first, last;
	struct fetch_reader *r; /* of `first` */
};

static bool is_waited_for(const struct digest *d)
{
	LOCK_SCOPE(&env.fetches->lock);
	const struct fetch *f = fetch_find_locked(env.fetches, d);

	return f != NULL && f->waiting > 0;
}

/* One takes the last thread away while it is opened, the other one waits then. */
static void open_or_read(void *arg, int i)
{
	struct queue_up *q = arg;
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t size;
	uint8_t byte;
	size_t got;

	if (i == 0) {
		if (fetch_open(env.fetches, &q->last, 0, &r, &size, &err) == 0)
			fetch_close(r);
		return;
	}
	while (!is_waited_for(&q->last))
		sched_yield();
	env.fetches->patience_ns = 50 * NSEC_PER_MSEC;
	release(&env.tier[0]);
	thread_check(fetch_read(q->r, &byte, 1, 20 * MIB - 1, 0, &got, &err) < 0);
	thread_check(err.code == STOW_UNAVAILABLE);
	atomic_store(&env.tier[1].plan.hang, false);
	release(&env.tier[1]);
}

/* It is the other storage that has all threads. */
static void who_waits_for_a_turn_says_nothing_of_his_storage(void **state UNUSED)
{
	struct queue_up q = { .first = blob_behind(0, 20 * MIB, 1), .last = blob_behind(1, MIB, 2) };
	struct fetch_reader *r[FETCH_READ_THREADS - 1];
	struct digest d;

	again(0);
	hold(&env.tier[0], 0);
	hold(&env.tier[1], 0);
	q.r = open_reader(&q.first, 20 * MIB);
	wait_for(env.tier[0].now == 1);
	for (unsigned i = 0; i < FETCH_READ_THREADS - 1; i++) {
		d = blob_behind(1, MIB, 3 + i);
		r[i] = open_reader(&d, MIB);
		wait_for(env.tier[1].now == i + 1);
	}
	atomic_store(&env.tier[1].plan.hang, true);
	atomic_store(&env.tier[1].plan.after[FAULT_OPEN], 1);
	run_threads(2, open_or_read, &q);
	assert_true(tier_trusted(&env.tiers.v[0]));
	for (unsigned i = 0; i < FETCH_READ_THREADS - 1; i++)
		fetch_close(r[i]);
	fetch_close(q.r);
}

/* A wish that has not had its turn has it at once when somebody reads. */
static void a_wish_with_a_reader_comes_first(void **state UNUSED)
{
	struct digest held[FETCH_ENV_PREFETCH], late = blob_behind(1, MIB, 20);
	struct fetch_reader *r;

	hold(&env.tier[0], 0);
	for (unsigned i = 0; i < FETCH_ENV_PREFETCH; i++) {
		held[i] = blob_behind(0, MIB, i);
		fetch_prefetch(env.fetches, &held[i]);
	}
	fetches_start(env.fetches, env.meta);
	wait_for(env.tier[0].now == FETCH_ENV_PREFETCH);
	fetch_prefetch(env.fetches, &late);
	r = open_reader(&late, MIB);
	read_rest(r, 0, MIB, 20);
	fetch_close(r);
}

static void a_blob_that_is_here_is_not_brought(void **state UNUSED)
{
	struct digest d = blob_behind(0, MIB, 1);

	put_blob(env.fast, &d, MIB, 1);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	wait_for(!fetch_is_coming(env.fetches, &d));
	assert_int_equal(env.tier[0].opens, 0);
	assert_int_equal(atomic_load(&env.done), 0);
}

static void prefetching_waits_for_the_storages(void **state UNUSED)
{
	struct digest d = blob_behind(1, MIB, 1);

	tier_goes_away(0);
	tier_goes_away(1);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	tiers_start(&env.tiers);
	assert_true(fetch_is_coming(env.fetches, &d));
	assert_int_equal(env.tier[1].opens, 0);
	tier_probe(&env.tiers.v[1]);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, MIB, 1);
	tiers_stop(&env.tiers);
}

static void a_prefetch_that_breaks_is_tried_again(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);

	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 2);
	atomic_store(&env.tier[0].plan.after[FAULT_OPEN], 2);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	wait_for(!fetch_is_coming(env.fetches, &d));
	check_blob(env.fast, &d, 3 * MIB, 1);
	assert_int_equal(env.tier[0].bytes, 3 * MIB);
}

static void the_children_of_a_manifest_are_looked_up(void **state UNUSED)
{
	struct digest config = blob_behind(0, 100, 1), layer = blob_behind(1, 200, 2), d;
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	CLEANUP(stage_closep) struct stage *st = NULL;
	char config_text[DIGEST_STR_MAX], layer_text[DIGEST_STR_MAX], text[1000];
	struct stage_name name = new_name();
	struct blob_stat seen;
	struct stow_err err;
	size_t at;
	int n;

	digest_format(&config, config_text);
	digest_format(&layer, layer_text);
	n = snprintf(text, sizeof(text),
		     "{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\",\"size\":100},"
		     "\"layers\":[{\"digest\":\"%s\",\"size\":200}]}",
		     config_text, layer_text);
	hash_update(h, text, (size_t)n);
	hash_digest(h, &d);
	expect_ok(backend_stage_create(env.tier[0].backend, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, text, (size_t)n, 0, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	wait_for(lookup_known(env.lookup, &config, &seen, &at, &err) == 0);
	assert_int_equal(at, 0);
	wait_for(lookup_known(env.lookup, &layer, &seen, &at, &err) == 0);
	assert_int_equal(at, 1);
	assert_int_equal(seen.size, 200);
	check_no_blob(env.fast, &layer); /* looked up, not brought */
}

/* --- what cannot stay here --- */

static void without_room_it_streams(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fleet_status st = { 0 };
	struct fetch_reader *r;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	r = open_reader(&d, 3 * MIB);
	read_rest(r, 0, 3 * MIB, 1);
	assert_int_equal(count_stages(env.fast), 0);
	check_no_blob(env.fast, &d);
	/* Read in order, it was hashed as it passed: nothing but its end was read twice. */
	assert_in_range(env.tier[0].bytes, 3 * MIB, 3 * MIB + 300000);
	/* Nothing is under way, though it is open still. */
	assert_true(fetch_is_coming(env.fetches, &d));
	fetch_status(env.fetches, &st);
	assert_int_equal(st.fetching, 0);
	fetch_close(r);
	wait_for(!fetch_is_coming(env.fetches, &d));
}

static void the_end_of_a_stream_is_proven_first(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	r = open_reader(&d, 3 * MIB);
	read_part(r, 2 * MIB, 1000, 0, 1);
	assert_int_equal(env.tier[0].bytes, 1000);
	read_part(r, 3 * MIB - 1000, 1000, 0, 1);
	assert_int_equal(env.tier[0].bytes, 3 * MIB + 2000);
	read_part(r, 3 * MIB - 1000, 1000, 0, 1); /* once */
	assert_int_equal(env.tier[0].bytes, 3 * MIB + 3000);
	fetch_close(r);
}

static void wrong_bytes_do_not_stream_to_their_end(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;
	CLEANUP(freep) uint8_t *to = x_malloc(MIB);
	struct stow_err err;
	size_t got;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	r = open_reader(&d, 3 * MIB);
	expect_ok(fetch_read(r, to, MIB, 0, 0, &got, &err), &err);
	expect_ok(fetch_read(r, to, MIB, MIB, 0, &got, &err), &err);
	read_fails(r, 2 * MIB, MIB, STOW_DATA_LOSS);
	fetch_close(r);
	assert_true(lookup_is_bad(env.lookup, &d, 0));
}

static void a_broken_stream_goes_on(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	struct fetch_reader *r;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 3);
	r = open_reader(&d, 3 * MIB);
	read_rest(r, 0, 3 * MIB, 1);
	fetch_close(r);
}

static void a_disk_that_fills_up_ends_no_read(void **state UNUSED)
{
	struct digest d = blob_behind(0, 4 * MIB, 1);
	struct fetch_reader *r;

	atomic_store(&env.plan.code, STOW_RESOURCE_EXHAUSTED);
	atomic_store(&env.plan.after[FAULT_STAGE_WRITE], 3);
	r = open_reader(&d, 4 * MIB);
	read_rest(r, 0, 4 * MIB, 1);
	assert_int_equal(count_stages(env.fast), 0);
	check_no_blob(env.fast, &d);
	fetch_close(r);
}

static void a_blob_that_cannot_be_published_is_read_all_the_same(void **state UNUSED)
{
	struct digest d = blob_behind(0, 2 * MIB, 1);
	struct fetch_reader *r;

	atomic_store(&env.plan.after[FAULT_STAGE_PUBLISH], 1);
	r = open_reader(&d, 2 * MIB);
	read_rest(r, 0, 2 * MIB, 1);
	assert_int_equal(count_stages(env.fast), 0);
	fetch_close(r);
}

static void a_prefetch_without_room_ends(void **state UNUSED)
{
	struct digest d = blob_behind(0, 2 * MIB, 1);

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	fetch_prefetch(env.fetches, &d);
	fetches_start(env.fetches, env.meta);
	wait_for(!fetch_is_coming(env.fetches, &d));
	assert_int_equal(env.tier[0].bytes, 0);
	check_no_blob(env.fast, &d);
}

/* --- after a restart --- */

/* A fetch has brought `n` bytes when the process ends. */
static void end_with(const struct digest *d, uint64_t size, uint64_t n)
{
	struct fetch_reader *r;

	hold(&env.tier[0], n);
	r = open_reader(d, size);
	read_part(r, n - MIB, MIB, 0, 1);
	lookup_stop(env.lookup);
	atomic_store(&env.tier[0].plan.forever, true);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1); /* as tiers_stop() would have it */
	release(&env.tier[0]);
	fetches_stop(env.fetches);
	cache_stop(env.cache);
	env.stopped = true;
	fetch_close(r);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 0);
	env.tier[0].bytes = 0;
	assert_int_equal(count_stages(env.fast), 1);
}

static void what_has_come_is_not_fetched_again(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB + 5, 1);
	struct fetch_reader *r;

	end_with(&d, 8 * MIB + 5, 5 * MIB);
	again(FETCH_ENV_PREFETCH);
	r = open_reader(&d, 8 * MIB + 5);
	read_rest(r, 0, 8 * MIB + 5, 1);
	fetch_close(r);
	assert_int_equal(env.tier[0].bytes, 3 * MIB + 5);
}

static void what_is_in_the_view_comes_by_itself(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB, 1);
	struct blob_info info = { .digest = d, .size = 8 * MIB };
	struct stow_err err;

	fetches_start(env.fetches, env.meta); /* which the stage's name depends on */
	end_with(&d, 8 * MIB, 5 * MIB);
	expect_ok(meta_blobs_adopt(env.meta, &info, 1, true, &err), &err);
	again(FETCH_ENV_PREFETCH);
	fetches_start(env.fetches, env.meta);
	wait_for(atomic_load(&env.done) == 1);
	check_blob(env.fast, &d, 8 * MIB, 1);
	assert_int_equal(env.tier[0].bytes, 3 * MIB);
}

static void what_nobody_wants_goes(void **state UNUSED)
{
	struct digest d = blob_behind(0, 8 * MIB, 1);
	struct stage_name other = new_name();
	struct stage *st;
	struct stow_err err;

	end_with(&d, 8 * MIB, 2 * MIB);
	expect_ok(backend_stage_create(env.fast, other.s, NULL, &st, &err), &err);
	stage_close(st); /* the store's: none of our business */
	again(FETCH_ENV_PREFETCH);
	fetches_start(env.fetches, env.meta);
	wait_for(count_stages(env.fast) == 1);
	expect_ok(backend_stage_discard(env.fast, other.s, &err), &err);
	assert_int_equal(env.tier[0].bytes, 0);
}

/* Bytes that a power loss has bent are nobody's fault, and are not read to the end. */
static void bent_bytes_of_an_earlier_process_are_fetched_again(void **state UNUSED)
{
	struct digest d = blob_behind(0, 3 * MIB, 1);
	CLEANUP(freep) uint8_t *wrong = x_calloc(1, MIB);
	char name[STAGE_NAME_LEN + 1];
	struct fetch_reader *r;
	struct stage *st;
	struct stow_err err;

	fetch_stage_name(env.fetches, &d, name);
	expect_ok(backend_stage_create(env.fast, name, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, wrong, MIB, 0, &err), &err);
	stage_close(st);
	hold(&env.tier[0], 2 * MIB);
	r = open_reader(&d, 3 * MIB);
	release(&env.tier[0]);
	read_fails(r, 3 * MIB - 1, 1, STOW_UNAVAILABLE);
	fetch_close(r);
	assert_false(lookup_is_bad(env.lookup, &d, 0));
	r = open_reader(&d, 3 * MIB);
	read_rest(r, 0, 3 * MIB, 1);
	fetch_close(r);
	check_blob(env.fast, &d, 3 * MIB, 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fetch_env_setup, fetch_env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_thousand_wishes_are_fulfilled_a_few_at_a_time),
		CASE(a_reader_does_not_wait_for_prefetches),
		CASE(who_waits_for_a_turn_says_nothing_of_his_storage),
		CASE(a_wish_with_a_reader_comes_first),
		CASE(a_blob_that_is_here_is_not_brought),
		CASE(prefetching_waits_for_the_storages),
		CASE(a_prefetch_that_breaks_is_tried_again),
		CASE(the_children_of_a_manifest_are_looked_up),
		CASE(without_room_it_streams),
		CASE(the_end_of_a_stream_is_proven_first),
		CASE(wrong_bytes_do_not_stream_to_their_end),
		CASE(a_broken_stream_goes_on),
		CASE(a_disk_that_fills_up_ends_no_read),
		CASE(a_blob_that_cannot_be_published_is_read_all_the_same),
		CASE(a_prefetch_without_room_ends),
		CASE(what_has_come_is_not_fetched_again),
		CASE(what_is_in_the_view_comes_by_itself),
		CASE(what_nobody_wants_goes),
		CASE(bent_bytes_of_an_earlier_process_are_fetched_again),
	};

	return cmocka_run_group_tests_name("tiered_prefetch", tests, NULL, NULL);
}
