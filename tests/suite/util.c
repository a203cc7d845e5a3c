#include "content/base/hash.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

atomic_int thread_failures;

void expect_ok_at(int rc, const struct stow_err *err, const char *file, int line)
{
	if (rc == 0)
		return;
	print_error("%s: %s\n", stow_code_name(err->code), err->msg);
	_fail(file, line);
}

void expect_fail_at(int rc, const struct stow_err *err, enum stow_code code, const char *file, int line)
{
	if (rc == -1 && err->code == code && err->msg[0] != '\0')
		return;
	if (rc == 0)
		print_error("succeeded instead of failing with %s\n", stow_code_name(code));
	else
		print_error("expected %s, got %s: %s\n", stow_code_name(code), stow_code_name(err->code),
			    err->msg);
	_fail(file, line);
}

void expect_named_at(const struct stow_err *err, const char *part, const char *file, int line)
{
	if (strstr(err->msg, part) != NULL)
		return;
	print_error("\"%s\" does not name \"%s\"\n", err->msg, part);
	_fail(file, line);
}

void thread_check_at(bool good, const char *what, const char *file, int line)
{
	if (good)
		return;
	atomic_fetch_add(&thread_failures, 1);
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
}

struct runner {
	pthread_t thread;
	pthread_barrier_t *start;
	void (*fn)(void *arg, int i);
	void *arg;
	int i;
};

static void *run_one(void *arg)
{
	struct runner *r = arg;

	(void)pthread_barrier_wait(r->start);
	r->fn(r->arg, r->i);
	return NULL;
}

void run_threads(int n, void (*fn)(void *arg, int i), void *arg)
{
	CLEANUP(freep) struct runner *runners = x_calloc((size_t)n, sizeof(*runners));
	pthread_barrier_t start;

	atomic_store(&thread_failures, 0);
	assert_int_equal(pthread_barrier_init(&start, NULL, (unsigned)n), 0);
	for (int i = 0; i < n; i++) {
		runners[i] = (struct runner){ .start = &start, .fn = fn, .arg = arg, .i = i };
		assert_int_equal(pthread_create(&runners[i].thread, NULL, run_one, &runners[i]), 0);
	}
	for (int i = 0; i < n; i++)
		assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
	pthread_barrier_destroy(&start);
	assert_int_equal(atomic_load(&thread_failures), 0);
}

struct digest some_digest(enum digest_alg alg, unsigned seed)
{
	struct digest d = { .alg = (uint8_t)alg, .len = (uint8_t)digest_alg_len(alg) };

	fill(d.b, d.len, seed);
	return d;
}

struct digest blob_digest(enum digest_alg alg, size_t n, unsigned seed)
{
	CLEANUP(freep) uint8_t *bytes = x_malloc(n);
	CLEANUP(hash_freep) struct hash *h = hash_new(alg);
	struct digest d;

	fill(bytes, n, seed);
	hash_update(h, bytes, n);
	hash_digest(h, &d);
	return d;
}

/* Multiplied by an odd constant: neighbours in place and in seed look nothing alike. */
static uint8_t fill_byte(size_t i, unsigned seed)
{
	return (uint8_t)(((uint64_t)i + ((uint64_t)seed << 32)) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

void fill(void *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = fill_byte(i, seed);
}

bool filled(const void *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		if (((const uint8_t *)p)[i] != fill_byte(i, seed))
			return false;
	}
	return true;
}

struct stage_name new_name(void)
{
	static _Atomic uint64_t last;
	struct stage_name name;

	(void)snprintf(name.s, sizeof(name.s), "%016" PRIx64, atomic_fetch_add(&last, 1) + 0xa0000);
	return name;
}

int write_bytes(struct stage *st, const void *p, size_t n, uint64_t off, struct stow_err *err)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };

	return stage_write(st, &v, 1, off, err);
}

int try_put_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed, struct stow_err *err)
{
	CLEANUP(freep) void *bytes = x_malloc(n);
	CLEANUP(stage_closep) struct stage *st = NULL;
	struct stage_name name = new_name();

	fill(bytes, n, seed);
	if (backend_stage_create(b, name.s, NULL, &st, err) < 0 || write_bytes(st, bytes, n, 0, err) < 0)
		return -1;
	return stage_publish(st, d, err);
}

void put_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed)
{
	struct stow_err err;

	expect_ok(try_put_blob(b, d, n, seed, &err), &err);
}

void check_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed)
{
	CLEANUP(freep) void *bytes = x_malloc(n + 1);
	struct blob *blob;
	struct stow_err err;
	struct blob_stat st;
	size_t got;

	expect_ok(backend_stat(b, d, &st, &err), &err);
	assert_int_equal(st.size, n);
	expect_ok(backend_open(b, d, 0, &blob, &err), &err);
	assert_int_equal(blob->size, n);
	expect_ok(blob_pread(blob, bytes, n + 1, 0, 0, &got, &err), &err);
	blob_close(blob);
	assert_int_equal(got, n);
	assert_true(filled(bytes, n, seed));
}

void check_no_blob(struct backend *b, const struct digest *d)
{
	struct blob *blob = NULL;
	struct stow_err err;
	struct blob_stat st = { .size = 42 };

	expect_fail(backend_stat(b, d, &st, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(st.size, 42);
	expect_fail(backend_open(b, d, 0, &blob, &err), &err, STOW_NOT_FOUND);
	assert_null(blob);
}

static int count_blob(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	(void)d;
	(void)st;
	(void)err;
	++*(size_t *)arg;
	return 0;
}

size_t count_blobs(struct backend *b)
{
	struct stow_err err;
	size_t n = 0;

	expect_ok(backend_scan(b, count_blob, &n, &err), &err);
	return n;
}

static int count_stage(void *arg, const char *name, struct stow_err *err)
{
	(void)name;
	(void)err;
	++*(size_t *)arg;
	return 0;
}

size_t count_stages(struct backend *b)
{
	struct stow_err err;
	size_t n = 0;

	expect_ok(backend_stage_scan(b, count_stage, &n, &err), &err);
	return n;
}

void temp_dir_make(char out[TEMP_DIR_MAX])
{
	const char *base = getenv("TMPDIR");

	(void)snprintf(out, TEMP_DIR_MAX, "%s/stowage-suite-XXXXXX", base == NULL ? "/tmp" : base);
	assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *where)
{
	(void)sb;
	(void)type;
	(void)where;
	return remove(path);
}

void temp_dir_remove(const char *path)
{
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
