/* What a request does with the answers that it gets. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/s3_env.h"
#include "tests/unit/unit.h"

static void requests_are_signed(void **state)
{
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, S3_OK_RANGE);
	assert_int_equal(s3_env_range(&e, &err), 0);
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
		{ .status = "503 Slow Down", .body = S3_ERROR("SlowDown") },
		{ .status = "500 Internal", .body = S3_ERROR("InternalError") },
		{ .status = "502 Bad Gateway", .body = "<html/>" },
		{ .status = "429 Too Many Requests" },
		{ .status = "400 Bad Request", .body = S3_ERROR("RequestTimeout") },
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
		SCRIPT(&e, glitches[i], S3_OK_RANGE);
		if (s3_env_range(&e, &err) < 0)
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
		    .body = S3_ERROR("SlowDown") },
		  STOW_UNAVAILABLE,
		  "s3: GetObject layers/a/key: 503 SlowDown (request 4X): as the test wants it (4 "
		  "attempts)" },
		{ { .status = "200 OK", .after = ENV_CLOSE, .cut = 25 }, STOW_UNAVAILABLE, "(4 attempts)" },
		{ { .status = "206 Partial Content",
		    .headers = "Content-Range: bytes 5-13/100\r\n",
		    .body = "012345678" },
		  STOW_DATA_LOSS,
		  "9 bytes at 5 came where 10 at 5 were asked for (4 attempts)" },
		{ { .status = "400 Bad", .body = S3_ERROR("BadDigest") }, STOW_DATA_LOSS, "400 BadDigest" },
	};
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SCRIPT(&e, cases[i].step);
		assert_int_equal(s3_env_range(&e, &err), -1);
		s3_env_expect(&err, cases[i].code, cases[i].text);
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
	SCRIPT(&e, { .status = "404 Not Found", .body = S3_ERROR("NoSuchKey") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), 0);
	assert_string_equal(s3_env_line(&e, 0), "GET /layers/a/key");
	SCRIPT(&e, { .status = "404 Not Found", .body = S3_ERROR("NoSuchBucket") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), -1);
	s3_env_expect(&err, STOW_FAILED_PRECONDITION, "NoSuchBucket");
	SCRIPT(&e, { .status = "503 Slow Down", .body = S3_ERROR("SlowDown") });
	assert_int_equal(ask(&e, NSEC_PER_SEC, &err), -1);
	s3_env_expect(&err, STOW_UNAVAILABLE, "SlowDown");
	assert_int_equal(e.seen_n, 1);
	SCRIPT(&e, { .status = "200 OK", .after = ENV_HANG, .cut = 1 });
	assert_int_equal(ask(&e, 400 * NSEC_PER_MSEC, &err), -1);
	s3_env_expect(&err, STOW_UNAVAILABLE, "no answer within 0.2 s");
	assert_int_equal(e.seen_n, 1);
	e.not_yet = 1000000;
	assert_int_equal(ask(&e, 100 * NSEC_PER_MSEC, &err), -1);
	s3_env_expect(&err, STOW_UNAVAILABLE, "");
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

static void refusals_are_final(void **state)
{
	static const struct {
		const char *status, *body;
		enum stow_code code;
	} cases[] = {
		{ "403 Forbidden", S3_ERROR("AccessDenied"), STOW_PERMISSION_DENIED },
		{ "401 Unauthorized", "", STOW_PERMISSION_DENIED },
		{ "403 Forbidden", S3_ERROR("QuotaExceeded"), STOW_RESOURCE_EXHAUSTED },
		{ "404 Not Found", S3_ERROR("NoSuchKey"), STOW_NOT_FOUND },
		{ "404 Not Found", S3_ERROR("NoSuchBucket"), STOW_FAILED_PRECONDITION },
		{ "404 Not Found", S3_ERROR("NoSuchTenant"), STOW_FAILED_PRECONDITION },
		{ "404 Not Found", "<html>no S3</html>", STOW_FAILED_PRECONDITION },
		{ "404 Not Found", "", STOW_FAILED_PRECONDITION },
		{ "405 Method Not Allowed", S3_ERROR("MethodNotAllowed"), STOW_UNIMPLEMENTED },
		{ "501 Not Implemented", S3_ERROR("NotImplemented"), STOW_UNIMPLEMENTED },
		{ "400 Bad", S3_ERROR("NotImplemented"), STOW_UNIMPLEMENTED },
		{ "400 Bad", S3_ERROR("InvalidArgument"), STOW_INVALID_ARGUMENT },
		{ "409 Conflict", S3_ERROR("ConditionalRequestConflict"), STOW_ABORTED },
		{ "412 Precondition Failed", S3_ERROR("PreconditionFailed"), STOW_FAILED_PRECONDITION },
		{ "416 Range", S3_ERROR("InvalidRange"), STOW_OUT_OF_RANGE },
		{ "507 Insufficient Storage", S3_ERROR("XMinioStorageFull"), STOW_RESOURCE_EXHAUSTED },
		{ "301 Moved", S3_ERROR("PermanentRedirect"), STOW_FAILED_PRECONDITION },
		{ "304 Not Modified", "", STOW_FAILED_PRECONDITION },
	};
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		SCRIPT(&e, { .status = cases[i].status, .body = cases[i].body });
		assert_int_equal(s3_env_range(&e, &err), -1);
		s3_env_expect(&err, cases[i].code, "s3: GetObject layers/a/key: ");
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
	SCRIPT(&e, { .status = "503 Slow Down", .headers = "Retry-After: 1\r\n" }, S3_OK_HEAD);
	start = clock_mono_ns();
	assert_int_equal(s3_env_head(&e, &err), 0);
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
		assert_int_equal(s3_env_head(&e, &err), -1);
		assert_int_equal(e.seen_n, 2);
	}
	SCRIPT(&e, { .status = "500 Internal" });
	assert_int_equal(s3_env_head(&e, &err), -1);
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
	assert_int_equal(s3_env_range(&e, &err), -1);
	s3_env_expect(&err, STOW_FAILED_PRECONDITION,
		      "the object has changed: its ETag is \"f \", not \"e\"");
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
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .body = S3_ERROR("RequestTimeTooSkewed") },
	       S3_OK_RANGE);
	assert_int_equal(s3_env_range(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 1) - signed_at(&e, 0) - off) < 30);
	/* Remembered. */
	SCRIPT(&e, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC - off) < 30);
	/* Once for a request. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .body = S3_ERROR("RequestTimeTooSkewed") });
	assert_int_equal(s3_env_range(&e, &err), -1);
	s3_env_expect(&err, STOW_PERMISSION_DENIED, "403 RequestTimeTooSkewed");
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
	assert_int_equal(s3_env_head(&e, &err), -1);
	s3_env_expect(&err, STOW_PERMISSION_DENIED, "403");
	assert_int_equal(e.seen_n, 2);
	assert_true(llabs(signed_at(&e, 1) - signed_at(&e, 0) - off) < 30);
	SCRIPT(&e, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC) < 30);

	/* A retry in between proves nothing, and keeps it. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE },
	       { .status = "503 Slow Down", .headers = "", .head = true, .after = ENV_CLOSE }, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 2) - signed_at(&e, 0) - off) < 30);
	SCRIPT(&e, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	assert_true(llabs(signed_at(&e, 0) - clock_wall_ns() / NSEC_PER_SEC - off) < 30);

	/* Where the date is what was signed for, 403 is what it says; and the way back is the same. */
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE });
	assert_int_equal(s3_env_head(&e, &err), -1);
	assert_int_equal(e.seen_n, 1);
	date_header(date, clock_wall_ns());
	SCRIPT(&e, { .status = "403 Forbidden", .headers = date, .head = true, .after = ENV_CLOSE },
	       S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
	SCRIPT(&e, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
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
	assert_int_equal(s3_env_range(&e, &err), -1);
	s3_env_expect(&err, STOW_PERMISSION_DENIED,
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
	SCRIPT(&e, { .status = "400 Bad", .body = S3_ERROR("ExpiredToken") }, S3_OK_RANGE);
	assert_int_equal(s3_env_range(&e, &err), 0);
	assert_string_equal(s3_env_header(&e, 0, "x-amz-security-token"), "old");
	assert_string_equal(s3_env_header(&e, 1, "x-amz-security-token"), "new");
	assert_int_equal(e.refreshes, 1);
	SCRIPT(&e, { .status = "400 Bad", .body = S3_ERROR("ExpiredToken") });
	assert_int_equal(s3_env_range(&e, &err), -1);
	s3_env_expect(&err, STOW_PERMISSION_DENIED, "ExpiredToken");
	assert_int_equal(e.seen_n, 2);
	/* HEAD again has no body to say it. */
	SCRIPT(&e, { .status = "400 Bad", .headers = "", .head = true, .after = ENV_CLOSE }, S3_OK_HEAD);
	assert_int_equal(s3_env_head(&e, &err), 0);
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
	SCRIPT(&e, S3_OK_HEAD);
	atomic_store(&e.not_yet, 3);
	assert_int_equal(s3_env_head(&e, &err), 0);
	assert_int_equal(e.not_yet, 0);
	e.refuse = STOW_FAILED_PRECONDITION;
	assert_int_equal(s3_env_head(&e, &err), -1);
	s3_env_expect(&err, STOW_FAILED_PRECONDITION, "s3: HeadObject layers/a/key: no credentials at all");
	/* That it may be otherwise later is no reason to wait: the failure is known. */
	e.refuse = STOW_UNAVAILABLE;
	begin = clock_mono_ns();
	assert_int_equal(s3_env_head(&e, &err), -1);
	assert_true(clock_mono_ns() - begin < 20 * NSEC_PER_SEC);
	s3_env_expect(&err, STOW_UNAVAILABLE, "s3: HeadObject layers/a/key: no credentials at all");
	assert_int_equal(e.seen_n, 1);
	s3_env_end(&e);
}

static void regions_are_followed_once(void **state)
{
	static const struct s3_step moved[] = {
		{ .status = "301 Moved",
		  .headers = "x-amz-bucket-region: eu-west-1\r\n",
		  .body = S3_ERROR("PermanentRedirect") },
		{ .status = "307 Temporary",
		  .headers = "x-amz-bucket-region: eu-west-1\r\nLocation: http://127.0.0.1:1/\r\n",
		  .body = S3_ERROR("TemporaryRedirect") },
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
		SCRIPT(&e, moved[i], S3_OK_RANGE);
		assert_int_equal(s3_env_range(&e, &err), 0);
		assert_non_null(strstr(s3_env_header(&e, 0, "Authorization"), "/us-east-1/s3/"));
		assert_non_null(strstr(s3_env_header(&e, 1, "Authorization"), "/eu-west-1/s3/"));
		/* Remembered; and not followed in circles. */
		SCRIPT(&e, moved[i]);
		assert_int_equal(s3_env_range(&e, &err), -1);
		s3_env_expect(&err, STOW_FAILED_PRECONDITION, "(asked in region eu-west-1)");
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
		assert_int_equal(s3_env_range(&e, &err), -1);
		s3_env_expect(&err, STOW_FAILED_PRECONDITION, "301 (asked in region us-east-1)");
		assert_int_equal(e.seen_n, 1);
	}
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
