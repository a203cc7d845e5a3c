#include "content/base/mem.h"
#include "content/base/text.h"
#include "content/filter_internal.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the character at pos, 0 at the end. */
static size_t scan_char(const struct scan *s, uint32_t *ret_c)
{
	return s->pos < s->len ? text_decode(s->text + s->pos, s->len - s->pos, ret_c) : 0;
}

int scan_init(struct scan *s, const char *text, struct stow_err *err)
{
	size_t step;
	uint32_t c;

	*s = (struct scan){ .text = text, .len = strlen(text) };
	while ((step = scan_char(s, &c)) > 0)
		s->pos += step;
	if (s->pos < s->len)
		return scan_fail(s, s->pos, err, "expected valid UTF-8");
	s->pos = 0;
	s->word = x_malloc(s->len + 1);
	return 0;
}

void scan_free(struct scan *s)
{
	free(s->word);
	s->word = NULL;
}

int scan_fail(const struct scan *s, size_t pos, struct stow_err *err, const char *fmt, ...)
{
	enum { BEFORE = 48 };
	char why[160], around[128];
	size_t from = pos > BEFORE ? pos - BEFORE : 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);

	while (from > 0 && from < pos && (s->text[from] & 0xc0) == 0x80)
		from++; /* not in the middle of a character */
	text_quote(around, sizeof(around), s->text + from, s->len - from);
	return stow_fail(err, STOW_INVALID_ARGUMENT, "filter %s%s: at byte %zu: %s", from > 0 ? "..." : "",
			 around, pos, why);
}

/* Go's unicode.IsSpace. */
static bool is_space(uint32_t c)
{
	switch (c) {
	case '\t' ... '\r':
	case ' ':
	case 0x85:
	case 0xa0:
	case 0x1680:
	case 0x2000 ... 0x200a:
	case 0x2028:
	case 0x2029:
	case 0x202f:
	case 0x205f:
	case 0x3000:
		return true;
	default:
		return false;
	}
}

char scan_peek(struct scan *s)
{
	uint32_t c;
	size_t n;

	while ((n = scan_char(s, &c)) > 0 && is_space(c))
		s->pos += n;
	return s->text[s->pos];
}

bool scan_take(struct scan *s, char c)
{
	if (scan_peek(s) != c)
		return false;
	s->pos++;
	return true;
}

void scan_put(struct scan *s, char c)
{
	assert(s->word_len < s->len);
	s->word[s->word_len++] = c;
}

char *scan_word(struct scan *s, size_t *ret_len)
{
	char *copy = x_malloc(s->word_len + 1);

	memcpy(copy, s->word, s->word_len);
	copy[s->word_len] = '\0';
	*ret_len = s->word_len;
	s->word_len = 0;
	return copy;
}

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

/* Exactly `n` digits, no more than 32 bits. */
static bool scan_digits(struct scan *s, unsigned base, unsigned n, uint32_t *ret_v)
{
	uint32_t v = 0;

	for (; n > 0; n--, s->pos++) {
		unsigned d = digit_value(s->text[s->pos]);
		if (d >= base)
			return false;
		v = v * base + d;
	}
	*ret_v = v;
	return true;
}

/* \xhh and \ooo are one byte, whatever becomes of the text's UTF-8. */
static int scan_escaped_byte(struct scan *s, size_t start, unsigned base, unsigned n, struct stow_err *err)
{
	uint32_t v;

	if (!scan_digits(s, base, n, &v) || v > 0xff)
		return scan_fail(s, start, err, "expected %u %s digits of one byte in the escape", n,
				 base == 8 ? "octal" : "hexadecimal");
	scan_put(s, (char)v);
	return 0;
}

static size_t encode(uint32_t c, char out[4])
{
	static const uint8_t leads[] = { 0x00, 0xc0, 0xe0, 0xf0 };
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(leads[n - 1] | c);
	return n;
}

static int scan_escaped_char(struct scan *s, size_t start, unsigned n, struct stow_err *err)
{
	char bytes[4];
	uint32_t v;

	if (!scan_digits(s, 16, n, &v) || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return scan_fail(s, start, err,
				 "expected %u hexadecimal digits of a Unicode character in the escape", n);

	size_t len = encode(v, bytes);
	for (size_t i = 0; i < len; i++)
		scan_put(s, bytes[i]);
	return 0;
}

/* After a backslash. Of the quotes, only the one that ends the literal may be escaped. */
static int scan_escape(struct scan *s, char quote, struct stow_err *err)
{
	static const char names[] = "abfnrtv\\", means[] = "\a\b\f\n\r\t\v\\";
	size_t start = s->pos - 1;
	char c = s->text[s->pos];
	const char *name = c != '\0' ? strchr(names, c) : NULL;

	if (c >= '0' && c <= '7')
		return scan_escaped_byte(s, start, 8, 3, err);
	if (c == '\0' || (c != quote && name == NULL && strchr("xuU", c) == NULL))
		return scan_fail(s, start, err,
				 "expected one of \\a \\b \\f \\n \\r \\t \\v \\\\ \\%c \\ooo \\xhh \\uhhhh "
				 "\\Uhhhhhhhh",
				 quote);

	s->pos++;
	if (c == 'x')
		return scan_escaped_byte(s, start, 16, 2, err);
	if (c == 'u' || c == 'U')
		return scan_escaped_char(s, start, c == 'u' ? 4 : 8, err);
	scan_put(s, name != NULL ? means[name - names] : quote);
	return 0;
}

/* A Go string literal, or the same between other quotes. */
static int scan_quoted(struct scan *s, struct stow_err *err)
{
	size_t start = s->pos;
	char quote = s->text[s->pos++], c;

	while ((c = s->text[s->pos]) != quote) {
		if (c == '\0' || c == '\n')
			return scan_fail(s, start, err,
					 "expected the quoted text to end with %c on the same line", quote);
		s->pos++;
		if (c != '\\')
			scan_put(s, c);
		else if (scan_escape(s, quote, err) < 0)
			return -1;
	}
	s->pos++;
	return 0;
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int scan_field(struct scan *s, struct stow_err *err)
{
	char c = scan_peek(s);

	if (c == '"')
		return scan_quoted(s, err);
	if (!is_letter(c))
		return scan_fail(s, s->pos, err,
				 "expected a field: a name that begins with a letter, or \"...\"");
	for (; is_letter(c) || (c >= '0' && c <= '9') || c == '_'; c = s->text[++s->pos])
		scan_put(s, c);
	return 0;
}

int scan_value(struct scan *s, bool slashes_quote, struct stow_err *err)
{
	char first = scan_peek(s);
	uint32_t c;
	size_t n;

	if (first == '"' || (slashes_quote && (first == '/' || first == '|')))
		return scan_quoted(s, err);
	if (first == '/' || first == '|')
		return scan_fail(s, s->pos, err,
				 "%c quotes only the value of ~=, expected a plain value or \"...\"", first);
	if (first == '\0' || first == ',')
		return scan_fail(s, s->pos, err, "expected a value");
	while ((n = scan_char(s, &c)) > 0 && c != ',' && !is_space(c)) {
		for (; n > 0; n--)
			scan_put(s, s->text[s->pos++]);
	}
	return 0;
}
