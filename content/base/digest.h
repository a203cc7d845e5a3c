/* Digests: values, parsed strictly once at the edge and copied and compared ever after.
 *
 * The text form is the OCI image specification's: "<algorithm>:<lower-case hex>", with sha256,
 * sha384 and sha512 (what containerd's digest package accepts). */
#ifndef STOWAGE_BASE_DIGEST_H
#define STOWAGE_BASE_DIGEST_H

#include "content/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum digest_alg { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA384 = 2, DIGEST_SHA512 = 3 };
enum { DIGEST_ALG_COUNT = 4 };

struct digest {
	uint8_t alg; /* enum digest_alg; DIGEST_NONE: no digest is known */
	uint8_t len; /* bytes used of b; the rest is zero */
	uint8_t b[64];
};

enum {
	DIGEST_HEX_MAX = 2 * 64 + 1,         /* hex and NUL */
	DIGEST_STR_MAX = 7 + DIGEST_HEX_MAX, /* "sha512:", hex, NUL */
};

/* Parses exactly `n` bytes: known algorithm, lower-case hex, the algorithm's length. Anything else
 * is INVALID_ARGUMENT with a message that says what was wrong and what was expected. */
int digest_parse(struct digest *ret_d, const char *s, size_t n, struct stow_err *err) MUST_CHECK;
/* The same for a bare hex string of a known algorithm (a file name below blobs/<alg>/). */
int digest_parse_hex(struct digest *ret_d, enum digest_alg alg, const char *hex, size_t n,
		     struct stow_err *err) MUST_CHECK;

void digest_format(const struct digest *d, char out[DIGEST_STR_MAX]);
/* Only the hex digits. */
void digest_format_hex(const struct digest *d, char out[DIGEST_HEX_MAX]);

bool digest_equal(const struct digest *x, const struct digest *y);
/* Orders by algorithm, then by bytes: <0, 0, >0. */
int digest_compare(const struct digest *x, const struct digest *y);
/* A hash of the digest's own bytes, for tables in memory. */
uint64_t digest_key(const struct digest *d);

static inline bool digest_is_set(const struct digest *d)
{
	return d->alg != DIGEST_NONE;
}

/* "sha256" and so on; NULL for DIGEST_NONE. Static storage. */
const char *digest_alg_name(enum digest_alg alg);
/* DIGEST_NONE for a name that is unknown. */
enum digest_alg digest_alg_find(const char *name, size_t n);
/* Bytes of the algorithm's digest. */
size_t digest_alg_len(enum digest_alg alg);

#endif
