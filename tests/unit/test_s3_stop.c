/* The S3 backend on a bucket that answers as far as it is told, and then not at all; all timeouts are far
 * off. Nobody who closes, cuts or stops waits for it. */
#include "backends/s3/s3.h"
#include "backends/s3/s3_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"
#include "tests/unit/http_env.h"

#include <netdb.h>
#include <pthread.h>

#define CREATED "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"

enum { MIB = 1 << 20, SIZE = 11 * MIB, PATIENCE_MS = 1500 };

enum ask { ASK_HEAD, ASK_CREATE, ASK_PART, ASK_PUT, ASK_LIST, ASK_ABORT, ASK_GET, ASK_COUNT };

static struct {
	struct http_env *server;
	struct backend *b;
	char dir[TEMP_DIR_MAX];
	char endpoint[64];
	uint8_t *bytes;
	struct stage_hint hint;
	atomic_uint answered; /* a bit for each `ask`; the others hang */
	atomic_uint asked[ASK_COUNT];
} env;

/* --- the bucket --- */

static enum ask ask_of(const char *head)
{
	bool upload = strstr(head, "uploadId=") != NULL;

	if (strncmp(head, "HEAD", 4) == 0)
		return ASK_HEAD;
	if (strncmp(head, "POST", 4) == 0)
		return ASK_CREATE;
	if (strncmp(head, "PUT", 3) == 0)
		return upload ? ASK_PART : ASK_PUT;
	if (strncmp(head, "GET", 3) == 0)
		return upload ? ASK_LIST : ASK_GET;
	return ASK_ABORT;
}

static void answer(void *arg, const struct env_request *req, struct env_answer *a)
{
	enum ask ask = ask_of(req->head);

	(void)arg;
	atomic_fetch_add(&env.asked[ask], 1);
	if ((atomic_load(&env.answered) & (1u << ask)) == 0)
		a->after = ENV_HANG;
	else if (ask == ASK_CREATE)
		env_say(a, "200 OK", "", CREATED);
	else if (ask == ASK_PART)
		env_say(a, "200 OK", "ETag: \"1\"\r\n", "");
	else
		env_say(a, "404 Not Found", "", "");
}

static void wait_for(enum ask ask, unsigned n)
{
	for (int i = 0; atomic_load(&env.asked[ask]) < n; i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
}

/* --- the backend --- */

static void open_backend(void)
{
	static const char *const nothing[] = { NULL };
	struct s3_options o = {
		.endpoint = env.endpoint,
		.region = "",
		.bucket = "layers",
		.prefix = "",
		.credentials = { .access_key = "a",
				 .secret_key = "s",
				 .session_token = "",
				 .access_key_file = "",
				 .secret_key_file = "",
				 .session_token_file = "",
				 .profile = "",
				 .environment = nothing },
		.ca_file = "",
		.proxy = "direct",
		.user_agent = "",
		.sse_kms_key = "",
		.sse_kms_context = "",
		.storage_class = "",
		.expected_owner = "",
		.tags = "",
		.small_blob = 5 << 20,
		.part_size = 5 << 20,
		.upload_concurrency = 2,
		.read_memory = 16 << 20,
		.connections = 16,
		.connect_timeout = 600 * NSEC_PER_SEC,
		.first_byte_timeout = 600 * NSEC_PER_SEC,
		.stall_timeout = 600 * NSEC_PER_SEC,
		.request_timeout = 600 * NSEC_PER_SEC,
		.max_attempts = 10,
	};
	struct stow_err err;

	expect_ok(s3_new(&o, env.dir, &env.b, &err), &err);
}

static int setup(void **state)
{
	(void)state;
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	env.server = http_env_new(answer, NULL);
	snprintf(env.endpoint, sizeof(env.endpoint), "http://%s", http_env_host(env.server));
	env.bytes = x_malloc(SIZE);
	fill(env.bytes, SIZE, 1);
	env.hint = (struct stage_hint){ .digest = blob_digest(DIGEST_SHA256, SIZE, 1), .total = SIZE };
	open_backend();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	backend_free(env.b);
	http_env_free(env.server);
	free(env.bytes);
	temp_dir_remove(env.dir);
	return 0;
}

static void answers(unsigned asks)
{
	atomic_store(&env.answered, asks);
}

static struct stage *new_stage(const char *name)
{
	struct stage *st = NULL;
	struct stow_err err;

	expect_ok(backend_stage_create(env.b, name, &env.hint, &st, &err), &err);
	expect_ok(write_bytes(st, env.bytes, SIZE, 0, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	return st;
}

static int64_t since_ms(int64_t start)
{
	return (clock_mono_ns() - start) / NSEC_PER_MSEC;
}

static void expect_soon_at(int64_t start, int line)
{
	if (since_ms(start) > PATIENCE_MS)
		fail_msg("line %d: it took %lld ms", line, (long long)since_ms(start));
}
#define expect_soon(start) expect_soon_at(start, __LINE__)

/* --- stages --- */

/* More of them than the pool has threads, so that some have not even begun. */
static void stages_close_where_nothing_is_answered(void **state)
{
	struct stage *st[7];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(st); i++)
		st[i] = new_stage(new_name().s);
	wait_for(ASK_HEAD, 4);
	for (size_t i = ARRAY_LEN(st); i-- > 0;) {
		int64_t start = clock_mono_ns();

		stage_close(st[i]);
		expect_soon(start);
	}
	assert_int_equal(count_stages(env.b), ARRAY_LEN(st));
}

static void stages_close_while_they_are_sent(void **state)
{
	struct stage_name name = new_name();
	struct stage *st;
	struct stow_err err;
	int64_t start;

	(void)state;
	answers(1u << ASK_HEAD);
	st = new_stage(name.s);
	wait_for(ASK_CREATE, 1);
	start = clock_mono_ns();
	stage_close(st);
	expect_soon(start);

	answers(1u << ASK_HEAD | 1u << ASK_CREATE);
	expect_ok(backend_stage_resume(env.b, name.s, SIZE, &env.hint, &st, &err), &err);
	expect_ok(write_bytes(st, "", 0, SIZE, &err), &err);
	wait_for(ASK_PART, 2);
	start = clock_mono_ns();
	stage_close(st);
	expect_soon(start);

	/* Its upload is known: its parts are asked for. */
	expect_ok(backend_stage_resume(env.b, name.s, SIZE, &env.hint, &st, &err), &err);
	expect_ok(write_bytes(st, "", 0, SIZE, &err), &err);
	wait_for(ASK_LIST, 1);
	start = clock_mono_ns();
	stage_close(st);
	expect_soon(start);
}

/* And goes on: what follows is asked again. */
static void stages_are_cut_where_nothing_is_answered(void **state)
{
	struct stage *st;
	struct stow_err err;
	int64_t start;

	(void)state;
	st = new_stage(new_name().s);
	wait_for(ASK_HEAD, 1);
	start = clock_mono_ns();
	expect_ok(stage_truncate(st, 0, &err), &err);
	expect_soon(start);
	answers(1u << ASK_HEAD | 1u << ASK_CREATE);
	expect_ok(write_bytes(st, env.bytes, SIZE, 0, &err), &err);
	wait_for(ASK_PART, 2);
	start = clock_mono_ns();
	expect_ok(stage_truncate(st, 0, &err), &err);
	expect_soon(start);
	stage_close(st);
	expect_soon(start);
}

/* --- the backend --- */

static void leftovers_do_not_hold_up_the_end(void **state)
{
	struct stage_name name = new_name();
	struct stage *st;
	struct stow_err err;
	int64_t start;

	(void)state;
	answers(1u << ASK_HEAD | 1u << ASK_CREATE | 1u << ASK_PART);
	st = new_stage(name.s);
	wait_for(ASK_PART, 3);
	stage_close(st);
	expect_ok(backend_stage_discard(env.b, name.s, &err), &err);
	wait_for(ASK_ABORT, 1);
	start = clock_mono_ns();
	backend_free(TAKE(env.b));
	expect_soon(start);
	/* They are not forgotten. */
	open_backend();
	wait_for(ASK_ABORT, 2);
}

struct caller {
	pthread_t thread;
	struct stage *st;
	int result;
	struct stow_err err;
};

static void *publish(void *arg)
{
	struct caller *c = arg;

	c->result = stage_publish(c->st, &env.hint.digest, &c->err);
	return NULL;
}

static void *look(void *arg)
{
	struct caller *c = arg;
	struct blob_stat st;

	c->result = backend_stat(env.b, &env.hint.digest, &st, &c->err);
	return NULL;
}

static void *remove_blob(void *arg)
{
	struct caller *c = arg;

	c->result = backend_remove(env.b, &env.hint.digest, &c->err);
	return NULL;
}

static void calls_end_when_the_store_stops(void **state)
{
	void *(*const calls[])(void *) = { publish, look, remove_blob };
	struct caller c[ARRAY_LEN(calls)];
	struct stow_err err;
	struct blob_stat st;
	int64_t start;

	(void)state;
	c[0].st = new_stage(new_name().s);
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		assert_int_equal(pthread_create(&c[i].thread, NULL, calls[i], &c[i]), 0);
	wait_for(ASK_HEAD, 3);
	start = clock_mono_ns();
	s3_stop(env.b);
	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		(void)pthread_join(c[i].thread, NULL);
		expect_fail(c[i].result, &c[i].err, STOW_UNAVAILABLE);
		expect_named(&c[i].err, "the store is stopping");
	}
	expect_soon(start);
	expect_fail(backend_stat(env.b, &env.hint.digest, &st, &err), &err, STOW_UNAVAILABLE);
	assert_int_equal(count_stages(env.b), 1);
	stage_close(c[0].st);
	backend_free(TAKE(env.b));
	expect_soon(start);
}

/* In place of the C library's: a name server that does not answer for seconds. Addresses do not come here. */
static atomic_uint lookups;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	(void)name, (void)service, (void)hints, (void)ret;
	atomic_fetch_add(&lookups, 1);
	sleep(5);
	return EAI_AGAIN;
}

static void names_that_are_looked_up_hold_up_nobody(void **state)
{
	struct caller c;
	int64_t start;

	(void)state;
	backend_free(TAKE(env.b));
	snprintf(env.endpoint, sizeof(env.endpoint), "http://nobody.test");
	open_backend();
	assert_int_equal(pthread_create(&c.thread, NULL, look, &c), 0);
	for (int i = 0; atomic_load(&lookups) == 0; i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
	start = clock_mono_ns();
	s3_stop(env.b);
	(void)pthread_join(c.thread, NULL);
	expect_fail(c.result, &c.err, STOW_UNAVAILABLE);
	backend_free(TAKE(env.b));
	expect_soon(start);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(stages_close_where_nothing_is_answered),   CASE(stages_close_while_they_are_sent),
		CASE(stages_are_cut_where_nothing_is_answered), CASE(leftovers_do_not_hold_up_the_end),
		CASE(calls_end_when_the_store_stops),           CASE(names_that_are_looked_up_hold_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
