#include "cmd/commands.h"
#include "cmd/flags.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

enum { ARGS_MAX = 24 };

/* What a call printed on one of the standard streams. */
struct capture {
	FILE *stream;
	int memory, saved;
	char text[16384];
};

static void capture_start(struct capture *c, FILE *stream)
{
	memset(c, 0, sizeof(*c));
	c->stream = stream;
	assert_int_equal(fflush(stream), 0);
	c->memory = memfd_create("capture", MFD_CLOEXEC);
	c->saved = fcntl(fileno(stream), F_DUPFD_CLOEXEC, 3);
	assert_true(c->memory >= 0 && c->saved >= 0);
	assert_true(dup2(c->memory, fileno(stream)) >= 0);
}

static void capture_end(struct capture *c)
{
	assert_int_equal(fflush(c->stream), 0);
	assert_true(dup2(c->saved, fileno(c->stream)) >= 0);
	ssize_t n = pread(c->memory, c->text, sizeof(c->text) - 1, 0);
	assert_true(n >= 0);
	close(c->memory);
	close(c->saved);
}

/* `line` cut at its blanks, into memory that lives until the next call. */
static int split(const char *line, char **argv)
{
	static char words[512];
	char *rest = NULL;
	int argc = 0;
	snprintf(words, sizeof(words), "%s", line);
	for (char *word = strtok_r(words, " ", &rest); word && argc < ARGS_MAX - 1;
	     word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	return argc;
}

static bool force;
static const char *from;
static const struct flag own[] = {
	{ .name = "from", .letter = 'f', .text = &from, .value = "DIR", .help = "read DIR" },
	{ .name = "force", .set = &force, .help = "go on" },
	{ 0 },
};
static const struct flags_spec import_spec = {
	.command = "import",
	.arguments = "[DIGEST...]",
	.help = "Import blobs.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = own,
};

static int clear(void **state)
{
	(void)state;
	force = false;
	from = NULL;
	return 0;
}

static void flags_are_taken(void **state)
{
	struct common_flags common;
	char *argv[ARGS_MAX];
	int status = -1;
	int argc = split(
		"import one --from /x -c f.toml --force -ldebug --root=/r two --format json -- --three",
		argv);

	(void)state;
	assert_true(flags_parse(&import_spec, argc, argv, &common, &status));
	assert_string_equal(from, "/x");
	assert_true(force);
	assert_string_equal(common.config, "f.toml");
	assert_true(common.json);
	assert_int_equal(common.n_overrides, 2);
	assert_string_equal(common.overrides[0].key, "log.level");
	assert_string_equal(common.overrides[0].value, "debug");
	assert_string_equal(common.overrides[0].origin, "--log-level");
	assert_string_equal(common.overrides[1].key, "root");
	assert_string_equal(common.overrides[1].value, "/r");
	assert_int_equal(common.n_args, 3);
	assert_string_equal(common.args[0], "one");
	assert_string_equal(common.args[1], "two");
	assert_string_equal(common.args[2], "--three");
}

static void last_of_a_flag_wins(void **state)
{
	struct common_flags common;
	char *argv[ARGS_MAX];
	int status = -1;
	int argc = split("import -a /a --format json --address /b --format table -a /c", argv);

	(void)state;
	assert_true(flags_parse(&import_spec, argc, argv, &common, &status));
	assert_int_equal(common.n_overrides, 1);
	assert_string_equal(common.overrides[0].value, "/c");
	assert_false(common.json);
	/* Nothing is left of an earlier call. */
	argc = split("import", argv);
	assert_true(flags_parse(&import_spec, argc, argv, &common, &status));
	assert_int_equal(common.n_overrides, 0);
	assert_int_equal(common.n_args, 0);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "import --frob", "stowage import: unknown flag --frob; see stowage import --help\n" },
		{ "import x -z", "stowage import: unknown flag -z; see stowage import --help\n" },
		{ "import --root", "stowage import: flag --root needs a value; see stowage import --help\n" },
		{ "import -f", "stowage import: flag -f needs a value; see stowage import --help\n" },
		{ "import --force=1",
		  "stowage import: flag --force=1 takes no value; see stowage import --help\n" },
		{ "import --format xml", "stowage import: --format: \"xml\" is not a format, expected table "
					 "or json; see stowage import --help\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct common_flags common;
		struct capture err;
		char *argv[ARGS_MAX];
		int status = -1;
		int argc = split(cases[i].line, argv);
		capture_start(&err, stderr);
		bool go_on = flags_parse(&import_spec, argc, argv, &common, &status);
		capture_end(&err);
		assert_false(go_on);
		assert_int_equal(status, 2);
		assert_string_equal(err.text, cases[i].message);
	}
}

static void groups_are_left_out(void **state)
{
	static const struct flags_spec bare = { .command = "version", .arguments = "", .help = "Print it." };
	static const char *const lines[] = { "version --root /x", "version --format json", "version -c x",
					     "version x" };
	struct common_flags common;
	struct capture err;
	char *argv[ARGS_MAX];
	int status = -1;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int argc = split(lines[i], argv);
		capture_start(&err, stderr);
		bool go_on = flags_parse(&bare, argc, argv, &common, &status);
		capture_end(&err);
		assert_false(go_on);
		assert_int_equal(status, 2);
	}
	assert_true(flags_parse(&bare, split("version", argv), argv, &common, &status));
}

static void help_shows_every_flag(void **state)
{
	static const char *const parts[] = {
		"Usage: stowage import [flags] [DIGEST...]\n",
		"Import blobs.\n",
		"-f, --from DIR ",
		"    --force ",
		"-c, --config FILE ",
		"-a, --address ADDRESS ",
		"--root DIR ",
		"--local DIR ",
		"-l, --log-level LEVEL ",
		"--log-format FORMAT ",
		" --format FORMAT ",
		"-h, --help ",
	};
	struct common_flags common;
	struct capture out;
	char *argv[ARGS_MAX];
	int status = -1;

	(void)state;
	int argc = split("import -h", argv);
	capture_start(&out, stdout);
	bool go_on = flags_parse(&import_spec, argc, argv, &common, &status);
	capture_end(&out);
	assert_false(go_on);
	assert_int_equal(status, 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_non_null(strstr(out.text, parts[i]));
}

/* Runs the command and gives its exit status. */
static int run_config(const char *line, struct capture *out, struct capture *err)
{
	char *argv[ARGS_MAX];
	int argc = split(line, argv);
	capture_start(out, stdout);
	capture_start(err, stderr);
	int status = cmd_config(argc, argv);
	capture_end(err);
	capture_end(out);
	return status;
}

static void config_default(void **state)
{
	struct capture out, err;

	(void)state;
	assert_int_equal(run_config("config default", &out, &err), 0);
	CLEANUP(freep) char *expected = conf_default_text();
	assert_string_equal(out.text, expected);
	assert_string_equal(err.text, "");
	assert_int_equal(run_config("config default --root /x", &out, &err), 2);
	assert_string_equal(out.text, "");
}

static void config_dump_takes_flags(void **state)
{
	struct capture out, err;

	(void)state;
	assert_int_equal(run_config("config dump -c /dev/null -l warn --local /l -a unix:///s", &out, &err),
			 0);
	assert_non_null(strstr(out.text, "\nlevel = \"warn\"\n"));
	assert_non_null(strstr(out.text, "\npath = \"/l\"\n"));
	assert_non_null(strstr(out.text, "\naddress = \"/s\"\n"));
	assert_string_equal(err.text, "");
}

/* --local alone is a whole store; --root, in whatever order, takes the metadata elsewhere. */
static void local_is_root_too(void **state)
{
	static const char *const lines[] = { "config dump -c /dev/null --local /l --root /r",
					     "config dump -c /dev/null --root /r --local /l" };
	struct capture out, err;

	(void)state;
	assert_int_equal(run_config("config dump -c /dev/null --local /l", &out, &err), 0);
	assert_non_null(strstr(out.text, "\nroot = \"/l\"\n"));
	assert_non_null(strstr(out.text, "\npath = \"/l\"\n"));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(run_config(lines[i], &out, &err), 0);
		assert_non_null(strstr(out.text, "\nroot = \"/r\"\n"));
		assert_non_null(strstr(out.text, "\npath = \"/l\"\n"));
	}
}

static void config_check_answers(void **state)
{
	struct capture out, err;

	(void)state;
	assert_int_equal(run_config("config check -c /dev/null", &out, &err), 0);
	assert_string_equal(out.text, "OK: /dev/null\n");
	assert_int_equal(run_config("config check -c /dev/null -l loud --root x", &out, &err), 2);
	assert_string_equal(out.text, "");
	assert_string_equal(err.text,
			    "flag --log-level: log.level: \"loud\" is not a log level, expected trace, "
			    "debug, info, warn or error\n"
			    "flag --root: root: \"x\" is not an absolute path\n");
	assert_int_equal(run_config("config check -c /nonexistent/c.toml", &out, &err), 2);
	assert_string_equal(err.text, "/nonexistent/c.toml: cannot be read: No such file or directory\n");
}

/* They may come: it is a note. */
static void config_check_notes_missing_files(void **state)
{
	static const char text[] =
		"[remote]\ntype = \"s3\"\n[remote.s3]\nendpoint = \"http://a\"\n"
		"bucket = \"layers\"\naccess_key_file = \"/dev/null\"\n"
		"secret_key_file = \"/nonexistent/secret\"\nca_file = \"/nonexistent/ca\"\n"
		"[[source]]\ntype = \"s3\"\n[source.s3]\nendpoint = \"http://a\"\n"
		"bucket = \"others\"\nca_file = \"/nonexistent/other\"\n";
	char path[] = "/tmp/stowage-test-conf-XXXXXX", line[64];
	struct capture out, err;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	(void)snprintf(line, sizeof(line), "config check -c %s", path);
	assert_int_equal(run_config(line, &out, &err), 0);
	(void)unlink(path);
	assert_non_null(strstr(out.text, "OK: /tmp/"));
	assert_string_equal(
		err.text,
		"stowage config: note: remote.s3.secret_key_file: /nonexistent/secret: No such file or "
		"directory\n"
		"stowage config: note: remote.s3.ca_file: /nonexistent/ca: No such file or directory\n"
		"stowage config: note: source[1].s3.ca_file: /nonexistent/other: No such file or "
		"directory\n");
}

static void config_needs_one_action(void **state)
{
	struct capture out, err;

	(void)state;
	assert_int_equal(run_config("config", &out, &err), 2);
	assert_int_equal(run_config("config dump check", &out, &err), 2);
	assert_int_equal(run_config("config frob", &out, &err), 2);
	assert_string_equal(
		err.text,
		"stowage config: \"frob\" is none of default, dump and check; see stowage config --help\n");
}

/* A full disk behind `config dump >file` must not look like success. */
static void config_reports_a_failed_write(void **state)
{
	char *argv[ARGS_MAX];
	int argc = split("config default", argv);
	struct capture err;

	(void)state;
	assert_int_equal(fflush(stdout), 0);
	int saved = fcntl(1, F_DUPFD_CLOEXEC, 3);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(saved >= 0 && full >= 0);
	assert_true(dup2(full, 1) >= 0);
	capture_start(&err, stderr);
	int status = cmd_config(argc, argv);
	capture_end(&err);
	/* What stdio could not write, it keeps: let it go nowhere. */
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(dup2(null, 1) >= 0);
	(void)fflush(stdout);
	clearerr(stdout);
	assert_true(dup2(saved, 1) >= 0);
	close(null);
	close(full);
	close(saved);
	assert_int_equal(status, 1);
	assert_string_equal(err.text, "stowage config: standard output: No space left on device\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(flags_are_taken, clear),
		cmocka_unit_test_setup(last_of_a_flag_wins, clear),
		cmocka_unit_test_setup(mistakes_are_named, clear),
		cmocka_unit_test(groups_are_left_out),
		cmocka_unit_test(help_shows_every_flag),
		cmocka_unit_test(config_default),
		cmocka_unit_test(config_dump_takes_flags),
		cmocka_unit_test(local_is_root_too),
		cmocka_unit_test(config_check_answers),
		cmocka_unit_test(config_check_notes_missing_files),
		cmocka_unit_test(config_needs_one_action),
		cmocka_unit_test(config_reports_a_failed_write),
	};

	return cmocka_run_group_tests_name("conf_flags", tests, NULL, NULL);
}
