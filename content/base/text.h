/* Text that came from outside, made fit to stand in a message or in a log line: what the reader's
 * terminal or parser would take for something else is escaped, invalid UTF-8 too. */
#ifndef STOWAGE_BASE_TEXT_H
#define STOWAGE_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The length of the character that `s` begins with, of `n` > 0 bytes, and the character itself; 0 if
 * the bytes are no UTF-8 (overlong forms, surrogates and cut characters are none). */
size_t text_decode(const char *s, size_t n, uint32_t *ret_char);

enum text_style {
	TEXT_GO,   /* as a Go string literal; an invalid byte is \xNN */
	TEXT_JSON, /* as a JSON string; an invalid byte is \ufffd */
};
enum { TEXT_ESCAPE_MAX = 8 };

/* The first character of `s` (`n` > 0 bytes) as it may stand between double quotes: *ret_len bytes
 * of `out`, without a NUL. Returns how many bytes of `s` that were. */
size_t text_escape(enum text_style style, const char *s, size_t n, char out[TEXT_ESCAPE_MAX],
		   size_t *ret_len);

/* `n` bytes of `s` as a Go string literal with its quotes and a NUL, in `size` (at least 8) bytes.
 * What does not fit is left out: "abc"... */
void text_quote(char *out, size_t size, const char *s, size_t n);

/* `s` in `size` (at least 4) bytes, to stand within a message: printable ASCII alone. Control characters are
 * blanks, all other bytes "?". Cut, and ended with "...", where it is longer. */
void text_clean(char *out, size_t size, const char *s);

#endif
