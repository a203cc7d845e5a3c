#include "content/base/buf.h"

#include "content/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { BUF_FIRST = 64 };

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_free(struct buf *b)
{
	free(b->p);
	buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
}

int buf_extend(struct buf *b, size_t n, uint8_t **ret_p, struct stow_err *err)
{
	size_t cap = b->cap;

	if (n > b->max - b->len)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
				 "buffer holds %zu bytes, %zu more are over its limit of %zu", b->len, n,
				 b->max);
	if (n > cap - b->len) {
		/* Doubling, so that appending is linear; the cap wins over the doubling. */
		cap = cap > b->max / 2 ? b->max : cap * 2;
		if (cap < BUF_FIRST)
			cap = BUF_FIRST;
		if (cap < b->len + n)
			cap = b->len + n;
		if (cap > b->max)
			cap = b->max;
		b->p = x_reallocarray(b->p, cap, 1);
		b->cap = cap;
	}
	*ret_p = b->p + b->len;
	b->len += n;
	return 0;
}

int buf_append(struct buf *b, const void *p, size_t n, struct stow_err *err)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	if (buf_extend(b, n, &to, err) < 0)
		return -1;
	memcpy(to, p, n);
	return 0;
}

int buf_printf(struct buf *b, struct stow_err *err, const char *fmt, ...)
{
	CLEANUP(freep) char *large = NULL;
	char small[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return stow_fail(err, STOW_INTERNAL, "cannot format \"%s\"", fmt);
	if ((size_t)n < sizeof(small))
		return buf_append(b, small, (size_t)n, err);
	if ((size_t)n > b->max - b->len) /* before that much is allocated */
		return buf_append(b, NULL, (size_t)n, err);
	large = x_malloc((size_t)n + 1);
	va_start(ap, fmt);
	n = vsnprintf(large, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return buf_append(b, large, (size_t)n, err);
}
