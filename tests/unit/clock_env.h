/* A clock that stands still until the test moves it, for what happens at its time however busy the machine
 * is. The linker leads clock_wall_ns, clock_mono_ns and lock_wait_until here (--wrap, which clock_env_dep
 * brings), so all of the program goes by it, from its start on. */
#ifndef STOWAGE_TESTS_CLOCK_ENV_H
#define STOWAGE_TESTS_CLOCK_ENV_H

#include <stdint.h>

/* Moves both clocks. Who waits in lock_wait_until looks at them a millisecond later at most. */
void clock_env_move(int64_t ns);
/* Waits until who waits in lock_wait_until has looked since; for what must not happen. One thread must be
 * waiting so, and no other. */
void clock_env_settle(void);

#endif
