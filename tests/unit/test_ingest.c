/* The table of states in content/ingest.h, line by line, over memory and over files; test_ingest_commit.c has
 * what ends with a blob. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_BOTH(open_write_commit),
		ENV_BOTH(a_ref_has_one_handle),
		ENV_BOTH(updated_at_is_the_writers),
		ENV_BOTH(restart_forgets_the_bytes),
		ENV_BOTH(parked_bytes_come_back_after_a_restart),
		ENV_BOTH(parked_without_a_byte),
		ENV_BOTH(another_total_starts_from_zero),
		ENV_BOTH(a_total_may_come_later),
		ENV_BOTH(bytes_that_are_gone_start_from_zero),
		ENV_BOTH(a_row_of_other_bytes_starts_from_zero),
		ENV_BOTH(abort_of_a_parked_one),
		ENV_BOTH(aborted_while_open),
		ENV_BOTH(aborted_twice),
		ENV_BOTH(aborted_while_restarting),
		ENV_BOTH(dropped),
	};

	return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
