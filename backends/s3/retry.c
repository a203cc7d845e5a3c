#include "backends/s3/retry.h"

#include "content/base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* S3's codes that say what to do, whatever the status: an answer that has begun as 200 may end as an
 * error. From "Error responses" in the Amazon S3 API Reference, and from the sources of Ceph and MinIO
 * where they have more. */
static const struct {
	const char *code;
	enum retry_verdict verdict;
} codes[] = {
	{ "SlowDown", RETRY_THROTTLED },
	{ "SlowDownRead", RETRY_THROTTLED },
	{ "SlowDownWrite", RETRY_THROTTLED },
	{ "ServiceUnavailable", RETRY_THROTTLED },
	{ "Throttling", RETRY_THROTTLED },
	{ "ThrottlingException", RETRY_THROTTLED },
	{ "RequestLimitExceeded", RETRY_THROTTLED },
	{ "RequestThrottled", RETRY_THROTTLED },
	{ "TooManyRequests", RETRY_THROTTLED },
	{ "BandwidthLimitExceeded", RETRY_THROTTLED },
	{ "InternalError", RETRY_SOON },
	{ "RequestTimeout", RETRY_SOON },
	{ "IncompleteBody", RETRY_SOON },
	{ "OperationAborted", RETRY_SOON },
	{ "BadDigest", RETRY_SOON },
	{ "XAmzContentSHA256Mismatch", RETRY_SOON },
	{ "XAmzContentChecksumMismatch", RETRY_SOON },
	{ "RequestTimeTooSkewed", RETRY_SKEW },
	{ "ExpiredToken", RETRY_EXPIRED },
	{ "InvalidToken", RETRY_EXPIRED },
	{ "ExpiredTokenException", RETRY_EXPIRED },
	{ "TokenRefreshRequired", RETRY_EXPIRED },
	{ "PermanentRedirect", RETRY_REGION },
	{ "TemporaryRedirect", RETRY_REGION },
	{ "Redirect", RETRY_REGION },
	{ "AuthorizationHeaderMalformed", RETRY_REGION },
	{ "IllegalLocationConstraintException", RETRY_REGION },
};

static enum retry_verdict judge_failure(enum http_failure failure)
{
	switch (failure) {
	case HTTP_RESOLVE:
	case HTTP_CONNECT:
	case HTTP_TIMEOUT:
	case HTTP_BROKEN:
		return RETRY_SOON;
	case HTTP_ANSWERED:
	case HTTP_TLS:
	case HTTP_CANCELLED:
	case HTTP_REFUSED:
		break;
	}
	return RETRY_NONE;
}

enum retry_verdict retry_judge(const struct retry_outcome *o)
{
	if (o->failure != HTTP_ANSWERED)
		return judge_failure(o->failure);
	if (o->bad_answer)
		return RETRY_SOON;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(o->code, codes[i].code) == 0)
			return codes[i].verdict;
	switch (o->status) {
	case 429:
	case 503:
	case 509:
		return RETRY_THROTTLED;
	case 408:
	case 500:
	case 502:
	case 504:
		return RETRY_SOON;
	case 301:
	case 307:
	case 308:
		return RETRY_REGION;
	case 400: /* to HEAD, without a body: the answer's headers tell whether it is the region */
		return o->code[0] == '\0' ? RETRY_REGION : RETRY_NONE;
	default:
		return RETRY_NONE;
	}
}

int64_t retry_delay_ns(enum retry_verdict v, unsigned n, uint64_t random, int64_t retry_after_ns)
{
	const int64_t longest = 20 * NSEC_PER_SEC, respected = 60 * NSEC_PER_SEC;
	int64_t most = v == RETRY_THROTTLED ? 500 * NSEC_PER_MSEC : 50 * NSEC_PER_MSEC, ns;

	for (; n > 0 && most < longest; n--)
		most *= 2;
	if (most > longest)
		most = longest;
	ns = (int64_t)(random % (uint64_t)most);
	if (retry_after_ns <= 0)
		return ns;
	/* All who were told the same time would be back at once: the jitter comes on top. */
	return (retry_after_ns < respected ? retry_after_ns : respected) + ns / 4;
}

void retry_budget_init(struct retry_budget *b)
{
	b->tokens = RETRY_BUDGET;
}

static unsigned cost(enum retry_verdict v)
{
	switch (v) {
	case RETRY_NONE:
	case RETRY_SKEW:
	case RETRY_EXPIRED:
	case RETRY_REGION:
		return 0;
	case RETRY_SOON:
	case RETRY_THROTTLED:
		break;
	}
	return 5;
}

bool retry_budget_take(struct retry_budget *b, enum retry_verdict v)
{
	unsigned n = cost(v);

	if (b->tokens < n)
		return false;
	b->tokens -= n;
	return true;
}

void retry_budget_give(struct retry_budget *b)
{
	if (b->tokens < RETRY_BUDGET)
		b->tokens++;
}

/* `n` digits at s; -1 where there are none. */
static int digits(const char *s, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

bool http_date(const char *s, int64_t *ret_ns)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = { 0 };
	time_t t;

	if (strlen(s) != 29 || memcmp(s + 3, ", ", 2) != 0 || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' ||
	    s[19] != ':' || s[22] != ':' || memcmp(s + 25, " GMT", 5) != 0)
		return false;
	tm.tm_mday = digits(s + 5, 2);
	tm.tm_mon = -1;
	for (int i = 0; i < 12; i++)
		if (memcmp(s + 8, months + 3 * i, 3) == 0)
			tm.tm_mon = i;
	tm.tm_year = digits(s + 12, 4) - 1900;
	tm.tm_hour = digits(s + 17, 2);
	tm.tm_min = digits(s + 20, 2);
	tm.tm_sec = digits(s + 23, 2);
	if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_mon < 0 || tm.tm_year < 70 || tm.tm_year > 300 ||
	    tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 ||
	    tm.tm_sec > 60)
		return false;
	t = timegm(&tm);
	*ret_ns = (int64_t)t * NSEC_PER_SEC;
	return true;
}

int64_t retry_after_ns(const char *s, int64_t now_ns)
{
	const long most = 24 * 3600;
	int64_t at;
	char *end;
	long v;

	if (s == NULL)
		return 0;
	if (http_date(s, &at))
		return at > now_ns ? at - now_ns : 0;
	v = strtol(s, &end, 10);
	if (end == s || *end != '\0' || v < 0)
		return 0;
	return (v < most ? v : most) * NSEC_PER_SEC;
}
