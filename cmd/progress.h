/* How far a long command is: a bar on a terminal, a plain line now and then elsewhere; and the brake
 * that keeps it from taking all of the disk.
 *
 * Time is a parameter (clock_mono_ns()), so that it can be tested. Threads: one user at a time. */
#ifndef STOWAGE_CMD_PROGRESS_H
#define STOWAGE_CMD_PROGRESS_H

#include "content/base/clock.h"
#include "content/base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How long nothing new is shown: a bar, and a line elsewhere. */
#define PROGRESS_BAR_NS (100 * NSEC_PER_MSEC)
#define PROGRESS_LINE_NS (30 * NSEC_PER_SEC)

struct progress {
	FILE *to;
	const char *command; /* borrowed */
	bool bar;            /* `to` is a terminal */
	bool shown;          /* a bar stands in the current line */
	const char
		*waiting; /* why nothing is done just now, shown instead of a rate; NULL: it is. Borrowed */
	uint64_t total, done;
	int64_t start_ns, next_ns;
};

/* `to` is standard error, save in tests; `total` may be exceeded. */
void progress_begin(struct progress *p, FILE *to, const char *command, uint64_t total, int64_t now_ns);
/* So many more bytes are done; shows it when it is time to. */
void progress_add(struct progress *p, uint64_t bytes, int64_t now_ns);
/* For what has no bytes to count: what is being done now. It stands in the bar's place; elsewhere it is not
 * shown.
 */
void progress_doing(struct progress *p, const char *what);
/* Removes the bar, for something else to be printed; the next progress_add() shows it again. */
void progress_clear(struct progress *p);

enum { PROGRESS_TEXT_MAX = 256 };
/* "45%  1.2 GiB of 2.6 GiB  350.0 MiB/s  4s left", or "45%  1.2 GiB of 2.6 GiB  the bucket is away" */
void progress_text(const struct progress *p, int64_t now_ns, char out[PROGRESS_TEXT_MAX]);

/* At most `per_second` bytes a second on average since the start; 0: no limit. */
struct brake {
	uint64_t per_second;
	uint64_t done;
	int64_t start_ns;
};
/* How long to wait after `bytes` more. Time in which less was done than allowed is not made up for by
 * a burst: at most a second's worth. */
int64_t brake_wait_ns(struct brake *b, uint64_t bytes, int64_t now_ns);
/* Waits that long, until *stop at the latest. */
void brake_apply(struct brake *b, uint64_t bytes, const atomic_bool *stop);

#endif
