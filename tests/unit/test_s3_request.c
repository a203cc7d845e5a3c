/* What a request does with the answers that it gets. */
#include "backends/s3/client_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/s3_env.h"
#include "tests/unit/unit.h"

#include <semaphore.h>

#define ERROR(code) "<Error><Code>" code "</Code><Message>as the test wants it</Message></Error>"
#define OK_HEAD                                                                                              \
	{                                                                                                    \
		.status = "200 OK", .headers = "Content-Length: 7\r\nETag: \"e\"\r\n", .head = true          \
	}
#define OK_RANGE                                                                                             \
	{                                                                                                    \
		.status = "206 Partial Content",                                                             \
		.headers = "Content-Range: bytes 5-14/100\r\nETag: \"e\"\r\n", .body = "0123456789"          \
	}

static int head(struct s3_env *e, struct stow_err *err)
{
	struct s3_object o;

	*err = (struct stow_err){ 0 };
	return s3_head(e->client, "a/key", &o, err);
}

static int range(struct s3_env *e, struct stow_err *err)
{
	char to[10];

	*err = (struct stow_err){ 0 };
	if (s3_get(e->client, "a/key", "\"e\"", 5, sizeof(to), to, err) < 0)
		return -1;
	assert_memory_equal(to, "0123456789", sizeof(to));
	return 0;
}

static void expect_error(const struct stow_err *err, enum stow_code code, const char *text)
{
	if (err->code != code || strstr(err->msg, text) == NULL)
		fail_msg("%s: %s; expected %s and \"%s\"", stow_code_name(err->code), err->msg,
			 stow_code_name(code), text);
}

static void requests_are_signed(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, OK_RANGE);
	assert_int_equal(range(&e, &err), 0);
	assert_string_equal(s3_env_line(&e, 0), "GET /layers/a/key");
	assert_string_equal(s3_env_header(&e, 0, "Host"), http_env_host(e.server));
	assert_string_equal(s3_env_header(&e, 0, "Range"), "bytes=5-14");
	assert_string_equal(s3_env_header(&e, 0, "If-Match"), "\"e\"");
	assert_string_equal(s3_env_header(&e, 0, "x-amz-security-token"), "old");
	assert_string_equal(s3_env_header(&e, 0, "x-amz-content-sha256"),
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(strlen(s3_env_header(&e, 0, "x-amz-date")), 16);
	assert_non_null(strstr(s3_env_header(&e, 0, "Authorization"), "/us-east-1/s3/aws4_request, "));
	assert_non_null(strstr(s3_env_header(&e, 0, "Authorization"),
			       "SignedHeaders=host;if-match;range;x-amz-content-sha256;x-amz-date;"
			       "x-amz-security-token, Signature="));
	s3_env_end(&e);
}

static void glitches_are_tried_again(void **state)
{
	static const struct s3_step glitches[] = {
		{ .status = "503 Slow Down", .body = ERROR("SlowDown") },
		{ .status = "500 Internal", .body = ERROR("InternalError") },
		{ .status = "502 Bad Gateway", .body = "<html/>" },
		{ .status = "429 Too Many Requests" },
		{ .status = "400 Bad Request", .body = ERROR("RequestTimeout") },
		{ .status = "200 OK", .after = ENV_CLOSE, .cut = 25 },
		{ .status = "206 Partial Content",
		  .headers = "Content-Range: bytes 5-14/100\r\n",
		  .body = "0123456789",
		  .after = ENV_CLOSE,
		  .cut = 75 },
		/* Not what was asked for: too short, too long, elsewhere, unsaid. */
		{ .status = "206 Partial Content",
		  .headers = "Content-Range: bytes 5-13/100\r\n",
		  .body = "012345678" },
		{ .status = "206 Partial Content",
		  .headers = "Content-Range: bytes 5-14/100\r\n",
		  .body = "0123456789x" },
		{ .status = "206 Partial Content",
		  .headers = "Content-Range: bytes 6-15/100\r\n",
		  .body = "0123456789" },
		{ .status = "206 Partial Content",
		  .headers = "Content-Range: bytes 5-14\r\n",
		  .body = "0123456789" },
		{ .status = "206 Partial Content", .body = "0123456789" },
		{ .status = "200 OK", .body = "0123456789" },
	};
	struct s3_env e;
	struct s3_learnt l;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(glitches); i++) {
		SCRIPT(&e, glitches[i], OK_RANGE);
		if (range(&e, &err) < 0)
			fail_msg("%zu: %s", i, err.msg);
		assert_int_equal(e.seen_n, 2);
	}
	s3_client_learnt(e.client, &l);
	assert_int_equal(l.requests, 2 * ARRAY_LEN(glitches));
	assert_int_equal(l.retries, ARRAY_LEN(glitches));
	s3_env_end(&e);
}

static void lasting_trouble_ends_with_the_attempts(void **state)
{
	static const struct {
		struct s3_step step;
		enum stow_code code;
		const char *text;
	} cases[] = {
		{ { .status = "503 Slow Down",
		    .headers = "x-amz-request-id: 4X\r\n",
		    .body = ERROR("SlowDown") },
		  STOW_UNAVAILABLE,
		  "s3: GetObject layers/a/key: 503 SlowDown (request 4X): as the test wants it (4 "
		  "attempts)" },
		{ { .status = "200 OK", .after = ENV_CLOSE, .cut = 25 }, STOW_UNAVAILABLE, "(4 attempts)" },
		{ { .status = "206 Partial Content",
		    .headers = "Content-Range: bytes 5-13/100\r\n",
		    .body = "012345678" },
		  STOW_DATA_LOSS,
		  "9 bytes at 5 came where 10 at 5 were asked for (4 attempts)" },
		{ { .status = "400 Bad", .body = ERROR("BadDigest") }, STOW_DATA_LOSS, "400 BadDigest" },
	};
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SCRIPT(&e, cases[i].step);
		assert_int_equal(range(&e, &err), -1);
		expect_error(&err, cases[i].code, cases[i].text);
		assert_int_equal(e.seen_n, 4);
	}
	s3_env_end(&e);
}

static int ask(struct s3_env *e, int64_t limit_ns, struct stow_err *err)
{
	*err = (struct stow_err){ 0 };
	return s3_ask(e->client, "a/key", limit_ns, err);
}

static void who_asks_once_is_told_at_once(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	e.o.first_byte_timeout = e.o.request_timeout = 0;
	s3_env_start(&e);
	SCRIPT(&e, { .status = "404 Not Found", .body = ERROR("NoSuchKey") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), 0);
	assert_string_equal(s3_env_line(&e, 0), "GET /layers/a/key");
	SCRIPT(&e, { .status = "404 Not Found", .body = ERROR("NoSuchBucket") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), -1);
	expect_error(&err, STOW_FAILED_PRECONDITION, "NoSuchBucket");
	SCRIPT(&e, { .status = "503 Slow Down", .body = ERROR("SlowDown") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), -1);
	expect_error(&err, STOW_UNAVAILABLE, "SlowDown");
	assert_int_equal(e.seen_n, 1);
	SCRIPT(&e, { .status = "200 OK", .after = ENV_HANG, .cut = 1 });
	assert_int_equal(ask(&e, 400 * NSEC_PER_MSEC, &err), -1);
	expect_error(&err, STOW_UNAVAILABLE, "no answer within 0.2 s");
	assert_int_equal(e.seen_n, 1);
	e.not_yet = 1000000;
	assert_int_equal(ask(&e, 100 * NSEC_PER_MSEC, &err), -1);
	expect_error(&err, STOW_UNAVAILABLE, "");
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

static void refusals_are_final(void **state)
{
	static const struct {
		const char *status, *body;
		enum stow_code code;
	} cases[] = {
		{ "403 Forbidden", ERROR("AccessDenied"), STOW_PERMISSION_DENIED },
		{ "401 Unauthorized", "", STOW_PERMISSION_DENIED },
		{ "403 Forbidden", ERROR("QuotaExceeded"), STOW_RESOURCE_EXHAUSTED },
		{ "404 Not Found", ERROR("NoSuchKey"), STOW_NOT_FOUND },
		{ "404 Not Found", ERROR("NoSuchBucket"), STOW_FAILED_PRECONDITION },
		{ "404 Not Found", ERROR("NoSuchTenant"), STOW_FAILED_PRECONDITION },
		{ "404 Not Found", "<html>no S3</html>", STOW_FAILED_PRECONDITION },
		{ "404 Not Found", "", STOW_FAILED_PRECONDITION },
		{ "405 Method Not Allowed", ERROR("MethodNotAllowed"), STOW_UNIMPLEMENTED },
		{ "501 Not Implemented", ERROR("NotImplemented"), STOW_UNIMPLEMENTED },
		{ "400 Bad", ERROR("NotImplemented"), STOW_UNIMPLEMENTED },
		{ "400 Bad", ERROR("InvalidArgument"), STOW_INVALID_ARGUMENT },
		{ "409 Conflict", ERROR("ConditionalRequestConflict"), STOW_ABORTED },
		{ "412 Precondition Failed", ERROR("PreconditionFailed"), STOW_FAILED_PRECONDITION },
		{ "416 Range", ERROR("InvalidRange"), STOW_OUT_OF_RANGE },
		{ "507 Insufficient Storage", ERROR("XMinioStorageFull"), STOW_RESOURCE_EXHAUSTED },
		{ "301 Moved", ERROR("PermanentRedirect"), STOW_FAILED_PRECONDITION },
		{ "304 Not Modified", "", STOW_FAILED_PRECONDITION },
	};
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SCRIPT(&e, { .status = cases[i].status, .body = cases[i].body });
		assert_int_equal(range(&e, &err), -1);
		expect_error(&err, cases[i].code, "s3: GetObject layers/a/key: ");
		assert_int_equal(e.seen_n, 1);
	}
	s3_env_end(&e);
}

static void servers_say_when_to_come_back(void **state)
{
	struct s3_env e;
	struct stow_err err;
	int64_t start;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "503 Slow Down", .headers = "Retry-After: 1\r\n" }, OK_HEAD);
	start = clock_mono_ns();
	assert_int_equal(head(&e, &err), 0);
	assert_true(clock_mono_ns() - start >= NSEC_PER_SEC);
	s3_env_end(&e);
}

/* After a hundred retries nobody retries any more, until something succeeds. */
static void the_budget_is_shared(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	e.o.max_attempts = 2;
	s3_env_start(&e);
	for (int i = 0; i < 100; i++) {
		SCRIPT(&e, { .status = "500 Internal" });
		assert_int_equal(head(&e, &err), -1);
		assert_int_equal(e.seen_n, 2);
	}
	SCRIPT(&e, { .status = "500 Internal" });
	assert_int_equal(head(&e, &err), -1);
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

/* Also from a server that does not know If-Match. The reader looks at the object again, not the client. */
static void another_object_is_final(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "206 Partial Content",
		     .headers = "Content-Range: bytes 5-14/100\r\nETag: \"f\x1b\"\r\n",
		     .body = "0123456789" });
	assert_int_equal(range(&e, &err), -1);
	expect_error(&err, STOW_FAILED_PRECONDITION, "the object has changed: its ETag is \"f \", not \"e\"");
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

/* --- what is put right --- */

static void date_header(char out[64], int64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NSEC_PER_SEC);
	struct tm tm;

	(void)strftime(out, 64, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&t, &tm));
}

/* "20130524T000000Z" */
static int64_t signed_at(struct s3_env *e, unsigned i)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(s3_env_header(e, i, "x-amz-date"), "%Y%m%dT%H%M%SZ", &tm));
	return timegm(&tm);
}

static void clocks_are_corrected(void **state)
{
	const int64_t off = 7200;
	struct s3_learnt l;
	struct s3_env e;
	struct stow_err err;
	char date[64];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	date_header(date, clock_wall_ns() + off * NSEC_PER_SEC);
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .body = ERROR("RequestTimeTooSkewed") },
	       OK_RANGE);
	assert_int_equal(range(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 1) - signed_at(&e, 0) - off) < 30);
	/* Remembered. */
	SCRIPT(&e, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC - off) < 30);
	/* Once for a request. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .body = ERROR("RequestTimeTooSkewed") });
	assert_int_equal(range(&e, &err), -1);
	expect_error(&err, STOW_PERMISSION_DENIED, "403 RequestTimeTooSkewed");
	assert_int_equal(e.seen_n, 2);
	s3_client_learnt(e.client, &l);
	assert_true(l.any && llabs(l.clock_offset_ns / NSEC_PER_SEC - off) < 30);

	s3_env_end(&e);
}

/* An answer to HEAD says 403 and no more. That the clock is the reason shows when another attempt succeeds;
 * until then all others go by the one that they had. */
static void clocks_are_suspected_first(void **state)
{
	const int64_t off = 7200;
	struct s3_env e;
	struct stow_err err;
	char date[64];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	date_header(date, clock_wall_ns() + off * NSEC_PER_SEC);
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE });
	assert_int_equal(head(&e, &err), -1);
	expect_error(&err, STOW_PERMISSION_DENIED, "403");
	assert_int_equal(e.seen_n, 2);
	assert_true(llabs(signed_at(&e, 1) - signed_at(&e, 0) - off) < 30);
	SCRIPT(&e, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC) < 30);

	/* A retry in between proves nothing, and keeps it. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE },
	       { .status = "503 Slow Down", .headers = "", .head = true, .after = ENV_CLOSE }, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 2) - signed_at(&e, 0) - off) < 30);
	SCRIPT(&e, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC - off) < 30);

	/* Where the date is what was signed for, 403 is what it says; and the way back is the same. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE });
	assert_int_equal(head(&e, &err), -1);
	assert_int_equal(e.seen_n, 1);
	date_header(date, clock_wall_ns());
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE }, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	SCRIPT(&e, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC) < 30);
	s3_env_end(&e);
}

static void messages_have_no_tricks(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e,
	       { .status = "403 Forbidden",
		 .headers = "x-amz-request-id: 4\x1b[2J\xc3\xa4\r\n",
		 .body = "<Error><Code>Access\xc3\xa4</Code><Message>a\nb\xe2\x80\xae</Message></Error>" });
	assert_int_equal(range(&e, &err), -1);
	expect_error(&err, STOW_PERMISSION_DENIED,
		     "403 Access?? (request 4 [2J?"
		     "?): a b???");
	s3_env_end(&e);
}

static void expired_tokens_are_replaced_once(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "400 Bad", .body = ERROR("ExpiredToken") }, OK_RANGE);
	assert_int_equal(range(&e, &err), 0);
	assert_string_equal(s3_env_header(&e, 0, "x-amz-security-token"), "old");
	assert_string_equal(s3_env_header(&e, 1, "x-amz-security-token"), "new");
	assert_int_equal(e.refreshes, 1);
	SCRIPT(&e, { .status = "400 Bad", .body = ERROR("ExpiredToken") });
	assert_int_equal(range(&e, &err), -1);
	expect_error(&err, STOW_PERMISSION_DENIED, "ExpiredToken");
	assert_int_equal(e.seen_n, 2);
	/* HEAD again has no body to say it. */
	SCRIPT(&e, { .status = "400 Bad", .headers = "", .head = true, .after = ENV_CLOSE }, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	assert_int_equal(e.refreshes, 3);
	s3_env_end(&e);
}

static void credentials_are_waited_for(void **state)
{
	struct s3_env e;
	struct stow_err err;
	int64_t begin;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, OK_HEAD);
	atomic_store(&e.not_yet, 3);
	assert_int_equal(head(&e, &err), 0);
	assert_int_equal(e.not_yet, 0);
	e.refuse = STOW_FAILED_PRECONDITION;
	assert_int_equal(head(&e, &err), -1);
	expect_error(&err, STOW_FAILED_PRECONDITION, "s3: HeadObject layers/a/key: no credentials at all");
	/* That it may be otherwise later is no reason to wait: the failure is known. */
	e.refuse = STOW_UNAVAILABLE;
	begin = clock_mono_ns();
	assert_int_equal(head(&e, &err), -1);
	assert_true(clock_mono_ns() - begin < 20 * NSEC_PER_SEC);
	expect_error(&err, STOW_UNAVAILABLE, "s3: HeadObject layers/a/key: no credentials at all");
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

static void regions_are_followed_once(void **state)
{
	static const struct s3_step moved[] = {
		{ .status = "301 Moved",
		  .headers = "x-amz-bucket-region: eu-west-1\r\n",
		  .body = ERROR("PermanentRedirect") },
		{ .status = "307 Temporary",
		  .headers = "x-amz-bucket-region: eu-west-1\r\nLocation: http://127.0.0.1:1/\r\n",
		  .body = ERROR("TemporaryRedirect") },
		{ .status = "400 Bad",
		  .body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</"
			  "Region></Error>" },
	};
	struct s3_learnt l;
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(moved); i++) {
		struct s3_env e;

		s3_env_init(&e);
		s3_env_start(&e);
		SCRIPT(&e, moved[i], OK_RANGE);
		assert_int_equal(range(&e, &err), 0);
		assert_non_null(strstr(s3_env_header(&e, 0, "Authorization"), "/us-east-1/s3/"));
		assert_non_null(strstr(s3_env_header(&e, 1, "Authorization"), "/eu-west-1/s3/"));
		/* Remembered; and not followed in circles. */
		SCRIPT(&e, moved[i]);
		assert_int_equal(range(&e, &err), -1);
		expect_error(&err, STOW_FAILED_PRECONDITION, "(asked in region eu-west-1)");
		assert_int_equal(e.seen_n, 1);
		s3_client_learnt(e.client, &l);
		assert_string_equal(l.region, "eu-west-1");
		assert_true(l.region_changed);
		s3_env_end(&e);
	}
}

static void regions_that_are_none_are_not_followed(void **state)
{
	static const struct s3_step none[] = {
		{ .status = "301 Moved", .headers = "x-amz-bucket-region: evil.example.com/\r\n" },
		{ .status = "301 Moved", .headers = "Location: http://evil.example.com/\r\n" },
		{ .status = "301 Moved", .headers = "x-amz-bucket-region: us-east-1\r\n" },
	};
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		SCRIPT(&e, none[i]);
		assert_int_equal(range(&e, &err), -1);
		expect_error(&err, STOW_FAILED_PRECONDITION, "301 (asked in region us-east-1)");
		assert_int_equal(e.seen_n, 1);
	}
	s3_env_end(&e);
}

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
		expect_error(&w.op.err, STOW_CANCELLED, "s3: GetObject layers/a/key: ");
		s3_op_cancel(e.client, &w.op);
	}
	assert_true(clock_mono_ns() - start < 10 * NSEC_PER_SEC);
	atomic_store(&e.not_yet, 0);
	SCRIPT(&e, OK_RANGE);
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
		SCRIPT(&e, OK_RANGE);
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
		SCRIPT(&e, { .status = "500 Internal" }, OK_RANGE);
		start_range(&e, &w, to);
		usleep((useconds_t)i * 40);
		s3_op_cancel(e.client, &w.op);
		wait_for(&w);
		assert_true(w.op.result == 0 || w.op.err.code == STOW_CANCELLED);
	}
	s3_env_end(&e);
}

/* --- stopping --- */

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

	assert_int_equal(head(e, &err), -1);
	expect_error(&err, code, text);
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
		assert_true(caller_stop(&c) < 1000);
		assert_int_equal(c.result, -1);
		expect_error(&c.err, STOW_UNAVAILABLE, "s3: HeadObject layers/a/key: the store is stopping");
		wait_for(&w);
		expect_error(&w.op.err, STOW_UNAVAILABLE, "the store is stopping");
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
	assert_true(caller_stop(&c) < 1000);
	expect_error(&c.err, STOW_CANCELLED, "s3: HeadObject layers/a/key: cancelled");
	SCRIPT(&e, OK_HEAD);
	assert_int_equal(head(&e, &err), 0);
	s3_client_stop(e.client);
	(void)pthread_join(d.thread, NULL);
	expect_error(&d.err, STOW_UNAVAILABLE, "the store is stopping");
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
	s3_env_start(&e);
	SCRIPT(&e, late);
	caller_start(&c, s3_client_fork(e.client), call_create);
	while (atomic_load(&e.seen_n) == 0)
		usleep(1000);
	assert_true(caller_stop(&c) < 1000);
	assert_int_equal(c.result, 0);
	assert_string_equal(c.id, "7");
	s3_client_free(c.client);

	SCRIPT(&e, never);
	caller_start(&c, s3_client_fork(e.client), call_create);
	while (atomic_load(&e.seen_n) == 0)
		usleep(1000);
	assert_true(caller_stop(&c) < 1000);
	expect_error(&c.err, STOW_CANCELLED, "cancelled");
	s3_client_free(c.client);
	s3_env_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_signed),
		cmocka_unit_test(glitches_are_tried_again),
		cmocka_unit_test(lasting_trouble_ends_with_the_attempts),
		cmocka_unit_test(who_asks_once_is_told_at_once),
		cmocka_unit_test(refusals_are_final),
		cmocka_unit_test(another_object_is_final),
		cmocka_unit_test(servers_say_when_to_come_back),
		cmocka_unit_test(the_budget_is_shared),
		cmocka_unit_test(clocks_are_corrected),
		cmocka_unit_test(clocks_are_suspected_first),
		cmocka_unit_test(messages_have_no_tricks),
		cmocka_unit_test(expired_tokens_are_replaced_once),
		cmocka_unit_test(credentials_are_waited_for),
		cmocka_unit_test(regions_are_followed_once),
		cmocka_unit_test(regions_that_are_none_are_not_followed),
		cmocka_unit_test(operations_can_be_cancelled),
		cmocka_unit_test(a_cancel_may_meet_the_timer),
		cmocka_unit_test(cancels_race_with_answers),
		cmocka_unit_test(all_ends_when_the_client_is_stopped),
		cmocka_unit_test(forks_are_stopped_alone_or_with_all),
		cmocka_unit_test(what_an_upload_is_called_may_still_be_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
