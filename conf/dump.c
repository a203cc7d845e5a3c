/* A configuration as a file (conf.h). */
#include "conf/conf_internal.h"
#include "content/base/mem.h"

/* `text` as comment lines of at most 100 columns, broken between words. */
static void print_comment(const char *text, FILE *out)
{
	enum { COLUMNS = 100 };
	size_t column = 0;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (column != 0 && column + 1 + n > COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		fprintf(out, "%s %.*s", column == 0 ? "#" : "", (int)n, text);
		column += n + (column == 0 ? 2 : 1);
		text += n;
		text += *text == ' ';
	}
	fputc('\n', out);
}

static void explain_key(const struct conf_key *k, FILE *out)
{
	CLEANUP(freep)
	char *aws = k->aws[1]   ? x_asprintf(" Where it is not set: $%s, else $%s.", k->aws[0], k->aws[1])
		    : k->aws[0] ? x_asprintf(" Where it is not set: $%s.", k->aws[0])
				: x_strdup("");
	CLEANUP(freep) char *text = x_asprintf("%s%s", k->help, aws);
	print_comment(text, out);
}

/* How a configuration is written. */
struct style {
	bool explain;
	const char *mark; /* before each line that is no comment */
};

static void print_key(const struct conf_table *t, const struct conf_key *k, const void *object,
		      struct style style, FILE *out)
{
	const void *field = (const char *)object + k->offset;
	if (k->secret && **(char *const *)field) {
		fprintf(out, "# %s is set, and not shown\n", conf_leaf(t, k->name));
		return;
	}
	fprintf(out, "%s%s = ", style.mark, conf_leaf(t, k->name));
	k->kind->print(k, field, out);
	fputc('\n', out);
}

static void print_table(const struct conf_table *t, const void *object, struct style style, FILE *out)
{
	const struct conf_section *section = NULL;
	bool first = true;
	for (size_t i = 0; i < t->n_keys; i++) {
		const struct conf_key *k = &t->keys[i];
		const struct conf_section *next = conf_section_of(t, k->name);
		if (t->has && !t->has(object, k))
			continue;
		if (next != section) {
			fputc('\n', out);
			if (style.explain)
				print_comment(next->help, out);
			fprintf(out, "%s[%s%s]\n", style.mark, t->prefix, next->name);
			section = next;
		} else if (style.explain && !first) {
			fputc('\n', out);
		}
		if (style.explain)
			explain_key(k, out);
		print_key(t, k, object, style, out);
		first = false;
	}
}

static void print_source(const struct conf_source *s, struct style style, FILE *out)
{
	fprintf(out, "%s[[source]]\n", style.mark);
	print_table(&conf_table_source, s, style, out);
}

/* The default is to have none, so that this is a comment: without its marks, a source. */
static void print_example_source(FILE *out)
{
	static const char path[] = "/var/lib/registry";
	const struct conf_key *k = conf_key_find(&conf_table_source, "path");
	CLEANUP(conf_freep) struct conf *c = conf_new();
	struct conf_source *s = conf_add_source(c, "");
	struct stow_err err;
	int r = conf_key_set(&conf_table_source, k, s, (struct conf_value){ .text = path }, &err);
	assert(r == 0);

	fputc('\n', out);
	print_comment(conf_section_find(&conf_table_main, "source")->help, out);
	print_source(s, (struct style){ .explain = true, .mark = "#" }, out);
}

/* A stream into memory; fails where allocation does. */
static FILE *open_text(char **text, size_t *n)
{
	FILE *out = open_memstream(text, n);
	if (!out)
		x_abort("out of memory");
	return out;
}

static void close_text(FILE *out)
{
	if (fclose(out) != 0)
		x_abort("out of memory");
}

char *conf_key_text(const struct conf_key *k, const void *object)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_text(&text, &n);
	k->kind->print(k, (const char *)object + k->offset, out);
	close_text(out);
	return text;
}

char *conf_dump(const struct conf *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_text(&text, &n);
	const struct style plain = { .mark = "" };
	print_table(&conf_table_main, c, plain, out);
	for (size_t i = 0; i < c->n_sources; i++) {
		fputc('\n', out);
		print_source(&c->sources[i], plain, out);
	}
	close_text(out);
	return text;
}

char *conf_default_text(void)
{
	static const char intro[] =
		"Configuration of Stowage. Every value below is the default; a file needs only what differs. "
		"Files conf.d/*.toml beside this one are read after it, in the order of their names. A key "
		"can also be "
		"set in the environment: grpc.address as STOWAGE_GRPC_ADDRESS, which is stronger than files, "
		"and "
		"weaker than flags. Sizes are \"64MiB\" or \"10GB\" or bytes, durations \"30s\", \"500ms\" "
		"or \"1h30m\". "
		"`stowage config check` says what is wrong, `stowage config dump` what is in effect.";
	CLEANUP(conf_freep) struct conf *c = conf_new();
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_text(&text, &n);
	print_comment(intro, out);
	fputc('\n', out);
	print_table(&conf_table_main, c, (struct style){ .explain = true, .mark = "" }, out);
	print_example_source(out);
	close_text(out);
	return text;
}
