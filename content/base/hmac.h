/* HMAC-SHA256, which request signatures are made of. Pure. */
#ifndef STOWAGE_BASE_HMAC_H
#define STOWAGE_BASE_HMAC_H

#include <stddef.h>
#include <stdint.h>

enum { HMAC_SHA256_LEN = 32 };

/* The keyed hash (RFC 2104) of `n` bytes under a key of `key_n` bytes. `out` may be the key. */
void hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[HMAC_SHA256_LEN]);

#endif
