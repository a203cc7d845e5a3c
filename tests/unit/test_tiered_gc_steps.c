/* Collecting while nodes and other collections do something at any of its steps. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/unit/holdings_env.h"

#include <stdio.h>

static struct holders f;

static int setup(void **state UNUSED)
{
	holders_make(&f);
	return 0;
}

static int teardown(void **state UNUSED)
{
	holders_remove(&f);
	return 0;
}

/* --- somebody does something at every step --- */

/* Calls `act` before the at-th exchange of a gc, and `later` some exchanges after that. */
struct stepper {
	struct backend base;
	struct backend_ops ops;
	struct behind_ops behind;
	struct backend *inner;
	atomic_int steps; /* removals are other threads' */
	int at, later_at;
	void (*act)(void), (*later)(void);
};
static struct stepper *stepper_of(struct backend *b)
{
	return CONTAINER_OF(b, struct stepper, base);
}

static struct backend *step(struct backend *b)
{
	struct stepper *s = stepper_of(b);
	int n = atomic_fetch_add(&s->steps, 1) + 1;

	if (n == s->at)
		s->act();
	else if (s->later != NULL && n == s->later_at)
		s->later();
	return s->inner;
}

static int step_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	return backend_scan(step(b), visit, arg, err);
}

static int step_drop(struct backend *b, const struct digest *d, int64_t until_mono_ns, struct stow_err *err)
{
	struct backend *inner = step(b);

	return inner->ops->behind->drop(inner, d, until_mono_ns, err);
}

static int step_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
		    struct stow_err *err)
{
	struct backend *inner = step(b);

	return inner->ops->behind->note_put(inner, name, data, n, flags, err);
}

static int step_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err)
{
	struct backend *inner = step(b);

	return inner->ops->behind->note_get(inner, name, to, err);
}

static int step_note_remove(struct backend *b, const char *name, struct stow_err *err)
{
	struct backend *inner = step(b);

	return inner->ops->behind->note_remove(inner, name, err);
}

static int step_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg,
			  struct stow_err *err)
{
	struct backend *inner = step(b);

	return inner->ops->behind->note_scan(inner, prefix, visit, arg, err);
}

/* False: it had not so many steps. */
static bool gc_with_both(void (*act)(void), int at, void (*later)(void), int later_at)
{
	struct stepper s = { .inner = f.bucket, .at = at, .act = act, .later = later, .later_at = later_at };
	struct gc_options o;
	struct gc_result r;
	struct stow_err err;

	s.ops = (struct backend_ops){ .name = "steps", .scan = step_scan, .behind = &s.behind };
	s.behind = (struct behind_ops){
		.drop = step_drop,
		.note_put = step_put,
		.note_get = step_get,
		.note_remove = step_note_remove,
		.note_scan = step_note_scan,
	};
	s.base.ops = &s.ops;
	o = gc_defaults(&s.base);
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.silent, 0);
	return s.steps >= at;
}

static bool gc_with(void (*act)(void), int at)
{
	return gc_with_both(act, at, NULL, 0);
}

static struct digest wanted;
static bool adopted;

/* As the store does: what is found is adopted, if it is not refused. */
static bool find_and_adopt(void)
{
	return has_object(f.bucket, &wanted) && holder_adopt(&f.node[0], &wanted);
}

static void adopt_now(void)
{
	adopted = find_and_adopt();
}

/* Another blob each time: what was asked for goes on being told for a while. */
static void at_every_step(void (*act)(void))
{
	unsigned hits = 0, losses = 0;

	for (int at = 1; at < 60; at++) {
		wanted = object(f.bucket, 1000 + (unsigned)at);
		adopted = false;
		if (!gc_with(act, at))
			break;
		if (adopted)
			assert_true(has_object(f.bucket, &wanted));
		hits += adopted;
		losses += !adopted;
	}
	/* Early it can be had, late it cannot. */
	assert_true(hits > 0 && losses > 0);
}

static void what_is_adopted_at_any_step_stays(void **state UNUSED)
{
	holder_start(&f, 0);
	holder_start(&f, 1);
	at_every_step(adopt_now);
}

/* While gc stands still: so long that the node is told what it can have, if it can. */
static void adopt_patiently(void)
{
	int64_t until = clock_mono_ns() + 20 * NSEC_PER_MSEC;

	while (!(adopted = find_and_adopt()) && clock_mono_ns() < until)
		wait_a_bit(wait_deadline(), "adoption", __FILE__, __LINE__);
}

static void what_is_adopted_after_a_while_at_any_step_stays(void **state UNUSED)
{
	holder_start(&f, 0);
	holder_start(&f, 1);
	at_every_step(adopt_patiently);
}

/* And forgotten at once, so that the node's note has it no more for its row. */
static void adopt_and_delete(void)
{
	struct note_node before, now;

	adopt_patiently();
	if (!adopted)
		return;
	adopted = false;
	assert_true(holder_note(&f, 0, &before));
	holder_delete(&f.node[0], &wanted);
	holdings_gone(f.node[0].holdings, &wanted);
	wait_for(holder_note(&f, 0, &now) && now.time_ns > before.time_ns);
}

static void what_was_had_before_and_is_adopted_again_stays(void **state UNUSED)
{
	static const int gaps[] = { 1, 3, 6, 10 };
	unsigned hits = 0;

	holder_start(&f, 0);
	holder_start(&f, 1);
	for (int at = 1; at < 60; at++) {
		wanted = object(f.bucket, 3000 + (unsigned)at);
		adopted = false;
		if (!gc_with_both(adopt_and_delete, at, adopt_now, at + gaps[(size_t)at % ARRAY_LEN(gaps)]))
			break;
		if (adopted)
			assert_true(has_object(f.bucket, &wanted));
		hits += adopted;
	}
	assert_true(hits > 0);
}

/* It was asked for, and has its row only when all is over. */
static void ask_now(void)
{
	adopted = has_object(f.bucket, &wanted) && !holdings_refused(f.node[0].holdings, &wanted);
}

static void what_is_asked_for_at_any_step_stays(void **state UNUSED)
{
	holder_start(&f, 0);
	holder_start(&f, 1);
	at_every_step(ask_now);
}

static void start_and_adopt(void)
{
	if (f.node[0].holdings == NULL)
		holder_start(&f, 0);
	adopted = find_and_adopt();
}

static void what_is_adopted_by_a_node_that_comes_up_at_any_step_stays(void **state UNUSED)
{
	unsigned hits = 0;

	holder_start(&f, 1);
	for (int at = 1; at < 60; at++) {
		wanted = object(f.bucket, 1000 + (unsigned)at);
		adopted = false;
		if (!gc_with(start_and_adopt, at))
			break;
		if (adopted)
			assert_true(has_object(f.bucket, &wanted));
		hits += adopted;
		/* Next time it is one that has stopped, or one that nobody knows. */
		holder_stop(&f.node[0]);
		if (at % 2 == 0)
			holder_wipe(&f.node[0]);
	}
	assert_true(hits > 0);
}

static void delete_and_adopt(void)
{
	holder_delete(&f.node[0], &wanted);
	adopted = find_and_adopt();
}

static void what_is_deleted_and_adopted_again_at_any_step_stays(void **state UNUSED)
{
	unsigned hits = 0;

	holder_start(&f, 0);
	holder_start(&f, 1);
	for (int at = 1; at < 60; at++) {
		wanted = object(f.bucket, 2000 + (unsigned)at);
		assert_true(holder_adopt(&f.node[0], &wanted));
		adopted = false;
		/* Something to collect, else there is no run. */
		(void)object(f.bucket, 7);
		if (!gc_with(delete_and_adopt, at))
			break;
		if (adopted)
			assert_true(has_object(f.bucket, &wanted));
		hits += adopted;
	}
	assert_true(hits > 10);
}

/* What was marked before, and is wanted, may be had while nothing is removed. */
static void a_silent_nodes_marks_hinder_nobody_else(void **state UNUSED)
{
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	wanted = object(f.bucket, 1);
	holder_start(&f, 0);
	holder_start(&f, 1);
	holder_kill(&f.node[1]);
	o.wait_ns = 0;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.silent > 0, true);
	holder_adopt_at_last(&f.node[0], &wanted);
	holder_start(&f, 1);
	r = gc_good(&f);
	assert_int_equal(r.removed, 0);
	assert_true(has_object(f.bucket, &wanted));
}

/* --- several --- */

static void second_gc(void)
{
	(void)gc_good(&f);
}

static void another_one_may_run_at_any_step(void **state UNUSED)
{
	struct digest held = object(f.bucket, 1);

	holder_start(&f, 0);
	assert_true(holder_adopt(&f.node[0], &held));
	for (int at = 1; at < 60; at++) {
		struct digest free = object(f.bucket, 2);

		if (!gc_with(second_gc, at))
			break;
		assert_true(has_object(f.bucket, &held));
		assert_false(has_object(f.bucket, &free));
		check_tidy_in_the_end(&f);
	}
}

static void gc_thread(void *arg UNUSED, int i UNUSED)
{
	CLEANUP(backend_freep) struct backend *b = mem_share(f.bucket);
	struct gc_options o = gc_defaults(b);
	struct gc_result r;
	struct stow_err err;

	thread_check(gc_run(&o, &r, &err) == 0);
}

static void many_may_run_at_once(void **state UNUSED)
{
	enum { N = 200 };
	struct digest v[N];

	holder_start(&f, 0);
	holder_start(&f, 1);
	for (unsigned i = 0; i < N; i++) {
		v[i] = object(f.bucket, i);
		if (i % 3 != 0)
			assert_true(holder_adopt(&f.node[i % 3 - 1], &v[i]));
	}
	run_threads(4, gc_thread, NULL);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(has_object(f.bucket, &v[i]), i % 3 != 0);
	check_tidy_in_the_end(&f); /* who came too late to carry on may have left something */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(what_is_adopted_at_any_step_stays),
		CASE(what_is_adopted_after_a_while_at_any_step_stays),
		CASE(what_was_had_before_and_is_adopted_again_stays),
		CASE(what_is_asked_for_at_any_step_stays),
		CASE(what_is_adopted_by_a_node_that_comes_up_at_any_step_stays),
		CASE(what_is_deleted_and_adopted_again_at_any_step_stays),
		CASE(a_silent_nodes_marks_hinder_nobody_else),
		CASE(another_one_may_run_at_any_step),
		CASE(many_may_run_at_once),
	};

	return cmocka_run_group_tests_name("tiered gc steps", tests, NULL, NULL);
}
