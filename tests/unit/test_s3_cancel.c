/* Operations that end before their answer has come: cancelled, or stopped with their client. */
#include "backends/s3/client_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/s3_env.h"
#include "tests/unit/unit.h"

#include <semaphore.h>

/* --- cancelling --- */

struct waited {
	struct s3_op op;
	sem_t done;
};

static void post(struct s3_op *op)
{
	(void)sem_post(&CONTAINER_OF(op, struct waited, op)->done);
}

static void start_range(struct s3_env *e, struct waited *w, char to[10])
{
	*w = (struct waited){ .op.done = post };
	(void)sem_init(&w->done, 0, 0);
	s3_get_start(e->client, &w->op, "a/key", "\"e\"", 5, 10, to);
}

static void wait_for(struct waited *w)
{
	while (sem_wait(&w->done) < 0)
		;
	(void)sem_destroy(&w->done);
}

static void operations_can_be_cancelled(void **state)
{
	/* Under way, in a long back-off, and before credentials are there. */
	static const struct s3_step steps[] = {
		{ .status = "200 OK", .after = ENV_HANG, .cut = 1 },
		{ .status = "503 Slow Down", .headers = "Retry-After: 50\r\n" },
		{ .status = "200 OK" },
	};
	struct s3_env e;
	struct waited w;
	char to[10];
	int64_t start = clock_mono_ns();

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		SCRIPT(&e, steps[i]);
		atomic_store(&e.not_yet, i == 2 ? 1000000 : 0);
		start_range(&e, &w, to);
		usleep(50000);
		s3_op_cancel(e.client, &w.op);
		wait_for(&w);
		assert_int_equal(w.op.result, -1);
		s3_env_expect(&w.op.err, STOW_CANCELLED, "s3: GetObject layers/a/key: ");
		s3_op_cancel(e.client, &w.op);
	}
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	atomic_store(&e.not_yet, 0);
	SCRIPT(&e, S3_OK_RANGE);
	start_range(&e, &w, to);
	wait_for(&w);
	assert_int_equal(w.op.result, 0);
	assert_memory_equal(to, "0123456789", 10);
	s3_env_end(&e);
}

/* Between the back-off's end and the next attempt: a timer that is set then must not outlive the request. */
static void a_cancel_may_meet_the_timer(void **state)
{
	struct s3_env e;
	struct waited w;
	char to[10];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (int i = 0; i < 3; i++) {
		SCRIPT(&e, { .status = "500 Internal" });
		start_range(&e, &w, to);
		while (atomic_load(&e.seen_n) == 0)
			usleep(1000);
		usleep(10000); /* the answer has been looked at */
		/* The back-off is 100 ms at most; whoever waits for the lock now has been woken by it. */
		lock_take(&e.client->core->env.lock);
		usleep(150000);
		if (w.op.request != NULL)
			request_cancel_locked(w.op.request);
		lock_release(&e.client->core->env.lock);
		wait_for(&w);
		assert_int_equal(w.op.err.code, STOW_CANCELLED);
		/* The thread goes through its timers. */
		SCRIPT(&e, S3_OK_RANGE);
		start_range(&e, &w, to);
		wait_for(&w);
		assert_int_equal(w.op.result, 0);
	}
	s3_env_end(&e);
}

/* Whenever the cancel comes, the operation ends once, in one way or the other. */
static void cancels_race_with_answers(void **state)
{
	struct s3_env e;
	struct waited w;
	char to[10];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (int i = 0; i < 100; i++) {
		SCRIPT(&e, { .status = "500 Internal" }, S3_OK_RANGE);
		start_range(&e, &w, to);
		usleep((useconds_t)i * 40);
		s3_op_cancel(e.client, &w.op);
		wait_for(&w);
		assert_true(w.op.result == 0 || w.op.err.code == STOW_CANCELLED);
	}
	s3_env_end(&e);
}

/* --- stopping --- */

/* What they wait for takes far longer; stopping takes half a second, and more on a busy machine. */
enum { SOON_MS = 20000 };

struct caller {
	pthread_t thread;
	struct s3_client *client;
	int result;
	char id[S3_UPLOAD_ID_MAX + 1];
	struct stow_err err;
};

static void *call_head(void *arg)
{
	struct caller *c = arg;
	struct s3_object o;

	c->result = s3_head(c->client, "a/key", &o, &c->err);
	return NULL;
}

static void *call_create(void *arg)
{
	struct caller *c = arg;

	c->result = s3_upload_create(c->client, "a/key", c->id, &c->err);
	return NULL;
}

static void caller_start(struct caller *c, struct s3_client *client, void *call(void *))
{
	*c = (struct caller){ .client = client };
	assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

/* Milliseconds that it took. */
static int64_t caller_stop(struct caller *c)
{
	int64_t start = clock_mono_ns();

	s3_client_stop(c->client);
	(void)pthread_join(c->thread, NULL);
	return (clock_mono_ns() - start) / NSEC_PER_MSEC;
}

static void expect_stopped(struct s3_env *e, enum stow_code code, const char *text)
{
	struct stow_err err;
	unsigned seen = atomic_load(&e->seen_n);

	assert_int_equal(s3_env_head(e, &err), -1);
	s3_env_expect(&err, code, text);
	assert_int_equal(e->seen_n, seen);
}

static void all_ends_when_the_client_is_stopped(void **state)
{
	/* Nothing is answered; a long back-off; no credentials yet. */
	static const struct s3_step steps[] = {
		{ .status = "200 OK", .after = ENV_HANG, .cut = 1 },
		{ .status = "503 Slow Down", .headers = "Retry-After: 50\r\n" },
		{ .status = "200 OK" },
	};
	struct caller c;
	struct waited w;
	struct s3_env e;
	char to[10];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		s3_env_init(&e);
		e.o.first_byte_timeout = e.o.stall_timeout = e.o.request_timeout = 600 * NSEC_PER_SEC;
		s3_env_start(&e);
		SCRIPT(&e, steps[i]);
		atomic_store(&e.not_yet, i == 2 ? 1000000 : 0);
		caller_start(&c, e.client, call_head);
		start_range(&e, &w, to);
		usleep(50000);
		assert_true(caller_stop(&c) < SOON_MS);
		assert_int_equal(c.result, -1);
		s3_env_expect(&c.err, STOW_UNAVAILABLE, "s3: HeadObject layers/a/key: the store is stopping");
		wait_for(&w);
		s3_env_expect(&w.op.err, STOW_UNAVAILABLE, "the store is stopping");
		expect_stopped(&e, STOW_UNAVAILABLE, "the store is stopping");
		atomic_store(&e.not_yet, 0);
		s3_env_end(&e);
	}
}

static void forks_are_stopped_alone_or_with_all(void **state)
{
	struct s3_client *fork, *other;
	struct caller c, d;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	e.o.first_byte_timeout = e.o.stall_timeout = e.o.request_timeout = 600 * NSEC_PER_SEC;
	s3_env_start(&e);
	fork = s3_client_fork(e.client);
	other = s3_client_fork(e.client);
	SCRIPT(&e, { .status = "200 OK", .after = ENV_HANG, .cut = 1 });
	caller_start(&c, fork, call_head);
	caller_start(&d, other, call_head);
	while (atomic_load(&e.seen_n) < 2)
		usleep(1000);
	assert_true(caller_stop(&c) < SOON_MS);
	s3_env_expect(&c.err, STOW_CANCELLED, "s3: HeadObject layers/a/key: cancelled");
	SCRIPT(&e, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	s3_client_stop(e.client);
	(void)pthread_join(d.thread, NULL);
	s3_env_expect(&d.err, STOW_UNAVAILABLE, "the store is stopping");
	s3_client_free(fork);
	s3_client_free(other);
	s3_env_end(&e);
}

/* Else an upload would stay behind that nobody knows. */
static void what_an_upload_is_called_may_still_be_heard(void **state)
{
	static const struct s3_step late = {
		.status = "200 OK",
		.body = "<InitiateMultipartUploadResult><UploadId>7</UploadId>"
			"</InitiateMultipartUploadResult>",
		.delay_ms = 200,
	};
	static const struct s3_step never = { .status = "200 OK", .after = ENV_HANG, .cut = 1 };
	struct caller c;
	struct s3_env e;

	(void)state;
	s3_env_init(&e);
	e.o.first_byte_timeout = e.o.stall_timeout = e.o.request_timeout = 600 * NSEC_PER_SEC;
	s3_env_start(&e);
	SCRIPT(&e, late);
	caller_start(&c, s3_client_fork(e.client), call_create);
	while (atomic_load(&e.seen_n) == 0)
		usleep(1000);
	assert_true(caller_stop(&c) < SOON_MS);
	assert_int_equal(c.result, 0);
	assert_string_equal(c.id, "7");
	s3_client_free(c.client);

	SCRIPT(&e, never);
	caller_start(&c, s3_client_fork(e.client), call_create);
	while (atomic_load(&e.seen_n) == 0)
		usleep(1000);
	assert_true(caller_stop(&c) < SOON_MS);
	s3_env_expect(&c.err, STOW_CANCELLED, "cancelled");
	s3_client_free(c.client);
	s3_env_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_can_be_cancelled),
		cmocka_unit_test(a_cancel_may_meet_the_timer),
		cmocka_unit_test(cancels_race_with_answers),
		cmocka_unit_test(all_ends_when_the_client_is_stopped),
		cmocka_unit_test(forks_are_stopped_alone_or_with_all),
		cmocka_unit_test(what_an_upload_is_called_may_still_be_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
