#include "tests/unit/clock_env.h"

#include "content/base/clock.h"
#include "content/base/lock.h"

#include <unistd.h>

/* Far apart, so that nobody takes one for the other: noon of 2026-01-01, and an hour after a start. */
static atomic_llong wall_ns = 1767268800 * NSEC_PER_SEC, mono_ns = 3600 * NSEC_PER_SEC;
static atomic_uint looks;

int64_t __wrap_clock_wall_ns(void);
int64_t __wrap_clock_wall_ns(void)
{
	return atomic_load(&wall_ns);
}

int64_t __real_clock_mono_ns(void);
int64_t __wrap_clock_mono_ns(void);
int64_t __wrap_clock_mono_ns(void)
{
	return atomic_load(&mono_ns);
}

bool __real_lock_wait_until(struct lock *l, pthread_cond_t *cond, long long until_ns);
bool __wrap_lock_wait_until(struct lock *l, pthread_cond_t *cond, long long until_ns);
bool __wrap_lock_wait_until(struct lock *l, pthread_cond_t *cond, long long until_ns)
{
	atomic_fetch_add(&looks, 1);
	return __real_lock_wait_until(l, cond, __real_clock_mono_ns() + NSEC_PER_MSEC) ||
	       atomic_load(&mono_ns) < until_ns;
}

void clock_env_move(int64_t ns)
{
	atomic_fetch_add(&wall_ns, ns);
	atomic_fetch_add(&mono_ns, ns);
}

void clock_env_settle(void)
{
	/* The one after next, for it may have looked before the move and be on its way to the next. */
	unsigned seen = atomic_load(&looks);
	while (atomic_load(&looks) - seen < 2)
		usleep(1000);
}
