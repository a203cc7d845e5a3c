#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/pool.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* cmocka's own asserts are for the main thread; abort() is for all. */
#define MUST(x)                                                                                              \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			abort();                                                                             \
	} while (0)

struct count_job {
	struct job job;
	struct pool *pool;
	atomic_int *count;
	int again; /* how often it submits itself once more */
};

static void run_count(struct job *j)
{
	struct count_job *c = CONTAINER_OF(j, struct count_job, job);

	atomic_fetch_add(c->count, 1);
	if (c->again-- > 0)
		pool_submit(c->pool, j);
}

struct submitter {
	pthread_t thread;
	struct pool *pool;
	struct count_job *jobs;
	size_t n;
};

static void *submit_all(void *arg)
{
	struct submitter *s = arg;

	for (size_t i = 0; i < s->n; i++)
		pool_submit(s->pool, &s->jobs[i].job);
	return NULL;
}

/* pool_free runs all that is queued, and what those submit in turn. */
static void pool_runs_each_job_once(void **state)
{
	enum { SUBMITTERS = 4, JOBS = 5000, AGAIN = 2 };
	CLEANUP(freep) struct count_job *jobs = x_calloc(SUBMITTERS * JOBS, sizeof(*jobs));

	(void)state;
	for (unsigned threads = 1; threads <= 8; threads *= 2) {
		struct pool *p = pool_new("a name longer than 15 bytes", threads);
		struct submitter s[SUBMITTERS];
		atomic_int count = 0;

		for (int i = 0; i < SUBMITTERS * JOBS; i++)
			jobs[i] = (struct count_job){ { .run = run_count }, p, &count, AGAIN };
		for (int i = 0; i < SUBMITTERS; i++) {
			s[i] = (struct submitter){ .pool = p, .jobs = jobs + i * JOBS, .n = JOBS };
			assert_int_equal(pthread_create(&s[i].thread, NULL, submit_all, &s[i]), 0);
		}
		for (int i = 0; i < SUBMITTERS; i++)
			pthread_join(s[i].thread, NULL);
		pool_free(p);
		assert_int_equal(count, SUBMITTERS * JOBS * (AGAIN + 1));
	}
}

struct meet_job {
	struct job job;
	pthread_barrier_t *barrier;
};

static void run_meet(struct job *j)
{
	sigset_t set;

	/* Workers leave signals to others. */
	MUST(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
	MUST(sigismember(&set, SIGTERM) == 1);
	pthread_barrier_wait(CONTAINER_OF(j, struct meet_job, job)->barrier);
}

/* All workers run at once, or the barrier never opens; also after they have slept. */
static void pool_uses_all_its_threads(void **state)
{
	enum { THREADS = 5 };
	struct pool *p = pool_new("meet", THREADS);
	pthread_barrier_t barrier;
	struct meet_job jobs[THREADS];

	(void)state;
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < THREADS; i++) {
			jobs[i] = (struct meet_job){ { .run = run_meet }, &barrier };
			pool_submit(p, &jobs[i].job);
		}
		pthread_barrier_wait(&barrier);
	}
	pool_free(p);
	pthread_barrier_destroy(&barrier);
}

/* Those taken back do not run, wherever in the queue they were; those that follow do. */
static void queued_jobs_can_be_withdrawn(void **state)
{
	enum { JOBS = 4 };

	(void)state;
	for (int out = 0; out < JOBS; out++) {
		struct pool *p = pool_new("withdraw", 1);
		struct count_job jobs[JOBS];
		struct meet_job first;
		pthread_barrier_t barrier;
		atomic_int counts[JOBS];

		pthread_barrier_init(&barrier, NULL, 2);
		first = (struct meet_job){ { .run = run_meet }, &barrier };
		pool_submit(p, &first.job);
		for (int i = 0; i < JOBS; i++) {
			atomic_init(&counts[i], 0);
			jobs[i] = (struct count_job){ { .run = run_count }, p, &counts[i], 0 };
			if (i < JOBS - 1)
				pool_submit(p, &jobs[i].job);
		}
		assert_int_equal(pool_withdraw(p, &jobs[out].job), out < JOBS - 1);
		assert_false(pool_withdraw(p, &jobs[out].job));
		pool_submit(p, &jobs[JOBS - 1].job);
		pthread_barrier_wait(&barrier);
		pool_free(p);
		for (int i = 0; i < JOBS; i++)
			assert_int_equal(counts[i], i == JOBS - 1 || i != out);
		pthread_barrier_destroy(&barrier);
	}
}

/* --- growing pools --- */

/* How many threads of this process have that name. */
static int threads_named(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char path[300], comm[32] = "";
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = fopen(path, "re"); /* a thread may just have ended */
		if (f == NULL)
			continue;
		if (fgets(comm, sizeof(comm), f) != NULL)
			comm[strcspn(comm, "\n")] = '\0';
		n += strcmp(comm, name) == 0;
		(void)fclose(f);
	}
	(void)closedir(dir);
	return n;
}

/* Until the pool has so many threads; some seconds at most. */
static void wait_for_threads(const char *name, int n)
{
	int64_t until = clock_mono_ns() + 20 * NSEC_PER_SEC;

	while (threads_named(name) != n && clock_mono_ns() < until)
		(void)usleep(1000);
	assert_int_equal(threads_named(name), n);
}

/* Nobody waits for anybody else, and all but one end when there is nothing to do; again and again. */
static void growing_pool_has_as_many_threads_as_it_needs(void **state)
{
	enum { JOBS = 20 };
	struct pool *p = pool_new_growing("grows", JOBS, 20 * NSEC_PER_MSEC);
	pthread_barrier_t barrier;
	struct meet_job jobs[JOBS];

	(void)state;
	pthread_barrier_init(&barrier, NULL, JOBS + 1);
	wait_for_threads("grows", 1);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < JOBS; i++) {
			jobs[i] = (struct meet_job){ { .run = run_meet }, &barrier };
			pool_submit(p, &jobs[i].job);
		}
		pthread_barrier_wait(&barrier);
		wait_for_threads("grows", 1);
	}
	pool_free(p);
	wait_for_threads("grows", 0); /* which the kernel forgets a moment later */
	pthread_barrier_destroy(&barrier);
}

/* Those beyond the cap wait in the queue, in their order. */
static void growing_pool_has_a_cap(void **state)
{
	enum { MAX = 3, QUEUED = 50 };
	struct pool *p = pool_new_growing("capped", MAX, NSEC_PER_SEC);
	pthread_barrier_t barrier;
	struct meet_job first[MAX];
	struct count_job queued[QUEUED];
	atomic_int count = 0;

	(void)state;
	pthread_barrier_init(&barrier, NULL, MAX + 1);
	for (int i = 0; i < MAX; i++) {
		first[i] = (struct meet_job){ { .run = run_meet }, &barrier };
		pool_submit(p, &first[i].job);
	}
	wait_for_threads("capped", MAX);
	for (int i = 0; i < QUEUED; i++) {
		queued[i] = (struct count_job){ { .run = run_count }, p, &count, 0 };
		pool_submit(p, &queued[i].job);
	}
	assert_int_equal(threads_named("capped"), MAX);
	assert_int_equal(atomic_load(&count), 0);
	pthread_barrier_wait(&barrier);
	pool_free(p);
	assert_int_equal(count, QUEUED);
	pthread_barrier_destroy(&barrier);
}

/* The system gives no more threads: what there is does all of it. */
static atomic_bool refuse_threads;

int __real_thread_try_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg);
int __wrap_thread_try_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg);
int __wrap_thread_try_start(pthread_t *ret_t, const char *name, void *(*run)(void *arg), void *arg)
{
	return atomic_load(&refuse_threads) ? EAGAIN : __real_thread_try_start(ret_t, name, run, arg);
}

static void growing_pool_lives_with_fewer_threads(void **state)
{
	enum { JOBS = 100 };
	struct pool *p = pool_new_growing("fewer", 10, NSEC_PER_SEC);
	struct count_job jobs[JOBS];
	atomic_int count = 0;

	(void)state;
	atomic_store(&refuse_threads, true);
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (struct count_job){ { .run = run_count }, p, &count, 3 };
		pool_submit(p, &jobs[i].job);
	}
	wait_for_threads("fewer", 1);
	atomic_store(&refuse_threads, false);
	pool_free(p);
	assert_int_equal(count, 4 * JOBS);
}

/* Threads begin and end while jobs come from everywhere, and while the pool itself ends. */
static void growing_pool_runs_each_job_once(void **state)
{
	enum { SUBMITTERS = 4, JOBS = 2000, AGAIN = 3 };
	CLEANUP(freep) struct count_job *jobs = x_calloc(SUBMITTERS * JOBS, sizeof(*jobs));

	(void)state;
	for (int round = 0; round < 4; round++) {
		struct pool *p = pool_new_growing("all", 8, round % 2 == 0 ? 0 : NSEC_PER_MSEC);
		struct submitter s[SUBMITTERS];
		atomic_int count = 0;

		for (int i = 0; i < SUBMITTERS * JOBS; i++)
			jobs[i] = (struct count_job){ { .run = run_count }, p, &count, AGAIN };
		for (int i = 0; i < SUBMITTERS; i++) {
			s[i] = (struct submitter){ .pool = p, .jobs = jobs + i * JOBS, .n = JOBS };
			assert_int_equal(pthread_create(&s[i].thread, NULL, submit_all, &s[i]), 0);
		}
		for (int i = 0; i < SUBMITTERS; i++)
			pthread_join(s[i].thread, NULL);
		pool_free(p);
		assert_int_equal(count, SUBMITTERS * JOBS * (AGAIN + 1));
	}
}

static void run_free(struct job *j)
{
	struct count_job *c = CONTAINER_OF(j, struct count_job, job);

	atomic_fetch_add(c->count, 1);
	free(c);
}

static void job_may_free_itself(void **state)
{
	struct pool *p = pool_new("free", 2);
	atomic_int count = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct count_job *c = x_calloc(1, sizeof(*c));

		*c = (struct count_job){ { .run = run_free }, p, &count, 0 };
		pool_submit(p, &c->job);
	}
	pool_free(p);
	assert_int_equal(count, 1000);
}

/* --- strands --- */

enum { STRANDS = 20, PRODUCERS = 4, PER_PRODUCER = 200 };

struct ordered {
	struct strand strand;
	atomic_bool busy;
	int next[PRODUCERS]; /* no atomics: the strand makes one job's writes visible to the next */
	int ran;
};

struct ordered_job {
	struct job job;
	struct ordered *of;
	int producer, number;
};

static void run_ordered(struct job *j)
{
	struct ordered_job *o = CONTAINER_OF(j, struct ordered_job, job);

	MUST(!atomic_exchange(&o->of->busy, true)); /* never two at once */
	MUST(o->of->next[o->producer]++ == o->number);
	o->of->ran++;
	if (o->number % 16 == 0)
		sched_yield();
	atomic_store(&o->of->busy, false);
}

struct producer {
	pthread_t thread;
	struct ordered *strands;
	struct ordered_job *jobs; /* STRANDS * PER_PRODUCER */
	int me;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	struct ordered_job *j = p->jobs;

	for (int number = 0; number < PER_PRODUCER; number++)
		for (int s = 0; s < STRANDS; s++, j++) {
			*j = (struct ordered_job){ { .run = run_ordered }, &p->strands[s], p->me, number };
			strand_submit(&p->strands[s].strand, &j->job);
		}
	return NULL;
}

static void strand_keeps_order(void **state)
{
	CLEANUP(freep)
	struct ordered_job *jobs = x_calloc(PRODUCERS * STRANDS * PER_PRODUCER, sizeof(*jobs));
	CLEANUP(freep) struct ordered *strands = x_calloc(STRANDS, sizeof(*strands));
	struct pool *pool = pool_new("strands", 3);
	struct producer p[PRODUCERS];

	(void)state;
	for (int s = 0; s < STRANDS; s++)
		strand_init(&strands[s].strand, pool);
	for (int i = 0; i < PRODUCERS; i++) {
		p[i] = (struct producer){ .strands = strands, .me = i };
		p[i].jobs = jobs + i * STRANDS * PER_PRODUCER;
		assert_int_equal(pthread_create(&p[i].thread, NULL, produce, &p[i]), 0);
	}
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(p[i].thread, NULL);
	pool_free(pool);
	for (int s = 0; s < STRANDS; s++) {
		assert_int_equal(strands[s].ran, PRODUCERS * PER_PRODUCER);
		strand_destroy(&strands[s].strand);
	}
}

/* A strand with much to do lets another one's job through on the only worker. */
struct fair_job {
	struct job job;
	int *at, seen;
};

static void run_fair(struct job *j)
{
	struct fair_job *f = CONTAINER_OF(j, struct fair_job, job);

	f->seen = (*f->at)++;
}

static void run_hold(struct job *j)
{
	pthread_barrier_wait(CONTAINER_OF(j, struct meet_job, job)->barrier);
}

static void strand_does_not_keep_the_worker(void **state)
{
	struct pool *p = pool_new("fair", 1);
	struct fair_job busy[100], other;
	struct meet_job hold;
	pthread_barrier_t barrier;
	struct strand a, b;
	int at = 0;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	strand_init(&a, p);
	strand_init(&b, p);
	hold = (struct meet_job){ { .run = run_hold }, &barrier };
	pool_submit(p, &hold.job); /* the worker waits until all is queued */
	for (int i = 0; i < 100; i++) {
		busy[i] = (struct fair_job){ { .run = run_fair }, &at, -1 };
		strand_submit(&a, &busy[i].job);
	}
	other = (struct fair_job){ { .run = run_fair }, &at, -1 };
	strand_submit(&b, &other.job);
	pthread_barrier_wait(&barrier);
	pool_free(p);
	assert_int_equal(other.seen, 1);
	assert_int_equal(busy[99].seen, 100);
	strand_destroy(&a);
	strand_destroy(&b);
	pthread_barrier_destroy(&barrier);
}

/* An object with a strand, as an RPC has one: its jobs go on from one another, the last one ends it. */
struct object {
	struct strand strand;
	struct job job;
	int left;
	bool self_destroy;
	atomic_int *gone;
	sem_t *finished;
	struct object **hand_over;
};

static void object_free(struct object *o)
{
	atomic_int *gone = o->gone;

	strand_destroy(&o->strand);
	memset(o, 0xee, sizeof(*o)); /* for builds without a sanitizer */
	free(o);
	atomic_fetch_add(gone, 1);
}

static void run_object(struct job *j)
{
	struct object *o = CONTAINER_OF(j, struct object, job);

	if (--o->left > 0) {
		strand_submit(&o->strand, j);
	} else if (o->self_destroy) {
		object_free(o);
	} else {
		*o->hand_over = o;
		sem_post(o->finished); /* another thread frees it, perhaps before this returns */
	}
}

static struct object *object_new(struct pool *p, int jobs, bool self_destroy, atomic_int *gone)
{
	struct object *o = x_calloc(1, sizeof(*o));

	strand_init(&o->strand, p);
	o->job.run = run_object;
	o->left = jobs;
	o->self_destroy = self_destroy;
	o->gone = gone;
	return o;
}

static void last_job_may_destroy_the_strand(void **state)
{
	struct pool *p = pool_new("destroy", 3);
	atomic_int gone = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct object *o = object_new(p, 1 + i % 4, true, &gone);

		strand_submit(&o->strand, &o->job);
	}
	pool_free(p);
	assert_int_equal(gone, 2000);
}

static void another_thread_may_destroy_the_strand(void **state)
{
	struct pool *p = pool_new("destroy", 3);
	struct object *done = NULL;
	atomic_int gone = 0;
	sem_t finished;

	(void)state;
	sem_init(&finished, 0, 0);
	for (int i = 0; i < 2000; i++) {
		struct object *o = object_new(p, 1 + i % 4, false, &gone);

		o->finished = &finished;
		o->hand_over = &done;
		strand_submit(&o->strand, &o->job);
		while (sem_wait(&finished) != 0) {
			/* interrupted */
		}
		assert_ptr_equal(done, o);
		object_free(done);
	}
	pool_free(p);
	assert_int_equal(gone, 2000);
	sem_destroy(&finished);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_runs_each_job_once),
		cmocka_unit_test(pool_uses_all_its_threads),
		cmocka_unit_test(queued_jobs_can_be_withdrawn),
		cmocka_unit_test(growing_pool_has_as_many_threads_as_it_needs),
		cmocka_unit_test(growing_pool_has_a_cap),
		cmocka_unit_test(growing_pool_lives_with_fewer_threads),
		cmocka_unit_test(growing_pool_runs_each_job_once),
		cmocka_unit_test(job_may_free_itself),
		cmocka_unit_test(strand_keeps_order),
		cmocka_unit_test(strand_does_not_keep_the_worker),
		cmocka_unit_test(last_job_may_destroy_the_strand),
		cmocka_unit_test(another_thread_may_destroy_the_strand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
