/* A growing byte buffer that cannot outgrow its cap. */
#ifndef STOWAGE_BASE_BUF_H
#define STOWAGE_BASE_BUF_H

#include "content/base/err.h"

#include <stdint.h>

struct buf {
	uint8_t *p; /* owned; NULL while empty */
	size_t len; /* bytes in use */
	size_t cap; /* bytes allocated */
	size_t max; /* bytes that it may ever hold */
};

/* `max` is mandatory: everything that a client can make grow has a limit. */
void buf_init(struct buf *b, size_t max);
/* Frees the bytes; the buffer is empty and usable again. Fit for CLEANUP. */
void buf_free(struct buf *b);
/* Empty again, memory kept. */
void buf_reset(struct buf *b);

/* Makes the buffer `n` bytes longer; the caller writes them, from *ret_p on, before it appends more.
 * Past `max`: RESOURCE_EXHAUSTED and the buffer is unchanged. */
int buf_extend(struct buf *b, size_t n, uint8_t **ret_p, struct stow_err *err) MUST_CHECK;
/* Appends `n` bytes. Past `max`: RESOURCE_EXHAUSTED and the buffer is unchanged. */
int buf_append(struct buf *b, const void *p, size_t n, struct stow_err *err) MUST_CHECK;
/* Appends formatted text, no NUL counted. Same errors. */
int buf_printf(struct buf *b, struct stow_err *err, const char *fmt, ...) PRINTF(3, 4) MUST_CHECK;

#endif
