#include "backends/backends.h"
#include "content/base/mem.h"
#include "content/blobs.h"
#include "tests/suite/suite.h"

enum { MAX = 3, SIZE = 100 };

static struct blobs table;
static struct backend *backend;
static atomic_int open_handles;
static const struct backend_ops *real;

static int counted_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
			struct stow_err *err)
{
	int rc = real->open(b, d, flags, ret_blob, err);

	atomic_fetch_add(&open_handles, rc == 0);
	return rc;
}

static void counted_close(struct blob *blob)
{
	atomic_fetch_sub(&open_handles, 1);
	real->close(blob);
}

static int setup(void **state UNUSED)
{
	static struct backend_ops ops;
	struct stow_err err;

	expect_ok(mem_new(&backend, &err), &err);
	real = backend->ops;
	ops = *real;
	ops.open = counted_open;
	ops.close = counted_close;
	backend->ops = &ops;
	for (unsigned i = 0; i < 20; i++) {
		struct digest d = some_digest(DIGEST_SHA256, i);

		put_blob(backend, &d, SIZE, i);
	}
	atomic_store(&open_handles, 0);
	blobs_init(&table, MAX);
	return 0;
}

static int teardown(void **state UNUSED)
{
	blobs_destroy(&table);
	assert_int_equal(open_handles, 0);
	backend_free(backend);
	return 0;
}

static struct blob *open_handle(unsigned seed)
{
	struct digest d = some_digest(DIGEST_SHA256, seed);
	struct blob *blob = NULL;
	struct stow_err err;

	thread_check(backend_open(backend, &d, 0, &blob, &err) == 0);
	return blob;
}

static struct open_blob *get(unsigned seed)
{
	struct digest d = some_digest(DIGEST_SHA256, seed);

	return blobs_get(&table, &d);
}

static struct open_blob *add(unsigned seed)
{
	struct digest d = some_digest(DIGEST_SHA256, seed);

	return blobs_add(&table, &d, open_handle(seed));
}

static void drop(unsigned seed)
{
	struct digest d = some_digest(DIGEST_SHA256, seed);

	blobs_drop(&table, &d);
}

static bool reads(struct open_blob *b, unsigned seed)
{
	uint8_t to[SIZE];
	struct stow_err err;
	size_t n;

	return blob_pread(b->blob, to, SIZE, 0, 0, &n, &err) == 0 && n == SIZE && filled(to, SIZE, seed);
}

static bool listed(unsigned seed)
{
	struct open_blob *b = get(seed);

	if (b)
		blobs_put(&table, b);
	return b;
}

static void found_after_adding(void **state UNUSED)
{
	struct open_blob *b;

	assert_null(get(1));
	b = add(1);
	assert_true(reads(b, 1));
	assert_ptr_equal(get(1), b);
	blobs_put(&table, b);
	blobs_put(&table, b);
	assert_ptr_equal(get(1), b); /* stays, unused */
	blobs_put(&table, b);
	assert_int_equal(open_handles, 1);
}

static void the_first_handle_wins(void **state UNUSED)
{
	struct open_blob *first = add(1), *second = add(1);

	assert_ptr_equal(first, second);
	assert_int_equal(open_handles, 1); /* the other one has been closed */
	blobs_put(&table, first);
	blobs_put(&table, second);
}

static void the_least_used_is_pushed_out(void **state UNUSED)
{
	struct open_blob *old;

	for (unsigned i = 0; i < MAX; i++)
		blobs_put(&table, add(i));
	assert_true(listed(0)); /* used: 1 is the oldest now */
	old = get(2);
	blobs_put(&table, add(10));
	assert_false(listed(1));
	assert_int_equal(open_handles, MAX);
	blobs_put(&table, add(11)); /* pushes 0 out */
	blobs_put(&table, add(12)); /* pushes 2 out, which is being read */
	assert_false(listed(0));
	assert_false(listed(2));
	assert_true(reads(old, 2));
	assert_int_equal(open_handles, MAX + 1);
	blobs_put(&table, old);
	assert_int_equal(open_handles, MAX);
	assert_true(listed(10) && listed(11) && listed(12));
	assert_int_equal(table.n, MAX);
}

static void dropped_while_read(void **state UNUSED)
{
	struct open_blob *b = add(1), *again;

	drop(2); /* not there: nothing */
	drop(1);
	assert_false(listed(1));
	assert_true(reads(b, 1));
	again = add(1); /* opened anew */
	assert_ptr_not_equal(again, b);
	assert_int_equal(open_handles, 2);
	blobs_put(&table, b);
	assert_int_equal(open_handles, 1);
	assert_true(listed(1));
	blobs_put(&table, again);
	drop(1);
	assert_int_equal(open_handles, 0);
	assert_int_equal(table.n, 0);
}

static void one_of_many(void *arg UNUSED, int i)
{
	for (unsigned round = 0; round < 400; round++) {
		unsigned seed = (round * 7 + (unsigned)i) % 6;
		struct open_blob *b = get(seed);

		if (!b)
			b = add(seed);
		thread_check(reads(b, seed));
		if (round % 5 == 0)
			drop((seed + 1) % 6);
		blobs_put(&table, b);
	}
}

static void many_threads(void **state UNUSED)
{
	run_threads(6, one_of_many, NULL);
	assert_true(table.n <= MAX);
	assert_int_equal(open_handles, table.n);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(found_after_adding), CASE(the_first_handle_wins), CASE(the_least_used_is_pushed_out),
		CASE(dropped_while_read), CASE(many_threads),
	};

	return cmocka_run_group_tests_name("blobs", tests, NULL, NULL);
}
