#include "backends/s3/http.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/http_env.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/socket.h>

#define MS NSEC_PER_MSEC

/* A server that answers as `handler` says, and a client of it. */
struct env {
	struct http_env *server;
	struct http *http;
	char url[64];
};

static void env_start(struct env *e, env_handler *handler, void *arg, const struct http_options *o)
{
	struct stow_err err;

	e->server = http_env_new(handler, arg);
	assert_int_equal(http_new(o, &e->http, &err), 0);
	(void)snprintf(e->url, sizeof(e->url), "http://%s", http_env_host(e->server));
}

static void env_end(struct env *e)
{
	http_free(TAKE(e->http));
	http_env_free(TAKE(e->server));
}

static const struct http_options four = { .max_transfers = 4, .proxy = "" };

static struct http_request get(const char *url)
{
	return (struct http_request){
		.method = "GET", .url = url, .max_body = 1 << 20, .total_ns = 20 * NSEC_PER_SEC
	};
}

static void expect_failure(struct env *e, const struct http_request *req, enum stow_code code,
			   const char *text)
{
	CLEANUP(http_response_free) struct http_response r;
	struct stow_err err = { 0 };

	http_response_init(&r);
	assert_int_equal(http_perform(e->http, req, &r, &err), -1);
	if (err.code != code || strstr(err.msg, text) == NULL)
		fail_msg("%s: %s; expected %s and \"%s\"", stow_code_name(err.code), err.msg,
			 stow_code_name(code), text);
}

/* --- what is sent, and what comes back --- */

static void echo(void *arg, const struct env_request *req, struct env_answer *a)
{
	char line[256];

	(void)arg;
	(void)snprintf(line, sizeof(line), "X-Line: %.*s\r\nX-Body: %zu\r\nX-Connection: %u\r\n",
		       (int)strcspn(req->head, "\r"), req->head, req->body_n, req->connection);
	env_say(a, strstr(req->head, "/missing") != NULL ? "404 Not Found" : "200 OK", line,
		strncmp(req->head, "HEAD", 4) == 0 ? "" : "what was asked for");
}

static void answers_come_whole_and_connections_stay(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	struct env e;
	struct stow_err err;
	char url[128];

	(void)state;
	env_start(&e, echo, NULL, &four);
	http_response_init(&r);
	for (int i = 0; i < 3; i++) {
		struct http_request req = get(url);

		(void)snprintf(url, sizeof(url), "%s/a/../b//c%%2F?x=%%20&y", e.url);
		assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
		assert_int_equal(r.status, 200);
		assert_string_equal(http_header(&r, "x-line"), "GET /a/../b//c%2F?x=%20&y HTTP/1.1");
		assert_string_equal(http_header(&r, "X-CONNECTION"), "1");
		assert_null(http_header(&r, "x-conn"));
		assert_int_equal(r.body.len, 18);
		assert_memory_equal(r.body.p, "what was asked for", 18);
	}
	env_end(&e);
}

static int read_pattern(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg, (void)err;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = (uint8_t)((off + i) * 131 >> 3);
	return 0;
}

static void expect_line(struct env *e, struct http_request req, const char *line, const char *body_n)
{
	CLEANUP(http_response_free) struct http_response r;
	struct stow_err err;

	http_response_init(&r);
	assert_int_equal(http_perform(e->http, &req, &r, &err), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(http_header(&r, "x-line"), line);
	assert_string_equal(http_header(&r, "x-body"), body_n);
}

static void methods_carry_their_bodies(void **state)
{
	struct env e;
	struct http_request req;

	(void)state;
	env_start(&e, echo, NULL, &four);
	req = get(e.url);
	req.method = "HEAD";
	expect_line(&e, req, "HEAD / HTTP/1.1", "0");
	req.method = "DELETE";
	expect_line(&e, req, "DELETE / HTTP/1.1", "0");
	req.method = "POST";
	expect_line(&e, req, "POST / HTTP/1.1", "0");
	req.method = "PUT";
	req.body_read = read_pattern;
	req.body_size = 3000001;
	expect_line(&e, req, "PUT / HTTP/1.1", "3000001");
	env_end(&e);
}

static void check_put(void *arg, const struct env_request *req, struct env_answer *a)
{
	uint8_t byte;

	MUST(req->body_n == *(size_t *)arg);
	for (size_t i = 0; i < req->body_n; i++) {
		(void)read_pattern(NULL, i, &byte, 1, NULL);
		MUST(req->body[i] == byte);
	}
	MUST(strstr(req->head, "Expect:") == NULL);
	MUST(strstr(req->head, "\r\nX-Mine: 1\r\n") != NULL);
	MUST(strstr(req->head, "\r\nUser-Agent: tester/1\r\n") != NULL);
	env_say(a, "200 OK", "", "");
}

static void bodies_arrive_byte_for_byte(void **state)
{
	static const char *const headers[] = { "X-Mine: 1", NULL };
	CLEANUP(http_response_free) struct http_response r;
	struct http_options o = four;
	size_t size = 5000011;
	struct env e;
	struct stow_err err;

	(void)state;
	o.user_agent = "tester/1";
	env_start(&e, check_put, &size, &o);
	http_response_init(&r);
	assert_int_equal(http_perform(e.http,
				      &(struct http_request){ .method = "PUT",
							      .url = e.url,
							      .headers = headers,
							      .body_size = size,
							      .body_read = read_pattern },
				      &r, &err),
			 0);
	assert_int_equal(r.status, 200);
	env_end(&e);
}

static int count_bytes(void *arg, const void *p, size_t n, struct stow_err *err)
{
	(void)p, (void)err;
	*(size_t *)arg += n;
	return 0;
}

static void sinks_get_good_answers_only(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	size_t n = 0;
	struct env e;
	struct http_request req;
	struct stow_err err;
	char url[128];

	(void)state;
	env_start(&e, echo, NULL, &four);
	http_response_init(&r);
	req = get(e.url);
	req.sink = count_bytes;
	req.arg = &n;
	assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
	assert_int_equal(n, 18);
	assert_int_equal(r.body.len, 0);

	(void)snprintf(url, sizeof(url), "%s/missing", e.url);
	req.url = url;
	req.max_body = 4;
	assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
	assert_int_equal(r.status, 404);
	assert_int_equal(n, 18);
	assert_int_equal(r.body.len, 4);
	assert_memory_equal(r.body.p, "what", 4);
	env_end(&e);
}

static int refuse_sink(void *arg, const void *p, size_t n, struct stow_err *err)
{
	(void)arg, (void)p, (void)n;
	return stow_fail(err, STOW_DATA_LOSS, "not what I wanted");
}

static int refuse_read(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg, (void)off, (void)to, (void)n;
	return stow_fail(err, STOW_ABORTED, "no longer there");
}

static void callers_can_refuse(void **state)
{
	static const char *const split[] = { "X-Mine: 1\r\nX-Other: 2", NULL };
	struct env e;
	struct http_request req;

	(void)state;
	env_start(&e, echo, NULL, &four);
	req = get(e.url);
	req.sink = refuse_sink;
	expect_failure(&e, &req, STOW_DATA_LOSS, "not what I wanted");
	req = get(e.url);
	req.method = "PUT";
	req.body_size = 10;
	req.body_read = refuse_read;
	expect_failure(&e, &req, STOW_ABORTED, "no longer there");
	req = get(e.url);
	req.max_body = 17;
	expect_failure(&e, &req, STOW_RESOURCE_EXHAUSTED, "body of the answer");
	req = get(e.url);
	req.headers = split;
	expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "the header X-Mine has a line break");
	req = get("http://127.0.0.1/a b");
	expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "must be encoded");
	req = get("file:///etc/passwd");
	expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "");
	env_end(&e);
}

/* --- what goes wrong on the way --- */

/* The path says what. */
static void misbehave(void *arg, const struct env_request *req, struct env_answer *a)
{
	struct stow_err err;

	(void)arg;
	if (strstr(req->head, "/continue") != NULL)
		MUST(buf_printf(&a->text, &err,
				"HTTP/1.1 102 Processing\r\nX-One: 1\r\n\r\n"
				"HTTP/1.1 103 Early Hints\r\nX-Two: 2\r\n\r\n") == 0);
	if (strstr(req->head, "/garbage") != NULL) {
		MUST(buf_printf(&a->text, &err, "SSH-2.0-OpenSSH\r\n") == 0);
		a->after = ENV_CLOSE;
		return;
	}
	if (strstr(req->head, "/headers") != NULL) {
		MUST(buf_printf(&a->text, &err, "HTTP/1.1 200 OK\r\n") == 0);
		for (int i = 0; i < 1000; i++)
			MUST(buf_printf(&a->text, &err, "X-%d: %0100d\r\n", i, i) == 0);
	}
	env_say(a, "200 OK", "", "0123456789");
	if (strstr(req->head, "/cut") != NULL) {
		a->cut = a->text.len - 3;
		a->after = ENV_CLOSE;
	} else if (strstr(req->head, "/behead") != NULL) {
		a->cut = 25; /* "HTTP/1.1 200 OK", and a bit of a header */
		a->after = ENV_CLOSE;
	} else if (strstr(req->head, "/reset") != NULL) {
		a->cut = 5;
		a->after = ENV_RESET;
	} else if (strstr(req->head, "/silent") != NULL) {
		buf_reset(&a->text);
		a->after = ENV_HANG;
	} else if (strstr(req->head, "/stall") != NULL) {
		a->cut = a->text.len - 3;
		a->after = ENV_HANG;
	} else if (strstr(req->head, "/drip") != NULL) {
		a->drip_ms = 20;
	} else if (strstr(req->head, "/stale") != NULL) {
		a->after = ENV_CLOSE;
	}
}

static struct http_request get_path(struct env *e, char url[128], const char *path)
{
	(void)snprintf(url, 128, "%s%s", e->url, path);
	return get(url);
}

static void broken_answers_are_failures(void **state)
{
	struct env e;
	struct http_request req;
	char url[128];

	(void)state;
	env_start(&e, misbehave, NULL, &four);
	req = get_path(&e, url, "/cut");
	expect_failure(&e, &req, STOW_UNAVAILABLE, http_env_host(e.server));
	req = get_path(&e, url, "/behead");
	expect_failure(&e, &req, STOW_UNAVAILABLE, "the head of the answer is cut off");
	req = get_path(&e, url, "/reset");
	expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	req = get_path(&e, url, "/garbage");
	expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	req = get_path(&e, url, "/headers");
	expect_failure(&e, &req, STOW_RESOURCE_EXHAUSTED, "headers of the answer");
	env_end(&e);
}

static void limits_end_what_takes_too_long(void **state)
{
	struct env e;
	struct http_request req;
	char url[128];
	int64_t start = clock_mono_ns();

	(void)state;
	env_start(&e, misbehave, NULL, &four);
	req = get_path(&e, url, "/silent");
	req.first_byte_ns = 100 * MS;
	expect_failure(&e, &req, STOW_UNAVAILABLE, "no answer within 0.1 s");
	req = get_path(&e, url, "/stall");
	req.first_byte_ns = req.stall_ns = 200 * MS;
	expect_failure(&e, &req, STOW_UNAVAILABLE, "nothing has moved within 0.2 s");
	req = get_path(&e, url, "/drip");
	req.stall_ns = 10 * NSEC_PER_SEC;
	req.total_ns = 300 * MS;
	expect_failure(&e, &req, STOW_UNAVAILABLE, "not done within 0.3 s");
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	env_end(&e);
}

static void sending_can_stall_too(void **state)
{
	struct env e;
	struct http_request req;

	(void)state;
	env_start(&e, misbehave, NULL, &four);
	http_env_stop_reading(e.server);
	req = get(e.url);
	req.method = "PUT";
	req.body_size = 64 << 20;
	req.body_read = read_pattern;
	req.stall_ns = 200 * MS;
	expect_failure(&e, &req, STOW_UNAVAILABLE, "nothing has moved within 0.2 s");
	env_end(&e);
}

/* A listener whose queue is full does not answer to another SYN. */
static void connecting_has_its_limit(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), full[4];
	socklen_t len = sizeof(at);
	struct env e;
	struct http_request req;
	char url[64];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	for (size_t i = 0; i < ARRAY_LEN(full); i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(full[i], (struct sockaddr *)&at, len);
	}
	env_start(&e, echo, NULL, &four);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(at.sin_port));
	req = get(url);
	req.connect_ns = 150 * MS;
	expect_failure(&e, &req, STOW_UNAVAILABLE, "");

	/* Nobody listens any more. */
	for (size_t i = 0; i < ARRAY_LEN(full); i++)
		(void)close(full[i]);
	(void)close(listener);
	expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	req = get("http://no-such-host.invalid/");
	expect_failure(&e, &req, STOW_UNAVAILABLE, "no-such-host.invalid");
	env_end(&e);
}

static void early_answers_and_stale_connections_are_no_failures(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	struct env e;
	struct http_request req;
	struct stow_err err;
	char url[128];

	(void)state;
	env_start(&e, misbehave, NULL, &four);
	http_response_init(&r);
	req = get_path(&e, url, "/continue");
	assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
	assert_int_equal(r.status, 200);
	assert_null(http_header(&r, "x-one"));
	for (int i = 0; i < 4; i++) {
		req = get_path(&e, url, "/stale");
		req.method = "PUT";
		req.body_size = 100000;
		req.body_read = read_pattern;
		assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
		assert_int_equal(r.status, 200);
	}
	env_end(&e);
}

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
	struct env e;
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	env_start(&e, slow, NULL, &four);
	for (int i = 0; i < MANY; i++) {
		c[i] = (struct counted){ { .req = get(e.url), .done = post_done }, &done };
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
	env_end(&e);
	(void)sem_destroy(&done);
}

static void cancelled_transfers_end_wherever_they_are(void **state)
{
	enum { MANY = 10 };
	struct counted c[MANY];
	struct env e;
	char url[128];
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	env_start(&e, misbehave, NULL, &four);
	for (int i = 0; i < MANY; i++) {
		c[i] = (struct counted){ { .req = get_path(&e, url, "/silent"), .done = post_done }, &done };
		c[i].t.req.total_ns = 0;
		http_submit(e.http, &c[i].t);
	}
	usleep(20000);
	/* Some wait, some are under way; the last two are left to http_free. */
	for (int i = 0; i < MANY - 2; i++)
		http_cancel(e.http, &c[i].t);
	wait_all(&done, MANY - 2);
	http_free(TAKE(e.http));
	wait_all(&done, 2);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i].t.failure, HTTP_CANCELLED);
		assert_int_equal(c[i].t.err.code, STOW_CANCELLED);
		http_response_free(&c[i].t.resp);
	}
	env_end(&e);
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
	struct env e;
	sem_t done;
	struct chained ch;

	(void)state;
	(void)sem_init(&done, 0, 0);
	env_start(&e, echo, NULL, &(struct http_options){ .max_transfers = 1, .proxy = "" });
	ch = (struct chained){ { { .req = get(e.url), .done = chain }, &done }, e.http, 50 };
	http_submit(e.http, &ch.c.t);
	wait_all(&done, 1);
	http_response_free(&ch.c.t.resp);
	assert_int_equal(http_env_connections(e.server), 1);
	env_end(&e);
	(void)sem_destroy(&done);
}

/* A transfer that waits costs no processor time: nothing polls. */
static void waiting_is_idle(void **state)
{
	struct counted c;
	struct timespec before, after;
	struct env e;
	char url[128];
	sem_t done;
	int64_t spent;

	(void)state;
	(void)sem_init(&done, 0, 0);
	env_start(&e, misbehave, NULL, &four);
	c = (struct counted){ { .req = get_path(&e, url, "/stall"), .done = post_done }, &done };
	c.t.req.first_byte_ns = c.t.req.stall_ns = 500 * MS;
	http_submit(e.http, &c.t);
	usleep(100000);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	wait_all(&done, 1);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	spent = (after.tv_sec - before.tv_sec) * NSEC_PER_SEC + (after.tv_nsec - before.tv_nsec);
	assert_true(spent < 100 * MS);
	http_response_free(&c.t.resp);
	env_end(&e);
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
	assert_int_equal(http_new(&four, &h, &err), 0);
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
	assert_int_equal(http_new(&four, &h, &err), 0);
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
	struct env proxy;
	struct http_request req;
	struct http_options o = { .max_transfers = 2 };
	char url[64];

	(void)state;
	env_start(&proxy, echo, NULL, &four);
	http_free(TAKE(proxy.http));
	(void)snprintf(url, sizeof(url), "http://%s", http_env_host(proxy.server));

	/* From the environment, unless the request goes directly. */
	assert_int_equal(setenv("http_proxy", url, 1), 0);
	assert_int_equal(http_new(&o, &proxy.http, &(struct stow_err){ 0 }), 0);
	req = get("http://no-such-host.invalid/x");
	expect_line(&proxy, req, "GET http://no-such-host.invalid/x HTTP/1.1", "0");
	req.no_proxy = true;
	expect_failure(&proxy, &req, STOW_UNAVAILABLE, "no-such-host.invalid");
	http_free(TAKE(proxy.http));

	/* Options go before it. */
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	o.proxy = url;
	assert_int_equal(http_new(&o, &proxy.http, &(struct stow_err){ 0 }), 0);
	req.no_proxy = false;
	expect_line(&proxy, req, "GET http://no-such-host.invalid/x HTTP/1.1", "0");
	assert_int_equal(unsetenv("http_proxy"), 0);
	env_end(&proxy);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_whole_and_connections_stay),
		cmocka_unit_test(methods_carry_their_bodies),
		cmocka_unit_test(bodies_arrive_byte_for_byte),
		cmocka_unit_test(sinks_get_good_answers_only),
		cmocka_unit_test(callers_can_refuse),
		cmocka_unit_test(broken_answers_are_failures),
		cmocka_unit_test(limits_end_what_takes_too_long),
		cmocka_unit_test(sending_can_stall_too),
		cmocka_unit_test(connecting_has_its_limit),
		cmocka_unit_test(early_answers_and_stale_connections_are_no_failures),
		cmocka_unit_test(transfers_at_once_are_capped),
		cmocka_unit_test(cancelled_transfers_end_wherever_they_are),
		cmocka_unit_test(done_may_submit_again),
		cmocka_unit_test(waiting_is_idle),
		cmocka_unit_test(timers_run_in_their_order),
		cmocka_unit_test(stopped_timers_do_not_run),
		cmocka_unit_test(proxies_are_as_told),
		cmocka_unit_test(unreadable_authorities_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
