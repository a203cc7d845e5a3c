/* Collecting: what nobody holds goes, and nothing else; whoever dies, and however it ends. */
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
	check_tidy(&f);
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

static void count_object(void *arg, const struct digest *d UNUSED, uint64_t size)
{
	*(unsigned *)arg += (unsigned)size;
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
	/* Whoever wants to know them one by one is told so instead. */
	o.would_remove = count_object;
	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(lines, 1 + OBJECT_SIZE);
	assert_true(has_object(f.bucket, &free));
	check_tidy(&f);
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
	check_tidy(&f);
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
			check_tidy_in_the_end(&f);
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
	check_tidy_in_the_end(&f);
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
	check_tidy(&f);
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
		CASE(it_says_who_holds_a_blob),
	};

	return cmocka_run_group_tests_name("tiered gc", tests, NULL, NULL);
}
