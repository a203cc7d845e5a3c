/* containerd's filter language (its package `filters`), compiled once and matched often. Pure.
 *
 *   filter    = selector { "," selector }           all selectors of one filter must match
 *   selector  = fieldpath [ operator value ]        no operator: the field must be present
 *   fieldpath = field { "." field }
 *   field     = quoted | letter { letter | digit | "_" }
 *   operator  = "==" | "!=" | "~="                  "~=": an unanchored regular expression
 *   value     = quoted | run of characters other than space and comma
 *   quoted    = a Go string literal; for the value of "~=" also the same between "/" or "|"
 *
 * An absent field counts as the empty string for != and ~=, and never matches ==. A regular
 * expression that does not compile matches nothing; it is no parse error. White space between
 * tokens is skipped. Trailing commas, empty fields and a single "=" are parse errors. */
#ifndef STOWAGE_CONTENT_FILTER_H
#define STOWAGE_CONTENT_FILTER_H

#include "content/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct filter; /* a set of alternatives */

/* Any of the `n` texts may match; no text at all, or an empty one among them, matches everything.
 * INVALID_ARGUMENT, naming the filter, the position and what was expected, for a parse error or for
 * more than LIMIT_FILTERS texts, LIMIT_FILTER bytes of one or LIMIT_FILTER_REGEXES expressions in
 * all. The result is to be freed. */
int filter_compile(const char *const *texts, size_t n, struct filter **ret_f,
		   struct stow_err *err) MUST_CHECK;
void filter_free(struct filter *f); /* NULL is a no-op */
void filter_freep(struct filter **f);

/* The value of the field with that path in `subject`, or NULL if it is absent. The fields are the
 * unquoted texts between the dots; `joined` are all fields after the first, joined by dots ("" if
 * there is only one): what a label's key is. */
typedef const char *filter_lookup(const void *subject, const char *first, const char *joined);

/* Threads: any number at once on one filter. */
bool filter_match(const struct filter *f, filter_lookup *lookup, const void *subject);
/* True if it matches whatever it is given, so that a caller need not look at the subjects. */
bool filter_is_all(const struct filter *f);
/* The first regular expression that does not compile; NULL: all do. The filter's. */
const char *filter_bad_regex(const struct filter *f);

#endif
