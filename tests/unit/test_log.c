#include "content/base/log.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

static char text[1 << 20];
static int fd;

/* What was logged since the last call, in `text`. */
static const char *logged(void)
{
	off_t len = lseek(fd, 0, SEEK_CUR);

	assert_in_range(len, 0, sizeof(text) - 1);
	assert_int_equal(pread(fd, text, (size_t)len, 0), len);
	text[len] = 0;
	assert_int_equal(ftruncate(fd, 0), 0);
	(void)lseek(fd, 0, SEEK_SET);
	return text;
}

/* The line without its time, which must look like one. */
static const char *logged_after_time(void)
{
	const char *line = logged();

	assert_int_equal(strncmp(line, "time=\"20", 8), 0);
	assert_int_equal(line[6 + 30], '"');
	assert_int_equal(line[6 + 29], 'Z');
	return line + 6 + 32;
}

static void text_is_logfmt(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_TRACE, LOG_FORMAT_TEXT);
	log_info("blob committed", LOG_S("digest", "sha256:ab"), LOG_I("size", -7));
	assert_string_equal(logged_after_time(),
			    "level=info msg=\"blob committed\" digest=sha256:ab size=-7\n");
	log_warn("plain");
	assert_string_equal(logged_after_time(), "level=warning msg=plain\n");
	log_error("x", LOG_S("a", "/run/a_b.s-k@^+:9"), LOG_S("b", "x=y"), LOG_S("c", ""),
		  LOG_I("d", INT64_MIN));
	assert_string_equal(logged_after_time(), "level=error msg=x a=/run/a_b.s-k@^+:9 b=\"x=y\" c= "
						 "d=-9223372036854775808\n");
	log_debug("d");
	assert_string_equal(logged_after_time(), "level=debug msg=d\n");
	log_trace("t");
	assert_string_equal(logged_after_time(), "level=trace msg=t\n");
}

static void text_escapes(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{ "a b", "\"a b\"" },
		{ "say \"hi\" \\", "\"say \\\"hi\\\" \\\\\"" },
		{ "x\nlevel=error msg=forged", "\"x\\nlevel=error msg=forged\"" },
		{ "\a\b\f\n\r\t\v", "\"\\a\\b\\f\\n\\r\\t\\v\"" },
		{ "\x1b[2J\x7f", "\"\\x1b[2J\\x7f\"" },
		{ "\xff\xc3", "\"\\xff\\xc3\"" },
		{ "\xc3\xa4\xf0\x9f\x90\xb3", "\"\xc3\xa4\xf0\x9f\x90\xb3\"" },
		{ "\xe2\x80\xa8\xe2\x80\xae\xc2\x9b", "\"\\u2028\\u202e\\u009b\"" },
	};

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char want[256];

		(void)snprintf(want, sizeof(want), "level=info msg=m k=%s\n", cases[i].want);
		log_info("m", LOG_S("k", cases[i].value));
		assert_string_equal(logged_after_time(), want);
	}
}

static json_t *logged_json(void)
{
	const char *line = logged();
	json_error_t error;
	json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &error);

	if (root == NULL)
		fail_msg("no JSON: %s: %s", error.text, line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	return root;
}

static void expect_member(const json_t *root, const char *key, const char *want)
{
	assert_string_equal(json_string_value(json_object_get(root, key)), want);
}

static void json_is_json(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{ "", "" },
		{ "a \"b\" \\", "a \"b\" \\" },
		{ "\a\b\f\n\r\t\v\x01\x7f\x1b", "\a\b\f\n\r\t\v\x01\x7f\x1b" },
		{ "\xc3\xa4\xf0\x9f\x90\xb3\xe2\x80\xae", "\xc3\xa4\xf0\x9f\x90\xb3\xe2\x80\xae" },
		{ "a\xff"
		  "b\xed\xa0\x80",
		  "a\xef\xbf\xbd"
		  "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};
	json_t *root;

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info("m");
	assert_non_null(strstr(logged(), "\",\"level\":\"info\",\"msg\":\"m\"}\n"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		log_warn(cases[i].value, LOG_S("k", cases[i].value), LOG_I("n", INT64_MAX));
		root = logged_json();
		assert_int_equal(json_object_size(root), 5);
		assert_int_equal(strlen(json_string_value(json_object_get(root, "time"))), 30);
		expect_member(root, "level", "warning");
		expect_member(root, "msg", cases[i].want);
		expect_member(root, "k", cases[i].want);
		assert_int_equal(json_integer_value(json_object_get(root, "n")), INT64_MAX);
		json_decref(root);
	}
}

/* Every length around the cap: in JSON, the line parses; in both, it ends and says that it was cut. */
static void long_lines_are_cut(void **state)
{
	static const char *const units[] = { "a", "\n", "\xff", "\xf0\x9f\x90\xb3", "\xe2\x80\xae" };
	CLEANUP(freep) char *value = x_calloc(1, 20000);

	(void)state;
	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		size_t width = strlen(units[u]);

		for (size_t i = 0; i < 9000; i += width)
			memcpy(value + i, units[u], width);
		for (size_t len = 8050; len < 8200; len++) {
			const char *line;
			json_t *root;

			log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
			log_info("m", LOG_S("k", value + 9000 - len), LOG_I("n", 123456), LOG_S("z", "end"));
			root = logged_json();
			assert_true(strlen(text) <= 8192);
			expect_member(root, "msg", "m");
			json_decref(root);

			log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
			log_info("m", LOG_S("k", value + 9000 - len), LOG_I("n", 123456), LOG_S("z", "end"));
			line = logged();
			assert_true(strlen(line) <= 8192);
			assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
			if (len > 8190)
				assert_non_null(strstr(line, "..."));
		}
	}
	memset(value, 'a', 19999);
	log_info(value);
	assert_int_equal(strlen(logged()), 8192 - 8 + 3 + 1); /* full, the dots and the end */
}

static void level_is_a_threshold(void **state)
{
	(void)state;
	for (int set = LOG_LEVEL_TRACE; set <= LOG_LEVEL_ERROR; set++) {
		log_setup((enum log_level)set, LOG_FORMAT_TEXT);
		for (int at = LOG_LEVEL_TRACE; at <= LOG_LEVEL_ERROR; at++) {
			assert_int_equal(log_enabled((enum log_level)at), at >= set);
			LOG_AT((enum log_level)at, "m");
			assert_int_equal(strlen(logged()) > 0, at >= set);
		}
	}
}

static void errno_is_left_alone(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_to_fd(-1); /* every write fails */
	errno = ENOTTY;
	log_info("m");
	assert_int_equal(errno, ENOTTY);
	log_to_fd(fd);
}

static void *log_many(void *arg)
{
	char value[6001]; /* more than a pipe keeps together */

	memset(value, *(const char *)arg, sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	for (int i = 0; i < 200; i++)
		log_info("m", LOG_S("k", value));
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	static const char letters[] = "abcd";
	pthread_t threads[4];
	int pipe_fd[2], lines = 0;
	size_t len;
	char line[10000];
	FILE *in;

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_int_equal(pipe(pipe_fd), 0);
	log_to_fd(pipe_fd[1]);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, (void *)(uintptr_t)&letters[i]),
				 0);
	in = fdopen(pipe_fd[0], "r");
	assert_non_null(in);
	for (; lines < 4 * 200; lines++) {
		const char *value;

		assert_non_null(fgets(line, sizeof(line), in));
		value = strstr(line, " k=");
		assert_non_null(value);
		value += 3;
		len = strspn(value, (const char[]){ value[0], 0 });
		assert_int_equal(len, 6000);
		assert_string_equal(value + len, "\n");
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	log_to_fd(fd);
	(void)fclose(in);
	(void)close(pipe_fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_logfmt),
		cmocka_unit_test(text_escapes),
		cmocka_unit_test(json_is_json),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(level_is_a_threshold),
		cmocka_unit_test(errno_is_left_alone),
		cmocka_unit_test(lines_of_threads_do_not_mix),
	};

	fd = memfd_create("log", MFD_CLOEXEC);
	if (fd < 0)
		return 1;
	log_to_fd(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
