/* Threads of the parts that have their own. */
#ifndef STOWAGE_BASE_THREAD_H
#define STOWAGE_BASE_THREAD_H

#include "content/base/compiler.h"

#include <pthread.h>

/* Starts one, named `name` for ps and debuggers (15 bytes at most; NULL: it names itself, as one must that
 * may have ended before this returns), with all signals blocked: they are for the thread that waits for them.
 * Ends the process where the system refuses. *ret_t is set before `run` begins to need it only if both hold a
 * lock meanwhile. To be joined. */
void thread_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg);
/* The same, but gives the system's refusal, an errno, to the caller; 0: it runs. */
int thread_try_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg) MUST_CHECK;

#endif
