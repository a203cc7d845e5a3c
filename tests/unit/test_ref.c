#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ref.h"
#include "tests/unit/unit.h"

/* cmocka.h wants these first */
#include <cmocka.h>
#include <setjmp.h>
#include <stdarg.h>

#define HEX "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
#define SHA256 "sha256:" HEX
#define SHA512 "sha512:" HEX HEX

static int check(const char *ref, size_t n, const char *message)
{
	struct stow_err err = { 0 };

	if (ref_check(ref, n, &err) == 0)
		return 0;
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	if (message != NULL && strstr(err.msg, message) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", message, err.msg);
	return -1;
}
#define CHECK(ref, message) check(ref, sizeof(ref) - 1, message)

static void refs_that_are_fine(void **state UNUSED)
{
	assert_int_equal(CHECK("x", NULL), 0);
	assert_int_equal(CHECK("default/12/layer-" SHA256, NULL), 0);
	assert_int_equal(CHECK("../../etc/passwd", NULL), 0); /* it is no file name */
	assert_int_equal(CHECK("a\nb\t\x7f", NULL), 0);
	assert_int_equal(CHECK("h\xc3\xa9 \xe7\x89\x9b \xf0\x9f\x90\x84 \xef\xbf\xbd", NULL), 0);
	assert_int_equal(CHECK("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", NULL), 0); /* next to the gaps */
}

static void refs_that_are_not(void **state UNUSED)
{
	assert_int_equal(CHECK("", "ref is empty"), -1);
	assert_int_equal(CHECK("a\0b", "ref \"a\\x00b\" holds a NUL at byte 1"), -1);
	assert_int_equal(CHECK("ab\xff", "ref \"ab\\xff\" is not valid UTF-8 at byte 2"), -1);
	assert_int_equal(CHECK("\x80", "UTF-8"), -1);
	assert_int_equal(CHECK("a\xc3", "UTF-8 at byte 1"), -1);
	assert_int_equal(CHECK("\xe7\x89", "UTF-8"), -1);
	assert_int_equal(CHECK("\xc0\x80", "UTF-8"), -1);
	assert_int_equal(CHECK("\xc1\xbf", "UTF-8"), -1);
	assert_int_equal(CHECK("\xe0\x9f\xbf", "UTF-8"), -1);
	assert_int_equal(CHECK("\xf0\x8f\xbf\xbf", "UTF-8"), -1);
	assert_int_equal(CHECK("\xed\xa0\x80", "UTF-8"), -1);
	assert_int_equal(CHECK("\xf4\x90\x80\x80", "UTF-8"), -1);
	assert_int_equal(CHECK("\xf8\x88\x80\x80\x80", "UTF-8"), -1);
}

static void length(void **state UNUSED)
{
	char ref[LIMIT_REF + 1];

	memset(ref, 'r', sizeof(ref));
	assert_int_equal(check(ref, LIMIT_REF, NULL), 0);
	assert_int_equal(check(ref, LIMIT_REF + 1, "has 4097 bytes, at most 4096"), -1);
}

static void only_the_given_bytes(void **state UNUSED)
{
	assert_int_equal(check("ab\xff", 2, NULL), 0);
	assert_int_equal(check("a\xc3\xa9", 2, "UTF-8"), -1); /* cut */
}

static void guesses(void **state UNUSED)
{
	static const struct {
		const char *ref, *digest;
	} good[] = {
		{ "default/12/layer-" SHA256, SHA256 },         { "default/1/manifest-" SHA256, SHA256 },
		{ "k8s.io/4294967296/config-" SHA256, SHA256 }, { "a_b-c.d/0/my-own-kind2-" SHA256, SHA256 },
		{ "default/12/layer-" SHA512, SHA512 },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char text[DIGEST_STR_MAX];
		struct digest d;
		assert_true(ref_guess_digest(good[i].ref, &d));
		digest_format(&d, text);
		assert_string_equal(text, good[i].digest);
	}
}

static void no_guesses(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		SHA256,
		"layer-" SHA256,
		"12/layer-" SHA256,
		"default/layer-" SHA256,
		"default/x/layer-" SHA256,
		"default//layer-" SHA256,
		"/12/layer-" SHA256,
		"de fault/12/layer-" SHA256,
		"default/-12/layer-" SHA256,
		"default/12/" SHA256,
		"default/12/-" SHA256,
		"default/12/layer" SHA256,
		"default/12/la yer-" SHA256,
		"default/12/layer-name@" SHA256,
		"default/12/x/layer-" SHA256,
		"default/12/layer-" SHA256 "0",
		"default/12/layer-" SHA256 "-",
		"default/12/layer-" SHA256 "/",
		"default/12/layer-sha256:",
		"default/12/layer-md5:d41d8cd98f00b204e9800998ecf8427e",
		"default/12/layer-SHA256:" HEX,
		"default/12/layer-sha512:" HEX,
		"default/12/layer-",
		"default/12/layer",
		"default/12/-",
		"default/12/",
		"default/12",
		"default/",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct digest d = { .alg = DIGEST_SHA384 };
		if (ref_guess_digest(bad[i], &d))
			fail_msg("guessed from %s", bad[i]);
		assert_int_equal(d.alg, DIGEST_SHA384); /* out-parameters change on success only */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refs_that_are_fine),
		cmocka_unit_test(refs_that_are_not),
		cmocka_unit_test(length),
		cmocka_unit_test(only_the_given_bytes),
		cmocka_unit_test(guesses),
		cmocka_unit_test(no_guesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
