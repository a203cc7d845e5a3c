/* The table of states in content/ingest.h, line by line, over memory and over files. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <stdio.h>

static struct env env;

static int setup(void **state)
{
	env_make(&env, *(const enum env_kind *)*state);
	env_open(&env);
	return 0;
}

static int teardown(void **state UNUSED)
{
	env_remove(&env);
	return 0;
}

static void close_ok(struct ingest *in)
{
	struct stow_err err;

	expect_ok(ingest_close(in, &err), &err);
}

static void write_ok(struct ingest *in, const struct content *c, size_t from, size_t to)
{
	struct stow_err err;

	expect_ok(content_write(in, c, from, to, &err), &err);
}

/* The handle has exactly the first `n` bytes of `c`. */
static void check_at(struct ingest *in, const struct content *c, size_t n)
{
	struct digest want = content_prefix(c, n), got;

	assert_int_equal(ingest_offset(in), n);
	ingest_digest(in, &got);
	assert_true(digest_equal(&got, &want));
}

/* --- OPEN --- */

static void open_write_commit(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(100000, 1, DIGEST_SHA256);
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	int64_t before = clock_wall_ns();
	struct ingest *in = ingest_declared(&env, "a/ref", 100000, &c.d);
	struct stow_err err;

	check_at(in, &c, 0);
	check_ingest(&env, "a/ref", 0);
	assert_int_equal(env_ingests(&env), 1);
	for (size_t at = 0; at < c.n; at += 12345)
		write_ok(in, &c, at, at + 12345 < c.n ? at + 12345 : c.n);
	check_at(in, &c, c.n);
	check_absent(&env, &c.d);

	expect_ok(store_ingest_status(env.store, "a/ref", &st, &err), &err);
	assert_int_equal(st.offset, c.n);
	assert_int_equal(st.total, c.n);
	assert_true(digest_equal(&st.expected, &c.d));
	assert_true(st.started_ns >= before && st.updated_ns >= st.started_ns &&
		    st.updated_ns <= clock_wall_ns());

	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
	check_no_ingest(&env, "a/ref");
	assert_int_equal(env_ingests(&env), 0);
	assert_int_equal(env_stages(&env), 0);
	env_reopen(&env);
	check_content(&env, &c);
	assert_int_equal(env.opened.strays, 0);
}

static void a_ref_has_one_handle(void **state UNUSED)
{
	struct ingest *in = ingest_of(&env, "ref"), *other = NULL;
	struct ingest_spec spec = { .ref = "ref" };
	int64_t start = clock_mono_ns();
	struct stow_err err;

	expect_fail(ingest_open(env.store, &spec, &other, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "ref ref is locked");
	assert_null(other);
	assert_true(clock_mono_ns() - start >= REF_WAIT_NS); /* it gave the holder a chance */
	close_ok(ingest_of(&env, "ref2"));
	close_ok(in);
	close_ok(ingest_of(&env, "ref"));
}

static void updated_at_is_the_writers(void **state UNUSED)
{
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	struct ingest *in = ingest_of(&env, "ref");
	struct iovec v = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct stow_err err;

	expect_ok(ingest_write(in, &v, 1, 12345, &err), &err);
	ingest_status(in, &st);
	assert_int_equal(st.updated_ns, 12345);
	close_ok(in);
	ingest_status_free(&st);
	env_reopen(&env);
	expect_ok(store_ingest_status(env.store, "ref", &st, &err), &err);
	assert_int_equal(st.updated_ns, 12345);
}

static void restart_forgets_the_bytes(void **state UNUSED)
{
	CLEANUP(content_free) struct content a = content_make(5000, 1, DIGEST_SHA256);
	CLEANUP(content_free) struct content b = content_make(3000, 2, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	write_ok(in, &a, 0, a.n);
	expect_ok(ingest_restart(in, &err), &err);
	check_at(in, &a, 0);
	write_ok(in, &a, 0, 1000);
	close_ok(in);
	in = ingest_of(&env, "ref"); /* and with a row */
	expect_ok(ingest_restart(in, &err), &err);
	write_ok(in, &b, 0, b.n);
	expect_ok(content_commit(in, &b, &err), &err);
	check_content(&env, &b);
}

/* --- PARKED --- */

static void parked_bytes_come_back_after_a_restart(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(70001, 3, DIGEST_SHA256);
	CLEANUP(ingest_status_free) struct ingest_status was = { 0 };
	CLEANUP(ingest_status_free) struct ingest_status is = { 0 };
	struct ingest *in = ingest_declared(&env, "k8s.io/9/layer", c.n, &c.d);
	struct stow_err err;

	/* Each time at another place, on the hash's block and beside it. */
	for (size_t at = 0, step = 1; at < c.n; at += step, step = step * 3 + 61) {
		size_t to = at + step < c.n ? at + step : c.n;

		write_ok(in, &c, at, to);
		ingest_status_free(&was);
		ingest_status(in, &was);
		close_ok(in);
		check_ingest(&env, "k8s.io/9/layer", to);
		env_reopen(&env);
		assert_int_equal(env.opened.strays, 0);
		check_ingest(&env, "k8s.io/9/layer", to);
		assert_int_equal(env_ingests(&env), 1);

		in = ingest_of(&env, "k8s.io/9/layer");
		check_at(in, &c, to);
		ingest_status_free(&is);
		ingest_status(in, &is);
		assert_int_equal(is.started_ns, was.started_ns);
		assert_int_equal(is.updated_ns, was.updated_ns);
		assert_int_equal(is.total, c.n);
		assert_true(digest_equal(&is.expected, &c.d));
	}
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
	assert_int_equal(env_stages(&env), 0);
}

static void parked_without_a_byte(void **state UNUSED)
{
	close_ok(ingest_of(&env, "empty"));
	env_reopen(&env);
	check_ingest(&env, "empty", 0);
	close_ok(ingest_of(&env, "empty"));
	assert_int_equal(env_stages(&env), 1);
}

static void another_total_starts_from_zero(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_declared(&env, "ref", 4000, NULL);
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	close_ok(in);
	in = ingest_declared(&env, "ref", 4000, NULL); /* the same one: goes on */
	check_at(in, &c, 1000);
	close_ok(in);
	in = ingest_declared(&env, "ref", 4001, NULL);
	check_at(in, &c, 0);
	write_ok(in, &c, 0, 2000);
	close_ok(in);
	env_reopen(&env);
	in = ingest_declared(&env, "ref", 4001, NULL);
	check_at(in, &c, 2000);
	expect_ok(ingest_drop(in, &err), &err);
	assert_int_equal(env_stages(&env), 0);
}

static void a_total_may_come_later(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	struct ingest *in = ingest_of(&env, "ref");

	write_ok(in, &c, 0, 1000);
	close_ok(in);
	in = ingest_declared(&env, "ref", 4000, &c.d);
	check_at(in, &c, 1000);
	close_ok(in);
	in = ingest_of(&env, "ref");
	ingest_status(in, &st);
	assert_int_equal(st.total, 4000);
	assert_true(digest_equal(&st.expected, &c.d));
	close_ok(in);
}

static int discard_one(void *arg, const char *name, struct stow_err *err)
{
	return backend_stage_discard(arg, name, err);
}

static void bytes_that_are_gone_start_from_zero(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	close_ok(in);
	expect_ok(backend_stage_scan(env.store->backend, discard_one, env.store->backend, &err), &err);
	assert_int_equal(env_stages(&env), 0);
	in = ingest_of(&env, "ref");
	check_at(in, &c, 0);
	write_ok(in, &c, 0, c.n);
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
}

static void a_row_of_other_bytes_starts_from_zero(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct ingest_row row;
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	close_ok(in);
	/* A state of 1000 bytes for 999; one that is none; more bytes than there are. */
	for (int round = 0; round < 3; round++) {
		expect_ok(meta_ingest_get(env.store->meta, "ref", &row, &err), &err);
		if (round == 0)
			row.offset--;
		else if (round == 1)
			row.hash.b[0] = 0x7f;
		expect_ok(meta_ingest_put(env.store->meta, &row, &err), &err);
		if (round == 2) {
			struct stage *st;

			expect_ok(backend_stage_resume(env.store->backend, row.stage, 500, NULL, &st, &err),
				  &err);
			stage_close(st);
		}
		ingest_row_free(&row);
		in = ingest_of(&env, "ref");
		check_at(in, &c, 0);
		assert_int_equal(env_stages(&env), 1);
		write_ok(in, &c, 0, 1000);
		close_ok(in);
	}
	in = ingest_of(&env, "ref");
	check_at(in, &c, 1000);
	write_ok(in, &c, 1000, c.n);
	expect_ok(content_commit(in, &c, &err), &err);
}

/* --- gone --- */

static void abort_of_a_parked_one(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	close_ok(in);
	expect_ok(store_abort(env.store, "ref", &err), &err);
	check_no_ingest(&env, "ref");
	assert_int_equal(env_stages(&env), 0);
	expect_fail(store_abort(env.store, "ref", &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "ref");
	in = ingest_of(&env, "ref");
	check_at(in, &c, 0);
	expect_ok(ingest_drop(in, &err), &err);
}

/* Who is aborted may write, restart, commit, close or drop next: `how` says which. */
static void abort_while_open(int how, bool with_row)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref"), *next;
	struct stow_err err;

	write_ok(in, &c, 0, 1000);
	if (with_row) {
		close_ok(in);
		in = ingest_of(&env, "ref");
		write_ok(in, &c, 1000, 1500);
	}
	expect_ok(ingest_check(in, &err), &err);
	expect_ok(store_abort(env.store, "ref", &err), &err);
	expect_fail(ingest_check(in, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "ref was aborted");
	check_no_ingest(&env, "ref");
	assert_int_equal(env_ingests(&env), 0);
	assert_int_equal(env_stages(&env), 0);

	next = ingest_of(&env, "ref"); /* the ref is free although the handle is still there */
	write_ok(next, &c, 0, 700);
	if (how == 0)
		expect_fail(content_write(in, &c, 0, 1, &err), &err, STOW_NOT_FOUND);
	if (how == 1)
		expect_fail(ingest_restart(in, &err), &err, STOW_NOT_FOUND);
	if (how == 2)
		expect_fail(content_commit(in, &c, &err), &err, STOW_NOT_FOUND);
	else if (how == 3)
		expect_ok(ingest_drop(in, &err), &err);
	else
		close_ok(in);
	check_ingest(&env, "ref", 700); /* and the next one has not been disturbed */
	check_at(next, &c, 700);
	close_ok(next);
	assert_int_equal(env_stages(&env), 1);
	expect_ok(store_abort(env.store, "ref", &err), &err);
}

static void aborted_while_open(void **state UNUSED)
{
	for (int how = 0; how < 5; how++) {
		abort_while_open(how, false);
		abort_while_open(how, true);
	}
	env_reopen(&env);
	assert_int_equal(env.opened.strays, 0);
	assert_int_equal(env_blobs(&env), 0);
}

/* Two have found it, to abort it: the slower one leaves alone what has come since. */
static void aborted_twice(void **state UNUSED)
{
	struct ingest *in = ingest_of(&env, "ref"), *found;
	struct stow_err err;
	int result;

	close_ok(in);
	in = ingest_of(&env, "ref");
	found = refs_get(&env.store->refs, "ref");
	assert_ptr_equal(found, in);
	expect_ok(store_abort(env.store, "ref", &err), &err);
	close_ok(ingest_of(&env, "ref"));
	assert_false(ingest_abort(found, &result, &err));
	ingest_unref(found);
	check_ingest(&env, "ref", 0);
	close_ok(in);
	assert_int_equal(env_stages(&env), env_ingests(&env));
}

static void *restart_it(void *arg)
{
	struct stow_err err;

	return ingest_restart(arg, &err) < 0 && err.code == STOW_NOT_FOUND ? arg : NULL;
}

/* It waits for a checkpoint, and the abort is faster: the ref's row is the next one's by then. */
static void aborted_while_restarting(void **state UNUSED)
{
	struct ingest *in = ingest_of(&env, "ref");
	pthread_t thread;
	void *refused;
	struct stow_err err;

	close_ok(in);
	in = ingest_of(&env, "ref");
	lock_take(&in->lock);
	in->busy = true;
	lock_release(&in->lock);
	assert_int_equal(pthread_create(&thread, NULL, restart_it, in), 0);
	usleep(50000);
	lock_take(&in->lock);
	in->aborted = true;
	in->busy = false;
	pthread_cond_broadcast(&in->idle);
	lock_release(&in->lock);
	pthread_join(thread, &refused);
	assert_ptr_equal(refused, in);
	close_ok(in);
	check_ingest(&env, "ref", 0);
	expect_ok(store_abort(env.store, "ref", &err), &err);
}

static void dropped(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(4000, 4, DIGEST_SHA256);
	struct stow_err err;

	for (int with_row = 0; with_row < 2; with_row++) {
		struct ingest *in = ingest_of(&env, "ref");

		write_ok(in, &c, 0, 1000);
		if (with_row) {
			close_ok(in);
			in = ingest_of(&env, "ref");
		}
		expect_ok(ingest_drop(in, &err), &err);
		check_no_ingest(&env, "ref");
		assert_int_equal(env_stages(&env), 0);
	}
	expect_ok(ingest_close(NULL, &err), &err);
}

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

int main(void)
{
	static enum env_kind mem = ENV_MEM, local = ENV_LOCAL;
#define BOTH(f)                                                                                              \
	{ #f " (mem)", f, setup, teardown, &mem },                                                           \
	{                                                                                                    \
#f " (local)", f, setup, teardown, &local                                                    \
	}
	const struct CMUnitTest tests[] = {
		BOTH(open_write_commit),
		BOTH(a_ref_has_one_handle),
		BOTH(updated_at_is_the_writers),
		BOTH(restart_forgets_the_bytes),
		BOTH(parked_bytes_come_back_after_a_restart),
		BOTH(parked_without_a_byte),
		BOTH(another_total_starts_from_zero),
		BOTH(a_total_may_come_later),
		BOTH(bytes_that_are_gone_start_from_zero),
		BOTH(a_row_of_other_bytes_starts_from_zero),
		BOTH(abort_of_a_parked_one),
		BOTH(aborted_while_open),
		BOTH(aborted_twice),
		BOTH(aborted_while_restarting),
		BOTH(dropped),
		BOTH(commit_without_expecting),
		BOTH(commit_with_labels),
		BOTH(commit_under_each_algorithm),
		BOTH(a_wrong_size_or_digest_stays_parked),
		BOTH(already_exists_drops_the_ingest),
		BOTH(bytes_without_a_row_can_be_committed),
		BOTH(checkpoints_by_bytes),
		BOTH(checkpoints_by_time),
		BOTH(complete_is_synced_by_the_write),
	};

	return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
