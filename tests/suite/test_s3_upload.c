/* What becomes of an upload, whatever the bucket says, and what it costs: on a bucket in memory. */
#include "backends/s3/s3.h"
#include "content/base/hash.h"
#include "content/base/mem.h"
#include "tests/suite/s3_fake.h"
#include "tests/suite/suite.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

/* Four parts, the last one shorter. */
enum { MIB = 1 << 20, SIZE = 17 * MIB, PARTS = 4 };

static struct {
	char dir[TEMP_DIR_MAX];
	struct backend *b;
	uint8_t *bytes; /* SIZE of fill(1) */
	struct digest d;
	struct stage_hint hint;
	struct stage_name name;
	struct stage *st;
} env;

static void reopen(void)
{
	struct s3_options o = fake_options();
	struct stow_err err;

	backend_free(TAKE(env.b));
	expect_ok(s3_new(&o, env.dir, &env.b, &err), &err);
}

static int setup(void **state)
{
	(void)state;
	memset(&env, 0, sizeof(env));
	fake_reset();
	temp_dir_make(env.dir);
	reopen();
	env.bytes = x_malloc(SIZE);
	fill(env.bytes, SIZE, 1);
	env.d = blob_digest(DIGEST_SHA256, SIZE, 1);
	env.hint = (struct stage_hint){ .digest = env.d, .total = SIZE };
	env.name = new_name();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_hold(false);
	stage_close(env.st);
	backend_free(env.b);
	free(env.bytes);
	temp_dir_remove(env.dir);
	return 0;
}

static void create(const struct stage_hint *hint)
{
	struct stow_err err;

	expect_ok(backend_stage_create(env.b, env.name.s, hint, &env.st, &err), &err);
}

static void resume(uint64_t size, const struct stage_hint *hint)
{
	struct stow_err err;

	expect_ok(backend_stage_resume(env.b, env.name.s, size, hint, &env.st, &err), &err);
}

static void park(void)
{
	stage_close(TAKE(env.st));
}

static void write_to(size_t from, size_t to)
{
	struct stow_err err;

	for (; from < to; from += MIB)
		expect_ok(
			write_bytes(env.st, env.bytes + from, to - from < MIB ? to - from : MIB, from, &err),
			&err);
	expect_ok(stage_sync(env.st, &err), &err);
}

static void publish_ok(void)
{
	struct stow_err err;

	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	park();
}

static void publish_fails(enum stow_code code)
{
	struct stow_err err;

	expect_fail(stage_publish(env.st, &env.d, &err), &err, code);
	check_no_blob(env.b, &env.d);
}

/* Waits for what happens on other threads; fails after some seconds. */
static void wait_for(enum fake_op op, unsigned n)
{
	for (int i = 0; fake_count(op) < n; i++) {
		assert_true(i < 5000);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static void wait_for_uploads(unsigned n)
{
	for (int i = 0; fake_uploads() != n; i++) {
		assert_true(i < 5000);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

/* The blob is there, and nothing else is left: neither in the bucket nor on the disk. */
static void check_whole(void)
{
	check_blob(env.b, &env.d, SIZE, 1);
	assert_int_equal(fake_objects(), 1);
	assert_int_equal(count_stages(env.b), 0);
	wait_for_uploads(0);
}

static struct stage_hint other_hint(void)
{
	return (struct stage_hint){ .digest = blob_digest(DIGEST_SHA256, SIZE, 2), .total = SIZE };
}

/* --- beside the writing --- */

static void parts_go_while_bytes_come(void **state)
{
	(void)state;
	create(&env.hint);
	write_to(0, 6 * MIB);
	wait_for(FAKE_PART, 1);
	write_to(6 * MIB, SIZE);
	/* The last one, too: as many bytes as were declared are there. */
	wait_for(FAKE_PART, PARTS);
	assert_int_equal(fake_objects(), 0);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	check_whole();
}

static void nothing_goes_without_a_name(void **state)
{
	(void)state;
	create(NULL);
	write_to(0, SIZE);
	assert_int_equal(fake_count(FAKE_CREATE), 0);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_whole();
}

static void wrong_guess_is_aborted(void **state)
{
	struct stage_hint other = other_hint();

	(void)state;
	create(&other);
	write_to(0, SIZE);
	wait_for(FAKE_PART, PARTS);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), 2 * PARTS);
	check_whole();
	check_no_blob(env.b, &other.digest);
}

static void small_blob_is_one_request(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 3);

	(void)state;
	put_blob(env.b, &d, 1000, 3);
	assert_int_equal(fake_count(FAKE_PUT), 1);
	assert_int_equal(fake_count(FAKE_HEAD), 0);
	assert_int_equal(fake_count(FAKE_CREATE), 0);
	check_blob(env.b, &d, 1000, 3);
}

static void what_is_there_is_not_sent(void **state)
{
	(void)state;
	create(NULL);
	write_to(0, SIZE);
	publish_ok();
	env.name = new_name();
	create(&env.hint);
	write_to(0, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_whole();
}

static void no_more_parts_at_once_than_configured(void **state)
{
	(void)state;
	fake_hold(true);
	create(&env.hint);
	write_to(0, SIZE);
	fake_wait_held(3);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	assert_int_equal(fake_count(FAKE_PART), 0); /* three wait, the fourth has not begun */
	fake_hold(false);
	publish_ok();
	check_whole();
}

static void closing_does_not_wait_for_parts(void **state)
{
	(void)state;
	fake_hold(true);
	create(&env.hint);
	write_to(0, SIZE);
	fake_wait_held(3);
	park(); /* would never end if it waited */
	fake_hold(false);
	resume(SIZE, &env.hint);
	publish_ok();
	check_whole();
}

/* --- resuming --- */

static void resume_sends_only_what_is_missing(void **state)
{
	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	reopen();
	resume(11 * MIB, &env.hint);
	write_to(11 * MIB, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	check_whole();
}

static void resume_without_hint_takes_it_up_too(void **state)
{
	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	resume(11 * MIB, NULL);
	write_to(11 * MIB, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_whole();
}

static void resume_with_another_guess_begins_again(void **state)
{
	struct stage_hint other = other_hint();

	(void)state;
	create(&other);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	resume(11 * MIB, &env.hint);
	wait_for(FAKE_ABORT, 1);
	write_to(11 * MIB, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), 2 + PARTS);
	check_whole();
}

/* A part of bytes that a crash has taken must not count, also where the same number of bytes is there again
 * and the bucket has a part of that number. */
static void bytes_that_were_lost_do_not_count(void **state)
{
	struct stow_err err;

	(void)state;
	create(&env.hint);
	fill(env.bytes + 3 * MIB, SIZE - 3 * MIB, 9);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	reopen();
	resume(3 * MIB, &env.hint); /* as far as it was durable */
	fake_fail(FAKE_PART, 1, 99, STOW_UNAVAILABLE);
	fill(env.bytes, SIZE, 1);
	write_to(3 * MIB, 11 * MIB);
	park();
	reopen();
	fake_fail(FAKE_PART, 1, 0, STOW_OK);
	resume(11 * MIB, &env.hint);
	write_to(11 * MIB, SIZE);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	park();
	check_whole();
}

static void upload_that_is_gone_begins_again(void **state)
{
	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	fake_reset(); /* the bucket's own rules have removed it */
	resume(11 * MIB, &env.hint);
	write_to(11 * MIB, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_whole();
}

static void damaged_record_is_no_obstacle(void **state)
{
	CLEANUP(freep) char *path = x_asprintf("%s/ingest/%s.upload", env.dir, env.name.s);
	FILE *f;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("stowage-upload 1\nkey \n", f);
	fclose(f);
	resume(11 * MIB, &env.hint);
	write_to(11 * MIB, SIZE);
	publish_ok();
	check_blob(env.b, &env.d, SIZE, 1);
	assert_int_equal(fake_uploads(), 1); /* whose nobody knows */
}

/* --- the bucket fails --- */

static void failure_beside_the_writing_is_made_good(void **state)
{
	static const enum fake_op ops[] = { FAKE_HEAD, FAKE_CREATE, FAKE_PART };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		fake_reset();
		env.name = new_name();
		fake_fail(ops[i], 1, 1, STOW_UNAVAILABLE);
		create(&env.hint);
		write_to(0, SIZE);
		wait_for(ops[i], 1);
		publish_ok();
		check_whole();
	}
}

static void failed_publish_can_be_repeated(void **state)
{
	static const struct {
		enum fake_op op;
		enum stow_code code;
	} cases[] = {
		{ FAKE_HEAD, STOW_UNAVAILABLE },
		{ FAKE_CREATE, STOW_PERMISSION_DENIED },
		{ FAKE_PART, STOW_RESOURCE_EXHAUSTED },
		{ FAKE_COMPLETE, STOW_UNAVAILABLE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		fake_reset();
		env.name = new_name();
		create(NULL);
		write_to(0, SIZE);
		fake_fail(cases[i].op, 1, 1, cases[i].code);
		publish_fails(cases[i].code);
		publish_ok();
		check_whole();
	}
}

static void failed_publish_can_be_repeated_after_a_restart(void **state)
{
	(void)state;
	create(NULL);
	write_to(0, SIZE);
	fake_fail(FAKE_COMPLETE, 1, 1, STOW_UNAVAILABLE);
	publish_fails(STOW_UNAVAILABLE);
	park();
	reopen();
	resume(SIZE, &env.hint);
	publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_whole();
}

static void lost_answer_is_no_loss(void **state)
{
	struct digest small = blob_digest(DIGEST_SHA256, 1000, 3);
	struct stow_err err;

	(void)state;
	fake_lose_answer(STOW_UNAVAILABLE);
	create(&env.hint);
	write_to(0, SIZE);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_UNAVAILABLE);
	publish_ok();
	check_whole();
	fake_lose_answer(STOW_UNAVAILABLE);
	expect_fail(try_put_blob(env.b, &small, 1000, 3, &err), &err, STOW_UNAVAILABLE);
	put_blob(env.b, &small, 1000, 3);
	check_blob(env.b, &small, 1000, 3);
}

static void complete_that_cannot_be_begins_again(void **state)
{
	static const enum stow_code codes[] = { STOW_NOT_FOUND, STOW_INVALID_ARGUMENT, STOW_ABORTED };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		fake_reset();
		env.name = new_name();
		create(&env.hint);
		write_to(0, SIZE);
		fake_fail(FAKE_COMPLETE, 1, 1, codes[i]);
		publish_ok();
		assert_int_equal(fake_count(FAKE_CREATE), 2);
		check_whole();
	}
}

static void server_without_conditions(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 3);

	(void)state;
	fake_fail(FAKE_PUT, 1, 1, STOW_UNIMPLEMENTED);
	put_blob(env.b, &d, 1000, 3);
	assert_int_equal(fake_count(FAKE_PUT), 2);
	/* It is remembered: from now on a look, and one PUT at most. */
	put_blob(env.b, &d, 1000, 3);
	assert_int_equal(fake_count(FAKE_PUT), 2);
	reopen();
	fake_fail(FAKE_COMPLETE, 1, 1, STOW_UNIMPLEMENTED);
	create(&env.hint);
	write_to(0, SIZE);
	publish_ok();
	assert_int_equal(fake_count(FAKE_COMPLETE), 2);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
}

/* --- others write, too --- */

static char *key_of(const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	return x_asprintf("a/prefix/blobs/sha256/%s", hex);
}

static void another_was_faster(void **state)
{
	CLEANUP(freep) char *key = key_of(&env.d);

	(void)state;
	create(&env.hint);
	write_to(0, SIZE);
	wait_for(FAKE_PART, PARTS);
	fake_put(key, SIZE, 1);
	publish_ok();
	check_whole();
}

/* What has a blob's name but not its size is no blob: it is replaced. */
static void wrong_object_is_replaced(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 3);
	CLEANUP(freep) char *key = key_of(&env.d);
	CLEANUP(freep) char *small = key_of(&d);

	(void)state;
	fake_put(key, 100, 5);
	fake_put(small, 100, 5);
	create(&env.hint);
	write_to(0, SIZE);
	publish_ok();
	check_blob(env.b, &env.d, SIZE, 1);
	put_blob(env.b, &d, 1000, 3);
	check_blob(env.b, &d, 1000, 3);
}

/* --- giving up --- */

static void discard_aborts_the_upload(void **state)
{
	struct stow_err err;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	wait_for_uploads(0);
}

static void discard_of_an_open_stage_aborts_at_its_close(void **state)
{
	struct stow_err err;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_NOT_FOUND);
	park();
	assert_int_equal(count_stages(env.b), 0);
	wait_for_uploads(0);
}

static void truncate_aborts_the_upload(void **state)
{
	struct stow_err err;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	expect_ok(stage_truncate(env.st, 0, &err), &err);
	wait_for(FAKE_ABORT, 1);
	write_to(0, SIZE);
	publish_ok();
	check_whole();
}

/* The bucket cannot be reached when an upload is to be aborted: it is, when it can, if need be by the next
 * process. */
static void abort_is_not_forgotten(void **state)
{
	struct stow_err err;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	fake_fail(FAKE_ABORT, 1, 99, STOW_UNAVAILABLE);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	wait_for(FAKE_ABORT, 1);
	assert_int_equal(fake_uploads(), 1);
	fake_fail(FAKE_ABORT, 1, 0, STOW_OK);
	reopen();
	wait_for_uploads(0);
}

/* A power loss may leave the record without its spool. */
static void record_without_spool_is_a_stage(void **state)
{
	CLEANUP(freep) char *path = x_asprintf("%s/ingest/%s", env.dir, env.name.s);
	struct stow_err err;

	(void)state;
	create(&env.hint);
	write_to(0, 11 * MIB);
	wait_for(FAKE_PART, 2);
	park();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(count_stages(env.b), 1);
	expect_fail(backend_stage_resume(env.b, env.name.s, 0, NULL, &env.st, &err), &err, STOW_NOT_FOUND);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	wait_for_uploads(0);
}

int main(void)
{
#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f, setup, teardown, NULL                                                                 \
	}
	const struct CMUnitTest tests[] = {
		CASE(parts_go_while_bytes_come),
		CASE(nothing_goes_without_a_name),
		CASE(wrong_guess_is_aborted),
		CASE(small_blob_is_one_request),
		CASE(what_is_there_is_not_sent),
		CASE(no_more_parts_at_once_than_configured),
		CASE(closing_does_not_wait_for_parts),
		CASE(resume_sends_only_what_is_missing),
		CASE(resume_without_hint_takes_it_up_too),
		CASE(resume_with_another_guess_begins_again),
		CASE(bytes_that_were_lost_do_not_count),
		CASE(upload_that_is_gone_begins_again),
		CASE(damaged_record_is_no_obstacle),
		CASE(failure_beside_the_writing_is_made_good),
		CASE(failed_publish_can_be_repeated),
		CASE(failed_publish_can_be_repeated_after_a_restart),
		CASE(lost_answer_is_no_loss),
		CASE(complete_that_cannot_be_begins_again),
		CASE(server_without_conditions),
		CASE(another_was_faster),
		CASE(wrong_object_is_replaced),
		CASE(discard_aborts_the_upload),
		CASE(discard_of_an_open_stage_aborts_at_its_close),
		CASE(truncate_aborts_the_upload),
		CASE(abort_is_not_forgotten),
		CASE(record_without_spool_is_a_stage),
	};

	return cmocka_run_group_tests_name("s3 upload", tests, NULL, NULL);
}
