/* One key: looking it up, setting it, its names; and a configuration as all of its keys. */
#include "conf/conf_internal.h"
#include "content/base/mem.h"

#include <ctype.h>

static void *field_of(const struct conf_key *k, void *object)
{
	return (char *)object + k->offset;
}

const struct conf_key *conf_key_find(const struct conf_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_keys; i++)
		if (strcmp(t->keys[i].name, name) == 0)
			return &t->keys[i];
	return NULL;
}

const struct conf_section *conf_section_find(const struct conf_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (strcmp(t->sections[i].name, name) == 0)
			return &t->sections[i];
	return NULL;
}

const struct conf_section *conf_section_of(const struct conf_table *t, const char *name)
{
	const struct conf_section *longest = NULL;
	for (size_t i = 0; i < t->n_sections; i++) {
		const struct conf_section *section = &t->sections[i];
		size_t n = strlen(section->name);
		if (strncmp(section->name, name, n) == 0 && name[n] == '.' &&
		    (!longest || n > strlen(longest->name)))
			longest = section;
	}
	return longest;
}

const char *conf_leaf(const struct conf_table *t, const char *name)
{
	const struct conf_section *section = conf_section_of(t, name);
	return section ? name + strlen(section->name) + 1 : name;
}

void conf_table_init(const struct conf_table *t, void *object)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		const struct conf_key *k = &t->keys[i];
		const struct conf_value preset = { .text = k->preset };
		struct stow_err err;
		int r = k->kind->set(k, field_of(k, object), preset, &err);
		assert(r == 0);
	}
}

void conf_table_release(const struct conf_table *t, void *object)
{
	for (size_t i = 0; i < t->n_keys; i++)
		if (t->keys[i].kind->release)
			t->keys[i].kind->release(field_of(&t->keys[i], object));
}

int conf_key_set(const struct conf_table *t, const struct conf_key *k, void *object, struct conf_value v,
		 struct stow_err *err)
{
	bool *given = (bool *)((char *)object + t->given);
	if (k->kind->set(k, field_of(k, object), v, err) < 0)
		return -1;
	given[k - t->keys] = true;
	return 0;
}

bool conf_key_given(const struct conf_table *t, const struct conf_key *k, const void *object)
{
	const bool *given = (const bool *)((const char *)object + t->given);
	const void *field = (const char *)object + k->offset;
	bool empty = k->kind == &conf_kind_text && !**(char *const *)field;
	return given[k - t->keys] && !empty;
}

void conf_key_variable(const struct conf_key *k, char out[CONF_VARIABLE_MAX])
{
	int n = snprintf(out, CONF_VARIABLE_MAX, CONF_VARIABLE_PREFIX "%s", k->name);
	assert(n < CONF_VARIABLE_MAX);
	for (char *p = out; *p; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

struct conf *conf_new(void)
{
	struct conf *c = x_calloc(1, sizeof(*c));
	conf_table_init(&conf_table_main, c);
	return c;
}

struct conf_source *conf_add_source(struct conf *c, const char *origin)
{
	c->sources = x_reallocarray(c->sources, c->n_sources + 1, sizeof(*c->sources));
	struct conf_source *s = &c->sources[c->n_sources++];
	*s = (struct conf_source){ .origin = x_strdup(origin) };
	conf_table_init(&conf_table_source, s);
	return s;
}

void conf_complete(struct conf *c)
{
	if (*c->local.path)
		return;
	free(c->local.path);
	c->local.path = x_strdup(c->root);
}

bool conf_is_tiered(const struct conf *c)
{
	if (c->remote.type == CONF_REMOTE_NONE)
		return c->n_sources > 0;
	return c->remote.mode == CONF_MODE_TIERED;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	conf_table_release(&conf_table_main, c);
	for (size_t i = 0; i < c->n_sources; i++) {
		conf_table_release(&conf_table_source, &c->sources[i]);
		free(c->sources[i].origin);
	}
	free(c->sources);
	for (size_t i = 0; i < c->n_files; i++)
		free(c->files[i]);
	free(c->files);
	free(c);
}

void conf_freep(struct conf **c)
{
	conf_free(*c);
}
