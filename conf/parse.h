/* The small languages of configuration values. Pure functions.
 *
 * All parse a whole NUL-terminated string or fail with INVALID_ARGUMENT, or OUT_OF_RANGE for a number
 * that does not fit its type; the message quotes the text and says what was expected. */
#ifndef STOWAGE_CONF_PARSE_H
#define STOWAGE_CONF_PARSE_H

#include "content/base/err.h"

#include <stdint.h>
#include <sys/types.h>

/* Fails with the quoted value and what is wrong with it. */
int conf_refuse(struct stow_err *err, enum stow_code code, const char *value, const char *what);

/* Valid UTF-8 without control characters: what may be stored, shown and written back. */
int conf_parse_text(const char *s, struct stow_err *err) MUST_CHECK;

/* The same, with a copy that the caller owns, as in all of these functions that give a char *. */
int conf_parse_line(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;

/* Decimal, with or without a minus. */
int conf_parse_integer(const char *s, int64_t *ret_n, struct stow_err *err) MUST_CHECK;

/* Bytes: "1048576", "512B", "10MB" (powers of 1000: kB or KB, MB, GB, TB), "64MiB" (powers of 1024:
 * KiB, MiB, GiB, TiB). No sign, no fraction. */
int conf_parse_size(const char *s, int64_t *ret_bytes, struct stow_err *err) MUST_CHECK;

/* Such a size, or a share in whole percent: "20%". The other one of the two becomes 0. */
int conf_parse_share(const char *s, int64_t *ret_bytes, int64_t *ret_percent,
		     struct stow_err *err) MUST_CHECK;

/* "30s", "500ms", "1h30m": numbers with the units h, m, s, ms, us, ns, larger units first, each at
 * most once. Always with a unit, but for "0". */
int conf_parse_duration(const char *s, int64_t *ret_ns, struct stow_err *err) MUST_CHECK;

/* Permission bits as an octal string: "0660" or "660". */
int conf_parse_mode(const char *s, mode_t *ret_mode, struct stow_err *err) MUST_CHECK;

/* An absolute path. */
int conf_parse_path(const char *s, char **ret_path, struct stow_err *err) MUST_CHECK;

/* Where to listen or to connect: an absolute path or "unix://" and one, which gives the path; or
 * "fd://". Longer paths than a socket can have are refused. */
int conf_parse_address(const char *s, char **ret_address, struct stow_err *err) MUST_CHECK;

/* --- of a bucket (parse_s3.c) --- */

/* Printable ASCII, blanks included. */
int conf_parse_ascii(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* Printable ASCII without blanks. The message does not show the value. */
int conf_parse_secret(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* "http[s]://host[:port]"; a slash at the end is dropped. */
int conf_parse_endpoint(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* The same, or "direct". */
int conf_parse_proxy(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
int conf_parse_region(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* By the rules that AWS has for new buckets. */
int conf_parse_bucket(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* The beginning of keys; a slash at the end is dropped. */
int conf_parse_prefix(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
int conf_parse_kms_key(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
int conf_parse_storage_class(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
int conf_parse_account(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;
/* "name=value,name=value": up to ten, with the characters and lengths that S3's tags may have. */
int conf_parse_pairs(const char *s, char **ret_s, struct stow_err *err) MUST_CHECK;

enum { CONF_TEXT_MAX = 64 };
/* What conf_parse_size and conf_parse_duration read back as the same number, for numbers >= 0; with
 * the largest binary unit that leaves no rest, and as few units as there can be. */
void conf_format_size(int64_t bytes, char out[CONF_TEXT_MAX]);
void conf_format_duration(int64_t ns, char out[CONF_TEXT_MAX]);

#endif
