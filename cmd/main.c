/* stowage: argv to a command. */
#include "cmd/commands.h"
#include "cmd/flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} COMMANDS[] = {
	{ "serve", cmd_serve, "run the daemon" },
	{ "config", cmd_config, "print or check the configuration" },
	{ "check", cmd_check, "try what the daemon needs: directories, bucket, credentials" },
	{ "status", cmd_status, "ask the daemon how it is" },
	{ "flush", cmd_flush, "wait until everything is in the bucket" },
	{ "pin", cmd_pin, "keep blobs here, and what they refer to" },
	{ "unpin", cmd_unpin, "let them be evicted again" },
	{ "prefetch", cmd_prefetch, "bring blobs here before they are read" },
	{ "gc", cmd_gc, "remove from the bucket what no node of the fleet holds" },
	{ "ls", cmd_ls, "list the blobs" },
	{ "info", cmd_info, "show what is known of one blob" },
	{ "ingests", cmd_ingests, "list unfinished uploads" },
	{ "verify", cmd_verify, "read the blobs and compare them with their names" },
	{ "import", cmd_import, "take over the blobs of another directory" },
	{ "version", cmd_version, "print the version" },
	{ "help", cmd_help, "print this, or what one command does" },
};

static void print_help(FILE *to)
{
	fprintf(to,
		"stowage: a content store for containerd\n\nUsage: stowage COMMAND [FLAGS]\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
		fprintf(to, "  %-9s %s\n", COMMANDS[i].name, COMMANDS[i].help);
	fprintf(to, "\n\"stowage COMMAND --help\" tells more.\n");
}

static int cmd_version(int argc, char **argv)
{
	static const struct flags_spec spec = {
		.command = "version",
		.arguments = "",
		.help = "Print the version.",
	};
	struct common_flags common;
	int status;

	if (!flags_parse(&spec, argc, argv, &common, &status))
		return status;
	puts("stowage " STOWAGE_VERSION);
	return EXIT_SUCCESS;
}

/* The exit status, after the message where there is no such command. */
static int run(const char *name, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
		if (!strcmp(name, COMMANDS[i].name))
			return COMMANDS[i].run(argc, argv);
	fprintf(stderr, "stowage: unknown command \"%s\"; \"stowage help\" lists the commands\n", name);
	return EXIT_USAGE;
}

static int cmd_help(int argc, char **argv)
{
	static const struct flags_spec spec = {
		.command = "help",
		.arguments = "[COMMAND]",
		.help = "Tell what commands there are, or what one of them does.",
	};
	char *help[] = { NULL, (char[]){ "--help" }, NULL };
	struct common_flags common;
	int status;

	if (!flags_parse(&spec, argc, argv, &common, &status))
		return status;
	if (common.n_args > 1)
		return flags_usage(&spec, "expected one command");
	if (common.n_args == 0) {
		print_help(stdout);
		return EXIT_SUCCESS;
	}
	help[0] = common.args[0];
	return run(help[0], 2, help);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-v"))
		name = "version";
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	return run(name, argc - 1, argv + 1);
}
