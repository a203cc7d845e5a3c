/* The small languages of configuration values. Pure functions.
 *
 * All parse a whole NUL-terminated string or fail with INVALID_ARGUMENT, or OUT_OF_RANGE for a number
 * that does not fit its type; the message quotes the text and says what was expected. */
#ifndef STOWAGE_CONF_PARSE_H
#define STOWAGE_CONF_PARSE_H

#include "content/base/err.h"

#include <stdint.h>
#include <sys/types.h>

/* Valid UTF-8 without control characters: what may be stored, shown and written back. */
int conf_parse_text(const char *s, struct stow_err *err) MUST_CHECK;

/* Decimal, with or without a minus. */
int conf_parse_integer(const char *s, int64_t *ret_n, struct stow_err *err) MUST_CHECK;

/* Bytes: "1048576", "512B", "10MB" (powers of 1000: kB or KB, MB, GB, TB), "64MiB" (powers of 1024:
 * KiB, MiB, GiB, TiB). No sign, no fraction. */
int conf_parse_size(const char *s, int64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* "30s", "500ms", "1h30m": numbers with the units h, m, s, ms, us, ns, larger units first, each at
 * most once. Always with a unit. */
int conf_parse_duration(const char *s, int64_t *ret_ns, struct stow_err *err) MUST_CHECK;

/* Permission bits as an octal string: "0660" or "660". */
int conf_parse_mode(const char *s, mode_t *ret_mode, struct stow_err *err) MUST_CHECK;

/* An absolute path. The result is owned by the caller. */
int conf_parse_path(const char *s, char **ret_path, struct stow_err *err) MUST_CHECK;

/* Where to listen or to connect: an absolute path or "unix://" and one, which gives the path; or
 * "fd://". Longer paths than a socket can have are refused. The result is owned by the caller. */
int conf_parse_address(const char *s, char **ret_address, struct stow_err *err) MUST_CHECK;

enum { CONF_TEXT_MAX = 64 };
/* What conf_parse_size and conf_parse_duration read back as the same number, for numbers >= 0; with
 * the largest binary unit that leaves no rest, and as few units as there can be. */
void conf_format_size(int64_t bytes, char out[CONF_TEXT_MAX]);
void conf_format_duration(int64_t ns, char out[CONF_TEXT_MAX]);

#endif
