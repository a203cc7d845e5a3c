/* Between the files of the filter language: filter.c matches, filter_parse.c knows the grammar,
 * filter_scan.c the characters. */
#ifndef STOWAGE_CONTENT_FILTER_INTERNAL_H
#define STOWAGE_CONTENT_FILTER_INTERNAL_H

#include "content/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum filter_op { FILTER_PRESENT, FILTER_EQUAL, FILTER_NOT_EQUAL, FILTER_MATCHES };

struct selector {
	char *first;  /* owned */
	char *joined; /* owned: the fields after the first, joined by dots */
	bool nowhere; /* a quoted NUL byte is in the path: no subject has such a field */
	enum filter_op op;
	char *value; /* owned; may hold NUL bytes. NULL for FILTER_PRESENT */
	size_t value_len;
	struct regex *re; /* owned; FILTER_MATCHES only, NULL if it does not compile */
};

/* One filter text: all selectors must match. */
struct clause {
	struct selector *v;
	size_t n;
};

/* Parses a text that is not empty, and adds its regular expressions to *regexes, the count of the
 * request. INVALID_ARGUMENT as filter_compile() says. */
int clause_parse(const char *text, size_t *regexes, struct clause *ret_c, struct stow_err *err) MUST_CHECK;
void clause_free(struct clause *c); /* leaves the empty clause; fit for CLEANUP */

/* The text of a filter and how far it has been read. */
struct scan {
	const char *text; /* borrowed */
	size_t len;
	size_t pos;
	char *word; /* owned: what the scan_ functions put, unquoted; never longer than the text */
	size_t word_len;
};

/* The text must be valid UTF-8. */
int scan_init(struct scan *s, const char *text, struct stow_err *err) MUST_CHECK;
void scan_free(struct scan *s); /* fit for CLEANUP */

/* Skips white space, then says what comes: a byte of the text, or '\0' at its end. */
char scan_peek(struct scan *s);
/* Takes `c` if it comes next. */
bool scan_take(struct scan *s, char c);
/* Take what comes next and append it to the word. */
int scan_field(struct scan *s, struct stow_err *err) MUST_CHECK;
int scan_value(struct scan *s, bool slashes_quote, struct stow_err *err) MUST_CHECK;
void scan_put(struct scan *s, char c);
/* A copy of the word, with a NUL after it; the word is empty again. */
char *scan_word(struct scan *s, size_t *ret_len);

/* Fails with the filter's text around byte `pos` (counted from 0) and the reason. */
int scan_fail(const struct scan *s, size_t pos, struct stow_err *err, const char *fmt, ...) PRINTF(4, 5);

#endif
