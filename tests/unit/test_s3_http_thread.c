/* The transfer thread: many transfers, cancelling, timers; proxies, authorities, TLS. */
#include "content/base/mem.h"
#include "tests/unit/http_pair.h"
#include "tests/unit/tls_env.h"
#include "tests/unit/unit.h"

#include <sched.h>
#include <semaphore.h>

/* --- many at once --- */

struct counted {
	struct http_transfer t;
	sem_t *done;
};

static void post_done(struct http_transfer *t)
{
	(void)sem_post(CONTAINER_OF(t, struct counted, t)->done);
}

static void wait_all(sem_t *done, int n)
{
	while (n > 0)
		if (sem_wait(done) == 0)
			n--;
}

static void slow(void *arg, const struct env_request *req, struct env_answer *a)
{
	(void)arg, (void)req;
	a->delay_ms = 20;
	env_say(a, "200 OK", "", "slow");
}

static void transfers_at_once_are_capped(void **state)
{
	enum { MANY = 40 };
	struct counted c[MANY];
	struct http_pair e;
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	pair_start(&e, slow, NULL, &pair_four);
	for (int i = 0; i < MANY; i++) {
		c[i] = (struct counted){ { .req = pair_get(e.url), .done = post_done }, &done };
		http_submit(e.http, &c[i].t);
	}
	wait_all(&done, MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i].t.failure, HTTP_ANSWERED);
		assert_true(c[i].t.first_ns >= 15 * MS && c[i].t.elapsed_ns >= c[i].t.first_ns);
		http_response_free(&c[i].t.resp);
	}
	assert_int_equal(http_env_most(e.server), 4);
	assert_int_equal(http_env_connections(e.server), 4);
	pair_end(&e);
	(void)sem_destroy(&done);
}

/* All that there is room for hangs. */
static void what_is_urgent_does_not_wait(void **state)
{
	enum { MANY = 10 };
	CLEANUP(http_response_free) struct http_response r;
	struct counted c[MANY];
	struct http_pair e;
	struct http_request hangs, req;
	struct stow_err err;
	char silent[128], path[128];
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	http_response_init(&r);
	hangs = pair_get_path(&e, silent, "/silent");
	hangs.total_ns = 0;
	for (int i = 0; i < MANY; i++) {
		c[i] = (struct counted){ { .req = hangs, .done = post_done }, &done };
		http_submit(e.http, &c[i].t);
	}
	req = pair_get_path(&e, path, "/urgent");
	req.urgent = true;
	assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
	assert_int_equal(r.status, 200);
	for (int i = 0; i < MANY; i++)
		http_cancel(e.http, &c[i].t);
	wait_all(&done, MANY);
	for (int i = 0; i < MANY; i++)
		http_response_free(&c[i].t.resp);
	pair_end(&e);
	(void)sem_destroy(&done);
}

static void cancelled_transfers_end_wherever_they_are(void **state)
{
	enum { MANY = 10 };
	struct counted c[MANY];
	struct http_pair e;
	struct http_request silent;
	char url[128];
	sem_t done;
	int64_t start;

	(void)state;
	(void)sem_init(&done, 0, 0);
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	silent = pair_get_path(&e, url, "/silent");
	silent.total_ns = 0;
	for (int i = 0; i < MANY; i++) {
		c[i] = (struct counted){ { .req = silent, .done = post_done }, &done };
		http_submit(e.http, &c[i].t);
	}
	usleep(20000);
	/* Some wait, some are under way; the last two are left to http_free. */
	for (int i = 0; i < MANY - 2; i++)
		http_cancel(e.http, &c[i].t);
	wait_all(&done, MANY - 2);
	start = clock_mono_ns();
	http_free(TAKE(e.http));
	wait_all(&done, 2);
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i].t.failure, HTTP_CANCELLED);
		assert_int_equal(c[i].t.err.code, STOW_CANCELLED);
		http_response_free(&c[i].t.resp);
	}
	pair_end(&e);
	(void)sem_destroy(&done);
}

struct chained {
	struct counted c;
	struct http *http;
	int left;
};

static void chain(struct http_transfer *t)
{
	struct chained *ch = CONTAINER_OF(t, struct chained, c.t);

	MUST(http_on_thread(ch->http) && t->failure == HTTP_ANSWERED);
	if (--ch->left > 0)
		http_submit(ch->http, t);
	else
		post_done(t);
}

static void done_may_submit_again(void **state)
{
	struct http_pair e;
	sem_t done;
	struct chained ch;

	(void)state;
	(void)sem_init(&done, 0, 0);
	pair_start(&e, pair_echo, NULL, &(struct http_options){ .max_transfers = 1, .proxy = "" });
	ch = (struct chained){ { { .req = pair_get(e.url), .done = chain }, &done }, e.http, 50 };
	http_submit(e.http, &ch.c.t);
	wait_all(&done, 1);
	http_response_free(&ch.c.t.resp);
	assert_int_equal(http_env_connections(e.server), 1);
	pair_end(&e);
	(void)sem_destroy(&done);
}

/* A transfer that waits costs no processor time: nothing polls. */
static void waiting_is_idle(void **state)
{
	struct counted c;
	struct timespec before, after;
	struct http_pair e;
	char url[128];
	sem_t done;
	int64_t spent;

	(void)state;
	(void)sem_init(&done, 0, 0);
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	c = (struct counted){ { .req = pair_get_path(&e, url, "/stall"), .done = post_done }, &done };
	c.t.req.first_byte_ns = c.t.req.stall_ns = 500 * MS;
	http_submit(e.http, &c.t);
	usleep(100000);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	wait_all(&done, 1);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	spent = (after.tv_sec - before.tv_sec) * NSEC_PER_SEC + (after.tv_nsec - before.tv_nsec);
	assert_true(spent < 100 * MS);
	http_response_free(&c.t.resp);
	pair_end(&e);
	(void)sem_destroy(&done);
}

/* --- timers --- */

struct tick {
	struct http_timer timer;
	struct http *http;
	sem_t *done;
	atomic_int *order;
	int at, again;
};

static void tick(struct http_timer *t)
{
	struct tick *k = CONTAINER_OF(t, struct tick, timer);

	MUST(http_on_thread(k->http));
	k->at = atomic_fetch_add(k->order, 1);
	if (k->again-- > 0)
		http_after(k->http, t, MS);
	else
		(void)sem_post(k->done);
}

static void timers_run_in_their_order(void **state)
{
	struct tick k[4];
	atomic_int order = 0;
	struct stow_err err;
	struct http *h;
	int64_t start;
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	assert_int_equal(http_new(&pair_four, &h, &err), 0);
	for (int i = 0; i < 4; i++)
		k[i] = (struct tick){ { .run = tick }, h, &done, &order, -1, 0 };
	start = clock_mono_ns();
	http_after(h, &k[0].timer, 90 * MS);
	http_after(h, &k[1].timer, 30 * MS);
	http_after(h, &k[2].timer, 10 * NSEC_PER_SEC);
	http_after(h, &k[2].timer, 60 * MS);
	http_after(h, &k[3].timer, 45 * MS);
	assert_true(http_timer_stop(h, &k[3].timer));
	assert_false(http_timer_stop(h, &k[3].timer));
	wait_all(&done, 3);
	assert_true(clock_mono_ns() - start >= 90 * MS);
	assert_int_equal(k[1].at, 0);
	assert_int_equal(k[2].at, 1);
	assert_int_equal(k[0].at, 2);
	assert_int_equal(k[3].at, -1);

	k[3].again = 5;
	http_after(h, &k[3].timer, 0);
	wait_all(&done, 1);
	assert_int_equal(k[3].at, 8);
	http_after(h, &k[0].timer, 3600 * NSEC_PER_SEC);
	http_free(h);
	assert_int_equal(order, 9);
	(void)sem_destroy(&done);
}

/* Stopped again and again beside its running: never afterwards. */
static void stopped_timers_do_not_run(void **state)
{
	struct tick k;
	atomic_int order = 0;
	struct stow_err err;
	struct http *h;
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	assert_int_equal(http_new(&pair_four, &h, &err), 0);
	for (int i = 0; i < 2000; i++) {
		k = (struct tick){ { .run = tick }, h, &done, &order, -1, i % 3 };
		http_after(h, &k.timer, (i % 7) * 1000);
		if (i % 2 == 0)
			sched_yield();
		(void)http_timer_stop(h, &k.timer);
		memset(&k, 0xff, sizeof(k));
	}
	http_free(h);
	(void)sem_destroy(&done);
}

/* --- proxies and authorities --- */

static void proxies_are_as_told(void **state)
{
	struct http_pair proxy;
	struct http_request req;
	struct http_options o = { .max_transfers = 2 };
	char url[64];

	(void)state;
	pair_start(&proxy, pair_echo, NULL, &pair_four);
	http_free(TAKE(proxy.http));
	(void)snprintf(url, sizeof(url), "http://%s", http_env_host(proxy.server));

	/* From the environment, unless the request goes directly. */
	assert_int_equal(setenv("http_proxy", url, 1), 0);
	assert_int_equal(http_new(&o, &proxy.http, &(struct stow_err){ 0 }), 0);
	req = pair_get("http://no-such-host.invalid/x");
	pair_expect_line(&proxy, req, "GET http://no-such-host.invalid/x HTTP/1.1", "0");
	req.no_proxy = true;
	pair_expect_failure(&proxy, &req, STOW_UNAVAILABLE, "no-such-host.invalid");
	http_free(TAKE(proxy.http));

	/* Options go before it. */
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	o.proxy = url;
	assert_int_equal(http_new(&o, &proxy.http, &(struct stow_err){ 0 }), 0);
	req.no_proxy = false;
	pair_expect_line(&proxy, req, "GET http://no-such-host.invalid/x HTTP/1.1", "0");
	assert_int_equal(unsetenv("http_proxy"), 0);
	pair_end(&proxy);
}

static void unreadable_authorities_are_refused(void **state)
{
	struct http_options o = { .max_transfers = 1, .ca_file = "/nonexistent/ca.pem" };
	struct http *h = NULL;
	struct stow_err err;

	(void)state;
	assert_int_equal(http_new(&o, &h, &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "CA file /nonexistent/ca.pem"));
	o.ca_file = "/";
	assert_int_equal(http_new(&o, &h, &err), -1);
	assert_null(h);
}

/* --- TLS --- */

static void close_each(void *arg, const struct env_request *req, struct env_answer *a)
{
	(void)arg, (void)req;
	env_say(a, "200 OK", "Connection: close\r\n", "secret");
	a->after = ENV_CLOSE;
}

struct tls_pair {
	struct http_pair pair;
	void *ctx;
	char pem[64];
};

static void tls_start(struct tls_pair *p, int old, bool trusted)
{
	struct http_options o = pair_four;

	(void)snprintf(p->pem, sizeof(p->pem), "/tmp/stowage-test-tls-%d.pem", (int)getpid());
	p->ctx = tls_env_new(p->pem, old);
	p->pair.server = http_env_new_tls(close_each, NULL, p->ctx);
	if (trusted)
		o.ca_file = p->pem;
	o.ca_may_come = true;
	assert_int_equal(http_new(&o, &p->pair.http, &(struct stow_err){ 0 }), 0);
	(void)snprintf(p->pair.url, sizeof(p->pair.url), "https://%s", http_env_host(p->pair.server));
}

static void tls_end(struct tls_pair *p)
{
	pair_end(&p->pair);
	tls_env_free(p->ctx);
	(void)unlink(p->pem);
}

static void authorities_of_ones_own_are_trusted(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	struct tls_pair p;
	struct http_request req;
	struct stow_err err;

	(void)state;
	http_response_init(&r);
	tls_start(&p, 0, true);
	req = pair_get(p.pair.url);
	/* Each on a connection of its own, but only the first one with a whole handshake. */
	for (unsigned i = 0; i < 4; i++) {
		if (http_perform(p.pair.http, &req, &r, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(http_env_resumed(p.pair.server), i);
	}
	assert_int_equal(http_env_connections(p.pair.server), 4);
	tls_end(&p);
}

static void authorities_may_come_late(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	char elsewhere[80];
	struct tls_pair p;
	struct http_request req;
	struct stow_err err;

	(void)state;
	http_response_init(&r);
	tls_start(&p, 0, true);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s.late", p.pem);
	assert_int_equal(rename(p.pem, elsewhere), 0);
	req = pair_get(p.pair.url);
	for (int i = 0; i < 2; i++)
		pair_expect_failure(&p.pair, &req, STOW_FAILED_PRECONDITION, p.pem);
	assert_int_equal(rename(elsewhere, p.pem), 0);
	if (http_perform(p.pair.http, &req, &r, &err) < 0)
		fail_msg("%s", err.msg);
	tls_end(&p);
}

static void strangers_are_not_trusted(void **state)
{
	struct tls_pair p;
	struct http_request req;
	char url[64];

	(void)state;
	tls_start(&p, 0, false);
	req = pair_get(p.pair.url);
	pair_expect_failure(&p.pair, &req, STOW_FAILED_PRECONDITION, "certificate");
	tls_end(&p);
	/* The right authority, but another name than the certificate's. */
	tls_start(&p, 0, true);
	(void)snprintf(url, sizeof(url), "https://localhost%s", strchr(http_env_host(p.pair.server), ':'));
	req = pair_get(url);
	pair_expect_failure(&p.pair, &req, STOW_FAILED_PRECONDITION, "localhost");
	tls_end(&p);
}

static void old_tls_is_refused(void **state)
{
	struct tls_pair p;
	struct http_request req;

	(void)state;
	tls_start(&p, 1, true);
	req = pair_get(p.pair.url);
	pair_expect_failure(&p.pair, &req, STOW_UNAVAILABLE, http_env_host(p.pair.server));
	tls_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transfers_at_once_are_capped),
		cmocka_unit_test(what_is_urgent_does_not_wait),
		cmocka_unit_test(cancelled_transfers_end_wherever_they_are),
		cmocka_unit_test(done_may_submit_again),
		cmocka_unit_test(waiting_is_idle),
		cmocka_unit_test(timers_run_in_their_order),
		cmocka_unit_test(stopped_timers_do_not_run),
		cmocka_unit_test(proxies_are_as_told),
		cmocka_unit_test(unreadable_authorities_are_refused),
		cmocka_unit_test(authorities_of_ones_own_are_trusted),
		cmocka_unit_test(authorities_may_come_late),
		cmocka_unit_test(strangers_are_not_trusted),
		cmocka_unit_test(old_tls_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
