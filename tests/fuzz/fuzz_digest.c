/* A digest that parses has one text form only: the one that was parsed. */
#include "content/base/digest.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

static void check_parsed(const struct digest *d, const char *text, size_t n)
{
	char whole[DIGEST_STR_MAX], hex[DIGEST_HEX_MAX];
	struct digest again;
	struct stow_err err;

	digest_format(d, whole);
	assert(strlen(whole) == n && memcmp(whole, text, n) == 0);
	assert(digest_is_set(d) && d->len == digest_alg_len(d->alg));
	for (size_t i = d->len; i < sizeof(d->b); i++)
		assert(d->b[i] == 0);

	digest_format_hex(d, hex);
	assert(strcmp(strchr(whole, ':') + 1, hex) == 0);
	assert(digest_parse_hex(&again, d->alg, hex, strlen(hex), &err) == 0);
	assert(digest_equal(d, &again) && digest_compare(d, &again) == 0);
	assert(digest_key(d) == digest_key(&again));

	again.b[0] ^= 1;
	assert(!digest_equal(d, &again));
	assert((digest_compare(d, &again) < 0) == (digest_compare(&again, d) > 0));
	assert(digest_compare(d, &again) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *colon = size > 0 ? memchr(text, ':', size) : NULL;
	size_t name_len = colon != NULL ? (size_t)(colon - text) : size;
	enum digest_alg alg = digest_alg_find(text, name_len);
	struct stow_err err = { 0 };
	struct digest d = { 0 };

	if (alg != DIGEST_NONE)
		assert(strlen(digest_alg_name(alg)) == name_len &&
		       memcmp(digest_alg_name(alg), text, name_len) == 0);

	if (digest_parse(&d, text, size, &err) == 0) {
		assert(d.alg == alg);
		check_parsed(&d, text, size);
		return 0;
	}
	assert(err.code == STOW_INVALID_ARGUMENT && err.msg[0] != '\0');
	assert(!digest_is_set(&d));
	/* Whole and in parts, it is refused for the same reason. */
	if (alg != DIGEST_NONE && colon != NULL)
		assert(digest_parse_hex(&d, alg, colon + 1, size - name_len - 1, &err) < 0);
	return 0;
}
