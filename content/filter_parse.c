#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/base/regex.h"
#include "content/filter_internal.h"

static void selector_free(struct selector *sel)
{
	free(sel->first);
	free(sel->joined);
	free(sel->value);
	regex_free(sel->re);
	*sel = (struct selector){ 0 };
}

void clause_free(struct clause *c)
{
	for (size_t i = 0; i < c->n; i++)
		selector_free(&c->v[i]);
	free(c->v);
	*c = (struct clause){ 0 };
}

static int parse_path(struct scan *s, struct selector *sel, struct stow_err *err)
{
	size_t first_len, joined_len;

	if (scan_field(s, err) < 0)
		return -1;
	sel->first = scan_word(s, &first_len);
	for (bool more = false; scan_take(s, '.'); more = true) {
		if (more)
			scan_put(s, '.');
		if (scan_field(s, err) < 0)
			return -1;
	}
	sel->joined = scan_word(s, &joined_len);
	sel->nowhere = strlen(sel->first) < first_len || strlen(sel->joined) < joined_len;
	return 0;
}

static int parse_operator(struct scan *s, enum filter_op *ret_op, struct stow_err *err)
{
	static const struct {
		char text[3];
		enum filter_op op;
	} ops[] = { { "==", FILTER_EQUAL }, { "!=", FILTER_NOT_EQUAL }, { "~=", FILTER_MATCHES } };
	const char *at = s->text + s->pos;
	size_t n = strspn(at, "=!~"); /* as much as there is: "===" is a mistake, not a value "=" */

	if (n == 0)
		return scan_fail(s, s->pos, err, "expected ==, != or ~=, a dot, a comma or the end");
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (n == strlen(ops[i].text) && strncmp(at, ops[i].text, n) == 0) {
			*ret_op = ops[i].op;
			s->pos += n;
			return 0;
		}
	}
	return scan_fail(s, s->pos, err, "expected ==, != or ~=, not \"%.*s\"", n < 8 ? (int)n : 8, at);
}

static int parse_selector(struct scan *s, size_t *regexes, struct selector *sel, struct stow_err *err)
{
	if (parse_path(s, sel, err) < 0)
		return -1;

	char c = scan_peek(s);
	if (c == ',' || c == '\0')
		return 0; /* FILTER_PRESENT */

	size_t start = s->pos;
	if (parse_operator(s, &sel->op, err) < 0 || scan_value(s, sel->op == FILTER_MATCHES, err) < 0)
		return -1;
	sel->value = scan_word(s, &sel->value_len);
	if (sel->op != FILTER_MATCHES)
		return 0;
	if (++*regexes > LIMIT_FILTER_REGEXES)
		return scan_fail(s, start, err, "expected at most %d regular expressions in one request",
				 LIMIT_FILTER_REGEXES);
	sel->re = regex_new(sel->value, sel->value_len);
	return 0;
}

int clause_parse(const char *text, size_t *regexes, struct clause *ret_c, struct stow_err *err)
{
	CLEANUP(clause_free) struct clause c = { 0 };
	CLEANUP(scan_free) struct scan s = { 0 };
	size_t room = 0;

	if (scan_init(&s, text, err) < 0)
		return -1;
	do {
		if (c.n == room) {
			room = room > 0 ? 2 * room : 2;
			c.v = x_reallocarray(c.v, room, sizeof(*c.v));
		}
		c.v[c.n] = (struct selector){ 0 };
		if (parse_selector(&s, regexes, &c.v[c.n++], err) < 0)
			return -1;
	} while (scan_take(&s, ','));
	if (scan_peek(&s) != '\0')
		return scan_fail(&s, s.pos, err, "expected a comma or the end");

	*ret_c = c;
	c = (struct clause){ 0 };
	return 0;
}
