/* Filters, each ended by a NUL byte. What compiles can be matched against anything; alternatives and
 * commas mean what they say; what does not compile gives a message that any client can read. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/base/text.h"
#include "content/filter.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

enum { TEXTS_MAX = 8 };

struct subject {
	const char *digest, *ref, *key, *value;
};

static const struct subject subjects[] = {
	{ .digest = "sha256:6c3c", .key = "foo", .value = "bar" },
	{ .digest = "sha512:00", .key = "a.b", .value = "\u725b \"q\",\n" },
	{ .digest = "", .key = "", .value = "" },
	{ .ref = "default/12/layer-sha256:6c3c" },
	{ 0 },
};

static const char *lookup(const void *p, const char *first, const char *joined)
{
	const struct subject *s = p;

	if (strcmp(first, "digest") == 0)
		return s->digest;
	if (strcmp(first, "ref") == 0)
		return s->ref;
	return strcmp(first, "labels") == 0 && s->key != NULL && strcmp(s->key, joined) == 0 ? s->value
											     : NULL;
}

/* Bit i: subject i matches. */
static unsigned matches(const struct filter *f)
{
	unsigned bits = 0;

	for (size_t i = 0; i < ARRAY_LEN(subjects); i++)
		bits |= (unsigned)filter_match(f, lookup, &subjects[i]) << i;
	if (filter_is_all(f))
		assert(bits == (1u << ARRAY_LEN(subjects)) - 1);
	return bits;
}

/* False if it does not compile. */
static bool run(const char *const *texts, size_t n, unsigned *ret_bits, struct stow_err *err)
{
	CLEANUP(filter_freep) struct filter *f = NULL;
	uint32_t c;

	err->msg[0] = '\0';
	if (filter_compile(texts, n, &f, err) == 0) {
		*ret_bits = matches(f);
		return true;
	}
	assert(f == NULL && err->code == STOW_INVALID_ARGUMENT && err->msg[0] != '\0');
	for (size_t at = 0, len = strlen(err->msg), step; at < len; at += step) {
		step = text_decode(err->msg + at, len - at, &c);
		assert(step > 0 && c >= 0x20 && c != 0x7f);
	}
	return false;
}

/* Fine texts make a fine request, but for the caps on the whole of it. */
static bool is_cap(const struct stow_err *err)
{
	return strstr(err->msg, "at most") != NULL;
}

/* "a,b" matches what a and b match. */
static void check_comma(const char *a, unsigned a_bits, const char *b, unsigned b_bits)
{
	CLEANUP(freep) char *both = x_asprintf("%s,%s", a, b);
	const char *one = both;
	struct stow_err err;
	unsigned bits;

	if (a[0] == '\0' || b[0] == '\0')
		return; /* matches all, but is no selector */
	if (run(&one, 1, &bits, &err))
		assert(bits == (a_bits & b_bits));
	else
		assert(is_cap(&err));
}

static void check_texts(const char *const *texts, size_t n)
{
	unsigned one[TEXTS_MAX] = { 0 }, any = n == 0 ? ~0u : 0, bits;
	struct stow_err err;
	bool good = true;

	for (size_t i = 0; i < n; i++) {
		good = run(&texts[i], 1, &one[i], &err) && good;
		any |= one[i];
	}
	if (run(texts, n, &bits, &err)) {
		assert(good);
		assert(n == 0 || bits == any);
	} else {
		assert(!good || is_cap(&err));
	}
	for (size_t i = 1; good && i < n; i++)
		check_comma(texts[i - 1], one[i - 1], texts[i], one[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(freep) char *copy = x_malloc(size + 1);
	const char *texts[TEXTS_MAX];
	size_t n = 0;

	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t at = 0; at < size && n < TEXTS_MAX; at += strlen(copy + at) + 1)
		texts[n++] = copy + at;
	check_texts(texts, n);
	return 0;
}
