/* The cases marked in their tables as containerd's were run through its package `filters`, and gave the
 * same: that text refused, or those subjects matched. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/filter.h"
#include "tests/unit/unit.h"

/* cmocka.h wants these first */
#include <cmocka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

struct subject {
	const char *digest, *ref;
	const char *labels[4][2];
};

static const struct subject subjects[] = {
	{ .digest = "sha256:abc", .labels = { { "foo", "bar" }, { "a.b", "x" }, { "empty", "" } } },
	{ .ref = "default/1/layer-sha256:00" },
	{ .digest = "",
	  .labels = { { "", "nokey" },
		      { "very complex", "something" },
		      { "a", "\u725b" },
		      { "foo", "bar,baz \t\"q\"" } } },
	{ .digest = "sha512:f",
	  .labels = { { "containerd.io/x", "1" }, { "a\\b", "\n" }, { "foo", "/bar/" } } },
	{ 0 },
};

static const char *lookup(const void *p, const char *first, const char *joined)
{
	const struct subject *s = p;

	if (strcmp(first, "digest") == 0)
		return s->digest;
	if (strcmp(first, "ref") == 0)
		return s->ref;
	if (strcmp(first, "labels") != 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(s->labels) && s->labels[i][0] != NULL; i++) {
		if (strcmp(s->labels[i][0], joined) == 0)
			return s->labels[i][1];
	}
	return NULL;
}

/* "10110": the first, third and fourth subject match; the error message if it does not compile. */
static const char *run(const char *const *texts, size_t n)
{
	static char result[sizeof(((struct stow_err *)NULL)->msg)];
	CLEANUP(filter_freep) struct filter *f = NULL;
	struct stow_err err = { 0 };

	if (filter_compile(texts, n, &f, &err) < 0) {
		assert_null(f);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		snprintf(result, sizeof(result), "%s", err.msg);
		return result;
	}
	for (size_t i = 0; i < ARRAY_LEN(subjects); i++)
		result[i] = filter_match(f, lookup, &subjects[i]) ? '1' : '0';
	result[ARRAY_LEN(subjects)] = '\0';
	return result;
}

struct good {
	const char *text, *matches;
};

static void check_good(const struct good *cases, size_t n)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++) {
		const char *have = run(&cases[i].text, 1);
		if (strcmp(have, cases[i].matches) == 0)
			continue;
		print_error("%s: have %s, want %s\n", cases[i].text, have, cases[i].matches);
		bad++;
	}
	assert_int_equal(bad, 0);
}

struct bad {
	const char *text;
	int at; /* the byte that the message names */
	const char *expected;
};

static void check_bad(const struct bad *cases, size_t n)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++) {
		const char *have = run(&cases[i].text, 1);
		char want[128];
		snprintf(want, sizeof(want), ": at byte %d: %s", cases[i].at, cases[i].expected);
		if (strncmp(have, "filter \"", 8) == 0 && strstr(have, want) != NULL)
			continue;
		print_error("%s: have %s, want %s\n", cases[i].text, have, want);
		bad++;
	}
	assert_int_equal(bad, 0);
}

static void fields_and_operators_as_containerd(void **state UNUSED)
{
	static const struct good cases[] = {
		{ "foo,bar", "00000" },
		{ "foo == bar", "00000" },
		{ "labels.foo == bar", "10000" },
		{ "", "11111" },
		{ " digest", "10110" },
		{ "digest, ref", "00000" },
		{ "labels. foo", "10110" },
		{ "labels.foo==bar, digest", "10000" },
		{ "labels.foo=='bar'", "00000" },
		{ "labels.foo==b.ar", "00000" },
		{ "labels.foo==bar==baz", "00000" },
		{ "labels.empty", "10000" },
		{ "nope!=x", "11111" },
		{ "nope", "00000" },
		{ "size", "00000" },
		{ "size==1", "00000" },
		{ "labels", "00100" },
		{ "labels==nokey", "00100" },
		{ "labels.a.b==x", "10000" },
		{ "labels.a==\u725b", "00100" },
		{ "labels.foo_1", "00000" },
		{ "foo==?", "00000" },
		{ "foo==a?b", "00000" },
		{ "digest.foo", "10110" },
		{ "digest==sha256:abc", "10000" },
		{ "ref==default/1/layer-sha256:00", "01000" },
		{ "labels.foo==\001", "00000" },
		{ "labels.foo==\u200b", "00000" },
		{ "labels.foo\u3000==\u2003bar", "10000" },
		{ "foo\t==\vbar", "00000" },
		{ "digest!=(", "11111" },
	};

	check_good(cases, ARRAY_LEN(cases));
}

static void quoting_as_containerd(void **state UNUSED)
{
	static const struct good cases[] = {
		{ "labels.\"very complex\"==something", "00100" },
		{ "labels.foo==\"bar\"", "10000" },
		{ "labels.foo==bar\"baz\"", "00000" },
		{ "\"labels\".\"foo\"==\"bar\"", "10000" },
		{ "labels.foo!=\"\"", "10110" },
		{ "labels.empty==\"\"", "10000" },
		{ "labels.empty!=\"\"", "00000" },
		{ "nope!=\"\"", "00000" },
		{ "nope==\"\"", "00000" },
		{ "labels.\"\"", "00100" },
		{ "labels.\"a.b\"==x", "10000" },
		{ "labels.\"a\".\"b\"", "10000" },
		{ "labels.a.\"b\"==\"x\"", "10000" },
		{ "labels.\"a\\\\b\"==\"\\n\"", "00010" },
		{ "labels.\"a\\x2eb\"", "10000" },
		{ "labels.\"a\\056b\"", "10000" },
		{ "labels.\"\\u0061.b\"", "10000" },
		{ "labels.\"\\U00000061.b\"", "10000" },
		{ "labels.a==\"\\u725b\"", "00100" },
		{ "labels.a==\"\\xe7\\x89\\x9b\"", "00100" },
		{ "labels.a==\"\\347\\211\\233\"", "00100" },
		{ "labels.a==\"\u725b\"", "00100" },
		{ "labels.\"\\377\"", "00000" },
		{ "labels.\"\\\"foo\"", "00000" },
		{ "labels.foo==\"a\tb\"", "00000" },
		{ "labels.foo==\"a\\000b\"", "00000" },
		{ "labels.foo!=\"\\000\"", "11111" },
		{ "labels.\"foo\\000\"", "00000" },
		{ "labels.\"foo\\000x\"!=bar", "11111" },
		{ "labels.\"containerd.io/x\"==1", "00010" },
		{ "digest==\"\"", "00100" },
		{ "digest!=\"\"", "10010" },
		{ "\"\"", "00000" },
		{ "\"\".x", "00000" },
		{ "labels.foo==\"\\v\\a\\b\\f\\r\\t\\n\\\\\"", "00000" },
	};

	check_good(cases, ARRAY_LEN(cases));
}

static void expressions_as_containerd(void **state UNUSED)
{
	static const struct good cases[] = {
		{ "labels.foo~=/bar/", "10110" },
		{ "labels.foo~=|bar|", "10110" },
		{ "labels.foo~=\"bar\"", "10110" },
		{ "labels.foo~=^bar$", "10000" },
		{ "labels.foo~=[", "00000" },
		{ "labels.foo~=/a{2,1}/", "00000" },
		{ "labels.foo~=(?i)BAR", "10110" },
		{ "nope~=^$", "11111" },
		{ "nope~=x", "00000" },
		{ "labels.a~=^.$", "00100" },
		{ "labels.foo~=/\\/bar\\//", "00010" },
		{ "labels.foo~=/\"/", "00100" },
		{ "labels.foo~=/\\\\d+/", "00000" },
		{ "labels.foo~=\\d+", "00000" },
		{ "labels.foo~=/[a-z]{3}/", "10110" },
		{ "digest~=sha256", "10000" },
		{ "digest~=^sha256:", "10000" },
		{ "ref~=layer", "01000" },
		{ "ref~=default/1", "01000" },
		{ "labels.foo~=\"\"", "11111" },
		{ "labels.foo~=//", "11111" },
		{ "labels.foo~=/\\u002f/", "00010" },
		{ "digest~=\\", "00000" },
		{ "digest~=\\x", "00000" },
		{ "digest~=(", "00000" },
		{ "labels.foo~=\"\\xff\"", "00000" },
		{ "labels.foo~=\\Qbar", "10110" },
		{ "labels.foo~=(?P<n>bar)", "10110" },
		{ "labels.foo~=\\pL", "10110" },
		{ "labels.foo~=a{1001}", "00000" },
		{ "labels.foo~=a{1000}", "00000" },
	};

	check_good(cases, ARRAY_LEN(cases));
}

static void refused_as_containerd(void **state UNUSED)
{
	static const struct bad cases[] = {
		{ "foo==", 5, "expected a value" },
		{ "foo = bar", 4, "expected ==, != or ~=, not \"=\"" },
		{ "foo==bar,", 9, "expected a field: a name that begins" },
		{ "foo.", 4, "expected a field: a name that begins" },
		{ "labels.", 7, "expected a field: a name that begins" },
		{ "  ", 2, "expected a field: a name that begins" },
		{ "labels.foo==bar baz", 16, "expected a comma or the end" },
		{ "labels.foo==\"bar", 12, "expected the quoted text to end with \"" },
		{ "labels.foo==\"bar\"baz", 17, "expected a comma or the end" },
		{ "labels.foo==/bar/", 12, "/ quotes only the value of ~=, expected" },
		{ "labels.foo==|bar|", 12, "| quotes only the value of ~=, expected" },
		{ "labels.foo~=/bar", 12, "expected the quoted text to end with /" },
		{ "labels.foo!=/bar/", 12, "/ quotes only the value of ~=, expected" },
		{ "labels./foo/", 7, "expected a field: a name that begins" },
		{ "labels.|foo|", 7, "expected a field: a name that begins" },
		{ "labels.'foo'", 7, "expected a field: a name that begins" },
		{ "labels.foo===bar", 10, "expected ==, != or ~=, not \"===\"" },
		{ "labels.foo=!bar", 10, "expected ==, != or ~=, not \"=!\"" },
		{ "labels.foo=bar", 10, "expected ==, != or ~=, not \"=\"" },
		{ "labels.foo!bar", 10, "expected ==, != or ~=, not \"!\"" },
		{ "labels.foo~bar", 10, "expected ==, != or ~=, not \"~\"" },
		{ "labels.\"\\g\"", 8, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.\"\\xaz\"", 8, "expected 2 hexadecimal digits of one" },
		{ "labels.\"\\400\"", 8, "expected 3 octal digits of one byte in" },
		{ "labels.\"\\08\"", 8, "expected 3 octal digits of one byte in" },
		{ "labels.\"\\'foo\"", 8, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=/\\|/", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=|\\/|", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=/\\\"/", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=/\\d+/", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=[a-z]{3,4}", 20, "expected a field: a name that begins" },
		{ "labels.foo==\"a\nb\"", 12, "expected the quoted text to end with \"" },
		{ "labels.\"\\U00110000\"", 8, "expected 8 hexadecimal digits of a" },
		{ "labels.a==\"\\u725\"", 11, "expected 4 hexadecimal digits of a" },
		{ "labels.x-y", 8, "expected ==, != or ~=, a dot, a comma" },
		{ "labels.foo-bar==x", 10, "expected ==, != or ~=, a dot, a comma" },
		{ "?", 0, "expected a field: a name that begins" },
		{ "foo?", 3, "expected ==, != or ~=, a dot, a comma" },
		{ "labels.ns/key==value", 9, "expected ==, != or ~=, a dot, a comma" },
		{ "labels.containerd.io/x==1", 20, "expected ==, != or ~=, a dot, a comma" },
		{ ",digest", 0, "expected a field: a name that begins" },
		{ "digest,,ref", 7, "expected a field: a name that begins" },
		{ "digest,", 7, "expected a field: a name that begins" },
		{ ".digest", 0, "expected a field: a name that begins" },
		{ "digest..x", 7, "expected a field: a name that begins" },
		{ "digest.", 7, "expected a field: a name that begins" },
		{ "\"digest", 0, "expected the quoted text to end with \"" },
		{ "\"", 0, "expected the quoted text to end with \"" },
		{ "labels.\"x", 7, "expected the quoted text to end with \"" },
		{ "\ufeffdigest", 0, "expected a field: a name that begins" },
		{ "image~=,id?=?fbaq", 7, "expected a value" },
		{ "digest \"x\"", 7, "expected ==, != or ~=, a dot, a comma" },
		{ "digest\"x\"", 6, "expected ==, != or ~=, a dot, a comma" },
		{ "digest==x y", 10, "expected a comma or the end" },
		{ "labels.f\u00f6\u00f6", 8, "expected ==, != or ~=, a dot, a comma" },
		{ "labels.foo==\"\\ \"", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo==\"\\X41\"", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo~=/a\nb/", 12, "expected the quoted text to end with /" },
		{ "labels.foo~=/\\Qbar/", 13, "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\" },
		{ "labels.foo==\377", 12, "expected valid UTF-8" },
		{ "labels.foo==a\377", 13, "expected valid UTF-8" },
		{ "\377digest", 0, "expected valid UTF-8" },
		{ "labels.\"\377\"", 8, "expected valid UTF-8" },
		{ "labels.foo==a\300\200", 13, "expected valid UTF-8" },
		{ "labels.foo==\355\240\200", 12, "expected valid UTF-8" },
	};

	check_bad(cases, ARRAY_LEN(cases));
}

/* The grammar of filter.h is wider than what containerd's scanner takes: white space between all
 * tokens, and any character but space and comma in a plain value. */
static void wider_than_containerd(void **state UNUSED)
{
	static const struct good cases[] = {
		{ "digest ", "10110" },
		{ "digest , ref", "00000" },
		{ "labels . foo", "10110" },
		{ "labels.foo==bar ", "10000" },
		{ "labels.foo==bar ,digest", "10000" },
		{ "labels.foo==.bar", "00000" },
		{ "labels.foo~=.*", "11111" },
		{ "labels.foo== =bar", "00000" },
		{ "labels.foo==a\001b", "00000" },
		{ "labels.foo==a\u200b", "00000" },
		{ "labels.foo==a\u00a0", "00000" },
		{ "labels.foo==\ufffd", "00000" },
		{ "labels.foo==\"\ufffd\"", "00000" },
		{ "labels.foo==a\ufffd", "00000" },
		{ "foo==bar\r", "00000" },
		{ "digest\n,ref", "00000" },
	};

	check_good(cases, ARRAY_LEN(cases));
}

/* And here it is narrower: a field begins with a letter, and an escape stands for a character. */
static void narrower_than_containerd(void **state UNUSED)
{
	static const struct bad cases[] = {
		{ "labels.\"\\ud800\"", 8, "expected 4 hexadecimal digits of a" },
		{ "labels.\"\\UFFFFFFFF\"", 8, "expected 8 hexadecimal digits of a" },
		{ "_foo", 0, "expected a field: a name that begins" },
		{ "1foo", 0, "expected a field: a name that begins" },
		{ "labels._x", 7, "expected a field: a name that begins" },
		{ "labels.1x", 7, "expected a field: a name that begins" },
	};

	check_bad(cases, ARRAY_LEN(cases));
}

/* The names that a lookup gets. */
static const char *echo(const void *to, const char *first, const char *joined)
{
	snprintf(*(char *const *)to, 64, "%s|%s", first, joined);
	return "";
}

static void paths(void **state UNUSED)
{
	static const struct good cases[] = {
		{ "digest", "digest|" },
		{ "labels.a", "labels|a" },
		{ "labels.a.b_1.C", "labels|a.b_1.C" },
		{ "labels.\"a.b\".c", "labels|a.b.c" },
		{ "\"x y\".\"\".z", "x y|.z" },
		{ "labels.\"\"", "labels|" },
		{ "\"\"", "|" },
		{ "labels.\"\\xe7\\x89\\x9b\"", "labels|\u725b" },
		{ "x.\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"/|\"", "x|\a\b\f\n\r\t\v\\\"/|" },
		{ "x.\"\\u0001\\u007F\\u00e9\\u07ff\\u0800\"", "x|\001\177\303\251\337\277\340\240\200" },
		{ "x.\"\\uffff\\U00010000\\U0010ffff\"", "x|\357\277\277\360\220\200\200\364\217\277\277" },
		{ "x.\"\\1011\\x4A\\x4a5\"", "x|A1JJ5" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CLEANUP(filter_freep) struct filter *f = NULL;
		struct stow_err err;
		char text[64] = "", *to = text;
		assert_int_equal(filter_compile(&cases[i].text, 1, &f, &err), 0);
		assert_true(filter_match(f, echo, &to));
		assert_string_equal(text, cases[i].matches);
	}
}

static void alternatives(void **state UNUSED)
{
	static const char *const two[] = { "ref~=layer", "labels.empty" };
	static const char *const with_empty[] = { "nope", "" };
	static const char *const empty_and_bad[] = { "", "nope," };
	static const char *const good_and_bad[] = { "ref", "nope==" };
	static const char *const none[] = { "nope", "nothing" };

	assert_string_equal(run(two, 2), "11000");
	assert_string_equal(run(with_empty, 2), "11111");
	assert_string_equal(run(none, 2), "00000");
	assert_string_equal(run(NULL, 0), "11111");
	assert_non_null(strstr(run(empty_and_bad, 2), "filter \"nope,\": at byte 5"));
	assert_non_null(strstr(run(good_and_bad, 2), "filter \"nope==\": at byte 6"));
}

static bool is_all(const char *const *texts, size_t n)
{
	CLEANUP(filter_freep) struct filter *f = NULL;
	struct stow_err err;

	assert_int_equal(filter_compile(texts, n, &f, &err), 0);
	return filter_is_all(f);
}

static void matches_all(void **state UNUSED)
{
	static const char *const texts[] = { "nope", "", "foo" };

	assert_true(is_all(NULL, 0));
	assert_true(is_all(texts + 1, 1));
	assert_true(is_all(texts, 3));
	assert_false(is_all(texts, 1));
}

static void free_takes_null(void **state UNUSED)
{
	struct filter *none = NULL;

	filter_free(NULL);
	filter_freep(&none);
}

static void caps(void **state UNUSED)
{
	const char *many[LIMIT_FILTERS + 1];
	char text[LIMIT_FILTER + 2];
	const char *one = text;

	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = "ref";
	assert_string_equal(run(many, LIMIT_FILTERS), "01000");
	assert_string_equal(run(many, LIMIT_FILTERS + 1), "65 filters, at most 64 are allowed");

	memset(text, 'x', sizeof(text));
	text[LIMIT_FILTER] = '\0';
	assert_string_equal(run(&one, 1), "00000");
	text[LIMIT_FILTER] = 'x';
	text[LIMIT_FILTER + 1] = '\0';
	assert_non_null(strstr(run(&one, 1), "has 16385 bytes, at most 16384 are allowed"));
}

static void cap_on_expressions(void **state UNUSED)
{
	const char *texts[LIMIT_FILTERS];

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		texts[i] = i % 2 == 0 ? "ref==x,ref~=layer,ref~=[" : "ref";
	assert_string_equal(run(texts, ARRAY_LEN(texts)), "01000");
	texts[63] = "ref,labels.a~=x";
	assert_non_null(
		strstr(run(texts, ARRAY_LEN(texts)),
		       "filter \"ref,labels.a~=x\": at byte 12: expected at most 64 regular expressions"));
}

static void message_shows_the_place(void **state UNUSED)
{
	char text[2048];
	const char *one = text;

	snprintf(text, sizeof(text), "%1000s,labels.\u725b\u725b=1,%900s", "a", "b");
	memset(text, 'a', 999);
	assert_non_null(strstr(run(&one, 1), ",labels.\u725b\u725b=1,"));
	assert_non_null(strstr(run(&one, 1), ": at byte 1008: expected"));
	assert_true(strlen(run(&one, 1)) < 300);

	/* The window begins between characters, and what a terminal might obey is escaped. */
	snprintf(text, sizeof(text), "a==\"%s\x1b[31mm\"?",
		 "\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b"
		 "\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b");
	assert_string_equal(
		run(&one, 1),
		"filter ...\"\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b\u725b"
		"\\x1b[31mm\\\"?\": at byte 65: expected a comma or the end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_and_operators_as_containerd),
		cmocka_unit_test(quoting_as_containerd),
		cmocka_unit_test(expressions_as_containerd),
		cmocka_unit_test(refused_as_containerd),
		cmocka_unit_test(wider_than_containerd),
		cmocka_unit_test(narrower_than_containerd),
		cmocka_unit_test(paths),
		cmocka_unit_test(alternatives),
		cmocka_unit_test(matches_all),
		cmocka_unit_test(free_takes_null),
		cmocka_unit_test(caps),
		cmocka_unit_test(cap_on_expressions),
		cmocka_unit_test(message_shows_the_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
