/* The parts of the floor of the benchmark, which floor.c describes. */
#ifndef STOWAGE_BENCH_FLOOR_H
#define STOWAGE_BENCH_FLOOR_H

/* Ends the program with status 1, saying what failed, and errno's text. */
void die(const char *what) __attribute__((noreturn));

/* Prints what `floor --check` does; the program's status. */
int machine_check(void);

#endif
