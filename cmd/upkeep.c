#include "cmd/upkeep.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

static const int64_t SWEEP_EVERY_NS = 10 * 60 * NSEC_PER_SEC;

struct upkeep {
	struct store *store;
	int64_t stale_ns;
	pthread_t thread;
	atomic_bool reconciling;
	atomic_bool stop;
	struct lock lock; /* for the sleep between two sweeps */
	pthread_cond_t wake;
};

static void reconcile(struct upkeep *u)
{
	int64_t start = clock_mono_ns();
	struct reconciled r;
	struct stow_err err;

	if (store_reconcile(u->store, &u->stop, &r, &err) < 0) {
		log_error("comparing database and blobs failed", LOG_S("error", err.msg));
	} else {
		enum log_level level = r.adopted || r.dropped ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG;

		LOG_AT(level, "database and blobs compared", LOG_I("blobs", r.seen),
		       LOG_I("adopted", r.adopted), LOG_I("dropped", r.dropped),
		       LOG_I("ms", (clock_mono_ns() - start) / NSEC_PER_MSEC));
	}
	atomic_store(&u->reconciling, false);
}

static void sweep(struct upkeep *u)
{
	struct stow_err err;
	uint64_t n;

	if (store_sweep(u->store, u->stale_ns, &n, &err) < 0)
		log_error("sweeping stale ingests failed", LOG_S("error", err.msg));
	else if (n)
		log_info("stale ingests dropped", LOG_I("ingests", n));
}

static void *run(void *arg)
{
	struct upkeep *u = arg;

	reconcile(u);
	while (!atomic_load(&u->stop)) {
		int64_t until = clock_mono_ns() +
				(u->stale_ns < SWEEP_EVERY_NS ? u->stale_ns : SWEEP_EVERY_NS);

		sweep(u);
		LOCK_SCOPE(&u->lock);
		while (!atomic_load(&u->stop) && lock_wait_until(&u->lock, &u->wake, until))
			;
	}
	return NULL;
}

struct upkeep *upkeep_start(struct store *s, int64_t stale_ingest_after_ns)
{
	struct upkeep *u = x_calloc(1, sizeof(*u));

	u->store = s;
	u->stale_ns = stale_ingest_after_ns;
	u->reconciling = true;
	lock_init(&u->lock, RANK_UPKEEP);
	lock_cond_init(&u->wake);
	thread_start(&u->thread, "upkeep", run, u);
	return u;
}

const atomic_bool *upkeep_reconciling(const struct upkeep *u)
{
	return &u->reconciling;
}

void upkeep_stop(struct upkeep *u)
{
	lock_take(&u->lock);
	atomic_store(&u->stop, true);
	pthread_cond_broadcast(&u->wake);
	lock_release(&u->lock);
	pthread_join(u->thread, NULL);
	pthread_cond_destroy(&u->wake);
	lock_destroy(&u->lock);
	free(u);
}
