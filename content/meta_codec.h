/* The rows of the database, to bytes and back. Pure; integers are little endian.
 *
 * A row begins with a version byte of its own, so that a later program can add to it. */
#ifndef STOWAGE_CONTENT_META_CODEC_H
#define STOWAGE_CONTENT_META_CODEC_H

#include "content/base/buf.h"
#include "content/meta.h"

enum {
	ROW_MAX = 8 << 20,       /* LIMIT_LABELS labels of LIMIT_LABEL bytes, and room */
	DIGEST_ROW_KEY_MAX = 65, /* algorithm, bytes */
};

/* A digest as a key: one byte for the algorithm, then its bytes. Returns the length. */
size_t digest_to_key(const struct digest *d, uint8_t out[DIGEST_ROW_KEY_MAX]);
/* DATA_LOSS if that is no such key. */
int digest_from_key(const void *p, size_t n, struct digest *ret_d, struct stow_err *err) MUST_CHECK;

/* All but the digest, which is the key. RESOURCE_EXHAUSTED past ROW_MAX. */
int blob_row_encode(const struct blob_info *i, struct buf *to, struct stow_err *err) MUST_CHECK;
/* *ret_i is to be freed; its digest is `d`. DATA_LOSS if these bytes are no such row. */
int blob_row_decode(const struct digest *d, const void *p, size_t n, struct blob_info *ret_i,
		    struct stow_err *err) MUST_CHECK;

int ingest_row_encode(const struct ingest_row *r, struct buf *to, struct stow_err *err) MUST_CHECK;
int ingest_row_decode(const void *p, size_t n, struct ingest_row *ret_r, struct stow_err *err) MUST_CHECK;

#endif
