/* Whether, when and how often a request is tried again: pure functions and a budget.
 *
 * Back-off with full jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the n-th
 * wait is anywhere between nothing and 2^n times the base. The budget is a token bucket as in the standard
 * retry mode of AWS's SDKs ("Retry behavior", AWS SDKs and Tools Reference Guide): retries take tokens,
 * successes give them back, so that a server which is down for all is not asked by all again and again. */
#ifndef STOWAGE_BACKENDS_S3_RETRY_H
#define STOWAGE_BACKENDS_S3_RETRY_H

#include "backends/s3/http.h"

#include <stdbool.h>
#include <stdint.h>

/* What has come of an attempt. */
struct retry_outcome {
	enum http_failure failure;
	int status;       /* where it was answered */
	const char *code; /* S3's, from the body; "" where there is none, as in every answer to HEAD */
	bool bad_answer;  /* a success that cannot be right: a range or an ETag that was not asked for */
};

enum retry_verdict {
	RETRY_NONE,      /* success, or a failure that stays one */
	RETRY_SOON,      /* a glitch: broken connection, 500, damaged body */
	RETRY_THROTTLED, /* the server asks for less: 503, 429, SlowDown */
	RETRY_SKEW,      /* our clock is not the server's */
	RETRY_EXPIRED,   /* the credentials have expired */
	RETRY_REGION,    /* the bucket is in another region, if the answer says in which */
};
enum retry_verdict retry_judge(const struct retry_outcome *o);

/* How long to wait before attempt `n` + 1, where `n` (from 1) have failed. `random` is any 64 bits;
 * retry_after_ns (0: none) is what the server asked for, respected up to a minute. */
int64_t retry_delay_ns(enum retry_verdict v, unsigned n, uint64_t random, int64_t retry_after_ns);

enum { RETRY_BUDGET = 500 };
struct retry_budget {
	unsigned tokens;
};
void retry_budget_init(struct retry_budget *b);
/* Whether there is enough for a retry; takes it. */
bool retry_budget_take(struct retry_budget *b, enum retry_verdict v);
/* After a success. */
void retry_budget_give(struct retry_budget *b);

/* An HTTP date in its one form that servers may send (RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT");
 * false for anything else. */
bool http_date(const char *s, int64_t *ret_ns);
/* A Retry-After: seconds or an HTTP date; 0 for none (NULL), the past and nonsense. */
int64_t retry_after_ns(const char *s, int64_t now_ns);

#endif
