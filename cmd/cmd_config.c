/* stowage config: shows and checks the configuration. */
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "conf/conf.h"
#include "content/base/mem.h"

#include <errno.h>
#include <stdio.h>

static const struct flags_spec spec = {
	.command = "config",
	.arguments = "default|dump|check",
	.help = "default  print the defaults, with every key explained: a file to start from\n"
		"dump     print what is in effect: files, environment and flags together\n"
		"check    say whether it is right, and which files were read; and, as a note, which\n"
		"         files that it names are not there now",
	.groups = FLAGS_CONF,
};

/* Standard output is the product: what could not be written is a failure. */
static int print_out(const char *text)
{
	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "stowage config: standard output: %s\n", strerrordesc_np(errno));
	return EXIT_FAILURE;
}

static int config_default(const struct common_flags *common)
{
	if (common->config || common->n_overrides > 0)
		return flags_usage(&spec, "default takes no flags");
	CLEANUP(freep) char *text = conf_default_text();
	return print_out(text);
}

static int config_dump(const struct common_flags *common)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	if (flags_load_conf(common, &conf) < 0)
		return EXIT_USAGE;
	CLEANUP(freep) char *text = conf_dump(conf);
	return print_out(text);
}

/* Of a file that the configuration names and that may still come. */
static void note_file(const char *table, const char *key, const char *path)
{
	if (*path && access(path, R_OK) < 0)
		fprintf(stderr, "stowage config: note: %s.%s: %s: %s\n", table, key, path,
			strerrordesc_np(errno));
}

static void note_files(const char *table, const struct conf_s3 *s)
{
	note_file(table, "access_key_file", s->access_key_file);
	note_file(table, "secret_key_file", s->secret_key_file);
	note_file(table, "session_token_file", s->session_token_file);
	note_file(table, "ca_file", s->ca_file);
}

static void note_all_files(const struct conf *c)
{
	if (c->remote.type == CONF_REMOTE_S3)
		note_files("remote.s3", &c->remote.s3);
	for (size_t i = 0; i < c->n_sources; i++) {
		CLEANUP(freep) char *table = x_asprintf("source[%zu].s3", i + 1);

		if (c->sources[i].type == CONF_SOURCE_S3)
			note_files(table, &c->sources[i].s3);
	}
}

static int config_check(const struct common_flags *common)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	if (flags_load_conf(common, &conf) < 0)
		return EXIT_USAGE;
	note_all_files(conf);
	printf("OK:");
	for (size_t i = 0; i < conf->n_files; i++)
		printf("%s %s", i > 0 ? "," : "", conf->files[i]);
	return print_out(conf->n_files == 0 ? " no files: there is no " CONF_DEFAULT_FILE "\n" : "\n");
}

int cmd_config(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct common_flags *common);
	} actions[] = { { "default", config_default }, { "dump", config_dump }, { "check", config_check } };
	struct common_flags common;
	int status = EXIT_FAILURE;

	if (!flags_parse(&spec, argc, argv, &common, &status))
		return status;
	if (common.n_args != 1)
		return flags_usage(&spec, "expected one of default, dump and check");
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (strcmp(common.args[0], actions[i].name) == 0)
			return actions[i].run(&common);
	return flags_usage(&spec, "\"%s\" is none of default, dump and check", common.args[0]);
}
