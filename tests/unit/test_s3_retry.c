#include "backends/s3/endpoint.h"
#include "backends/s3/retry.h"
#include "content/base/clock.h"
#include "content/base/compiler.h"
#include "tests/unit/unit.h"

#include <string.h>

static void answers_are_judged(void **state)
{
	static const struct {
		int status;
		const char *code;
		enum retry_verdict v;
	} cases[] = {
		{ 404, "NoSuchKey", RETRY_NONE },
		{ 403, "AccessDenied", RETRY_NONE },
		{ 403, "SignatureDoesNotMatch", RETRY_NONE },
		{ 403, "", RETRY_NONE },
		{ 412, "PreconditionFailed", RETRY_NONE },
		{ 409, "ConditionalRequestConflict", RETRY_NONE },
		{ 501, "NotImplemented", RETRY_NONE },
		{ 507, "XMinioStorageFull", RETRY_NONE },
		{ 400, "InvalidArgument", RETRY_NONE },
		{ 500, "InternalError", RETRY_SOON },
		{ 500, "", RETRY_SOON },
		{ 502, "", RETRY_SOON },
		{ 504, "", RETRY_SOON },
		{ 400, "RequestTimeout", RETRY_SOON },
		{ 400, "BadDigest", RETRY_SOON },
		{ 409, "OperationAborted", RETRY_SOON },
		{ 503, "SlowDown", RETRY_THROTTLED },
		{ 503, "", RETRY_THROTTLED },
		{ 429, "", RETRY_THROTTLED },
		/* A success that ends as an error. */
		{ 200, "InternalError", RETRY_SOON },
		{ 200, "SlowDown", RETRY_THROTTLED },
		{ 200, "AccessDenied", RETRY_NONE },
		{ 403, "RequestTimeTooSkewed", RETRY_SKEW },
		{ 400, "ExpiredToken", RETRY_EXPIRED },
		{ 301, "PermanentRedirect", RETRY_REGION },
		{ 307, "TemporaryRedirect", RETRY_REGION },
		{ 301, "", RETRY_REGION },
		{ 400, "AuthorizationHeaderMalformed", RETRY_REGION },
		{ 400, "", RETRY_REGION },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct retry_outcome o = { HTTP_ANSWERED, cases[i].status, cases[i].code, false };

		if (retry_judge(&o) != cases[i].v)
			fail_msg("%d %s: %d", o.status, o.code, retry_judge(&o));
		o.bad_answer = true;
		assert_int_equal(retry_judge(&o), RETRY_SOON);
	}
}

static void failures_are_judged(void **state)
{
	static const enum http_failure again[] = { HTTP_RESOLVE, HTTP_CONNECT, HTTP_TIMEOUT, HTTP_BROKEN };
	static const enum http_failure never[] = { HTTP_TLS, HTTP_CANCELLED, HTTP_REFUSED };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(again); i++)
		assert_int_equal(retry_judge(&(struct retry_outcome){ again[i], 0, "", false }), RETRY_SOON);
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		assert_int_equal(retry_judge(&(struct retry_outcome){ never[i], 0, "", false }), RETRY_NONE);
}

static void waits_grow_up_to_a_limit(void **state)
{
	(void)state;
	/* The largest that jitter may choose, and the smallest. */
	for (unsigned n = 1; n < 70; n++) {
		int64_t soon = 50 * NSEC_PER_MSEC << (n < 9 ? n : 9);
		int64_t most = soon < 20 * NSEC_PER_SEC ? soon : 20 * NSEC_PER_SEC;

		assert_int_equal(retry_delay_ns(RETRY_SOON, n, (uint64_t)most - 1, 0), most - 1);
		assert_int_equal(retry_delay_ns(RETRY_SOON, n, (uint64_t)most, 0), 0);
	}
	assert_int_equal(retry_delay_ns(RETRY_THROTTLED, 1, (uint64_t)NSEC_PER_SEC - 1, 0), NSEC_PER_SEC - 1);
	assert_int_equal(retry_delay_ns(RETRY_THROTTLED, 1, (uint64_t)NSEC_PER_SEC, 0), 0);

	/* What the server asks for, and jitter on top; nobody makes us wait for an hour. */
	assert_int_equal(retry_delay_ns(RETRY_THROTTLED, 1, 0, 3 * NSEC_PER_SEC), 3 * NSEC_PER_SEC);
	assert_true(retry_delay_ns(RETRY_THROTTLED, 1, 400 * NSEC_PER_MSEC, 3 * NSEC_PER_SEC) >
		    3 * NSEC_PER_SEC);
	assert_int_equal(retry_delay_ns(RETRY_SOON, 1, 0, 3600 * NSEC_PER_SEC), 60 * NSEC_PER_SEC);
}

static void the_budget_is_spent_and_earned(void **state)
{
	struct retry_budget b;
	unsigned n = 0;

	(void)state;
	retry_budget_init(&b);
	while (retry_budget_take(&b, RETRY_SOON))
		n++;
	assert_int_equal(n, 100);
	assert_false(retry_budget_take(&b, RETRY_THROTTLED));
	/* What puts something right is free. */
	assert_true(retry_budget_take(&b, RETRY_SKEW));
	for (int i = 0; i < 5; i++)
		retry_budget_give(&b);
	assert_true(retry_budget_take(&b, RETRY_SOON));
	assert_false(retry_budget_take(&b, RETRY_SOON));
	for (int i = 0; i < 10 * RETRY_BUDGET; i++)
		retry_budget_give(&b);
	assert_int_equal(b.tokens, RETRY_BUDGET);
}

static void dates_are_read(void **state)
{
	static const char *const bad[] = {
		"",
		"Sun, 06 Nov 1994 08:49:37 UTC",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
		"Sun, 06 Nvo 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 06 Nov 199x 08:49:37 GMT",
		"Sun, 06 Nov 0000 08:49:37 GMT",
		"Sun, 06 ovD 1994 08:49:37 GMT",
	};
	int64_t ns = -1;

	(void)state;
	assert_true(http_date("Sun, 06 Nov 1994 08:49:37 GMT", &ns));
	assert_int_equal(ns, 784111777 * NSEC_PER_SEC);
	assert_true(http_date("Sat, 29 Feb 2200 23:59:60 GMT", &ns));
	ns = -1;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (http_date(bad[i], &ns) || ns != -1)
			fail_msg("%s", bad[i]);

	assert_int_equal(retry_after_ns(NULL, 0), 0);
	assert_int_equal(retry_after_ns("17", 0), 17 * NSEC_PER_SEC);
	assert_int_equal(retry_after_ns("-1", 0), 0);
	assert_int_equal(retry_after_ns("1.5", 0), 0);
	assert_int_equal(retry_after_ns("99999999999999999999", 0), 24 * 3600 * NSEC_PER_SEC);
	assert_int_equal(retry_after_ns("Sun, 06 Nov 1994 08:49:37 GMT", 784111770 * NSEC_PER_SEC),
			 7 * NSEC_PER_SEC);
	assert_int_equal(retry_after_ns("Sun, 06 Nov 1994 08:49:37 GMT", 784111780 * NSEC_PER_SEC), 0);
}

/* --- endpoints --- */

static const struct s3_options plain = { .endpoint = "", .bucket = "layers" };

static void expect_endpoint(const struct s3_options *o, const char *region, bool moved, const char *host,
			    const char *path)
{
	struct s3_endpoint e;
	struct stow_err err;

	if (s3_endpoint_make(o, region, moved, &e, &err) < 0)
		fail_msg("%s: %s", host, err.msg);
	assert_string_equal(e.host, host);
	assert_string_equal(e.path, path);
}

static void endpoints_of_aws(void **state)
{
	struct s3_options o = plain;

	(void)state;
	expect_endpoint(&o, "eu-central-1", false, "layers.s3.eu-central-1.amazonaws.com", "");
	expect_endpoint(&o, "us-east-1", false, "layers.s3.us-east-1.amazonaws.com", "");
	expect_endpoint(&o, "cn-north-1", false, "layers.s3.cn-north-1.amazonaws.com.cn", "");
	expect_endpoint(&o, "us-gov-west-1", false, "layers.s3.us-gov-west-1.amazonaws.com", "");
	expect_endpoint(&o, "us-isob-east-1", false, "layers.s3.us-isob-east-1.sc2s.sgov.gov", "");
	expect_endpoint(&o, "us-iso-east-1", false, "layers.s3.us-iso-east-1.c2s.ic.gov", "");
	o.dual_stack = true;
	expect_endpoint(&o, "eu-west-1", false, "layers.s3.dualstack.eu-west-1.amazonaws.com", "");
	o.fips = true;
	expect_endpoint(&o, "us-east-2", false, "layers.s3-fips.dualstack.us-east-2.amazonaws.com", "");
	o.dual_stack = false;
	expect_endpoint(&o, "us-east-2", false, "layers.s3-fips.us-east-2.amazonaws.com", "");
	o.fips = false;
	o.accelerate = true;
	expect_endpoint(&o, "us-east-2", false, "layers.s3-accelerate.amazonaws.com", "");
	o.dual_stack = true;
	expect_endpoint(&o, "us-east-2", false, "layers.s3-accelerate.dualstack.amazonaws.com", "");

	/* Names that are no label of a host. */
	o = plain;
	o.bucket = "my.layers";
	expect_endpoint(&o, "us-east-1", false, "s3.us-east-1.amazonaws.com", "/my.layers");
	o.bucket = "Layers";
	expect_endpoint(&o, "us-east-1", false, "s3.us-east-1.amazonaws.com", "/Layers");
	o.bucket = "layers";
	o.addressing = S3_ADDRESSING_PATH;
	expect_endpoint(&o, "us-east-1", false, "s3.us-east-1.amazonaws.com", "/layers");
}

static void endpoints_of_ones_own(void **state)
{
	struct s3_options o = plain;

	(void)state;
	o.endpoint = "http://127.0.0.1:9000";
	expect_endpoint(&o, "us-east-1", false, "127.0.0.1:9000", "/layers");
	expect_endpoint(&o, "eu-west-1", true, "127.0.0.1:9000", "/layers");
	o.addressing = S3_ADDRESSING_VIRTUAL;
	o.endpoint = "https://s3.example.com:443";
	expect_endpoint(&o, "default", false, "layers.s3.example.com", "");
	o.endpoint = "http://s3.example.com:80/";
	expect_endpoint(&o, "default", false, "layers.s3.example.com", "");
	o.endpoint = "http://s3.example.com:443";
	expect_endpoint(&o, "default", false, "layers.s3.example.com:443", "");
	o.addressing = S3_ADDRESSING_AUTO;
	o.endpoint = "https://[::1]:8443";
	expect_endpoint(&o, "default", false, "[::1]:8443", "/layers");

	/* AWS's, written out: its own addressing, and another one where the bucket is elsewhere. */
	o.endpoint = "https://s3.eu-west-1.amazonaws.com";
	expect_endpoint(&o, "eu-west-1", false, "layers.s3.eu-west-1.amazonaws.com", "");
	expect_endpoint(&o, "eu-north-1", true, "layers.s3.eu-north-1.amazonaws.com", "");
	o.endpoint = "https://s3.amazonaws.com.example.org";
	expect_endpoint(&o, "eu-north-1", true, "s3.amazonaws.com.example.org", "/layers");
}

static void expect_refusal(const struct s3_options *o, const char *region, const char *text)
{
	struct s3_endpoint e;
	struct stow_err err;

	assert_int_equal(s3_endpoint_make(o, region, false, &e, &err), -1);
	assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
	if (strstr(err.msg, text) == NULL)
		fail_msg("%s: expected %s", err.msg, text);
}

static void endpoints_that_cannot_be(void **state)
{
	struct s3_options o = plain;

	(void)state;
	o.bucket = "";
	expect_refusal(&o, "us-east-1", "no bucket");
	o.bucket = "layers";
	expect_refusal(&o, "", "region");
	expect_refusal(&o, "evil.example.com/", "region");
	o.endpoint = "s3.example.com";
	expect_refusal(&o, "us-east-1", "expected http:// or https://");
	o.endpoint = "https://s3.example.com";
	o.fips = true;
	expect_refusal(&o, "us-east-1", "an endpoint of one's own excludes");
	o = plain;
	o.accelerate = o.fips = true;
	expect_refusal(&o, "us-east-1", "no accelerated endpoint with FIPS");
	o.fips = false;
	o.addressing = S3_ADDRESSING_PATH;
	expect_refusal(&o, "us-east-1", "accelerate needs virtual-host addressing");
	o.addressing = S3_ADDRESSING_AUTO;
	o.bucket = "my.layers";
	expect_refusal(&o, "us-east-1", "cannot be a part of a host name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_judged),       cmocka_unit_test(failures_are_judged),
		cmocka_unit_test(waits_grow_up_to_a_limit), cmocka_unit_test(the_budget_is_spent_and_earned),
		cmocka_unit_test(dates_are_read),           cmocka_unit_test(endpoints_of_aws),
		cmocka_unit_test(endpoints_of_ones_own),    cmocka_unit_test(endpoints_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
