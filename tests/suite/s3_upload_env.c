#include "tests/suite/s3_upload_env.h"

#include <stdio.h>
#include <time.h>

struct upload_env env;

void env_reopen(void)
{
	struct s3_options o = fake_options();
	struct stow_err err;

	backend_free(TAKE(env.b));
	expect_ok(s3_new(&o, env.dir, &env.b, &err), &err);
}

int env_setup(void **state)
{
	(void)state;
	memset(&env, 0, sizeof(env));
	fake_reset();
	temp_dir_make(env.dir);
	env_reopen();
	env.bytes = x_malloc(SIZE);
	fill(env.bytes, SIZE, 1);
	env.d = blob_digest(DIGEST_SHA256, SIZE, 1);
	env.hint = (struct stage_hint){ .digest = env.d, .total = SIZE };
	env.name = new_name();
	return 0;
}

int env_teardown(void **state)
{
	(void)state;
	fake_hold(false);
	stage_close(env.st);
	backend_free(env.b);
	free(env.bytes);
	temp_dir_remove(env.dir);
	return 0;
}

void env_create(const struct stage_hint *hint)
{
	struct stow_err err;

	expect_ok(backend_stage_create(env.b, env.name.s, hint, &env.st, &err), &err);
}

void env_resume(uint64_t size, const struct stage_hint *hint)
{
	struct stow_err err;

	expect_ok(backend_stage_resume(env.b, env.name.s, size, hint, &env.st, &err), &err);
}

void env_park(void)
{
	stage_close(TAKE(env.st));
}

void env_write(size_t from, size_t to)
{
	struct stow_err err;

	for (; from < to; from += MIB)
		expect_ok(
			write_bytes(env.st, env.bytes + from, to - from < MIB ? to - from : MIB, from, &err),
			&err);
	expect_ok(stage_sync(env.st, &err), &err);
}

void env_publish_ok(void)
{
	struct stow_err err;

	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	env_park();
}

void env_publish_fails(enum stow_code code)
{
	struct stow_err err;

	expect_fail(stage_publish(env.st, &env.d, &err), &err, code);
	check_no_blob(env.b, &env.d);
}

/* Waits for what happens on other threads; fails after some seconds. */
void env_wait_for(enum fake_op op, unsigned n)
{
	for (int i = 0; fake_count(op) < n; i++) {
		assert_true(i < 5000);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

void env_wait_for_uploads(unsigned n)
{
	for (int i = 0; fake_uploads() != n; i++) {
		assert_true(i < 5000);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

/* The blob is there, and nothing else is left: neither in the bucket nor on the disk. */
void env_check_whole(void)
{
	check_blob(env.b, &env.d, SIZE, 1);
	assert_int_equal(fake_objects(), 1);
	assert_int_equal(count_stages(env.b), 0);
	env_wait_for_uploads(0);
}

struct stage_hint env_other_hint(void)
{
	return (struct stage_hint){ .digest = blob_digest(DIGEST_SHA256, SIZE, 2), .total = SIZE };
}

char *env_key(const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	return x_asprintf("a/prefix/blobs/sha256/%s", hex);
}
