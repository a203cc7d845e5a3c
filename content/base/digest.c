#include "content/base/digest.h"

#include "content/base/encode.h"
#include "content/base/text.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *name;
	uint8_t len;
} algs[DIGEST_ALG_COUNT] = {
	[DIGEST_SHA256] = { "sha256", 32 },
	[DIGEST_SHA384] = { "sha384", 48 },
	[DIGEST_SHA512] = { "sha512", 64 },
};

/* Room for a sha512 digest with a slip in it; more is not worth reading. */
enum { SHOWN_MAX = 160 };

const char *digest_alg_name(enum digest_alg alg)
{
	assert((unsigned)alg < DIGEST_ALG_COUNT);
	return algs[alg].name;
}

size_t digest_alg_len(enum digest_alg alg)
{
	assert((unsigned)alg < DIGEST_ALG_COUNT);
	return algs[alg].len;
}

enum digest_alg digest_alg_find(const char *name, size_t n)
{
	for (unsigned i = DIGEST_SHA256; i < DIGEST_ALG_COUNT; i++)
		if (n == strlen(algs[i].name) && memcmp(name, algs[i].name, n) == 0)
			return (enum digest_alg)i;
	return DIGEST_NONE;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The hex digits are the tail, from `at` on, of the text that messages show. */
static int parse_tail(struct digest *ret_d, enum digest_alg alg, const char *s, size_t n, size_t at,
		      struct stow_err *err)
{
	struct digest d = { .alg = (uint8_t)alg, .len = algs[alg].len };
	char shown[SHOWN_MAX], bad[16];

	if (n - at != 2 * (size_t)d.len) {
		text_quote(shown, sizeof(shown), s, n);
		return stow_fail(err, STOW_INVALID_ARGUMENT, "digest %s: %zu hex digits, expected %u", shown,
				 n - at, 2U * d.len);
	}
	for (size_t i = 0; i < 2 * (size_t)d.len; i++) {
		int v = hex_value(s[at + i]);

		if (v < 0) {
			text_quote(shown, sizeof(shown), s, n);
			text_quote(bad, sizeof(bad), s + at + i, 1);
			return stow_fail(err, STOW_INVALID_ARGUMENT,
					 "digest %s: %s is no lower-case hex digit, expected %u of them",
					 shown, bad, 2U * d.len);
		}
		d.b[i / 2] = (uint8_t)(d.b[i / 2] << 4 | v);
	}
	*ret_d = d;
	return 0;
}

int digest_parse(struct digest *ret_d, const char *s, size_t n, struct stow_err *err)
{
	char shown[SHOWN_MAX], name[32];
	const char *colon = n > 0 ? memchr(s, ':', n) : NULL;
	enum digest_alg alg;

	if (colon == NULL) {
		text_quote(shown, sizeof(shown), s, n);
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "digest %s: no algorithm, expected <algorithm>:<hex>", shown);
	}
	alg = digest_alg_find(s, (size_t)(colon - s));
	if (alg == DIGEST_NONE) {
		text_quote(shown, sizeof(shown), s, n);
		text_quote(name, sizeof(name), s, (size_t)(colon - s));
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "digest %s: unknown algorithm %s, expected sha256, sha384 or sha512", shown,
				 name);
	}
	return parse_tail(ret_d, alg, s, n, (size_t)(colon - s) + 1, err);
}

int digest_parse_hex(struct digest *ret_d, enum digest_alg alg, const char *hex, size_t n,
		     struct stow_err *err)
{
	assert(alg != DIGEST_NONE && (unsigned)alg < DIGEST_ALG_COUNT);
	return parse_tail(ret_d, alg, hex, n, 0, err);
}

void digest_format_hex(const struct digest *d, char out[DIGEST_HEX_MAX])
{
	hex_encode(out, d->b, d->len);
}

void digest_format(const struct digest *d, char out[DIGEST_STR_MAX])
{
	const char *name = digest_alg_name(d->alg);
	size_t n;

	if (name == NULL) {
		out[0] = 0;
		return;
	}
	n = strlen(name);
	memcpy(out, name, n);
	out[n] = ':';
	digest_format_hex(d, out + n + 1);
}

bool digest_equal(const struct digest *x, const struct digest *y)
{
	return x->alg == y->alg && memcmp(x->b, y->b, sizeof(x->b)) == 0;
}

int digest_compare(const struct digest *x, const struct digest *y)
{
	if (x->alg != y->alg)
		return x->alg < y->alg ? -1 : 1;
	return memcmp(x->b, y->b, sizeof(x->b));
}

uint64_t digest_key(const struct digest *d)
{
	uint64_t words[sizeof(d->b) / sizeof(uint64_t)];
	uint64_t key = d->alg;

	/* Every word counts: a digest is as random as can be, but a client may ask for any number of
	 * made-up ones. */
	memcpy(words, d->b, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		key = (key ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		key ^= key >> 32;
	}
	return key;
}
