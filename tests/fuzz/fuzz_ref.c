/* A ref that passes is text that any client can read back; a digest that is guessed stands in it. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ref.h"
#include "tests/fuzz/fuzz.h"

/* UTF-8 by its definition, backwards: some character's encoding is what stands here. */
static size_t step(const uint8_t *p, size_t n)
{
	for (size_t len = 1; len <= 4 && len <= n; len++) {
		static const uint8_t leads[] = { 0x00, 0xc0, 0xe0, 0xf0 };
		uint32_t c = p[0] & (len == 1 ? 0x7f : 0x7f >> len);
		for (size_t i = 1; i < len; i++)
			c = c << 6 | (p[i] & 0x3f);

		size_t need = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		bool same = need == len && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) &&
			    p[0] == (leads[len - 1] | c >> 6 * (len - 1));
		for (size_t i = 1; i < len; i++)
			same = same && p[i] == (0x80 | (c >> 6 * (len - 1 - i) & 0x3f));
		if (same)
			return len;
	}
	return 0;
}

static bool fit(const uint8_t *data, size_t size)
{
	if (size == 0 || size > LIMIT_REF)
		return false;
	for (size_t done = 0, n; done < size; done += n) {
		n = step(data + done, size - done);
		if (n == 0 || data[done] == '\0')
			return false;
	}
	return true;
}

static void check_guess(const char *ref, const struct digest *d)
{
	char text[DIGEST_STR_MAX];
	const char *slash = strchr(ref, '/');

	digest_format(d, text);
	size_t len = strlen(ref), tail = strlen(text);
	assert(len > tail + 5 && strcmp(ref + len - tail, text) == 0); /* at least "n/1/k-" before it */
	assert(ref[len - tail - 1] == '-');
	assert(slash != NULL && slash > ref && slash[1] >= '0' && slash[1] <= '9');
	assert(strchr(slash + 1, '/') == strrchr(ref, '/') && strrchr(ref, '/') > slash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(freep) char *ref = x_strndup((const char *)data, size);
	struct stow_err err = { 0 };
	struct digest d;

	if (ref_check((const char *)data, size, &err) == 0)
		assert(fit(data, size));
	else
		assert(!fit(data, size) && err.code == STOW_INVALID_ARGUMENT && err.msg[0] != '\0');

	if (ref_guess_digest(ref, &d))
		check_guess(ref, &d);
	return 0;
}
