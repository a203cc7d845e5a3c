/* Collecting: what nobody holds goes, and nothing else, whoever does what meanwhile. */
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

/* No run is under way, and nothing is left of one. */
static void check_tidy(void)
{
	assert_int_equal(count_notes(f.bucket, "gc/"), 1);
	assert_true(has_note(f.bucket, NOTE_CLOCK));
}

/* What is left is removed when it is old. */
static void check_tidy_in_the_end(void)
{
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	assert_false(has_note(f.bucket, NOTE_RUN));
	o.leftover_ns = 1;
	expect_ok(gc_run(&o, &r, &err), &err);
	check_tidy();
}

/* --- one gc, nobody else --- */

static void what_nobody_holds_goes(void **state UNUSED)
{
	struct digest held = object(f.bucket, 1), pending = some_digest(DIGEST_SHA256, 2),
		      free = object(f.bucket, 3);
	struct gc_result r;

	holder_start(&f, 0);
	holder_start(&f, 1);
	assert_true(holder_adopt(&f.node[0], &held));
	holder_commit(&f.node[1], &pending);
	wait_for(holder_tells(&f, 0, &held) && holder_tells(&f, 1, &pending));
	r = gc_good(&f);
	assert_true(has_object(f.bucket, &held));
	assert_false(has_object(f.bucket, &free));
	assert_int_equal(r.objects, 2);
	assert_int_equal(r.bytes, 2 * OBJECT_SIZE);
	assert_int_equal(r.held, 1);
	assert_int_equal(r.young, 0);
	assert_int_equal(r.marked, 1);
	assert_int_equal(r.marked_bytes, OBJECT_SIZE);
	assert_int_equal(r.removed, 1);
	assert_int_equal(r.removed_bytes, OBJECT_SIZE);
	assert_int_equal(r.nodes, 2);
	assert_int_equal(r.dead, 0);
	check_tidy();
	r = gc_good(&f);
	assert_int_equal(r.objects, 1);
	assert_int_equal(r.marked + r.removed, 0);
}

static void what_is_young_stays(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	holder_start(&f, 0);
	o.grace_ns = 3600 * NSEC_PER_SEC;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.young, 1);
	assert_int_equal(r.marked + r.removed, 0);
	assert_true(has_object(f.bucket, &free));
}

static void count_line(void *arg, const char *line UNUSED)
{
	++*(unsigned *)arg;
}

static void a_dry_run_removes_nothing(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;
	unsigned lines = 0;

	holder_start(&f, 0);
	o.dry_run = true;
	o.say = count_line;
	o.arg = &lines;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.marked, 1);
	assert_int_equal(r.removed, 0);
	assert_int_equal(lines, 1);
	assert_true(has_object(f.bucket, &free));
	check_tidy();
}

/* It may be no fleet's at all, or the nodes' notes may have been lost. */
static void a_bucket_without_nodes_is_left_alone(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	expect_fail(gc_run(&o, &r, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, "no living node");
	assert_true(has_object(f.bucket, &free));
}

static void a_note_that_cannot_be_read_stops_it(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	holder_start(&f, 0);
	put_note(f.bucket, NOTE_NODES "zz",
		 "stowage-holdings 1\nhost a\ntime 1\ngrace 9000000000000000000\nstate "
		 "running\nrun -\n0123456789abcdef\n");
	expect_fail(gc_run(&o, &r, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, NOTE_NODES "zz");
	put_note(f.bucket, NOTE_NODES "zz", "stowage-holdings 2\n");
	expect_fail(gc_run(&o, &r, &err), &err, STOW_FAILED_PRECONDITION);
	assert_true(has_object(f.bucket, &free));
}

/* --- nodes that do not answer --- */

static void a_silent_node_keeps_everything(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	struct gc_result r;
	struct stow_err err;

	holder_start(&f, 0);
	holder_start(&f, 1);
	holder_kill(&f.node[1]);
	o.wait_ns = 20 * NSEC_PER_MSEC;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.silent, 1);
	assert_int_equal(r.marked, 1);
	assert_int_equal(r.removed, 0);
	assert_true(has_object(f.bucket, &free));
	/* When it is back, the next one carries on. */
	holder_start(&f, 1);
	r = gc_good(&f);
	assert_int_equal(r.removed, 1);
	assert_false(has_object(f.bucket, &free));
	check_tidy();
}

static void a_stopped_node_is_not_waited_for_and_its_blobs_stay(void **state UNUSED)
{
	struct digest held = object(f.bucket, 1), free = object(f.bucket, 2);
	struct gc_result r;

	holder_start(&f, 0);
	holder_start(&f, 1);
	assert_true(holder_adopt(&f.node[1], &held));
	holder_stop(&f.node[1]);
	r = gc_good(&f);
	assert_int_equal(r.nodes, 2);
	assert_true(has_object(f.bucket, &held));
	assert_false(has_object(f.bucket, &free));
}

static void a_dead_node_holds_nothing_and_forgets(void **state UNUSED)
{
	struct digest theirs = object(f.bucket, 1);
	struct gc_result r;
	struct stow_err err;

	holder_start(&f, 0);
	f.node[1].options.grace_ns = 100 * NSEC_PER_MSEC;
	holder_start(&f, 1);
	assert_true(holder_adopt(&f.node[1], &theirs));
	holder_kill(&f.node[1]);
	do {
		r = gc_good(&f);
	} while (r.removed == 0);
	assert_int_equal(r.dead, 1);
	assert_false(has_object(f.bucket, &theirs));
	assert_int_equal(count_notes(f.bucket, NOTE_NODES), 1);
	holder_start(&f, 1);
	assert_true(f.node[1].forgotten > 0);
	expect_fail(meta_remote_get(f.node[1].meta, &theirs, NULL, &err), &err, STOW_NOT_FOUND);
}

/* --- killed anywhere --- */

static const enum fault_op GC_OPS[] = {
	FAULT_NOTE_PUT, FAULT_NOTE_GET, FAULT_NOTE_SCAN, FAULT_NOTE_REMOVE, FAULT_SCAN, FAULT_REMOVE,
};

/* A gc whose n-th exchange of a kind fails; false if there are not so many. */
static bool gc_dies_at(enum fault_op op, int n)
{
	CLEANUP(backend_freep) struct backend *b = NULL;
	struct fault_plan plan = { .code = STOW_INTERNAL };
	struct gc_options o;
	struct gc_result r;
	struct stow_err err;

	expect_ok(fault_new(mem_share(f.bucket), &plan, &b, &err), &err);
	atomic_store(&plan.after[op], n);
	o = gc_defaults(b);
	if (gc_run(&o, &r, &err) == 0)
		return false;
	assert_int_equal(err.code, STOW_INTERNAL);
	return true;
}

static void it_may_be_killed_anywhere(void **state UNUSED)
{
	struct digest held = object(f.bucket, 1);
	unsigned deaths = 0;

	holder_start(&f, 0);
	holder_start(&f, 1);
	assert_true(holder_adopt(&f.node[1], &held));
	for (size_t i = 0; i < ARRAY_LEN(GC_OPS); i++) {
		/* The polls of its waiting are exchanges, too: there is no end of those. */
		for (int n = 1; n <= 30; n++) {
			struct digest a = object(f.bucket, 2), b = object(f.bucket, 3);

			if (!gc_dies_at(GC_OPS[i], n))
				break;
			deaths++;
			(void)gc_good(&f);
			assert_true(has_object(f.bucket, &held));
			assert_false(has_object(f.bucket, &a));
			assert_false(has_object(f.bucket, &b));
			check_tidy_in_the_end();
		}
	}
	assert_true(deaths > 20);
}

static void it_stops_when_it_is_told_to(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_options o = gc_defaults(f.bucket);
	atomic_bool stop = true;
	struct gc_result r;
	struct stow_err err;

	holder_start(&f, 0);
	o.stop = &stop;
	expect_fail(gc_run(&o, &r, &err), &err, STOW_CANCELLED);
	assert_true(has_object(f.bucket, &free));
}

static void what_killed_runs_left_is_removed_in_the_end(void **state UNUSED)
{
	holder_start(&f, 0);
	put_note(f.bucket, NOTE_MARKS "0123", "of a run that was never begun");
	put_note(f.bucket, NOTE_SWEEP "0123", "likewise");
	(void)gc_good(&f);
	/* They are too new for that: somebody may be about to begin it. */
	assert_int_equal(count_notes(f.bucket, "gc/"), 3);
	check_tidy_in_the_end();
}

static void a_run_without_marks_is_given_up(void **state UNUSED)
{
	struct digest free = object(f.bucket, 1);
	struct gc_result r;

	holder_start(&f, 0);
	put_note(f.bucket, NOTE_RUN, "stowage-run 1\nrun 00000000000000aa\ntime 1\nend 0\n");
	r = gc_good(&f);
	assert_int_equal(r.removed, 1);
	assert_false(has_object(f.bucket, &free));
	check_tidy();
}

/* --- somebody does something at every step --- */

/* Calls `act` before the at-th exchange of a gc, and `later` some exchanges after that. */
struct stepper {
	struct backend base;
	struct backend_ops ops;
	struct behind_ops behind;
	struct backend *inner;
	int steps, at, later_at;
	void (*act)(void), (*later)(void);
};
static struct stepper *stepper_of(struct backend *b)
{
	return CONTAINER_OF(b, struct stepper, base);
}

static struct backend *step(struct backend *b)
{
	struct stepper *s = stepper_of(b);

	if (++s->steps == s->at)
		s->act();
	else if (s->later != NULL && s->steps == s->later_at)
		s->later();
	return s->inner;
}

static int step_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	return backend_scan(step(b), visit, arg, err);
}

static int step_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	return backend_remove(step(b), d, err);
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

	s.ops = (struct backend_ops){
		.name = "steps", .scan = step_scan, .remove = step_remove, .behind = &s.behind
	};
	s.behind = (struct behind_ops){
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
		check_tidy_in_the_end();
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
	check_tidy_in_the_end(); /* who came too late to carry on may have left something */
}

/* --- explaining --- */

static char said[4096];

static void collect_line(void *arg UNUSED, const char *line)
{
	size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static const char *explain(const struct digest *d)
{
	struct gc_options o = gc_defaults(f.bucket);
	struct stow_err err;

	o.say = collect_line;
	*said = '\0';
	expect_ok(gc_explain(&o, d, &err), &err);
	return said;
}

static void it_says_who_holds_a_blob(void **state UNUSED)
{
	struct digest held = object(f.bucket, 1), free = object(f.bucket, 2),
		      none = some_digest(DIGEST_SHA256, 3);

	holder_start(&f, 0);
	assert_true(holder_adopt(&f.node[0], &held));
	wait_for(holder_tells(&f, 0, &held));
	assert_non_null(strstr(explain(&held), meta_node_id(f.node[0].meta)));
	assert_non_null(strstr(said, "it stays, while a node holds it"));
	assert_non_null(strstr(explain(&free), "the next `stowage gc` removes it"));
	assert_null(strstr(said, meta_node_id(f.node[0].meta)));
	assert_non_null(strstr(explain(&none), "is not in the bucket"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(what_nobody_holds_goes),
		CASE(what_is_young_stays),
		CASE(a_dry_run_removes_nothing),
		CASE(a_bucket_without_nodes_is_left_alone),
		CASE(a_note_that_cannot_be_read_stops_it),
		CASE(a_silent_node_keeps_everything),
		CASE(a_stopped_node_is_not_waited_for_and_its_blobs_stay),
		CASE(a_dead_node_holds_nothing_and_forgets),
		CASE(it_may_be_killed_anywhere),
		CASE(it_stops_when_it_is_told_to),
		CASE(what_killed_runs_left_is_removed_in_the_end),
		CASE(a_run_without_marks_is_given_up),
		CASE(what_is_adopted_at_any_step_stays),
		CASE(what_is_adopted_after_a_while_at_any_step_stays),
		CASE(what_was_had_before_and_is_adopted_again_stays),
		CASE(what_is_asked_for_at_any_step_stays),
		CASE(what_is_adopted_by_a_node_that_comes_up_at_any_step_stays),
		CASE(what_is_deleted_and_adopted_again_at_any_step_stays),
		CASE(a_silent_nodes_marks_hinder_nobody_else),
		CASE(another_one_may_run_at_any_step),
		CASE(many_may_run_at_once),
		CASE(it_says_who_holds_a_blob),
	};

	return cmocka_run_group_tests_name("tiered gc", tests, NULL, NULL);
}
