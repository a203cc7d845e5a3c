/* holdings.c: what others call, and the thread. holdings_tell.c: the exchanges with the bucket, all on that
 * thread; holdings_run.c: of these, what it learns of a run. */
#ifndef STOWAGE_BACKENDS_TIERED_HOLDINGS_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_HOLDINGS_INTERNAL_H

#include "backends/tiered/holdings.h"
#include "backends/tiered/notes.h"
#include "content/base/lock.h"
#include "content/meta.h"

enum {
	ASKED_MAX = 65536, /* digests that were asked for and have no row yet */
	LINGERING_MAX =
		16, /* runs that have ended of late: the next one is not taken note of before one is over */
};
#define ASKED_NS (INT64_C(3600) * 1000000000)

/* The marks of a run. */
struct marks {
	struct marks *next; /* an older run's */
	char run[NOTE_RUN_MAX];
	struct keyset marked;
	struct keyset kept;    /* of these, what this node has told to hold in time */
	bool swept;            /* it is too late for that */
	int64_t until_mono_ns; /* INT64_MAX: the run is under way */
};

struct holdings {
	unsigned magic;
	struct holdings_options options;
	struct meta *meta;
	char name[NOTE_NAME_SIZE];

	struct lock lock;       /* for what follows */
	pthread_cond_t wake;    /* the thread has something to do */
	pthread_cond_t settled; /* it has done something */
	bool started, stopping, leaving, left;
	pthread_t thread;
	atomic_bool tried; /* to find out whether there is a run, once; and how that ended: */
	bool ready;
	bool dirty;  /* what was told is not what is held */
	bool urgent; /* and somebody waits for it */
	/* Somebody waits for the end of a run: gc/run is looked for after this time. 0: at its interval. */
	int64_t look_ns;
	struct marks *marks; /* the newest first; all but the first are of runs that have ended */
	/* What was asked for and had no row when it was last told: the younger half, and the older one. */
	struct keyset asked[2];
	int64_t asked_mono_ns; /* when the younger one was begun */
	bool telling;          /* the sets have been taken, to be told; and of them since then: */
	struct keyset gone;
	/* When it was told last, by both clocks, of which the monotonic one stands still while the machine
	 * does. */
	int64_t told_wall_ns, told_mono_ns;
	int64_t untold_ns; /* wall clock, since when rounds fail; 0: they do not */
	struct stow_err untold;

	/* The thread's own. */
	bool registered;             /* there is a note of this process */
	char told_run[NOTE_RUN_MAX]; /* in it */
	int64_t next_mono_ns;        /* when it may be told again, if nobody waits */
};
#define HOLDINGS_MAGIC 0x71e20007u

/* The current run's, or NULL. */
struct marks *holdings_run_locked(struct holdings *h);
/* What is refused may be had when the run has ended: that is looked for soon. */
void holdings_look_soon_locked(struct holdings *h);
/* Whether so much of the grace has passed that others may soon take the node for dead. */
bool holdings_is_late_locked(const struct holdings *h);

/* One round of exchanges, whatever is due. */
int holdings_round(struct holdings *h, struct stow_err *err) MUST_CHECK;
/* Looks for a run: from when this returns, the marks of the one that is under way count, and those of ended
 * ones do not where no gc can be at work with them. */
int holdings_learn_run(struct holdings *h, struct stow_err *err) MUST_CHECK;
/* *ret_same: the run is still the one. Changes nothing. */
int holdings_check_run(struct holdings *h, const char *run, bool *ret_same, struct stow_err *err) MUST_CHECK;
/* As the slots of struct behind_ops; what comes of it is reported to the circuit. */
int holdings_get_note(struct holdings *h, const char *name, struct buf *to, struct stow_err *err) MUST_CHECK;
int holdings_scan_notes(struct holdings *h, const char *prefix, note_visit *visit, void *arg,
			struct stow_err *err) MUST_CHECK;
/* The last note. */
int holdings_tell_end(struct holdings *h, struct stow_err *err) MUST_CHECK;
/* Once, before the thread starts. */
void holdings_set_name(struct holdings *h);

#endif
