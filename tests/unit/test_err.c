#include "content/base/err.h"
#include "content/base/mem.h"
#include "content/base/text.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

static void fail_formats(void **state)
{
	struct stow_err err = { 0 };

	(void)state;
	assert_int_equal(stow_fail(&err, STOW_NOT_FOUND, "blob %s: %d", "x", 7), -1);
	assert_int_equal(err.code, STOW_NOT_FOUND);
	assert_string_equal(err.msg, "blob x: 7");
	/* The old message among the arguments. */
	stow_fail(&err, STOW_INTERNAL, "again: %s", err.msg);
	assert_int_equal(err.code, STOW_INTERNAL);
	assert_string_equal(err.msg, "again: blob x: 7");
}

static void fail_cuts_at_a_character(void **state)
{
	/* One to four bytes a character, at each position relative to the cut. */
	static const char *const chars[] = { "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x90\xb3" };
	struct stow_err err;

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(chars); c++) {
		for (size_t shift = 0; shift < 4; shift++) {
			char text[1024] = "";
			size_t len = shift, width = strlen(chars[c]), n;

			memset(text, '.', shift);
			for (; len + width < sizeof(text); len += width)
				memcpy(text + len, chars[c], width);
			stow_fail(&err, STOW_INTERNAL, "%.*s", (int)len, text);
			n = strlen(err.msg);
			assert_in_range(n, sizeof(err.msg) - 1 - 3, sizeof(err.msg) - 1);
			assert_string_equal(err.msg + n - 3, "...");
			assert_memory_equal(err.msg, text, n - 3);
			assert_int_equal((n - 3 - shift) % width, 0);
		}
	}
}

static void fail_keeps_what_just_fits(void **state)
{
	struct stow_err err;
	char text[sizeof(err.msg)];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	stow_fail(&err, STOW_INTERNAL, "%s", text);
	assert_string_equal(err.msg, text);
}

static void fail_cuts_what_is_no_utf8(void **state)
{
	char text[1024];
	struct stow_err err;

	(void)state;
	memset(text, 0x80, sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	stow_fail(&err, STOW_INTERNAL, "%s", text);
	assert_string_equal(err.msg + strlen(err.msg) - 3, "...");
	assert_true(strlen(err.msg) >= sizeof(err.msg) - 8);
}

static void errno_has_a_code(void **state)
{
	static const struct {
		int e;
		enum stow_code code;
	} cases[] = {
		{ ENOENT, STOW_NOT_FOUND },
		{ EEXIST, STOW_ALREADY_EXISTS },
		{ ENOSPC, STOW_RESOURCE_EXHAUSTED },
		{ EDQUOT, STOW_RESOURCE_EXHAUSTED },
		{ EACCES, STOW_PERMISSION_DENIED },
		{ EPERM, STOW_PERMISSION_DENIED },
		{ EIO, STOW_INTERNAL },
		{ 0, STOW_INTERNAL },
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(stow_fail_errno(&err, cases[i].e, "open %s", "/x"), -1);
		assert_int_equal(err.code, cases[i].code);
	}
	stow_fail_errno(&err, ENOENT, "open %s", "/x/y");
	assert_string_equal(err.msg, "open /x/y: No such file or directory");
	stow_fail_errno(&err, 99999, "open");
	assert_string_equal(err.msg, "open: error 99999");
}

static void errno_outlives_a_long_path(void **state)
{
	char path[PATH_MAX];
	struct stow_err err;

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	stow_fail_errno(&err, ENOSPC, "write %s", path);
	assert_non_null(strstr(err.msg, "ppp...: No space left on device"));
}

static void wrap_prepends(void **state)
{
	struct stow_err err;
	char text[1024];

	(void)state;
	stow_fail(&err, STOW_DATA_LOSS, "short read");
	assert_int_equal(stow_wrap(&err, "blob %d", 1), -1);
	assert_int_equal(err.code, STOW_DATA_LOSS);
	assert_string_equal(err.msg, "blob 1: short read");
	/* A context that is far too long leaves room for the message. */
	memset(text, 'c', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	stow_wrap(&err, "%s", text);
	assert_non_null(strstr(err.msg, "ccc...: blob 1: short read"));
	/* Many of them end in dots and stay within the buffer. */
	for (int i = 0; i < 100; i++)
		stow_wrap(&err, "context %d", i);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + strlen(err.msg) - 3, "...");
	assert_int_equal(strncmp(err.msg, "context 99: context 98: ", 24), 0);
}

static void codes_have_names(void **state)
{
	(void)state;
	assert_string_equal(stow_code_name(STOW_OK), "OK");
	assert_string_equal(stow_code_name(STOW_UNAVAILABLE), "UNAVAILABLE");
	assert_string_equal(stow_code_name((enum stow_code)99), "UNKNOWN");
	for (int i = 0; i <= STOW_DATA_LOSS; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(stow_code_name((enum stow_code)i),
						stow_code_name((enum stow_code)j));
}

static void utf8_is_decoded_strictly(void **state)
{
	static const struct {
		const char *s;
		size_t len; /* 0: refused */
		uint32_t c;
	} cases[] = {
		{ "a", 1, 'a' },
		{ "\xc3\xa4", 2, 0xe4 },
		{ "\xe2\x82\xac", 3, 0x20ac },
		{ "\xf0\x9f\x90\xb3", 4, 0x1f433 },
		{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
		{ "\xef\xbf\xbf", 3, 0xffff },
		{ "\x80", 0, 0 },             /* a continuation */
		{ "\xc3", 0, 0 },             /* cut */
		{ "\xe2\x82", 0, 0 },         /* cut */
		{ "\xc3(", 0, 0 },            /* not continued */
		{ "\xc0\x80", 0, 0 },         /* overlong */
		{ "\xe0\x80\xaf", 0, 0 },     /* overlong */
		{ "\xf0\x80\x80\xaf", 0, 0 }, /* overlong */
		{ "\xed\xa0\x80", 0, 0 },     /* surrogate */
		{ "\xf4\x90\x80\x80", 0, 0 }, /* beyond the last one */
		{ "\xff", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t c = 0;

		assert_int_equal(text_decode(cases[i].s, strlen(cases[i].s), &c), cases[i].len);
		assert_int_equal(c, cases[i].c);
	}
}

static void quoting_escapes_and_cuts(void **state)
{
	char out[32];

	(void)state;
	text_quote(out, sizeof(out), "a\"b\\\n\x01\xff\x7f", 8);
	assert_string_equal(out, "\"a\\\"b\\\\\\n\\x01\\xff\\x7f\"");
	text_quote(out, sizeof(out), "\xe2\x80\xae|\xc2\x85|\xc3\xa4", 9); /* override, C1, a letter */
	assert_string_equal(out, "\"\\u202e|\\u0085|\xc3\xa4\"");
	text_quote(out, sizeof(out), NULL, 0);
	assert_string_equal(out, "\"\"");
	text_quote(out, 12, "0123456789", 10);
	assert_string_equal(out, "\"012345\"...");
	text_quote(out, 12, "012345", 6);
	assert_string_equal(out, "\"012345\"");
	text_quote(out, 8, "\n\n\n", 3);
	assert_string_equal(out, "\"\\n\"...");
}

static void text_is_cleaned(void **state)
{
	char out[8];

	(void)state;
	text_clean(out, sizeof(out), "a\n\x1b\x7f\xc3\xa4~");
	assert_string_equal(out, "a   ??~");
	text_clean(out, sizeof(out), "12345678");
	assert_string_equal(out, "1234...");
	text_clean(out, sizeof(out), "");
	assert_string_equal(out, "");
	text_clean(out, 4, "1234");
	assert_string_equal(out, "...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fail_formats),
		cmocka_unit_test(fail_cuts_at_a_character),
		cmocka_unit_test(fail_keeps_what_just_fits),
		cmocka_unit_test(fail_cuts_what_is_no_utf8),
		cmocka_unit_test(errno_has_a_code),
		cmocka_unit_test(errno_outlives_a_long_path),
		cmocka_unit_test(wrap_prepends),
		cmocka_unit_test(codes_have_names),
		cmocka_unit_test(utf8_is_decoded_strictly),
		cmocka_unit_test(quoting_escapes_and_cuts),
		cmocka_unit_test(text_is_cleaned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
