/* What a node tells the fleet, and what it leaves alone for it. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/holdings_env.h"

#include <stdio.h>

#define RUN "00000000000000aa"

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

/* As gc makes them. */
static void mark(const char *run, const struct digest *d)
{
	struct note_run r = { .time_ns = 1 };
	struct note_mark m = { .digest = *d, .size = OBJECT_SIZE };
	CLEANUP(buf_free) struct buf marks = { 0 }, text = { 0 };
	char name[NOTE_NAME_SIZE];
	struct stow_err err;

	(void)snprintf(r.run, sizeof(r.run), "%s", run);
	buf_init(&marks, NOTE_LIMIT);
	buf_init(&text, NOTE_SMALL_LIMIT);
	expect_ok(note_marks_write(&marks, &r, &m, 1, &err), &err);
	expect_ok(buf_append(&marks, "", 1, &err), &err);
	expect_ok(note_run_write(&text, &r, &err), &err);
	expect_ok(buf_append(&text, "", 1, &err), &err);
	note_name(name, NOTE_MARKS, run);
	put_note(f.bucket, name, (const char *)marks.p);
	put_note(f.bucket, NOTE_RUN, (const char *)text.p);
}

static void remove_note(const char *name)
{
	struct stow_err err;

	expect_ok(f.bucket->ops->behind->note_remove(f.bucket, name, &err), &err);
}

static void unmark(void)
{
	remove_note(NOTE_RUN);
}

static bool has_noted(int i, const char *run)
{
	struct note_node n;

	return holder_note(&f, i, &n) && strcmp(n.run, run) == 0;
}

static bool refused(int i, const struct digest *d)
{
	return holdings_refused(f.node[i].holdings, d);
}

/* --- telling --- */

static void a_node_tells_what_it_has_when_it_starts(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct note_node n;

	holder_start(&f, 0);
	assert_true(holder_note(&f, 0, &n));
	assert_false(n.stopped);
	assert_string_equal(n.run, "");
	assert_int_equal(n.grace_ns, 3600 * NSEC_PER_SEC);
	assert_true(n.time_ns > 0);
	assert_true(*n.host != '\0');
	assert_false(holder_tells(&f, 0, &a));
	holder_commit(&f.node[0], &a);
	holder_kill(&f.node[0]);
	holder_start(&f, 0);
	assert_true(holder_tells(&f, 0, &a));
	assert_int_equal(count_notes(f.bucket, NOTE_NODES), 1);
}

static void changes_are_told(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	holder_start(&f, 0);
	holder_commit(&f.node[0], &a);
	wait_for(holder_tells(&f, 0, &a));
	holder_delete(&f.node[0], &a);
	wait_for(!holder_tells(&f, 0, &a));
}

static void what_did_not_change_is_told_again_before_it_is_too_old(void **state UNUSED)
{
	struct note_node before, now;

	f.node[0].options.grace_ns = 2 * NSEC_PER_SEC;
	holder_start(&f, 0);
	assert_true(holder_note(&f, 0, &before));
	wait_for(holder_note(&f, 0, &now) && now.time_ns > before.time_ns);
	assert_int_equal(f.node[0].forgotten, 0);
}

static void many_blobs_are_told_whole(void **state UNUSED)
{
	enum { N = 2500 };
	struct blob_info v[N];
	struct digest last;
	struct stow_err err;

	holder_start(&f, 0);
	for (unsigned i = 0; i < N; i++)
		v[i] = (struct blob_info){ .digest = some_digest(DIGEST_SHA256, i),
					   .size = 1,
					   .created_ns = 5 };
	expect_ok(meta_blobs_adopt(f.node[0].meta, v, N, true, &err), &err);
	last = some_digest(DIGEST_SHA512, N);
	holder_commit(&f.node[0], &last);
	wait_for(holder_tells(&f, 0, &last));
	for (unsigned i = 0; i < N; i += 97)
		assert_true(holder_tells(&f, 0, &v[i].digest));
}

static void a_good_end_is_told_and_a_bad_one_is_not(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct note_node n;

	holder_start(&f, 0);
	holder_commit(&f.node[0], &a);
	holdings_leave(f.node[0].holdings);
	assert_true(holder_note(&f, 0, &n));
	assert_true(n.stopped);
	assert_true(holder_tells(&f, 0, &a));
	assert_true(refused(0, &a));
	holder_stop(&f.node[0]);
	holder_start(&f, 0);
	assert_true(holder_note(&f, 0, &n));
	assert_false(n.stopped);
	holder_kill(&f.node[0]);
	holder_start(&f, 0);
	assert_false(refused(0, &a));
}

/* What people are told of it. */
static struct fleet_status status_of(int i)
{
	struct fleet_status st = { 0 };

	holdings_status(f.node[i].holdings, &st);
	return st;
}

/* --- before anything is known --- */

static void until_it_has_told_everything_is_refused(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct holder *n = &f.node[0];
	struct fleet_status st;

	n->plan.code = STOW_UNAVAILABLE;
	n->plan.forever = true;
	n->plan.after[FAULT_NOTE_PUT] = 1;
	holder_start(&f, 0);
	assert_true(refused(0, &a));
	assert_int_equal(count_notes(f.bucket, NOTE_NODES), 0);
	st = status_of(0);
	assert_true(st.untold_ns > 0 && st.untold_ns <= clock_wall_ns() && st.unshared);
	assert_non_null(strstr(st.untold_error, NOTE_NODES));
	n->plan.after[FAULT_NOTE_PUT] = 0;
	wait_for(!refused(0, &a));
	st = status_of(0);
	assert_true(st.untold_ns == 0 && !st.unshared && *st.untold_error == '\0');
}

/* In this order, since gc looks for nodes when it has made its run. */
static void it_tells_first_and_looks_for_a_run_afterwards(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct holder *n = &f.node[0];
	struct note_node note;

	mark(RUN, &a);
	n->plan.code = STOW_UNAVAILABLE;
	n->plan.forever = true;
	n->plan.after[FAULT_NOTE_GET] = 1;
	holder_start(&f, 0);
	assert_true(refused(0, &a));
	assert_true(holder_note(&f, 0, &note));
	assert_string_equal(note.run, "");
	n->plan.after[FAULT_NOTE_GET] = 0;
	wait_for(has_noted(0, RUN));
}

static void who_could_not_tell_for_long_refuses_everything(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct holder *n = &f.node[0];

	n->options.grace_ns = 400 * NSEC_PER_MSEC;
	holder_start(&f, 0);
	wait_for(!refused(0, &a));
	n->plan.code = STOW_UNAVAILABLE;
	n->plan.forever = true;
	n->plan.after[FAULT_NOTE_PUT] = 1;
	wait_for(refused(0, &a));
	n->plan.after[FAULT_NOTE_PUT] = 0;
	wait_for(!refused(0, &a));
}

/* A full bucket, for instance: what it has can be had still. */
static void who_may_not_write_for_a_while_goes_on(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);
	struct holder *n = &f.node[0];

	holder_start(&f, 0);
	n->plan.code = STOW_PERMISSION_DENIED;
	n->plan.forever = true;
	n->plan.after[FAULT_NOTE_PUT] = 1;
	holder_commit(n, &a);
	/* Each round that looks for a run has tried to tell before, or does so afterwards. */
	for (int i = 0; i < 2 * TIER_FAILURES; i++) {
		mark(RUN, &b);
		wait_for(refused(0, &b));
		unmark();
		wait_for(!refused(0, &b));
	}
	assert_true(tier_usable(&n->tiers.v[0]));
	assert_false(holder_tells(&f, 0, &a));
	wait_for(status_of(0).untold_ns > 0);
	assert_false(status_of(0).unshared);
	n->plan.after[FAULT_NOTE_PUT] = 0;
	wait_for(holder_tells(&f, 0, &a));
}

/* --- marks --- */

static void what_is_marked_is_refused(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	holder_start(&f, 0);
	put_note(f.bucket, NOTE_SWEEP RUN, "begun");
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	assert_true(refused(0, &a));
	assert_false(refused(0, &b));
	unmark();
	wait_for(!refused(0, &a));
}

static void who_has_looked_or_was_refused_is_told(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct holder *n = &f.node[0];

	holder_start(&f, 0);
	wait_for(n->returned == 1); /* before the first exchange all was refused */
	assert_int_equal(n->marked, 0);
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	assert_int_equal(n->marked, 1);
	assert_true(refused(0, &a));
	wait_for(n->returned == 2); /* it may be had */
	assert_false(refused(0, &a));
	unmark();
	wait_for(n->returned == 3); /* all may */
	assert_int_equal(n->marked, 1);
}

/* Another gc may have the same marks, and not have seen yet that its run has ended. */
static void what_was_marked_is_refused_while_a_gc_is_at_work(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	f.node[0].options.linger_ns = 3600 * NSEC_PER_SEC;
	holder_start(&f, 0);
	put_note(f.bucket, NOTE_WORK RUN "-01", "at work");
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	unmark();
	mark("00000000000000bb", &b);
	wait_for(has_noted(0, "00000000000000bb"));
	assert_true(refused(0, &a));
	assert_true(refused(0, &b));
	remove_note(NOTE_WORK RUN "-01");
	wait_for(!refused(0, &a));
}

/* gc/sweep goes with its run. Who looks for it then must not think that it has yet to come. */
static void what_is_told_when_the_run_has_ended_is_refused_like_the_rest(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct holder *n = &f.node[0];

	n->options.linger_ns = 3600 * NSEC_PER_SEC;
	n->options.interval_ns = 3600 * NSEC_PER_SEC; /* no exchanges but those that somebody waits for */
	put_note(f.bucket, NOTE_WORK RUN "-01", "at work");
	mark(RUN, &a);
	holder_start(&f, 0);
	assert_true(has_noted(0, RUN));
	/* The first one is gc/run, the second one gc/sweep. */
	n->plan.code = STOW_NOT_FOUND;
	n->plan.hang = true;
	n->plan.after[FAULT_NOTE_GET] = 2;
	assert_true(refused(0, &a));
	wait_for(n->plan.after[FAULT_NOTE_GET] <= 0);
	assert_true(holder_tells(&f, 0, &a));
	unmark();
	n->plan.after[FAULT_NOTE_GET] = 100;
	n->plan.hang = false;
	wait_for(n->plan.after[FAULT_NOTE_GET] <= 98); /* it has found out that the run has ended */
	assert_true(refused(0, &a));
	remove_note(NOTE_WORK RUN "-01");
	wait_for(!refused(0, &a));
}

static void a_killed_gc_hinders_nobody_for_ever(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	f.node[0].options.linger_ns = 20 * NSEC_PER_MSEC;
	holder_start(&f, 0);
	put_note(f.bucket, NOTE_SWEEP RUN, "begun");
	put_note(f.bucket, NOTE_WORK RUN "-01", "at work");
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	assert_true(refused(0, &a));
	unmark();
	wait_for(!refused(0, &a));
}

/* Its interval would be an hour. */
static void who_was_refused_does_not_wait_for_the_interval(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	f.node[0].options.interval_ns = 3600 * NSEC_PER_SEC;
	put_note(f.bucket, NOTE_SWEEP RUN, "begun");
	mark(RUN, &a);
	holder_start(&f, 0);
	assert_true(refused(0, &a));
	unmark();
	wait_for(f.node[0].returned == 2);
	assert_false(refused(0, &a));
}

/* A run that nobody carries on with must not keep the fleet from what it has marked. */
static void what_is_marked_can_be_had_before_it_is_removed(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	holder_start(&f, 0);
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	assert_true(refused(0, &a));
	wait_for(!refused(0, &a));
	assert_true(holder_tells(&f, 0, &a));
}

/* Else it could be gone, though the node has been told that it may rely on it. */
static void what_was_had_so_is_told_while_the_run_lasts(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	holder_start(&f, 0);
	holder_commit(&f.node[0], &a);
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	wait_for(!refused(0, &a));
	holder_delete(&f.node[0], &a);
	holder_commit(&f.node[0], &b);
	wait_for(holder_tells(&f, 0, &b));
	assert_true(holder_tells(&f, 0, &a));
	assert_false(refused(0, &a));
}

/* The answer was yes, and the row is not there yet. */
static void what_was_asked_for_is_told(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	holder_start(&f, 0);
	assert_false(refused(0, &a));
	mark(RUN, &b);
	wait_for(has_noted(0, RUN));
	assert_true(holder_tells(&f, 0, &a));
	/* And it goes on being told, until it has a row, and that is gone. */
	holder_commit(&f.node[0], &b);
	wait_for(holder_tells(&f, 0, &b));
	assert_true(holder_tells(&f, 0, &a));
	assert_true(holder_adopt(&f.node[0], &a));
	holder_delete(&f.node[0], &b);
	wait_for(has_noted(0, RUN) && holder_tells(&f, 0, &a));
}

/* Else a blob that lived for less than an interval would be held for an hour. */
static void what_was_asked_for_and_is_gone_is_not_told(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	holder_start(&f, 0);
	for (int i = 0; i < 20; i++) {
		assert_true(holder_adopt(&f.node[0], &a));
		holder_delete(&f.node[0], &a);
		holdings_gone(f.node[0].holdings, &a);
	}
	holder_commit(&f.node[0], &b);
	wait_for(holder_tells(&f, 0, &b) && !holder_tells(&f, 0, &a));
}

static void who_only_wonders_holds_nothing(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);

	holder_start(&f, 0);
	assert_false(holdings_would_refuse(f.node[0].holdings, &a));
	holder_commit(&f.node[0], &b);
	wait_for(holder_tells(&f, 0, &b));
	assert_false(holder_tells(&f, 0, &a));
	put_note(f.bucket, NOTE_SWEEP RUN, "begun");
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
	assert_true(holdings_would_refuse(f.node[0].holdings, &a));
}

static void marks_that_cannot_be_read_are_not_taken_note_of(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);
	struct note_node n;

	holder_start(&f, 0);
	put_note(f.bucket, NOTE_RUN, "stowage-run 1\nrun " RUN "\ntime 1\nend 0\n");
	holder_commit(&f.node[0], &a);
	wait_for(f.bucket != NULL && holder_note(&f, 0, &n) && n.time_ns > 0);
	put_note(f.bucket, NOTE_MARKS RUN, "nonsense");
	assert_false(has_noted(0, RUN));
	mark(RUN, &a);
	wait_for(has_noted(0, RUN));
}

/* --- taken for dead --- */

static void remove_own_note(int i)
{
	struct stow_err err;
	char name[NOTE_NAME_SIZE];

	holder_name(&f, i, name);
	expect_ok(f.bucket->ops->behind->note_remove(f.bucket, name, &err), &err);
}

static void a_new_node_has_nothing_to_forget(void **state UNUSED)
{
	holder_start(&f, 0);
	assert_int_equal(f.node[0].forgotten, 0);
	holder_kill(&f.node[0]);
	holder_start(&f, 0);
	assert_int_equal(f.node[0].forgotten, 0);
}

static void whose_note_has_gone_forgets(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1), b = some_digest(DIGEST_SHA256, 2);
	struct stow_err err;

	holder_start(&f, 0);
	assert_true(holder_adopt(&f.node[0], &a));
	remove_own_note(0);
	holder_commit(&f.node[0], &b);
	wait_for(f.node[0].forgotten == 1);
	wait_for(holder_tells(&f, 0, &b));
	expect_fail(meta_remote_get(f.node[0].meta, &a, NULL, &err), &err, STOW_NOT_FOUND);
	wait_for(!refused(0, &a));
}

static void whose_note_has_gone_meanwhile_forgets_at_its_start(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	holder_start(&f, 0);
	assert_true(holder_adopt(&f.node[0], &a));
	remove_own_note(0);
	holder_kill(&f.node[0]);
	holder_start(&f, 0);
	assert_int_equal(f.node[0].forgotten, 1);
	assert_true(holder_tells(&f, 0, &a));
}

static int64_t stopped_ns;

static bool is_older(int64_t age_ns)
{
	return clock_wall_ns() - stopped_ns > age_ns;
}

static void whose_note_is_too_old_forgets_at_its_start(void **state UNUSED)
{
	struct digest a = some_digest(DIGEST_SHA256, 1);

	holder_start(&f, 0);
	assert_true(holder_adopt(&f.node[0], &a));
	holder_kill(&f.node[0]);
	stopped_ns = clock_wall_ns();
	f.node[0].options.grace_ns = 40 * NSEC_PER_MSEC;
	wait_for(is_older(30 * NSEC_PER_MSEC));
	holder_start(&f, 0);
	assert_true(f.node[0].forgotten > 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_node_tells_what_it_has_when_it_starts),
		CASE(changes_are_told),
		CASE(what_did_not_change_is_told_again_before_it_is_too_old),
		CASE(many_blobs_are_told_whole),
		CASE(a_good_end_is_told_and_a_bad_one_is_not),
		CASE(until_it_has_told_everything_is_refused),
		CASE(it_tells_first_and_looks_for_a_run_afterwards),
		CASE(who_could_not_tell_for_long_refuses_everything),
		CASE(who_may_not_write_for_a_while_goes_on),
		CASE(what_is_marked_is_refused),
		CASE(who_has_looked_or_was_refused_is_told),
		CASE(what_was_marked_is_refused_while_a_gc_is_at_work),
		CASE(what_is_told_when_the_run_has_ended_is_refused_like_the_rest),
		CASE(a_killed_gc_hinders_nobody_for_ever),
		CASE(who_was_refused_does_not_wait_for_the_interval),
		CASE(what_is_marked_can_be_had_before_it_is_removed),
		CASE(what_was_had_so_is_told_while_the_run_lasts),
		CASE(what_was_asked_for_is_told),
		CASE(what_was_asked_for_and_is_gone_is_not_told),
		CASE(who_only_wonders_holds_nothing),
		CASE(marks_that_cannot_be_read_are_not_taken_note_of),
		CASE(a_new_node_has_nothing_to_forget),
		CASE(whose_note_has_gone_forgets),
		CASE(whose_note_has_gone_meanwhile_forgets_at_its_start),
		CASE(whose_note_is_too_old_forgets_at_its_start),
	};

	return cmocka_run_group_tests_name("tiered holdings", tests, NULL, NULL);
}
