#include "conf/parse.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "1048576", 1048576 },
		{ "512B", 512 },
		{ "1KiB", 1024 },
		{ "1KB", 1000 },
		{ "1kB", 1000 },
		{ "10MB", 10000000 },
		{ "64MiB", 64 << 20 },
		{ "10GB", INT64_C(10000000000) },
		{ "10GiB", INT64_C(10737418240) },
		{ "3TB", INT64_C(3000000000000) },
		{ "8388607TiB", INT64_C(9223370937343148032) },
		{ "9223372036854775807", INT64_MAX },
	};
	static const char *const bad[] = {
		"",     "B",    "-1",     "+1",  " 1",   "1 ",  "1 MiB", "1.5GiB", "10G",
		"10gb", "10XB", "10MiBs", "1e3", "0x10", "MiB", "10%",   "10%s",   "1MiB1",
	};
	static const char *const large[] = {
		"9223372036854775808",
		"8388608TiB",
		"99999999999999999999GiB",
		"9223372036854775807KB",
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		int64_t bytes = -1;
		assert_int_equal(conf_parse_size(good[i].text, &bytes, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t bytes = -7;
		assert_int_equal(conf_parse_size(bad[i], &bytes, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_int_equal(bytes, -7);
	}
	for (size_t i = 0; i < ARRAY_LEN(large); i++) {
		int64_t bytes = -7;
		assert_int_equal(conf_parse_size(large[i], &bytes, &err), -1);
		assert_int_equal(err.code, STOW_OUT_OF_RANGE);
		assert_int_equal(bytes, -7);
	}
	assert_int_equal(conf_parse_size("10G", &(int64_t){ 0 }, &err), -1);
	assert_string_equal(
		err.msg, "\"10G\" is not a size, expected a number of bytes such as \"64MiB\" or \"10GB\"");
}

static void shares(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes, percent;
	} good[] = {
		{ "0", 0, 0 },
		{ "0%", 0, 0 },
		{ "20%", 0, 20 },
		{ "007%", 0, 7 },
		{ "50GiB", 50LL << 30, 0 },
		{ "9223372036854775807%", 0, INT64_MAX },
	};
	static const char *const bad[] = { "", "%", "20 %", "20%%", "-1%", "1.5%", "%20", "20GiB%", "GiB" };
	static const char *const large[] = { "9223372036854775808%", "9223372036854775808", "9000000TiB" };
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		int64_t bytes = -1, percent = -1;
		assert_int_equal(conf_parse_share(good[i].text, &bytes, &percent, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
		assert_int_equal(percent, good[i].percent);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t bytes = -7, percent = -7;
		assert_int_equal(conf_parse_share(bad[i], &bytes, &percent, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_true(bytes == -7 && percent == -7);
	}
	for (size_t i = 0; i < ARRAY_LEN(large); i++) {
		int64_t bytes = -7, percent = -7;
		assert_int_equal(conf_parse_share(large[i], &bytes, &percent, &err), -1);
		assert_int_equal(err.code, STOW_OUT_OF_RANGE);
		assert_true(bytes == -7 && percent == -7);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{ "0s", 0 },
		{ "0", 0 },
		{ "1ns", 1 },
		{ "7us", 7000 },
		{ "500ms", 500 * NSEC_PER_MSEC },
		{ "30s", 30 * NSEC_PER_SEC },
		{ "5m", 300 * NSEC_PER_SEC },
		{ "24h", 86400 * NSEC_PER_SEC },
		{ "1h30m", 5400 * NSEC_PER_SEC },
		{ "1h1m1s1ms1us1ns", 3661 * NSEC_PER_SEC + 1001001 },
		{ "90m", 5400 * NSEC_PER_SEC },
		{ "2562047h47m16s854ms775us807ns", INT64_MAX },
	};
	static const char *const bad[] = { "",     "00",   "30",    "s",     "30 s", " 30s",
					   "30s ", "-30s", "1.5h",  "1d",    "1H",   "30m1h",
					   "1h1h", "1h30", "1h 1m", "30sec", "1ms1m" };
	static const char *const large[] = { "2562047h47m16s854ms775us808ns", "2562048h",
					     "9223372036854775808ns", "9999999999999999999h" };
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		int64_t ns = -1;
		assert_int_equal(conf_parse_duration(good[i].text, &ns, &err), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t ns = -7;
		assert_int_equal(conf_parse_duration(bad[i], &ns, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_int_equal(ns, -7);
	}
	for (size_t i = 0; i < ARRAY_LEN(large); i++) {
		int64_t ns = -7;
		assert_int_equal(conf_parse_duration(large[i], &ns, &err), -1);
		assert_int_equal(err.code, STOW_OUT_OF_RANGE);
		assert_int_equal(ns, -7);
	}
}

static void formats_read_back(void **state)
{
	static const int64_t numbers[] = { 0,
					   1,
					   999,
					   1000,
					   1023,
					   1024,
					   1025,
					   1 << 20,
					   INT32_MAX,
					   64 << 20,
					   3600000000,
					   86400,
					   NSEC_PER_SEC,
					   INT64_MAX,
					   INT64_C(1) << 40,
					   INT64_C(1) << 62 };
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		char text[CONF_TEXT_MAX];
		int64_t n = -1;
		conf_format_size(numbers[i], text);
		assert_int_equal(conf_parse_size(text, &n, &err), 0);
		assert_int_equal(n, numbers[i]);
		conf_format_duration(numbers[i], text);
		assert_int_equal(conf_parse_duration(text, &n, &err), 0);
		assert_int_equal(n, numbers[i]);
	}
}

static void formats_are_short(void **state)
{
	char text[CONF_TEXT_MAX];

	(void)state;
	conf_format_size(64 << 20, text);
	assert_string_equal(text, "64MiB");
	conf_format_size(1536, text);
	assert_string_equal(text, "1536B");
	conf_format_size(1500 * 1024, text);
	assert_string_equal(text, "1500KiB");
	conf_format_duration(86400 * NSEC_PER_SEC, text);
	assert_string_equal(text, "24h");
	conf_format_duration(5400 * NSEC_PER_SEC, text);
	assert_string_equal(text, "1h30m");
	conf_format_duration(500 * NSEC_PER_MSEC, text);
	assert_string_equal(text, "500ms");
	conf_format_duration(0, text);
	assert_string_equal(text, "0s");
}

static void modes(void **state)
{
	static const char *const bad[] = { "",      "0",     "66",    "0999",  "0668", "1660", "00660",
					   "0660 ", "-0660", "0o660", "rw-rw", "7777", "0x1b0" };
	struct stow_err err;
	mode_t mode = 1;

	(void)state;
	assert_int_equal(conf_parse_mode("0660", &mode, &err), 0);
	assert_int_equal(mode, 0660);
	assert_int_equal(conf_parse_mode("600", &mode, &err), 0);
	assert_int_equal(mode, 0600);
	assert_int_equal(conf_parse_mode("0777", &mode, &err), 0);
	assert_int_equal(mode, 0777);
	assert_int_equal(conf_parse_mode("000", &mode, &err), 0);
	assert_int_equal(mode, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		mode = 0123;
		assert_int_equal(conf_parse_mode(bad[i], &mode, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_int_equal(mode, 0123);
	}
}

static void integers(void **state)
{
	static const char *const bad[] = { "", "-", "--1", "+1", "1.0", "0x1", "1 ", " 1", "one", "1_000" };
	struct stow_err err;
	int64_t n = 0;

	(void)state;
	assert_int_equal(conf_parse_integer("-1", &n, &err), 0);
	assert_int_equal(n, -1);
	assert_int_equal(conf_parse_integer("9223372036854775807", &n, &err), 0);
	assert_int_equal(n, INT64_MAX);
	assert_int_equal(conf_parse_integer("9223372036854775808", &n, &err), -1);
	assert_int_equal(err.code, STOW_OUT_OF_RANGE);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		n = 5;
		assert_int_equal(conf_parse_integer(bad[i], &n, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_int_equal(n, 5);
	}
}

static void paths(void **state)
{
	static const char *const bad[] = { "",          "relative",      "./x",
					   "/a\nb",     "/a\x7f",        "/a\x80",
					   "/\xc0\xaf", "/\xed\xa0\x80", "/\xf4\x90\x80\x80" };
	struct stow_err err;
	char *path = NULL;
	char longest[4097];

	(void)state;
	assert_int_equal(conf_parse_path("/srv/\xc3\xa4 b", &path, &err), 0);
	assert_string_equal(path, "/srv/\xc3\xa4 b");
	free(path);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		path = NULL;
		assert_int_equal(conf_parse_path(bad[i], &path, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_null(path);
	}
	memset(longest, '/', sizeof(longest));
	longest[4096] = 0;
	assert_int_equal(conf_parse_path(longest, &path, &err), -1);
	assert_int_equal(err.code, STOW_OUT_OF_RANGE);
	longest[4095] = 0;
	assert_int_equal(conf_parse_path(longest, &path, &err), 0);
	free(path);
}

static void addresses(void **state)
{
	static const struct {
		const char *text, *address;
	} good[] = {
		{ "/run/stowage/stowage.sock", "/run/stowage/stowage.sock" },
		{ "unix:///run/x.sock", "/run/x.sock" },
		{ "fd://", "fd://" },
	};
	static const char *const bad[] = {
		"",    "x.sock",       "unix://x.sock", "unix://", "unix:/x",      "fd://3",
		"fd:", "tcp://[::]:1", "127.0.0.1:80",  "/run/\n", "unix://fd://",
	};
	struct stow_err err;
	char *address = NULL;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(conf_parse_address(good[i].text, &address, &err), 0);
		assert_string_equal(address, good[i].address);
		free(address);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		address = NULL;
		assert_int_equal(conf_parse_address(bad[i], &address, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_null(address);
	}
	/* The scheme does not count: 107 bytes of path fit, 108 do not. */
	snprintf(text, sizeof(text), "unix:///%0106d", 0);
	assert_int_equal(conf_parse_address(text, &address, &err), 0);
	assert_int_equal(strlen(address), 107);
	free(address);
	snprintf(text, sizeof(text), "/%0107d", 0);
	assert_int_equal(conf_parse_address(text, &address, &err), -1);
	assert_int_equal(err.code, STOW_OUT_OF_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(shares),
		cmocka_unit_test(durations),
		cmocka_unit_test(formats_read_back),
		cmocka_unit_test(formats_are_short),
		cmocka_unit_test(modes),
		cmocka_unit_test(integers),
		cmocka_unit_test(paths),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests_name("conf_parse", tests, NULL, NULL);
}
