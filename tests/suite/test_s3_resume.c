/* Uploads that were interrupted: taken up again, or given up; nothing is sent twice, nothing wrong counts,
 * and nothing is left behind. */
#include "tests/suite/s3_upload_env.h"

#include <stdio.h>

/* --- resuming --- */

static void resume_sends_only_what_is_missing(void **state)
{
	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	env_reopen();
	env_resume(11 * MIB, &env.hint);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	env_check_whole();
}

static void resume_without_hint_takes_it_up_too(void **state)
{
	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	env_resume(11 * MIB, NULL);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

static void resume_with_another_guess_begins_again(void **state)
{
	struct stage_hint other = env_other_hint();

	(void)state;
	env_create(&other);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	env_resume(11 * MIB, &env.hint);
	env_wait_for(FAKE_ABORT, 1);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), 2 + PARTS);
	env_check_whole();
}

/* A part of bytes that a crash has taken must not count, also where the same number of bytes is there again
 * and the bucket has a part of that number. */
static void bytes_that_were_lost_do_not_count(void **state)
{
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	fill(env.bytes + 3 * MIB, SIZE - 3 * MIB, 9);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	env_reopen();
	env_resume(3 * MIB, &env.hint); /* as far as it was durable */
	fake_fail(FAKE_PART, 1, 99, STOW_UNAVAILABLE);
	fill(env.bytes, SIZE, 1);
	env_write(3 * MIB, 11 * MIB);
	env_park();
	env_reopen();
	fake_fail(FAKE_PART, 1, 0, STOW_OK);
	env_resume(11 * MIB, &env.hint);
	env_write(11 * MIB, SIZE);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	env_park();
	env_check_whole();
}

static void upload_that_is_gone_begins_again(void **state)
{
	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	fake_reset(); /* the bucket's own rules have removed it */
	env_resume(11 * MIB, &env.hint);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

static void damaged_record_is_no_obstacle(void **state)
{
	CLEANUP(freep) char *path = x_asprintf("%s/ingest/%s.upload", env.dir, env.name.s);
	FILE *f;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("stowage-upload 1\nkey \n", f);
	fclose(f);
	env_resume(11 * MIB, &env.hint);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	check_blob(env.b, &env.d, SIZE, 1);
	assert_int_equal(fake_uploads(), 1); /* whose nobody knows */
}

/* A crash before the record had its name. */
static void records_without_their_name_are_found(void **state)
{
	CLEANUP(freep) char *record = x_asprintf("%s/ingest/%s.upload", env.dir, env.name.s);
	CLEANUP(freep) char *unnamed = x_asprintf("%s.new", record);

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	assert_int_equal(rename(record, unnamed), 0);
	env_reopen();
	env_resume(11 * MIB, &env.hint);
	env_write(11 * MIB, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	env_check_whole();
}

/* --- giving up --- */

static void discard_aborts_the_upload(void **state)
{
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	env_wait_for_uploads(0);
}

static void discard_of_an_open_stage_aborts_at_its_close(void **state)
{
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_NOT_FOUND);
	env_park();
	assert_int_equal(count_stages(env.b), 0);
	env_wait_for_uploads(0);
}

static void truncate_aborts_the_upload(void **state)
{
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	expect_ok(stage_truncate(env.st, 0, &err), &err);
	env_wait_for(FAKE_ABORT, 1);
	env_write(0, SIZE);
	env_publish_ok();
	env_check_whole();
}

/* The bucket cannot be reached when an upload is to be aborted: it is, when it can, if need be by the next
 * process. */
static void abort_is_not_forgotten(void **state)
{
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	fake_fail(FAKE_ABORT, 1, 99, STOW_UNAVAILABLE);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	env_wait_for(FAKE_ABORT, 1);
	assert_int_equal(fake_uploads(), 1);
	fake_fail(FAKE_ABORT, 1, 0, STOW_OK);
	env_reopen();
	env_wait_for_uploads(0);
}

/* A power loss may leave the record without its spool. */
static void record_without_spool_is_a_stage(void **state)
{
	CLEANUP(freep) char *path = x_asprintf("%s/ingest/%s", env.dir, env.name.s);
	struct stow_err err;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(count_stages(env.b), 1);
	expect_fail(backend_stage_resume(env.b, env.name.s, 0, NULL, &env.st, &err), &err, STOW_NOT_FOUND);
	expect_ok(backend_stage_discard(env.b, env.name.s, &err), &err);
	assert_int_equal(count_stages(env.b), 0);
	env_wait_for_uploads(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_CASE(resume_sends_only_what_is_missing),
		ENV_CASE(resume_without_hint_takes_it_up_too),
		ENV_CASE(resume_with_another_guess_begins_again),
		ENV_CASE(bytes_that_were_lost_do_not_count),
		ENV_CASE(upload_that_is_gone_begins_again),
		ENV_CASE(damaged_record_is_no_obstacle),
		ENV_CASE(records_without_their_name_are_found),
		ENV_CASE(discard_aborts_the_upload),
		ENV_CASE(discard_of_an_open_stage_aborts_at_its_close),
		ENV_CASE(truncate_aborts_the_upload),
		ENV_CASE(abort_is_not_forgotten),
		ENV_CASE(record_without_spool_is_a_stage),
	};

	return cmocka_run_group_tests_name("s3 resume", tests, NULL, NULL);
}
