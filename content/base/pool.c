#include "content/base/pool.h"

#include "content/base/lock.h"
#include "content/base/mem.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#define POOL_MAGIC 0x9001a001u

struct pool {
	uint32_t magic;
	bool stopping;
	struct lock lock; /* guards all below */
	pthread_cond_t wake;
	struct job *head, *tail;
	unsigned idle; /* workers that wait, or have been woken and not yet run */
	unsigned threads;
	pthread_t thread[];
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

static void *worker(void *arg)
{
	struct pool *p = arg;

	CHECK_OBJ(p, POOL_MAGIC);
	lock_take(&p->lock);
	for (;;) {
		struct job *j;

		while (p->head == NULL && !p->stopping) {
			p->idle++;
			lock_wait(&p->lock, &p->wake);
			p->idle--;
		}
		j = queue_pop(&p->head, &p->tail);
		if (j == NULL)
			break;
		lock_release(&p->lock);
		j->run(j);
		lock_take(&p->lock);
	}
	lock_release(&p->lock);
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads)
{
	struct pool *p = x_calloc(1, sizeof(*p) + threads * sizeof(p->thread[0]));
	sigset_t all, old;
	char short_name[16];

	assert(threads > 0);
	p->magic = POOL_MAGIC;
	p->threads = threads;
	lock_init(&p->lock, RANK_POOL);
	lock_cond_init(&p->wake);
	(void)snprintf(short_name, sizeof(short_name), "%s", name);

	/* Signals are for the thread that waits for them; workers inherit that they have them blocked. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < threads; i++) {
		int e = pthread_create(&p->thread[i], NULL, worker, p);

		if (e != 0)
			x_abort("cannot start thread %u of %s: error %d", i, short_name, e);
		(void)pthread_setname_np(p->thread[i], short_name);
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p;
}

void pool_free(struct pool *p)
{
	CHECK_OBJ(p, POOL_MAGIC);
	lock_take(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	lock_release(&p->lock);

	/* A job that submits another is followed by its own worker's next look at the queue, so the
	 * queue is empty once all have ended. */
	for (unsigned i = 0; i < p->threads; i++) {
		int e = pthread_join(p->thread[i], NULL);

		assert(e == 0);
	}
	assert(p->head == NULL);
	pthread_cond_destroy(&p->wake);
	lock_destroy(&p->lock);
	FREE_OBJ(p);
}

void pool_submit(struct pool *p, struct job *j)
{
	bool wake;

	CHECK_OBJ(p, POOL_MAGIC);
	lock_take(&p->lock);
	queue_push(&p->head, &p->tail, j);
	wake = p->idle > 0;
	lock_release(&p->lock);
	/* After the release, or the woken worker would run into the lock at once. */
	if (wake)
		pthread_cond_signal(&p->wake);
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
	return true;
}

/* As pool_submit, from a job that is about to return. Nobody is woken: this worker looks at the queue
 * next, and takes it dry before it sleeps. */
static void pool_submit_from_job(struct pool *p, struct job *j)
{
	lock_take(&p->lock);
	queue_push(&p->head, &p->tail, j);
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
