#include "content/base/encode.h"

#include "content/base/mem.h"

#include <openssl/evp.h>

void hex_encode(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

void base64_encode(char *out, const uint8_t *p, size_t n)
{
	int len;

	assert(n <= INT32_MAX / 2);
	len = EVP_EncodeBlock((unsigned char *)out, p, (int)n);
	assert((size_t)len == BASE64_SIZE(n) - 1);
}

bool base64_decode(const char *s, size_t n, uint8_t *out, size_t out_n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t chars = (out_n * 8 + 5) / 6;
	uint32_t bits = 0;
	unsigned have = 0;

	if (n != BASE64_SIZE(out_n) - 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] != '\0' ? strchr(alphabet, s[i]) : NULL;

		if (i >= chars) {
			if (s[i] != '=')
				return false;
			continue;
		}
		if (at == NULL)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8) {
			have -= 8;
			*out++ = (uint8_t)(bits >> have);
			bits &= (1u << have) - 1;
		}
	}
	return bits == 0; /* what is left over of the last character */
}
