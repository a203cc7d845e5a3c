/* One transfer: what is sent, what comes back, what goes wrong on the way. */
#include "content/base/mem.h"
#include "tests/unit/http_pair.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* --- what is sent, and what comes back --- */

static void answers_come_whole_and_connections_stay(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	struct http_pair e;
	struct stow_err err;
	char url[128];

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	http_response_init(&r);
	for (int i = 0; i < 3; i++) {
		struct http_request req = pair_get(url);

		(void)snprintf(url, sizeof(url), "%s/a/../b//c%%2F?x=%%20&y", e.url);
		assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
		assert_int_equal(r.status, 200);
		assert_string_equal(http_header(&r, "x-line"), "GET /a/../b//c%2F?x=%20&y HTTP/1.1");
		assert_string_equal(http_header(&r, "X-CONNECTION"), "1");
		assert_null(http_header(&r, "x-conn"));
		assert_int_equal(r.body.len, 18);
		assert_memory_equal(r.body.p, "what was asked for", 18);
	}
	pair_end(&e);
}

static int read_pattern(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg, (void)err;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = (uint8_t)((off + i) * 131 >> 3);
	return 0;
}

static void methods_carry_their_bodies(void **state)
{
	struct http_pair e;
	struct http_request req;

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	req = pair_get(e.url);
	req.method = "HEAD";
	pair_expect_line(&e, req, "HEAD / HTTP/1.1", "0");
	req.method = "DELETE";
	pair_expect_line(&e, req, "DELETE / HTTP/1.1", "0");
	req.method = "POST";
	pair_expect_line(&e, req, "POST / HTTP/1.1", "0");
	req.method = "PUT";
	req.body_read = read_pattern;
	req.body_size = 3000001;
	pair_expect_line(&e, req, "PUT / HTTP/1.1", "3000001");
	pair_end(&e);
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
	struct http_options o = pair_four;
	size_t size = 5000011;
	struct http_pair e;
	struct stow_err err;

	(void)state;
	o.user_agent = "tester/1";
	pair_start(&e, check_put, &size, &o);
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
	pair_end(&e);
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
	struct http_pair e;
	struct http_request req;
	struct stow_err err;
	char url[128];

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	http_response_init(&r);
	req = pair_get(e.url);
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
	pair_end(&e);
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
	struct http_pair e;
	struct http_request req;

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	req = pair_get(e.url);
	req.sink = refuse_sink;
	pair_expect_failure(&e, &req, STOW_DATA_LOSS, "not what I wanted");
	req = pair_get(e.url);
	req.method = "PUT";
	req.body_size = 10;
	req.body_read = refuse_read;
	pair_expect_failure(&e, &req, STOW_ABORTED, "no longer there");
	req = pair_get(e.url);
	req.max_body = 17;
	pair_expect_failure(&e, &req, STOW_RESOURCE_EXHAUSTED, "body of the answer");
	req = pair_get(e.url);
	req.headers = split;
	pair_expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "the header X-Mine has a line break");
	req = pair_get("http://127.0.0.1/a b");
	pair_expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "must be encoded");
	req = pair_get("file:///etc/passwd");
	pair_expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "");
	pair_end(&e);
}

/* --- what goes wrong on the way --- */

static void broken_answers_are_failures(void **state)
{
	struct http_pair e;
	struct http_request req;
	char url[128];

	(void)state;
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	req = pair_get_path(&e, url, "/cut");
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, http_env_host(e.server));
	req = pair_get_path(&e, url, "/behead");
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "the head of the answer is cut off");
	req = pair_get_path(&e, url, "/reset");
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	req = pair_get_path(&e, url, "/garbage");
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	req = pair_get_path(&e, url, "/headers");
	pair_expect_failure(&e, &req, STOW_RESOURCE_EXHAUSTED, "headers of the answer");
	pair_end(&e);
}

static void limits_end_what_takes_too_long(void **state)
{
	struct http_pair e;
	struct http_request req;
	char url[128];
	int64_t start = clock_mono_ns();

	(void)state;
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	req = pair_get_path(&e, url, "/silent");
	req.first_byte_ns = 100 * MS;
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "no answer within 0.1 s");
	req = pair_get_path(&e, url, "/stall");
	req.first_byte_ns = req.stall_ns = 200 * MS;
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "nothing has moved within 0.2 s");
	req = pair_get_path(&e, url, "/drip");
	req.stall_ns = 10 * NSEC_PER_SEC;
	req.total_ns = 300 * MS;
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "not done within 0.3 s");
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	pair_end(&e);
}

static void sending_can_stall_too(void **state)
{
	struct http_pair e;
	struct http_request req;

	(void)state;
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	http_env_stop_reading(e.server);
	req = pair_get(e.url);
	req.method = "PUT";
	req.body_size = 64 << 20;
	req.body_read = read_pattern;
	req.stall_ns = 200 * MS;
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "nothing has moved within 0.2 s");
	pair_end(&e);
}

/* A listener whose queue is full does not answer to another SYN. */
static void connecting_has_its_limit(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), full[4];
	socklen_t len = sizeof(at);
	struct http_pair e;
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
	pair_start(&e, pair_echo, NULL, &pair_four);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(at.sin_port));
	req = pair_get(url);
	req.connect_ns = 150 * MS;
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "");

	/* Nobody listens any more. */
	for (size_t i = 0; i < ARRAY_LEN(full); i++)
		(void)close(full[i]);
	(void)close(listener);
	pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "");
	pair_end(&e);
}

/* Again and again, and in between one that is known: on the connection that was there before. */
static void names_that_are_not_known_are_failures(void **state)
{
	static const char unknown[] = "http://no-such-host.invalid/";
	CLEANUP(http_response_free) struct http_response r;
	struct http_pair e;
	struct stow_err err;

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	http_response_init(&r);
	for (int i = 0; i < 4; i++) {
		struct http_request req = pair_get(unknown);

		pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "no-such-host.invalid");
		req.method = "PUT";
		req.body_size = 100000;
		req.body_read = read_pattern;
		pair_expect_failure(&e, &req, STOW_UNAVAILABLE, "no-such-host.invalid");
		req.url = e.url;
		pair_expect_line(&e, req, "PUT / HTTP/1.1", "100000");
		req = pair_get(e.url);
		assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
		assert_string_equal(http_header(&r, "x-connection"), "1");
	}
	pair_end(&e);
}

/* More than libcurl takes of any text. */
static void what_libcurl_refuses_is_a_failure(void **state)
{
	enum { MUCH = 9000000 };
	CLEANUP(freep) char *url = x_malloc(MUCH);
	struct http_pair e;
	struct http_request req;
	int n;

	(void)state;
	pair_start(&e, pair_echo, NULL, &pair_four);
	n = snprintf(url, MUCH, "%s/", e.url);
	memset(url + n, 'a', MUCH - 1 - (size_t)n);
	url[MUCH - 1] = '\0';
	req = pair_get(url);
	pair_expect_failure(&e, &req, STOW_INVALID_ARGUMENT, "libcurl does not take the request");
	req = pair_get(e.url);
	pair_expect_line(&e, req, "GET / HTTP/1.1", "0");
	pair_end(&e);
}

static void early_answers_and_stale_connections_are_no_failures(void **state)
{
	CLEANUP(http_response_free) struct http_response r;
	struct http_pair e;
	struct http_request req;
	struct stow_err err;
	char url[128];

	(void)state;
	pair_start(&e, pair_misbehave, NULL, &pair_four);
	http_response_init(&r);
	req = pair_get_path(&e, url, "/continue");
	assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
	assert_int_equal(r.status, 200);
	assert_null(http_header(&r, "x-one"));
	for (int i = 0; i < 4; i++) {
		req = pair_get_path(&e, url, "/stale");
		req.method = "PUT";
		req.body_size = 100000;
		req.body_read = read_pattern;
		assert_int_equal(http_perform(e.http, &req, &r, &err), 0);
		assert_int_equal(r.status, 200);
		/* A body that is on its way by then is lost with the connection. */
		while (http_env_open(e.server) > 0)
			usleep(1000);
	}
	pair_end(&e);
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
		cmocka_unit_test(names_that_are_not_known_are_failures),
		cmocka_unit_test(what_libcurl_refuses_is_a_failure),
		cmocka_unit_test(early_answers_and_stale_connections_are_no_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
