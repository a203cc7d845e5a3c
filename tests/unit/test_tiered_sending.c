/* What is sent of a blob before it is one, removal, and all at once. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

enum { N = 20000 }; /* bytes of a blob */
/* Bytes a second: no limit, but what is sent is paced, so that something is sent before the end. */
static const uint64_t PACED = UINT64_C(1) << 40;

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

/* --- sendings --- */

static size_t entries(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->n;
}

struct source {
	size_t n;
	unsigned seed;
	atomic_int reads;
};

static int read_filled(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	struct source *s = arg;
	CLEANUP(freep) uint8_t *bytes = x_malloc(s->n);

	atomic_fetch_add(&s->reads, 1);
	fill(bytes, s->n, s->seed);
	memcpy(to, bytes + off, n);
	return 0;
}

/* One that is under way when the COMMIT comes. */
static struct sending *begin_sending(const char *record, struct source *source)
{
	struct stage_hint hint = { .digest = blob_digest(DIGEST_SHA256, source->n, source->seed) };
	struct sending *s;
	struct stow_err err;

	expect_ok(env.behind->ops->behind->send_open(env.behind, record, &hint, 0, read_filled, source, &s,
						     &err),
		  &err);
	env.behind->ops->behind->send_advance(s, source->n);
	return s;
}

static void a_sending_goes_on(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_queue(&env);
	d = queue_env_commit(&env, N, 1, begin_sending("00000000000000aa", &source));
	assert_int_equal(queue_env_records(&env), 1);
	queue_env_fault(&env, FAULT_SEND_OPEN, 1, true, STOW_INTERNAL); /* no other is begun */
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	check_blob(env.behind, &d, N, 1);
	assert_int_equal(source.reads, 0); /* from `fast` */
	WAIT_FOR(queue_env_records(&env) == 0);
}

static void one_that_cannot_be_moved_is_begun_anew(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_fault(&env, FAULT_SEND_MOVE, 1, true, STOW_INTERNAL);
	queue_env_start(&env);
	d = queue_env_commit(&env, N, 1, begin_sending("00000000000000aa", &source));
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
}

static void a_second_sending_of_a_blob_is_given_up(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_queue(&env);
	d = queue_env_commit(&env, N, 1, begin_sending("00000000000000aa", &source));
	queue_offer(env.queue, &d, N, begin_sending("00000000000000bb", &source));
	assert_int_equal(queue_env_records(&env), 1);
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
}

static void what_was_sent_is_kept_over_a_restart(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d, other = blob_digest(DIGEST_SHA256, N, 2);

	queue_env_queue(&env);
	d = queue_env_commit(&env, N, 1, begin_sending("00000000000000aa", &source));
	source.seed = 2;
	queue_offer(env.queue, &other, N, begin_sending("00000000000000bb", &source)); /* gets no row */
	queue_env_end(&env);
	assert_int_equal(queue_env_records(&env), 2);
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
	check_no_blob(env.behind, &other);
}

static void what_has_no_row_is_not_uploaded(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d = blob_digest(DIGEST_SHA256, N, 1), next;

	put_blob(env.fast, &d, N, 1);
	queue_env_start(&env);
	queue_offer(env.queue, &d, N, begin_sending("00000000000000aa", &source));
	next = queue_env_commit(&env, N, 2, NULL);
	assert_true(queue_wait(env.queue, &next, queue_env_soon()));
	check_no_blob(env.behind, &d);
	queue_cancel(env.queue, &d);
	assert_int_equal(queue_env_records(&env), 0);
}

/* --- removal --- */

static void what_is_removed_is_not_uploaded(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d, none = some_digest(DIGEST_SHA256, 5);
	struct stow_err err;

	queue_env_queue(&env);
	d = queue_env_commit(&env, N, 1, begin_sending("00000000000000aa", &source));
	expect_ok(meta_blob_delete(env.meta, &d, &err), &err);
	queue_cancel(env.queue, &d);
	queue_cancel(env.queue, &none);
	assert_true(queue_settle(env.queue, &none, 0));
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(entries(), 0);
	queue_env_start(&env);
	d = queue_env_commit(&env, N, 2, NULL);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	assert_int_equal(count_blobs(env.behind), 1);
}

/* Each piece that is read takes its time: it is removed in the middle of it. */
static void removing_does_not_wait_for_the_end(void **state UNUSED)
{
	enum { BIG = 32 << 20 };
	struct stow_err err;
	struct digest d;

	env.options.bandwidth = PACED;
	queue_env_start(&env);
	atomic_store(&env.fast_plan.delay_us, 50000);
	d = queue_env_commit(&env, BIG, 1, NULL);
	WAIT_FOR(queue_env_records(&env) == 1);
	expect_ok(meta_blob_delete(env.meta, &d, &err), &err);
	queue_cancel(env.queue, &d);
	atomic_store(&env.fast_plan.after[FAULT_PREAD], 1); /* stays: nothing is read any more */
	assert_true(queue_settle(env.queue, &d, queue_env_soon()));
	assert_int_equal(count_blobs(env.behind), 0);
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(env.fast_plan.after[FAULT_PREAD], 1);
	/* The same content comes again. */
	atomic_store(&env.fast_plan.after[FAULT_PREAD], 0);
	atomic_store(&env.fast_plan.delay_us, 0);
	queue_env_row(&env, BIG, 1, 0);
	queue_recorded(env.queue, &d);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	check_blob(env.behind, &d, BIG, 1);
}

static void the_end_comes_in_the_middle(void **state UNUSED)
{
	enum { BIG = 32 << 20 };
	struct digest d;

	env.options.bandwidth = PACED;
	queue_env_start(&env);
	atomic_store(&env.fast_plan.delay_us, 50000);
	d = queue_env_commit(&env, BIG, 1, NULL);
	WAIT_FOR(queue_env_records(&env) == 1);
	queue_env_end(&env);
	assert_int_equal(queue_env_records(&env), 1);
	assert_int_equal(queue_env_pending(&env), 1);
	atomic_store(&env.fast_plan.delay_us, 0);
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	WAIT_FOR(queue_env_records(&env) == 0);
}

/* --- all at once --- */

enum { THREADS = 8, EACH = 20 };

static void commit_and_remove(void *arg UNUSED, int i)
{
	for (int k = 0; k < EACH; k++) {
		unsigned seed = (unsigned)(1000 * i + k);
		struct blob_info info = { .digest = blob_digest(DIGEST_SHA256, 100, seed),
					  .size = 100,
					  .created_ns = clock_wall_ns() };
		const struct digest *d = &info.digest;
		struct stow_err err;

		thread_check(try_put_blob(env.fast, d, 100, seed, &err) == 0);
		queue_offer(env.queue, d, 100, NULL);
		thread_check(meta_blob_add(env.meta, &info, NULL, true, &err) == 0);
		queue_recorded(env.queue, d);
		if (k % 3 == 0)
			thread_check(queue_wait(env.queue, d, queue_env_soon()));
		if (k % 2 != 0)
			continue;
		thread_check(meta_blob_delete(env.meta, d, &err) == 0);
		queue_cancel(env.queue, d);
		thread_check(queue_settle(env.queue, d, queue_env_soon()));
		thread_check(backend_remove(env.fast, d, &err) == 0);
	}
}

static void everybody_at_once(void **state UNUSED)
{
	env.options.uploads = 4;
	queue_env_start(&env);
	run_threads(THREADS, commit_and_remove, NULL);
	WAIT_FOR(queue_env_pending(&env) == 0);
	WAIT_FOR(queue_env_records(&env) == 0);
	assert_true(count_blobs(env.behind) >= THREADS * EACH / 2);
	assert_int_equal(told.n_lost, 0);
	for (int i = 0; i < THREADS; i++) {
		struct digest d = blob_digest(DIGEST_SHA256, 100, (unsigned)(1000 * i + 1));

		check_blob(env.behind, &d, 100, (unsigned)(1000 * i + 1));
	}
}

/* More than the table holds: the database is walked again when there is room. */
static void more_than_there_is_room_for(void **state UNUSED)
{
	enum { MAX = 16, MORE = 5 * MAX + 3 };

	for (unsigned i = 0; i < MORE; i++)
		queue_env_blob(&env, 100, i, 0);
	atomic_store(&told.refuse, true);
	queue_env_queue(&env);
	env.queue->max = MAX;
	queue_env_start(&env);
	WAIT_FOR(entries() == MAX);
	atomic_store(&told.refuse, false);
	queue_flush(env.queue);
	WAIT_FOR(queue_env_pending(&env) == 0);
	WAIT_FOR(entries() == 0);
	assert_int_equal(told.n_done, MORE);
	assert_int_equal(count_blobs(env.behind), MORE);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_sending_goes_on),
		CASE(one_that_cannot_be_moved_is_begun_anew),
		CASE(a_second_sending_of_a_blob_is_given_up),
		CASE(what_was_sent_is_kept_over_a_restart),
		CASE(what_has_no_row_is_not_uploaded),
		CASE(what_is_removed_is_not_uploaded),
		CASE(removing_does_not_wait_for_the_end),
		CASE(the_end_comes_in_the_middle),
		CASE(everybody_at_once),
		CASE(more_than_there_is_room_for),
	};

	return cmocka_run_group_tests_name("tiered sending", tests, NULL, NULL);
}
