#include "content/base/thread.h"

#include "content/base/mem.h"

#include <signal.h>

int thread_try_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg)
{
	sigset_t all, old;
	int e;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(ret_t, NULL, run, arg);
	if (e == 0 && name != NULL)
		(void)pthread_setname_np(*ret_t, name);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

void thread_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg)
{
	int e = thread_try_start(ret_t, name, run, arg);

	if (e != 0)
		x_abort("cannot start the thread %s: error %d", name != NULL ? name : "of a pool", e);
}
