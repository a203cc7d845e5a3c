#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/claims.h"
#include "tests/suite/suite.h"

static struct claims table;

static int setup(void **state UNUSED)
{
	claims_init(&table);
	return 0;
}

static int teardown(void **state UNUSED)
{
	claims_destroy(&table); /* asserts that none is held */
	return 0;
}

static void taken_and_released(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct claim c = { 0 };

	claim_release(&c); /* not held: nothing */
	for (int i = 0; i < 3; i++) {
		claim_take(&table, &c, &d);
		claim_release(&c);
		claim_release(&c);
	}
	{
		CLEANUP(claim_release) struct claim scoped = { 0 };

		claim_take(&table, &scoped, &d);
	}
	claim_take(&table, &c, &d); /* would wait for ever, were it held */
	claim_release(&c);
}

/* More digests than buckets, so that some share one; released in another order. */
static void many_at_once(void **state UNUSED)
{
	struct claim c[5 * CLAIM_BUCKETS] = { 0 };

	for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
		struct digest d = some_digest(DIGEST_SHA256, i);

		claim_take(&table, &c[i], &d);
	}
	for (size_t i = 0; i < ARRAY_LEN(c); i += 2)
		claim_release(&c[i]);
	for (unsigned i = 0; i < ARRAY_LEN(c); i += 2) {
		struct digest d = some_digest(DIGEST_SHA256, i);

		claim_take(&table, &c[i], &d);
	}
	for (size_t i = ARRAY_LEN(c); i-- > 0;)
		claim_release(&c[i]);
}

enum { DIGESTS = 3 };
static atomic_int inside[DIGESTS];
static atomic_int most; /* claims held together by all */
static atomic_int holders;

static void exclude(void *arg UNUSED, int i)
{
	for (unsigned round = 0; round < 300; round++) {
		unsigned which = ((unsigned)i + round) % DIGESTS;
		struct digest d = some_digest(DIGEST_SHA512, which);
		CLEANUP(claim_release) struct claim c = { 0 };
		int now, seen;

		claim_take(&table, &c, &d);
		thread_check(atomic_fetch_add(&inside[which], 1) == 0);
		now = atomic_fetch_add(&holders, 1) + 1;
		seen = atomic_load(&most);
		while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
			;
		if (round % 16 == 0)
			usleep(100); /* a claim is held across waiting */
		atomic_fetch_sub(&holders, 1);
		thread_check(atomic_fetch_sub(&inside[which], 1) == 1);
	}
}

static void exclusive_by_digest(void **state UNUSED)
{
	run_threads(8, exclude, NULL);
	assert_true(most > 1); /* others' digests go on */
	assert_true(most <= DIGESTS);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(taken_and_released),
		CASE(many_at_once),
		CASE(exclusive_by_digest),
	};

	return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
