#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/regex.h"
#include "tests/unit/unit.h"

static void matches_unanchored(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} cases[] = {
		{ "b+", "abbc", true },
		{ "^b", "ab", false },
		{ "^a.c$", "abc", true },
		{ "", "", true },
		{ "", "x", true },
		{ "x", "", false },
		{ "(?i)SHA", "sha256:", true },
		{ "\\d{3}", "a123", true },
		{ "^sha256:[0-9a-f]{4}$", "sha256:00zz", false },
		{ "^.$", "\xe2\x82\xac", true }, /* a character, not a byte */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct regex *r = regex_new(cases[i].pattern, strlen(cases[i].pattern));

		assert_non_null(r);
		assert_int_equal(regex_match(r, cases[i].text, strlen(cases[i].text)), cases[i].match);
		regex_free(r);
	}
	regex_free(NULL);
}

static void lengths_count_not_nuls(void **state)
{
	struct regex *r = regex_new("a\0b|zzz", 3);

	(void)state;
	assert_non_null(r);
	assert_true(regex_match(r, "xa\0bx", 5));
	assert_false(regex_match(r, "xa\0bx", 2));
	assert_false(regex_match(r, "zzz", 3));
	regex_free(r);
}

static void what_does_not_compile_is_null(void **state)
{
	static const char *const bad[] = { "(", "[a", "*", "a{1001}", "(?=x)", "\\1", "\xff" };
	CLEANUP(freep) char *huge = x_malloc(16384);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(regex_new(bad[i], strlen(bad[i])));
	/* Well-formed, and over a megabyte when compiled. */
	assert_null(regex_new("\\pL{100}", 8));
	memset(huge, '(', 16384);
	assert_null(regex_new(huge, 16384));
}

/* Exponential in a backtracking engine. */
static void hostile_pattern_takes_no_time(void **state)
{
	struct regex *r = regex_new("^(a+)+$", 7);
	int64_t start = clock_mono_ns();
	char text[5000];

	(void)state;
	assert_non_null(r);
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '!';
	assert_false(regex_match(r, text, sizeof(text)));
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	regex_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches_unanchored),
		cmocka_unit_test(lengths_count_not_nuls),
		cmocka_unit_test(what_does_not_compile_is_null),
		cmocka_unit_test(hostile_pattern_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
