/* A document as a configuration file: what is accepted must come back from its own dump, what is
 * refused must say why in lines; and the small languages, which flags and the environment take too. */
#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

static void check_errors(const struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++) {
		assert(*errors->line[i] && strlen(errors->line[i]) < CONF_ERROR_LINE);
		for (const char *p = errors->line[i]; *p; p++)
			assert((unsigned char)*p >= 0x20 && *p != 0x7f);
	}
}

static void drop_secrets(const struct conf_table *t, void *object)
{
	struct stow_err err;
	for (size_t i = 0; i < t->n_keys; i++)
		if (t->keys[i].secret &&
		    conf_key_set(t, &t->keys[i], object, (struct conf_value){ .text = "" }, &err) < 0)
			abort();
}

static void try_document(const char *text, size_t n)
{
	CLEANUP(conf_freep) struct conf *c = conf_new();
	CLEANUP(conf_freep) struct conf *again = conf_new();
	struct conf_errors errors = { 0 };

	conf_apply_text(c, "a.toml", text, n, &errors);
	check_errors(&errors);
	/* Also after errors: the values that were right are in, the others left as they were. But for
	 * secrets, which a dump does not show. */
	drop_secrets(&conf_table_main, c);
	for (size_t i = 0; i < c->n_sources; i++)
		drop_secrets(&conf_table_source, &c->sources[i]);
	conf_complete(c);
	CLEANUP(freep) char *dump = conf_dump(c);
	errors.n = 0;
	conf_apply_text(again, "b.toml", dump, strlen(dump), &errors);
	assert(errors.n == 0);
	CLEANUP(freep) char *dump_again = conf_dump(again);
	assert(strcmp(dump, dump_again) == 0);
	assert(c->n_sources <= CONF_SOURCES_MAX && again->n_sources == c->n_sources);
}

static void try_value(const char *text)
{
	struct stow_err err;
	int64_t x = 0, y = 0;
	char formatted[CONF_TEXT_MAX];

	if (conf_parse_size(text, &x, &err) == 0) {
		conf_format_size(x, formatted);
		assert(conf_parse_size(formatted, &y, &err) == 0 && x == y);
	}
	if (conf_parse_duration(text, &x, &err) == 0) {
		conf_format_duration(x, formatted);
		assert(conf_parse_duration(formatted, &y, &err) == 0 && x == y);
	}
	for (size_t i = 0; i < conf_table_main.n_keys; i++) {
		CLEANUP(conf_freep) struct conf *c = conf_new();
		if (conf_key_set(&conf_table_main, &conf_table_main.keys[i], c,
				 (struct conf_value){ .text = text }, &err) < 0)
			assert(*err.msg);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(freep) char *text = x_strndup((const char *)data, n);
	try_document((const char *)data, n);
	/* Documents are long, values are short. */
	if (strlen(text) < 64)
		try_value(text);
	return 0;
}
