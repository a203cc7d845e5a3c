#include "backends/s3/ini.h"

#include "content/base/mem.h"

#include <ctype.h>
#include <stdbool.h>

#define BLANKS " \t\r\f\v"

struct ini {
	ini_visit *visit;
	void *arg;
	unsigned line;
	char *section; /* NULL: none has begun */
	bool has_key;  /* what a line with a blank before it belongs to */
};

static void ini_free(struct ini *r)
{
	free(r->section);
}

static bool is_blank(char c)
{
	return c && strchr(BLANKS, c);
}

/* Cuts blanks from both ends. */
static char *trim(char *s)
{
	size_t n;
	s += strspn(s, BLANKS);
	n = strlen(s);
	while (n > 0 && is_blank(s[n - 1]))
		n--;
	s[n] = 0;
	return s;
}

/* Cuts a comment off a value: a # or ; that has a blank before it, or nothing. */
static void cut_comment(char *s)
{
	for (char *p = s; *p; p++) {
		if ((*p == '#' || *p == ';') && (p == s || is_blank(p[-1]))) {
			*p = 0;
			return;
		}
	}
}

static int refuse(const struct ini *r, const char *what, struct stow_err *err)
{
	return stow_fail(err, STOW_INVALID_ARGUMENT, "line %u %s", r->line, what);
}

/* "[name]", with nothing but a comment behind it. */
static int read_section(struct ini *r, char *line, struct stow_err *err)
{
	char *end = strchr(line, ']');
	char *rest;
	if (!end)
		return refuse(r, "begins a section, and has no ]", err);
	rest = end + 1 + strspn(end + 1, BLANKS);
	if (*rest && *rest != '#' && *rest != ';')
		return refuse(r, "has more than the section's name", err);
	*end = 0;
	free(r->section);
	r->section = x_strdup(trim(line + 1));
	r->has_key = false;
	return 0;
}

static int read_key(struct ini *r, char *line, struct stow_err *err)
{
	char *equals = strchr(line, '=');
	if (!equals || equals == line)
		return refuse(r, "is neither [section] nor key = value", err);
	if (!r->section)
		return refuse(r, "has a key before the first [section]", err);
	*equals = 0;
	char *key = trim(line), *value = equals + 1;
	for (char *p = key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	cut_comment(value);
	r->has_key = true;
	return r->visit(r->arg, r->section, key, trim(value), err);
}

static int read_line(struct ini *r, char *line, struct stow_err *err)
{
	const char *start = line + strspn(line, BLANKS);
	if (!*start || *start == '#' || *start == ';')
		return 0;
	if (start > line)
		return r->has_key ? 0 : refuse(r, "begins with a blank, and no key is before it", err);
	return *line == '[' ? read_section(r, line, err) : read_key(r, line, err);
}

int ini_read(const char *text, size_t n, ini_visit *visit, void *arg, struct stow_err *err)
{
	CLEANUP(ini_free) struct ini r = { .visit = visit, .arg = arg };
	static const char bom[] = "\xef\xbb\xbf";

	if (n >= 3 && memcmp(text, bom, 3) == 0) {
		text += 3;
		n -= 3;
	}
	while (n > 0) {
		const char *newline = memchr(text, '\n', n);
		size_t len = newline ? (size_t)(newline - text) : n;
		r.line++;
		if (memchr(text, 0, len))
			return refuse(&r, "has a NUL in it", err);
		CLEANUP(freep) char *line = x_strndup(text, len);
		if (read_line(&r, line, err) < 0)
			return -1;
		text += len;
		n -= len;
		if (n > 0) {
			text++;
			n--;
		}
	}
	return 0;
}
