#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void expect_abort(void (*fn)(void), const char *message)
{
	int pipe_fd[2], status;
	char text[4096] = "";
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipe_fd), 0);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_DUMPABLE, 0); /* no core file */
		(void)signal(SIGABRT, SIG_DFL);
		(void)dup2(pipe_fd[1], STDERR_FILENO);
		fn();
		_exit(0); /* did not abort: the parent sees it */
	}
	(void)close(pipe_fd[1]);
	while ((n = read(pipe_fd[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	(void)close(pipe_fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	if (strstr(text, message) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", message, text);
}

static void take_falling(void)
{
	struct lock outer, inner;

	lock_init(&outer, RANK_REFS);
	lock_init(&inner, RANK_META);
	lock_take(&inner);
	lock_take(&outer);
}

static void take_equal(void)
{
	struct lock a, b;

	lock_init(&a, RANK_BACKEND);
	lock_init(&b, RANK_BACKEND);
	lock_take(&a);
	lock_take(&b);
}

static void take_twice(void)
{
	struct lock a;

	lock_init(&a, RANK_LOG);
	lock_take(&a);
	lock_take(&a);
}

/* The rank that counts is the highest one, not the one that was taken last. */
static void take_below_what_is_left(void)
{
	struct lock a, b, c;

	lock_init(&a, RANK_REFS);
	lock_init(&b, RANK_META);
	lock_init(&c, RANK_INGEST);
	lock_take(&a);
	lock_take(&b);
	lock_release(&a);
	lock_take(&c);
}

static void release_what_is_not_held(void)
{
	struct lock a;

	lock_init(&a, RANK_REFS);
	lock_release(&a);
}

static void destroy_what_is_held(void)
{
	struct lock a;

	lock_init(&a, RANK_REFS);
	lock_take(&a);
	lock_destroy(&a);
}

static void wait_on_an_outer_lock(void)
{
	pthread_cond_t cond;
	struct lock a, b;

	lock_init(&a, RANK_REFS);
	lock_init(&b, RANK_META);
	lock_cond_init(&cond);
	lock_take(&a);
	lock_take(&b);
	lock_wait(&a, &cond);
}

static void no_rank(void)
{
	struct lock a;

	lock_init(&a, (enum lock_rank)(RANK_LOG + 1));
}

static void expect_rank_abort(void (*fn)(void), enum lock_rank wanted, enum lock_rank held)
{
	char message[80];

	(void)snprintf(message, sizeof(message), "lock of rank %u taken while holding rank %u\n",
		       (unsigned)wanted, (unsigned)held);
	expect_abort(fn, message);
}

static void violations_abort(void **state)
{
	(void)state;
	expect_rank_abort(take_falling, RANK_REFS, RANK_META);
	expect_rank_abort(take_equal, RANK_BACKEND, RANK_BACKEND);
	expect_rank_abort(take_twice, RANK_LOG, RANK_LOG);
	expect_rank_abort(take_below_what_is_left, RANK_INGEST, RANK_META);
	expect_abort(release_what_is_not_held, "lock_held");
	expect_abort(destroy_what_is_held, "lock_destroy");
	expect_abort(wait_on_an_outer_lock, "lock_wait");
	expect_abort(no_rank, "lock_init");
}

static void rising_is_fine_and_release_in_any_order(void **state)
{
	struct lock l[RANK_LOG];

	(void)state;
	for (int i = 0; i < RANK_LOG; i++)
		lock_init(&l[i], (enum lock_rank)(i + 1));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < RANK_LOG; i++) {
			assert_false(lock_held(&l[i]));
			lock_take(&l[i]);
			assert_true(lock_held(&l[i]));
		}
		for (int i = 0; i < RANK_LOG; i += 2)
			lock_release(&l[i]);
		for (int i = 0; i < RANK_LOG; i++)
			assert_int_equal(lock_held(&l[i]), i % 2);
		for (int i = 1; i < RANK_LOG; i += 2)
			lock_release(&l[i]);
	}
	for (int i = 0; i < RANK_LOG; i++)
		lock_destroy(&l[i]);
}

static void scope_releases(void **state)
{
	struct lock a, b;

	(void)state;
	lock_init(&a, RANK_REFS);
	lock_init(&b, RANK_META);
	{
		LOCK_SCOPE(&a);
		LOCK_SCOPE(&b);
		assert_true(lock_held(&a));
		assert_true(lock_held(&b));
	}
	assert_false(lock_held(&a));
	assert_false(lock_held(&b));
	lock_destroy(&b);
	lock_destroy(&a);
}

struct shared {
	struct lock lock;
	pthread_cond_t cond;
	int turn; /* whose it is to count */
	int count;
};

struct player {
	struct shared *s;
	int me;
	pthread_t thread;
};

/* cmocka's own asserts are for the main thread; abort() is for all. */
#define MUST(x)                                                                                              \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			abort();                                                                             \
	} while (0)

static void *play(void *arg)
{
	struct player *p = arg;
	struct shared *s = p->s;

	for (int i = 0; i < 500; i++) {
		MUST(!lock_held(&s->lock));
		lock_take(&s->lock);
		while (s->turn != p->me) {
			lock_wait(&s->lock, &s->cond);
			MUST(lock_held(&s->lock));
		}
		s->count++;
		s->turn = (s->turn + 1) % 4;
		pthread_cond_broadcast(&s->cond);
		lock_release(&s->lock);
	}
	return NULL;
}

static void owner_is_right_among_threads(void **state)
{
	struct shared s = { 0 };
	struct player p[4];

	(void)state;
	lock_init(&s.lock, RANK_POOL);
	lock_cond_init(&s.cond);
	for (int i = 0; i < 4; i++) {
		p[i] = (struct player){ .s = &s, .me = i };
		assert_int_equal(pthread_create(&p[i].thread, NULL, play, &p[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(p[i].thread, NULL);
	assert_int_equal(s.count, 4 * 500);
	pthread_cond_destroy(&s.cond);
	lock_destroy(&s.lock);
}

static void *signal_later(void *arg)
{
	struct shared *s = arg;

	lock_take(&s->lock);
	s->turn = 1;
	pthread_cond_signal(&s->cond);
	lock_release(&s->lock);
	return NULL;
}

static void wait_until_ends_on_time(void **state)
{
	int64_t start = clock_mono_ns(), until = start + 20 * NSEC_PER_MSEC;
	struct shared s = { 0 };
	bool in_time = true;
	pthread_t thread;

	(void)state;
	lock_init(&s.lock, RANK_POOL);
	lock_cond_init(&s.cond);
	lock_take(&s.lock);
	assert_false(lock_wait_until(&s.lock, &s.cond, 0));
	assert_false(lock_wait_until(&s.lock, &s.cond, -1));
	while (lock_wait_until(&s.lock, &s.cond, until)) {
		/* woken for nothing */
	}
	assert_true(clock_mono_ns() >= until);
	assert_true(lock_held(&s.lock));

	assert_int_equal(pthread_create(&thread, NULL, signal_later, &s), 0);
	while (s.turn == 0 && in_time)
		in_time = lock_wait_until(&s.lock, &s.cond, clock_mono_ns() + 30 * NSEC_PER_SEC);
	assert_true(in_time);
	assert_true(lock_held(&s.lock));
	lock_release(&s.lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&s.cond);
	lock_destroy(&s.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(violations_abort),
		cmocka_unit_test(rising_is_fine_and_release_in_any_order),
		cmocka_unit_test(scope_releases),
		cmocka_unit_test(owner_is_right_among_threads),
		cmocka_unit_test(wait_until_ends_on_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
