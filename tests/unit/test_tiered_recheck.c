/* Rows of the queue's whose bytes are not where they should be, here or behind. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

enum { N = 20000 }; /* bytes of a blob */

static struct queue_env env;

/* Something happens once while the storage behind is asked, after it has looked. */
static struct {
	const struct backend_ops *real;
	struct backend_ops ops;
	_Atomic(void (*)(const struct digest *d)) then;
} look;

static int look_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		     struct stow_err *err)
{
	int result = look.real->stat(b, d, ret_st, err);
	void (*then)(const struct digest *d) = atomic_exchange(&look.then, NULL);

	if (then != NULL)
		then(d);
	return result;
}

static void after_look(void (*then)(const struct digest *d))
{
	look.real = env.behind->ops;
	look.ops = *look.real;
	look.ops.stat = look_stat;
	atomic_store(&look.then, then);
	env.behind->ops = &look.ops;
}

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

static bool has_walked(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->walked;
}

/* As by a store that has the bucket for itself, and a COMMIT of the same content. */
static void delete_and_commit(const struct digest *d)
{
	struct stow_err err;

	WAIT_FOR(has_walked()); /* or it is found pending, and uploaded before the look ends */
	thread_check(meta_blob_delete(env.meta, d, &err) == 0);
	thread_check(backend_remove(env.behind, d, &err) == 0);
	queue_env_row(&env, N, 1, 0);
}

static int64_t seen_ns(const struct digest *d)
{
	struct stow_err err;
	int64_t seen;

	return meta_remote_get(env.meta, d, &seen, &err) == 0 ? seen : 0;
}

static void a_look_says_nothing_of_what_was_committed_since(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0), next;
	struct stow_err err;
	unsigned seed = 2;

	do { /* one that is looked for after it, so that it is known when that is over */
		next = blob_digest(DIGEST_SHA256, N, seed++);
	} while (memcmp(next.b, d.b, d.len) < 0);
	(void)queue_env_blob(&env, N, seed - 1, 0);
	put_blob(env.behind, &d, N, 1);
	put_blob(env.behind, &next, N, seed - 1);
	expect_ok(meta_remote_put(env.meta, &d, 1, &err), &err);
	expect_ok(meta_remote_put(env.meta, &next, 1, &err), &err);
	after_look(delete_and_commit);
	env.options.recheck_every_ns = 3600 * NSEC_PER_SEC; /* once */
	queue_env_start(&env);
	WAIT_FOR(seen_ns(&next) > 1);
	assert_false(queue_env_is_behind(&env, &d));
	queue_recorded(env.queue, &d);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	check_blob(env.behind, &d, N, 1);
}

static void upload(const struct digest *d)
{
	struct stow_err err;

	put_blob(env.behind, d, N, 1);
	thread_check(meta_remote_put(env.meta, d, 2, &err) == 0);
}

static void what_has_come_back_is_not_missed(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);
	struct stow_err err;

	expect_ok(meta_remote_put(env.meta, &d, 1, &err), &err);
	after_look(upload);
	env.options.recheck_every_ns = 3600 * NSEC_PER_SEC;
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&parts.forgotten) == 1);
	queue_env_end(&env);
	assert_int_equal(seen_ns(&d), 2);
}

/* Who evicts has seen in the database that it is behind, and has the claim until the bytes are gone. */
static void nothing_is_missed_while_it_is_evicted(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);
	struct claim claim = { 0 };
	struct stow_err err;

	expect_ok(meta_remote_put(env.meta, &d, 1, &err), &err);
	claim_take(&env.claims, &claim, &d);
	env.options.recheck_every_ns = 3600 * NSEC_PER_SEC;
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&parts.forgotten) == 1);
	(void)usleep(20000);
	assert_int_equal(seen_ns(&d), 1);
	claim_release(&claim);
	WAIT_FOR(count_blobs(env.behind) == 1);
	check_blob(env.behind, &d, N, 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(bytes_that_are_nowhere_are_lost),
		CASE(bytes_that_are_only_behind_are_fine),
		CASE(who_cannot_be_asked_loses_nothing),
		CASE(what_has_gone_is_uploaded_again),
		CASE(what_is_there_is_seen_again),
		CASE(a_look_says_nothing_of_what_was_committed_since),
		CASE(what_has_come_back_is_not_missed),
		CASE(nothing_is_missed_while_it_is_evicted),
	};

	return cmocka_run_group_tests_name("tiered recheck", tests, NULL, NULL);
}
