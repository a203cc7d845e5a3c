#include "backends/s3/rfc3339.h"

#include "content/base/clock.h"
#include "content/base/text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* `n` digits at *s as a number, and *s past them; -1 if they are none. */
static int digits(const char **s, int n)
{
	int value = 0;
	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return -1;
		value = value * 10 + (**s - '0');
	}
	return value;
}

/* A number of `n` digits within min..max, with the letter `after` behind it (0: whatever comes). */
static bool field(const char **s, int n, int min, int max, char after, int *ret)
{
	*ret = digits(s, n);
	if (*ret < min || *ret > max || (after && **s != after))
		return false;
	*s += after != 0;
	return true;
}

/* "Z", or an offset, in seconds east of UTC. */
static bool zone(const char *s, long *ret_s)
{
	int h, m;
	char sign = *s;
	*ret_s = 0;
	if ((sign == 'Z' || sign == 'z') && !s[1])
		return true;
	if (sign != '+' && sign != '-')
		return false;
	s++;
	if (!field(&s, 2, 0, 23, ':', &h) || !field(&s, 2, 0, 59, 0, &m) || *s)
		return false;
	*ret_s = (h * 3600L + m * 60L) * (sign == '-' ? -1 : 1);
	return true;
}

int rfc3339_read(const char *s, int64_t *ret_wall_ns, struct stow_err *err)
{
	const char *p = s;
	struct tm tm = { 0 };
	int year, month;
	int64_t ns = 0;
	long east;
	bool ok = field(&p, 4, 1971, 2199, '-', &year) && field(&p, 2, 1, 12, '-', &month) &&
		  field(&p, 2, 1, 31, 0, &tm.tm_mday) && (*p == 'T' || *p == 't' || *p == ' ') && p++ &&
		  field(&p, 2, 0, 23, ':', &tm.tm_hour) && field(&p, 2, 0, 59, ':', &tm.tm_min) &&
		  field(&p, 2, 0, 60, 0, &tm.tm_sec);
	if (ok && *p == '.') {
		ok = isdigit((unsigned char)*++p);
		for (int64_t unit = NSEC_PER_SEC / 10; isdigit((unsigned char)*p); p++, unit /= 10)
			ns += unit * (*p - '0');
	}
	if (!ok || !zone(p, &east)) {
		char quoted[64];
		text_quote(quoted, sizeof(quoted), s, strlen(s));
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "%s is not a time, expected one such as \"2026-11-23T22:35:01Z\"", quoted);
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	*ret_wall_ns = ((int64_t)timegm(&tm) - east) * NSEC_PER_SEC + ns;
	return 0;
}
