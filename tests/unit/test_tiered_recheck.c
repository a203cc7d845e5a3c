/* Rows of the queue's whose bytes are not where they should be, here or behind. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

enum { N = 20000 }; /* bytes of a blob */

static struct queue_env env;

static int setup(void **state UNUSED)
{
	queue_env_make(&env);
	queue_env_listen(&env);
	return 0;
}

static int teardown(void **state UNUSED)
{
	queue_env_remove(&env);
	return 0;
}

/* --- bytes that are not here --- */

static void bytes_that_are_nowhere_are_lost(void **state UNUSED)
{
	queue_env_row(&env, N, 1, 0);
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&told.n_lost) == 1);
	assert_int_equal(queue_env_pending(&env), 0);
	assert_int_equal(parts.forgotten, 1);
}

static void bytes_that_are_only_behind_are_fine(void **state UNUSED)
{
	struct digest d = queue_env_row(&env, N, 1, 0);

	put_blob(env.behind, &d, N, 1);
	queue_env_fault(&env, FAULT_LOOK, 1, false, STOW_NOT_FOUND); /* a wrong answer */
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	assert_int_equal(told.n_lost, 0);
}

static void who_cannot_be_asked_loses_nothing(void **state UNUSED)
{
	queue_env_row(&env, N, 1, 0);
	queue_env_fault(&env, FAULT_STAT, 1, true, STOW_UNAVAILABLE);
	queue_env_start(&env);
	WAIT_FOR(strstr(queue_env_status(&env).upload_error, "planned fault in stat") != NULL);
	assert_int_equal(told.n_lost, 0);
	assert_int_equal(queue_env_pending(&env), 1);
}

/* --- looking again --- */

static void what_has_gone_is_uploaded_again(void **state UNUSED)
{
	struct digest here = queue_env_blob(&env, N, 1, 0), gone = queue_env_row(&env, N, 2, 0);
	struct stow_err err;

	put_blob(env.behind, &here, N, 1);
	put_blob(env.behind, &gone, N, 2);
	expect_ok(meta_remote_put(env.meta, &here, 1, &err), &err);
	expect_ok(meta_remote_put(env.meta, &gone, 1, &err), &err);
	expect_ok(backend_remove(env.behind, &here, &err), &err);
	expect_ok(backend_remove(env.behind, &gone, &err), &err);
	env.options.recheck_every_ns = NSEC_PER_MSEC;
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&told.n_lost) == 1 && count_blobs(env.behind) == 1);
	check_blob(env.behind, &here, N, 1);
	WAIT_FOR(queue_env_is_behind(&env, &here));
	check_no_blob(env.behind, &gone);
	assert_true(atomic_load(&parts.forgotten) >= 2);
}

static void what_is_there_is_seen_again(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);
	struct stow_err err;
	int64_t seen = 1;

	put_blob(env.behind, &d, N, 1);
	expect_ok(meta_remote_put(env.meta, &d, 1, &err), &err);
	env.options.recheck_every_ns = NSEC_PER_MSEC;
	queue_env_start(&env);
	WAIT_FOR(meta_remote_get(env.meta, &d, &seen, &err) == 0 && seen > 1);
	assert_int_equal(told.n_lost, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(bytes_that_are_nowhere_are_lost),   CASE(bytes_that_are_only_behind_are_fine),
		CASE(who_cannot_be_asked_loses_nothing), CASE(what_has_gone_is_uploaded_again),
		CASE(what_is_there_is_seen_again),
	};

	return cmocka_run_group_tests_name("tiered recheck", tests, NULL, NULL);
}
