/* Planned faults happen, where and as often as planned, and nothing else does. */
#include "backends/backends.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/suite.h"

static struct {
	struct fault_plan plan;
	struct backend *b;
	struct blob *blob;      /* of 100 bytes of fill(1) */
	struct stage *st;       /* with 3 bytes */
	struct stage_name kept; /* with none */
	struct digest d, other; /* of the blob; of none */
	struct stage *made;     /* what a call has given us */
	struct blob *opened;
	struct sending *sending; /* of 3 bytes */
	struct sending *begun;   /* what a call has given us */
	struct buf note;
} env;

static int read_source(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg;
	(void)off;
	(void)err;
	memset(to, 'x', n);
	return 0;
}

static const struct behind_ops *behind(void)
{
	return env.b->ops->behind;
}

static int setup(void **state)
{
	struct stage_name name = new_name();
	struct stage *kept;
	struct backend *inner;
	struct stow_err err;

	(void)state;
	memset(&env, 0, sizeof(env));
	expect_ok(mem_new(&inner, &err), &err);
	expect_ok(fault_new(inner, &env.plan, &env.b, &err), &err);
	env.d = some_digest(DIGEST_SHA256, 1);
	env.other = some_digest(DIGEST_SHA256, 2);
	put_blob(env.b, &env.d, 100, 1);
	expect_ok(backend_open(env.b, &env.d, &env.blob, &err), &err);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &env.st, &err), &err);
	expect_ok(write_bytes(env.st, "abc", 3, 0, &err), &err);
	env.kept = new_name();
	expect_ok(backend_stage_create(env.b, env.kept.s, NULL, &kept, &err), &err);
	stage_close(kept);
	expect_ok(behind()->send_open(env.b, new_name().s, &(struct stage_hint){ 0 }, 0, read_source, NULL,
				      &env.sending, &err),
		  &err);
	expect_ok(behind()->note_put(env.b, "there", "abc", 3, 0, &err), &err);
	buf_init(&env.note, 100);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blob_close(env.blob);
	blob_close(env.opened);
	stage_close(env.st);
	stage_close(env.made);
	behind()->send_close(env.sending, false);
	if (env.begun != NULL)
		behind()->send_close(env.begun, false);
	buf_free(&env.note);
	backend_free(env.b);
	return 0;
}

static int no_blob(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	(void)arg;
	(void)d;
	(void)st;
	(void)err;
	return 0;
}

static int no_stage(void *arg, const char *name, struct stow_err *err)
{
	(void)arg;
	(void)name;
	(void)err;
	return 0;
}

static int no_note(void *arg, const char *name, uint64_t size, int64_t modified_ns, struct stow_err *err)
{
	(void)arg;
	(void)name;
	(void)size;
	(void)modified_ns;
	(void)err;
	return 0;
}

/* call() for the operations of content/behind.h. */
static int call_behind(enum fault_op op, struct stow_err *err)
{
	struct stage_hint hint = { 0 };
	struct blob_stat st;

	if (op == FAULT_LOOK)
		return behind()->look(env.b, &env.d, &st, err);
	if (op == FAULT_SEND_OPEN)
		return behind()->send_open(env.b, new_name().s, &hint, 0, read_source, NULL, &env.begun, err);
	if (op == FAULT_SEND_REWIND)
		return behind()->send_rewind(env.sending, err);
	if (op == FAULT_SEND_MOVE)
		return behind()->send_move(env.sending, new_name().s, read_source, NULL, err);
	if (op == FAULT_SEND_FINISH)
		return behind()->send_finish(env.sending, &env.other, 3, 0, err);
	if (op == FAULT_NOTE_PUT)
		return behind()->note_put(env.b, "new", "a", 1, 0, err);
	if (op == FAULT_NOTE_GET)
		return behind()->note_get(env.b, "there", &env.note, err);
	if (op == FAULT_NOTE_REMOVE)
		return behind()->note_remove(env.b, "there", err);
	return behind()->note_scan(env.b, "", no_note, NULL, err);
}

/* One call of the operation, which succeeds where no fault is planned, once at least. */
static int call(enum fault_op op, struct stow_err *err)
{
	struct stage_name name = new_name();
	char to[100];
	struct blob_stat st;
	size_t n;

	switch (op) {
	case FAULT_STAT:
		return backend_stat(env.b, &env.d, &st, err);
	case FAULT_OPEN:
		return backend_open(env.b, &env.d, &env.opened, err);
	case FAULT_PREAD:
		return blob_pread(env.blob, to, sizeof(to), 0, 0, &n, err);
	case FAULT_REMOVE:
		return backend_remove(env.b, &env.d, err);
	case FAULT_SCAN:
		return backend_scan(env.b, no_blob, NULL, err);
	case FAULT_STAGE_CREATE:
		return backend_stage_create(env.b, name.s, NULL, &env.made, err);
	case FAULT_STAGE_RESUME:
		return backend_stage_resume(env.b, env.kept.s, 0, NULL, &env.made, err);
	case FAULT_STAGE_WRITE:
		return write_bytes(env.st, "def", 3, 3, err);
	case FAULT_STAGE_TRUNCATE:
		return stage_truncate(env.st, 2, err);
	case FAULT_STAGE_SYNC:
		return stage_sync(env.st, err);
	case FAULT_STAGE_PREAD:
		return stage_pread(env.st, to, sizeof(to), 0, &n, err);
	case FAULT_STAGE_PUBLISH:
		return stage_publish(env.st, &env.other, err);
	case FAULT_STAGE_DISCARD:
		return backend_stage_discard(env.b, env.kept.s, err);
	case FAULT_STAGE_SCAN:
		return backend_stage_scan(env.b, no_stage, NULL, err);
	case FAULT_LOOK:
	case FAULT_SEND_OPEN:
	case FAULT_SEND_REWIND:
	case FAULT_SEND_MOVE:
	case FAULT_SEND_FINISH:
	case FAULT_NOTE_PUT:
	case FAULT_NOTE_GET:
	case FAULT_NOTE_REMOVE:
	case FAULT_NOTE_SCAN:
		return call_behind(op, err);
	case FAULT_OP_COUNT:
		break;
	}
	fail_msg("%d is no operation", (int)op);
	return -1;
}

static void each_operation_fails_as_planned(void **state)
{
	(void)state;
	for (int op = 0; op < FAULT_OP_COUNT; op++) {
		struct stow_err err;

		/* Twice, so that the failure is seen to have changed nothing; then it goes well. */
		atomic_store(&env.plan.code, STOW_RESOURCE_EXHAUSTED);
		atomic_store(&env.plan.forever, true);
		atomic_store(&env.plan.after[op], 1);
		expect_fail(call((enum fault_op)op, &err), &err, STOW_RESOURCE_EXHAUSTED);
		expect_fail(call((enum fault_op)op, &err), &err, STOW_RESOURCE_EXHAUSTED);
		atomic_store(&env.plan.after[op], 0);
		expect_ok(call((enum fault_op)op, &err), &err);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

static void a_fault_hits_its_own_operation_only(void **state)
{
	(void)state;
	for (int op = 0; op < FAULT_OP_COUNT; op++) {
		for (int planned = 0; planned < FAULT_OP_COUNT; planned++) {
			if (planned != op)
				atomic_store(&env.plan.after[planned], 1);
		}
		struct stow_err err;

		expect_ok(call((enum fault_op)op, &err), &err);
		for (int planned = 0; planned < FAULT_OP_COUNT; planned++) {
			assert_int_equal(atomic_load(&env.plan.after[planned]), planned == op ? 0 : 1);
			atomic_store(&env.plan.after[planned], 0);
		}
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

static void the_nth_call_fails_once(void **state)
{
	struct stow_err err;
	struct blob_stat st;

	(void)state;
	atomic_store(&env.plan.after[FAULT_STAT], 3);
	expect_ok(backend_stat(env.b, &env.d, &st, &err), &err);
	expect_ok(backend_stat(env.b, &env.d, &st, &err), &err);
	expect_fail(backend_stat(env.b, &env.d, &st, &err), &err, STOW_INTERNAL);
	expect_ok(backend_stat(env.b, &env.d, &st, &err), &err);
}

static void forever_begins_with_the_nth_call(void **state)
{
	struct stow_err err;
	struct blob_stat st;

	(void)state;
	atomic_store(&env.plan.forever, true);
	atomic_store(&env.plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.plan.after[FAULT_STAT], 2);
	expect_ok(backend_stat(env.b, &env.d, &st, &err), &err);
	for (int i = 0; i < 3; i++)
		expect_fail(backend_stat(env.b, &env.d, &st, &err), &err, STOW_UNAVAILABLE);
}

static void shorten_halves_reads(void **state)
{
	uint8_t to[100];
	struct stow_err err;
	size_t n;

	(void)state;
	atomic_store(&env.plan.shorten, true);
	atomic_store(&env.plan.after[FAULT_PREAD], 1);
	atomic_store(&env.plan.after[FAULT_STAGE_PREAD], 1);
	expect_ok(blob_pread(env.blob, to, sizeof(to), 0, 0, &n, &err), &err);
	assert_int_equal(n, 50);
	assert_true(filled(to, n, 1));
	expect_ok(blob_pread(env.blob, to, sizeof(to), 0, 0, &n, &err), &err);
	assert_int_equal(n, 100);
	expect_ok(stage_pread(env.st, to, sizeof(to), 0, &n, &err), &err);
	assert_int_equal(n, 1);
	expect_ok(stage_pread(env.st, to, sizeof(to), 0, &n, &err), &err);
	assert_int_equal(n, 3);
}

static void shorten_spares_other_operations(void **state)
{
	struct stow_err err;

	(void)state;
	atomic_store(&env.plan.shorten, true);
	atomic_store(&env.plan.after[FAULT_STAGE_WRITE], 1);
	expect_fail(write_bytes(env.st, "def", 3, 3, &err), &err, STOW_INTERNAL);
}

static void delay_comes_before_every_call(void **state)
{
	struct stow_err err;

	(void)state;
	atomic_store(&env.plan.delay_us, 2000);
	for (int op = 0; op < FAULT_OP_COUNT; op++) {
		int64_t start;

		atomic_store(&env.plan.after[op], 1);
		start = clock_mono_ns();
		expect_fail(call((enum fault_op)op, &err), &err, STOW_INTERNAL);
		assert_true(clock_mono_ns() - start >= 2 * NSEC_PER_MSEC);
	}
}

static void failed_publish_leaves_the_stage_open(void **state)
{
	struct stow_err err;

	(void)state;
	atomic_store(&env.plan.after[FAULT_STAGE_PUBLISH], 1);
	expect_fail(stage_publish(env.st, &env.other, &err), &err, STOW_INTERNAL);
	check_no_blob(env.b, &env.other);
	expect_ok(write_bytes(env.st, "def", 3, 3, &err), &err);
	expect_ok(stage_publish(env.st, &env.other, &err), &err);
}

static void count_is_shared_by_threads(void *arg, int i)
{
	struct stow_err err;
	struct blob_stat st;

	(void)i;
	for (int round = 0; round < 100; round++) {
		if (backend_stat(env.b, &env.d, &st, &err) < 0)
			atomic_fetch_add((atomic_int *)arg, 1);
	}
}

static void one_of_many_threads_has_the_fault(void **state)
{
	atomic_int failures = 0;

	(void)state;
	atomic_store(&env.plan.after[FAULT_STAT], 400);
	run_threads(8, count_is_shared_by_threads, &failures);
	assert_int_equal(atomic_load(&failures), 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(each_operation_fails_as_planned),
		CASE(a_fault_hits_its_own_operation_only),
		CASE(the_nth_call_fails_once),
		CASE(forever_begins_with_the_nth_call),
		CASE(shorten_halves_reads),
		CASE(shorten_spares_other_operations),
		CASE(delay_comes_before_every_call),
		CASE(failed_publish_leaves_the_stage_open),
		CASE(one_of_many_threads_has_the_fault),
	};
	return cmocka_run_group_tests_name("fault plans", tests, NULL, NULL);
}
