/* Times as text, as S3's lists and the documents with credentials have them. */
#ifndef STOWAGE_BACKENDS_S3_RFC3339_H
#define STOWAGE_BACKENDS_S3_RFC3339_H

#include "content/base/err.h"

#include <stdint.h>

/* "2026-11-23T22:35:01Z", with a fraction or an offset too, years 1971 to 2199 (RFC 3339). INVALID_ARGUMENT
 * for anything else. */
int rfc3339_read(const char *s, int64_t *ret_wall_ns, struct stow_err *err) MUST_CHECK;

#endif
