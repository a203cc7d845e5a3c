/* Each promise of content/behind.h about notes. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/suite.h"

#include <stdio.h>
#include <string.h>

enum { LARGE = 9 << 20 };

static void put(struct backend *b, const char *name, const char *text)
{
	struct stow_err err;

	expect_ok(b->ops->behind->note_put(b, name, text, strlen(text), 0, &err), &err);
}

static void expect_note(struct backend *b, const char *name, const char *text)
{
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	buf_init(&to, 1000);
	expect_ok(b->ops->behind->note_get(b, name, &to, &err), &err);
	assert_int_equal(to.len, strlen(text));
	assert_memory_equal(to.p != NULL ? (const char *)to.p : "", text, to.len);
}

static void expect_no_note(struct backend *b, const char *name)
{
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	buf_init(&to, 1000);
	expect_fail(b->ops->behind->note_get(b, name, &to, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(to.len, 0);
}

static void a_note_is_put_and_replaced(struct backend *b)
{
	expect_no_note(b, "gc/marks");
	put(b, "gc/marks", "first");
	expect_note(b, "gc/marks", "first");
	put(b, "gc/marks", "and second");
	expect_note(b, "gc/marks", "and second");
	put(b, "gc/marks", "");
	expect_note(b, "gc/marks", "");
}

static void a_note_is_put_where_there_is_none(struct backend *b)
{
	const struct behind_ops *ops = b->ops->behind;
	struct stow_err err;

	expect_ok(ops->note_put(b, "gc/run", "mine", 4, NOTE_IF_ABSENT, &err), &err);
	expect_fail(ops->note_put(b, "gc/run", "theirs", 6, NOTE_IF_ABSENT, &err), &err, STOW_ALREADY_EXISTS);
	expect_note(b, "gc/run", "mine");
	expect_ok(ops->note_remove(b, "gc/run", &err), &err);
	expect_ok(ops->note_put(b, "gc/run", "theirs", 6, NOTE_IF_ABSENT, &err), &err);
	expect_note(b, "gc/run", "theirs");
}

static void a_note_is_removed(struct backend *b)
{
	struct stow_err err;

	put(b, "nodes/a-1.b_2", "text");
	expect_ok(b->ops->behind->note_remove(b, "nodes/a-1.b_2", &err), &err);
	expect_no_note(b, "nodes/a-1.b_2");
	expect_ok(b->ops->behind->note_remove(b, "nodes/a-1.b_2", &err), &err);
}

static void a_large_note_is_appended(struct backend *b)
{
	CLEANUP(freep) uint8_t *bytes = x_malloc(LARGE);
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	fill(bytes, LARGE, 1);
	buf_init(&to, LARGE + 3);
	expect_ok(buf_append(&to, "abc", 3, &err), &err);
	expect_ok(b->ops->behind->note_put(b, "nodes/large", bytes, LARGE, 0, &err), &err);
	expect_ok(b->ops->behind->note_get(b, "nodes/large", &to, &err), &err);
	assert_int_equal(to.len, LARGE + 3);
	assert_memory_equal(to.p, "abc", 3);
	assert_true(filled(to.p + 3, LARGE, 1));
}

static void a_note_may_be_too_large(struct backend *b)
{
	CLEANUP(buf_free) struct buf to;
	struct stow_err err;

	put(b, "nodes/a", "123456");
	buf_init(&to, 7);
	expect_ok(buf_append(&to, "ab", 2, &err), &err);
	expect_fail(b->ops->behind->note_get(b, "nodes/a", &to, &err), &err, STOW_RESOURCE_EXHAUSTED);
	expect_named(&err, "nodes/a");
	assert_int_equal(to.len, 2);
}

struct seen {
	char names[200];
	int at;
	unsigned n;
};

static int see(void *arg, const char *name, uint64_t size, int64_t modified_ns, struct stow_err *err UNUSED)
{
	struct seen *seen = arg;

	assert_int_equal(size, strlen(name));
	assert_true(llabs(modified_ns - clock_wall_ns()) < 300 * NSEC_PER_SEC);
	seen->at += snprintf(seen->names + seen->at, sizeof(seen->names) - (size_t)seen->at, "%s ", name);
	seen->n++;
	return 0;
}

static int stop_after_one(void *arg, const char *name UNUSED, uint64_t size UNUSED,
			  int64_t modified_ns UNUSED, struct stow_err *err)
{
	++*(unsigned *)arg;
	return stow_fail(err, STOW_ABORTED, "enough");
}

static void notes_are_visited_in_order(struct backend *b)
{
	static const char *const names[] = {
		"nodes/b", "nodes/a/x", "node", "nodes/A", "gc/marks", "nodes/a"
	};
	struct digest d = blob_digest(DIGEST_SHA256, 10, 1);
	struct seen seen = { 0 };
	struct stow_err err;
	unsigned n = 0;

	put_blob(b, &d, 10, 1);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		put(b, names[i], names[i]);
	expect_ok(b->ops->behind->note_scan(b, "nodes/", see, &seen, &err), &err);
	assert_string_equal(seen.names, "nodes/A nodes/a nodes/a/x nodes/b ");
	seen = (struct seen){ 0 };
	expect_ok(b->ops->behind->note_scan(b, "no", see, &seen, &err), &err);
	assert_int_equal(seen.n, 5);
	expect_ok(b->ops->behind->note_scan(b, "none", see, &seen, &err), &err);
	assert_int_equal(seen.n, 5);
	expect_fail(b->ops->behind->note_scan(b, "nodes/", stop_after_one, &n, &err), &err, STOW_ABORTED);
	assert_int_equal(n, 1);
}

static void notes_are_no_blobs(struct backend *b)
{
	put(b, "blobs", "text");
	put(b, "nodes/a", "text");
	assert_int_equal(count_blobs(b), 0);
	assert_int_equal(count_stages(b), 0);
}

static void put_if_absent(void *arg, int i)
{
	struct backend *b = arg;
	char text[2] = { (char)('a' + i), 0 };
	CLEANUP(buf_free) struct buf to;
	struct stow_err err = { 0 };
	bool won = b->ops->behind->note_put(b, "gc/run", text, 1, NOTE_IF_ABSENT, &err) == 0;

	thread_check(won || err.code == STOW_ALREADY_EXISTS || err.code == STOW_UNAVAILABLE);
	buf_init(&to, 10);
	/* UNAVAILABLE: nobody may have it yet. */
	if (b->ops->behind->note_get(b, "gc/run", &to, &err) == 0)
		thread_check(to.len == 1 && (!won || to.p[0] == (uint8_t)text[0]));
	else
		thread_check(!won && err.code == STOW_NOT_FOUND);
}

static void one_of_many_puts_where_there_is_none(struct backend *b)
{
	run_threads(4, put_if_absent, b);
}

#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f                                                                                        \
	}
const struct suite_case suite_notes[] = {
	CASE(a_note_is_put_and_replaced),
	CASE(a_note_is_put_where_there_is_none),
	CASE(a_note_is_removed),
	CASE(a_large_note_is_appended),
	CASE(a_note_may_be_too_large),
	CASE(notes_are_visited_in_order),
	CASE(notes_are_no_blobs),
	CASE(one_of_many_puts_where_there_is_none),
	{ 0 },
};
