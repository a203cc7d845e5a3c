/* What the compiler is asked to check for us, and the two macros that every file uses. */
#ifndef STOWAGE_BASE_COMPILER_H
#define STOWAGE_BASE_COMPILER_H

#include <stddef.h>

/* The function formats like printf; `fmt`, never NULL, and `first` count parameters from 1. */
#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first), nonnull(fmt)))
/* Ignoring the result is a bug. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* The object that holds `member` at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
