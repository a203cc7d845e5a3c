/* How an ingest becomes a blob, and what is made durable on the way, over memory and over files. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

/* --- COMMITTED, or not --- */

static void commit_without_expecting(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct ingest_commit commit = { 0 };
	struct digest d;
	struct stow_err err;

	write_ok(in, &c, 0, c.n);
	expect_ok(ingest_commit(in, &commit, &d, &err), &err);
	assert_true(digest_equal(&d, &c.d));
	check_content(&env, &c);
}

static void commit_with_labels(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct ingest *in = ingest_of(&env, "ref");
	struct ingest_commit commit = { .total = c.n };
	struct digest d;
	struct stow_err err;
	int64_t before = clock_wall_ns();

	expect_ok(labels_set(&commit.labels, "containerd.io/gc.root", "1", &err), &err);
	write_ok(in, &c, 0, c.n);
	expect_ok(ingest_commit(in, &commit, &d, &err), &err);
	env_reopen(&env);
	expect_ok(store_info_now(env.store, &d, &info, &err), &err);
	assert_true(labels_equal(&info.labels, &commit.labels));
	assert_true(info.created_ns >= before && info.created_ns <= clock_wall_ns());
	assert_int_equal(info.created_ns, info.updated_ns);
	labels_free(&commit.labels);
}

static void commit_under_each_algorithm(void **state UNUSED)
{
	static const enum digest_alg algs[] = { DIGEST_SHA512, DIGEST_SHA384, DIGEST_SHA256 };
	struct stow_err err;

	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		/* More than the megabyte that is hashed at a time, and nothing at all. */
		CLEANUP(content_free) struct content c = content_make(3000001, 5, algs[i]);
		CLEANUP(content_free) struct content none = content_make(0, 5, algs[i]);

		expect_ok(content_put(env.store, "ref", &c, &err), &err);
		expect_ok(content_put(env.store, "ref", &none, &err), &err);
		check_content(&env, &c);
		check_content(&env, &none);
	}
	assert_int_equal(env_blobs(&env), 6);
	assert_int_equal(env_backend_blobs(&env), 6);
	assert_int_equal(env_stages(&env), 0);
}

static void a_wrong_size_or_digest_stays_parked(void **state UNUSED)
{
	static const enum digest_alg algs[] = { DIGEST_SHA256, DIGEST_SHA512 };
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;
	struct digest d = { 0 };

	write_ok(in, &c, 0, c.n);
	for (uint64_t total = 3999; total <= 4001; total += 2) {
		struct ingest_commit commit = { .total = total };

		expect_fail(ingest_commit(in, &commit, &d, &err), &err, STOW_FAILED_PRECONDITION);
		expect_named(&err, total == 3999 ? "4000, expected 3999" : "4000, expected 4001");
		in = ingest_of(&env, "ref");
		check_at(in, &c, c.n);
	}
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		struct ingest_commit commit = { .total = c.n, .expected = some_digest(algs[i], 7) };
		char text[DIGEST_STR_MAX];

		expect_fail(ingest_commit(in, &commit, &d, &err), &err, STOW_FAILED_PRECONDITION);
		digest_format(&commit.expected, text);
		expect_named(&err, text);
		check_absent(&env, &commit.expected);
		check_ingest(&env, "ref", c.n);
		env_reopen(&env);
		in = ingest_of(&env, "ref");
		check_at(in, &c, c.n);
	}
	assert_false(digest_is_set(&d));
	assert_int_equal(env_blobs(&env), 0);
	assert_int_equal(env_backend_blobs(&env), 0);
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
}

static void already_exists_drops_the_ingest(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest_spec spec = { .ref = "again", .expected = c.d };
	struct ingest_commit unknown = { 0 };
	struct ingest *in, *none;
	struct digest d;
	struct stow_err err;

	close_ok(ingest_declared(&env, "again", 0, &c.d));
	in = ingest_of(&env, "open");
	write_ok(in, &c, 0, c.n);
	expect_ok(content_put(env.store, "ref", &c, &err), &err);

	/* On opening: what was parked under the ref goes. */
	expect_fail(ingest_open(env.store, &spec, &none, &err), &err, STOW_ALREADY_EXISTS);
	check_no_ingest(&env, "again");
	spec.ref = "never there";
	expect_fail(ingest_open(env.store, &spec, &none, &err), &err, STOW_ALREADY_EXISTS);

	/* At commit: expected, and found out. */
	expect_fail(content_commit(in, &c, &err), &err, STOW_ALREADY_EXISTS);
	check_no_ingest(&env, "open");
	in = ingest_of(&env, "open");
	write_ok(in, &c, 0, c.n);
	close_ok(in);
	in = ingest_of(&env, "open");
	expect_fail(ingest_commit(in, &unknown, &d, &err), &err, STOW_ALREADY_EXISTS);
	check_no_ingest(&env, "open");

	check_content(&env, &c);
	assert_int_equal(env_stages(&env), 0);
	env_reopen(&env);
	assert_int_equal(env.opened.strays, 0);
	check_content(&env, &c);
}

/* The bytes are there, the row is not (a crash between the two): committing them again mends it. */
static void bytes_without_a_row_can_be_committed(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct stow_err err;

	put_blob(env.store->backend, &c.d, c.n, 4);
	assert_false(store_has(env.store, &c.d));
	expect_ok(content_put(env.store, "ref", &c, &err), &err);
	check_content(&env, &c);
	assert_int_equal(env_stages(&env), 0);
}

/* --- checkpoints --- */

static bool row_has(const char *ref, uint64_t offset)
{
	CLEANUP(ingest_row_free) struct ingest_row row = { 0 };
	struct stow_err err;

	return meta_ingest_get(env.store->meta, ref, &row, &err) == 0 && row.offset == offset &&
	       hash_state_count(&row.hash) == offset;
}

/* Checkpoints are made beside the writing: waits for one. */
static void wait_for_row(const char *ref, uint64_t offset)
{
	int64_t end = clock_mono_ns() + 20 * NSEC_PER_SEC;

	while (!row_has(ref, offset) && clock_mono_ns() < end)
		usleep(1000);
	assert_true(row_has(ref, offset));
}

static void checkpoints_by_bytes(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(2 * LIMIT_CHECKPOINT + 100, 6, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct ingest_row row;
	struct stow_err err;

	in->checkpoint_mono_ns = INT64_MAX / 2; /* none by time */
	write_ok(in, &c, 0, LIMIT_CHECKPOINT - 1);
	expect_fail(meta_ingest_get(env.store->meta, "ref", &row, &err), &err, STOW_NOT_FOUND);
	write_ok(in, &c, LIMIT_CHECKPOINT - 1, LIMIT_CHECKPOINT);
	wait_for_row("ref", LIMIT_CHECKPOINT);
	in->checkpoint_mono_ns = INT64_MAX / 2;
	write_ok(in, &c, LIMIT_CHECKPOINT, 2 * LIMIT_CHECKPOINT + 1);
	wait_for_row("ref", 2 * LIMIT_CHECKPOINT + 1);
	assert_int_equal(env_ingests(&env), 1); /* not also as a parked one */
	write_ok(in, &c, 2 * LIMIT_CHECKPOINT + 1, c.n);
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
	check_no_ingest(&env, "ref");
}

static void checkpoints_by_time(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(3000, 6, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	in->checkpoint_mono_ns -= 2 * NSEC_PER_SEC; /* the last one was that long ago */
	write_ok(in, &c, 1000, 2000);
	wait_for_row("ref", 2000);
	/* The handle goes on; abort takes the row with it. */
	write_ok(in, &c, 2000, 3000);
	expect_ok(store_abort(env.store, "ref", &err), &err);
	check_no_ingest(&env, "ref");
	assert_int_equal(env_stages(&env), 0);
	close_ok(in);
}

/* Once all declared bytes are there they are durable, without a row: the commit is about to come. */
static void complete_is_synced_by_the_write(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(5000, 6, DIGEST_SHA256);
	struct ingest *in = ingest_declared(&env, "ref", c.n, NULL);
	struct stow_err err;

	write_ok(in, &c, 0, 4999);
	assert_int_equal(in->synced, 0);
	write_ok(in, &c, 4999, c.n);
	assert_int_equal(in->synced, c.n);
	assert_false(in->has_row);
	expect_ok(content_commit(in, &c, &err), &err);
}

/* --- a commit that waits for another machine --- */

static void *commit_it(void *arg)
{
	struct ingest_commit commit = { 0 };
	struct stow_err err;
	struct digest d;

	return ingest_commit(arg, &commit, &d, &err) < 0 && err.code == STOW_UNAVAILABLE ? arg : NULL;
}

/* Who wants its ref meanwhile is told to come again: he has a worker, which is not to wait so long. */
static void a_ref_that_waits_for_another_machine_is_locked(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	const struct ingest_spec spec = { .ref = "ref" };
	struct ingest *in = ingest_of(&env, "ref"), *other;
	struct stow_err err;
	pthread_t thread;
	void *failed;

	env.store->backend->far = BACKEND_FAR_COMMIT;
	write_ok(in, &c, 0, c.n);
	atomic_store(&env.plan.hang, true);
	env_fault(&env, FAULT_STAGE_PUBLISH, 1, STOW_UNAVAILABLE);
	assert_int_equal(pthread_create(&thread, NULL, commit_it, in), 0);
	while (atomic_load(&env.plan.after[FAULT_STAGE_PUBLISH]) > 0)
		(void)usleep(1000);
	expect_fail(ingest_open(env.store, &spec, &other, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "locked");
	atomic_store(&env.plan.hang, false);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_non_null(failed);
	in = ingest_of(&env, "ref");
	check_at(in, &c, c.n);
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_BOTH(commit_without_expecting),
		ENV_BOTH(commit_with_labels),
		ENV_BOTH(commit_under_each_algorithm),
		ENV_BOTH(a_wrong_size_or_digest_stays_parked),
		ENV_BOTH(already_exists_drops_the_ingest),
		ENV_BOTH(bytes_without_a_row_can_be_committed),
		ENV_BOTH(checkpoints_by_bytes),
		ENV_BOTH(checkpoints_by_time),
		ENV_BOTH(complete_is_synced_by_the_write),
		ENV_BOTH(a_ref_that_waits_for_another_machine_is_locked),
	};

	return cmocka_run_group_tests_name("ingest_commit", tests, NULL, NULL);
}
