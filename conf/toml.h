/* A C face of the TOML parser (toml.cc): one call that shows every key of a document to a visitor.
 *
 * Keys come in the order in which they are written; a table comes before its members, and an array before
 * its elements, which all have its key and "[]": source[], source[].type. No C++ exception leaves the
 * adapter. */
#ifndef STOWAGE_CONF_TOML_H
#define STOWAGE_CONF_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum toml_type { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_DATE, TOML_ARRAY, TOML_TABLE };

struct toml_entry {
	const char *key; /* the whole path: grpc.mode; parts that are no bare keys are quoted */
	enum toml_type type;
	const char *text; /* TOML_STRING: NUL-terminated, and NULs may also be within */
	size_t len;       /* TOML_STRING: bytes of text */
	int64_t number;   /* TOML_INTEGER; TOML_BOOLEAN: 0 or 1 */
	unsigned line;    /* of the key, from 1; of an element, where it begins */
};

struct toml_error {
	unsigned line, column; /* from 1; 0: the document as a whole */
	char msg[256];
};

/* For a table or an array: whether its members are wanted. Else the result does not matter. The entry and all
 * that it points to live until the visitor returns. */
typedef bool toml_visit(void *arg, const struct toml_entry *e);

/* Parses first, then visits: a document with an error shows nothing. 0, or -1 with *ret_error set. */
int toml_read(const char *text, size_t n, toml_visit *visit, void *arg, struct toml_error *ret_error);

#ifdef __cplusplus
}
#endif

#endif
