/* One key: looking it up, setting it, its names; and a configuration as all of its keys. */
#include "conf/conf_internal.h"
#include "content/base/mem.h"

#include <ctype.h>

static void *field_of(const struct conf_key *k, struct conf *c)
{
	return (char *)c + k->offset;
}

const struct conf_key *conf_key_find(const char *name)
{
	for (size_t i = 0; i < conf_n_keys; i++)
		if (strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	return NULL;
}

const struct conf_section *conf_section_find(const char *name)
{
	for (size_t i = 0; i < conf_n_sections; i++)
		if (strcmp(conf_sections[i].name, name) == 0)
			return &conf_sections[i];
	return NULL;
}

const struct conf_section *conf_section_of(const char *name)
{
	const struct conf_section *longest = NULL;
	for (size_t i = 0; i < conf_n_sections; i++) {
		const struct conf_section *section = &conf_sections[i];
		size_t n = strlen(section->name);
		if (strncmp(section->name, name, n) == 0 && name[n] == '.' &&
		    (!longest || n > strlen(longest->name)))
			longest = section;
	}
	return longest;
}

const char *conf_leaf(const char *name)
{
	const struct conf_section *section = conf_section_of(name);
	return section ? name + strlen(section->name) + 1 : name;
}

int conf_key_set(const struct conf_key *k, struct conf *c, struct conf_value v, struct stow_err *err)
{
	if (k->kind->set(k, field_of(k, c), v, err) < 0)
		return -1;
	c->given[k - conf_keys] = true;
	return 0;
}

bool conf_key_given(const struct conf_key *k, const struct conf *c)
{
	const void *field = (const char *)c + k->offset;
	bool empty = k->kind == &conf_kind_text && !**(char *const *)field;
	return c->given[k - conf_keys] && !empty;
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
	for (size_t i = 0; i < conf_n_keys; i++) {
		struct stow_err err;
		int r = conf_key_set(&conf_keys[i], c, (struct conf_value){ .text = conf_keys[i].preset },
				     &err);
		assert(r == 0);
	}
	memset(c->given, 0, sizeof(c->given)); /* not by a source */
	return c;
}

void conf_complete(struct conf *c)
{
	if (*c->local.path)
		return;
	free(c->local.path);
	c->local.path = x_strdup(c->root);
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < conf_n_keys; i++)
		if (conf_keys[i].kind->release)
			conf_keys[i].kind->release(field_of(&conf_keys[i], c));
	for (size_t i = 0; i < c->n_files; i++)
		free(c->files[i]);
	free(c->files);
	free(c);
}

void conf_freep(struct conf **c)
{
	conf_free(*c);
}
