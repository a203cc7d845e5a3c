#include "backends/tiered/tier.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/base/thread.h"
#include "content/behind.h"

#include <stdio.h>

/* Between two probes of a storage that is away: the first wait, and the longest. */
static const int64_t PROBE_MIN_NS = 5 * NSEC_PER_SEC;
static const int64_t PROBE_MAX_NS = 60 * NSEC_PER_SEC;

struct circuit {
	struct tier *tier;
	struct lock lock; /* for what is not atomic */
	pthread_cond_t change;
	atomic_bool open;
	atomic_bool answered;           /* somebody has had an answer, since it is not open */
	atomic_uint failures;           /* in a row */
	atomic_int_fast64_t asked_ns;   /* monotonic: since when somebody waits; 0 after an answer */
	atomic_int_fast64_t trusted_ns; /* monotonic: until then it is stuck */
	int64_t since_ns;               /* wall clock */
	struct stow_err why;
	int64_t probe_ns; /* monotonic: when the next probe is, whoever waits; INT64_MAX: none is */
	int64_t wait_ns;  /* before the one after it */
	int64_t patience_ns;
	bool stopping;
	bool started;
	pthread_t thread;
	void (*on_return)(void *arg);
	void *arg;
};

/* --- life --- */

static struct circuit *circuit_new(struct tier *t)
{
	struct circuit *c = x_calloc(1, sizeof(*c));

	c->tier = t;
	lock_init(&c->lock, RANK_CIRCUIT);
	lock_cond_init(&c->change);
	return c;
}

void tiers_init(struct tiers *t, struct backend *const *behind, const char *const *names, size_t n,
		bool writable)
{
	assert(n >= 1 && n <= FLEET_BEHIND_MAX);
	*t = (struct tiers){ .n = n, .writable = writable, .patience_ns = TIER_PATIENCE_NS };
	for (size_t i = 0; i < n; i++) {
		assert(behind[i]->ops->behind != NULL);
		t->v[i].backend = behind[i];
		t->v[i].name = x_strdup(names[i]);
		t->v[i].circuit = circuit_new(&t->v[i]);
	}
}

void tiers_on_return(struct tiers *t, void (*call)(void *arg), void *arg)
{
	for (size_t i = 0; i < t->n; i++) {
		assert(!t->v[i].circuit->started);
		t->v[i].circuit->on_return = call;
		t->v[i].circuit->arg = arg;
	}
}

void tiers_free(struct tiers *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct circuit *c = t->v[i].circuit;

		assert(!c->started || c->stopping);
		pthread_cond_destroy(&c->change);
		lock_destroy(&c->lock);
		free(c);
		free(t->v[i].name);
		backend_free(t->v[i].backend);
	}
	t->n = 0;
}

/* --- the circuit --- */

/* Whether it is the storage that is in trouble, and not one blob that is not there or not right. */
static bool counts(const struct stow_err *err)
{
	return err->code == STOW_UNAVAILABLE || err->code == STOW_DEADLINE_EXCEEDED ||
	       err->code == STOW_PERMISSION_DENIED || err->code == STOW_INTERNAL ||
	       err->code == STOW_FAILED_PRECONDITION || err->code == STOW_RESOURCE_EXHAUSTED;
}

bool tier_usable(const struct tier *t)
{
	return !atomic_load(&t->circuit->open);
}

void tier_stuck(struct tier *t)
{
	int64_t now = clock_mono_ns();

	if (atomic_exchange(&t->circuit->trusted_ns, now + TIER_STUCK_NS) <= now)
		log_warn("storage says that it has blobs, and gives no byte of them: what it has is left "
			 "aside for a "
			 "while",
			 LOG_S("storage", t->name), LOG_I("seconds", TIER_STUCK_NS / NSEC_PER_SEC));
}

bool tier_trusted(const struct tier *t)
{
	return tier_usable(t) && clock_mono_ns() >= atomic_load(&t->circuit->trusted_ns);
}

/* Whether it was closed before. */
static bool open_locked(struct circuit *c, const struct stow_err *err)
{
	LOCK_ASSERT(&c->lock);
	if (atomic_load(&c->open) || c->stopping)
		return false;
	c->why = *err;
	c->since_ns = clock_wall_ns();
	c->wait_ns = PROBE_MIN_NS;
	c->probe_ns = clock_mono_ns() + c->wait_ns;
	atomic_store(&c->answered, false);
	atomic_store(&c->open, true);
	pthread_cond_broadcast(&c->change);
	return true;
}

static void log_away(const struct tier *t, const struct stow_err *err)
{
	log_warn("storage is away: nothing is asked of it until it is back", LOG_S("storage", t->name),
		 LOG_S("reason", stow_code_name(err->code)), LOG_S("error", err->msg));
}

static bool count_failure(struct circuit *c, const struct stow_err *err)
{
	LOCK_SCOPE(&c->lock);

	return !atomic_load(&c->open) && atomic_fetch_add(&c->failures, 1) + 1 >= TIER_FAILURES &&
	       open_locked(c, err);
}

void tier_ask(struct tier *t)
{
	int_fast64_t nobody = 0;

	if (atomic_load(&t->circuit->asked_ns) == 0)
		(void)atomic_compare_exchange_strong(&t->circuit->asked_ns, &nobody, clock_mono_ns());
}

void tier_report(struct tier *t, const struct stow_err *err)
{
	struct circuit *c = t->circuit;

	if (err != NULL && err->code == STOW_CANCELLED)
		return;
	if (err != NULL && counts(err)) {
		if (count_failure(c, err))
			log_away(t, err);
		return;
	}
	if (atomic_load(&c->open)) /* what was asked before it opened proves nothing */
		return;
	atomic_store(&c->asked_ns, 0);
	atomic_store(&c->answered, true);
	if (atomic_load(&c->failures) > 0)
		atomic_store(&c->failures, 0);
}

void tier_status(const struct tier *t, struct fleet_behind *ret_st)
{
	struct circuit *c = t->circuit;
	LOCK_SCOPE(&c->lock);

	*ret_st = (struct fleet_behind){ .away = atomic_load(&c->open),
					 .answered = atomic_load(&c->answered) };
	(void)snprintf(ret_st->name, sizeof(ret_st->name), "%s", t->name);
	if (ret_st->away) {
		ret_st->since_ns = c->since_ns;
		(void)snprintf(ret_st->error, sizeof(ret_st->error), "%s", c->why.msg);
	}
}

/* --- the probe --- */

/* Whether it was open. */
static bool close_circuit(struct circuit *c, int64_t *ret_since_ns)
{
	LOCK_SCOPE(&c->lock);
	bool was = atomic_load(&c->open);

	*ret_since_ns = c->since_ns;
	c->probe_ns = INT64_MAX;
	if (was)
		atomic_store(&c->failures, 0);
	atomic_store(&c->asked_ns, 0);
	atomic_store(&c->open, false);
	atomic_store(&c->answered, true);
	return was;
}

/* Whether that has opened it. */
static bool stay_away(struct circuit *c, const struct stow_err *err)
{
	LOCK_SCOPE(&c->lock);

	if (open_locked(c, err))
		return true;
	c->why = *err; /* of the moment: what a person sees is what is wrong now */
	c->wait_ns = 2 * c->wait_ns < PROBE_MAX_NS ? 2 * c->wait_ns : PROBE_MAX_NS;
	c->probe_ns = clock_mono_ns() + c->wait_ns;
	return false;
}

static void probe(struct circuit *c)
{
	struct backend *b = c->tier->backend;
	struct stow_err err;
	int64_t since_ns;

	if (b->ops->behind->probe(b, &err) < 0 && counts(&err)) {
		if (stay_away(c, &err))
			log_away(c->tier, &err);
		return;
	}
	if (!close_circuit(c, &since_ns))
		return;
	log_info("storage is back", LOG_S("storage", c->tier->name),
		 LOG_I("away_seconds", (clock_wall_ns() - since_ns) / NSEC_PER_SEC));
	if (c->on_return)
		c->on_return(c->arg);
}

/* Whether somebody has waited for too long. */
static bool is_silent(const struct circuit *c, int64_t now)
{
	int64_t asked_ns = atomic_load(&c->asked_ns);

	return !atomic_load(&c->open) && asked_ns != 0 && now - asked_ns >= c->patience_ns;
}

/* Waits until there is a probe to be made; false: the end. Who asks wakes nobody: it is looked for that from
 * time to time. */
static bool wait_for_probe(struct circuit *c)
{
	LOCK_SCOPE(&c->lock);

	for (;;) {
		int64_t now = clock_mono_ns(), look_ns = now + c->patience_ns;

		if (c->stopping || now >= c->probe_ns || is_silent(c, now))
			return !c->stopping;
		(void)lock_wait_until(&c->lock, &c->change, look_ns < c->probe_ns ? look_ns : c->probe_ns);
	}
}

static void *probe_loop(void *arg)
{
	struct circuit *c = arg;

	while (wait_for_probe(c))
		probe(c);
	return NULL;
}

void tier_probe(struct tier *t)
{
	struct circuit *c = t->circuit;
	LOCK_SCOPE(&c->lock);

	if (!atomic_load(&c->open))
		return;
	c->probe_ns = 0;
	pthread_cond_broadcast(&c->change);
}

void tiers_start(struct tiers *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct circuit *c = t->v[i].circuit;

		assert(!c->started);
		c->patience_ns = t->patience_ns;
		thread_start(&c->thread, "probe", probe_loop, c);
		c->started = true;
	}
}

void tiers_stop(struct tiers *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct circuit *c = t->v[i].circuit;
		LOCK_SCOPE(&c->lock);

		c->stopping = true;
		pthread_cond_broadcast(&c->change);
	}
	for (size_t i = 0; i < t->n; i++)
		backend_stop(t->v[i].backend);
	for (size_t i = 0; i < t->n; i++) {
		struct circuit *c = t->v[i].circuit;

		if (c->started)
			(void)pthread_join(c->thread, NULL);
		c->started = false;
	}
}
