/* What the tests of the queue and of stages share: a fast backend and one behind, each with planned faults in
 * front, a database, and stand-ins for the parts that they are not about (lookup, cache). */
#ifndef STOWAGE_TESTS_QUEUE_ENV_H
#define STOWAGE_TESTS_QUEUE_ENV_H

#include "backends/backends.h"
#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "tests/suite/suite.h"

#include <unistd.h>

/* What the stand-ins say, and have been told. Set before there are threads. */
struct parts {
	atomic_bool bad;      /* lookup_is_bad() of behind[0] */
	atomic_bool known;    /* lookup_known(): behind[0] has everything */
	atomic_bool no_room;  /* cache_squeeze(): nothing goes */
	atomic_int notes;     /* lookup_note() */
	atomic_int forgotten; /* lookup_forget() */
	atomic_int made_good; /* lookup_mark_good() */
	atomic_int rooms;     /* cache_squeeze() */
	atomic_ullong cached; /* cache_added(): the sum */
};
extern struct parts parts;

/* What the queue has told. */
struct told {
	struct digest done[8]; /* the first ones */
	atomic_int next;       /* place in `done` */
	atomic_int n_done, n_lost;
	atomic_bool refuse; /* what the queue is told when it asks whether a blob is refused */
};
extern struct told told;

struct queue_env {
	char dir[TEMP_DIR_MAX], path[TEMP_DIR_MAX + 16];
	struct fault_plan fast_plan, behind_plan;
	struct backend *fast;
	struct backend *behind; /* the tiers' */
	struct tiers tiers;
	struct meta *meta;
	struct claims claims;
	struct queue *queue;          /* NULL at the start */
	struct queue_options options; /* of the next queue; one upload at once */
	bool running;                 /* the tiers */
};

void queue_env_make(struct queue_env *e);
void queue_env_remove(struct queue_env *e);
/* `told` is filled in by the queues to come. A blob that is lost loses its row. */
void queue_env_listen(struct queue_env *e);
/* A new queue, which is not started; and what makes one, if there is none, and starts it. */
void queue_env_queue(struct queue_env *e);
void queue_env_start(struct queue_env *e);
/* The queue ends, as by the end of the daemon; what is behind, and the database, stay. */
void queue_env_end(struct queue_env *e);

/* A row of `n` bytes of fill(seed), committed at `created_ns` (0: now); and its bytes in `fast`. */
struct digest queue_env_row(struct queue_env *e, size_t n, unsigned seed, int64_t created_ns);
struct digest queue_env_blob(struct queue_env *e, size_t n, unsigned seed, int64_t created_ns);
/* As a COMMIT does, with a queue that is there; `s` may be NULL. */
struct digest queue_env_commit(struct queue_env *e, size_t n, unsigned seed, struct sending *s);
bool queue_env_is_behind(struct queue_env *e, const struct digest *d); /* by the database */
uint64_t queue_env_pending(struct queue_env *e);
/* How many records of sendings there are behind. */
size_t queue_env_records(struct queue_env *e);
struct fleet_status queue_env_status(struct queue_env *e);
/* From the n-th call from now on, once or for ever, `op` fails behind; 0: it does not. */
void queue_env_fault(struct queue_env *e, enum fault_op op, int n, bool forever, enum stow_code code);

/* So far off that the time comes only where something does not. */
int64_t queue_env_soon(void);

/* Waits until something is true that other threads bring about; fails the test after 20 s. */
#define WAIT_FOR(cond)                                                                                       \
	do {                                                                                                 \
		int64_t wait_end_ = clock_mono_ns() + 20 * NSEC_PER_SEC;                                     \
		while (!(cond)) {                                                                            \
			if (clock_mono_ns() > wait_end_)                                                     \
				fail_msg("did not come true: %s", #cond);                                    \
			(void)usleep(500);                                                                   \
		}                                                                                            \
	} while (0)

#endif
