/* Each call into the backend fails once, at every place where one is made. Whatever then happens to the
 * upload, nothing that was acknowledged is lost or wrong, and nothing unfinished is shown. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <stdio.h>

static int setup(void **state)
{
	env_make(&env, *(const enum env_kind *)*state);
	env.threads = 1;
	env_open(&env);
	return 0;
}

/* --- the scenario --- */

enum { N_CONTENTS = 3 };

struct scenario {
	struct content v[N_CONTENTS];
	bool there[N_CONTENTS];     /* committed, and the commit acknowledged */
	bool uncertain[N_CONTENTS]; /* a change of it has failed: there or not, but not wrong */
	unsigned failures;
};

/* Counts a failure, which has a message. */
static bool failed(struct scenario *sc, int result, struct stow_err *err)
{
	if (result == 0)
		return false;
	assert_int_not_equal(err->code, STOW_OK);
	assert_true(*err->msg);
	sc->failures++;
	return true;
}

/* Opens, and tries once more after a failure: the ref must not be held by the one that failed. */
static struct ingest *open_again(struct scenario *sc, const char *ref, uint64_t total)
{
	struct ingest_spec spec = { .ref = ref, .total = total };
	struct ingest *in = NULL;
	struct stow_err err;

	for (int i = 0; i < 3 && !in; i++)
		if (failed(sc, ingest_open(env.store, &spec, &in, &err), &err))
			assert_int_not_equal(err.code, STOW_UNAVAILABLE);
	assert_non_null(in);
	return in;
}

/* What the handle has is a prefix of the content, whatever has failed; goes on from there to `to`. */
static int write_rest(struct scenario *sc, struct ingest *in, const struct content *c, size_t to)
{
	uint64_t at = ingest_offset(in);
	struct digest got, want;
	struct stow_err err;

	assert_true(at <= c->n);
	want = content_prefix(c, at);
	ingest_digest(in, &got);
	assert_true(digest_equal(&got, &want));
	if (at >= to)
		return 0;
	if (failed(sc, content_write(in, c, at, to, &err), &err)) {
		assert_int_equal(ingest_offset(in), at); /* nothing was appended */
		return -1;
	}
	return 0;
}

/* Uploads content `i` in two streams, with a restart of the bytes in the second if `again`. */
static void upload(struct scenario *sc, int i, const char *ref, bool again)
{
	const struct content *c = &sc->v[i];
	struct stow_err err;
	struct ingest *in = open_again(sc, ref, c->n);

	(void)!write_rest(sc, in, c, c->n / 2);
	(void)!failed(sc, ingest_close(in, &err), &err);
	for (int attempt = 0; attempt < 4 && !sc->there[i]; attempt++) {
		in = open_again(sc, ref, c->n);
		if (again && failed(sc, ingest_restart(in, &err), &err)) {
			(void)!failed(sc, ingest_close(in, &err), &err);
			continue;
		}
		if (write_rest(sc, in, c, c->n) < 0) {
			(void)!failed(sc, ingest_close(in, &err), &err);
			continue;
		}
		if (!failed(sc, content_commit(in, c, &err), &err))
			sc->there[i] = true;
		else if (err.code == STOW_ALREADY_EXISTS)
			sc->there[i] = true; /* an attempt that failed had made it */
	}
	assert_true(sc->there[i]); /* one fault costs one attempt or two */
}

static void scenario_run(struct scenario *sc)
{
	static const atomic_bool go = false;
	struct stow_err err;
	struct ingest *in;
	struct reconciled r;
	struct blob_info info;

	upload(sc, 0, "first", false);
	upload(sc, 1, "second", true);
	upload(sc, 2, "third", false);
	/* Reads may fail, but do not lie. */
	for (int i = 0; i < N_CONTENTS; i++) {
		if (!content_good(env.store, &sc->v[i], &err)) {
			assert_int_not_equal(err.code, STOW_DATA_LOSS);
			assert_int_not_equal(err.code, STOW_NOT_FOUND);
			sc->failures++;
		}
	}
	/* A delete. */
	if (failed(sc, store_delete(env.store, &sc->v[2].d, &err), &err))
		sc->uncertain[2] = true;
	sc->there[2] = false;
	if (failed(sc, store_info(env.store, &sc->v[2].d, &info, &err), &err))
		assert_true(err.code == STOW_NOT_FOUND || err.code == STOW_INTERNAL);
	else
		blob_info_free(&info);
	(void)!failed(sc, store_reconcile(env.store, &go, &r, &err), &err);
	/* Two that do not end: one dropped, one parked and aborted. */
	in = open_again(sc, "dropped", 0);
	(void)!write_rest(sc, in, &sc->v[0], 100);
	(void)!failed(sc, ingest_drop(in, &err), &err);
	in = open_again(sc, "aborted", 0);
	(void)!write_rest(sc, in, &sc->v[0], 100);
	(void)!failed(sc, ingest_close(in, &err), &err);
	(void)!failed(sc, store_abort(env.store, "aborted", &err), &err);
}

/* What holds after a restart, with the fault gone. */
static void check_after(struct scenario *sc)
{
	struct stow_err err;
	uint64_t n, bytes, sum = 0;

	memset(env.plan.after, 0, sizeof(env.plan.after));
	env_reopen(&env);
	assert_int_equal(env_stages(&env), env_ingests(&env)); /* no stage that nobody knows */
	for (int i = 0; i < N_CONTENTS; i++) {
		bool good = content_good(env.store, &sc->v[i], &err);

		if (sc->uncertain[i])
			assert_true(good || err.code == STOW_NOT_FOUND);
		else
			assert_int_equal(good, sc->there[i]);
		sum += good ? sc->v[i].n : 0;
	}
	expect_ok(store_count(env.store, &n, &bytes, &err), &err);
	assert_int_equal(bytes, sum);
	assert_int_equal(n, env_backend_blobs(&env));
	/* Every ref can be used again. */
	for (int i = 0; i < 5; i++) {
		static const char *const refs[] = { "first", "second", "third", "dropped", "aborted" };

		expect_ok(ingest_drop(ingest_of(&env, refs[i]), &err), &err);
	}
	assert_int_equal(env_stages(&env), 0);
}

static void clear(void)
{
	struct stow_err err;

	for (unsigned i = 0; i < N_CONTENTS; i++) {
		CLEANUP(content_free)
		struct content c = content_make(20000 + i, i, i == 1 ? DIGEST_SHA512 : DIGEST_SHA256);

		if (store_delete(env.store, &c.d, &err) < 0)
			assert_int_equal(err.code, STOW_NOT_FOUND);
	}
	assert_int_equal(env_blobs(&env), 0);
}

/* Runs the scenario with the n-th call of `op` failing, n = 1.. until it is not called that often.
 * Returns how many calls there are. */
static int every_place(enum fault_op op, enum stow_code code)
{
	for (int n = 1;; n++) {
		struct scenario sc = { 0 };
		bool fired;

		for (unsigned i = 0; i < N_CONTENTS; i++)
			sc.v[i] = content_make(20000 + i, i, i == 1 ? DIGEST_SHA512 : DIGEST_SHA256);
		env_fault(&env, op, n, code);
		scenario_run(&sc);
		fired = atomic_load(&env.plan.after[op]) == 0;
		check_after(&sc);
		clear();
		for (int i = 0; i < N_CONTENTS; i++)
			content_free(&sc.v[i]);
		if (!fired) {
			/* Only the Info on what was deleted. */
			assert_int_equal(sc.failures, 1);
			return n - 1;
		}
		assert_true(n < 1000);
	}
}

static void every_call_fails_once(void **state UNUSED)
{
	/* STAGE_SCAN is the opening's alone, see below; what follows it is a tiered backend's. */
	for (int op = 0; op < FAULT_STAGE_SCAN; op++) {
		int places = every_place((enum fault_op)op, STOW_INTERNAL);

		assert_true(places > 0);
		print_message("operation %d: %d places\n", op, places);
	}
}

static void no_space(void **state UNUSED)
{
	(void)every_place(FAULT_STAGE_CREATE, STOW_RESOURCE_EXHAUSTED);
	(void)every_place(FAULT_STAGE_WRITE, STOW_RESOURCE_EXHAUSTED);
	(void)every_place(FAULT_STAGE_PUBLISH, STOW_RESOURCE_EXHAUSTED);
}

static void codes_pass_through(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(1000, 1, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	env_fault(&env, FAULT_STAGE_WRITE, 1, STOW_RESOURCE_EXHAUSTED);
	expect_fail(content_write(in, &c, 0, 100, &err), &err, STOW_RESOURCE_EXHAUSTED);
	expect_named(&err, "ref ref: write at 0");
	expect_ok(content_write(in, &c, 0, c.n, &err), &err);
	env_fault(&env, FAULT_STAGE_PUBLISH, 1, STOW_UNAVAILABLE);
	expect_fail(content_commit(in, &c, &err), &err, STOW_UNAVAILABLE);
	check_ingest(&env, "ref", c.n); /* parked, with all its bytes */
	expect_ok(content_commit(ingest_of(&env, "ref"), &c, &err), &err);
}

/* --- opening --- */

static void opening_fails_cleanly(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(1000, 1, DIGEST_SHA256);
	struct stow_err err;

	expect_ok(content_put(env.store, "ref", &c, &err), &err);
	env_close(&env);
	env_fault(&env, FAULT_STAGE_SCAN, 1, STOW_INTERNAL);
	expect_fail(env_try_open(&env, &err), &err, STOW_INTERNAL);
	assert_null(env.store);
	env_open(&env); /* lock and database have been given back */
	check_content(&env, &c);
}

static void strays_that_cannot_be_removed(void **state UNUSED)
{
	struct stage_name name = new_name();
	struct stage *st;
	struct stow_err err;

	expect_ok(backend_stage_create(env.store->backend, name.s, NULL, &st, &err), &err);
	stage_close(st);
	env_close(&env);
	env_fault(&env, FAULT_STAGE_DISCARD, 1, STOW_INTERNAL);
	expect_fail(env_try_open(&env, &err), &err, STOW_INTERNAL);
	env_open(&env);
	assert_int_equal(env.opened.strays, 1);
	assert_int_equal(env_stages(&env), 0);
}

/* --- a sync that failed --- */

/* The kernel says it once and forgets the pages: the next sync would succeed and prove nothing. */
static void failed_sync_is_never_forgotten(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(5000, 1, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct ingest_row row;
	struct stow_err err;

	expect_ok(content_write(in, &c, 0, 2000, &err), &err);
	expect_ok(ingest_close(in, &err), &err);
	in = ingest_of(&env, "ref");
	expect_ok(content_write(in, &c, 2000, c.n, &err), &err);
	env_fault(&env, FAULT_STAGE_SYNC, 1, STOW_INTERNAL);
	expect_fail(content_commit(in, &c, &err), &err, STOW_INTERNAL);
	check_absent(&env, &c.d);
	assert_int_equal(env_backend_blobs(&env), 0);
	/* What was durable before is what stays, not what the sync was for. */
	expect_ok(meta_ingest_get(env.store->meta, "ref", &row, &err), &err);
	assert_int_equal(row.offset, 2000);
	ingest_row_free(&row);
	in = ingest_of(&env, "ref");
	assert_int_equal(ingest_offset(in), 2000);
	expect_ok(content_write(in, &c, 2000, c.n, &err), &err);
	expect_ok(content_commit(in, &c, &err), &err);
	check_content(&env, &c);
}

static void failed_sync_of_the_last_write_fails_the_commit(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(5000, 1, DIGEST_SHA256);
	struct ingest *in = ingest_declared(&env, "ref", c.n, NULL);
	struct stow_err err;

	env_fault(&env, FAULT_STAGE_SYNC, 1, STOW_INTERNAL);
	expect_ok(content_write(in, &c, 0, c.n, &err), &err);
	assert_int_equal(atomic_load(&env.plan.after[FAULT_STAGE_SYNC]), 0);
	expect_fail(content_commit(in, &c, &err), &err, STOW_INTERNAL);
	expect_named(&err, "planned fault in stage_sync");
	check_absent(&env, &c.d);
	check_no_ingest(&env, "ref"); /* nothing of it was durable */
	assert_int_equal(env_stages(&env), 0);
}

static void failed_sync_at_close(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(5000, 1, DIGEST_SHA256);
	struct ingest *in = ingest_of(&env, "ref");
	struct stow_err err;

	expect_ok(content_write(in, &c, 0, 2000, &err), &err);
	env_fault(&env, FAULT_STAGE_SYNC, 1, STOW_INTERNAL);
	expect_fail(ingest_close(in, &err), &err, STOW_INTERNAL);
	expect_named(&err, "ref ref: park");
	check_no_ingest(&env, "ref");
	assert_int_equal(env_stages(&env), 0);
	expect_ok(ingest_close(ingest_of(&env, "ref"), &err), &err); /* and the ref is free */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_BOTH_WITH(every_call_fails_once, setup),
		ENV_BOTH_WITH(no_space, setup),
		ENV_BOTH_WITH(codes_pass_through, setup),
		ENV_BOTH_WITH(opening_fails_cleanly, setup),
		ENV_BOTH_WITH(strays_that_cannot_be_removed, setup),
		ENV_BOTH_WITH(failed_sync_is_never_forgotten, setup),
		ENV_BOTH_WITH(failed_sync_of_the_last_write_fails_the_commit, setup),
		ENV_BOTH_WITH(failed_sync_at_close, setup),
	};

	return cmocka_run_group_tests_name("ingest faults", tests, NULL, NULL);
}
