#include "content/base/lock.h"

#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>

/* What this thread holds, ranks rising: a thread holds one lock of a rank at most, so it is never
 * more than there are ranks, and the last one is the innermost. */
static _Thread_local struct {
	const struct lock *at[RANK_LOG];
	unsigned n;
} mine;

/* `held` is written last and read first, with release and acquire: whoever sees it set sees the
 * owner who set it, and so never takes another thread's lock for its own. */
static void set_owned(struct lock *l)
{
	atomic_store_explicit(&l->owner, pthread_self(), memory_order_relaxed);
	atomic_store_explicit(&l->held, true, memory_order_release);
}

static void set_free(struct lock *l)
{
	atomic_store_explicit(&l->held, false, memory_order_relaxed);
}

void lock_init(struct lock *l, enum lock_rank rank)
{
	assert(rank > 0 && rank <= RANK_LOG);
	*l = (struct lock){ .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = rank };
}

void lock_destroy(struct lock *l)
{
	int e;

	assert(!atomic_load_explicit(&l->held, memory_order_relaxed));
	e = pthread_mutex_destroy(&l->mutex);
	assert(e == 0);
}

void lock_take(struct lock *l)
{
	int e;

	if (mine.n > 0 && mine.at[mine.n - 1]->rank >= l->rank)
		x_abort("lock of rank %u taken while holding rank %u", (unsigned)l->rank,
			(unsigned)mine.at[mine.n - 1]->rank);
	e = pthread_mutex_lock(&l->mutex);
	assert(e == 0);
	mine.at[mine.n++] = l;
	set_owned(l);
}

/* Nothing may touch *l after the unlock: whoever takes it next may free it (strands rely on it). */
void lock_release(struct lock *l)
{
	unsigned i = mine.n;
	int e;

	LOCK_ASSERT(l);
	do {
		assert(i > 0);
		i--;
	} while (mine.at[i] != l);
	memmove(&mine.at[i], &mine.at[i + 1], (mine.n - i - 1) * sizeof(mine.at[0]));
	mine.n--;
	set_free(l);
	e = pthread_mutex_unlock(&l->mutex);
	assert(e == 0);
}

bool lock_held(const struct lock *l)
{
	return atomic_load_explicit(&l->held, memory_order_acquire) &&
	       pthread_equal(atomic_load_explicit(&l->owner, memory_order_relaxed), pthread_self());
}

/* While it waits the thread holds its rank still, which nobody can see: it does nothing else. */

void lock_wait(struct lock *l, pthread_cond_t *cond)
{
	int e;

	LOCK_ASSERT(l);
	assert(mine.at[mine.n - 1] == l);
	set_free(l);
	e = pthread_cond_wait(cond, &l->mutex);
	assert(e == 0);
	set_owned(l);
}

bool lock_wait_until(struct lock *l, pthread_cond_t *cond, long long mono_ns)
{
	struct timespec ts = { 0 };
	int e;

	LOCK_ASSERT(l);
	assert(mine.at[mine.n - 1] == l);
	if (mono_ns > 0) {
		ts.tv_sec = mono_ns / NSEC_PER_SEC;
		ts.tv_nsec = mono_ns % NSEC_PER_SEC;
	}
	set_free(l);
	e = pthread_cond_timedwait(cond, &l->mutex, &ts);
	assert(e == 0 || e == ETIMEDOUT);
	set_owned(l);
	return e == 0;
}

void lock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int e = pthread_condattr_init(&attr);

	assert(e == 0);
	e = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	assert(e == 0);
	e = pthread_cond_init(cond, &attr);
	assert(e == 0);
	(void)pthread_condattr_destroy(&attr);
}
