#include "content/base/hmac.h"

#include "content/base/mem.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

void hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[HMAC_SHA256_LEN])
{
	uint8_t mac[HMAC_SHA256_LEN];
	unsigned len = 0;

	assert(key_n <= INT32_MAX);
	if (HMAC(EVP_sha256(), key, (int)key_n, p, n, mac, &len) == NULL)
		x_abort("HMAC-SHA256 is refused by the cryptographic library");
	assert(len == sizeof(mac));
	memcpy(out, mac, sizeof(mac));
}
