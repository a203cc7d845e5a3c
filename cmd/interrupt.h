/* Ending a long command by a signal, cleanly. */
#ifndef STOWAGE_CMD_INTERRUPT_H
#define STOWAGE_CMD_INTERRUPT_H

#include "content/backend.h"

#include <stdatomic.h>

/* From now on SIGINT and SIGTERM, unless they are ignored, set the flag that is returned, and a second
 * one ends the process. */
const atomic_bool *interrupt_begin(void);
/* From now on, after interrupt_begin(), the first signal stops `b`, too: a command that has not ended a
 * moment after it waits for somebody who does not answer. A process has one such backend at a time, borrowed
 * until interrupt_unguard(), which does nothing where there is none. */
void interrupt_guard(struct backend *b);
void interrupt_unguard(void);
/* The exit status of a command that was interrupted: 128 and the signal's number, as a shell has it.
 * 0 if it was not. */
int interrupt_status(void);

#endif
