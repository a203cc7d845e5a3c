/* The sources of a configuration, in rising precedence (conf.h). */
#include "conf/conf.h"

#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/buf.h"
#include "content/base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#define VARIABLE_FILE CONF_VARIABLE_PREFIX "CONFIG"

enum { FILE_MAX = 256 * 1024 };

/* Documents. */

struct document {
	struct conf *conf;
	const char *name;
	struct conf_errors *errors;
};

static const char *const type_names[] = {
	[TOML_STRING] = "a string",   [TOML_INTEGER] = "an integer",  [TOML_FLOAT] = "a float",
	[TOML_BOOLEAN] = "a boolean", [TOML_DATE] = "a date or time", [TOML_ARRAY] = "an array",
	[TOML_TABLE] = "a table",
};

/* One key of a table, which is called `shown` in errors and `name` in its table. Enters the tables that are
 * sections. */
static bool take_key(struct document *doc, const struct conf_table *t, void *object, const char *shown,
		     const char *name, const struct toml_entry *e)
{
	struct conf_value v = { .text = e->text, .number = e->number };
	const struct conf_key *k = conf_key_find(t, name);
	const struct conf_section *section = conf_section_find(t, name);
	struct stow_err err;

	if (!k && section) {
		if (e->type == (section->array ? TOML_ARRAY : TOML_TABLE))
			return true;
		conf_add_error(doc->errors, "%s:%u: %s: expected %s, found %s", doc->name, e->line, shown,
			       section->array ? "an array of tables" : "a table", type_names[e->type]);
	} else if (!k) {
		char hint[CONF_HINT_MAX];
		conf_key_hint(t, name, hint);
		conf_add_error(doc->errors, "%s:%u: %s: unknown key%s", doc->name, e->line, shown, hint);
	} else if (!(k->kind->types & 1u << e->type)) {
		conf_add_error(doc->errors, "%s:%u: %s: expected %s, found %s", doc->name, e->line, shown,
			       k->kind->expected, type_names[e->type]);
	} else if (e->text && strlen(e->text) != e->len) {
		conf_add_error(doc->errors, "%s:%u: %s: the string has a NUL in it", doc->name, e->line,
			       shown);
	} else if (conf_key_set(t, k, object, v, &err) < 0) {
		conf_add_error(doc->errors, "%s:%u: %s: %s", doc->name, e->line, shown, err.msg);
	}
	return false;
}

/* The beginning of a source; whether it is one that may be entered. */
static bool take_source(struct document *doc, const struct toml_entry *e)
{
	struct conf *c = doc->conf;
	CLEANUP(freep) char *origin = x_asprintf("%s:%u", doc->name, e->line);

	if (e->type != TOML_TABLE) {
		conf_add_error(doc->errors, "%s: source[%zu]: expected a table, found %s", origin,
			       c->n_sources + 1, type_names[e->type]);
		return false;
	}
	if (c->n_sources == CONF_SOURCES_MAX) {
		conf_add_error(doc->errors, "%s: source: there are more than %d", origin, CONF_SOURCES_MAX);
		return false;
	}
	conf_add_source(c, origin);
	return true;
}

/* One key of a document; called back by the parser. */
static bool take_entry(void *arg, const struct toml_entry *e)
{
	static const char element[] = "source[]";
	struct document *doc = arg;
	struct conf *c = doc->conf;

	if (strcmp(e->key, element) == 0)
		return take_source(doc, e);
	if (strncmp(e->key, element, strlen(element)) != 0)
		return take_key(doc, &conf_table_main, c, e->key, e->key, e);
	const char *name = e->key + strlen(element) + 1;
	CLEANUP(freep) char *shown = x_asprintf("source[%zu].%s", c->n_sources, name);
	return take_key(doc, &conf_table_source, &c->sources[c->n_sources - 1], shown, name, e);
}

void conf_apply_text(struct conf *c, const char *name, const char *text, size_t n, struct conf_errors *errors)
{
	struct document doc = { .conf = c, .name = name, .errors = errors };
	struct toml_error err;

	if (toml_read(text, n, take_entry, &doc, &err) == 0)
		return;
	if (err.line == 0)
		conf_add_error(errors, "%s: %s", name, err.msg);
	else
		conf_add_error(errors, "%s:%u:%u: %s", name, err.line, err.column, err.msg);
}

/* Files. */

static int read_all(int fd, struct buf *b, struct stow_err *err)
{
	for (;;) {
		char piece[16 * 1024];
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stow_fail(err, STOW_INTERNAL, "%s", strerrordesc_np(errno));
		if (buf_append(b, piece, (size_t)n, err) < 0)
			return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "the file is larger than %d KiB",
					 FILE_MAX / 1024);
	}
}

/* Reads one file into *c. A missing one is an error unless it is `optional`. */
static void apply_file(struct conf *c, const char *path, bool optional, struct conf_errors *errors)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(buf_free) struct buf text;
	struct stow_err err;

	buf_init(&text, FILE_MAX);
	if (fd < 0 && errno == ENOENT && optional)
		return;
	if (fd < 0) {
		conf_add_error(errors, "%s: cannot be read: %s", path, strerrordesc_np(errno));
		return;
	}
	if (read_all(fd, &text, &err) < 0) {
		conf_add_error(errors, "%s: cannot be read: %s", path, err.msg);
		return;
	}
	c->files = x_reallocarray(c->files, c->n_files + 1, sizeof(*c->files));
	c->files[c->n_files++] = x_strdup(path);
	conf_apply_text(c, path, text.p ? (const char *)text.p : "", text.len, errors);
}

static int is_toml_file(const struct dirent *e)
{
	size_t n = strlen(e->d_name);
	return *e->d_name != '.' && n > 5 && strcmp(e->d_name + n - 5, ".toml") == 0;
}

/* By bytes: the order must not depend on the locale. */
static int by_name(const struct dirent **x, const struct dirent **y)
{
	return strcmp((*x)->d_name, (*y)->d_name);
}

/* Reads conf.d beside `file`. */
static void apply_directory(struct conf *c, const char *file, struct conf_errors *errors)
{
	const char *slash = strrchr(file, '/');
	CLEANUP(freep)
	char *dir = x_asprintf("%.*sconf.d", slash ? (int)(slash - file) + 1 : 0, file);
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_toml_file, by_name);

	if (n < 0 && errno != ENOENT)
		conf_add_error(errors, "%s: cannot be read: %s", dir, strerrordesc_np(errno));
	for (int i = 0; i < n; i++) {
		CLEANUP(freep) char *path = x_asprintf("%s/%s", dir, entries[i]->d_name);
		apply_file(c, path, false, errors);
		free(entries[i]);
	}
	free(entries);
}

/* The environment. */

static const char *variable(const char *const *environment, const char *name)
{
	size_t n = strlen(name);
	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
			return *environment + n + 1;
	return NULL;
}

/* Kubernetes puts the addresses of a Service called "stowage" into the environment of the pods
 * beside it. They are not meant for us and must not keep us from starting. */
static bool is_service_link(const char *name)
{
	static const char host[] = CONF_VARIABLE_PREFIX "SERVICE_", port[] = CONF_VARIABLE_PREFIX "PORT";
	return strncmp(name, host, strlen(host)) == 0 ||
	       (strncmp(name, port, strlen(port)) == 0 && (name[strlen(port)] == '_' || !name[strlen(port)]));
}

static void apply_variable(struct conf *c, const char *name, const char *value, struct conf_errors *errors)
{
	struct stow_err err;
	if (strcmp(name, VARIABLE_FILE) == 0 || is_service_link(name))
		return;
	for (size_t i = 0; i < conf_table_main.n_keys; i++) {
		const struct conf_key *k = &conf_table_main.keys[i];
		char known[CONF_VARIABLE_MAX];
		conf_key_variable(k, known);
		if (strcmp(known, name) != 0 || k->files_only)
			continue;
		if (conf_key_set(&conf_table_main, k, c, (struct conf_value){ .text = value }, &err) < 0)
			conf_add_error(errors, "environment %s: %s: %s", name, k->name, err.msg);
		return;
	}
	char hint[CONF_HINT_MAX];
	conf_variable_hint(name, hint);
	conf_add_error(errors, "environment %s: unknown variable%s", name, hint);
}

static void apply_environment(struct conf *c, const char *const *environment, struct conf_errors *errors)
{
	for (; environment && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		if (strncmp(*environment, CONF_VARIABLE_PREFIX, strlen(CONF_VARIABLE_PREFIX)) != 0 || !equals)
			continue;
		CLEANUP(freep) char *name = x_strndup(*environment, (size_t)(equals - *environment));
		apply_variable(c, name, equals + 1, errors);
	}
}

/* AWS's own variables, for what nobody has set. Booleans and the names of choices come in any case. */
static void apply_aws_variable(struct conf *c, const struct conf_key *k, const char *name, const char *value,
			       struct conf_errors *errors)
{
	CLEANUP(freep) char *text = x_strdup(value);
	struct stow_err err;
	if (k->kind != &conf_kind_text)
		for (char *p = text; *p; p++)
			*p = (char)tolower((unsigned char)*p);
	if (conf_key_set(&conf_table_main, k, c, (struct conf_value){ .text = text }, &err) < 0)
		conf_add_error(errors, "environment %s: %s: %s", name, k->name, err.msg);
}

static void apply_aws_variables(struct conf *c, const char *const *environment, struct conf_errors *errors)
{
	/* The endpoints in the environment may be meant for others; this is how one says so. */
	const char *ignore = variable(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	bool no_endpoints = ignore && strcasecmp(ignore, "true") == 0;

	for (size_t i = 0; i < conf_table_main.n_keys; i++) {
		const struct conf_key *k = &conf_table_main.keys[i];
		const char *value = NULL;
		if (conf_key_given(&conf_table_main, k, c) ||
		    (no_endpoints && k->parse == conf_parse_endpoint))
			continue;
		for (size_t j = 0; j < ARRAY_LEN(k->aws) && k->aws[j] && !(value && *value); j++) {
			value = variable(environment, k->aws[j]);
			if (value && *value)
				apply_aws_variable(c, k, k->aws[j], value, errors);
		}
	}
}

static void apply_overrides(struct conf *c, const struct conf_sources *src, struct conf_errors *errors)
{
	for (size_t i = 0; i < src->n_overrides; i++) {
		const struct conf_override *o = &src->overrides[i];
		const struct conf_key *k = conf_key_find(&conf_table_main, o->key);
		struct stow_err err;
		assert(k);
		if (conf_key_set(&conf_table_main, k, c, (struct conf_value){ .text = o->value }, &err) < 0)
			conf_add_error(errors, "flag %s: %s: %s", o->origin, o->key, err.msg);
	}
}

int conf_load(const struct conf_sources *src, struct conf **ret_conf, struct conf_errors *ret_errors)
{
	CLEANUP(conf_freep) struct conf *c = conf_new();
	const char *named = src->file ? src->file : variable(src->environment, VARIABLE_FILE);
	const char *file = named && *named ? named : src->default_file;

	ret_errors->n = 0;
	ret_errors->left_off = 0;
	if (file) {
		apply_file(c, file, file != named, ret_errors);
		apply_directory(c, file, ret_errors);
	}
	apply_environment(c, src->environment, ret_errors);
	apply_overrides(c, src, ret_errors);
	if (c->remote.type == CONF_REMOTE_S3)
		apply_aws_variables(c, src->environment, ret_errors);
	/* Of values that are as they were meant; what was refused has its default. */
	if (ret_errors->n == 0)
		conf_check(c, ret_errors);
	if (ret_errors->n > 0)
		return -1;
	conf_complete(c);
	*ret_conf = TAKE(c);
	return 0;
}
