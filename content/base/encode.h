/* Bytes as text, for headers and names. Pure. */
#ifndef STOWAGE_BASE_ENCODE_H
#define STOWAGE_BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hex of `n` bytes and a NUL: 2 * n + 1 bytes of `out`. */
void hex_encode(char *out, const uint8_t *p, size_t n);

/* How many bytes base64_encode writes for `n`, the NUL included. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
/* Base 64 with padding (RFC 4648) of `n` bytes, and a NUL. */
void base64_encode(char *out, const uint8_t *p, size_t n);
/* The way back, strictly: whether the `n` characters are the base 64 of exactly `out_n` bytes, which go to
 * `out`. */
bool base64_decode(const char *s, size_t n, uint8_t *out, size_t out_n);

#endif
