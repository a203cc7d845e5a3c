#include "content/base/pool.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "content/base/thread.h"

#include <stdio.h>

#define POOL_MAGIC 0x9001a001u

struct pool {
	uint32_t magic;
	char name[16];
	unsigned min, max; /* workers */
	int64_t idle_ns;
	struct lock lock; /* guards all below */
	bool stopping;
	pthread_cond_t wake; /* there is a job, or the end */
	pthread_cond_t gone; /* the last worker is about to end */
	struct job *head, *tail;
	unsigned queued;
	unsigned threads;  /* workers that run */
	unsigned starting; /* and those that are about to */
	unsigned idle;     /* of the former, those that wait, or have been woken and not yet run */
	/* A worker that ends joins the one before it: so whoever joins the last one has joined all. */
	bool has_ended;
	pthread_t ended;
};

static void queue_push(struct job **head, struct job **tail, struct job *j)
{
	j->next = NULL;
	if (*head == NULL)
		*head = j;
	else
		(*tail)->next = j;
	*tail = j;
}

static struct job *queue_pop(struct job **head, struct job **tail)
{
	struct job *j = *head;

	if (j != NULL) {
		*head = j->next;
		if (*head == NULL)
			*tail = NULL;
	}
	return j;
}

/* The next job; NULL: this worker is to end. */
static struct job *next_job_locked(struct pool *p)
{
	int64_t until_ns = 0;

	while (p->head == NULL && !p->stopping) {
		bool in_time = true;

		p->idle++;
		if (p->threads > p->min) {
			if (until_ns == 0)
				until_ns = clock_mono_ns() + p->idle_ns;
			in_time = lock_wait_until(&p->lock, &p->wake, until_ns);
		} else {
			lock_wait(&p->lock, &p->wake);
		}
		p->idle--;
		if (!in_time && p->head == NULL && p->threads > p->min)
			return NULL;
	}
	if (p->head != NULL)
		p->queued--;
	return queue_pop(&p->head, &p->tail);
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	pthread_t before = { 0 };
	bool has_before;
	struct job *j;

	CHECK_OBJ(p, POOL_MAGIC);
	(void)pthread_setname_np(pthread_self(), p->name);
	lock_take(&p->lock);
	p->starting--;
	p->threads++;
	while ((j = next_job_locked(p)) != NULL) {
		lock_release(&p->lock);
		j->run(j);
		lock_take(&p->lock);
	}
	has_before = p->has_ended;
	if (has_before)
		before = p->ended;
	p->ended = pthread_self();
	p->has_ended = true;
	if (--p->threads == 0)
		pthread_cond_signal(&p->gone);
	lock_release(&p->lock);
	if (has_before)
		(void)pthread_join(before, NULL);
	return NULL;
}

static struct pool *pool_make(const char *name, unsigned min, unsigned max, int64_t idle_ns)
{
	struct pool *p = x_calloc(1, sizeof(*p));

	assert(min > 0 && min <= max);
	p->magic = POOL_MAGIC;
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	p->min = p->starting = min;
	p->max = max;
	p->idle_ns = idle_ns;
	lock_init(&p->lock, RANK_POOL);
	lock_cond_init(&p->wake);
	lock_cond_init(&p->gone);
	for (unsigned i = 0; i < min; i++) {
		pthread_t t;

		thread_start(&t, NULL, worker, p);
	}
	return p;
}

struct pool *pool_new(const char *name, unsigned threads)
{
	return pool_make(name, threads, threads, 0);
}

struct pool *pool_new_growing(const char *name, unsigned max, int64_t idle_ns)
{
	return pool_make(name, 1, max, idle_ns);
}

void pool_free(struct pool *p)
{
	CHECK_OBJ(p, POOL_MAGIC);
	lock_take(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	/* A job that submits another is followed by its own worker's next look at the queue, so the
	 * queue is empty once all have ended. */
	while (p->threads + p->starting > 0)
		lock_wait(&p->lock, &p->gone);
	assert(p->head == NULL && p->queued == 0);
	lock_release(&p->lock);
	(void)pthread_join(p->ended, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->gone);
	lock_destroy(&p->lock);
	FREE_OBJ(p);
}

/* One more worker, which the pool has counted as starting. Where the system has none to give, the job waits
 * for one that there is. */
static void grow(struct pool *p)
{
	pthread_t t;

	if (thread_try_start(&t, NULL, worker, p) == 0)
		return;
	LOCK_SCOPE(&p->lock);
	p->starting--;
}

void pool_submit(struct pool *p, struct job *j)
{
	bool wake, more;

	CHECK_OBJ(p, POOL_MAGIC);
	lock_take(&p->lock);
	queue_push(&p->head, &p->tail, j);
	p->queued++;
	wake = p->idle > 0;
	more = p->queued > p->idle + p->starting && p->threads + p->starting < p->max;
	if (more)
		p->starting++;
	lock_release(&p->lock);
	/* After the release, or the woken worker would run into the lock at once. */
	if (wake)
		pthread_cond_signal(&p->wake);
	if (more)
		grow(p);
}

bool pool_withdraw(struct pool *p, struct job *j)
{
	struct job **at, *before = NULL;

	CHECK_OBJ(p, POOL_MAGIC);
	LOCK_SCOPE(&p->lock);
	for (at = &p->head; *at != j; at = &(*at)->next) {
		if (*at == NULL)
			return false;
		before = *at;
	}
	*at = j->next;
	if (p->tail == j)
		p->tail = before;
	p->queued--;
	return true;
}

/* As pool_submit, from a job that is about to return. Nobody is woken: this worker looks at the queue
 * next, and takes it dry before it sleeps. */
static void pool_submit_from_job(struct pool *p, struct job *j)
{
	lock_take(&p->lock);
	queue_push(&p->head, &p->tail, j);
	p->queued++;
	lock_release(&p->lock);
}

/* A strand's core outlives the strand where it must. When a job returns, the worker has to look
 * whether another one came meanwhile; but by then the job may have freed the object that holds the
 * strand, or have told another thread that it is finished, which frees it. So what the worker looks
 * at is in memory of its own, which belongs to the strand and, while `active`, to the worker: the
 * last of the two frees it.
 *
 *   active  orphan
 *   no      no      nothing to do
 *   yes     no      `self` is in the pool's queue, or a worker runs a job
 *   yes     yes     destroyed while its last job was running: the worker frees the core
 *
 * One activation runs one job and goes to the pool's end, so that a busy strand does not keep the
 * others from a worker. */
struct strand_core {
	struct pool *pool;
	struct lock lock; /* guards all below */
	struct job *head, *tail;
	bool active, orphan;
	struct job self;
};

static void strand_core_free(struct strand_core *c)
{
	lock_destroy(&c->lock);
	free(c);
}

static void strand_run(struct job *self)
{
	struct strand_core *c = CONTAINER_OF(self, struct strand_core, self);
	bool more, orphan;
	struct job *j;

	lock_take(&c->lock);
	j = queue_pop(&c->head, &c->tail);
	lock_release(&c->lock);
	assert(j != NULL);
	j->run(j);

	lock_take(&c->lock);
	more = c->head != NULL;
	c->active = more;
	orphan = c->orphan;
	lock_release(&c->lock);
	/* From here on *c is ours only if there is more to run, or if nobody else has it. */
	if (more)
		pool_submit_from_job(c->pool, &c->self);
	else if (orphan)
		strand_core_free(c);
}

void strand_init(struct strand *s, struct pool *p)
{
	struct strand_core *c = x_calloc(1, sizeof(*c));

	c->pool = p;
	c->self.run = strand_run;
	lock_init(&c->lock, RANK_STRAND);
	s->core = c;
}

void strand_destroy(struct strand *s)
{
	struct strand_core *c = TAKE(s->core);
	bool active;

	lock_take(&c->lock);
	assert(c->head == NULL);
	active = c->active;
	c->orphan = true;
	lock_release(&c->lock);
	if (!active)
		strand_core_free(c);
}

void strand_submit(struct strand *s, struct job *j)
{
	struct strand_core *c = s->core;
	bool first;

	lock_take(&c->lock);
	assert(!c->orphan);
	queue_push(&c->head, &c->tail, j);
	first = !c->active;
	c->active = true;
	lock_release(&c->lock);
	/* If it is the first one, nothing can run before this, so *c stays. */
	if (first)
		pool_submit(c->pool, &c->self);
}
