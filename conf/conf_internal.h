/* What conf.c (sources), keys.c (the table of keys), kinds.c (types of values), dump.c (output) and
 * hint.c (names that do not exist) share. */
#ifndef STOWAGE_CONF_CONF_INTERNAL_H
#define STOWAGE_CONF_CONF_INTERNAL_H

#include "conf/conf.h"
#include "conf/toml.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stdio.h>

/* A value as it came: text, or a number where only a number was given (an integer in a file). */
struct conf_value {
	const char *text; /* NULL: the number counts */
	int64_t number;
};

struct conf_key;

/* A type of values. `field` points to the key's field of a struct conf. */
struct conf_kind {
	unsigned types;       /* which TOML types it takes: bits 1u << enum toml_type */
	const char *expected; /* the same for people: "a string" */
	/* Sets the field, or fails and leaves it as it was. The message starts with the value. */
	int (*set)(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err);
	/* Writes the value as TOML has it. */
	void (*print)(const void *field, FILE *out);
	/* Frees what the field owns; NULL where it owns nothing. */
	void (*release)(void *field);
};

extern const struct conf_kind conf_kind_path;     /* char *, absolute */
extern const struct conf_kind conf_kind_path_any; /* char *, absolute or "" */
extern const struct conf_kind conf_kind_address;  /* char * */
extern const struct conf_kind conf_kind_mode;     /* mode_t */
extern const struct conf_kind conf_kind_id;       /* uid_t or gid_t */
extern const struct conf_kind conf_kind_count;    /* unsigned, min..max */
extern const struct conf_kind conf_kind_size;     /* int64_t bytes, min..max */
extern const struct conf_kind conf_kind_duration; /* int64_t ns, min..max */
extern const struct conf_kind conf_kind_level;    /* enum log_level */
extern const struct conf_kind conf_kind_format;   /* enum log_format */

struct conf_key {
	const char *name; /* "grpc.address" */
	const struct conf_kind *kind;
	size_t offset;      /* of the field in struct conf */
	int64_t min, max;   /* for the kinds that say so */
	const char *preset; /* the default, as the environment would have it */
	const char *help;   /* sentences; lines are broken where it is printed */
	bool files_only;    /* not from the environment */
};

struct conf_section {
	const char *name;
	const char *help;
};

/* All keys in the order of the file; those of a section stand together, those of none come first. */
extern const struct conf_key conf_keys[];
extern const size_t conf_n_keys;
extern const struct conf_section conf_sections[];
extern const size_t conf_n_sections;

/* By the path of a key, or NULL. */
const struct conf_key *conf_key_find(const char *name);
const struct conf_section *conf_section_find(const char *name);

/* The section that a key with this path is in, known or not; NULL: in none that is known. And its
 * name within. */
const struct conf_section *conf_section_of(const char *name);
const char *conf_leaf(const char *name);

int conf_key_set(const struct conf_key *k, struct conf *c, struct conf_value v, struct stow_err *err);

enum { CONF_HINT_MAX = 256 };
/* For the path of a key that does not exist: `, did you mean "x"?`, or which keys its section has. */
void conf_key_hint(const char *name, char out[CONF_HINT_MAX]);
/* The same for the name of a variable. */
void conf_variable_hint(const char *name, char out[CONF_HINT_MAX]);
/* How far two names are apart, in letters to insert, drop, change or swap with the next; names beyond
 * 63 bytes are infinitely far. */
unsigned conf_name_distance(const char *x, const char *y);

#define CONF_VARIABLE_PREFIX "STOWAGE_"
enum { CONF_VARIABLE_MAX = 64 };
/* The variable that sets a key. */
void conf_key_variable(const struct conf_key *k, char out[CONF_VARIABLE_MAX]);

/* A configuration with every key at its default; conf_complete() makes it what conf_load gives. */
struct conf *conf_new(void);
/* Fills in the values that follow from others. */
void conf_complete(struct conf *c);

/* One document, as a file called `name`. Errors are added to *errors. */
void conf_apply_text(struct conf *c, const char *name, const char *text, size_t n,
		     struct conf_errors *errors);

#endif
