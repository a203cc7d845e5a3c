/* Documented in parse.h. */
#include "conf/parse.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/un.h>

/* How much room a wrong value gets in an error. */
enum { QUOTE_MAX = 96 };

struct unit {
	const char *name;
	int64_t factor;
};

#define KI INT64_C(1024)
#define K INT64_C(1000)

/* Largest first among the binary ones: formatting takes the first that divides. */
static const struct unit sizes[] = {
	{ "TiB", KI *KI *KI *KI },
	{ "GiB", KI *KI *KI },
	{ "MiB", KI *KI },
	{ "KiB", KI },
	{ "TB", K *K *K *K },
	{ "GB", K *K *K },
	{ "MB", K *K },
	{ "KB", K },
	{ "kB", K },
	{ "B", 1 },
	{ "", 1 },
};
enum { BINARY_SIZES = 4 };

/* Largest first: a duration may only go down this list. */
static const struct unit durations[] = {
	{ "h", 3600 * NSEC_PER_SEC },
	{ "m", 60 * NSEC_PER_SEC },
	{ "s", NSEC_PER_SEC },
	{ "ms", NSEC_PER_MSEC },
	{ "us", 1000 },
	{ "ns", 1 },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads the digits at *s and moves past them: 0, or an errno value: EINVAL for none, ERANGE. */
static int read_number(const char **s, int64_t *ret_n)
{
	int64_t n = 0;
	if (!is_digit(**s))
		return EINVAL;
	for (; is_digit(**s); (*s)++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, **s - '0', &n))
			return ERANGE;
	*ret_n = n;
	return 0;
}

int conf_refuse(struct stow_err *err, enum stow_code code, const char *value, const char *what)
{
	char quoted[QUOTE_MAX];

	text_quote(quoted, sizeof(quoted), value, strlen(value));
	return stow_fail(err, code, "%s %s", quoted, what);
}

int conf_parse_text(const char *s, struct stow_err *err)
{
	size_t len = strlen(s);

	for (size_t at = 0; at < len;) {
		uint32_t c = 0;
		size_t n = text_decode(s + at, len - at, &c);
		if (n == 0)
			return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "is not valid UTF-8");
		if (c < 0x20 || c == 0x7f)
			return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "has a control character in it");
		at += n;
	}
	return 0;
}

int conf_parse_line(const char *s, char **ret_s, struct stow_err *err)
{
	if (conf_parse_text(s, err) < 0)
		return -1;
	*ret_s = x_strdup(s);
	return 0;
}

int conf_parse_integer(const char *s, int64_t *ret_n, struct stow_err *err)
{
	const char *p = s;
	bool minus = *p == '-';
	p += minus;
	int64_t n = 0;
	int e = read_number(&p, &n);
	if (e == ERANGE)
		return conf_refuse(err, STOW_OUT_OF_RANGE, s, "is too large a number");
	if (e != 0 || *p)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "is not an integer");
	*ret_n = minus ? -n : n;
	return 0;
}

int conf_parse_size(const char *s, int64_t *ret_bytes, struct stow_err *err)
{
	const char *p = s;
	int64_t n = 0;
	int e = read_number(&p, &n);
	for (size_t i = 0; e == 0 && i < ARRAY_LEN(sizes); i++) {
		if (strcmp(p, sizes[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(n, sizes[i].factor, &n)) {
			e = ERANGE;
			break;
		}
		*ret_bytes = n;
		return 0;
	}
	if (e == ERANGE)
		return conf_refuse(err, STOW_OUT_OF_RANGE, s, "is too large a size");
	return conf_refuse(err, STOW_INVALID_ARGUMENT, s,
			   "is not a size, expected a number of bytes such as \"64MiB\" or \"10GB\"");
}

int conf_parse_share(const char *s, int64_t *ret_bytes, int64_t *ret_percent, struct stow_err *err)
{
	const char *p = s;
	int64_t n = 0;
	int e = read_number(&p, &n);
	if (e == 0 && strcmp(p, "%") == 0) {
		*ret_bytes = 0;
		*ret_percent = n;
		return 0;
	}
	if (conf_parse_size(s, &n, err) < 0)
		return err->code == STOW_OUT_OF_RANGE
			       ? -1
			       : conf_refuse(
					 err, STOW_INVALID_ARGUMENT, s,
					 "is neither a size such as \"50GiB\" nor a share such as \"20%\"");
	*ret_bytes = n;
	*ret_percent = 0;
	return 0;
}

/* Adds one number and its unit, moving *s past them and *next past the unit, which is used up then: 0,
 * or an errno value: EINVAL, ERANGE. */
static int read_duration_part(const char **s, size_t *next, int64_t *sum)
{
	int64_t n = 0;
	int e = read_number(s, &n);
	if (e != 0)
		return e;

	size_t len = strcspn(*s, "0123456789");
	for (size_t i = *next; i < ARRAY_LEN(durations); i++) {
		if (strlen(durations[i].name) != len || memcmp(*s, durations[i].name, len) != 0)
			continue;
		*s += len;
		*next = i + 1;
		bool overflow = __builtin_mul_overflow(n, durations[i].factor, &n) ||
				__builtin_add_overflow(*sum, n, sum);
		return overflow ? ERANGE : 0;
	}
	return EINVAL;
}

int conf_parse_duration(const char *s, int64_t *ret_ns, struct stow_err *err)
{
	const char *p = s;
	int64_t sum = 0;
	size_t next = 0;
	int e;

	if (strcmp(s, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	do {
		e = read_duration_part(&p, &next, &sum);
	} while (e == 0 && *p);

	if (e == ERANGE)
		return conf_refuse(err, STOW_OUT_OF_RANGE, s, "is too long a duration");
	if (e != 0)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s,
				   "is not a duration, expected one such as \"30s\", \"500ms\" or \"1h30m\"");
	*ret_ns = sum;
	return 0;
}

int conf_parse_mode(const char *s, mode_t *ret_mode, struct stow_err *err)
{
	size_t n = strspn(s, "01234567");
	mode_t mode = 0;
	for (size_t i = 0; i < n && i < 4; i++)
		mode = mode * 8 + (mode_t)(s[i] - '0');
	if (s[n] || n < 3 || n > 4 || mode > 0777)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s,
				   "is not a file mode, expected an octal string such as \"0660\"");
	*ret_mode = mode;
	return 0;
}

int conf_parse_path(const char *s, char **ret_path, struct stow_err *err)
{
	if (conf_parse_text(s, err) < 0)
		return -1;
	if (*s != '/')
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "is not an absolute path");
	if (strlen(s) >= PATH_MAX)
		return stow_fail(err, STOW_OUT_OF_RANGE, "the path is longer than %d bytes", PATH_MAX - 1);
	*ret_path = x_strdup(s);
	return 0;
}

int conf_parse_address(const char *s, char **ret_address, struct stow_err *err)
{
	static const char scheme[] = "unix://";
	/* Less the NUL at the end, which Linux does not need but other readers of the address do. */
	enum { SUN_PATH_MAX = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 };

	if (conf_parse_text(s, err) < 0)
		return -1;
	const char *path = strncmp(s, scheme, strlen(scheme)) == 0 ? s + strlen(scheme) : s;
	if (strcmp(s, "fd://") != 0 && *path != '/')
		return conf_refuse(
			err, STOW_INVALID_ARGUMENT, s,
			"is not an address, expected an absolute path, unix:///path or fd:// (a socket "
			"from systemd)");
	if (strlen(path) > SUN_PATH_MAX)
		return stow_fail(err, STOW_OUT_OF_RANGE,
				 "the path is %zu bytes long, and that of a socket can have no more than %d",
				 strlen(path), SUN_PATH_MAX);
	*ret_address = x_strdup(path);
	return 0;
}

void conf_format_size(int64_t bytes, char out[CONF_TEXT_MAX])
{
	for (size_t i = 0; i < BINARY_SIZES && bytes != 0; i++) {
		if (bytes % sizes[i].factor != 0)
			continue;
		snprintf(out, CONF_TEXT_MAX, "%lld%s", (long long)(bytes / sizes[i].factor), sizes[i].name);
		return;
	}
	snprintf(out, CONF_TEXT_MAX, "%lldB", (long long)bytes);
}

void conf_format_duration(int64_t ns, char out[CONF_TEXT_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		int64_t count = ns / durations[i].factor;
		ns %= durations[i].factor;
		if (count != 0)
			n += (size_t)snprintf(out + n, CONF_TEXT_MAX - n, "%lld%s", (long long)count,
					      durations[i].name);
	}
	if (n == 0)
		snprintf(out, CONF_TEXT_MAX, "0s");
}
