/* Names that may become a part of a path, or of an object's key. */
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/unit/unit.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void records_are_stages_or_digests(void **state)
{
	static const char *const good[] = { "0123456789abcdef", "sha256-" HEX64, "sha512-" HEX64 HEX64 };
	static const char *const bad[] = {
		"",           "0123456789abcde",   "0123456789abcdeF", "0123456789abcdef0",
		"sha256-",    "sha256-" HEX64 "0", "sha512-" HEX64,    "sha256:" HEX64,
		"md5-" HEX64, "-" HEX64,           "sha256-../" HEX64, "../0123456789abc",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(strlen(good[i]) < SENDING_RECORD_MAX);
		if (!sending_record_ok(good[i]))
			fail_msg("%s was refused", good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (sending_record_ok(bad[i]))
			fail_msg("%s was taken", bad[i]);
}

static void notes_are_clean_paths(void **state)
{
	static const char *const good[] = { "a", "gc/marks", "nodes/Host-1.b_2", "a/b/c" };
	static const char *const bad[] = { "",     "/",    "/a",   "a/",  "a//b", ".",    "..",
					   "../a", "a/..", "a/.b", "a b", "a\n",  "a%2f", "\xc3\xa4" };
	char name[NOTE_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!note_name_ok(good[i]))
			fail_msg("%s was refused", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (note_name_ok(bad[i]))
			fail_msg("\"%s\" was taken", bad[i]);
	memset(name, 'n', sizeof(name));
	name[NOTE_NAME_MAX + 1] = '\0';
	assert_false(note_name_ok(name));
	name[NOTE_NAME_MAX] = '\0';
	assert_true(note_name_ok(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_stages_or_digests),
		cmocka_unit_test(notes_are_clean_paths),
	};

	return cmocka_run_group_tests_name("behind", tests, NULL, NULL);
}
