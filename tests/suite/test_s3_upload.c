/* What an upload costs while all goes well, and what becomes of it when the bucket, or others, do not play
 * along. */
#include "tests/suite/s3_upload_env.h"

#include <time.h>

/* --- beside the writing --- */

static void parts_go_while_bytes_come(void **state)
{
	(void)state;
	env_create(&env.hint);
	env_write(0, 6 * MIB);
	env_wait_for(FAKE_PART, 1);
	env_write(6 * MIB, SIZE);
	/* The last one, too: as many bytes as were declared are there. */
	env_wait_for(FAKE_PART, PARTS);
	assert_int_equal(fake_objects(), 0);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	env_check_whole();
}

static void nothing_goes_without_a_name(void **state)
{
	(void)state;
	env_create(NULL);
	env_write(0, SIZE);
	assert_int_equal(fake_count(FAKE_CREATE), 0);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

static void wrong_guess_is_aborted(void **state)
{
	struct stage_hint other = env_other_hint();

	(void)state;
	env_create(&other);
	env_write(0, SIZE);
	env_wait_for(FAKE_PART, PARTS);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), 2 * PARTS);
	env_check_whole();
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
	env_create(NULL);
	env_write(0, SIZE);
	env_publish_ok();
	env.name = new_name();
	env_create(&env.hint);
	env_write(0, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

static void no_more_parts_at_once_than_configured(void **state)
{
	(void)state;
	fake_hold(true);
	env_create(&env.hint);
	env_write(0, SIZE);
	fake_wait_held(3);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	assert_int_equal(fake_count(FAKE_PART), 0); /* three wait, the fourth has not begun */
	fake_hold(false);
	env_publish_ok();
	env_check_whole();
}

static void closing_does_not_wait_for_parts(void **state)
{
	(void)state;
	fake_hold(true);
	env_create(&env.hint);
	env_write(0, SIZE);
	fake_wait_held(3);
	env_park(); /* would never end if it waited */
	fake_hold(false);
	env_resume(SIZE, &env.hint);
	env_publish_ok();
	env_check_whole();
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
		env_create(&env.hint);
		env_write(0, SIZE);
		env_wait_for(ops[i], 1);
		env_publish_ok();
		env_check_whole();
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
		env_create(NULL);
		env_write(0, SIZE);
		fake_fail(cases[i].op, 1, 1, cases[i].code);
		env_publish_fails(cases[i].code);
		env_publish_ok();
		env_check_whole();
	}
}

static void failed_publish_can_be_repeated_after_a_restart(void **state)
{
	(void)state;
	env_create(NULL);
	env_write(0, SIZE);
	fake_fail(FAKE_COMPLETE, 1, 1, STOW_UNAVAILABLE);
	env_publish_fails(STOW_UNAVAILABLE);
	env_park();
	env_reopen();
	env_resume(SIZE, &env.hint);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

static void lost_answer_is_no_loss(void **state)
{
	struct digest small = blob_digest(DIGEST_SHA256, 1000, 3);
	struct stow_err err;

	(void)state;
	fake_lose_answer(STOW_UNAVAILABLE);
	env_create(&env.hint);
	env_write(0, SIZE);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_UNAVAILABLE);
	env_publish_ok();
	env_check_whole();
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
		env_create(&env.hint);
		env_write(0, SIZE);
		fake_fail(FAKE_COMPLETE, 1, 1, codes[i]);
		env_publish_ok();
		assert_int_equal(fake_count(FAKE_CREATE), 2);
		env_check_whole();
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
	env_reopen();
	fake_fail(FAKE_COMPLETE, 1, 1, STOW_UNIMPLEMENTED);
	env_create(&env.hint);
	env_write(0, SIZE);
	env_publish_ok();
	assert_int_equal(fake_count(FAKE_COMPLETE), 2);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
}

/* --- others write, too --- */

static void another_was_faster(void **state)
{
	CLEANUP(freep) char *key = env_key(&env.d);

	(void)state;
	env_create(&env.hint);
	env_write(0, SIZE);
	env_wait_for(FAKE_PART, PARTS);
	fake_put(key, SIZE, 1);
	env_publish_ok();
	env_check_whole();
}

/* What has a blob's name but not its size is no blob: it is replaced. */
static void wrong_object_is_replaced(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 3);
	CLEANUP(freep) char *key = env_key(&env.d);
	CLEANUP(freep) char *small = env_key(&d);

	(void)state;
	fake_put(key, 100, 5);
	fake_put(small, 100, 5);
	env_create(&env.hint);
	env_write(0, SIZE);
	env_publish_ok();
	check_blob(env.b, &env.d, SIZE, 1);
	put_blob(env.b, &d, 1000, 3);
	check_blob(env.b, &d, 1000, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_CASE(parts_go_while_bytes_come),
		ENV_CASE(nothing_goes_without_a_name),
		ENV_CASE(wrong_guess_is_aborted),
		ENV_CASE(small_blob_is_one_request),
		ENV_CASE(what_is_there_is_not_sent),
		ENV_CASE(no_more_parts_at_once_than_configured),
		ENV_CASE(closing_does_not_wait_for_parts),
		ENV_CASE(failure_beside_the_writing_is_made_good),
		ENV_CASE(failed_publish_can_be_repeated),
		ENV_CASE(failed_publish_can_be_repeated_after_a_restart),
		ENV_CASE(lost_answer_is_no_loss),
		ENV_CASE(complete_that_cannot_be_begins_again),
		ENV_CASE(server_without_conditions),
		ENV_CASE(another_was_faster),
		ENV_CASE(wrong_object_is_replaced),
	};

	return cmocka_run_group_tests_name("s3 upload", tests, NULL, NULL);
}
