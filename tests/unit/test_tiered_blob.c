/* Handles on blobs of a tiered backend, whose bytes come and go under them. */
#include "backends/backends.h"
#include "backends/tiered/tiered_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <stdio.h>

enum { SIZE = 200000 };

static struct {
	char dir[TEMP_DIR_MAX];
	struct fault_plan plan; /* of `fast` */
	struct backend *fast, *behind, *b;
	struct meta *meta;
} env;

/* What happens in `fast` at once with what is asked of it; from before there are threads. */
static struct {
	const struct backend_ops *real;
	struct backend_ops ops;
	atomic_bool was_read;    /* the blob that was opened last */
	atomic_bool then_commit; /* after the next blob has been published */
} hook;

static int open_and_look(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
			 struct stow_err *err)
{
	atomic_store(&hook.was_read, tiered_is_read(tiered_from(env.b), d));
	return hook.real->open(b, d, flags, ret_blob, err);
}

static void commit_same(void)
{
	CLEANUP(stage_closep) struct stage *st = NULL;
	CLEANUP(freep) uint8_t *bytes = x_malloc(SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct stage_name name = new_name();
	struct stow_err err;

	fill(bytes, SIZE, 1);
	thread_check(backend_stage_create(env.b, name.s, NULL, &st, &err) == 0);
	thread_check(write_bytes(st, bytes, SIZE, 0, &err) == 0);
	thread_check(stage_publish(st, &d, &err) == 0);
}

static int publish_and_commit(struct stage *st, const struct digest *d, struct stow_err *err)
{
	int result = hook.real->stage_publish(st, d, err);

	if (atomic_exchange(&hook.then_commit, false))
		commit_same();
	return result;
}

static void set_hooks(void)
{
	memset(&hook, 0, sizeof(hook));
	hook.real = env.fast->ops;
	hook.ops = *hook.real;
	hook.ops.open = open_and_look;
	hook.ops.stage_publish = publish_and_commit;
	env.fast->ops = &hook.ops;
}

static int setup(void **state)
{
	struct tiered_options o = {
		.names = { "behind" },
		.n_behind = 1,
		.writable = true,
		.identity = "test",
		.info_timeout_ns = 5 * NSEC_PER_SEC,
		.uploads = 1,
		.claim_interval_ns = NSEC_PER_SEC,
		.claim_grace_ns = 3600 * NSEC_PER_SEC,
	};
	CLEANUP(freep) char *path = NULL;
	struct backend *mem;
	struct stow_err err;

	(void)state;
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	path = x_asprintf("%s/meta.mdb", env.dir);
	expect_ok(meta_open(path, 0, 0, &env.meta, NULL, &err), &err);
	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(mem_new(&env.behind, &err), &err);
	expect_ok(fault_new(mem, &env.plan, &env.fast, &err), &err);
	set_hooks();
	o.fast = env.fast;
	o.behind[0] = env.behind;
	expect_ok(tiered_new(&o, &env.b, &err), &err);
	backend_start(env.b, env.meta);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	backend_stop(env.b);
	backend_free(env.b);
	meta_close(env.meta);
	temp_dir_remove(env.dir);
	return 0;
}

/* A blob whose bytes are here and behind, as the database knows. */
static struct digest blob_in_both(void)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct blob_info info = { .digest = d, .size = SIZE };
	struct stow_err err;

	put_blob(env.fast, &d, SIZE, 1);
	put_blob(env.behind, &d, SIZE, 1);
	expect_ok(meta_blobs_adopt(env.meta, &info, 1, true, &err), &err);
	return d;
}

static struct blob *open_blob(const struct digest *d)
{
	struct blob *blob;
	struct stow_err err;

	expect_ok(backend_open(env.b, d, 0, &blob, &err), &err);
	return blob;
}

static void check_read(struct blob *blob)
{
	CLEANUP(freep) uint8_t *to = x_malloc(SIZE);
	struct stow_err err;
	size_t got;

	expect_ok(blob_pread(blob, to, SIZE, 0, 0, &got, &err), &err);
	assert_int_equal(got, SIZE);
	assert_true(filled(to, SIZE, 1));
}

static void evict(const struct digest *d)
{
	struct stow_err err;

	tiered_give_up(tiered_from(env.b), d);
	expect_ok(backend_remove(env.fast, d, &err), &err);
}

static void wait_here(const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	while (backend_stat(env.fast, d, &st, &err) < 0)
		(void)usleep(1000);
}

static void an_evicted_blob_is_read_from_behind(void **state)
{
	struct digest d = blob_in_both();
	CLEANUP(blob_closep) struct blob *blob = open_blob(&d);
	struct stow_err err;
	uint8_t byte;
	size_t got;

	(void)state;
	check_read(blob);
	evict(&d);
	expect_fail(blob_pread(blob, &byte, 1, 0, BACKEND_READ_NOWAIT, &got, &err), &err, STOW_UNAVAILABLE);
	check_read(blob);
	check_read(blob);
}

/* What is behind is not waited for by who may wait for the disk alone; what is here is had. */
static void near_is_what_is_here(void **state)
{
	struct digest d = blob_in_both();
	struct blob *blob = open_blob(&d), *other = NULL;
	struct stow_err err;
	uint8_t byte;
	size_t got;

	(void)state;
	expect_ok(blob_pread(blob, &byte, 1, 0, BACKEND_READ_NEAR, &got, &err), &err);
	evict(&d);
	expect_fail(blob_pread(blob, &byte, 1, 0, BACKEND_READ_NEAR, &got, &err), &err, STOW_UNAVAILABLE);
	expect_fail(backend_open(env.b, &d, BACKEND_READ_NEAR, &other, &err), &err, STOW_UNAVAILABLE);
	assert_null(other);
	check_read(blob);
	wait_here(&d);
	expect_ok(blob_pread(blob, &byte, 1, 0, BACKEND_READ_NEAR, &got, &err), &err);
	blob_close(blob);
	expect_ok(backend_open(env.b, &d, BACKEND_READ_NEAR, &other, &err), &err);
	blob_close(other);
}

static void a_blob_that_has_come_is_read_here(void **state)
{
	struct digest d = blob_in_both();
	struct stow_err err;

	(void)state;
	evict(&d);
	CLEANUP(blob_closep) struct blob *blob = open_blob(&d);

	check_read(blob);
	wait_here(&d);
	expect_ok(backend_remove(env.behind, &d, &err), &err);
	check_read(blob);
}

static void unreadable_bytes_are_replaced(void **state)
{
	static const enum stow_code codes[] = { STOW_INTERNAL, STOW_DATA_LOSS };
	struct digest d = blob_in_both();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		CLEANUP(blob_closep) struct blob *blob = open_blob(&d);

		atomic_store(&env.plan.code, codes[i]);
		atomic_store(&env.plan.after[FAULT_PREAD], 1);
		check_read(blob);
		assert_int_equal(atomic_load(&env.plan.after[FAULT_PREAD]), 0);
	}
}

/* Nobody else has it: what can be read again later stays, what is wrong goes. */
static void the_only_bytes_are_kept_if_they_may_be_right(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct blob_stat st;
	struct stow_err err;
	uint8_t byte;
	size_t got;

	(void)state;
	put_blob(env.fast, &d, SIZE, 1);
	CLEANUP(blob_closep) struct blob *blob = open_blob(&d);

	atomic_store(&env.plan.code, STOW_INTERNAL);
	atomic_store(&env.plan.after[FAULT_PREAD], 1);
	expect_fail(blob_pread(blob, &byte, 1, 0, 0, &got, &err), &err, STOW_INTERNAL);
	check_read(blob);
	/* A file of the right size is not the one that was too short: it is read instead, and stays. */
	atomic_store(&env.plan.code, STOW_DATA_LOSS);
	atomic_store(&env.plan.after[FAULT_PREAD], 1);
	check_read(blob);
	expect_ok(backend_stat(env.fast, &d, &st, &err), &err);
	atomic_store(&env.plan.after[FAULT_PREAD], 1);
	atomic_store(&env.plan.after[FAULT_STAT], 1);
	expect_fail(blob_pread(blob, &byte, 1, 0, 0, &got, &err), &err, STOW_DATA_LOSS);
	expect_fail(backend_stat(env.fast, &d, &st, &err), &err, STOW_NOT_FOUND);
}

static void a_handle_never_changes_its_size(void **state)
{
	struct digest d = blob_in_both();
	CLEANUP(blob_closep) struct blob *blob = open_blob(&d);
	struct stow_err err;
	uint8_t byte;
	size_t got;

	(void)state;
	evict(&d);
	put_blob(env.fast, &d, SIZE - 1, 1);
	expect_fail(blob_pread(blob, &byte, 1, 0, 0, &got, &err), &err, STOW_DATA_LOSS);
}

static void an_open_blob_is_being_read(void **state)
{
	struct digest d = blob_in_both(), other = some_digest(DIGEST_SHA256, 7);
	struct tiered *t = tiered_from(env.b);
	struct blob *blob;

	(void)state;
	assert_false(tiered_is_read(t, &d));
	blob = open_blob(&d);
	assert_true(tiered_is_read(t, &d));
	assert_false(tiered_is_read(t, &other));
	blob_close(blob);
	assert_false(tiered_is_read(t, &d));
}

/* So nobody evicts it between the opening of its file and that of the handle. */
static void a_blob_is_read_before_it_is_open(void **state)
{
	struct digest d = blob_in_both(), none = some_digest(DIGEST_SHA256, 7);
	struct stow_err err;
	struct blob *blob;

	(void)state;
	blob = open_blob(&d);
	assert_true(atomic_exchange(&hook.was_read, false));
	blob_close(blob);
	expect_fail(backend_open(env.b, &none, 0, &blob, &err), &err, STOW_NOT_FOUND);
	assert_true(atomic_load(&hook.was_read));
	assert_false(tiered_is_read(tiered_from(env.b), &none));
}

/* --- what is deleted while it comes --- */

/* A COMMIT that gets in right after the fetch has published has no row yet. */
static void a_fetch_without_a_row_takes_no_bytes_of_a_commit(void **state)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct tiered *t = tiered_from(env.b);
	struct stow_err err;
	struct blob *blob;
	uint8_t byte;
	size_t got;

	(void)state;
	atomic_store(&hook.then_commit, true);
	put_blob(env.behind, &d, SIZE, 1);
	if (backend_open(env.b, &d, 0, &blob, &err) == 0) { /* it may have ended already */
		(void)!blob_pread(blob, &byte, 1, SIZE - 1, 0, &got, &err);
		blob_close(blob);
	}
	while (fetch_is_coming(t->fetches, &d))
		(void)usleep(1000);
	if (atomic_exchange(&hook.then_commit, false)) {
		check_no_blob(env.fast, &d);
		commit_same();
	}
	backend_stop(env.b); /* whatever the fetch does has been done */
	check_blob(env.fast, &d, SIZE, 1);
}

/* --- at once --- */

struct traffic {
	struct digest d;
	struct blob *blob;
	atomic_int readers;
};

static void read_or_evict(void *arg, int i)
{
	CLEANUP(freep) uint8_t *to = x_malloc(SIZE);
	struct traffic *t = arg;
	struct stow_err err;
	size_t got;

	if (i == 0) {
		while (atomic_load(&t->readers) > 0) {
			tiered_give_up(tiered_from(env.b), &t->d);
			(void)!backend_remove(env.fast, &t->d, &err);
		}
		return;
	}
	for (int round = 0; round < 100; round++) {
		if (blob_pread(t->blob, to, SIZE, 0, 0, &got, &err) == 0)
			thread_check(got == SIZE && filled(to, SIZE, 1));
		else
			thread_check(err.code == STOW_UNAVAILABLE);
	}
	atomic_fetch_sub(&t->readers, 1);
}

static void readers_beside_evictions(void **state)
{
	struct traffic t = { .d = blob_in_both(), .readers = 3 };

	(void)state;
	t.blob = open_blob(&t.d);
	run_threads(4, read_or_evict, &t);
	blob_close(t.blob);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_evicted_blob_is_read_from_behind),
		TEST(near_is_what_is_here),
		TEST(a_blob_that_has_come_is_read_here),
		TEST(unreadable_bytes_are_replaced),
		TEST(the_only_bytes_are_kept_if_they_may_be_right),
		TEST(a_handle_never_changes_its_size),
		TEST(an_open_blob_is_being_read),
		TEST(a_blob_is_read_before_it_is_open),
		TEST(a_fetch_without_a_row_takes_no_bytes_of_a_commit),
		TEST(readers_beside_evictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
