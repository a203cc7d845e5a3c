#include "tests/unit/store_env.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/store_internal.h"

#include <stdio.h>

struct env env;
enum env_kind env_kinds[2] = { [ENV_MEM] = ENV_MEM, [ENV_LOCAL] = ENV_LOCAL };

/* --- a store that comes back --- */

static void keep(struct backend *b UNUSED)
{
}

/* A memory backend that does not go with its store. */
static struct backend *mem_kept(void)
{
	static struct backend_ops kept;
	struct backend *b;
	struct stow_err err;

	expect_ok(mem_new(&b, &err), &err);
	kept = *b->ops;
	kept.free = keep;
	b->ops = &kept;
	return b;
}

static void mem_remove(struct backend *b)
{
	struct backend *other;
	struct stow_err err;

	expect_ok(mem_new(&other, &err), &err);
	b->ops = other->ops;
	backend_free(other);
	backend_free(b);
}

void env_make(struct env *e, enum env_kind kind)
{
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	memset(e, 0, sizeof(*e));
	temp_dir_make(e->dir);
	e->kind = kind;
	e->threads = 2;
	if (kind == ENV_MEM)
		e->mem = mem_kept();
}

int env_try_open(struct env *e, struct stow_err *err)
{
	struct store_options o = { .root = e->dir };
	struct backend *b = e->mem;

	if (e->kind == ENV_LOCAL)
		expect_ok(local_new(e->dir, &b, err), err);
	expect_ok(fault_new(b, &e->plan, &o.backend, err), err);
	return store_open(&o, &e->store, &e->opened, err);
}

void env_open(struct env *e)
{
	struct stow_err err;

	expect_ok(env_try_open(e, &err), &err);
	e->pool = pool_new("test", e->threads);
	store_use_pool(e->store, e->pool);
}

void env_close(struct env *e)
{
	if (e->pool)
		pool_free(TAKE(e->pool));
	store_close(TAKE(e->store));
}

void env_reopen(struct env *e)
{
	env_close(e);
	env_open(e);
}

/* A test that has failed leaves its ingests open, and the store would stop the process, and with it the
 * report of what has failed. */
static bool left_open(struct env *e)
{
	CLEANUP(freep) struct ingest **open = NULL;
	size_t n = 0;

	if (e->store)
		open = refs_all(&e->store->refs, &n);
	for (size_t i = 0; i < n; i++)
		ingest_unref(open[i]);
	return n > 0;
}

void env_remove(struct env *e)
{
	bool open = left_open(e);

	if (!open)
		env_close(e);
	if (!open && e->mem)
		mem_remove(TAKE(e->mem));
	temp_dir_remove(e->dir);
	assert_false(open);
}

void env_fault(struct env *e, enum fault_op op, int n, enum stow_code code)
{
	atomic_store(&e->plan.code, code);
	atomic_store(&e->plan.after[op], n);
}

/* The backend's own view, past the store: another one on the same bytes. */
static size_t count_in_backend(struct env *e, size_t (*count)(struct backend *b))
{
	struct backend *b = e->mem;
	struct stow_err err;
	size_t n;

	if (e->kind == ENV_LOCAL)
		expect_ok(local_new(e->dir, &b, &err), &err);
	n = count(b);
	backend_free(b);
	return n;
}

size_t env_stages(struct env *e)
{
	return count_in_backend(e, count_stages);
}

size_t env_backend_blobs(struct env *e)
{
	return count_in_backend(e, count_blobs);
}

static int count_ingest(void *arg, const struct ingest_status *st, struct stow_err *err UNUSED)
{
	assert_non_null(st->ref);
	++*(size_t *)arg;
	return 0;
}

size_t env_ingests(struct env *e)
{
	CLEANUP(filter_freep) struct filter *all = NULL;
	struct stow_err err;
	size_t n = 0;

	expect_ok(filter_compile(NULL, 0, &all, &err), &err);
	expect_ok(store_ingests(e->store, all, count_ingest, &n, &err), &err);
	return n;
}

size_t env_blobs(struct env *e)
{
	struct stow_err err;
	uint64_t n, bytes;

	expect_ok(store_count(e->store, &n, &bytes, &err), &err);
	return n;
}

int env_setup(void **state)
{
	env_make(&env, *(const enum env_kind *)*state);
	env_open(&env);
	return 0;
}

int env_teardown(void **state UNUSED)
{
	env_remove(&env);
	return 0;
}

/* --- content --- */

static struct digest digest_of(const void *p, size_t n, enum digest_alg alg)
{
	CLEANUP(hash_freep) struct hash *h = hash_new(alg);
	struct digest d;

	hash_update(h, p, n);
	hash_digest(h, &d);
	return d;
}

struct content content_make(size_t n, unsigned seed, enum digest_alg alg)
{
	struct content c = { .p = x_malloc(n), .n = n };

	fill(c.p, n, seed);
	c.d = digest_of(c.p, n, alg);
	return c;
}

void content_free(struct content *c)
{
	free(c->p);
	c->p = NULL;
}

struct digest content_prefix(const struct content *c, size_t n)
{
	return digest_of(c->p, n, DIGEST_SHA256);
}

struct ingest *ingest_of(struct env *e, const char *ref)
{
	return ingest_declared(e, ref, 0, NULL);
}

struct ingest *ingest_declared(struct env *e, const char *ref, uint64_t total, const struct digest *expected)
{
	struct ingest_spec spec = { .ref = ref, .total = total };
	struct ingest *in;
	struct stow_err err;

	if (expected)
		spec.expected = *expected;
	expect_ok(ingest_open(e->store, &spec, &in, &err), &err);
	return in;
}

int content_write(struct ingest *in, const struct content *c, size_t from, size_t to, struct stow_err *err)
{
	size_t half = (to - from) / 2;
	struct iovec v[2] = {
		{ .iov_base = c->p + from, .iov_len = half },
		{ .iov_base = c->p + from + half, .iov_len = to - from - half },
	};

	return ingest_write(in, v, 2, clock_wall_ns(), err);
}

int content_commit(struct ingest *in, const struct content *c, struct stow_err *err)
{
	struct ingest_commit commit = { .total = c->n, .expected = c->d };
	struct digest d;

	if (ingest_commit(in, &commit, &d, err) < 0)
		return -1;
	if (!digest_equal(&d, &c->d))
		return stow_fail(err, STOW_DATA_LOSS, "committed under another digest");
	return 0;
}

void write_ok(struct ingest *in, const struct content *c, size_t from, size_t to)
{
	struct stow_err err;

	expect_ok(content_write(in, c, from, to, &err), &err);
}

void close_ok(struct ingest *in)
{
	struct stow_err err;

	expect_ok(ingest_close(in, &err), &err);
}

void check_at(struct ingest *in, const struct content *c, size_t n)
{
	struct digest want = content_prefix(c, n), got;

	assert_int_equal(ingest_offset(in), n);
	ingest_digest(in, &got);
	assert_true(digest_equal(&got, &want));
}

int content_put(struct store *s, const char *ref, const struct content *c, struct stow_err *err)
{
	struct ingest_spec spec = { .ref = ref, .total = c->n };
	struct stow_err ignored;
	struct ingest *in;

	if (ingest_open(s, &spec, &in, err) < 0)
		return -1;
	if (ingest_offset(in) > 0 && ingest_restart(in, err) < 0) {
		(void)!ingest_close(in, &ignored);
		return -1;
	}
	if (content_write(in, c, 0, c->n, err) < 0) {
		(void)!ingest_close(in, &ignored);
		return -1;
	}
	return content_commit(in, c, err);
}

/* Reads to the end in steps that fit nothing. */
static int read_all(struct store *s, struct open_blob *b, uint8_t *to, size_t n, struct stow_err *err)
{
	enum { STEP = 10007 };

	for (size_t off = 0, got; off < n; off += got) {
		if (store_read(s, b, to + off, n - off < STEP ? n - off : STEP, off, 0, &got, err) < 0)
			return -1;
		if (got == 0)
			return stow_fail(err, STOW_DATA_LOSS, "it ends at %zu of %zu", off, n);
	}
	return 0;
}

bool content_good(struct store *s, const struct content *c, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	CLEANUP(freep) uint8_t *got = x_malloc(c->n);
	struct open_blob *b;
	int result;

	if (store_info(s, &c->d, &info, err) < 0 || store_read_begin(s, &c->d, 0, &b, err) < 0)
		return false;
	if (info.size != c->n || store_read_size(b) != c->n)
		result = stow_fail(err, STOW_DATA_LOSS, "its size is another one");
	else
		result = read_all(s, b, got, c->n, err);
	store_read_end(s, b);
	if (result == 0 && memcmp(got, c->p, c->n) != 0)
		result = stow_fail(err, STOW_DATA_LOSS, "its bytes are others");
	return result == 0;
}

void check_content(struct env *e, const struct content *c)
{
	struct stow_err err;

	expect_ok(content_good(e->store, c, &err) ? 0 : -1, &err);
}

void check_absent(struct env *e, const struct digest *d)
{
	struct blob_info info;
	struct open_blob *b;
	struct stow_err err;

	assert_false(store_has(e->store, d));
	expect_fail(store_info(e->store, d, &info, &err), &err, STOW_NOT_FOUND);
	expect_fail(store_read_begin(e->store, d, 0, &b, &err), &err, STOW_NOT_FOUND);
}

void check_ingest(struct env *e, const char *ref, uint64_t offset)
{
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	struct stow_err err;

	expect_ok(store_ingest_status(e->store, ref, &st, &err), &err);
	assert_string_equal(st.ref, ref);
	assert_int_equal(st.offset, offset);
}

void check_no_ingest(struct env *e, const char *ref)
{
	struct ingest_status st;
	struct stow_err err;

	expect_fail(store_ingest_status(e->store, ref, &st, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, ref);
}
