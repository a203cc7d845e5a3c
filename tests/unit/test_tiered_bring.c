/* What people have brought here ahead of time. */
#include "tests/unit/pin_env.h"

static void what_is_asked_for_comes_with_what_it_refers_to(void **state UNUSED)
{
	struct digest layers[] = { blob_behind(1), blob_in_view(2) };
	struct digest manifest = document("layers", layers, 2, false), index;
	struct fleet_brought b;

	index = document("manifests", &manifest, 1, true);
	b = ask(&index, false);
	assert_int_equal(b.place, FLEET_ABSENT);
	assert_int_equal(b.n_children, 0);
	b = ask(&index, true);
	assert_int_equal(b.place, FLEET_COMING);
	wait_for(is_here(&index));
	b = ask(&index, false);
	assert_int_equal(b.place, FLEET_HERE);
	assert_int_equal(b.n_children, 1);
	assert_true(digest_equal(&b.children[0].digest, &manifest) && b.children[0].of_an_index);
	fleet_brought_free(&b);
	b = ask(&manifest, true); /* is adopted */
	fleet_brought_free(&b);
	wait_for(is_here(&manifest));
	b = ask(&manifest, true);
	assert_int_equal(b.place, FLEET_HERE);
	assert_int_equal(b.n_children, 2);
	assert_true(digest_equal(&b.children[1].digest, &layers[1]) && !b.children[1].of_an_index);
	assert_int_equal(b.children[1].size, SIZE);
	fleet_brought_free(&b);
}

static void what_does_not_come_says_why(void **state UNUSED)
{
	struct digest unknown = some_digest(DIGEST_SHA256, 7), lost = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct fleet_brought b;
	struct stow_err err;

	expect_fail(store_bring(env.store, &unknown, 1, true, &b, &err), &err, STOW_NOT_FOUND);
	adopt(&lost, SIZE);
	b = ask(&lost, true);
	assert_int_equal(b.place, FLEET_COMING);
	wait_for(ask(&lost, false).place == FLEET_FAILED);
	b = ask(&lost, false);
	assert_int_equal(b.why.code, STOW_NOT_FOUND);
	put_blob(env.behind, &lost, SIZE, 1);
	b = ask(&lost, true); /* once more */
	wait_for(ask(&lost, false).place == FLEET_HERE);
}

/* The cache has room for six. */
static void a_full_cache_keeps_what_was_brought(void **state UNUSED)
{
	struct digest old = blob_in_view(20), d[8];
	unsigned here = 0;
	struct fleet_brought b;

	bring(&old);
	end_leases();
	assert_int_equal(status().cache_room, MAX_SIZE - SIZE);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++) {
		d[i] = blob_in_view(1 + i);
		b = ask(&d[i], true);
		wait_for((b = ask(&d[i], false)).place == FLEET_HERE || b.place == FLEET_FAILED);
		if (b.place == FLEET_FAILED)
			assert_int_equal(b.why.code, STOW_RESOURCE_EXHAUSTED);
	}
	assert_false(is_here(&old));
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		here += is_here(&d[i]);
	assert_int_equal(here, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_true(is_here(&d[i]));
	assert_int_equal(status().cache_room, 0);
}

/* What somebody else has brought before is no less than what is asked for now, until he has stopped asking.
 */
static void each_has_a_lease_of_his_own(void **state UNUSED)
{
	struct digest d[TIERED_LEASES + 1];
	struct stow_err err;

	for (unsigned i = 0; i < ARRAY_LEN(d); i++) {
		struct fleet_brought b = { 0 };

		d[i] = blob_in_view(1 + i);
		expect_ok(store_bring(env.store, &d[i], 1 + (int64_t)i, false, &b, &err), &err);
		fleet_brought_free(&b);
		assert_true(tiered_is_leased(env.tiered, &d[i]));
	}
	assert_false(tiered_is_leased(env.tiered, &d[0])); /* one too many */
	for (unsigned i = 1; i < ARRAY_LEN(d); i++)
		assert_true(tiered_is_leased(env.tiered, &d[i]));
	end_leases();
	(void)ask(&d[0], false);
	assert_true(tiered_is_leased(env.tiered, &d[0]));
	assert_false(tiered_is_leased(env.tiered, &d[1]));
}

static void where_nothing_is_prefetched_nothing_is_brought(void **state UNUSED)
{
	struct fleet_brought b;
	struct digest d;

	restart(0);
	d = blob_in_view(1);
	b = ask(&d, true);
	assert_int_equal(b.place, FLEET_FAILED);
	assert_int_equal(b.why.code, STOW_FAILED_PRECONDITION);
	expect_named(&b.why, "prefetch = 0");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pin_env_setup, pin_env_teardown)
	const struct CMUnitTest tests[] = {
		CASE(what_is_asked_for_comes_with_what_it_refers_to),
		CASE(what_does_not_come_says_why),
		CASE(a_full_cache_keeps_what_was_brought),
		CASE(each_has_a_lease_of_his_own),
		CASE(where_nothing_is_prefetched_nothing_is_brought),
	};

	return cmocka_run_group_tests_name("tiered bring", tests, NULL, NULL);
}
