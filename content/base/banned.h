/* Functions that this project does not call, and why. Force-included in front of every C file of
 * ours (banned_args in meson.build): a call becomes a name that nobody declares, so the compiler
 * stops and says what to use instead.
 *
 * The headers that declare them come first, since a declaration would be taken for a call. */
#ifndef STOWAGE_BASE_BANNED_H
#define STOWAGE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No bound, or one that is not what it seems: strncpy leaves out the NUL where the text just fits,
 * and strncat's bound is not the size of the buffer. */
#define gets(...) gets_is_banned__use_getline
#define strcpy(...) strcpy_is_banned__use_snprintf_or_memcpy
#define stpcpy(...) stpcpy_is_banned__use_snprintf_or_memcpy
#define strncpy(...) strncpy_is_banned__use_snprintf_or_memcpy
#define strcat(...) strcat_is_banned__use_snprintf
#define strncat(...) strncat_is_banned__use_snprintf
#undef sprintf /* macros already, where clang builds with _FORTIFY_SOURCE */
#undef vsprintf
#define sprintf(...) sprintf_is_banned__use_snprintf
#define vsprintf(...) vsprintf_is_banned__use_vsnprintf

/* One buffer for the whole process, which has threads; or no bound. */
#define strtok(...) strtok_is_banned__use_strtok_r_or_memchr
#define strerror(...) strerror_is_banned__use_stow_fail_errno_or_strerrordesc_np
#define gmtime(...) gmtime_is_banned__use_clock_format_or_gmtime_r
#define localtime(...) localtime_is_banned__use_clock_format_or_localtime_r
#define asctime(...) asctime_is_banned__use_clock_format
#define asctime_r(...) asctime_r_is_banned__use_clock_format
#define ctime(...) ctime_is_banned__use_clock_format
#define ctime_r(...) ctime_r_is_banned__use_clock_format

/* They cannot tell a 0 from what is no number, take "12x" for 12, and overflow is undefined. What
 * comes from outside is parsed strictly: the whole text, in its range, or an error. */
#define atoi(...) atoi_is_banned__use_strtol
#define atol(...) atol_is_banned__use_strtol
#define atoll(...) atoll_is_banned__use_strtoll
#define atof(...) atof_is_banned__use_strtod

/* Guessable, and one state for all threads. For names that must be unique, and for jitter, which
 * must differ between nodes that started together, the kernel's numbers are as easily had. */
#define rand(...) rand_is_banned__use_getrandom
#define srand(...) srand_is_banned__use_getrandom
#define random(...) random_is_banned__use_getrandom
#define srandom(...) srandom_is_banned__use_getrandom
#define drand48(...) drand48_is_banned__use_getrandom
#define lrand48(...) lrand48_is_banned__use_getrandom

/* A name only: somebody else may be faster to make the file. */
#define mktemp(...) mktemp_is_banned__use_mkostemp
#define tmpnam(...) tmpnam_is_banned__use_mkostemp
#define tempnam(...) tempnam_is_banned__use_mkostemp

#endif
