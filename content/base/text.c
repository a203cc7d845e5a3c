#include "content/base/text.h"

#include "content/base/compiler.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t text_decode(const char *s, size_t n, uint32_t *ret_char)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c = p[0];
	uint32_t min;
	size_t len;

	if (c < 0x80) {
		*ret_char = c;
		return 1;
	}
	if ((c & 0xe0) == 0xc0) {
		len = 2;
		min = 0x80;
		c &= 0x1f;
	} else if ((c & 0xf0) == 0xe0) {
		len = 3;
		min = 0x800;
		c &= 0x0f;
	} else if ((c & 0xf8) == 0xf0) {
		len = 4;
		min = 0x10000;
		c &= 0x07;
	} else {
		return 0;
	}
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_char = c;
	return len;
}

/* Characters that show as nothing, or that make a terminal show the rest in another order: they
 * could hide or forge a part of a line. All are below 0x10000, as \uNNNN needs. */
static bool is_hidden(uint32_t c)
{
	static const struct {
		uint16_t first, last;
	} ranges[] = {
		{ 0x80, 0x9f },     /* C1 controls */
		{ 0xad, 0xad },     /* soft hyphen */
		{ 0x200b, 0x200f }, /* zero width, direction marks */
		{ 0x2028, 0x202e }, /* line and paragraph separator, embeddings, overrides */
		{ 0x2060, 0x206f }, /* word joiner, isolates */
		{ 0xfeff, 0xfeff }, /* byte order mark */
		{ 0xfff9, 0xfffb }, /* interlinear annotation */
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/* The letter of the two-character escape for `c`, or 0. */
static char short_escape(enum text_style style, uint32_t c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	case '\a':
		return style == TEXT_GO ? 'a' : 0;
	case '\v':
		return style == TEXT_GO ? 'v' : 0;
	default:
		return 0;
	}
}

size_t text_escape(enum text_style style, const char *s, size_t n, char out[TEXT_ESCAPE_MAX], size_t *ret_len)
{
	uint32_t c = 0;
	size_t used = text_decode(s, n, &c);
	char letter;

	if (used == 0) {
		if (style == TEXT_GO)
			*ret_len = (size_t)snprintf(out, TEXT_ESCAPE_MAX, "\\x%02x", (unsigned char)s[0]);
		else
			*ret_len = (size_t)snprintf(out, TEXT_ESCAPE_MAX, "\\ufffd");
		return 1;
	}
	letter = short_escape(style, c);
	if (letter != 0) {
		out[0] = '\\';
		out[1] = letter;
		*ret_len = 2;
	} else if ((c < 0x20 || c == 0x7f) && style == TEXT_GO) {
		*ret_len = (size_t)snprintf(out, TEXT_ESCAPE_MAX, "\\x%02x", (unsigned)c);
	} else if (c < 0x20 || c == 0x7f || is_hidden(c)) {
		*ret_len = (size_t)snprintf(out, TEXT_ESCAPE_MAX, "\\u%04x", (unsigned)(c & 0xffff));
	} else {
		memcpy(out, s, used);
		*ret_len = used;
	}
	return used;
}

void text_quote(char *out, size_t size, const char *s, size_t n)
{
	/* What must still fit after the last character: the quote, "..." and the NUL. */
	static const size_t tail = 5;
	size_t at = 0, len = 0;

	assert(size >= 8);
	out[at++] = '"';
	while (n > 0) {
		char piece[TEXT_ESCAPE_MAX];
		size_t used = text_escape(TEXT_GO, s, n, piece, &len);

		if (len + tail > size - at)
			break;
		memcpy(out + at, piece, len);
		at += len;
		s += used;
		n -= used;
	}
	memcpy(out + at, n > 0 ? "\"..." : "\"", n > 0 ? 5 : 2);
}

void text_clean(char *out, size_t size, const char *s)
{
	size_t at;

	assert(size >= 4);
	for (at = 0; *s != '\0' && at < size - 1; s++) {
		unsigned char c = (unsigned char)*s;

		out[at++] = c < ' ' || c == 0x7f ? ' ' : c > 0x7f ? '?' : *s;
	}
	out[at] = '\0';
	if (*s != '\0')
		memcpy(out + at - 3, "...", 3);
}
