#include "content/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	int failed = clock_gettime(id, &ts);

	assert(!failed);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void clock_format(int64_t wall_ns, char out[CLOCK_TEXT_MAX])
{
	time_t seconds = wall_ns / NSEC_PER_SEC;
	long nanos = (long)(wall_ns % NSEC_PER_SEC);
	struct tm tm;
	size_t n;

	if (nanos < 0) { /* before 1970: division rounds towards 0, a clock must round down */
		nanos += NSEC_PER_SEC;
		seconds--;
	}
	/* 64 bits of nanoseconds end in 2262, so the year has four digits. */
	(void)gmtime_r(&seconds, &tm);
	n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, CLOCK_TEXT_MAX - n, ".%09ldZ", nanos);
}
