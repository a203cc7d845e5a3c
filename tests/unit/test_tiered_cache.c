/* What may stay here, and what goes first. */
#include "backends/backends.h"
#include "backends/tiered/cache_internal.h"
#include "content/base/clock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/meta.h"
#include "tests/suite/suite.h"

#include <sys/mman.h>

enum { SIZE = 1000, BLOBS = 20 };

static struct {
	char dir[TEMP_DIR_MAX];
	struct fault_plan plan;
	struct backend *fast;
	struct meta *meta;
	struct cache *cache;
	struct digest d[BLOBS];
	atomic_bool kept[BLOBS];
	struct cache_room stage; /* one that is kept */
	atomic_bool droppable;   /* it goes when it is asked to */
	int64_t patience_ns;
} env;

static bool keep(void *arg, const struct digest *d)
{
	(void)arg;
	for (int i = 0; i < BLOBS; i++)
		if (digest_equal(&env.d[i], d))
			return atomic_load(&env.kept[i]);
	return false;
}

static int evict(void *arg, const struct digest *d, struct stow_err *err)
{
	if (keep(arg, d))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "it is kept");
	return backend_remove(env.fast, d, err);
}

static uint64_t drop_kept(void *arg, uint64_t goal)
{
	uint64_t bytes = env.stage.bytes;

	(void)arg;
	if (!atomic_load(&env.droppable) || goal == 0)
		return 0;
	cache_room_drop(&env.stage);
	return bytes;
}

static int setup(void **state)
{
	CLEANUP(freep) char *path = NULL;
	struct backend *mem;
	struct stow_err err;

	(void)state;
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	path = x_asprintf("%s/meta.mdb", env.dir);
	expect_ok(meta_open(path, 0, 0, &env.meta, NULL, &err), &err);
	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(fault_new(mem, &env.plan, &env.fast, &err), &err);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cache_stop(env.cache);
	cache_free(env.cache);
	backend_free(env.fast);
	meta_close(env.meta);
	temp_dir_remove(env.dir);
	return 0;
}

/* Blob `i`, which is used later than those before it. */
static void put(int i, bool behind)
{
	struct blob_info info = { .size = SIZE };
	struct stow_err err;

	env.d[i] = info.digest = blob_digest(DIGEST_SHA256, SIZE, (unsigned)i);
	put_blob(env.fast, &env.d[i], SIZE, (unsigned)i);
	expect_ok(meta_blobs_adopt(env.meta, &info, 1, behind, &err), &err);
}

static void put_all(bool behind)
{
	for (int i = 0; i < BLOBS; i++)
		put(i, behind);
}

static void start(struct tiered_share max_size, struct tiered_share min_free)
{
	env.cache = cache_new(&(struct cache_options){
		.fast = env.fast,
		.max_size = max_size,
		.min_free = min_free,
		.keep = keep,
		.evict = evict,
		.drop_kept = drop_kept,
		.patience_ns = env.patience_ns,
	});
	cache_start(env.cache, env.meta);
}

static struct fleet_status status(void)
{
	struct fleet_status st = { 0 };

	cache_status(env.cache, &st);
	return st;
}

static bool is_here(int i)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(env.fast, &env.d[i], &st, &err) == 0;
}

static void wait_bytes(uint64_t bytes)
{
	int64_t until = clock_mono_ns() + 20 * NSEC_PER_SEC;

	while (status().cache_bytes != bytes) {
		if (clock_mono_ns() > until)
			fail_msg("%llu bytes, not %llu", (unsigned long long)status().cache_bytes,
				 (unsigned long long)bytes);
		(void)usleep(1000);
	}
}

static const struct tiered_share NONE;

static void what_is_there_is_added_up(void **state)
{
	(void)state;
	put_all(true);
	start(NONE, NONE);
	wait_bytes(BLOBS * SIZE);
	cache_added(env.cache, 5);
	cache_removed(env.cache, 3);
	assert_int_equal(status().cache_bytes, BLOBS * SIZE + 2);
	assert_int_equal(status().cache_limit, 0);
	assert_int_equal(status().evicted, 0);
}

/* With some slack below the limit: of 20 blobs, 10 and a half may stay, so 10 do, less the slack. */
static void the_least_recently_used_go_first(void **state)
{
	(void)state;
	put_all(true);
	backend_touch(env.fast, &env.d[0]);
	start((struct tiered_share){ .bytes = 10 * SIZE + SIZE / 2 }, NONE);
	wait_bytes(9 * SIZE);
	assert_true(is_here(0));
	for (int i = 1; i < BLOBS; i++)
		assert_int_equal(is_here(i), i >= BLOBS - 8);
	assert_int_equal(status().evicted, 11);
	assert_int_equal(status().evicted_bytes, 11 * SIZE);
	assert_int_equal(status().cache_limit, 10 * SIZE + SIZE / 2);
}

static void what_is_not_behind_stays(void **state)
{
	(void)state;
	for (int i = 0; i < BLOBS; i++)
		put(i, i % 2 == 0);
	atomic_store(&env.kept[0], true);
	start((struct tiered_share){ .bytes = SIZE }, NONE);
	wait_bytes((BLOBS / 2 + 1) * SIZE);
	for (int i = 0; i < BLOBS; i++)
		assert_int_equal(is_here(i), i == 0 || i % 2 == 1);
}

/* What has got behind meanwhile goes as soon as that is said. */
static void what_comes_to_be_behind_goes(void **state)
{
	struct stow_err err;

	(void)state;
	put_all(false);
	/* The last one is too much, too, in whatever order they go. */
	start((struct tiered_share){ .bytes = SIZE - 1 }, NONE);
	wait_bytes(BLOBS * SIZE);
	for (int i = 0; i < BLOBS; i++) {
		expect_ok(meta_remote_put(env.meta, &env.d[i], clock_wall_ns(), &err), &err);
		cache_added(env.cache, 0);
	}
	wait_bytes(0);
}

static void room(uint64_t size, struct cache_room *r)
{
	struct stow_err err;

	expect_ok(cache_make_room(env.cache, size, r, &err), &err);
}

static void no_room(uint64_t size, struct cache_room *r)
{
	struct cache_room before = *r;
	struct stow_err err;

	expect_fail(cache_make_room(env.cache, size, r, &err), &err, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(r->bytes, before.bytes);
}

static void free_space_has_a_floor(void **state)
{
	struct cache_room r = { 0 };

	(void)state;
	put_all(true);
	atomic_store(&env.plan.space_total, 100 * SIZE);
	atomic_store(&env.plan.space_free, 20 * SIZE);
	start(NONE, (struct tiered_share){ .percent = 18 });
	wait_bytes(BLOBS * SIZE);
	assert_int_equal(status().cache_room, 2 * SIZE);
	room(2 * SIZE, &r);
	assert_int_equal(status().evicted, 0);
	cache_room_drop(&r);
	/* Nothing that goes makes this disk's free space more, so there never is enough. */
	no_room(5 * SIZE, &r);
	assert_true(status().evicted >= 3);
}

static void room_is_made_where_it_can_be(void **state)
{
	struct cache_room r = { 0 };

	(void)state;
	put_all(true);
	atomic_store(&env.plan.space_total, 1000 * SIZE);
	atomic_store(&env.plan.space_free, 900 * SIZE);
	start((struct tiered_share){ .percent = 2 }, NONE);
	wait_bytes(BLOBS * SIZE);
	assert_int_equal(status().cache_limit, 20 * SIZE);
	assert_int_equal(status().cache_room, 0);
	room(5 * SIZE, &r);
	assert_true(status().cache_bytes <= 15 * SIZE);
	assert_true(status().evicted >= 5);
	cache_room_drop(&r);
	no_room(20 * SIZE + 1, &r);
	no_room(UINT64_MAX, &r);
	for (int i = 0; i < BLOBS; i++)
		atomic_store(&env.kept[i], true);
	no_room(20 * SIZE, &r);
}

static void without_limits_there_is_always_room(void **state)
{
	struct cache_room r = { 0 };

	(void)state;
	start(NONE, NONE);
	room(UINT64_C(1) << 60, &r);
	cache_room_drop(&r);
	cache_room_drop(&r);
}

/* --- what was promised --- */

static void what_was_promised_is_not_promised_again(void **state)
{
	struct cache_room r[3] = { 0 };

	(void)state;
	start((struct tiered_share){ .bytes = 10 * SIZE }, NONE);
	room(4 * SIZE, &r[0]);
	room(3 * SIZE, &r[1]);
	room(3 * SIZE, &r[1]);
	no_room(1, &r[2]);
	assert_int_equal(status().cache_bytes, 0); /* nothing has come yet */
	cache_room_drop(&r[0]);
	no_room(4 * SIZE + 1, &r[2]);
	room(4 * SIZE, &r[2]);
	cache_room_written(&r[1], 2 * SIZE);
	assert_int_equal(status().cache_bytes, 2 * SIZE);
	cache_room_keep_written(&r[1]);
	room(4 * SIZE, &r[0]);
	no_room(1, &r[0]);
	for (int i = 0; i < 3; i++) {
		cache_room_used(&r[i]);
		assert_int_equal(r[i].bytes, 0);
	}
	assert_int_equal(status().cache_bytes, 10 * SIZE);
	no_room(1, &r[0]);
}

/* What was written of it, the disk's free space is without already. */
static void what_was_promised_leaves_the_floor_free(void **state)
{
	struct cache_room r[2] = { 0 };

	(void)state;
	atomic_store(&env.plan.space_total, 100 * SIZE);
	atomic_store(&env.plan.space_free, 20 * SIZE);
	start(NONE, (struct tiered_share){ .bytes = 10 * SIZE });
	room(6 * SIZE, &r[0]);
	no_room(5 * SIZE, &r[1]);
	atomic_store(&env.plan.space_free, 15 * SIZE);
	cache_room_written(&r[0], 5 * SIZE);
	no_room(5 * SIZE, &r[1]);
	room(4 * SIZE, &r[1]);
	cache_room_written(&r[0], 4 * SIZE); /* it was cut */
	atomic_store(&env.plan.space_free, 16 * SIZE);
	cache_room_drop(&r[1]);
	room(4 * SIZE, &r[1]);
	no_room(1, &r[1]);
	cache_room_drop(&r[0]);
	cache_room_drop(&r[1]);
}

static void ask(void *arg, int i)
{
	struct cache_room *r = arg;
	struct stow_err err;

	(void)!cache_make_room(env.cache, 3 * SIZE, &r[i], &err);
}

/* Ten may stay: three of eight that ask for three can have them, if all blobs go. */
static void several_at_once_do_not_overshoot(void **state)
{
	struct cache_room r[8] = { 0 };
	uint64_t promised = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		put(i, true);
	start((struct tiered_share){ .bytes = 10 * SIZE }, NONE);
	wait_bytes(10 * SIZE);
	run_threads(8, ask, r);
	for (int i = 0; i < 8; i++)
		promised += r[i].bytes;
	assert_in_range(promised, 3 * SIZE, 9 * SIZE);
	assert_true(status().cache_bytes + promised <= 10 * SIZE);
	for (int i = 0; i < 8; i++)
		cache_room_drop(&r[i]);
}

static bool is_resting(void)
{
	LOCK_SCOPE(&env.cache->lock);
	return env.cache->resting;
}

/* After that moment what has come to be behind makes room for the first one who asks. */
static void there_is_no_hope_for_a_moment_only(void **state)
{
	int64_t until = clock_mono_ns() + 5 * NSEC_PER_SEC; /* half of what the thread sleeps by itself */
	struct cache_room r = { 0 };
	struct stow_err err;

	(void)state;
	put_all(false);
	start((struct tiered_share){ .bytes = BLOBS * SIZE }, NONE);
	wait_bytes(BLOBS * SIZE);
	no_room(SIZE, &r);
	for (int i = 0; i < BLOBS; i++)
		expect_ok(meta_remote_put(env.meta, &env.d[i], clock_wall_ns(), &err), &err);
	while (is_resting() && clock_mono_ns() < until)
		(void)usleep(1000);
	room(SIZE, &r);
	cache_room_drop(&r);
}

/* --- what is kept for later --- */

static void what_is_kept_goes_before_any_blob(void **state)
{
	struct cache_room r = { 0 };

	(void)state;
	put_all(true);
	start((struct tiered_share){ .bytes = 25 * SIZE }, NONE);
	wait_bytes(BLOBS * SIZE);
	cache_room_found(env.cache, 5 * SIZE, &env.stage);
	assert_int_equal(status().cache_bytes, 25 * SIZE);
	atomic_store(&env.droppable, true);
	room(3 * SIZE, &r);
	assert_int_equal(env.stage.bytes, 0);
	assert_int_equal(status().evicted, 0);
	assert_int_equal(status().cache_bytes, BLOBS * SIZE);
	room(3 * SIZE, &r);
	assert_true(status().evicted > 0);
	cache_room_drop(&r);
}

/* As after a restart, where nobody asks for room. */
static void what_is_kept_beyond_the_limit_goes(void **state)
{
	(void)state;
	start((struct tiered_share){ .bytes = 3 * SIZE }, NONE);
	atomic_store(&env.droppable, true);
	cache_room_found(env.cache, 5 * SIZE, &env.stage);
	wait_bytes(0);
}

/* --- too much --- */

static bool is_complained(int log)
{
	CLEANUP(freep) char *text = x_calloc(1, 1 << 16);

	assert_true(pread(log, text, (1 << 16) - 1, 0) >= 0);
	return strstr(text, "more is stored here than was allowed") != NULL;
}

/* With something that may go only in the end. */
static void too_much(int64_t patience_ns, bool complained)
{
	int log = memfd_create("log", MFD_CLOEXEC);

	assert_true(log >= 0);
	log_to_fd(log);
	put_all(true);
	for (int i = 0; i < BLOBS; i++)
		atomic_store(&env.kept[i], true);
	env.patience_ns = patience_ns;
	start((struct tiered_share){ .bytes = 5 * SIZE }, NONE);
	wait_bytes(BLOBS * SIZE);
	assert_false(cache_squeeze(env.cache, 1)); /* it has looked, twice: */
	assert_false(cache_squeeze(env.cache, 1));
	for (int i = 0; complained && i < 20000 && !is_complained(log); i++)
		(void)usleep(1000);
	assert_int_equal(is_complained(log), complained);
	for (int i = 0; i < BLOBS; i++)
		atomic_store(&env.kept[i], false);
	wait_bytes(4 * SIZE); /* the slack goes, too */
	log_to_fd(2);
	(void)close(log);
}

static void too_much_for_a_moment_is_nobodys_concern(void **state)
{
	(void)state;
	too_much(0, false);
}

static void too_much_for_long_is_logged(void **state)
{
	(void)state;
	too_much(1, true);
}

/* --- a disk that takes no more --- */

static void something_goes_when_the_disk_is_full(void **state)
{
	(void)state;
	put_all(true);
	start(NONE, NONE);
	wait_bytes(BLOBS * SIZE);
	assert_true(cache_squeeze(env.cache, 0));
	assert_int_equal(status().evicted, CACHE_SQUEEZE);
	assert_true(is_here(BLOBS - 1));
	assert_true(cache_squeeze(env.cache, BLOBS * SIZE));
	assert_int_equal(status().cache_bytes, 0);
	assert_false(cache_squeeze(env.cache, 1));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_there_is_added_up),
		TEST(the_least_recently_used_go_first),
		TEST(what_is_not_behind_stays),
		TEST(what_comes_to_be_behind_goes),
		TEST(free_space_has_a_floor),
		TEST(room_is_made_where_it_can_be),
		TEST(without_limits_there_is_always_room),
		TEST(what_was_promised_is_not_promised_again),
		TEST(what_was_promised_leaves_the_floor_free),
		TEST(several_at_once_do_not_overshoot),
		TEST(there_is_no_hope_for_a_moment_only),
		TEST(what_is_kept_goes_before_any_blob),
		TEST(what_is_kept_beyond_the_limit_goes),
		TEST(too_much_for_a_moment_is_nobodys_concern),
		TEST(too_much_for_long_is_logged),
		TEST(something_goes_when_the_disk_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
