/* Pools of workers, for everything that may block; and strands, which give one object's jobs an
 * order on one of them.
 *
 * A job is embedded in the object that it works for, so submitting allocates nothing and cannot
 * fail. Each call has one job in flight at most, so the queue is no longer than the number of open
 * calls, which the transport limits.
 *
 * Threads: all functions may be called from any thread, except pool_free. */
#ifndef STOWAGE_BASE_POOL_H
#define STOWAGE_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct job {
	/* Runs once, on a worker thread, with no lock held. The job may be submitted again, or the
	 * object that holds it freed, from within. */
	void (*run)(struct job *j);
	struct job *next; /* the queue's */
};

struct pool;

/* Starts `threads` workers (at least 1), named `name` for ps and debuggers (cut at 15 bytes). They
 * have all signals blocked. */
struct pool *pool_new(const char *name, unsigned threads);
/* The same with one worker, which stays; for each job that finds all of them busy there is one more, up to
 * `max`, or as many as the system gives. Those that had nothing to do for `idle_ns` end. For jobs that mostly
 * wait, and must not wait for each other. */
struct pool *pool_new_growing(const char *name, unsigned max, int64_t idle_ns);
/* Runs what is queued, then joins the workers. Nothing may be submitted meanwhile but by jobs,
 * and every earlier pool_submit has returned. */
void pool_free(struct pool *p);
void pool_submit(struct pool *p, struct job *j);
/* Takes a job back that waits for a worker: true. False: it is not queued; it has begun, or has ended. Looks
 * through the queue. */
bool pool_withdraw(struct pool *p, struct job *j);

/* A strand runs its jobs one after another, in the order of their submission, on any worker. What
 * one job did is visible to the next. */
struct strand_core; /* what a worker needs even after the strand is gone */
struct strand {
	struct strand_core *core;
};

void strand_init(struct strand *s, struct pool *p);
/* Nothing may be queued. The last job may still be running: it may destroy the strand itself, or
 * have given leave to another thread to do so. What holds the strand may be freed afterwards. */
void strand_destroy(struct strand *s);
void strand_submit(struct strand *s, struct job *j);

#endif
