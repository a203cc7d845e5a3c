#include "cmd/interrupt.h"

#include "content/base/clock.h"
#include "content/base/thread.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* For a command to end in good order. */
static const int64_t PATIENCE_NS = 2 * NSEC_PER_SEC;

static atomic_bool asked;
static atomic_int number;

/* The guard's thread waits for the one, and then for the other. */
static struct {
	struct backend *backend; /* NULL: there is none */
	pthread_t thread;
	sem_t woken, ended;
} guard;
static atomic_bool guarded;

static void on_signal(int n)
{
	atomic_store(&number, n);
	atomic_store(&asked, true);
	if (atomic_load(&guarded))
		(void)sem_post(&guard.woken);
}

static void catch_signal(int n)
{
	/* Without SA_RESTART: a wait ends at once. */
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND }, old;

	sigemptyset(&a.sa_mask);
	/* Whoever started us to go on in the background has our SIGINT ignored: so it stays. */
	if (sigaction(n, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(n, &a, NULL);
}

const atomic_bool *interrupt_begin(void)
{
	catch_signal(SIGINT);
	catch_signal(SIGTERM);
	return &asked;
}

static bool is_ended_in_time(void)
{
	int64_t until = clock_mono_ns() + PATIENCE_NS;
	struct timespec t = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };
	int rc;

	do
		rc = sem_clockwait(&guard.ended, CLOCK_MONOTONIC, &t);
	while (rc < 0 && errno == EINTR);
	return rc == 0;
}

static void *guard_main(void *arg UNUSED)
{
	while (sem_wait(&guard.woken) < 0)
		; /* EINTR: there is no other reason */
	if (!is_ended_in_time())
		backend_stop(guard.backend);
	return NULL;
}

void interrupt_guard(struct backend *b)
{
	assert(guard.backend == NULL);
	guard.backend = b;
	(void)sem_init(&guard.woken, 0, 0);
	(void)sem_init(&guard.ended, 0, 0);
	atomic_store(&guarded, true);
	if (atomic_load(&asked))
		(void)sem_post(&guard.woken);
	thread_start(&guard.thread, "interrupt", guard_main, NULL);
}

void interrupt_unguard(void)
{
	if (guard.backend == NULL)
		return;
	(void)sem_post(&guard.ended);
	(void)sem_post(&guard.woken);
	(void)pthread_join(guard.thread, NULL);
	guard.backend = NULL; /* the semaphores stay: a signal may be about to post one */
}

int interrupt_status(void)
{
	return atomic_load(&asked) ? 128 + atomic_load(&number) : 0;
}
