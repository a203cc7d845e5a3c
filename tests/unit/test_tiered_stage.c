/* Stages of a tiered backend: the stage of the fast one, the sending beside it, and what becomes of both.
 * What a stage promises as such is the suite's. */
#include "backends/tiered/tiered_internal.h"
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

#include <stdio.h>

enum { N = 30000, SEEN_MAX = 256 };

static struct queue_env env;
static struct tiered t;

/* The test has the backend itself, with the parts that stages need. */
struct tiered *tiered_from(struct backend *b)
{
	assert_ptr_equal(b, &t.base);
	return &t;
}

static const struct backend_ops ops = {
	.name = "tiered",
	.stage_create = tiered_stage_create,
	.stage_resume = tiered_stage_resume,
	.stage_write = tiered_stage_write,
	.stage_truncate = tiered_stage_truncate,
	.stage_sync = tiered_stage_sync,
	.stage_pread = tiered_stage_pread,
	.stage_publish = tiered_stage_publish,
	.stage_close = tiered_stage_close,
	.stage_discard = tiered_stage_discard,
	.stage_scan = tiered_stage_scan,
};

static int setup(void **state UNUSED)
{
	queue_env_make(&env);
	queue_env_queue(&env);
	t = (struct tiered){ .base.ops = &ops, .magic = TIERED_MAGIC, .fast = env.fast, .queue = env.queue };
	t.tiers = env.tiers;
	claims_init(&t.claims);
	lock_init(&t.lock, RANK_TIERED);
	return 0;
}

static int teardown(void **state UNUSED)
{
	assert_null(t.stages);
	claims_destroy(&t.claims);
	lock_destroy(&t.lock);
	queue_env_remove(&env);
	return 0;
}

static struct digest right(void)
{
	return blob_digest(DIGEST_SHA256, N, 1);
}

static struct stage *create(const char *name, const struct digest *guess)
{
	struct stage_hint hint = { .total = N };
	struct stage *st;
	struct stow_err err;

	if (guess != NULL)
		hint.digest = *guess;
	expect_ok(backend_stage_create(&t.base, name, &hint, &st, &err), &err);
	return st;
}

/* The bytes from `from` up to `to` of fill(1). */
static int write_some(struct stage *st, size_t from, size_t to, struct stow_err *err)
{
	CLEANUP(freep) uint8_t *bytes = x_malloc(N);

	fill(bytes, N, 1);
	return write_bytes(st, bytes + from, to - from, from, err);
}

static struct stage *create_full(const char *name, const struct digest *guess)
{
	struct stage *st = create(name, guess);
	struct stow_err err;

	expect_ok(write_some(st, 0, N / 2, &err), &err);
	expect_ok(write_some(st, N / 2, N, &err), &err);
	return st;
}

static int find_record(void *arg, const char *name, struct stow_err *err)
{
	return strcmp(name, arg) == 0 ? stow_fail(err, STOW_CANCELLED, "found") : 0;
}

static bool has_record(const char *name)
{
	struct stow_err err;

	return env.behind->ops->behind->send_scan(env.behind, find_record, (void *)(uintptr_t)name, &err) < 0;
}

static void row(const struct digest *d)
{
	(void)queue_env_row(&env, N, 1, 0);
	queue_recorded(env.queue, d);
}

static const char A[] = "00000000000000aa", B[] = "00000000000000bb";

/* --- sending while it is written --- */

static void what_is_sent_becomes_the_queues(void **state UNUSED)
{
	struct digest d = right();
	struct stage *st = create_full(A, &d);
	char record[SENDING_RECORD_MAX];
	struct stow_err err;

	queue_record(&d, record);
	assert_true(has_record(A));
	expect_ok(stage_publish(st, &d, &err), &err);
	assert_false(has_record(A));
	assert_true(has_record(record));
	stage_close(st);
	assert_true(has_record(record));
	check_blob(env.fast, &d, N, 1);
	check_no_blob(env.behind, &d);
	assert_int_equal(parts.cached, N);
	row(&d);
	queue_env_fault(&env, FAULT_SEND_OPEN, 1, true, STOW_INTERNAL); /* none is begun anew */
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, clock_mono_ns() + 20 * NSEC_PER_SEC));
	check_blob(env.behind, &d, N, 1);
}

static void nothing_is_sent_without_a_name_or_need(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st = create_full(A, NULL);

	assert_int_equal(queue_env_records(&env), 0);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	atomic_store(&parts.known, true); /* that it is behind */
	stage_close(create(B, &d));
	assert_int_equal(queue_env_records(&env), 0);
	row(&d);
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, clock_mono_ns() + 20 * NSEC_PER_SEC));
	check_blob(env.behind, &d, N, 1);
}

static void open_circuit(void)
{
	struct stow_err err;

	stow_fail(&err, STOW_UNAVAILABLE, "it is down");
	for (int i = 0; i < TIER_FAILURES; i++)
		tier_report(&env.tiers.v[0], &err);
}

static void trouble_behind_is_none_here(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	queue_env_fault(&env, FAULT_SEND_OPEN, 1, true, STOW_INTERNAL);
	st = create_full(A, &d);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	open_circuit();
	queue_env_fault(&env, FAULT_SEND_OPEN, 0, false, STOW_OK);
	stage_close(create(B, &d));
	assert_int_equal(queue_env_records(&env), 0);
}

static void a_wrong_guess_is_given_up(void **state UNUSED)
{
	struct digest d = right(), wrong = some_digest(DIGEST_SHA256, 9);
	struct stage *st = create_full(A, &wrong);
	struct stow_err err;

	assert_true(has_record(A));
	expect_ok(stage_publish(st, &d, &err), &err);
	assert_int_equal(queue_env_records(&env), 0);
	stage_close(st);
	row(&d);
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, clock_mono_ns() + 20 * NSEC_PER_SEC));
	check_blob(env.behind, &d, N, 1);
	check_no_blob(env.behind, &wrong);
}

/* What was sent of bytes that are cut off must not become part of a blob. */
static void bytes_are_cut_only_if_they_are_not_sent(void **state UNUSED)
{
	struct digest d = right();
	struct stage *st = create_full(A, &d);
	struct stow_err err;
	uint8_t last;
	size_t got;

	queue_env_fault(&env, FAULT_SEND_REWIND, 1, false, STOW_INTERNAL);
	expect_fail(stage_truncate(st, N / 3, &err), &err, STOW_INTERNAL);
	expect_ok(stage_pread(st, &last, 1, N - 1, &got, &err), &err);
	assert_int_equal(got, 1); /* it is as it was */
	expect_ok(stage_truncate(st, N / 3, &err), &err);
	expect_ok(write_some(st, N / 3, N, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(env.fast, &d, N, 1);
}

/* --- kept ones --- */

static void a_kept_stage_keeps_what_was_sent(void **state UNUSED)
{
	struct stage_hint hint = { .digest = right(), .total = N };
	struct digest d = right();
	struct stage *st = create(A, &d);
	struct stow_err err;

	expect_ok(write_some(st, 0, N / 2, &err), &err);
	stage_close(st);
	assert_true(has_record(A));
	assert_int_equal(count_stages(&t.base), 1);
	expect_ok(backend_stage_resume(&t.base, A, N / 2, &hint, &st, &err), &err);
	assert_true(has_record(A));
	expect_ok(write_some(st, N / 2, N, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	assert_false(has_record(A));
	assert_int_equal(count_stages(&t.base), 0);
}

/* Where nobody can say what was sent, it must be void before other bytes come. */
static void resuming_voids_what_it_cannot_take_up(void **state UNUSED)
{
	struct stage_hint hint = { .digest = right(), .total = N };
	struct stage *st = create_full(A, &hint.digest);
	struct stow_err err;

	stage_close(st);
	queue_env_fault(&env, FAULT_SEND_OPEN, 1, false, STOW_INTERNAL);
	expect_ok(backend_stage_resume(&t.base, A, N / 2, &hint, &st, &err), &err);
	assert_int_equal(queue_env_records(&env), 0);
	stage_close(st);
	stage_close(create_full(B, &hint.digest));
	open_circuit();
	expect_ok(backend_stage_resume(&t.base, B, N / 3, &hint, &st, &err), &err);
	assert_true(has_record(B)); /* nothing is asked of the storage, but it is taken up */
	stage_close(st);
}

static void discarding_gives_up_both(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	stage_close(create_full(A, &d));
	expect_ok(backend_stage_discard(&t.base, A, &err), &err);
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(count_stages(env.fast), 0);
	expect_fail(backend_stage_discard(&t.base, A, &err), &err, STOW_NOT_FOUND);
	/* While it is open, too. */
	st = create_full(B, &d);
	expect_ok(backend_stage_discard(&t.base, B, &err), &err);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_NOT_FOUND);
	stage_close(st);
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(count_stages(&t.base), 0);
	check_no_blob(env.fast, &d);
}

static int note_name(void *arg, const char *name, struct stow_err *err UNUSED)
{
	char *seen = arg;

	size_t n = strlen(seen);

	(void)snprintf(seen + n, SEEN_MAX - n, "%s", name);
	return 0;
}

static void the_scan_shows_what_can_be_discarded(void **state UNUSED)
{
	static const char FETCH[] = "fe7c000000000001";
	struct digest d = right();
	struct stage *open, *fetch;
	char seen[SEEN_MAX] = "";
	struct stow_err err;

	stage_close(create_full(A, &d));
	expect_ok(backend_stage_discard(env.fast, A, &err), &err); /* a crash has left the record alone */
	open = create(B, &d);
	expect_ok(backend_stage_create(env.fast, FETCH, NULL, &fetch, &err), &err);
	stage_close(fetch);
	expect_ok(backend_stage_scan(&t.base, note_name, seen, &err), &err);
	assert_string_equal(seen, "00000000000000aa00000000000000bb");
	expect_ok(backend_stage_discard(&t.base, A, &err), &err);
	assert_false(has_record(A));
	stage_close(open);
}

/* --- commits that wait --- */

static void a_commit_fails_with_its_upload(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	t.commit_wait_ns = INT64_MAX;
	st = create_full(A, NULL);
	queue_env_fault(&env, FAULT_SEND_FINISH, 1, false, STOW_NOT_FOUND);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "bucket");
	check_no_blob(env.fast, &d);
	expect_ok(stage_publish(st, &d, &err), &err); /* again */
	stage_close(st);
	check_blob(env.fast, &d, N, 1);
	check_blob(env.behind, &d, N, 1);
	assert_int_equal(queue_env_records(&env), 0);
}

static void a_commit_that_waits_replaces_what_is_wrong(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	put_blob(env.behind, &d, N, 2);
	t.commit_wait_ns = INT64_MAX;
	atomic_store(&parts.bad, true);
	st = create_full(A, &d);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(env.behind, &d, N, 1);
	assert_int_equal(parts.made_good, 1);
}

static void it_fails_at_once_where_nobody_answers(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	t.commit_wait_ns = INT64_MAX;
	open_circuit();
	st = create_full(A, &d);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_UNAVAILABLE);
	stage_close(st);
	assert_int_equal(count_stages(&t.base), 1);
}

static void what_was_sent_is_not_sent_again(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	t.commit_wait_ns = INT64_MAX;
	st = create_full(A, &d);
	atomic_store(&env.fast_plan.code, STOW_INTERNAL);
	atomic_store(&env.fast_plan.after[FAULT_STAGE_PUBLISH], 1);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_INTERNAL);
	check_blob(env.behind, &d, N, 1);
	queue_env_fault(&env, FAULT_SEND_FINISH, 1, true, STOW_INTERNAL);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
}

/* What was sent before the commit failed here is not what is committed in the end. */
static void what_was_sent_as_another_blob_is_sent_again(void **state UNUSED)
{
	struct digest first = right(), d = blob_digest(DIGEST_SHA512, N, 1);
	struct stow_err err;
	struct stage *st;

	t.commit_wait_ns = INT64_MAX;
	st = create_full(A, &first);
	atomic_store(&env.fast_plan.code, STOW_INTERNAL);
	atomic_store(&env.fast_plan.after[FAULT_STAGE_PUBLISH], 1);
	expect_fail(stage_publish(st, &first, &err), &err, STOW_INTERNAL);
	expect_ok(stage_publish(st, &d, &err), &err);
	check_blob(env.behind, &d, N, 1);
	stage_close(st);
}

/* --- a full disk --- */

/* Of bytes or of files: which of the two a disk does not say. */
static void room_is_made_when_the_disk_is_full(void **state UNUSED)
{
	static const enum fault_op where[] = { FAULT_STAGE_CREATE, FAULT_STAGE_WRITE, FAULT_STAGE_PUBLISH };
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	for (unsigned i = 0; i < ARRAY_LEN(where); i++) {
		atomic_store(&env.fast_plan.code, STOW_RESOURCE_EXHAUSTED);
		atomic_store(&env.fast_plan.after[where[i]], 1);
		st = create_full(A, NULL);
		expect_ok(stage_publish(st, &d, &err), &err);
		stage_close(st);
		assert_int_equal(parts.rooms, i + 1);
		check_blob(env.fast, &d, N, 1);
		expect_ok(backend_remove(env.fast, &d, &err), &err);
	}
	atomic_store(&parts.no_room, true);
	st = create(A, NULL);
	atomic_store(&env.fast_plan.after[FAULT_STAGE_WRITE], 1);
	expect_fail(write_some(st, 0, N, &err), &err, STOW_RESOURCE_EXHAUSTED);
	atomic_store(&env.fast_plan.code, STOW_INTERNAL); /* another failure is not helped by room */
	atomic_store(&env.fast_plan.after[FAULT_STAGE_WRITE], 1);
	expect_fail(write_some(st, 0, N, &err), &err, STOW_INTERNAL);
	assert_int_equal(parts.rooms, ARRAY_LEN(where) + 1);
	stage_close(st);
}

/* --- nothing behind is writable --- */

static void sources_alone_get_nothing(void **state UNUSED)
{
	struct digest d = right();
	struct stow_err err;
	struct stage *st;

	t.queue = NULL;
	t.commit_wait_ns = INT64_MAX;
	st = create_full(A, &d);
	stage_close(st);
	expect_ok(backend_stage_resume(&t.base, A, N, NULL, &st, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	st = create(B, &d);
	expect_ok(backend_stage_discard(&t.base, B, &err), &err);
	stage_close(st);
	assert_int_equal(count_stages(&t.base), 0);
	assert_int_equal(queue_env_records(&env), 0);
	check_no_blob(env.behind, &d);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(what_is_sent_becomes_the_queues),
		CASE(nothing_is_sent_without_a_name_or_need),
		CASE(trouble_behind_is_none_here),
		CASE(a_wrong_guess_is_given_up),
		CASE(bytes_are_cut_only_if_they_are_not_sent),
		CASE(a_kept_stage_keeps_what_was_sent),
		CASE(resuming_voids_what_it_cannot_take_up),
		CASE(discarding_gives_up_both),
		CASE(the_scan_shows_what_can_be_discarded),
		CASE(a_commit_fails_with_its_upload),
		CASE(a_commit_that_waits_replaces_what_is_wrong),
		CASE(it_fails_at_once_where_nobody_answers),
		CASE(what_was_sent_is_not_sent_again),
		CASE(what_was_sent_as_another_blob_is_sent_again),
		CASE(room_is_made_when_the_disk_is_full),
		CASE(sources_alone_get_nothing),
	};

	return cmocka_run_group_tests_name("tiered stage", tests, NULL, NULL);
}
