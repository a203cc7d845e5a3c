#include "content/filter.h"

#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/base/regex.h"
#include "content/base/text.h"
#include "content/filter_internal.h"

#include <stdint.h>

#define FILTER_MAGIC UINT32_C(0x57a6f117)

struct filter {
	uint32_t magic;
	bool all;         /* matches everything; the clauses do not count */
	struct clause *v; /* any of them may match */
	size_t n;
};

int filter_compile(const char *const *texts, size_t n, struct filter **ret_f, struct stow_err *err)
{
	if (n > LIMIT_FILTERS)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%zu filters, at most %d are allowed", n,
				 LIMIT_FILTERS);

	CLEANUP(filter_freep) struct filter *f = x_calloc(1, sizeof(*f));
	size_t regexes = 0;

	f->magic = FILTER_MAGIC;
	f->all = n == 0;
	f->v = x_calloc(n, sizeof(*f->v));
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(texts[i]);
		if (len > LIMIT_FILTER) {
			char shown[80];
			text_quote(shown, sizeof(shown), texts[i], len);
			return stow_fail(err, STOW_INVALID_ARGUMENT,
					 "filter %s has %zu bytes, at most %d are allowed", shown, len,
					 LIMIT_FILTER);
		}
		if (len == 0)
			f->all = true; /* the others must still be free of errors */
		else if (clause_parse(texts[i], &regexes, &f->v[f->n], err) < 0)
			return -1;
		else
			f->n++;
	}
	*ret_f = TAKE(f);
	return 0;
}

void filter_free(struct filter *f)
{
	if (f == NULL)
		return;
	CHECK_OBJ(f, FILTER_MAGIC);
	for (size_t i = 0; i < f->n; i++)
		clause_free(&f->v[i]);
	free(f->v);
	FREE_OBJ(f);
}

void filter_freep(struct filter **f)
{
	filter_free(*f);
}

static bool selector_match(const struct selector *sel, filter_lookup *lookup, const void *subject)
{
	const char *found = sel->nowhere ? NULL : lookup(subject, sel->first, sel->joined);
	const char *text = found != NULL ? found : "";
	size_t len = strlen(text);
	bool same = len == sel->value_len && (len == 0 || memcmp(text, sel->value, len) == 0);

	switch (sel->op) {
	case FILTER_PRESENT:
		return found != NULL;
	case FILTER_EQUAL:
		return found != NULL && same;
	case FILTER_NOT_EQUAL:
		return !same;
	case FILTER_MATCHES:
		return sel->re != NULL && regex_match(sel->re, text, len);
	}
	x_abort("filter: no such operator: %u", (unsigned)sel->op);
}

static bool clause_match(const struct clause *c, filter_lookup *lookup, const void *subject)
{
	for (size_t i = 0; i < c->n; i++) {
		if (!selector_match(&c->v[i], lookup, subject))
			return false;
	}
	return true;
}

bool filter_match(const struct filter *f, filter_lookup *lookup, const void *subject)
{
	CHECK_OBJ(f, FILTER_MAGIC);
	if (f->all)
		return true;
	for (size_t i = 0; i < f->n; i++) {
		if (clause_match(&f->v[i], lookup, subject))
			return true;
	}
	return false;
}

bool filter_is_all(const struct filter *f)
{
	CHECK_OBJ(f, FILTER_MAGIC);
	return f->all;
}

const char *filter_bad_regex(const struct filter *f)
{
	CHECK_OBJ(f, FILTER_MAGIC);
	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < f->v[i].n; j++)
			if (f->v[i].v[j].op == FILTER_MATCHES && f->v[i].v[j].re == NULL)
				return f->v[i].v[j].value;
	return NULL;
}
