/* The cache of credentials: when they are fetched anew, and what is served meanwhile. The provider is a
 * container's endpoint, whose keys are called K1, K2, ... and live for an hour. The clock moves when a case
 * moves it, and by a little whenever one naps. */
#include "backends/s3/creds.h"
#include "backends/s3/creds_internal.h"
#include "backends/s3/http.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/clock_env.h"
#include "tests/unit/creds_env.h"
#include "tests/unit/http_env.h"

#include <pthread.h>
#include <stdio.h>

/* When they are fetched anew: a quarter before their end, less half of that by jitter. */
#define LIFE (3600 * NSEC_PER_SEC)
#define DUE_FIRST (LIFE - LIFE / 4)
#define DUE_LAST (LIFE - LIFE / 8)

static struct {
	struct http_env *env;
	atomic_uint n; /* requests */
	/* For all requests from the second one on, unless `always`. */
	atomic_bool always, broken, hanging;
	atomic_bool held; /* no answer until it is false again */
	atomic_llong life_ns;
} server;

static void answer(void *arg, const struct env_request *req, struct env_answer *a)
{
	unsigned n = atomic_fetch_add(&server.n, 1) + 1;
	bool now = n > 1 || server.always;
	char body[256], end[CLOCK_TEXT_MAX];

	(void)arg;
	(void)req;
	while (now && server.held)
		usleep(1000);
	if (now && server.hanging) {
		a->after = ENV_HANG;
		return;
	}
	if (now && server.broken) {
		env_say(a, "500 Broken", "", "");
		return;
	}
	clock_format(clock_wall_ns() + server.life_ns, end);
	snprintf(body, sizeof(body),
		 "{\"AccessKeyId\":\"K%u\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"%s\"}",
		 n, end);
	env_say(a, "200 OK", "", body);
}

static struct http *http;
static struct creds *creds;

static int setup(void **state)
{
	struct stow_err err;
	if (creds_env_setup(state) < 0)
		return -1;
	server.n = 0;
	server.always = server.broken = server.hanging = server.held = false;
	server.life_ns = LIFE;
	server.env = http_env_new(answer, NULL);
	creds_env_set("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s/", http_env_host(server.env));
	return http_new(&(struct http_options){ .max_transfers = 4, .proxy = "" }, &http, &err);
}

static int teardown(void **state)
{
	creds_free(TAKE(creds));
	http_free(http);
	http_env_free(server.env);
	return creds_env_teardown(state);
}

/* Starts them, and waits for the first keys unless they are not to come. */
static void start(bool wait)
{
	const struct s3_options o = creds_env_options();
	struct stow_err err;
	if (creds_new(&o, "", http, &creds, &err) < 0 ||
	    (wait && creds_wait(creds, clock_mono_ns() + 20 * NSEC_PER_SEC, &err) < 0))
		fail_msg("%s", err.msg);
}

/* The number of the key of the moment; 0 with *err set where there is none. */
static unsigned key(struct stow_err *err)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	if (creds_get(creds, &s, err) != 0)
		return 0;
	assert_int_equal(s->access_key[0], 'K');
	assert_true(s->expires_ns > clock_wall_ns() - NSEC_PER_SEC);
	return (unsigned)strtoul(s->access_key + 1, NULL, 10);
}

static void nap(void)
{
	clock_env_move(5 * NSEC_PER_MSEC);
	usleep(5000);
}

/* Naps until it is so; half a minute of them is more than enough. */
#define UNTIL(cond)                                                                                          \
	do {                                                                                                 \
		for (int naps = 0; !(cond) && naps < 6000; naps++)                                           \
			nap();                                                                               \
		assert_true(cond);                                                                           \
	} while (0)

static void refreshed_before_their_end(void **state)
{
	struct stow_err err;
	(void)state;
	start(true);
	clock_env_move(DUE_FIRST - 1);
	clock_env_settle();
	assert_int_equal(server.n, 1);
	clock_env_move(DUE_LAST - DUE_FIRST + 1);
	/* Nobody ever sees a gap. */
	unsigned now = 1;
	UNTIL((now = key(&err)) != 1);
	assert_int_equal(now, 2);
	/* And not at once again. */
	clock_env_move(DUE_FIRST - 60 * NSEC_PER_SEC);
	clock_env_settle();
	assert_int_equal(key(&err), 2);
	assert_int_equal(server.n, 2);
}

static void old_ones_while_a_refresh_is_slow(void **state)
{
	struct stow_err err;
	(void)state;
	start(true);
	server.held = true;
	clock_env_move(DUE_LAST);
	UNTIL(server.n == 2);
	/* Nobody waits for it. */
	assert_int_equal(key(&err), 1);
	server.held = false;
	UNTIL(key(&err) == 2);
}

static bool failure_is_explained(void)
{
	CLEANUP(buf_free) struct buf text;
	struct stow_err err;
	buf_init(&text, 4096);
	assert_int_equal(creds_explain(creds, &text, &err), 0);
	return memmem(text.p, text.len, "has failed: credentials from the container: ", 44) != NULL;
}

static void old_ones_until_they_really_end(void **state)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL, *none = NULL;
	struct stow_err err;
	(void)state;
	server.broken = true;
	start(true);
	assert_int_equal(creds_get(creds, &s, &err), 0);
	clock_env_move(DUE_LAST);
	/* Refreshes fail, and only who asks for the reason sees it. */
	UNTIL(failure_is_explained());
	assert_int_equal(key(&err), 1);
	clock_env_move(s->expires_ns - clock_wall_ns() - 1);
	assert_int_equal(key(&err), 1);
	clock_env_move(1);
	assert_int_equal(key(&err), 0);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "HTTP 500"));
	/* At an end there is no waiting either: the failure is known. */
	assert_int_equal(creds_get(creds, &none, &err), -1);
	assert_int_equal(creds_wait(creds, INT64_MAX, &err), -1);

	/* It mends itself, whether or not somebody asks. */
	server.broken = false;
	UNTIL(key(&err) > 1);
}

/* --- many at once --- */

static void *wait_for_keys(void *arg)
{
	struct stow_err err;
	(void)arg;
	MUST(creds_wait(creds, clock_mono_ns() + 20 * NSEC_PER_SEC, &err) == 0);
	MUST(key(&err) == 1);
	return NULL;
}

static void one_refresh_for_all(void **state)
{
	pthread_t threads[8];
	struct stow_err err;
	(void)state;
	server.always = server.held = true;
	start(false);
	assert_int_equal(key(&err), 0);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	assert_string_equal(err.msg, "credentials from the container are being asked for");
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_keys, NULL), 0);
	usleep(50000); /* most of them wait by then; none has to */
	server.held = false;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	/* Nor is there another one behind it, for those who have waited. */
	clock_env_move(1500 * NSEC_PER_MSEC);
	clock_env_settle();
	assert_int_equal(server.n, 1);
}

/* --- keys that S3 does not take --- */

static void refused_keys_are_replaced(void **state)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *first = NULL, *none = NULL;
	struct stow_err err;
	(void)state;
	start(true);
	assert_int_equal(creds_get(creds, &first, &err), 0);
	creds_refresh(creds, first);
	assert_int_equal(creds_get(creds, &none, &err), 1);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	/* But not sooner than a second after the first ones. */
	clock_env_settle();
	assert_int_equal(server.n, 1);
	clock_env_move(NSEC_PER_SEC);
	assert_int_equal(creds_wait(creds, clock_mono_ns() + 20 * NSEC_PER_SEC, &err), 0);
	assert_int_equal(key(&err), 2);
	/* Others who had the first ones come late. */
	creds_refresh(creds, first);
	assert_int_equal(key(&err), 2);
	assert_string_equal(first->access_key, "K1");
}

/* A server that takes none of them does not make us hammer the provider. */
static void no_hammering(void **state)
{
	struct stow_err err;
	(void)state;
	start(true);
	for (int i = 0; i < 500; i++) { /* 2.5 s of the clock */
		CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
		if (creds_get(creds, &s, &err) == 0)
			creds_refresh(creds, s);
		nap();
	}
	assert_true(server.n <= 3);
	UNTIL(server.n >= 2);
}

/* A provider whose keys have no end, looked at every 50 ms; "R2" from the 2nd time on, nothing from the 4th
 * on. */
static atomic_uint reads;

static int fetch_reread(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	unsigned n = atomic_fetch_add(&reads, 1) + 1;
	(void)p;
	if (n > 3)
		return stow_fail(err, STOW_NOT_FOUND, "gone");
	*ret_v = (struct creds_value){ .access_key = x_strdup(n == 1 ? "R1" : "R2"),
				       .secret_key = x_strdup("S"),
				       .session_token = x_strdup("") };
	return 0;
}

static void free_nothing(struct creds_provider *p)
{
	(void)p;
}

static void files_are_looked_at(void **state)
{
	static struct creds_provider p = { .name = "test",
					   .instant = true,
					   .reread_ns = 50 * NSEC_PER_MSEC,
					   .fetch = fetch_reread,
					   .free = free_nothing };
	CLEANUP(creds_unrefp) const struct creds_snapshot *second = NULL, *last = NULL;
	const struct s3_options o = creds_env_options();
	struct stow_err err;
	(void)state;

	reads = 0;
	assert_int_equal(creds_new_from(&o, &p, &creds, &err), 0);
	for (int naps = 0; reads < 5 && naps < 6000; naps++) {
		CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
		assert_int_equal(creds_get(creds, &s, &err), 0);
		if (!second && strcmp(s->access_key, "R2") == 0)
			second = creds_ref(s);
		nap();
	}
	/* The same keys are the same snapshot, and files that are gone for a while do no harm. */
	assert_true(reads >= 5);
	assert_non_null(second);
	assert_int_equal(creds_get(creds, &last, &err), 0);
	assert_ptr_equal(last, second);
	/* But for those that are refused: then it shows, as a failure of the keys and not of a blob. */
	creds_refresh(creds, last);
	clock_env_move(NSEC_PER_SEC);
	assert_int_equal(creds_wait(creds, clock_mono_ns() + 20 * NSEC_PER_SEC, &err), -1);
	assert_int_equal(err.code, STOW_FAILED_PRECONDITION);
	assert_string_equal(err.msg, "credentials from the test: gone");
}

static void keys_that_have_ended_already(void **state)
{
	struct stow_err err;
	(void)state;
	server.life_ns = -2 * NSEC_PER_SEC;
	start(false);
	assert_int_equal(creds_wait(creds, clock_mono_ns() + 20 * NSEC_PER_SEC, &err), -1);
	assert_memory_equal(err.msg, "credentials from the container: the keys have ended at 2", 56);
	assert_non_null(strstr(err.msg, "is this machine's clock right?"));
}

static void the_end_does_not_wait(void **state)
{
	struct stow_err err;
	(void)state;
	server.always = server.hanging = true;
	start(false);
	UNTIL(server.n == 1);
	assert_int_equal(creds_wait(creds, clock_mono_ns(), &err), -1);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	/* Its own time limit for an answer never comes: nobody moves the clock. */
	creds_free(TAKE(creds));
}

static void as_the_client_takes_them(void **state)
{
	struct stow_err err;
	struct s3_creds held;
	(void)state;
	start(true);
	const struct s3_creds_source source = creds_source(creds);
	assert_int_equal(source.get(source.arg, &held, &err), 0);
	assert_string_equal(held.key.access_key, "K1");
	assert_string_equal(held.key.session_token, "T");
	source.refresh(source.arg, &held);
	struct s3_creds none;
	assert_int_equal(source.get(source.arg, &none, &err), 1);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	assert_string_equal(held.key.secret_key, "S");
	source.release(source.arg, &held);

	/* Without a session token there is none to send. */
	creds_free(creds);
	creds_env_set("AWS_ACCESS_KEY_ID=EA");
	creds_env_set("AWS_SECRET_ACCESS_KEY=ES");
	start(true);
	const struct s3_creds_source other = creds_source(creds);
	assert_int_equal(other.get(other.arg, &held, &err), 0);
	assert_null(held.key.session_token);
	other.release(other.arg, &held);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refreshed_before_their_end),
		TEST(old_ones_while_a_refresh_is_slow),
		TEST(old_ones_until_they_really_end),
		TEST(one_refresh_for_all),
		TEST(refused_keys_are_replaced),
		TEST(no_hammering),
		TEST(files_are_looked_at),
		TEST(keys_that_have_ended_already),
		TEST(the_end_does_not_wait),
		TEST(as_the_client_takes_them),
	};
	return cmocka_run_group_tests_name("s3_creds", tests, NULL, NULL);
}
