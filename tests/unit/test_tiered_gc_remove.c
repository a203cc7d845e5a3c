/* Removing many objects at once: all that must go goes once, as fast as the bucket lets it. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/unit/holdings_env.h"

#include <time.h>

enum { OBJECTS = 500, HELD = OBJECTS / 5, FREE = OBJECTS - HELD };

static struct holders f;
static struct digest all[OBJECTS];

/* The bucket as gc sees it: with a hook before each removal, which may fail instead. */
static struct {
	const struct backend_ops *ops;
	struct backend_ops hooked;
	struct behind_ops behind;
	int (*hook)(unsigned n, struct stow_err *err);
	atomic_uint removals, scans;
} bucket;

/* Marks count for a while after a run: by then, nobody may ask for what they say. */
static int hooked_drop(struct backend *b, const struct digest *d, int64_t until_mono_ns, struct stow_err *err)
{
	unsigned n = atomic_fetch_add(&bucket.removals, 1) + 1;

	thread_check(until_mono_ns < clock_mono_ns() + HOLDINGS_LINGER_LEAST_NS / 2);
	if (bucket.hook != NULL && bucket.hook(n, err) < 0)
		return -1;
	return bucket.ops->behind->drop(b, d, until_mono_ns, err);
}

static int hooked_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	atomic_fetch_add(&bucket.scans, 1);
	return bucket.ops->scan(b, visit, arg, err);
}

static bool is_held(unsigned i)
{
	return i % (OBJECTS / HELD) == 0;
}

static int setup(void **state UNUSED)
{
	holders_make(&f);
	bucket.ops = f.bucket->ops;
	bucket.hooked = *bucket.ops;
	bucket.behind = *bucket.ops->behind;
	bucket.behind.drop = hooked_drop;
	bucket.hooked.behind = &bucket.behind;
	bucket.hooked.scan = hooked_scan;
	bucket.hook = NULL;
	bucket.removals = bucket.scans = 0;
	holder_start(&f, 0);
	for (unsigned i = 0; i < OBJECTS; i++) {
		all[i] = object(f.bucket, i);
		if (is_held(i))
			assert_true(holder_adopt(&f.node[0], &all[i]));
	}
	wait_for(holder_tells(&f, 0, &all[OBJECTS - OBJECTS / HELD]));
	f.bucket->ops = &bucket.hooked;
	return 0;
}

static int teardown(void **state UNUSED)
{
	f.bucket->ops = bucket.ops;
	holders_remove(&f);
	return 0;
}

/* Of those that are not held. */
static unsigned count_left(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < OBJECTS; i++) {
		bool there = has_object(f.bucket, &all[i]);

		assert_true(there || !is_held(i));
		n += there && !is_held(i);
	}
	return n;
}

static void all_go_and_count_once(void **state UNUSED)
{
	struct gc_result r = gc_good(&f);

	assert_int_equal(r.objects, OBJECTS);
	assert_int_equal(r.held, HELD);
	assert_int_equal(r.marked, FREE);
	assert_int_equal(r.removed, FREE);
	assert_int_equal(r.removed_bytes, FREE * OBJECT_SIZE);
	assert_int_equal(count_left(), 0);
	check_tidy(&f);
}

static atomic_uint under_way, most;

/* The first one ends only when there is another one. */
static int wait_for_another(unsigned n UNUSED, struct stow_err *err UNUSED)
{
	int64_t until = wait_deadline();
	unsigned now = atomic_fetch_add(&under_way, 1) + 1, before = atomic_load(&most);

	while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
		;
	while (atomic_load(&most) < 2 && clock_mono_ns() < until)
		wait_a_bit(until, "another removal", __FILE__, __LINE__);
	atomic_fetch_sub(&under_way, 1);
	return 0;
}

static void several_go_at_once_but_not_all(void **state UNUSED)
{
	under_way = most = 0;
	bucket.hook = wait_for_another;
	assert_int_equal(gc_good(&f).removed, FREE);
	assert_in_range(most, 2, 64);
}

/* --- a bucket that takes no more --- */

static unsigned slow_lines;

static void count_slow(void *arg UNUSED, const char *line)
{
	slow_lines += strstr(line, "more slowly") != NULL;
}

static struct gc_options hasty(void)
{
	struct gc_options o = gc_defaults(f.bucket);

	slow_lines = 0;
	o.say = count_slow;
	o.pause_ns = NSEC_PER_MSEC;
	return o;
}

static int refuse_half(unsigned n, struct stow_err *err)
{
	return n % 2 == 0 ? 0 : stow_fail(err, STOW_UNAVAILABLE, "503 SlowDown");
}

static void a_bucket_that_asks_for_less_gets_less(void **state UNUSED)
{
	struct gc_options o = hasty();
	struct gc_result r;
	struct stow_err err;

	bucket.hook = refuse_half;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.removed, FREE);
	assert_int_equal(r.removed_bytes, FREE * OBJECT_SIZE);
	assert_int_equal(count_left(), 0);
	assert_true(bucket.removals >= 2 * FREE - 1);
	assert_int_equal(slow_lines, 1);
	/* Requests that were not answered well may be on their way still, which nodes are told so. */
	assert_int_equal(count_notes(f.bucket, NOTE_WORK), 1);
	bucket.hook = NULL;
	check_tidy_in_the_end(&f);
}

static int refuse_all(unsigned n UNUSED, struct stow_err *err)
{
	return stow_fail(err, STOW_UNAVAILABLE, "503 SlowDown");
}

static void a_bucket_that_takes_nothing_is_given_up(void **state UNUSED)
{
	struct gc_options o = hasty();
	struct gc_result r;
	struct stow_err err;

	bucket.hook = refuse_all;
	o.patience_ns = 20 * NSEC_PER_MSEC;
	expect_fail(gc_run(&o, &r, &err), &err, STOW_UNAVAILABLE);
	expect_named(&err, "SlowDown");
	assert_int_equal(count_left(), FREE);
	bucket.hook = NULL;
	assert_int_equal(gc_good(&f).removed, FREE);
}

static int forbid_the_50th(unsigned n, struct stow_err *err)
{
	return n == 50 ? stow_fail(err, STOW_PERMISSION_DENIED, "403 AccessDenied") : 0;
}

static void one_that_is_forbidden_ends_it(void **state UNUSED)
{
	struct gc_options o = hasty();
	struct gc_result r;
	struct stow_err err;
	unsigned left;

	bucket.hook = forbid_the_50th;
	expect_fail(gc_run(&o, &r, &err), &err, STOW_PERMISSION_DENIED);
	left = count_left();
	assert_in_range(left, 1, FREE - 49);
	assert_int_equal(gc_good(&f).removed, left);
	check_tidy(&f); /* the first one has had all its answers, and left no gc/work */
}

/* --- stopped --- */

static atomic_bool stop;

/* From the 50th on they take so long that it is noticed before all are gone. */
static int stop_at_the_50th(unsigned n, struct stow_err *err UNUSED)
{
	const struct timespec pause = { .tv_nsec = 200 * NSEC_PER_MSEC };

	if (n == 50)
		atomic_store(&stop, true);
	if (n >= 50)
		(void)nanosleep(&pause, NULL);
	return 0;
}

static void what_a_stopped_one_has_left_is_removed_by_the_next(void **state UNUSED)
{
	struct gc_options o = hasty();
	struct gc_result r;
	struct stow_err err;
	unsigned left;

	atomic_store(&stop, false);
	o.stop = &stop;
	bucket.hook = stop_at_the_50th;
	expect_fail(gc_run(&o, &r, &err), &err, STOW_CANCELLED);
	bucket.hook = NULL;
	left = count_left();
	r = gc_good(&f);
	assert_int_equal(r.removed, left);
	assert_int_equal(count_left(), 0);
	check_tidy(&f);
}

/* --- more than one run may mark --- */

static struct digest wanted;

/* What this run has not marked may be had, though gc has found that nobody holds it. */
static int adopt_another(unsigned n, struct stow_err *err UNUSED)
{
	for (unsigned i = 0; n == 1 && i < OBJECTS; i++)
		if (!is_held(i) && holder_adopt(&f.node[0], &all[i])) {
			wanted = all[i];
			break;
		}
	return 0;
}

static void a_large_bucket_is_listed_once(void **state UNUSED)
{
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	bucket.hook = adopt_another;
	o.at_a_time = 90;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(bucket.scans, 1);
	assert_int_equal(r.objects, OBJECTS);
	assert_int_equal(r.held, HELD);
	assert_int_equal(r.marked, FREE - 1);
	assert_int_equal(r.removed, FREE - 1);
	assert_true(has_object(f.bucket, &wanted));
	assert_int_equal(count_left(), 1);
	check_tidy(&f);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(all_go_and_count_once),
		CASE(several_go_at_once_but_not_all),
		CASE(a_bucket_that_asks_for_less_gets_less),
		CASE(a_bucket_that_takes_nothing_is_given_up),
		CASE(one_that_is_forbidden_ends_it),
		CASE(what_a_stopped_one_has_left_is_removed_by_the_next),
		CASE(a_large_bucket_is_listed_once),
	};

	return cmocka_run_group_tests_name("tiered gc remove", tests, NULL, NULL);
}
