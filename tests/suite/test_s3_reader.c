/* Reading with read-ahead: what is fetched, how much memory it takes, and what happens when the object
 * changes; on a bucket in memory. */
#include "backends/s3/client.h"
#include "backends/s3/reader.h"
#include "backends/s3/s3_internal.h"
#include "backends/s3/session.h"
#include "content/base/mem.h"
#include "tests/suite/s3_fake.h"
#include "tests/suite/suite.h"

#include <sched.h>
#include <time.h>

enum { KIB = 1 << 10, MIB = 1 << 20, SIZE = 40 * MIB };
#define MEMORY READER_MEMORY_MIN

static struct {
	struct s3_session *session;
	struct reader *reader;
	struct object *o;
	uint8_t *bytes; /* of the object */
	uint8_t *to;
} env;

static struct object *open_object(void)
{
	struct s3_object so;
	struct stow_err err;

	expect_ok(s3_head(env.session->client, "key", &so, &err), &err);
	return object_open(env.reader, "key", &so);
}

static int setup(void **state)
{
	struct s3_options o = fake_options();
	struct stow_err err;

	(void)state;
	fake_reset();
	expect_ok(s3_session_new(&o, &env.session, &err), &err);
	env.reader = reader_new(env.session->client, MEMORY);
	env.bytes = x_malloc(SIZE);
	env.to = x_malloc(SIZE);
	fill(env.bytes, SIZE, 1);
	fake_put("key", SIZE, 1);
	env.o = open_object();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_hold(false);
	if (env.o != NULL)
		object_close(TAKE(env.o));
	reader_free(env.reader);
	s3_session_free(env.session);
	free(env.bytes);
	free(env.to);
	return 0;
}

static struct reader_stats stats(void)
{
	struct reader_stats st;

	reader_stats(env.reader, &st);
	return st;
}

static void read_ok(size_t n, uint64_t off)
{
	struct stow_err err;

	expect_ok(object_read(env.o, env.to, n, off, 0, &err), &err);
	assert_memory_equal(env.to, env.bytes + off, n);
}

/* As a client of the store does: without leave to wait first. */
static void read_through(size_t step)
{
	struct stow_err err;

	for (uint64_t off = 0; off < SIZE; off += step) {
		if (object_read(env.o, env.to, step, off, BACKEND_READ_NOWAIT, &err) < 0) {
			assert_int_equal(err.code, STOW_UNAVAILABLE);
			read_ok(step, off);
		}
		assert_memory_equal(env.to, env.bytes + off, step);
	}
	assert_int_equal(stats().fetched, SIZE);
	assert_in_range(stats().fetches, 1, 30);
	assert_true(stats().memory_peak <= MEMORY);
}

static void small_reads_in_order_are_fetched_once(void **state)
{
	(void)state;
	read_through(32 * KIB);
}

static void large_reads_in_order_are_fetched_once(void **state)
{
	(void)state;
	read_through(MIB);
}

static void small_reads_at_random_fetch_little(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		uint64_t off = (uint64_t)i * 7919 * 4096 % (SIZE - MIB) / 4096 * 4096 + MIB / 2;

		read_ok(1000, off);
	}
	assert_true(stats().fetched <= 20 * 256 * KIB);
}

static void the_beginning_is_read_ahead(void **state)
{
	(void)state;
	read_ok(1000, 0);
	assert_true(stats().fetched >= 2 * MIB);
}

static void reads_of_any_size_and_place(void **state)
{
	static const size_t sizes[] = { 1, 4095, 256 * KIB, 256 * KIB + 1, 4 * MIB, 4 * MIB + 1, 17 * MIB };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		read_ok(sizes[i], 0);
		read_ok(sizes[i], 3 * MIB + 17);
		read_ok(sizes[i], SIZE - sizes[i]);
	}
	assert_true(stats().memory_peak <= MEMORY);
}

static void who_must_not_wait_does_not(void **state)
{
	static const unsigned flags[] = { BACKEND_READ_NOWAIT, BACKEND_READ_NEAR };
	struct stow_err err;

	(void)state;
	fake_hold(true);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		expect_fail(object_read(env.o, env.to, 1000, 0, flags[i], &err), &err, STOW_UNAVAILABLE);
	fake_hold(false);
	read_ok(1000, 0);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		expect_ok(object_read(env.o, env.to, 1000, 1000 * i, flags[i], &err), &err);
		assert_memory_equal(env.to, env.bytes + 1000 * i, 1000);
	}
}

/* A client asks without leave to wait first, and then with it: that is one read. */
static void asking_twice_is_no_progress(void **state)
{
	struct stow_err err;

	(void)state;
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, BACKEND_READ_NOWAIT, &err), &err,
		    STOW_UNAVAILABLE);
	read_ok(1000, 9 * MIB);
	assert_int_equal(stats().fetched, 256 * KIB);
}

static void read_in_order(void *arg, int i)
{
	CLEANUP(freep) uint8_t *to = x_malloc(64 * KIB);
	struct object *o = arg;
	struct stow_err err;

	/* Not all at the same place. */
	for (uint64_t at = 0; at < SIZE; at += 64 * KIB) {
		uint64_t off = (at + (uint64_t)i * 5 * MIB) % SIZE;

		thread_check(object_read(o, to, 64 * KIB, off, 0, &err) == 0);
		thread_check(memcmp(to, env.bytes + off, 64 * KIB) == 0);
	}
}

static void many_readers_share_the_memory(void **state)
{
	(void)state;
	run_threads(8, read_in_order, env.o);
	assert_true(stats().memory_peak <= MEMORY);
	assert_true(stats().memory <= MEMORY);
}

static void many_objects_share_the_memory(void **state)
{
	struct object *others[20];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct stow_err err;

		others[i] = open_object();
		expect_ok(object_read(others[i], env.to, MIB, 0, 0, &err), &err);
	}
	assert_true(stats().memory_peak <= MEMORY);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		object_close(others[i]);
	object_close(TAKE(env.o));
	assert_true(stats().memory <= MEMORY);
}

static void failure_is_of_the_read(void **state)
{
	struct stow_err err;

	(void)state;
	fake_fail(FAKE_GET, 1, 99, STOW_UNAVAILABLE);
	expect_fail(object_read(env.o, env.to, MIB, 0, 0, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "GetObject");
	/* What was fetched ahead fails a moment later, and who joins it fails with it. */
	while (stats().memory > 0)
		sched_yield();
	fake_fail(FAKE_GET, 1, 0, STOW_OK);
	read_ok(MIB, 0);
}

static void object_written_anew_is_the_same(void **state)
{
	(void)state;
	read_ok(1000, 0);
	fake_put("key", SIZE, 1);
	read_ok(SIZE, 0);
}

/* Not for one who asks for what was opened: what came of it is good still, other bytes do not follow. */
static void object_written_anew_is_another_one(void **state)
{
	struct stow_err err;

	(void)state;
	expect_ok(object_read(env.o, env.to, 1000, 0, BACKEND_READ_SAME, &err), &err);
	fake_put("key", SIZE, 2);
	expect_ok(object_read(env.o, env.to, 1000, 0, BACKEND_READ_SAME, &err), &err);
	assert_memory_equal(env.to, env.bytes, 1000);
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, BACKEND_READ_SAME, &err), &err, STOW_ABORTED);
	expect_ok(object_read(env.o, env.to, 1000, 9 * MIB, 0, &err), &err);
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, BACKEND_READ_SAME, &err), &err, STOW_ABORTED);
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, BACKEND_READ_SAME | BACKEND_READ_NOWAIT, &err),
		    &err, STOW_ABORTED);
}

static void object_of_another_size_is_data_loss(void **state)
{
	struct stow_err err;

	(void)state;
	fake_put("key", 1000, 1);
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, 0, &err), &err, STOW_DATA_LOSS);
}

static void object_that_is_gone_is_not_found(void **state)
{
	struct stow_err err;

	(void)state;
	fake_delete("key");
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, 0, &err), &err, STOW_NOT_FOUND);
}

static void object_that_changes_for_ever_ends(void **state)
{
	struct stow_err err;

	(void)state;
	fake_fail(FAKE_GET, 1, 99, STOW_FAILED_PRECONDITION);
	expect_fail(object_read(env.o, env.to, 1000, 9 * MIB, 0, &err), &err, STOW_FAILED_PRECONDITION);
}

static void closing_does_not_wait(void **state)
{
	struct stow_err err;

	(void)state;
	fake_hold(true);
	expect_fail(object_read(env.o, env.to, 1000, 0, BACKEND_READ_NOWAIT, &err), &err, STOW_UNAVAILABLE);
	fake_wait_held(1);
	object_close(TAKE(env.o)); /* what is under way is cancelled; teardown frees the reader */
}

/* NOT_FOUND makes a store forget the blob: HEAD's alone, which a missing bucket gives too, is not enough. */
static void missing_only_if_the_key_is(void **state UNUSED)
{
	struct s3_client *c = env.session->client;
	struct s3_object o;
	struct stow_err err;

	expect_fail(s3_head_sure(c, "absent", 1, &o, &err), &err, STOW_NOT_FOUND);
	fake_fail(FAKE_GET, 1, 1, STOW_FAILED_PRECONDITION);
	expect_fail(s3_head_sure(c, "absent", 1, &o, &err), &err, STOW_FAILED_PRECONDITION);
	expect_ok(s3_head_sure(c, "key", 1, &o, &err), &err);
	/* It came meanwhile; or it came, and has gone. */
	fake_fail(FAKE_HEAD, 1, 1, STOW_NOT_FOUND);
	expect_ok(s3_head_sure(c, "key", 1, &o, &err), &err);
	fake_fail(FAKE_HEAD, 1, 2, STOW_NOT_FOUND);
	expect_fail(s3_head_sure(c, "key", 1, &o, &err), &err, STOW_NOT_FOUND);
}

int main(void)
{
#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f, setup, teardown, NULL                                                                 \
	}
	const struct CMUnitTest tests[] = {
		CASE(small_reads_in_order_are_fetched_once),
		CASE(large_reads_in_order_are_fetched_once),
		CASE(small_reads_at_random_fetch_little),
		CASE(the_beginning_is_read_ahead),
		CASE(reads_of_any_size_and_place),
		CASE(who_must_not_wait_does_not),
		CASE(asking_twice_is_no_progress),
		CASE(many_readers_share_the_memory),
		CASE(many_objects_share_the_memory),
		CASE(failure_is_of_the_read),
		CASE(object_written_anew_is_the_same),
		CASE(object_written_anew_is_another_one),
		CASE(object_of_another_size_is_data_loss),
		CASE(object_that_is_gone_is_not_found),
		CASE(object_that_changes_for_ever_ends),
		CASE(closing_does_not_wait),
		CASE(missing_only_if_the_key_is),
	};

	return cmocka_run_group_tests_name("s3 reader", tests, NULL, NULL);
}
