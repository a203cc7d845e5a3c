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
