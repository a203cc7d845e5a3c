/* Documented in flags.h. */
#include "cmd/flags.h"

#include "content/base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

/* A common flag that sets a key of the configuration, or one that flags_parse handles itself. */
struct common_flag {
	const char *name; /* with its dashes */
	char letter;
	const char *key; /* NULL: not an override */
	const char *value;
	const char *help;
	unsigned group; /* 0: every command's */
};

static const struct common_flag commons[] = {
	{ "--config", 'c', NULL, "FILE", "read FILE and conf.d beside it (" CONF_DEFAULT_FILE ")",
	  FLAGS_CONF },
	{ "--address", 'a', "grpc.address", "ADDRESS", "the daemon's socket: a path, unix:///path or fd://",
	  FLAGS_CONF },
	{ "--root", 0, "root", "DIR", "the directory for metadata, and for bytes unless local.path is set",
	  FLAGS_CONF },
	{ "--local", 0, "local.path", "DIR",
	  "the directory for everything: bytes, and metadata unless --root is given", FLAGS_CONF },
	{ "--log-level", 'l', "log.level", "LEVEL", "trace, debug, info, warn or error", FLAGS_CONF },
	{ "--log-format", 0, "log.format", "FORMAT", "text or json", FLAGS_CONF },
	{ "--format", 0, NULL, "FORMAT", "what to print: table or json", FLAGS_FORMAT },
	{ "--help", 'h', NULL, NULL, "print this and exit", 0 },
};
/* --config, --format and --help are no overrides. */
static_assert(ARRAY_LEN(commons) - 3 <= FLAGS_OVERRIDES_MAX, "each override is kept once");

enum { OPTIONS_MAX = 64 };

/* The numbers of the flags as getopt_long gives them: an index in `commons` from VALUE_MIN on, one in
 * the command's own flags from VALUE_OWN on. Smaller numbers are letters. */
enum { VALUE_MIN = 256, VALUE_OWN = VALUE_MIN + OPTIONS_MAX };

struct options {
	struct option longs[OPTIONS_MAX + 1];
	size_t n;
	char shorts[2 * OPTIONS_MAX + 2];
	size_t n_shorts;
};

static bool takes(const struct flags_spec *spec, const struct common_flag *f)
{
	return f->group == 0 || (spec->groups & f->group) != 0;
}

static void add_option(struct options *o, const char *name, char letter, bool has_value, int value)
{
	assert(o->n < OPTIONS_MAX);
	o->longs[o->n++] = (struct option){ name, has_value ? required_argument : no_argument, NULL, value };
	if (!letter)
		return;
	o->shorts[o->n_shorts++] = letter;
	if (has_value)
		o->shorts[o->n_shorts++] = ':';
}

static void build_options(const struct flags_spec *spec, struct options *ret_o)
{
	memset(ret_o, 0, sizeof(*ret_o));
	/* A leading colon: a missing value is told apart from an unknown flag. */
	ret_o->shorts[ret_o->n_shorts++] = ':';
	for (size_t i = 0; i < ARRAY_LEN(commons); i++)
		if (takes(spec, &commons[i]))
			add_option(ret_o, commons[i].name + 2, commons[i].letter, commons[i].value != NULL,
				   VALUE_MIN + (int)i);
	for (size_t i = 0; spec->own && spec->own[i].name; i++)
		add_option(ret_o, spec->own[i].name, spec->own[i].letter, spec->own[i].text != NULL,
			   VALUE_OWN + (int)i);
}

/* The number of the flag that has this letter. */
static int value_of_letter(const struct flags_spec *spec, int letter)
{
	for (size_t i = 0; i < ARRAY_LEN(commons); i++)
		if (takes(spec, &commons[i]) && commons[i].letter == letter)
			return VALUE_MIN + (int)i;
	for (size_t i = 0; spec->own && spec->own[i].name; i++)
		if (spec->own[i].letter == letter)
			return VALUE_OWN + (int)i;
	assert(false);
	return 0;
}

static void print_flag(char letter, const char *name, const char *value, const char *help)
{
	enum { NAME_COLUMNS = 22 };
	char left[64];
	snprintf(left, sizeof(left), "%s%s%s", name, value ? " " : "", value ? value : "");
	if (letter)
		printf("  -%c, --%-*s %s\n", letter, NAME_COLUMNS, left, help);
	else
		printf("      --%-*s %s\n", NAME_COLUMNS, left, help);
}

static void print_help(const struct flags_spec *spec)
{
	printf("Usage: stowage %s [flags]%s%s\n\n%s\n\nFlags:\n", spec->command, *spec->arguments ? " " : "",
	       spec->arguments, spec->help);
	for (size_t i = 0; spec->own && spec->own[i].name; i++)
		print_flag(spec->own[i].letter, spec->own[i].name, spec->own[i].value, spec->own[i].help);
	for (size_t i = 0; i < ARRAY_LEN(commons); i++)
		if (takes(spec, &commons[i]))
			print_flag(commons[i].letter, commons[i].name + 2, commons[i].value, commons[i].help);
}

int flags_usage(const struct flags_spec *spec, const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "stowage %s: ", spec->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see stowage %s --help\n", spec->command);
	return EXIT_USAGE;
}

/* The last of a flag that is given twice wins. */
static void take_override(struct common_flags *common, const struct common_flag *f, const char *value)
{
	size_t i = 0;
	while (i < common->n_overrides && strcmp(common->overrides[i].key, f->key) != 0)
		i++;
	if (i == common->n_overrides)
		common->n_overrides++;
	common->overrides[i] = (struct conf_override){ .key = f->key, .value = value, .origin = f->name };
}

/* The value of an override, or NULL. */
static const char *overridden(const struct common_flags *common, const char *key)
{
	for (size_t i = 0; i < common->n_overrides; i++)
		if (strcmp(common->overrides[i].key, key) == 0)
			return common->overrides[i].value;
	return NULL;
}

bool flags_only_address(const struct common_flags *common)
{
	return overridden(common, "grpc.address") && !common->config && !overridden(common, "root");
}

/* --local DIR alone is a whole store in DIR, whatever the file says of its root. */
static void local_implies_root(struct common_flags *common)
{
	static const struct common_flag from_local = { .name = "--local", .key = "root" };
	const char *dir = overridden(common, "local.path");

	if (dir && !overridden(common, "root"))
		take_override(common, &from_local, dir);
}

/* 0, or -1 after the message. */
static int take_common(const struct flags_spec *spec, const struct common_flag *f, const char *value,
		       struct common_flags *common)
{
	if (f->key) {
		take_override(common, f, value);
	} else if (strcmp(f->name, "--config") == 0) {
		common->config = value;
	} else if (strcmp(f->name, "--help") == 0) {
		common->help = true;
	} else if (strcmp(value, "json") == 0 || strcmp(value, "table") == 0) {
		common->json = *value == 'j';
	} else {
		(void)flags_usage(spec, "--format: \"%s\" is not a format, expected table or json", value);
		return -1;
	}
	return 0;
}

/* One flag that getopt_long found, or did not. 0, or -1 after the message. */
static int take_flag(const struct flags_spec *spec, int found, char **argv, struct common_flags *common)
{
	/* An unknown long flag is the word before optind; of a letter, getopt tells the letter. */
	char letter[3] = { '-', (char)optopt, 0 };
	const char *shown = optopt > 0 && optopt < VALUE_MIN ? letter : argv[optind - 1];

	if (found == ':') {
		(void)flags_usage(spec, "flag %s needs a value", shown);
		return -1;
	}
	if (found == '?') {
		/* A switch with a value leaves its number in optopt. */
		(void)flags_usage(spec, optopt >= VALUE_MIN ? "flag %s takes no value" : "unknown flag %s",
				  shown);
		return -1;
	}
	int value = found >= VALUE_MIN ? found : value_of_letter(spec, found);
	if (value < VALUE_OWN)
		return take_common(spec, &commons[value - VALUE_MIN], optarg, common);
	const struct flag *own = &spec->own[value - VALUE_OWN];
	if (own->text)
		*own->text = optarg;
	else
		*own->set = true;
	return 0;
}

bool flags_parse(const struct flags_spec *spec, int argc, char **argv, struct common_flags *ret_common,
		 int *ret_status)
{
	struct options o;
	int found;

	build_options(spec, &o);
	memset(ret_common, 0, sizeof(*ret_common));
	opterr = 0;
	optind = 0; /* glibc: from the start, whoever used getopt before */
	while ((found = getopt_long(argc, argv, o.shorts, o.longs, NULL)) != -1) {
		if (take_flag(spec, found, argv, ret_common) < 0) {
			*ret_status = EXIT_USAGE;
			return false;
		}
	}
	if (ret_common->help) {
		print_help(spec);
		*ret_status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
		return false;
	}
	local_implies_root(ret_common);
	ret_common->args = argv + optind;
	ret_common->n_args = (size_t)(argc - optind);
	if (!*spec->arguments && ret_common->n_args > 0) {
		*ret_status = flags_usage(spec, "unexpected argument \"%s\"", ret_common->args[0]);
		return false;
	}
	return true;
}

int flags_load_conf(const struct common_flags *common, struct conf **ret_conf)
{
	const struct conf_sources src = {
		.file = common->config,
		.default_file = CONF_DEFAULT_FILE,
		.environment = (const char *const *)environ,
		.overrides = common->overrides,
		.n_overrides = common->n_overrides,
	};
	struct conf_errors errors;

	if (conf_load(&src, ret_conf, &errors) == 0)
		return 0;
	for (size_t i = 0; i < errors.n; i++)
		fprintf(stderr, "%s\n", errors.line[i]);
	if (errors.left_off > 0)
		fprintf(stderr, "and %zu more\n", errors.left_off);
	return -1;
}
