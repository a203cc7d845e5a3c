/* Usage: test_conf [SOURCE_ROOT]: where conf/config.toml.example is. */
#include "conf/conf.h"
#include "conf/conf_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/conf_env.h"

#include <stdio.h>

static const char *source_root = ".";

static void defaults(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&(struct conf_sources){ 0 });
	assert_int_equal(c->version, 1);
	assert_string_equal(c->root, "/var/lib/stowage");
	assert_int_equal(c->stale_ingest_after, 24 * 3600 * NSEC_PER_SEC);
	assert_string_equal(c->grpc.address, "/run/stowage/stowage.sock");
	assert_int_equal(c->grpc.mode, 0660);
	assert_int_equal(c->grpc.uid, (uid_t)-1);
	assert_int_equal(c->grpc.gid, (gid_t)-1);
	assert_int_equal(c->grpc.max_message_size, 64 << 20);
	assert_int_equal(c->grpc.drain_timeout, 10 * NSEC_PER_SEC);
	assert_int_equal(c->grpc.threads, 1);
	assert_int_equal(c->grpc.busy_poll, 100000);
	assert_int_equal(c->workers.threads, 0);
	assert_int_equal(c->log.level, LOG_LEVEL_INFO);
	assert_int_equal(c->log.format, LOG_FORMAT_TEXT);
	assert_string_equal(c->local.path, "/var/lib/stowage");
	assert_int_equal(c->n_files, 0);
}

static void every_key_is_read(void **state)
{
	(void)state;
	conf_env_put(
		"config.toml",
		"version = 1\nroot = '/r'\nstale_ingest_after = '1h30m'\n"
		"[grpc]\naddress = 'unix:///a.sock'\nmode = '0600'\nuid = 1000\ngid = 4294967294\n"
		"max_message_size = 1048576\ndrain_timeout = '0s'\nthreads = 3\nbusy_poll = '1ms'\n"
		"[workers]\nthreads = 9\n[log]\nlevel = 'trace'\nformat = 'json'\n[local]\npath = '/l'\n");
	const struct conf_sources src = { .file = conf_env_file() };
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&src);
	assert_string_equal(c->root, "/r");
	assert_int_equal(c->stale_ingest_after, 5400 * NSEC_PER_SEC);
	assert_string_equal(c->grpc.address, "/a.sock");
	assert_int_equal(c->grpc.mode, 0600);
	assert_int_equal(c->grpc.uid, 1000);
	assert_int_equal(c->grpc.gid, 4294967294);
	assert_int_equal(c->grpc.max_message_size, 1 << 20);
	assert_int_equal(c->grpc.drain_timeout, 0);
	assert_int_equal(c->grpc.threads, 3);
	assert_int_equal(c->grpc.busy_poll, NSEC_PER_MSEC);
	assert_int_equal(c->workers.threads, 9);
	assert_int_equal(c->log.level, LOG_LEVEL_TRACE);
	assert_int_equal(c->log.format, LOG_FORMAT_JSON);
	assert_string_equal(c->local.path, "/l");
	assert_int_equal(c->n_files, 1);
	assert_string_equal(c->files[0], conf_env_file());
}

static void other_spellings(void **state)
{
	(void)state;
	/* Dotted keys, inline tables, and the other name of the text format. */
	conf_env_put("config.toml",
		     "grpc.mode = '0640'\nlog = { level = 'warn', format = 'logfmt' }\nroot = '/r'\n");
	const struct conf_sources src = { .file = conf_env_file() };
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&src);
	assert_int_equal(c->grpc.mode, 0640);
	assert_int_equal(c->log.level, LOG_LEVEL_WARN);
	assert_int_equal(c->log.format, LOG_FORMAT_TEXT);
	/* What follows from another key. */
	assert_string_equal(c->local.path, "/r");
}

static void stronger_sources_win(void **state)
{
	const char *environment[] = { "PATH=/bin", "STOWAGE_GRPC_MODE=0604", "STOWAGE_ROOT=/env", "STOWAGE",
				      NULL };
	const struct conf_override overrides[] = { { "root", "/flag", "--root" } };
	struct conf_sources src = { .file = conf_env_file() };

	(void)state;
	conf_env_put("config.toml", "root = '/file'\nstale_ingest_after = '1h'\n"
				    "[grpc]\nmode = '0601'\ndrain_timeout = '1s'\n[log]\nlevel = 'debug'");
	conf_env_put("conf.d/20.toml", "root = '/20'\ngrpc.mode = '0603'\n");
	conf_env_put("conf.d/10.toml", "root = '/10'\ngrpc = { mode = '0602', drain_timeout = '2s' }\n");
	conf_env_put("conf.d/.30.toml", "root = '/hidden'\n");
	conf_env_put("conf.d/30.toml.orig", "root = '/other'\n");
	conf_env_put("conf.d/.toml", "root = '/nothing'\n");

	struct conf *c = conf_env_load(&src);
	assert_string_equal(c->root, "/20");
	assert_int_equal(c->stale_ingest_after, 3600 * NSEC_PER_SEC);
	assert_int_equal(c->grpc.mode, 0603);
	assert_int_equal(c->grpc.drain_timeout, 2 * NSEC_PER_SEC);
	assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->n_files, 3);
	assert_string_equal(c->files[1] + strlen(conf_env_dir), "/conf.d/10.toml");
	assert_string_equal(c->files[2] + strlen(conf_env_dir), "/conf.d/20.toml");
	conf_free(c);

	src.environment = environment;
	c = conf_env_load(&src);
	assert_string_equal(c->root, "/env");
	assert_int_equal(c->grpc.mode, 0604);
	conf_free(c);

	src.overrides = overrides;
	src.n_overrides = ARRAY_LEN(overrides);
	c = conf_env_load(&src);
	assert_string_equal(c->root, "/flag");
	assert_string_equal(c->local.path, "/flag");
	assert_int_equal(c->grpc.mode, 0604);
	conf_free(c);
}

static void the_file_that_is_named_counts(void **state)
{
	char variable[128], other[128];
	const char *environment[] = { variable, NULL };
	struct conf_sources src = { .default_file = conf_env_file(), .environment = environment };
	struct conf_errors errors;
	struct conf *c;

	(void)state;
	conf_env_put("other.toml", "root = '/other'\n");
	snprintf(variable, sizeof(variable), "STOWAGE_CONFIG=%s/other.toml", conf_env_dir);
	snprintf(other, sizeof(other), "%s/missing.toml", conf_env_dir);

	/* The variable before the default, the flag before the variable. */
	c = conf_env_load(&src);
	assert_string_equal(c->root, "/other");
	conf_free(c);
	src.file = other;
	conf_env_refuse(&src, &errors);
	conf_env_expect(&errors,
			(const char *[]){ "missing.toml: cannot be read: No such file or directory" }, 1);

	/* An empty variable names nothing, and the default may be missing; not so what is beside it. */
	src.file = NULL;
	snprintf(variable, sizeof(variable), "STOWAGE_CONFIG=");
	conf_env_put("conf.d/1.toml", "root = '/d'\n");
	c = conf_env_load(&src);
	assert_string_equal(c->root, "/d");
	assert_int_equal(c->n_files, 1);
	conf_free(c);

	snprintf(variable, sizeof(variable), "STOWAGE_CONFIG=%s/none.toml", conf_env_dir);
	conf_env_refuse(&src, &errors);
	conf_env_expect(&errors, (const char *[]){ "none.toml: cannot be read: No such file or directory" },
			1);
}

static void unreadable_files(void **state)
{
	const struct conf_sources src = { .file = conf_env_dir };
	struct conf_errors errors;
	char *large = x_malloc(300 * 1024);

	(void)state;
	conf_env_refuse(&src, &errors);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.line[0] + strlen(conf_env_dir), ": cannot be read: Is a directory");

	memset(large, '\n', 300 * 1024);
	conf_env_put_bytes("config.toml", large, 300 * 1024);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	conf_env_expect(&errors,
			(const char *[]){ "config.toml: cannot be read: the file is larger than 256 KiB" },
			1);
	conf_env_put_bytes("config.toml", large, 256 * 1024);
	conf_free(conf_env_load(&(struct conf_sources){ .file = conf_env_file() }));
	free(large);

	conf_env_put("conf.d", "");
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	conf_env_expect(&errors, (const char *[]){ "conf.d: cannot be read: Not a directory" }, 1);
}

static void wrong_values(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "version = 2", "config.toml:1: version: 2 is not known, expected 1" },
		{ "version = '1'", "config.toml:1: version: expected an integer, found a string" },
		{ "\nroot = 'lib'", "config.toml:2: root: \"lib\" is not an absolute path" },
		{ "root = ''", "config.toml:1: root: \"\" is not an absolute path" },
		{ "root = \"/a\\u0000b\"", "config.toml:1: root: the string has a NUL in it" },
		{ "root = \"/a\\nb\"", "config.toml:1: root: \"/a\\nb\" has a control character in it" },
		{ "root = 1", "config.toml:1: root: expected a string, found an integer" },
		{ "root = 1.5", "config.toml:1: root: expected a string, found a float" },
		{ "root = true", "config.toml:1: root: expected a string, found a boolean" },
		{ "root = 2026-11-23", "config.toml:1: root: expected a string, found a date or time" },
		{ "root = ['/a']", "config.toml:1: root: expected a string, found an array" },
		{ "[root]\na = 1", "config.toml:1: root: expected a string, found a table" },
		{ "grpc = 'x'", "config.toml:1: grpc: expected a table, found a string" },
		{ "[[grpc]]\nmode = '0660'", "config.toml:1: grpc: expected a table, found an array" },
		{ "[grpc]\nmode = '0999'", "config.toml:2: grpc.mode: \"0999\" is not a file mode, expected "
					   "an octal string such as \"0660\"" },
		{ "[grpc]\nmode = 660",
		  "config.toml:2: grpc.mode: expected an octal string such as \"0660\", found an integer" },
		{ "[grpc]\nuid = -2",
		  "config.toml:2: grpc.uid: -2 is out of range, expected -1 to 4294967294" },
		{ "[grpc]\ngid = 4294967295",
		  "config.toml:2: grpc.gid: 4294967295 is out of range, expected -1 to 4294967294" },
		{ "[grpc]\nmax_message_size = 1048575", "config.toml:2: grpc.max_message_size: 1048575 is "
							"out of range, expected 1MiB to 2147483647B" },
		{ "[grpc]\nmax_message_size = '2GiB'", "config.toml:2: grpc.max_message_size: 2GiB is out of "
						       "range, expected 1MiB to 2147483647B" },
		{ "[grpc]\nmax_message_size = true", "config.toml:2: grpc.max_message_size: expected a size "
						     "such as \"64MiB\", found a boolean" },
		{ "[grpc]\ndrain_timeout = 10", "config.toml:2: grpc.drain_timeout: expected a duration such "
						"as \"30s\", found an integer" },
		{ "[grpc]\ndrain_timeout = '61m'",
		  "config.toml:2: grpc.drain_timeout: 61m is out of range, expected 0s to 1h" },
		{ "[grpc]\nthreads = 0",
		  "config.toml:2: grpc.threads: 0 is out of range, expected 1 to 256" },
		{ "[grpc]\nbusy_poll = '2ms'",
		  "config.toml:2: grpc.busy_poll: 2ms is out of range, expected 0s to 1ms" },
		{ "stale_ingest_after = '999ms'",
		  "config.toml:1: stale_ingest_after: 999ms is out of range, expected 1s to 8760h" },
		{ "[workers]\nthreads = 1025",
		  "config.toml:2: workers.threads: 1025 is out of range, expected 0 to 1024" },
		{ "[workers]\nthreads = -1",
		  "config.toml:2: workers.threads: -1 is out of range, expected 0 to 1024" },
		{ "[workers]\nthreads = '4'",
		  "config.toml:2: workers.threads: expected an integer, found a string" },
		{ "[log]\nlevel = 'loud'", "config.toml:2: log.level: \"loud\" is not a log level, expected "
					   "trace, debug, info, warn or error" },
		{ "[log]\nformat = 'xml'",
		  "config.toml:2: log.format: \"xml\" is not a log format, expected text or json" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
}

static void unknown_keys(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "rot = '/x'", "config.toml:1: rot: unknown key, did you mean \"root\"?" },
		{ "[gprc]\nmode = 1", "config.toml:1: gprc: unknown key, did you mean \"grpc\"?" },
		{ "[grpc]\n\nadress = 1",
		  "config.toml:3: grpc.adress: unknown key, did you mean \"grpc.address\"?" },
		{ "level = 'info'", "config.toml:1: level: unknown key, did you mean \"log.level\"?" },
		{ "zzzzz = 1", "config.toml:1: zzzzz: unknown key, expected one of version, root, "
			       "stale_ingest_after, grpc, workers, log, local, remote, source" },
		{ "[log]\ncolour = true",
		  "config.toml:2: log.colour: unknown key, expected one of level, format" },
		/* A dot within quotes makes no path. */
		{ "\"grpc.mode\" = '0660'",
		  "config.toml:1: \"grpc.mode\": unknown key, expected one of "
		  "version, root, stale_ingest_after, grpc, workers, log, local, remote, source" },
		{ "[log]\n\"a\\nb\" = 1",
		  "config.toml:2: log.\"a?b\": unknown key, expected one of level, format" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
}

/* The library says of them that it could not tell what they are. */
static void quotes_that_are_missing(void **state)
{
	static const char *const cases[] = { "root = /x", "log.level = info", "grpc.drain_timeout = 30s",
					     "local.max_size = 50GiB", "local.max_size = 50 GiB" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf_errors errors;
		conf_env_put("config.toml", cases[i]);
		conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
		assert_int_equal(errors.n, 1);
		assert_non_null(strstr(errors.line[0], "; text stands in quotes: key = \"text\""));
	}
}

static void syntax_errors(void **state)
{
	static const struct {
		const char *text, *start;
	} cases[] = {
		{ "root = '/a'\nroot = '/b'\n", "/config.toml:2:" },
		{ "[log]\n[grpc]\n[log]\n", "/config.toml:3:" },
		{ "\n\nroot = ", "/config.toml:3:8: " },
		{ "root = \"\xff\"", "/config.toml:1:" },
		{ "mode = 0660", "/config.toml:1:" },
		/* What the library takes for impossible (toml.cc). */
		{ "[=]", "/config.toml:1:2: " },
		{ "[\x1bx]", "/config.toml:1:2: " },
		{ "[[!", "/config.toml:1:3: " },
		{ "[.a]", "/config.toml:1:2: " },
		{ "x = 1\xc3\xa4", "/config.toml:1:" },
		{ "x = [1\xca\xa2]", "/config.toml:1:" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf_errors errors;
		conf_env_put("config.toml", cases[i].text);
		conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
		assert_int_equal(errors.n, 1);
		assert_memory_equal(errors.line[0] + strlen(conf_env_dir), cases[i].start,
				    strlen(cases[i].start));
		assert_null(strchr(errors.line[0], '\n'));
	}
}

/* Each dot of a key is a table in a table: more than the stack could bear must be refused before. */
static void deep_keys(void **state)
{
	struct conf_errors errors;
	char *text = x_malloc(200 * 1024);
	size_t n = 0;

	(void)state;
	for (; n < 200 * 1024 - 2; n += 2)
		memcpy(text + n, "a.", 2);
	memcpy(text + n, "a\n", 2);
	conf_env_put_bytes("config.toml", text, n + 2);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	conf_env_expect(&errors,
			(const char *[]){ "config.toml: more than 4096 dots, which no configuration needs" },
			1);

	/* And what is not refused must be borne. */
	memcpy(text + 8192, "a=1", 3);
	conf_env_put_bytes("config.toml", text, 8195);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	assert_non_null(strstr(errors.line[0], "a: unknown key"));
	free(text);
}

static void environment_is_checked(void **state)
{
	const char *environment[] = {
		"STOWAGE_LOG_LEVEL=loud",
		"STOWAGE_GRPC_ADRESS=/x",
		"STOWAGE_VERSION=1",
		"STOWAGE_WORKERS_THREADS=many",
		"STOWAGE_=",
		"STOWAGE_ROOT=/a\xff",
		/* Good, or none of ours. */
		"STOWAGE_GRPC_UID=-1",
		"STOWAGE_GRPC_MAX_MESSAGE_SIZE=8MiB",
		"STOWAGE_LOCAL_PATH=",
		"STOWAGEX=1",
		"STOWAGE_SERVICE_HOST=10.0.0.1",
		"STOWAGE_PORT=tcp://10.0.0.1:9795",
		"STOWAGE_PORT_9795_TCP=tcp://10.0.0.1:9795",
		NULL,
	};
	static const char *const lines[] = {
		("environment STOWAGE_LOG_LEVEL: log.level: \"loud\" is not a log level, expected trace, "
		 "debug, info, warn or error"),
		"environment STOWAGE_GRPC_ADRESS: unknown variable, did you mean STOWAGE_GRPC_ADDRESS?",
		"environment STOWAGE_VERSION: unknown variable, no key has this name",
		"environment STOWAGE_WORKERS_THREADS: workers.threads: \"many\" is not an integer",
		"environment STOWAGE_: unknown variable, no key has this name",
		"environment STOWAGE_ROOT: root: \"/a\\xff\" is not valid UTF-8",
	};
	struct conf_errors errors;

	(void)state;
	conf_env_refuse(&(struct conf_sources){ .environment = environment }, &errors);
	conf_env_expect(&errors, lines, ARRAY_LEN(lines));
	CLEANUP(conf_freep)
	struct conf *c = conf_env_load(&(struct conf_sources){ .environment = environment + 6 });
	assert_int_equal(c->grpc.max_message_size, 8 << 20);
}

static void all_sources_report(void **state)
{
	const char *environment[] = { "STOWAGE_ROOT=x", NULL };
	const struct conf_override overrides[] = { { "grpc.address", "localhost:1", "--address" } };
	const struct conf_sources src = {
		.file = conf_env_file(), .environment = environment, .overrides = overrides, .n_overrides = 1
	};
	static const char *const lines[] = {
		"config.toml:1: root: \"rel\" is not an absolute path",
		("config.toml:4: log.level: \"a\" is not a log level, expected trace, debug, info, warn or "
		 "error"),
		("config.toml:6: grpc.mode: \"b\" is not a file mode, expected an octal string such as "
		 "\"0660\""),
		("conf.d/a.toml:1: nope: unknown key, expected one of version, root, stale_ingest_after, "
		 "grpc, workers, log, local, remote, source"),
		"environment STOWAGE_ROOT: root: \"x\" is not an absolute path",
		("flag --address: grpc.address: \"localhost:1\" is not an address, expected an absolute "
		 "path, "
		 "unix:///path or fd:// (a socket from systemd)"),
	};
	struct conf_errors errors;

	(void)state;
	conf_env_put("config.toml", "root = 'rel'\n\n[log]\nlevel = 'a'\n[grpc]\nmode = 'b'\n");
	conf_env_put("conf.d/a.toml", "nope = 1\n");
	conf_env_refuse(&src, &errors);
	conf_env_expect(&errors, lines, ARRAY_LEN(lines));
}

static void many_errors_are_counted(void **state)
{
	char text[1024] = "";
	struct conf_errors errors;

	(void)state;
	for (int i = 0; i < 50; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "zzzzz%d = 1\n", i);
	conf_env_put("config.toml", text);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	assert_int_equal(errors.n, CONF_ERRORS_MAX);
	assert_int_equal(errors.left_off, 50 - CONF_ERRORS_MAX);
	/* The first ones, in the order of the file. */
	assert_non_null(strstr(errors.line[19], "config.toml:20: zzzzz19: "));
}

static void long_lines_are_cut(void **state)
{
	char text[2048];
	struct conf_errors errors;

	(void)state;
	memset(text, 'k', 1500);
	memcpy(text + 1500, " = 1", 5);
	conf_env_put("config.toml", text);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	assert_int_equal(strlen(errors.line[0]), CONF_ERROR_LINE - 1);
	assert_string_equal(errors.line[0] + CONF_ERROR_LINE - 4, "...");
}

static void dump_reads_back(void **state)
{
	static const char *const documents[] = {
		"",
		"root = '/with \"quotes\" and \\backslash'\nlocal.path = '/\xc3\xa4\xe2\x80\xae'\n",
		("stale_ingest_after = '1h1m1s1ms1us1ns'\n[grpc]\naddress = 'fd://'\nmode = '007'\nuid = "
		 "0\ngid = 4294967294\n"
		 "max_message_size = 2147483647\ndrain_timeout = '0s'\nthreads = 256\n[workers]\nthreads = "
		 "1024\n"
		 "[log]\nlevel = 'error'\nformat = 'logfmt'\n"),
	};
	const struct conf_sources src = { .file = conf_env_file() };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
		conf_env_put("config.toml", documents[i]);
		CLEANUP(conf_freep) struct conf *c = conf_env_load(&src);
		CLEANUP(freep) char *text = conf_dump(c);
		conf_env_put("config.toml", text);
		CLEANUP(conf_freep) struct conf *again = conf_env_load(&src);
		CLEANUP(freep) char *text_again = conf_dump(again);
		assert_string_equal(text, text_again);
		/* Not by their texts: the fields. */
		assert_string_equal(c->root, again->root);
		assert_string_equal(c->local.path, again->local.path);
		assert_string_equal(c->grpc.address, again->grpc.address);
		assert_int_equal(c->grpc.mode, again->grpc.mode);
		assert_int_equal(c->grpc.uid, again->grpc.uid);
		assert_int_equal(c->grpc.max_message_size, again->grpc.max_message_size);
		assert_int_equal(c->stale_ingest_after, again->stale_ingest_after);
		assert_int_equal(c->log.level, again->log.level);
	}
}

static void default_text_gives_the_defaults(void **state)
{
	(void)state;
	CLEANUP(freep) char *text = conf_default_text();
	conf_env_put("config.toml", text);
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&(struct conf_sources){ .file = conf_env_file() });
	CLEANUP(conf_freep) struct conf *preset = conf_env_load(&(struct conf_sources){ 0 });
	CLEANUP(freep) char *read = conf_dump(c);
	CLEANUP(freep) char *expected = conf_dump(preset);
	assert_string_equal(read, expected);
}

static void example_is_the_default_text(void **state)
{
	char path[512], example[32768];

	(void)state;
	snprintf(path, sizeof(path), "%s/conf/config.toml.example", source_root);
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("%s cannot be opened: give the source root as the argument", path);
	size_t n = fread(example, 1, sizeof(example) - 1, f);
	example[n] = 0;
	assert_int_equal(fclose(f), 0);
	CLEANUP(freep) char *text = conf_default_text();
	assert_string_equal(example, text);
}

/* The tables themselves: a mistake in one would show only to the user who meets the key. */
static void expect_consistent(const struct conf_table *t)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		const struct conf_key *k = &t->keys[i];
		assert_ptr_equal(conf_key_find(t, k->name), k);
		assert_true((strchr(k->name, '.') != NULL) == (conf_section_of(t, k->name) != NULL));
		for (size_t j = 0; j < i; j++)
			assert_true(t->keys[j].offset != k->offset);
	}
}

static void tables_are_consistent(void **state)
{
	const struct conf_table *t = &conf_table_main;
	(void)state;
	expect_consistent(t);
	expect_consistent(&conf_table_source);
	for (size_t i = 0; i < t->n_keys; i++) {
		char variable[CONF_VARIABLE_MAX], other[CONF_VARIABLE_MAX];
		conf_key_variable(&t->keys[i], variable);
		for (size_t j = 0; j < i; j++) {
			conf_key_variable(&t->keys[j], other);
			assert_string_not_equal(variable, other);
		}
	}
}

static void distances(void **state)
{
	(void)state;
	assert_int_equal(conf_name_distance("", ""), 0);
	assert_int_equal(conf_name_distance("", "abc"), 3);
	assert_int_equal(conf_name_distance("abc", ""), 3);
	assert_int_equal(conf_name_distance("abc", "abc"), 0);
	assert_int_equal(conf_name_distance("gprc", "grpc"), 1);
	assert_int_equal(conf_name_distance("adress", "address"), 1);
	assert_int_equal(conf_name_distance("kitten", "sitting"), 3);
	assert_int_equal(conf_name_distance("ab", "ba"), 1);
	assert_int_equal(
		conf_name_distance("x", "0123456789012345678901234567890123456789012345678901234567890123"),
		UINT32_MAX);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		CONF_TEST(every_key_is_read),
		CONF_TEST(other_spellings),
		CONF_TEST(stronger_sources_win),
		CONF_TEST(the_file_that_is_named_counts),
		CONF_TEST(unreadable_files),
		CONF_TEST(wrong_values),
		CONF_TEST(unknown_keys),
		CONF_TEST(syntax_errors),
		CONF_TEST(quotes_that_are_missing),
		CONF_TEST(deep_keys),
		cmocka_unit_test(environment_is_checked),
		CONF_TEST(all_sources_report),
		CONF_TEST(many_errors_are_counted),
		CONF_TEST(long_lines_are_cut),
		CONF_TEST(dump_reads_back),
		CONF_TEST(default_text_gives_the_defaults),
		cmocka_unit_test(example_is_the_default_text),
		cmocka_unit_test(tables_are_consistent),
		cmocka_unit_test(distances),
	};

	if (argc > 1)
		source_root = argv[1];
	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
