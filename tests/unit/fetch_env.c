#include "tests/unit/fetch_env.h"

#include <time.h>

struct fetch_env env;

static struct held_tier *tier_of(const struct backend *b)
{
	return b == env.tier[0].backend ? &env.tier[0] : &env.tier[1];
}

static const struct backend_ops *real; /* fault's */

static int held_open(struct backend *b, const struct digest *d, struct blob **ret_blob, struct stow_err *err)
{
	atomic_fetch_add(&tier_of(b)->opens, 1);
	return real->open(b, d, ret_blob, err);
}

static bool is_held(struct held_tier *t, uint64_t off, size_t n)
{
	uint64_t held = atomic_load(&t->held);

	return off <= held && held < off + n;
}

static int held_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		      struct stow_err *err)
{
	struct held_tier *t = tier_of(blob->backend);
	unsigned now = atomic_fetch_add(&t->now, 1) + 1, most = atomic_load(&t->most);
	int result;

	while (most < now && !atomic_compare_exchange_weak(&t->most, &most, now))
		;
	while (is_held(t, off, n)) {
		const struct timespec a_bit = { .tv_nsec = 100000 };

		(void)nanosleep(&a_bit, NULL);
	}
	result = real->pread(blob, to, n, off, flags, ret_n, err);
	if (result == 0)
		atomic_fetch_add(&t->bytes, *ret_n);
	atomic_fetch_sub(&t->now, 1);
	return result;
}

static int publish(void *arg UNUSED, struct stage *st, const struct digest *d, struct stow_err *err)
{
	if (stage_publish(st, d, err) < 0)
		return -1;
	atomic_fetch_add(&env.done, 1);
	return 0;
}

static int never_evict(void *arg UNUSED, const struct digest *d UNUSED, struct stow_err *err)
{
	return stow_fail(err, STOW_FAILED_PRECONDITION, "nothing goes here");
}

static bool keep_all(void *arg UNUSED, const struct digest *d UNUSED)
{
	return true;
}

static uint64_t drop_kept(void *arg UNUSED, uint64_t goal)
{
	return fetches_drop_kept(env.fetches, goal);
}

static void begin(uint64_t max_size, unsigned prefetch)
{
	struct cache_options c = {
		.fast = env.fast,
		.max_size.bytes = max_size,
		.keep = keep_all,
		.evict = never_evict,
		.drop_kept = drop_kept,
	};
	struct fetches_options o = { .fast = env.fast, .tiers = &env.tiers, .prefetch = prefetch };

	env.lookup = o.lookup = lookup_new(&env.tiers, NSEC_PER_SEC, NULL, NULL);
	env.cache = o.cache = cache_new(&c);
	o.publish = publish;
	env.fetches = fetches_new(&o);
	env.stopped = false;
}

void stop_all(void)
{
	release(&env.tier[0]);
	release(&env.tier[1]);
	lookup_stop(env.lookup);
	fetches_stop(env.fetches);
	cache_stop(env.cache);
	env.stopped = true;
}

static void end(void)
{
	if (!env.stopped)
		stop_all();
	fetches_free(env.fetches);
	cache_free(env.cache);
	lookup_free(env.lookup);
}

void again_with_room(uint64_t max_size, unsigned prefetch)
{
	end();
	begin(max_size, prefetch);
}

void again(unsigned prefetch)
{
	again_with_room(0, prefetch);
}

int fetch_env_setup(void **state UNUSED)
{
	static const char *const names[] = { "the bucket", "a source" };
	struct backend *behind[FETCH_ENV_TIERS], *mem;
	CLEANUP(freep) char *path = NULL;
	struct stow_err err;

	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	path = x_asprintf("%s/meta.mdb", env.dir);
	expect_ok(meta_open(path, 0, 0, &env.meta, NULL, &err), &err);
	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(fault_new(mem, &env.plan, &env.fast, &err), &err);
	for (int i = 0; i < FETCH_ENV_TIERS; i++) {
		struct held_tier *t = &env.tier[i];

		expect_ok(mem_new(&mem, &err), &err);
		expect_ok(fault_new(mem, &t->plan, &t->backend, &err), &err);
		real = t->backend->ops;
		t->ops = *real;
		t->ops.open = held_open;
		t->ops.pread = held_pread;
		t->backend->ops = &t->ops;
		atomic_store(&t->held, UINT64_MAX);
		behind[i] = t->backend;
	}
	tiers_init(&env.tiers, behind, names, FETCH_ENV_TIERS, true);
	begin(0, FETCH_ENV_PREFETCH);
	return 0;
}

int fetch_env_teardown(void **state UNUSED)
{
	end();
	for (int i = 0; i < FETCH_ENV_SEEDS; i++)
		free(env.right[i]);
	tiers_free(&env.tiers);
	backend_free(env.fast);
	meta_close(env.meta);
	temp_dir_remove(env.dir);
	return 0;
}

/* The digest of `n` bytes of fill(seed), which are remembered. */
static struct digest right_digest(size_t n, unsigned seed)
{
	assert_true(seed < FETCH_ENV_SEEDS);
	free(env.right[seed]);
	env.right[seed] = x_malloc(n);
	fill(env.right[seed], n, seed);
	return blob_digest(DIGEST_SHA256, n, seed);
}

struct digest blob_behind(size_t at, size_t n, unsigned seed)
{
	struct digest d = right_digest(n, seed);

	put_blob(env.tier[at].backend, &d, n, seed);
	return d;
}

struct digest wrong_behind(size_t at, size_t n, unsigned seed)
{
	struct digest d = right_digest(n, seed);

	put_blob(env.tier[at].backend, &d, n, seed + 1000);
	return d;
}

void hold(struct held_tier *t, uint64_t off)
{
	atomic_store(&t->held, off);
}

void release(struct held_tier *t)
{
	atomic_store(&t->held, UINT64_MAX);
}

void tier_goes_away(size_t at)
{
	const struct stow_err err = { .code = STOW_UNAVAILABLE, .msg = "out of order" };

	for (int i = 0; i < TIER_FAILURES; i++)
		tier_report(&env.tiers.v[at], &err);
	assert_false(tier_usable(&env.tiers.v[at]));
}

struct fetch_reader *open_reader(const struct digest *d, uint64_t size)
{
	struct fetch_reader *r;
	struct stow_err err;
	uint64_t is;

	expect_ok(fetch_open(env.fetches, d, &r, &is, &err), &err);
	assert_int_equal(is, size);
	return r;
}

bool same(const uint8_t *p, size_t n, uint64_t off, unsigned seed)
{
	return n == 0 || memcmp(env.right[seed] + off, p, n) == 0;
}

void read_part(struct fetch_reader *r, uint64_t off, size_t n, unsigned flags, unsigned seed)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n);
	struct stow_err err;
	size_t got;

	expect_ok(fetch_read(r, to, n, off, flags, &got, &err), &err);
	assert_int_equal(got, n);
	assert_true(same(to, n, off, seed));
}

static int read_here(struct fetch_reader *r, void *to, size_t n, uint64_t off, size_t *ret_n,
		     struct stow_err *err)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;

	if (backend_open(env.fast, &r->fetch->digest, &blob, err) < 0)
		return -1;
	return blob_pread(blob, to, n, off, 0, ret_n, err);
}

void read_rest(struct fetch_reader *r, uint64_t off, uint64_t size, unsigned seed)
{
	CLEANUP(freep) uint8_t *to = x_malloc(300000);
	struct stow_err err;
	size_t got;
	int result;

	for (; off < size; off += got) {
		result = fetch_read(r, to, 300000, off, 0, &got, &err);
		if (result < 0 && err.code == STOW_ALREADY_EXISTS)
			result = read_here(r, to, 300000, off, &got, &err);
		expect_ok(result, &err);
		assert_int_equal(got, size - off < 300000 ? size - off : 300000);
		assert_true(same(to, got, off, seed));
	}
}

void read_fails(struct fetch_reader *r, uint64_t off, size_t n, enum stow_code code)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n);
	struct stow_err err;
	size_t got;

	expect_fail(fetch_read(r, to, n, off, 0, &got, &err), &err, code);
}

void read_now_fails(struct fetch_reader *r, uint64_t off, size_t n)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n);
	struct stow_err err;
	size_t got;

	expect_fail(fetch_read(r, to, n, off, BACKEND_READ_NOWAIT, &got, &err), &err, STOW_UNAVAILABLE);
}

bool has_ended(struct fetch_reader *r)
{
	LOCK_SCOPE(&env.fetches->lock);
	return fetch_ended(r->fetch);
}

bool has_waiting(struct fetch_reader *r)
{
	LOCK_SCOPE(&env.fetches->lock);
	return r->fetch->waiting > 0;
}
