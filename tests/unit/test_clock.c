#include "content/base/clock.h"
#include "content/base/compiler.h"
#include "tests/unit/unit.h"

#include <time.h>

static void format_is_rfc3339(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000000000Z" },
		{ 1, "1970-01-01T00:00:00.000000001Z" },
		{ -1, "1969-12-31T23:59:59.999999999Z" },
		{ -NSEC_PER_SEC, "1969-12-31T23:59:59.000000000Z" },
		{ INT64_C(951782399999999999), "2000-02-28T23:59:59.999999999Z" },
		{ INT64_C(951782400000000000), "2000-02-29T00:00:00.000000000Z" },
		{ INT64_C(1795428245123456789), "2026-11-23T10:04:05.123456789Z" },
		{ INT64_MAX, "2262-04-11T23:47:16.854775807Z" },
		{ INT64_MIN, "1677-09-21T00:12:43.145224192Z" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[CLOCK_TEXT_MAX];

		clock_format(cases[i].ns, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void wall_is_the_time(void **state)
{
	int64_t before = time(NULL), now = clock_wall_ns() / NSEC_PER_SEC, after = time(NULL);

	(void)state;
	/* time() may lag behind by a tick. */
	assert_true(now >= before - 1);
	assert_true(now <= after + 1);
}

static void mono_rises_with_time(void **state)
{
	const struct timespec pause = { .tv_nsec = 5 * NSEC_PER_MSEC };
	int64_t start = clock_mono_ns(), last = start;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t now = clock_mono_ns();

		assert_true(now >= last);
		last = now;
	}
	nanosleep(&pause, NULL);
	assert_true(clock_mono_ns() - start >= 5 * NSEC_PER_MSEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(format_is_rfc3339),
		cmocka_unit_test(wall_is_the_time),
		cmocka_unit_test(mono_rises_with_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
