/* The command line of the commands: flags that they share, flags of their own, and --help made from
 * both.
 *
 *   bool force = false;
 *   const char *from = NULL;
 *   const struct flag own[] = {
 *           { .name = "from", .letter = 'f', .text = &from, .value = "DIR", .help = "read DIR" },
 *           { .name = "force", .set = &force, .help = "go on where others stop" },
 *           { 0 },
 *   };
 *   const struct flags_spec spec = { .command = "import", .arguments = "[DIGEST...]", .own = own,
 *                                    .help = "Import blobs.", .groups = FLAGS_CONF | FLAGS_FORMAT };
 *   struct common_flags common;
 *   int status;
 *   if (!flags_parse(&spec, argc, argv, &common, &status))
 *           return status;
 *   if (flags_load_conf(&common, &conf) < 0)
 *           return EXIT_USAGE;
 *
 * Flags and arguments may stand in any order; "--" ends the flags. */
#ifndef STOWAGE_CMD_FLAGS_H
#define STOWAGE_CMD_FLAGS_H

#include "conf/conf.h"
#include "content/base/compiler.h"

#include <stdbool.h>

/* Exit statuses of every command, beside EXIT_SUCCESS and EXIT_FAILURE. */
enum { EXIT_USAGE = 2 };

/* Which common flags a command takes; all take --help/-h. */
enum {
	FLAGS_CONF = 1 << 0,   /* --config/-c --address/-a --root --local --log-level/-l --log-format */
	FLAGS_FORMAT = 1 << 1, /* --format table|json */
};

/* A flag of one command: either a switch, or with a value. */
struct flag {
	const char *name;  /* without dashes; NULL ends a list */
	char letter;       /* 0: only the long form */
	bool *set;         /* a switch: becomes true */
	const char **text; /* with a value: becomes it, a part of argv */
	const char *value; /* what the help calls the value */
	const char *help;
};

struct flags_spec {
	const char *command;    /* "config" */
	const char *arguments;  /* how the help shows them: "default|dump|check"; "": takes none */
	const char *help;       /* what the command does; sentences */
	unsigned groups;        /* FLAGS_... */
	const struct flag *own; /* ends with a flag without a name; NULL: none */
};

enum { FLAGS_OVERRIDES_MAX = 8 };
struct common_flags {
	const char *config; /* --config; NULL: not given */
	struct conf_override overrides[FLAGS_OVERRIDES_MAX];
	size_t n_overrides;
	bool json; /* --format json */
	bool help;
	char **args; /* what is no flag; a part of argv */
	size_t n_args;
};

/* True to go on. False after --help (on standard output) or a mistake (on standard error): then the
 * command returns *ret_status. argv[0] does not matter. */
bool flags_parse(const struct flags_spec *spec, int argc, char **argv, struct common_flags *ret_common,
		 int *ret_status);

/* Whether they name a daemon's address, and neither a root nor a file that could have one. */
bool flags_only_address(const struct common_flags *common);

/* For a mistake that flags_parse cannot know: prints it and where help is. Returns EXIT_USAGE. */
int flags_usage(const struct flags_spec *spec, const char *fmt, ...) PRINTF(2, 3);

/* Loads the configuration that the flags ask for. 0, or -1 with the errors printed: EXIT_USAGE. */
int flags_load_conf(const struct common_flags *common, struct conf **ret_conf);

#endif
