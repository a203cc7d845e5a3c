/* Bytes of two objects that have one name: nobody gets some of each, proven by a hash of others. */
#include "tests/unit/fetch_env.h"

enum { AT = 16 }; /* MiB, far ahead of the fetch */

/* The object behind is replaced by one with the right bytes, and what reads it breaks. */
static void replace(const struct digest *d, size_t n, unsigned seed)
{
	struct stow_err err;

	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	expect_ok(backend_remove(env.tier[0].backend, d, &err), &err);
	put_blob(env.tier[0].backend, d, n, seed);
}

/* Nothing is proven yet: it may be wrong. */
static void read_unproven(struct fetch_reader *r, uint64_t off, size_t n)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n);
	struct stow_err err;
	size_t got;

	expect_ok(fetch_read(r, to, n, off, 0, &got, &err), &err);
	assert_int_equal(got, n);
}

/* Reads in order until that fails, which it must. */
static void read_in_vain(struct fetch_reader *r, uint64_t off, uint64_t size)
{
	CLEANUP(freep) uint8_t *to = x_malloc(MIB);
	struct stow_err err = { 0 };
	size_t got;

	while (off < size && fetch_read(r, to, MIB, off, 0, &got, &err) == 0)
		off += got;
	assert_true(off < size);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
}

static void a_stream_is_of_one_object(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 4 * MIB, 1);
	struct fetch_reader *r;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	r = open_reader(&d, 4 * MIB);
	read_unproven(r, MIB, MIB); /* not in order: it is not hashed */
	replace(&d, 4 * MIB, 1);
	read_in_vain(r, 0, 4 * MIB);
	fetch_close(r);
	r = open_reader(&d, 4 * MIB);
	read_rest(r, 0, 4 * MIB, 1);
	fetch_close(r);
	assert_false(lookup_is_bad(env.lookup, &d, 0)); /* nothing is known against it */
}

/* What was proven is not what comes from another object afterwards. */
static void a_proven_stream_is_of_that_object(void **state UNUSED)
{
	struct digest d = blob_behind(0, 2 * MIB, 1);
	struct fetch_reader *r;

	again_with_room(MIB, FETCH_ENV_PREFETCH);
	r = open_reader(&d, 2 * MIB);
	read_rest(r, 0, 2 * MIB, 1);
	replace(&d, 2 * MIB, 1001);
	read_fails(r, 2 * MIB - 1, 1, STOW_UNAVAILABLE);
	fetch_close(r);
}

/* A reader has bytes far ahead from the first object, and the others are those of the second. */
static void who_was_served_directly_begins_again(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 20 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], 0);
	r = open_reader(&d, 20 * MIB);
	read_unproven(r, AT * MIB, MIB);
	replace(&d, 20 * MIB, 1);
	release(&env.tier[0]);
	read_in_vain(r, 19 * MIB, 20 * MIB);
	fetch_close(r);
	r = open_reader(&d, 20 * MIB);
	read_rest(r, 0, 20 * MIB, 1);
	fetch_close(r);
}

/* Likewise where the second one is another storage's. */
static void who_was_served_by_another_storage_begins_again(void **state UNUSED)
{
	struct digest d = wrong_behind(0, 20 * MIB, 1);
	struct fetch_reader *r;
	struct stow_err err;

	put_blob(env.tier[1].backend, &d, 20 * MIB, 1);
	hold(&env.tier[0], 0);
	r = open_reader(&d, 20 * MIB);
	read_unproven(r, AT * MIB, MIB);
	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	expect_ok(backend_remove(env.tier[0].backend, &d, &err), &err);
	release(&env.tier[0]);
	read_in_vain(r, 19 * MIB, 20 * MIB);
	fetch_close(r);
}

/* The object has not changed: only its connection broke. */
static void who_was_served_directly_goes_on_with_the_same(void **state UNUSED)
{
	struct digest d = blob_behind(0, 20 * MIB, 1);
	struct fetch_reader *r;

	hold(&env.tier[0], 0);
	r = open_reader(&d, 20 * MIB);
	read_part(r, AT * MIB, MIB, 0, 1);
	atomic_store(&env.tier[0].plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.tier[0].plan.after[FAULT_PREAD], 1);
	release(&env.tier[0]);
	read_rest(r, 19 * MIB, 20 * MIB, 1);
	fetch_close(r);
}

/* Whose bytes all went through the stage, and whoever comes later, has those that are proven. */
static void what_went_through_the_stage_goes_on(void **state UNUSED)
{
	struct digest d = blob_behind(0, 20 * MIB, 1);
	struct fetch_reader *r, *late;

	hold(&env.tier[0], 2 * MIB);
	r = open_reader(&d, 20 * MIB);
	read_part(r, AT * MIB, MIB, 0, 1);
	fetch_close(r);
	late = open_reader(&d, 20 * MIB);
	read_part(late, 0, 2 * MIB, 0, 1);
	replace(&d, 20 * MIB, 1);
	release(&env.tier[0]);
	read_rest(late, 2 * MIB, 20 * MIB, 1);
	fetch_close(late);
	check_blob(env.fast, &d, 20 * MIB, 1);
}

/* Bytes may have been kept of another object: before that is known, nothing is given past them. */
static void nothing_is_served_directly_before_the_stage_is_open(void **state UNUSED)
{
	struct digest d = blob_behind(0, 20 * MIB, 1);
	struct fetch_reader *r;
	struct stow_err err;
	uint8_t byte;
	size_t got;
	int result;

	atomic_store(&env.plan.hang, true);
	atomic_store(&env.plan.after[FAULT_STAGE_RESUME], 1);
	hold(&env.tier[0], 0);
	r = open_reader(&d, 20 * MIB);
	result = fetch_read(r, &byte, 1, AT * MIB, BACKEND_READ_NOWAIT, &got, &err);
	atomic_store(&env.plan.hang, false);
	expect_fail(result, &err, STOW_UNAVAILABLE);
	read_part(r, AT * MIB, MIB, 0, 1);
	release(&env.tier[0]);
	fetch_close(r);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fetch_env_setup, fetch_env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_stream_is_of_one_object),
		CASE(a_proven_stream_is_of_that_object),
		CASE(who_was_served_directly_begins_again),
		CASE(who_was_served_by_another_storage_begins_again),
		CASE(who_was_served_directly_goes_on_with_the_same),
		CASE(what_went_through_the_stage_goes_on),
		CASE(nothing_is_served_directly_before_the_stage_is_open),
	};

	return cmocka_run_group_tests_name("tiered_origin", tests, NULL, NULL);
}
