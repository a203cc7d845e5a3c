/* What commands print: tables for people, JSON for scripts. Results go to standard output, and that
 * they arrived is part of the command's success; messages go to standard error. jansson is seen by
 * output.c alone. */
#ifndef STOWAGE_CMD_OUTPUT_H
#define STOWAGE_CMD_OUTPUT_H

#include "content/base/compiler.h"
#include "content/base/digest.h"
#include "content/base/err.h"
#include "content/labels.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* To be called before anything is printed: a reader that goes away is an error of writing then, and
 * not the end of the process in the middle of its work. */
void output_begin(void);
/* Sends on what is buffered. 0, or -1 after the message (on the first failure alone). */
int output_flush(const char *command);

/* "stowage COMMAND: ..." and a newline, on standard error. */
void output_message(const char *command, const char *fmt, ...) PRINTF(2, 3);
/* The same for a failure. Returns EXIT_FAILURE. */
int output_fail(const char *command, const struct stow_err *err);

/* --- texts for people --- */

enum { OUTPUT_TEXT_MAX = 48 };
/* "512 B", "1.2 GiB": powers of 1024, one decimal. */
void output_size(uint64_t bytes, char out[OUTPUT_TEXT_MAX]);
/* "42s", "3m", "5h", "2d", "3mo", "2y": the largest unit, rounded down; "0s" for what is negative. */
void output_age(int64_t ns, char out[OUTPUT_TEXT_MAX]);
/* "2026-11-23T10:04:05Z (3h ago)"; the age counts to `now_ns`. */
void output_when(int64_t wall_ns, int64_t now_ns, char out[OUTPUT_TEXT_MAX]);
/* What makes a word of `n` things right: "" or "s". */
static inline const char *output_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
/* `s` without what would confuse a terminal: such characters are escaped as in a Go string. To be
 * freed. */
char *output_clean(const char *s);

/* --- tables --- */

/* Columns are as wide as their widest cell. So that a list without end needs no memory without end,
 * the widths are those of the first TABLE_ROWS_HELD rows; wider cells that follow stick out. */
enum { TABLE_COLUMNS_MAX = 8, TABLE_ROWS_HELD = 1000 };

struct table_column {
	const char *title;
	bool right; /* aligned to the right, as numbers are */
};
struct table;

/* `columns` is borrowed for the table's life. */
struct table *table_new(FILE *to, const struct table_column *columns, size_t n);
/* One text a column, copied; they are cleaned as output_clean() does. */
void table_row(struct table *t, const char *const *cells);
/* Prints what is held, the titles at least, and frees. */
void table_end(struct table *t);

/* --- JSON --- */

/* A JSON object in the making. Keys are our own; values from outside need not be UTF-8: bytes that
 * are none become U+FFFD. */
struct record;

struct record *record_new(void);
void record_free(struct record *r); /* NULL is a no-op */
void record_freep(struct record **r);
void record_text(struct record *r, const char *key, const char *value); /* NULL: null */
void record_number(struct record *r, const char *key, uint64_t n);
void record_bool(struct record *r, const char *key, bool b);
void record_null(struct record *r, const char *key);
void record_time(struct record *r, const char *key, int64_t wall_ns);               /* RFC 3339 */
void record_digest(struct record *r, const char *key, const struct digest *d);      /* null if not set */
void record_labels(struct record *r, const char *key, const struct labels *labels); /* an object */
/* Adds `item`, which is owned from then on, to the array `key`; NULL only makes sure that there is
 * one. */
void record_append(struct record *r, const char *key, struct record *item);

/* Prints the record on a line of its own, and frees it. */
void record_print(struct record *r, FILE *to);

/* An array of records, printed as they come: "[", one record a line, "]". */
struct records {
	FILE *to;
	bool any;
};
void records_begin(struct records *l, FILE *to);
void records_add(struct records *l, struct record *r); /* frees it */
void records_end(struct records *l);

#endif
