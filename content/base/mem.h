/* Memory and ownership.
 *
 * Allocation does not fail here: the x-functions end the process with a message when the system
 * refuses. On Linux a refusal of the small sizes that we ask for means that the process is about
 * to be killed anyway, gRPC's core does the same, and what clients can make us allocate is capped
 * in limits.h. So there are no untested error paths behind every strdup.
 *
 * Ownership is by scope: CLEANUP(fn) runs fn(&variable) when the variable's scope ends, TAKE()
 * hands the value over and leaves NULL behind. */
#ifndef STOWAGE_BASE_MEM_H
#define STOWAGE_BASE_MEM_H

#include "content/base/compiler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* The pointer, which its variable no longer owns. */
#define TAKE(p)                                                                                              \
	({                                                                                                   \
		__typeof__(p) take_ = (p);                                                                   \
		(p) = NULL;                                                                                  \
		take_;                                                                                       \
	})

/* Every long-lived object begins with a magic number, checked at the entry of each function that
 * takes one and cleared when it is freed: a stale pointer stops us at once. Asserts stay on in
 * release builds; they guard our own bugs, never what comes from outside. */
#define CHECK_OBJ(p, m)                                                                                      \
	do {                                                                                                 \
		assert((p) != NULL);                                                                         \
		assert((p)->magic == (m));                                                                   \
	} while (0)
#define FREE_OBJ(p)                                                                                          \
	do {                                                                                                 \
		(p)->magic = 0;                                                                              \
		free(p);                                                                                     \
		(p) = NULL;                                                                                  \
	} while (0)

/* Ends the process with a message, where going on is not possible and no caller could help. */
NORETURN void x_abort(const char *fmt, ...) PRINTF(1, 2);

/* Never NULL, also for n == 0. x_calloc and x_reallocarray check the product for overflow. */
void *x_malloc(size_t n);
void *x_calloc(size_t n, size_t size);
void *x_reallocarray(void *p, size_t n, size_t size);
char *x_strdup(const char *s);
char *x_strndup(const char *s, size_t n);
char *x_asprintf(const char *fmt, ...) PRINTF(1, 2);

/* For CLEANUP: `CLEANUP(freep) char *s = ...;` and `CLEANUP(fd_closep) int fd = -1;`. */
static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Closes *fd unless it is negative. Never retried: after EINTR, Linux has closed it already. */
static inline void fd_closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#endif
