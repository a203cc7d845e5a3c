/* A process is killed at every step of an upload, and at any moment of many; what comes after it finds
 * everything that was acknowledged, and nothing that is half. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { N_MANY = 4096, WRITERS = 4 };

/* What the child tells before it dies. */
struct told {
	atomic_bool a_there, a_deleting, a_deleted, b_parked, b_there, dropped;
	atomic_uchar many[N_MANY]; /* 1: committed, 2: about to be deleted, 3: deleted */
};
static struct told *told;

static int setup(void **state UNUSED)
{
	env_make(&env, ENV_LOCAL);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(told != MAP_FAILED);
	return 0;
}

static int teardown(void **state UNUSED)
{
	munmap(told, sizeof(*told));
	env_remove(&env);
	return 0;
}

/* In the child: a failure is an exit status of its own. */
static void must(int result, const struct stow_err *err)
{
	if (result == 0)
		return;
	fprintf(stderr, "child: %s: %s\n", stow_code_name(err->code), err->msg);
	_exit(3);
}

/* --- a backend that kills its process --- */

static const struct backend_ops *real;
static int steps_left;

static void step(void)
{
	if (--steps_left == 0) {
		kill(getpid(), SIGKILL);
		pause();
	}
}

static int kill_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	step();
	int rc = real->remove(b, d, err);
	step();
	return rc;
}

static int kill_create(struct backend *b, const char *name, const struct stage_hint *hint,
		       struct stage **ret_st, struct stow_err *err)
{
	step();
	int rc = real->stage_create(b, name, hint, ret_st, err);
	step();
	return rc;
}

static int kill_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	step();
	if (n > 1 && iov[0].iov_len > 0) { /* half of it */
		int rc = real->stage_write(st, iov, 1, off, err);

		step();
		return rc < 0 ? rc : real->stage_write(st, iov + 1, n - 1, off + iov[0].iov_len, err);
	}
	return real->stage_write(st, iov, n, off, err);
}

static int kill_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	step();
	int rc = real->stage_truncate(st, size, err);
	step();
	return rc;
}

static int kill_sync(struct stage *st, struct stow_err *err)
{
	step();
	int rc = real->stage_sync(st, err);
	step();
	return rc;
}

static int kill_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	step();
	int rc = real->stage_publish(st, d, err);
	step();
	return rc;
}

static int kill_discard(struct backend *b, const char *name, struct stow_err *err)
{
	step();
	int rc = real->stage_discard(b, name, err);
	step();
	return rc;
}

static void kill_close(struct stage *st)
{
	step();
	real->stage_close(st);
	step();
}

static void kill_at(int n)
{
	static struct backend_ops ops;

	real = env.store->backend->ops;
	ops = *real;
	ops.remove = kill_remove;
	ops.stage_create = kill_create;
	ops.stage_write = kill_write;
	ops.stage_truncate = kill_truncate;
	ops.stage_sync = kill_sync;
	ops.stage_publish = kill_publish;
	ops.stage_discard = kill_discard;
	ops.stage_close = kill_close;
	env.store->backend->ops = &ops;
	steps_left = n;
}

/* --- every step --- */

static struct ingest *child_open(const char *ref)
{
	struct ingest_spec spec = { .ref = ref };
	struct ingest *in;
	struct stow_err err;

	must(ingest_open(env.store, &spec, &in, &err), &err);
	return in;
}

/* `a` comes, goes, and comes again; `b` comes in two streams; one is dropped after a restart. */
static NORETURN void child_upload(const struct content *a, const struct content *b, int n)
{
	struct ingest *in;
	struct stow_err err;

	env_open(&env);
	kill_at(n);
	must(content_put(env.store, "a", a, &err), &err);
	told->a_there = true;
	in = child_open("b");
	must(content_write(in, b, 0, b->n / 2, &err), &err);
	must(ingest_close(in, &err), &err);
	told->b_parked = true;
	in = child_open("b");
	must(content_write(in, b, b->n / 2, b->n, &err), &err);
	must(content_commit(in, b, &err), &err);
	told->b_there = true;
	told->a_deleting = true;
	must(store_delete(env.store, &a->d, &err), &err);
	told->a_deleted = true;
	in = child_open("c");
	must(content_write(in, b, 0, 100, &err), &err);
	must(ingest_close(in, &err), &err);
	in = child_open("c");
	must(ingest_restart(in, &err), &err);
	must(ingest_drop(in, &err), &err);
	told->dropped = true;
	_exit(0); /* without closing anything */
}

/* True if it was killed; false if it ran to its end. */
static bool child_end(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

/* Every row has its bytes and every blob its row, after the upkeep that the daemon does. */
static void check_agreement(void)
{
	static const atomic_bool go = false;
	struct reconciled r;
	struct stow_err err;

	/* Killed between publishing and recording, the row of a parked ingest outlives its stage. */
	assert_true(env_stages(&env) <= env_ingests(&env));
	expect_ok(store_reconcile(env.store, &go, &r, &err), &err);
	assert_int_equal(r.dropped, 0);
	assert_int_equal(env_blobs(&env), env_backend_blobs(&env));
}

static void check_survivors(const struct content *a, const struct content *b)
{
	struct stow_err err;

	env_open(&env);
	assert_string_equal(env.opened.set_aside, "");
	if (told->a_deleted)
		assert_false(store_has(env.store, &a->d));
	else if (told->a_there && !told->a_deleting)
		assert_true(store_has(env.store, &a->d));
	if (told->b_there)
		assert_true(store_has(env.store, &b->d));
	else if (told->b_parked && !content_good(env.store, b, &err))
		check_ingest(&env, "b", b->n / 2);
	if (told->dropped)
		check_no_ingest(&env, "c");
	check_agreement();
	if (!content_good(env.store, a, &err))
		assert_int_equal(err.code, STOW_NOT_FOUND);
	if (!content_good(env.store, b, &err))
		assert_int_equal(err.code, STOW_NOT_FOUND);
	/* And whoever was uploading goes on, and ends. */
	if (content_put(env.store, "b", b, &err) < 0)
		assert_int_equal(err.code, STOW_ALREADY_EXISTS);
	if (content_put(env.store, "a", a, &err) < 0)
		assert_int_equal(err.code, STOW_ALREADY_EXISTS);
	check_content(&env, a);
	check_content(&env, b);
	check_no_ingest(&env, "a");
	check_no_ingest(&env, "b");
	expect_ok(store_delete(env.store, &a->d, &err), &err);
	expect_ok(store_delete(env.store, &b->d, &err), &err);
	if (store_abort(env.store, "c", &err) < 0)
		assert_int_equal(err.code, STOW_NOT_FOUND);
	assert_int_equal(env_stages(&env), 0);
	env_close(&env);
}

static void killed_at_every_step(void **state UNUSED)
{
	CLEANUP(content_free) struct content a = content_make(50000, 1, DIGEST_SHA256);
	CLEANUP(content_free) struct content b = content_make(70000, 2, DIGEST_SHA512);
	bool killed = true;
	int n;

	for (n = 1; killed; n++) {
		pid_t child;

		memset(told, 0, sizeof(*told));
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			child_upload(&a, &b, n);
		killed = child_end(child);
		check_survivors(&a, &b);
	}
	assert_true(n > 30); /* it was killed somewhere */
	assert_true(told->dropped);
}

/* --- any moment --- */

static struct content nth_content(unsigned i)
{
	return content_make(i * 37 % 3000, i, DIGEST_SHA256);
}

static void *child_writer(void *arg)
{
	for (unsigned i = (unsigned)(uintptr_t)arg; i < N_MANY; i += WRITERS) {
		CLEANUP(content_free) struct content c = nth_content(i);
		struct stow_err err;
		char ref[32];

		snprintf(ref, sizeof(ref), "ref-%u", i);
		must(content_put(env.store, ref, &c, &err), &err);
		told->many[i] = 1;
		if (i % 3 == 0) {
			told->many[i] = 2;
			must(store_delete(env.store, &c.d, &err), &err);
			told->many[i] = 3;
		}
	}
	return NULL;
}

static NORETURN void child_many(void)
{
	pthread_t threads[WRITERS];

	env_open(&env);
	for (uintptr_t i = 0; i < WRITERS; i++)
		if (pthread_create(&threads[i], NULL, child_writer, (void *)i) != 0)
			_exit(4);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

static unsigned count_told(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_MANY; i++)
		n += told->many[i] != 0;
	return n;
}

static void check_many(void)
{
	for (unsigned i = 0; i < N_MANY; i++) {
		CLEANUP(content_free) struct content c = nth_content(i);
		struct stow_err err;
		bool has = store_has(env.store, &c.d);

		if (told->many[i] == 1)
			assert_true(has);
		if (told->many[i] == 3)
			assert_false(has);
		if (has)
			check_content(&env, &c);
		if (has)
			expect_ok(store_delete(env.store, &c.d, &err), &err);
	}
}

static void killed_at_any_moment(void **state UNUSED)
{
	unsigned most = 0;

	for (unsigned round = 0; round < 8; round++) {
		int64_t end = clock_mono_ns() + 20 * NSEC_PER_SEC;
		pid_t child;

		memset(told, 0, sizeof(*told));
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			child_many();
		/* Sooner and later, however fast the machine is. */
		while (count_told() < 20 * round && clock_mono_ns() < end)
			usleep(300);
		usleep(round * 777);
		kill(child, SIGKILL);
		(void)child_end(child);
		most = count_told() > most ? count_told() : most;

		env_open(&env);
		assert_string_equal(env.opened.set_aside, "");
		check_agreement();
		check_many();
		assert_int_equal(env_blobs(&env), 0);
		env_close(&env);
	}
	assert_true(most > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(killed_at_every_step, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_at_any_moment, setup, teardown),
	};

	return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
