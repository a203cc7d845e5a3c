/* Planned faults happen, where and as often as planned, and nothing else does. */
#include "backends/backends.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/suite.h"

#include <sched.h>

static struct {
	struct fault_plan plan;
	struct backend *b;
	struct blob *blob;      /* of 100 bytes of fill(1) */
	struct stage *st;       /* with 3 bytes */
	struct stage_name kept; /* with none */
	struct digest d, other; /* of the blob; of none */
	struct stage *made;     /* what a call has given us */
	struct blob *opened;
	struct sending *sending;      /* with no bytes */
	struct stage_name old_record; /* of a sending that was closed */
} env;

static const char digits[] = "0123456789";

static int read_digits(void *arg UNUSED, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	memcpy(to, digits + off, n);
	return 0;
}

static struct sending *send(const char *record)
{
	struct stage_hint hint = { .digest = env.other };
	struct sending *s;
	struct stow_err err;

	expect_ok(env.b->ops->behind->send_open(env.b, record, &hint, 0, read_digits, NULL, &s, &err), &err);
	return s;
}

static void setup_behind(void)
{
	struct sending *old;
	struct stow_err err;

	env.sending = send(new_name().s);
	env.old_record = new_name();
	old = send(env.old_record.s);
	env.b->ops->behind->send_advance(old, 10);
	env.b->ops->behind->send_close(old, false);
	expect_ok(env.b->ops->behind->note_put(env.b, "a/note", "text", 4, 0, &err), &err);
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
	expect_ok(backend_open(env.b, &env.d, 0, &env.blob, &err), &err);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &env.st, &err), &err);
	expect_ok(write_bytes(env.st, "abc", 3, 0, &err), &err);
	env.kept = new_name();
	expect_ok(backend_stage_create(env.b, env.kept.s, NULL, &kept, &err), &err);
	stage_close(kept);
	setup_behind();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blob_close(env.blob);
	blob_close(env.opened);
	stage_close(env.st);
	stage_close(env.made);
	if (env.sending != NULL)
		env.b->ops->behind->send_close(env.sending, true);
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

static int call_space(struct stow_err *err)
{
	uint64_t room, total;

	return env.b->ops->space(env.b, &room, &total, err);
}

static int call_send_open(struct stow_err *err)
{
	const struct stage_hint hint = { .total = 10 };
	struct sending *s;

	if (env.b->ops->behind->send_open(env.b, new_name().s, &hint, 0, read_digits, NULL, &s, err) < 0)
		return -1;
	env.b->ops->behind->send_close(s, true);
	return 0;
}

/* call() for what is in content/behind.h. */
static int call_behind(enum fault_op op, struct stow_err *err)
{
	const struct behind_ops *ops = env.b->ops->behind;
	CLEANUP(buf_free) struct buf to;
	struct blob_stat st;

	buf_init(&to, 100);
	switch ((int)op) {
	case FAULT_LOOK:
		return ops->look(env.b, &env.d, &st, err);
	case FAULT_DROP:
		return ops->drop(env.b, &env.d, INT64_MAX, err);
	case FAULT_PROBE:
		return ops->probe(env.b, err);
	case FAULT_SEND_OPEN:
		return call_send_open(err);
	case FAULT_SEND_REWIND:
		return ops->send_rewind(env.sending, err);
	case FAULT_SEND_MOVE:
		return ops->send_move(env.sending, new_name().s, read_digits, NULL, err);
	case FAULT_SEND_FINISH:
		return ops->send_finish(env.sending, &env.other, 10, 0, err);
	case FAULT_SEND_DISCARD:
		return ops->send_discard(env.b, env.old_record.s, err);
	case FAULT_SEND_SCAN:
		return ops->send_scan(env.b, no_stage, NULL, err);
	case FAULT_NOTE_PUT:
		return ops->note_put(env.b, "another", "x", 1, 0, err);
	case FAULT_NOTE_GET:
		return ops->note_get(env.b, "a/note", &to, err);
	case FAULT_NOTE_REMOVE:
		return ops->note_remove(env.b, "a/note", err);
	case FAULT_NOTE_SCAN:
		return ops->note_scan(env.b, "a/", no_note, NULL, err);
	default:
		fail_msg("%d is no operation", (int)op);
		return -1;
	}
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
		return backend_open(env.b, &env.d, 0, &env.opened, err);
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
	case FAULT_SPACE:
		return call_space(err);
	case FAULT_LOOK:
	case FAULT_DROP:
	case FAULT_PROBE:
	case FAULT_SEND_OPEN:
	case FAULT_SEND_REWIND:
	case FAULT_SEND_MOVE:
	case FAULT_SEND_FINISH:
	case FAULT_SEND_DISCARD:
	case FAULT_SEND_SCAN:
	case FAULT_NOTE_PUT:
	case FAULT_NOTE_GET:
	case FAULT_NOTE_REMOVE:
	case FAULT_NOTE_SCAN:
	case FAULT_OP_COUNT:
		break;
	}
	return call_behind(op, err);
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

static void look_on_a_thread(void *arg, int i)
{
	struct stow_err err = { 0 };
	struct blob_stat st;

	if (i == 0) {
		thread_check(env.b->ops->behind->look(env.b, &env.d, &st, &err) == -1);
		thread_check(err.code == STOW_UNAVAILABLE);
		thread_check(atomic_load((atomic_bool *)arg));
	} else {
		while (atomic_load(&env.plan.after[FAULT_LOOK]) != 0)
			(void)sched_yield();
		atomic_store((atomic_bool *)arg, true);
		backend_stop(env.b);
	}
}

static void a_hanging_call_fails_when_the_backend_is_stopped(void **state)
{
	atomic_bool stopping = false;

	(void)state;
	atomic_store(&env.plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.plan.hang, true);
	atomic_store(&env.plan.after[FAULT_LOOK], 1);
	run_threads(2, look_on_a_thread, &stopping);
}

static void a_hanging_drop_ends_in_time(void **state)
{
	int64_t until = clock_mono_ns() + 10 * NSEC_PER_MSEC;
	struct stow_err err;

	(void)state;
	atomic_store(&env.plan.code, STOW_UNAVAILABLE);
	atomic_store(&env.plan.hang, true);
	atomic_store(&env.plan.after[FAULT_DROP], 1);
	expect_fail(env.b->ops->behind->drop(env.b, &env.d, until, &err), &err, STOW_UNAVAILABLE);
	assert_true(clock_mono_ns() >= until);
}

static void space_is_what_is_planned(void **state)
{
	uint64_t room = 0, total = 0;
	struct stow_err err;

	(void)state;
	expect_ok(env.b->ops->space(env.b, &room, &total, &err), &err);
	assert_true(total > 0 && room <= total);
	atomic_store(&env.plan.space_total, 1000);
	atomic_store(&env.plan.space_free, 10);
	expect_ok(env.b->ops->space(env.b, &room, &total, &err), &err);
	assert_int_equal(room, 10);
	assert_int_equal(total, 1000);
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
		CASE(a_hanging_call_fails_when_the_backend_is_stopped),
		CASE(a_hanging_drop_ends_in_time),
		CASE(space_is_what_is_planned),
		CASE(failed_publish_leaves_the_stage_open),
		CASE(one_of_many_threads_has_the_fault),
	};
	return cmocka_run_group_tests_name("fault plans", tests, NULL, NULL);
}
