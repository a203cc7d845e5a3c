/* The bucket behind a tiered backend: what is asked of it, what is sent and what is kept, beyond the promises
 * of content/behind.h, which the suite has. */
#include "content/behind.h"
#include "tests/suite/s3_upload_env.h"

#include <stdio.h>
#include <time.h>

static atomic_bool shut; /* the first source must not be read any more */

static int read_first(void *arg UNUSED, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	if (atomic_load(&shut))
		return stow_fail(err, STOW_INTERNAL, "a read of a source that is gone");
	memcpy(to, env.bytes + off, n);
	return 0;
}

static int read_second(void *arg UNUSED, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	memcpy(to, env.bytes + off, n);
	return 0;
}

static const struct behind_ops *ops(void)
{
	return env.b->ops->behind;
}

/* The record of the finished blob env.d. */
static const char *blob_record(void)
{
	static char record[SENDING_RECORD_MAX];
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(&env.d, hex);
	(void)snprintf(record, sizeof(record), "sha256-%s", hex);
	return record;
}

static struct sending *begin(const char *record, uint64_t have)
{
	struct sending *s = NULL;
	struct stow_err err;

	atomic_store(&shut, false);
	expect_ok(ops()->send_open(env.b, record, &env.hint, have, read_first, NULL, &s, &err), &err);
	return s;
}

static void move(struct sending *s)
{
	struct stow_err err;

	expect_ok(ops()->send_move(s, blob_record(), read_second, NULL, &err), &err);
	atomic_store(&shut, true);
}

static void finish(struct sending *s, unsigned flags)
{
	struct stow_err err;

	expect_ok(ops()->send_finish(s, &env.d, SIZE, flags, &err), &err);
	ops()->send_close(s, false);
}

static int see_record(void *arg, const char *name, struct stow_err *err UNUSED)
{
	(void)snprintf(arg, SENDING_RECORD_MAX, "%s", name);
	return 0;
}

/* The last of the records; "" if there is none. */
static void expect_record(const char *name)
{
	char last[SENDING_RECORD_MAX] = "";
	struct stow_err err;

	expect_ok(ops()->send_scan(env.b, see_record, last, &err), &err);
	assert_string_equal(last, name);
}

/* --- looks --- */

static void a_look_is_one_request(void **state)
{
	struct blob_stat st;
	struct stow_err err;

	(void)state;
	expect_fail(ops()->look(env.b, &env.d, &st, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(fake_count(FAKE_HEAD), 1);
	assert_int_equal(fake_count(FAKE_GET), 0);
	/* One that is refused has no reason in it: a second one asks for that. */
	fake_fail(FAKE_HEAD, 1, 1, STOW_PERMISSION_DENIED);
	fake_fail(FAKE_GET, 1, 1, STOW_PERMISSION_DENIED);
	expect_fail(ops()->look(env.b, &env.d, &st, &err), &err, STOW_PERMISSION_DENIED);
	assert_int_equal(fake_count(FAKE_GET), 1);
	fake_fail(FAKE_HEAD, 1, 1, STOW_FAILED_PRECONDITION);
	expect_fail(ops()->look(env.b, &env.d, &st, &err), &err, STOW_INTERNAL);
	backend_stop(env.b);
	expect_fail(ops()->look(env.b, &env.d, &st, &err), &err, STOW_UNAVAILABLE);
}

static uint64_t open_version(struct blob **ret_blob)
{
	struct stow_err err;

	expect_ok(backend_open(env.b, &env.d, 0, ret_blob, &err), &err);
	assert_true((*ret_blob)->version != 0);
	return (*ret_blob)->version;
}

/* Its ETag tells; a handle that is asked for its own goes over to no other one. */
static void an_object_that_is_replaced_has_another_version(void **state)
{
	CLEANUP(freep) char *key = env_key(&env.d);
	CLEANUP(blob_closep) struct blob *first = NULL, *same = NULL, *other = NULL;
	CLEANUP(freep) uint8_t *to = x_malloc(1000);
	uint64_t version;
	struct stow_err err;
	size_t got;

	(void)state;
	fake_put(key, SIZE, 1);
	version = open_version(&first);
	assert_true(open_version(&same) == version);
	fake_put(key, SIZE, 2);
	assert_true(open_version(&other) != version);
	expect_fail(blob_pread(first, to, 1000, 0, BACKEND_READ_SAME, &got, &err), &err, STOW_ABORTED);
	expect_ok(blob_pread(other, to, 1000, 0, BACKEND_READ_SAME, &got, &err), &err);
	expect_ok(blob_pread(same, to, 1000, 0, 0, &got, &err), &err);
}

/* --- sending --- */

static void parts_under_way_go_on_after_a_move(void **state)
{
	struct sending *s = begin(env.name.s, 0);

	(void)state;
	fake_hold(true);
	ops()->send_advance(s, SIZE);
	fake_wait_held(3); /* as many as may be at once */
	move(s);
	fake_hold(false);
	env_wait_for(FAKE_PART, PARTS);
	finish(s, 0);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	expect_record("");
	env_check_whole();
}

/* While the upload is being made, recorded, or its parts are read: no moment is a wrong one. */
static void a_sending_can_move_at_any_moment(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		struct sending *s = begin(env.name.s, 0);
		struct stow_err err;

		ops()->send_advance(s, SIZE);
		(void)nanosleep(&(struct timespec){ .tv_nsec = i * 200000 }, NULL);
		move(s);
		finish(s, 0);
		expect_record("");
		assert_int_equal(fake_count(FAKE_CREATE), i + 1);
		env_check_whole();
		expect_ok(backend_remove(env.b, &env.d, &err), &err);
	}
}

static void a_restart_after_a_move_sends_what_is_missing(void **state)
{
	struct sending *s = begin(env.name.s, 0);

	(void)state;
	ops()->send_advance(s, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	move(s);
	expect_record(blob_record());
	ops()->send_close(s, false);
	env_reopen();
	expect_record(blob_record());
	assert_int_equal(count_stages(env.b), 0);
	s = begin(blob_record(), SIZE);
	finish(s, 0);
	assert_int_equal(fake_count(FAKE_CREATE), 1);
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	env_check_whole();
}

/* What was kept of an earlier sending of the same blob is given up: one of the two uploads will do. */
static void a_move_gives_up_what_was_kept(void **state)
{
	struct sending *s = begin(blob_record(), 0);

	(void)state;
	ops()->send_advance(s, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	ops()->send_close(s, false);
	assert_int_equal(fake_uploads(), 1);
	s = begin(env.name.s, 0);
	ops()->send_advance(s, 11 * MIB);
	env_wait_for(FAKE_PART, 4);
	move(s);
	env_wait_for(FAKE_ABORT, 1);
	finish(s, 0);
	env_check_whole();
}

static void what_is_forgotten_is_aborted(void **state)
{
	struct sending *s = begin(env.name.s, 0);
	struct stow_err err;

	(void)state;
	ops()->send_advance(s, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	ops()->send_close(s, true);
	env_wait_for_uploads(0);
	s = begin(blob_record(), 0);
	ops()->send_advance(s, 11 * MIB);
	env_wait_for(FAKE_PART, 4);
	ops()->send_close(s, false);
	expect_ok(ops()->send_discard(env.b, blob_record(), &err), &err);
	env_wait_for_uploads(0);
	expect_record("");
}

/* An object of the right size that has wrong bytes: neither a look nor If-None-Match may spare it. */
static void a_replacement_asks_nothing_before(void **state)
{
	CLEANUP(freep) char *key = env_key(&env.d);
	struct sending *s;

	(void)state;
	fake_put(key, SIZE, 7);
	s = begin(env.name.s, SIZE);
	finish(s, SENDING_REPLACE);
	assert_int_equal(fake_count(FAKE_HEAD), 1); /* of what was completed */
	assert_int_equal(fake_count(FAKE_COMPLETE), 1);
	env_check_whole();
}

/* A direct store's upload is taken up where its stage goes on in front of the bucket. */
static void the_record_of_a_stage_is_one_of_a_sending(void **state)
{
	struct sending *s;

	(void)state;
	env_create(&env.hint);
	env_write(0, 11 * MIB);
	env_wait_for(FAKE_PART, 2);
	env_park();
	expect_record(env.name.s);
	s = begin(env.name.s, 11 * MIB);
	ops()->send_advance(s, SIZE);
	finish(s, 0);
	assert_int_equal(fake_count(FAKE_PART), PARTS);
	check_blob(env.b, &env.d, SIZE, 1);
	expect_record("");
}

static void a_sending_ends_when_the_backend_is_stopped(void **state)
{
	struct sending *s = begin(env.name.s, SIZE);
	struct stow_err err;

	(void)state;
	backend_stop(env.b);
	expect_fail(ops()->send_finish(s, &env.d, SIZE, 0, &err), &err, STOW_UNAVAILABLE);
	ops()->send_close(s, false);
}

/* --- notes --- */

static void a_note_that_changes_is_read_again(void **state)
{
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	(void)state;
	buf_init(&to, 100);
	expect_ok(ops()->note_put(env.b, "gc/run", "text", 4, 0, &err), &err);
	fake_fail(FAKE_GET, 1, 2, STOW_FAILED_PRECONDITION);
	expect_ok(ops()->note_get(env.b, "gc/run", &to, &err), &err);
	assert_int_equal(to.len, 4);
	assert_int_equal(fake_count(FAKE_GET), 3);
	fake_fail(FAKE_GET, 1, 99, STOW_OUT_OF_RANGE);
	expect_fail(ops()->note_get(env.b, "gc/run", &to, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "GetObject");
	assert_int_equal(to.len, 4);
	fake_fail(FAKE_GET, 1, 1, STOW_UNAVAILABLE);
	expect_fail(ops()->note_get(env.b, "gc/run", &to, &err), &err, STOW_UNAVAILABLE);
	assert_int_equal(to.len, 4);
}

/* What a GET says of the bucket, where HEAD cannot say it, is no change of the note. */
static void a_bucket_that_is_gone_is_said_so(void **state)
{
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	(void)state;
	buf_init(&to, 100);
	fake_fail(FAKE_GET, 1, 99, STOW_FAILED_PRECONDITION);
	expect_fail(ops()->note_get(env.b, "gc/run", &to, &err), &err, STOW_INTERNAL);
	expect_named(&err, "GetObject");
	assert_int_equal(fake_count(FAKE_GET), 1);
}

static void reopen_as_source(enum s3_layout layout, const char *prefix)
{
	struct s3_options o = fake_options();
	struct stow_err err;

	backend_free(TAKE(env.b));
	o.layout = layout;
	o.prefix = prefix;
	o.read_only = true;
	expect_ok(s3_new(&o, NULL, &env.b, &err), &err);
}

/* Each asks for another key, whose name says what it is. */
static void a_probe_says_what_is_wrong(void **state)
{
	struct stow_err err;

	(void)state;
	expect_ok(ops()->probe(env.b, &err), &err);
	assert_int_equal(fake_count(FAKE_GET), 1);
	assert_int_equal(fake_count(FAKE_HEAD), 0);
	fake_fail(FAKE_GET, 1, 2, STOW_PERMISSION_DENIED);
	expect_fail(ops()->probe(env.b, &err), &err, STOW_PERMISSION_DENIED);
	expect_named(&err, "a/prefix/blobs/probe-");
	reopen_as_source(S3_LAYOUT_REGISTRY, "root");
	expect_fail(ops()->probe(env.b, &err), &err, STOW_PERMISSION_DENIED);
	expect_named(&err, "root/docker/registry/v2/blobs/probe-");
}

static void a_server_without_conditions_says_so(void **state)
{
	struct stow_err err;

	(void)state;
	fake_fail(FAKE_PUT, 1, 1, STOW_UNIMPLEMENTED);
	expect_fail(ops()->note_put(env.b, "gc/run", "a", 1, NOTE_IF_ABSENT, &err), &err, STOW_UNIMPLEMENTED);
	fake_fail(FAKE_PUT, 1, 1, STOW_ABORTED);
	expect_fail(ops()->note_put(env.b, "gc/run", "a", 1, NOTE_IF_ABSENT, &err), &err, STOW_UNAVAILABLE);
	fake_fail(FAKE_PUT, 1, 1, STOW_ABORTED);
	expect_fail(ops()->note_put(env.b, "gc/run", "a", 1, 0, &err), &err, STOW_UNAVAILABLE);
}

/* --- sources --- */

static int count(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err UNUSED)
{
	assert_true(digest_equal(d, &env.d));
	assert_int_equal(st->size, SIZE);
	assert_true(st->modified_ns > 0);
	++*(int *)arg;
	return 0;
}

static void check_source(void)
{
	struct blob_stat st = { 0 };
	struct stow_err err;
	int n = 0;

	expect_ok(ops()->look(env.b, &env.d, &st, &err), &err);
	assert_int_equal(st.size, SIZE);
	check_blob(env.b, &env.d, SIZE, 1);
	expect_ok(backend_scan(env.b, count, &n, &err), &err);
	assert_int_equal(n, 1);
}

static void a_registry_is_a_source(void **state)
{
	CLEANUP(freep) char *key = NULL;
	char hex[DIGEST_HEX_MAX];

	(void)state;
	digest_format_hex(&env.d, hex);
	key = x_asprintf("root/docker/registry/v2/blobs/sha256/%.2s/%s/data", hex, hex);
	fake_put(key, SIZE, 1);
	fake_put("root/docker/registry/v2/blobs/sha256/00/data", 1, 1);
	fake_put("root/docker/registry/v2/blobs/sha256/zz", 1, 1);
	fake_put("root/docker/registry/v2/repositories/x/_layers/sha256/link", 1, 1);
	free(key);
	/* In the wrong place, and with more behind it. */
	key = x_asprintf("root/docker/registry/v2/blobs/sha256/zz/%s/data", hex);
	fake_put(key, SIZE, 1);
	free(key);
	key = x_asprintf("root/docker/registry/v2/blobs/sha256/%.2s/%s/data2", hex, hex);
	fake_put(key, SIZE, 1);
	reopen_as_source(S3_LAYOUT_REGISTRY, "root");
	check_source();
}

static void another_store_is_a_source(void **state)
{
	CLEANUP(freep) char *key = env_key(&env.d);

	(void)state;
	fake_put(key, SIZE, 1);
	reopen_as_source(S3_LAYOUT_STOWAGE, "a/prefix");
	check_source();
}

static void a_source_is_never_changed(void **state)
{
	CLEANUP(freep) char *key = env_key(&env.d);
	struct stage *st = NULL;
	struct stow_err err;

	(void)state;
	fake_put(key, SIZE, 1);
	reopen_as_source(S3_LAYOUT_STOWAGE, "a/prefix");
	expect_fail(backend_remove(env.b, &env.d, &err), &err, STOW_UNIMPLEMENTED);
	expect_fail(backend_stage_create(env.b, env.name.s, NULL, &st, &err), &err, STOW_UNIMPLEMENTED);
	expect_fail(backend_stage_resume(env.b, env.name.s, 0, NULL, &st, &err), &err, STOW_UNIMPLEMENTED);
	expect_fail(backend_stage_discard(env.b, env.name.s, &err), &err, STOW_UNIMPLEMENTED);
	assert_int_equal(count_stages(env.b), 0);
	assert_null(ops()->send_open);
	assert_null(ops()->note_put);
	check_source();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_CASE(a_look_is_one_request),
		ENV_CASE(an_object_that_is_replaced_has_another_version),
		ENV_CASE(parts_under_way_go_on_after_a_move),
		ENV_CASE(a_sending_can_move_at_any_moment),
		ENV_CASE(a_restart_after_a_move_sends_what_is_missing),
		ENV_CASE(a_move_gives_up_what_was_kept),
		ENV_CASE(what_is_forgotten_is_aborted),
		ENV_CASE(a_replacement_asks_nothing_before),
		ENV_CASE(the_record_of_a_stage_is_one_of_a_sending),
		ENV_CASE(a_sending_ends_when_the_backend_is_stopped),
		ENV_CASE(a_note_that_changes_is_read_again),
		ENV_CASE(a_bucket_that_is_gone_is_said_so),
		ENV_CASE(a_probe_says_what_is_wrong),
		ENV_CASE(a_server_without_conditions_says_so),
		ENV_CASE(a_registry_is_a_source),
		ENV_CASE(another_store_is_a_source),
		ENV_CASE(a_source_is_never_changed),
	};

	return cmocka_run_group_tests_name("s3 behind", tests, NULL, NULL);
}
