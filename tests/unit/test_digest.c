#include "content/base/digest.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#define HEX32 "00112233445566778899aabbccddeeff"
#define HEX64 HEX32 HEX32
#define HEX96 HEX64 HEX32
#define HEX128 HEX64 HEX64

static void parse_and_format_are_inverse(void **state)
{
	static const struct {
		const char *text;
		enum digest_alg alg;
		size_t len;
	} cases[] = {
		{ "sha256:" HEX64, DIGEST_SHA256, 32 },
		{ "sha384:" HEX96, DIGEST_SHA384, 48 },
		{ "sha512:" HEX128, DIGEST_SHA512, 64 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *hex = strchr(cases[i].text, ':') + 1;
		char text[DIGEST_STR_MAX], bare[DIGEST_HEX_MAX];
		struct digest d, same;
		struct stow_err err;

		assert_int_equal(digest_parse(&d, cases[i].text, strlen(cases[i].text), &err), 0);
		assert_true(digest_is_set(&d));
		assert_int_equal(d.alg, cases[i].alg);
		assert_int_equal(d.len, cases[i].len);
		assert_int_equal(d.b[1], 0x11);
		assert_int_equal(d.b[15], 0xff);
		for (size_t j = d.len; j < sizeof(d.b); j++)
			assert_int_equal(d.b[j], 0);
		digest_format(&d, text);
		assert_string_equal(text, cases[i].text);
		digest_format_hex(&d, bare);
		assert_string_equal(bare, hex);
		assert_int_equal(digest_parse_hex(&same, cases[i].alg, hex, strlen(hex), &err), 0);
		assert_true(digest_equal(&d, &same));
	}
}

static void expect_refused(const char *s, size_t n, const char *message)
{
	static const struct digest untouched = { .alg = 77 };
	struct digest d = untouched;
	struct stow_err err = { 0 };

	assert_int_equal(digest_parse(&d, s, n, &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	assert_string_equal(err.msg, message);
	assert_memory_equal(&d, &untouched, sizeof(d));
}

static void parse_says_what_is_wrong(void **state)
{
	(void)state;
	expect_refused("", 0, "digest \"\": no algorithm, expected <algorithm>:<hex>");
	expect_refused(HEX32, 32, "digest \"" HEX32 "\": no algorithm, expected <algorithm>:<hex>");
	expect_refused("md5:" HEX32, 36,
		       "digest \"md5:" HEX32
		       "\": unknown algorithm \"md5\", expected sha256, sha384 or sha512");
	expect_refused(":" HEX64, 65,
		       "digest \":" HEX64 "\": unknown algorithm \"\", expected sha256, sha384 or sha512");
	expect_refused(
		"SHA256:ab", 9,
		"digest \"SHA256:ab\": unknown algorithm \"SHA256\", expected sha256, sha384 or sha512");
	expect_refused("sha256:XY", 9, "digest \"sha256:XY\": 2 hex digits, expected 64");
	expect_refused("sha256:", 7, "digest \"sha256:\": 0 hex digits, expected 64");
	expect_refused("sha512:" HEX64, 71, "digest \"sha512:" HEX64 "\": 64 hex digits, expected 128");
	expect_refused("sha256:" HEX64 "0", 72, "digest \"sha256:" HEX64 "0\": 65 hex digits, expected 64");
	expect_refused("sha256:" HEX32 "0011223344556677889AaAbbccddeeff", 71,
		       "digest \"sha256:" HEX32 "0011223344556677889AaAbbccddeeff\": "
		       "\"A\" is no lower-case hex digit, expected 64 of them");
	/* A NUL ends nothing: there are 64 bytes, and one of them is no digit. */
	expect_refused("sha256:" HEX32 "00112233445566778899aabbccddeef\0", 71,
		       "digest \"sha256:" HEX32 "00112233445566778899aabbccddeef\\x00\": "
		       "\"\\x00\" is no lower-case hex digit, expected 64 of them");
}

static void parse_shows_garbage_harmlessly(void **state)
{
	CLEANUP(freep) char *garbage = x_malloc(100000);
	struct stow_err err;
	struct digest d;

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		garbage[i] = (char)(i * 7);
	assert_int_equal(digest_parse(&d, garbage, 100000, &err), -1);
	assert_true(strlen(err.msg) < 400);
	for (const char *p = err.msg; *p != 0; p++)
		assert_in_range(*p, 0x20, 0x7e);
	/* The end, which says what was expected, is there. */
	assert_non_null(strstr(err.msg, "expected"));
}

static void order_and_key(void **state)
{
	struct digest a = { .alg = DIGEST_SHA256, .len = 32 }, b = a, c = a;

	(void)state;
	b.b[31] = 1;
	c.alg = DIGEST_SHA384;
	c.len = 48;
	assert_true(digest_compare(&a, &b) < 0);
	assert_true(digest_compare(&b, &a) > 0);
	assert_int_equal(digest_compare(&a, &a), 0);
	assert_true(digest_compare(&b, &c) < 0); /* the algorithm first */
	assert_true(digest_compare(&c, &b) > 0);
	assert_false(digest_equal(&a, &b));
	assert_false(digest_equal(&a, &c));
	assert_true(digest_equal(&a, &a));
	/* Every byte counts, the last as well as the first. */
	assert_true(digest_key(&a) != digest_key(&b));
	assert_true(digest_key(&a) != digest_key(&c));
	assert_true(digest_key(&a) == digest_key(&a));
}

static void unset_formats_as_nothing(void **state)
{
	struct digest d = { 0 };
	char text[DIGEST_STR_MAX] = "x";

	(void)state;
	assert_false(digest_is_set(&d));
	digest_format(&d, text);
	assert_string_equal(text, "");
}

static void algorithms_have_names(void **state)
{
	(void)state;
	assert_null(digest_alg_name(DIGEST_NONE));
	for (int i = DIGEST_SHA256; i < DIGEST_ALG_COUNT; i++) {
		const char *name = digest_alg_name((enum digest_alg)i);

		assert_int_equal(digest_alg_find(name, strlen(name)), i);
		assert_int_equal(digest_alg_find(name, strlen(name) - 1), DIGEST_NONE);
		assert_int_equal(digest_alg_find(name, strlen(name) + 1), DIGEST_NONE);
	}
	assert_int_equal(digest_alg_len(DIGEST_SHA384), 48);
	assert_int_equal(digest_alg_find("", 0), DIGEST_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_and_format_are_inverse),   cmocka_unit_test(parse_says_what_is_wrong),
		cmocka_unit_test(parse_shows_garbage_harmlessly), cmocka_unit_test(order_and_key),
		cmocka_unit_test(unset_formats_as_nothing),       cmocka_unit_test(algorithms_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
