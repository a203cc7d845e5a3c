#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/labels.h"
#include "tests/unit/unit.h"

/* cmocka.h wants these first */
#include <cmocka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

/* A set of pairs that end with NULL. */
static struct labels set_of(const char *const *pairs)
{
	struct labels l = { 0 };
	struct stow_err err;

	for (; pairs[0] != NULL; pairs += 2)
		assert_int_equal(labels_set(&l, pairs[0], pairs[1], &err), 0);
	return l;
}
#define SET(...) set_of((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void assert_labels(const struct labels *l, struct labels want)
{
	if (!labels_equal(l, &want)) {
		for (size_t i = 0; i < l->n; i++)
			print_error("have %s=%s\n", l->v[i].key, l->v[i].value);
		for (size_t i = 0; i < want.n; i++)
			print_error("want %s=%s\n", want.v[i].key, want.v[i].value);
		fail();
	}
	labels_free(&want);
}

static void fill(struct labels *l, size_t n)
{
	struct stow_err err;
	char key[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key-%zu", i);
		assert_int_equal(labels_set(l, key, "v", &err), 0);
	}
}

static void sorted_and_unique(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("b", "1", "c", "2", "a", "3", "b", "4");

	assert_int_equal(l.n, 3);
	assert_string_equal(l.v[0].key, "a");
	assert_string_equal(l.v[1].key, "b");
	assert_string_equal(l.v[2].key, "c");
	assert_string_equal(labels_get(&l, "b"), "4");
	assert_null(labels_get(&l, "bb"));
	assert_null(labels_get(&l, ""));

	labels_remove(&l, "b");
	labels_remove(&l, "b");
	labels_remove(&l, "zz");
	assert_labels(&l, SET("a", "3", "c", "2"));
	labels_remove(&l, "a");
	labels_remove(&l, "c");
	assert_int_equal(l.n, 0);
}

static void value_of_its_own_set(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("a", "one");
	struct stow_err err;

	assert_int_equal(labels_set(&l, "a", labels_get(&l, "a"), &err), 0);
	assert_labels(&l, SET("a", "one"));
}

static void copy_is_deep(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("a", "1", "b", "");
	CLEANUP(labels_free) struct labels copy;
	CLEANUP(labels_free) struct labels none;

	labels_copy(&copy, &l);
	assert_true(labels_equal(&copy, &l));
	assert_ptr_not_equal(copy.v[0].key, l.v[0].key);
	labels_remove(&l, "a");
	assert_false(labels_equal(&copy, &l));
	assert_labels(&copy, SET("a", "1", "b", ""));

	labels_copy(&none, &(struct labels){ 0 });
	assert_int_equal(none.n, 0);
}

static void equal_compares_keys_and_values(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels a = SET("k", "1");
	CLEANUP(labels_free) struct labels b = SET("k", "2");
	CLEANUP(labels_free) struct labels c = SET("l", "1");

	assert_true(labels_equal(&a, &a));
	assert_false(labels_equal(&a, &b));
	assert_false(labels_equal(&a, &c));
}

static void limits(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = { 0 };
	struct stow_err err = { 0 };
	char value[LIMIT_LABEL + 1];

	memset(value, 'v', sizeof(value));
	value[LIMIT_LABEL - 3] = '\0';
	assert_int_equal(labels_set(&l, "key", value, &err), 0);
	value[LIMIT_LABEL - 3] = 'v';
	value[LIMIT_LABEL - 2] = '\0';
	assert_int_equal(labels_set(&l, "key", value, &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	assert_string_equal(err.msg,
			    "label \"key\": the bytes of key and value are 4097, at most 4096 are allowed");
	assert_int_equal(strlen(labels_get(&l, "key")), LIMIT_LABEL - 3); /* the old one */

	assert_int_equal(labels_set(&l, "", "v", &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);

	fill(&l, LIMIT_LABELS - 1);
	assert_int_equal(labels_set(&l, "one more", "v", &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	assert_string_equal(err.msg,
			    "label \"one more\": the labels would be 1025, at most 1024 are allowed");
	assert_null(labels_get(&l, "one more"));
	assert_int_equal(labels_set(&l, "key-7", "another value", &err), 0); /* replaces */
	assert_int_equal(l.n, LIMIT_LABELS);
}

static void apply(struct labels *l, struct labels from, const char *const *paths, size_t n)
{
	struct stow_err err;

	assert_int_equal(labels_apply(l, &from, paths, n, &err), 0);
	labels_free(&from);
}
#define APPLY(l, from, ...)                                                                                  \
	apply(l, from, (const char *const[]){ __VA_ARGS__ },                                                 \
	      sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void apply_all(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("old", "1", "same", "2");

	apply(&l, SET("same", "3", "new", "4"), NULL, 0);
	assert_labels(&l, SET("same", "3", "new", "4"));
	APPLY(&l, SET("a", "1", "b", ""), "labels");
	assert_labels(&l, SET("a", "1", "b", "")); /* a replacement keeps empty values */
	APPLY(&l, SET("c", "1"), "labels.a", "labels");
	assert_labels(&l, SET("c", "1"));
	apply(&l, SET(), NULL, 0);
	assert_int_equal(l.n, 0);
}

static void apply_paths(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("keep", "1", "change", "2", "drop", "3", "empty", "4");

	APPLY(&l, SET("keep", "not named", "change", "5", "empty", "", "a.b/c", "6"), "labels.change",
	      "labels.drop", "labels.empty", "labels.a.b/c", "labels.never there", "labels.change");
	assert_labels(&l, SET("keep", "1", "change", "5", "a.b/c", "6"));
}

static void apply_refuses_other_paths(void **state UNUSED)
{
	static const char *const wrong[] = { "size",    "",       "labels.",    "label",
					     "labelsx", "Labels", "labels/foo", "digest" };
	CLEANUP(labels_free) struct labels l = SET("a", "1");
	CLEANUP(labels_free) struct labels from = SET("a", "2");

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		const char *const paths[] = { "labels.a", "labels", wrong[i] };
		struct stow_err err = { 0 };
		assert_int_equal(labels_apply(&l, &from, paths, 3, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_non_null(strstr(err.msg, wrong[i]));
		assert_non_null(strstr(err.msg, "expected \"labels\" or \"labels.<key>\""));
		assert_labels(&l, SET("a", "1"));
	}
}

static void apply_at_the_limit(void **state UNUSED)
{
	const char *const exchange[] = { "labels.new", "labels.key-0" };
	const char *const grow[] = { "labels.key-1", "labels.other" };
	CLEANUP(labels_free) struct labels l = { 0 };
	CLEANUP(labels_free) struct labels from = SET("new", "1", "other", "2", "key-1", "changed");
	struct stow_err err;

	fill(&l, LIMIT_LABELS);
	assert_int_equal(labels_apply(&l, &from, exchange, 2, &err), 0);
	assert_int_equal(l.n, LIMIT_LABELS);
	assert_string_equal(labels_get(&l, "new"), "1");

	assert_int_equal(labels_apply(&l, &from, grow, 2, &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	assert_string_equal(labels_get(&l, "key-1"), "v"); /* nothing changed */
	assert_null(labels_get(&l, "other"));
}

static void row_form(void **state UNUSED)
{
	static const uint8_t want[] = "\2\0\0\0"
				      "\1\0\0\0\2\0\0\0"
				      "ahi"
				      "\3\0\0\0\0\0\0\0"
				      "b.c";
	CLEANUP(labels_free) struct labels l = SET("b.c", "", "a", "hi");
	CLEANUP(labels_free) struct labels back;
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, 4096);
	assert_int_equal(labels_encode(&l, &b, &err), 0);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(b.p, want, b.len);
	assert_int_equal(labels_decode(b.p, b.len, &back, &err), 0);
	assert_true(labels_equal(&l, &back));
}

static void row_of_none_and_of_most(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = { 0 };
	CLEANUP(labels_free) struct labels back;
	CLEANUP(labels_free) struct labels none;
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, 1 << 20);
	assert_int_equal(labels_encode(&l, &b, &err), 0);
	assert_int_equal(b.len, 4);
	assert_int_equal(labels_decode(b.p, b.len, &none, &err), 0);
	assert_int_equal(none.n, 0);

	fill(&l, LIMIT_LABELS);
	buf_reset(&b);
	assert_int_equal(labels_encode(&l, &b, &err), 0);
	assert_int_equal(labels_decode(b.p, b.len, &back, &err), 0);
	assert_true(labels_equal(&l, &back));
}

static void row_without_room(void **state UNUSED)
{
	CLEANUP(labels_free) struct labels l = SET("a", "1", "b", "2");
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, 20);
	assert_int_equal(buf_append(&b, "xy", 2, &err), 0);
	assert_int_equal(labels_encode(&l, &b, &err), -1);
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(b.len, 2);
}

static void damaged_rows(void **state UNUSED)
{
	static const struct {
		const char *what, *row;
		size_t n;
	} rows[] = {
#define ROW(what, row) { what, row, sizeof(row) - 1 }
		ROW("nothing", ""),
		ROW("half a count", "\1\0\0"),
		ROW("count without labels", "\1\0\0\0"),
		ROW("huge count", "\xff\xff\xff\xff"),
		ROW("count over the limit", "\1\4\0\0"),
		ROW("half the lengths", "\1\0\0\0\1\0\0\0\1\0\0"),
		ROW("value too short", "\1\0\0\0\1\0\0\0\2\0\0\0ab"),
		ROW("key too short", "\1\0\0\0\2\0\0\0\0\0\0\0a"),
		ROW("lengths that overflow", "\1\0\0\0\1\0\0\0\xff\xff\xff\xff"
					     "ab"),
		ROW("empty key", "\1\0\0\0\0\0\0\0\1\0\0\0b"),
		ROW("NUL in the key", "\1\0\0\0\2\0\0\0\0\0\0\0a\0"),
		ROW("NUL in the value", "\1\0\0\0\1\0\0\0\1\0\0\0a\0"),
		ROW("bytes left over", "\1\0\0\0\1\0\0\0\1\0\0\0abc"),
		ROW("not sorted", "\2\0\0\0\1\0\0\0\0\0\0\0b\1\0\0\0\0\0\0\0a"),
		ROW("key twice", "\2\0\0\0\1\0\0\0\0\0\0\0a\1\0\0\0\0\0\0\0a"),
#undef ROW
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct labels l = { 0 };
		struct stow_err err = { 0 };
		if (labels_decode(rows[i].row, rows[i].n, &l, &err) != -1)
			fail_msg("accepted: %s", rows[i].what);
		assert_int_equal(err.code, STOW_DATA_LOSS);
		assert_int_equal(l.n, 0);
	}
}

static void oversized_row(void **state UNUSED)
{
	uint8_t row[12 + LIMIT_LABEL + 1] = { 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0 };
	CLEANUP(labels_free) struct labels l = { 0 };
	struct stow_err err;

	memset(row + 12, 'x', sizeof(row) - 12);
	assert_int_equal(labels_decode(row, sizeof(row), &l, &err), -1);
	assert_int_equal(err.code, STOW_DATA_LOSS);
	row[8] = 0xff;
	row[9] = 0x0f;
	assert_int_equal(labels_decode(row, sizeof(row) - 1, &l, &err), 0);
	assert_int_equal(strlen(labels_get(&l, "x")), LIMIT_LABEL - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorted_and_unique),
		cmocka_unit_test(value_of_its_own_set),
		cmocka_unit_test(copy_is_deep),
		cmocka_unit_test(equal_compares_keys_and_values),
		cmocka_unit_test(limits),
		cmocka_unit_test(apply_all),
		cmocka_unit_test(apply_paths),
		cmocka_unit_test(apply_refuses_other_paths),
		cmocka_unit_test(apply_at_the_limit),
		cmocka_unit_test(row_form),
		cmocka_unit_test(row_of_none_and_of_most),
		cmocka_unit_test(row_without_room),
		cmocka_unit_test(damaged_rows),
		cmocka_unit_test(oversized_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
