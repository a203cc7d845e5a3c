/* What conf.c (sources), keys.c (the table of keys), key.c (one key), kinds.c (types of values), check.c
 * (values that exclude each other), dump.c (output) and hint.c (names that do not exist) share. */
#ifndef STOWAGE_CONF_CONF_INTERNAL_H
#define STOWAGE_CONF_CONF_INTERNAL_H

#include "conf/conf.h"
#include "conf/toml.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stdio.h>

/* A value as it came: text, or a number where only a number was given (an integer or a boolean in a
 * file). */
struct conf_value {
	const char *text; /* NULL: the number counts */
	int64_t number;
};

struct conf_key;

/* The values of an enumeration: names[i] is the text of the value i. */
struct conf_choice {
	const char *what; /* "a log level" */
	const char *const *names;
	size_t n;
};

/* A type of values. `field` points to the key's field of what its table describes. */
struct conf_kind {
	unsigned types;       /* which TOML types it takes: bits 1u << enum toml_type */
	const char *expected; /* the same for people: "a string" */
	/* Sets the field, or fails and leaves it as it was. The message starts with the value. */
	int (*set)(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err);
	/* Writes the value as TOML has it. */
	void (*print)(const struct conf_key *k, const void *field, FILE *out);
	/* Frees what the field owns; NULL where it owns nothing. */
	void (*release)(void *field);
};

extern const struct conf_kind conf_kind_text;     /* char *, as `parse` says */
extern const struct conf_kind conf_kind_mode;     /* mode_t */
extern const struct conf_kind conf_kind_id;       /* uid_t or gid_t */
extern const struct conf_kind conf_kind_bool;     /* bool */
extern const struct conf_kind conf_kind_count;    /* unsigned, min..max */
extern const struct conf_kind conf_kind_size;     /* int64_t bytes, min..max */
extern const struct conf_kind conf_kind_share;    /* struct conf_share, up to max percent */
extern const struct conf_kind conf_kind_duration; /* int64_t ns, min..max */
extern const struct conf_kind conf_kind_wait;     /* the same, or CONF_WAIT_ALWAYS */
extern const struct conf_kind conf_kind_choice;   /* an enum, as `choice` says */

extern const struct conf_choice conf_choice_level;    /* enum log_level */
extern const struct conf_choice conf_choice_format;   /* enum log_format */
extern const struct conf_choice conf_choice_remote;   /* enum conf_remote_type */
extern const struct conf_choice conf_choice_mode;     /* enum conf_remote_mode */
extern const struct conf_choice conf_choice_owner;    /* enum conf_owner */
extern const struct conf_choice conf_choice_source;   /* enum conf_source_type */
extern const struct conf_choice conf_choice_layout;   /* enum conf_layout */
extern const struct conf_choice conf_choice_address;  /* enum conf_s3_addressing */
extern const struct conf_choice conf_choice_checksum; /* enum conf_s3_checksums */
extern const struct conf_choice conf_choice_sse;      /* enum conf_s3_sse */

struct conf_key {
	const char *name; /* "grpc.address" */
	const struct conf_kind *kind;
	size_t offset;      /* of the field in what the table describes */
	int64_t min, max;   /* for the kinds that say so */
	const char *preset; /* the default, as the environment would have it */
	const char *help;   /* sentences; lines are broken where it is printed */
	bool files_only;    /* not from the environment */
	bool tiered;        /* its default is all it can have where conf_is_tiered() is false */

	/* Of conf_kind_text: checks the value and gives a copy, as the functions of parse.h do; and
	 * whether "" will do without being asked. */
	int (*parse)(const char *s, char **ret_s, struct stow_err *err);
	bool optional;
	bool secret;                      /* never shown */
	const struct conf_choice *choice; /* of conf_kind_choice */

	/* Variables of AWS's that count where no source has set the key; the first one that is there. */
	const char *aws[2];
};

struct conf_section {
	const char *name;
	const char *help;
	bool array; /* of tables, which have a struct conf_table of their own */
};

/* All keys of a document, or of one of its arrays of tables; their paths begin there. Each of these is a
 * struct, which functions take as `object`. */
struct conf_table {
	const char *prefix; /* what stands before these paths in a document */
	/* In the order of the file: those of no section come first, those of a section stand together. */
	const struct conf_key *keys;
	size_t n_keys;
	const struct conf_section *sections;
	size_t n_sections;
	size_t given; /* offset of its bool [n_keys]: which keys a source has set */
	/* Whether a key says anything, the others being as they are; NULL: always. */
	bool (*has)(const void *object, const struct conf_key *k);
};

extern const struct conf_table conf_table_main;   /* a document: struct conf */
extern const struct conf_table conf_table_source; /* a [[source]]: struct conf_source */

/* By the path of a key, or NULL. */
const struct conf_key *conf_key_find(const struct conf_table *t, const char *name);
const struct conf_section *conf_section_find(const struct conf_table *t, const char *name);

/* The section that a key with this path is in, known or not; NULL: in none that is known. And its
 * name within. */
const struct conf_section *conf_section_of(const struct conf_table *t, const char *name);
const char *conf_leaf(const struct conf_table *t, const char *name);

/* Of a table's struct `object`, zeroed: sets every key to its default; frees what the keys own. */
void conf_table_init(const struct conf_table *t, void *object);
void conf_table_release(const struct conf_table *t, void *object);

/* Sets a key of `object`, as a source does, and notes that it was given. */
int conf_key_set(const struct conf_table *t, const struct conf_key *k, void *object, struct conf_value v,
		 struct stow_err *err);
/* Whether a source has set it. An empty text is nothing that was set. */
bool conf_key_given(const struct conf_table *t, const struct conf_key *k, const void *object);

enum { CONF_HINT_MAX = 256 };
/* For the path of a key that does not exist: `, did you mean "x"?`, or which keys its section has. */
void conf_key_hint(const struct conf_table *t, const char *name, char out[CONF_HINT_MAX]);
/* `, did you mean X?` or `, no key has this name` for the name of a variable. */
void conf_variable_hint(const char *name, char out[CONF_HINT_MAX]);
/* How far two names are apart, in letters to insert, drop, change or swap with the next; names beyond
 * 63 bytes are infinitely far. */
unsigned conf_name_distance(const char *x, const char *y);

#define CONF_VARIABLE_PREFIX "STOWAGE_"
enum { CONF_VARIABLE_MAX = 64 };
/* The variable that sets a key of the main table. */
void conf_key_variable(const struct conf_key *k, char out[CONF_VARIABLE_MAX]);

/* Adds a source with every key at its default. The others move. `origin` is copied. */
struct conf_source *conf_add_source(struct conf *c, const char *origin);

/* A configuration with every key at its default; conf_complete() makes it what conf_load gives. */
struct conf *conf_new(void);
/* Fills in the values that follow from others. */
void conf_complete(struct conf *c);

/* The value of a key as TOML has it. The caller frees it. */
char *conf_key_text(const struct conf_key *k, const void *object);

/* Adds a line, or counts it where there are too many. */
void conf_add_error(struct conf_errors *errors, const char *fmt, ...) PRINTF(2, 3);
/* What no single key can know: values that exclude or need each other. */
void conf_check(const struct conf *c, struct conf_errors *errors);

/* One document, as a file called `name`. Errors are added to *errors. */
void conf_apply_text(struct conf *c, const char *name, const char *text, size_t n,
		     struct conf_errors *errors);

#endif
