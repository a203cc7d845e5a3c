#include "cmd/interrupt.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_bool asked;
static atomic_int number;

static void on_signal(int n)
{
	atomic_store(&number, n);
	atomic_store(&asked, true);
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

int interrupt_status(void)
{
	return atomic_load(&asked) ? 128 + atomic_load(&number) : 0;
}
