/* Who behind has a blob: asked once, kept, and not waited for too long. */
#include "backends/backends.h"
#include "backends/tiered/lookup.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

enum { COUNTER = 1000, SIZE = 100 };

static struct {
	struct fault_plan plan[2];
	struct backend *store[2]; /* what is behind, without faults */
	struct tiers tiers;
	struct lookup *lookup;
	atomic_bool refuse;
} env;

static bool refused(void *arg, const struct digest *d)
{
	(void)arg;
	(void)d;
	return atomic_load(&env.refuse);
}

static void make(int64_t timeout_ns)
{
	static const char *const names[] = { "bucket", "source" };
	struct backend *behind[2];
	struct stow_err err;

	memset(&env, 0, sizeof(env));
	for (int i = 0; i < 2; i++) {
		expect_ok(mem_new(&env.store[i], &err), &err);
		expect_ok(fault_new(mem_share(env.store[i]), &env.plan[i], &behind[i], &err), &err);
		atomic_store(&env.plan[i].after[FAULT_LOOK], COUNTER);
	}
	tiers_init(&env.tiers, behind, names, 2, true);
	env.lookup = lookup_new(&env.tiers, timeout_ns, refused, NULL);
}

static int setup(void **state)
{
	(void)state;
	make(10 * NSEC_PER_SEC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tiers_stop(&env.tiers);
	lookup_stop(env.lookup);
	lookup_free(env.lookup);
	tiers_free(&env.tiers);
	backend_free(env.store[0]);
	backend_free(env.store[1]);
	return 0;
}

/* How often one of the two was looked at. */
static int looks(int i)
{
	return COUNTER - atomic_load(&env.plan[i].after[FAULT_LOOK]);
}

static struct digest blob_behind(int i, unsigned seed)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);

	put_blob(env.store[i], &d, SIZE, seed);
	return d;
}

static void check_found(const struct digest *d, size_t where)
{
	struct blob_stat st;
	struct stow_err err;
	size_t at;

	expect_ok(lookup_find(env.lookup, d, &st, &at, &err), &err);
	assert_int_equal(st.size, SIZE);
	assert_true(st.behind);
	assert_int_equal(at, where);
}

static void check_missed(const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	expect_fail(lookup_find(env.lookup, d, &st, NULL, &err), &err, STOW_NOT_FOUND);
}

static bool is_known(const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return lookup_known(env.lookup, d, &st, NULL, &err) == 0;
}

static void storages_are_asked_in_their_order(void **state)
{
	struct digest first = blob_behind(0, 1), second = blob_behind(1, 2);

	(void)state;
	check_found(&first, 0);
	assert_int_equal(looks(1), 0);
	check_found(&second, 1);
	assert_int_equal(looks(0), 2);
	assert_int_equal(looks(1), 1);
}

static void an_answer_is_kept(void **state)
{
	struct digest there = blob_behind(0, 1), absent = some_digest(DIGEST_SHA256, 9);

	(void)state;
	assert_false(is_known(&there));
	for (int i = 0; i < 3; i++) {
		check_found(&there, 0);
		check_missed(&absent);
	}
	assert_true(is_known(&there));
	assert_false(is_known(&absent));
	assert_int_equal(looks(0), 2);
}

static void what_is_forgotten_is_asked_again(void **state)
{
	struct digest d = blob_behind(0, 1), other = blob_behind(0, 2);
	struct stow_err err;

	(void)state;
	check_found(&d, 0);
	check_found(&other, 0);
	expect_ok(backend_remove(env.store[0], &d, &err), &err);
	check_found(&d, 0);
	lookup_forget(env.lookup, &d);
	check_missed(&d);
	assert_true(is_known(&other));
	lookup_clear(env.lookup);
	assert_false(is_known(&other));
	check_found(&other, 0);
}

static void what_is_noted_is_not_asked(void **state)
{
	struct digest d = blob_behind(1, 1);

	(void)state;
	lookup_note(env.lookup, &d, 1, SIZE);
	check_found(&d, 1);
	assert_int_equal(looks(0) + looks(1), 0);
}

static void looking_ahead_waits_for_nobody(void **state)
{
	struct digest d = blob_behind(0, 1);

	(void)state;
	lookup_ahead(env.lookup, &d);
	while (!is_known(&d))
		(void)usleep(1000);
	check_found(&d, 0);
	assert_int_equal(looks(0), 1);
}

static void ask_for(void *arg, int i)
{
	struct blob_stat st;
	struct stow_err err;

	(void)i;
	thread_check(lookup_find(env.lookup, arg, &st, NULL, &err) == 0);
}

static void many_who_ask_are_one_look(void **state)
{
	struct digest d = blob_behind(0, 1);

	(void)state;
	atomic_store(&env.plan[0].delay_us, 50000);
	run_threads(8, ask_for, &d);
	assert_int_equal(looks(0), 1);
}

/* --- trouble --- */

static void a_late_answer_is_for_the_next_one(void **state)
{
	struct digest d;

	(void)state;
	(void)teardown(NULL);
	make(NSEC_PER_MSEC);
	d = blob_behind(0, 1);
	atomic_store(&env.plan[0].delay_us, 100000);
	check_missed(&d);
	while (!is_known(&d))
		(void)usleep(1000);
	check_found(&d, 0);
	assert_int_equal(looks(0), 1);
}

static void looks_that_are_late_open_the_circuit(void **state)
{
	(void)state;
	(void)teardown(NULL);
	make(NSEC_PER_MSEC);
	atomic_store(&env.plan[0].code, STOW_UNAVAILABLE);
	atomic_store(&env.plan[0].hang, true);
	atomic_store(&env.plan[0].forever, true);
	atomic_store(&env.plan[0].after[FAULT_LOOK], 1);
	for (unsigned i = 0; tier_usable(&env.tiers.v[0]); i++) {
		struct digest d = some_digest(DIGEST_SHA256, i);

		assert_true(i < 1000);
		check_missed(&d);
	}
}

/* Passed over while its circuit is open; and no such answer is kept. */
static void a_storage_that_is_away_is_passed_over(void **state)
{
	struct digest d = blob_behind(0, 1), other = blob_behind(1, 2);

	(void)state;
	atomic_store(&env.plan[0].code, STOW_UNAVAILABLE);
	atomic_store(&env.plan[0].forever, true);
	atomic_store(&env.plan[0].after[FAULT_LOOK], 1);
	check_found(&other, 1);
	for (int i = 1; i < TIER_FAILURES; i++)
		check_missed(&d);
	assert_false(tier_usable(&env.tiers.v[0]));
	check_missed(&d);
	lookup_forget(env.lookup, &other);
	check_found(&other, 1);
}

static void wrong_bytes_are_not_found(void **state)
{
	struct digest d = blob_behind(0, 1), both = blob_behind(0, 2);

	(void)state;
	(void)blob_behind(1, 2);
	check_found(&d, 0);
	check_found(&both, 0);
	lookup_mark_bad(env.lookup, &d, 0);
	lookup_mark_bad(env.lookup, &both, 0);
	assert_true(lookup_is_bad(env.lookup, &d, 0));
	assert_false(lookup_is_bad(env.lookup, &d, 1));
	check_missed(&d);
	check_found(&both, 1);
	lookup_note(env.lookup, &d, 0, SIZE);
	check_missed(&d);
	lookup_mark_good(env.lookup, &d, 0);
	assert_false(lookup_is_bad(env.lookup, &d, 0));
	check_found(&d, 0);
}

/* What is refused concerns the bucket alone. */
static void what_is_refused_is_found_elsewhere(void **state)
{
	struct digest d = blob_behind(0, 1), both = blob_behind(0, 2);

	(void)state;
	(void)blob_behind(1, 2);
	check_found(&d, 0);
	check_found(&both, 0);
	atomic_store(&env.refuse, true);
	check_missed(&d);
	check_found(&both, 1);
	atomic_store(&env.refuse, false);
	check_found(&d, 0);
}

static void the_end_is_an_answer(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);

	(void)state;
	tiers_stop(&env.tiers);
	lookup_stop(env.lookup);
	check_missed(&d);
	lookup_free(env.lookup);
	env.lookup = lookup_new(&env.tiers, NSEC_PER_SEC, NULL, NULL);
	tiers_free(&env.tiers);
	env.tiers = (struct tiers){ 0 };
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(storages_are_asked_in_their_order),     TEST(an_answer_is_kept),
		TEST(what_is_forgotten_is_asked_again),      TEST(what_is_noted_is_not_asked),
		TEST(looking_ahead_waits_for_nobody),        TEST(many_who_ask_are_one_look),
		TEST(a_late_answer_is_for_the_next_one),     TEST(looks_that_are_late_open_the_circuit),
		TEST(a_storage_that_is_away_is_passed_over), TEST(wrong_bytes_are_not_found),
		TEST(what_is_refused_is_found_elsewhere),    TEST(the_end_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
