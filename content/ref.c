#include "content/ref.h"

#include "content/base/limits.h"
#include "content/base/text.h"

#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* How many bytes from the start are valid UTF-8. */
static size_t valid_len(const char *s, size_t n)
{
	size_t done = 0, step;
	uint32_t c;

	while (done < n && (step = text_decode(s + done, n - done, &c)) > 0)
		done += step;
	return done;
}

int ref_check(const char *ref, size_t n, struct stow_err *err)
{
	char shown[80];

	if (n == 0)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "ref is empty");
	text_quote(shown, sizeof(shown), ref, n);
	if (n > LIMIT_REF)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "ref %s has %zu bytes, at most %d are allowed",
				 shown, n, LIMIT_REF);

	const char *nul = memchr(ref, '\0', n);
	if (nul != NULL)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "ref %s holds a NUL at byte %td", shown,
				 nul - ref);

	size_t valid = valid_len(ref, n);
	if (valid < n)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "ref %s is not valid UTF-8 at byte %zu", shown,
				 valid);
	return 0;
}

/* Steps over a run of `set` that is not empty, and over `end` after it. */
static bool skip(const char **p, const char *set, char end)
{
	size_t n = strspn(*p, set);

	if (n == 0 || (*p)[n] != end)
		return false;
	*p += n + 1;
	return true;
}

bool ref_guess_digest(const char *ref, struct digest *ret_d)
{
	const char *p = ref;

	if (!skip(&p, LETTERS DIGITS "._-", '/') || !skip(&p, DIGITS, '/'))
		return false;

	/* The kind may hold dashes; an algorithm's name does not. */
	size_t kind = strspn(p, LETTERS DIGITS "-");
	while (kind > 0 && p[kind] != '-')
		kind--;
	if (kind == 0)
		return false;
	p += kind + 1;

	struct stow_err ignored; /* what is no digest is no guess */
	return digest_parse(ret_d, p, strlen(p), &ignored) == 0;
}
