/* The two clocks, in nanoseconds. */
#ifndef STOWAGE_BASE_CLOCK_H
#define STOWAGE_BASE_CLOCK_H

#include <stdint.h>

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

/* Since 1970 UTC; what timestamps on the wire and on disk are made of. May jump. */
int64_t clock_wall_ns(void);
/* Since some start; for durations and deadlines. Never goes back. */
int64_t clock_mono_ns(void);

enum { CLOCK_TEXT_MAX = 32 };
/* RFC 3339 in UTC with nanoseconds, "2026-11-23T10:04:05.123456789Z". */
void clock_format(int64_t wall_ns, char out[CLOCK_TEXT_MAX]);

#endif
