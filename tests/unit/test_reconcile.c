/* The database is made to agree with the bytes, and nobody has to wait for it. */
#include "content/base/mem.h"
#include "content/meta_internal.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const atomic_bool go = false, stopped = true;

static struct digest nth_digest(unsigned i)
{
	struct digest d = some_digest(i % 3 ? DIGEST_SHA256 : DIGEST_SHA512, i);

	memcpy(d.b + 8, &i, sizeof(i));
	return d;
}

/* Bytes that the database does not know; fill(7), so that they are the same for all. */
static void make_blobs(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		struct digest d = nth_digest(i);

		put_blob(env.store->backend, &d, i % 100, 7);
	}
}

static void make_rows(unsigned from, unsigned to)
{
	struct stow_err err;

	for (unsigned i = from; i < to; i++) {
		struct blob_info info = { .digest = nth_digest(i), .size = i % 100 };

		expect_ok(meta_blobs_adopt(env.store->meta, &info, 1, false, &err), &err);
	}
}

static void check_pass(uint64_t seen, uint64_t adopted, uint64_t dropped)
{
	struct reconciled r = { .seen = 99, .adopted = 99, .dropped = 99 };
	struct stow_err err;

	expect_ok(store_reconcile(env.store, &go, &r, &err), &err);
	assert_int_equal(r.seen, seen);
	assert_int_equal(r.adopted, adopted);
	assert_int_equal(r.dropped, dropped);
}

static void nothing_to_do(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(100, 1, DIGEST_SHA256);
	struct stow_err err;

	check_pass(0, 0, 0);
	expect_ok(content_put(env.store, "ref", &c, &err), &err);
	check_pass(1, 0, 0);
	check_content(&env, &c);
}

/* More than one batch, and batches that are full. */
static void adopts_bytes_without_rows(void **state UNUSED)
{
	make_blobs(0, 256);
	check_pass(256, 256, 0);
	make_blobs(256, 600);
	make_rows(300, 310);
	check_pass(600, 334, 0);
	assert_int_equal(env_blobs(&env), 600);
	for (unsigned i = 0; i < 600; i++) {
		struct digest d = nth_digest(i);
		struct blob_info info;
		struct stow_err err;

		expect_ok(store_info_now(env.store, &d, &info, &err), &err);
		assert_int_equal(info.size, i % 100);
		blob_info_free(&info);
	}
	check_pass(600, 0, 0);
}

static void drops_rows_without_bytes(void **state UNUSED)
{
	make_blobs(0, 20);
	make_rows(10, 700); /* 20..699 have none */
	check_pass(20, 10, 680);
	assert_int_equal(env_blobs(&env), 20);
	for (unsigned i = 0; i < 700; i++) {
		struct digest d = nth_digest(i);

		assert_int_equal(store_has(env.store, &d), i < 20);
	}
	check_pass(20, 0, 0);
}

/* A row whose bytes cannot be looked at is no row without bytes. */
static void failures_drop_nothing(void **state UNUSED)
{
	struct reconciled r;
	struct stow_err err;

	make_blobs(0, 3);
	make_rows(0, 4);
	env_fault(&env, FAULT_SCAN, 1, STOW_UNAVAILABLE);
	expect_fail(store_reconcile(env.store, &go, &r, &err), &err, STOW_UNAVAILABLE);
	assert_int_equal(env_blobs(&env), 4);
	atomic_store(&env.plan.forever, true);
	env_fault(&env, FAULT_STAT, 1, STOW_UNAVAILABLE);
	expect_fail(store_reconcile(env.store, &go, &r, &err), &err, STOW_UNAVAILABLE);
	assert_int_equal(r.dropped, 0);
	assert_int_equal(env_blobs(&env), 4);
	env_fault(&env, FAULT_STAT, 0, STOW_OK);
	check_pass(3, 0, 1);
}

static void stops_when_told(void **state UNUSED)
{
	struct reconciled r;
	struct stow_err err;

	make_blobs(0, 300);
	make_rows(1000, 1010);
	expect_ok(store_reconcile(env.store, &stopped, &r, &err), &err);
	assert_int_equal(r.seen, 0);
	assert_int_equal(env_blobs(&env), 10);
	check_pass(300, 300, 10);
}

/* A directory that is changed while it is listed may show a name twice. */
static const struct backend_ops *real;
static backend_blob_visit *inner_visit;

static int visit_twice(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	if (inner_visit(arg, d, st, err) < 0)
		return -1;
	return inner_visit(arg, d, st, err);
}

static int scan_twice(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	inner_visit = visit;
	return real->scan(b, visit_twice, arg, err);
}

static void a_blob_may_be_seen_twice(void **state UNUSED)
{
	static struct backend_ops ops;

	real = env.store->backend->ops;
	ops = *real;
	ops.scan = scan_twice;
	env.store->backend->ops = &ops;
	make_blobs(0, 300);
	check_pass(600, 300, 0); /* it would wait for itself */
	assert_int_equal(env_blobs(&env), 300);
	env.store->backend->ops = real;
}

/* --- beside others --- */

struct beside {
	atomic_int busy;
	struct content c[4];
};

static void one_beside(void *arg, int i)
{
	struct beside *b = arg;
	struct reconciled r;
	struct stow_err err;

	if (i < 2) { /* two at once */
		do
			thread_check(store_reconcile(env.store, &go, &r, &err) == 0);
		while (atomic_load(&b->busy) > 0);
		return;
	}
	for (int round = 0; round < 60; round++) {
		const struct content *c = &b->c[i % 4];
		char ref[32];

		snprintf(ref, sizeof(ref), "ref-%d", i);
		/* This thread alone has this content: what it has been told must hold, whoever reconciles. */
		thread_check(content_put(env.store, ref, c, &err) == 0);
		thread_check(content_good(env.store, c, &err));
		thread_check(store_delete(env.store, &c->d, &err) == 0);
		thread_check(!store_has(env.store, &c->d));
		if (round % 8 == 0) {
			struct digest d = nth_digest((unsigned)i * 1000 + (unsigned)round);

			thread_check(try_put_blob(env.store->backend, &d, 10, 7, &err) == 0);
		}
	}
	atomic_fetch_sub(&b->busy, 1);
}

static void others_go_on(void **state UNUSED)
{
	struct beside b = { .busy = 4 };
	struct reconciled r;
	struct stow_err err;

	for (unsigned i = 0; i < 4; i++)
		b.c[i] = content_make(2000, i, DIGEST_SHA256);
	run_threads(6, one_beside, &b);
	for (unsigned i = 0; i < 4; i++)
		content_free(&b.c[i]);
	expect_ok(store_reconcile(env.store, &go, &r, &err), &err);
	assert_int_equal(r.dropped, 0);
	check_pass(4 * 8, 0, 0);
	assert_int_equal(env_blobs(&env), 4 * 8);
}

/* A remote backend is not walked through: its blobs are adopted one by one, and rows whose bytes are gone go
 * when somebody wants to read them. */
static void leaves_a_remote_one_alone(void **state)
{
	struct digest known = nth_digest(0), missing = nth_digest(7);
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct open_blob *blob;
	struct stow_err err;

	(void)state;
	env.store->backend->remote = true;
	make_blobs(0, 5);
	make_rows(5, 10);
	check_pass(0, 0, 0);
	assert_int_equal(env_blobs(&env), 5);
	expect_ok(store_info(env.store, &known, &info, &err), &err);
	assert_int_equal(env_blobs(&env), 6);
	expect_fail(store_read_begin(env.store, &missing, 0, &blob, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(env_blobs(&env), 5);
}

/* --- power --- */

enum { META_PAGES = 2, PAGE = 4096 };

static void meta_pages(void *p, ssize_t (*transfer)(int fd, void *p, size_t n, off_t off))
{
	CLEANUP(freep) char *path = x_asprintf("%s/meta.mdb", env.dir);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(transfer(fd, p, META_PAGES * PAGE, 0), META_PAGES * PAGE);
}

static ssize_t put_back(int fd, void *p, size_t n, off_t off)
{
	return pwrite(fd, p, n, off);
}

/* The commit of a row without labels does not wait for the page that makes it valid: without that page,
 * all before it is there, and the blob is found by its bytes. */
static void a_power_loss_undoes_a_row(void **state UNUSED)
{
	CLEANUP(content_free) struct content first = content_make(100, 1, DIGEST_SHA256);
	CLEANUP(content_free) struct content second = content_make(100, 2, DIGEST_SHA256);
	static uint8_t before[META_PAGES * PAGE], after[META_PAGES * PAGE];
	struct stow_err err;

	expect_ok(content_put(env.store, "first", &first, &err), &err);
	env_reopen(&env);
	meta_pages(before, pread);
	expect_ok(content_put(env.store, "second", &second, &err), &err);
	assert_int_equal(env_blobs(&env), 2);
	env_close(&env);
	meta_pages(after, pread);
	assert_true(!memcmp(before, after, PAGE) != !memcmp(before + PAGE, after + PAGE, PAGE));

	meta_pages(before, put_back);
	env_open(&env);
	assert_string_equal(env.opened.set_aside, "");
	assert_int_equal(env_blobs(&env), 1);
	check_content(&env, &first);
	check_pass(2, 1, 0);
	check_content(&env, &second);
}

static unsigned environment_flags(void)
{
	unsigned flags;

	assert_int_equal(mdb_env_get_flags(env.store->meta->env, &flags), 0);
	return flags;
}

static void labels_are_synced(void **state UNUSED)
{
	CLEANUP(content_free) struct content bare = content_make(100, 1, DIGEST_SHA256);
	CLEANUP(content_free) struct content labelled = content_make(100, 2, DIGEST_SHA256);
	struct label label = { .key = (char *)(uintptr_t) "k", .value = (char *)(uintptr_t) "v" };
	struct ingest_commit commit = { .labels = { .v = &label, .n = 1 } };
	struct ingest *in;
	struct stow_err err;
	struct digest d;

	expect_ok(content_put(env.store, "bare", &bare, &err), &err);
	assert_true(environment_flags() & MDB_NOMETASYNC);
	in = ingest_of(&env, "labelled");
	expect_ok(content_write(in, &labelled, 0, labelled.n, &err), &err);
	expect_ok(ingest_commit(in, &commit, &d, &err), &err);
	assert_false(environment_flags() & MDB_NOMETASYNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_BOTH(nothing_to_do),
		ENV_BOTH(adopts_bytes_without_rows),
		ENV_BOTH(drops_rows_without_bytes),
		ENV_BOTH(failures_drop_nothing),
		ENV_BOTH(stops_when_told),
		ENV_BOTH(a_blob_may_be_seen_twice),
		ENV_BOTH(others_go_on),
		ENV_BOTH(leaves_a_remote_one_alone),
		ENV_BOTH(a_power_loss_undoes_a_row),
		ENV_BOTH(labels_are_synced),
	};

	return cmocka_run_group_tests_name("reconcile", tests, NULL, NULL);
}
