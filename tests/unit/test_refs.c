#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/refs.h"
#include "tests/suite/suite.h"

#include <stdio.h>

static struct refs table;

static int setup(void **state UNUSED)
{
	refs_init(&table);
	return 0;
}

static int teardown(void **state UNUSED)
{
	refs_destroy(&table); /* asserts that none is held */
	return 0;
}

/* Enough of an ingest for the table, which counts its users. */
static struct ingest fake(void)
{
	return (struct ingest){ .magic = INGEST_MAGIC, .users = 1 };
}

static void one_holder_a_name(void **state UNUSED)
{
	struct ref_hold a = { 0 }, b = { 0 }, other = { 0 };
	int64_t start;

	assert_true(refs_take(&table, &a, "ref", 0));
	assert_true(a.held);
	assert_false(refs_take(&table, &b, "ref", 0));
	assert_false(b.held);
	assert_true(refs_take(&table, &other, "ref/other", 0));
	start = clock_mono_ns();
	assert_false(refs_take(&table, &b, "ref", 20 * NSEC_PER_MSEC));
	assert_true(clock_mono_ns() - start >= 20 * NSEC_PER_MSEC);
	refs_release(&table, &b); /* not held: nothing */
	assert_false(refs_take(&table, &b, "ref", 0));
	refs_release(&table, &a);
	refs_release(&table, &a);
	assert_true(refs_take(&table, &b, "ref", 0));
	refs_release(&table, &b);
	refs_release(&table, &other);
}

static void found_once_shown(void **state UNUSED)
{
	struct ingest in = fake();
	struct ref_hold h = { 0 };

	assert_null(refs_get(&table, "ref"));
	assert_true(refs_take(&table, &h, "ref", 0));
	assert_null(refs_get(&table, "ref")); /* being opened */
	refs_show(&table, &h, &in);
	assert_ptr_equal(refs_get(&table, "ref"), &in);
	assert_int_equal(in.users, 2);
	assert_null(refs_get(&table, "re"));
	refs_release(&table, &h);
	assert_null(refs_get(&table, "ref"));
}

static void all_that_are_shown(void **state UNUSED)
{
	enum { N = 3 * REF_BUCKETS };
	CLEANUP(freep) struct ref_hold *h = x_calloc(N, sizeof(*h));
	CLEANUP(freep) struct ingest *in = x_calloc(N, sizeof(*in));
	CLEANUP(freep) char(*names)[32] = x_calloc(N, sizeof(*names));
	CLEANUP(freep) struct ingest **all = NULL;
	size_t n = 42;

	assert_null(refs_all(&table, &n));
	assert_int_equal(n, 0);
	for (int i = 0; i < N; i++) {
		in[i] = fake();
		snprintf(names[i], sizeof(names[i]), "default/%d/layer", i);
		assert_true(refs_take(&table, &h[i], names[i], 0));
		if (i % 2)
			refs_show(&table, &h[i], &in[i]);
	}
	all = refs_all(&table, &n);
	assert_int_equal(n, N / 2);
	for (int i = 0; i < N; i++) {
		assert_int_equal(in[i].users, 1 + i % 2); /* each once */
		refs_release(&table, &h[i]);
	}
}

/* The next holder has it as soon as the last one gives it back, not when its time is up. */
static void hand_over(void *arg, int i UNUSED)
{
	for (int round = 0; round < 100; round++) {
		int64_t start = clock_mono_ns();
		struct ref_hold h = { 0 };
		int *inside = arg;

		thread_check(refs_take(&table, &h, "ref", 60 * NSEC_PER_SEC));
		thread_check(clock_mono_ns() - start < 50 * NSEC_PER_SEC);
		thread_check(++*inside == 1);
		--*inside;
		refs_release(&table, &h);
	}
}

static void waits_for_the_holder(void **state UNUSED)
{
	int inside = 0; /* no atomic: the hold is its lock */

	run_threads(6, hand_over, &inside);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(one_holder_a_name),
		CASE(found_once_shown),
		CASE(all_that_are_shown),
		CASE(waits_for_the_holder),
	};

	return cmocka_run_group_tests_name("refs", tests, NULL, NULL);
}
