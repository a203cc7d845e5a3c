#include "content/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

void x_abort(const char *fmt, ...)
{
	/* No stdio stream and no allocation: there may be no memory left for either. */
	char text[256], line[sizeof(text) + 16];
	va_list ap;
	int n;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = snprintf(line, sizeof(line), "stowage: %s\n", text);
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* Nobody is listening; the signal is what is left. */
	}
	abort();
}

static NORETURN void out_of_memory(size_t n)
{
	x_abort("out of memory (%zu bytes asked for)", n);
}

void *x_malloc(size_t n)
{
	void *p = malloc(n > 0 ? n : 1);

	if (p == NULL)
		out_of_memory(n);
	return p;
}

void *x_calloc(size_t n, size_t size)
{
	void *p = n > 0 && size > 0 ? calloc(n, size) : calloc(1, 1);

	if (p == NULL)
		out_of_memory(size > 0 && n > SIZE_MAX / size ? SIZE_MAX : n * size);
	return p;
}

void *x_reallocarray(void *p, size_t n, size_t size)
{
	/* realloc to 0 bytes would free it. */
	void *q = n > 0 && size > 0 ? reallocarray(p, n, size) : realloc(p, 1);

	if (q == NULL)
		out_of_memory(size > 0 && n > SIZE_MAX / size ? SIZE_MAX : n * size);
	return q;
}

char *x_strdup(const char *s)
{
	char *p = strdup(s);

	if (p == NULL)
		out_of_memory(strlen(s) + 1);
	return p;
}

char *x_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = x_malloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *x_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory(0);
	return p;
}
