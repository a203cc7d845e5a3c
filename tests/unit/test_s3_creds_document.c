/* The documents that credentials come in, JSON and XML. */
#include "backends/s3/creds_document.h"
#include "backends/s3/creds_sts_answer.h"
#include "backends/s3/rfc3339.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds, ns;
	} good[] = {
		{ "2026-11-23T22:35:01Z", 1795473301, 0 },
		{ "2026-11-23t22:35:01z", 1795473301, 0 },
		{ "2026-11-23 22:35:01Z", 1795473301, 0 },
		{ "2026-11-23T22:35:01.5Z", 1795473301, 500000000 },
		{ "2026-11-23T22:35:01.123456789123Z", 1795473301, 123456789 },
		{ "2026-11-24T00:05:01+01:30", 1795473301, 0 },
		{ "2026-11-23T17:35:01-05:00", 1795473301, 0 },
		{ "2028-02-29T00:00:00Z", 1835395200, 0 },
		{ "1971-01-01T00:00:00Z", 31536000, 0 },
		{ "2199-12-31T23:59:60Z", INT64_C(7258118400), 0 },
	};
	static const char *const bad[] = { "",
					   "now",
					   "2026-11-23",
					   "2026-11-23T22:35Z",
					   "2026-11-23T22:35:01",
					   "2026-11-23T22:35:01Zx",
					   "2026-11-23T22:35:01.Z",
					   "2026-11-23T22:35:01+1:00",
					   "2026-11-23T22:35:01+01:00x",
					   "2026-11-23T22:35:01+24:00",
					   "2026-13-23T22:35:01Z",
					   "2026-11-32T22:35:01Z",
					   "2026-11-00T22:35:01Z",
					   "2026-11-23T24:35:01Z",
					   "2026-11-23T22:60:01Z",
					   "0001-01-01T00:00:00Z",
					   "1970-01-01T00:00:00Z",
					   "2200-01-01T00:00:00Z",
					   "-026-11-23T22:35:01Z",
					   "1795473301" };
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		int64_t ns = -1;
		assert_int_equal(rfc3339_read(good[i].text, &ns, &err), 0);
		assert_int_equal(ns, good[i].seconds * NSEC_PER_SEC + good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t ns = -7;
		if (rfc3339_read(bad[i], &ns, &err) == 0)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(ns, -7);
	}
	assert_string_equal(err.msg, "\"1795473301\" is not a time, expected one such as "
				     "\"2026-11-23T22:35:01Z\"");
}

/* Reads what must be right; the caller frees. */
static struct creds_value take(enum creds_form form, const char *text)
{
	struct creds_value v = { 0 };
	struct stow_err err;
	if (creds_document_read(form, text, strlen(text), &v, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return v;
}

static void documents(void **state)
{
	(void)state;
	/* As the metadata service gives it. */
	struct creds_value v = take(
		CREDS_FORM_ENDPOINT,
		"{\"Code\":\"Success\",\"LastUpdated\":\"2026-11-23T20:00:00Z\",\"Type\":\"AWS-HMAC\","
		"\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"TK\","
		"\"Expiration\":\"2026-11-23T22:35:01Z\"}");
	assert_string_equal(v.access_key, "AK");
	assert_string_equal(v.secret_key, "SK");
	assert_string_equal(v.session_token, "TK");
	assert_int_equal(v.expires_ns, INT64_C(1795473301) * NSEC_PER_SEC);
	creds_value_free(&v);
	assert_null(v.secret_key);

	/* Without an end, and with what others add. */
	v = take(CREDS_FORM_ENDPOINT, " {\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":null,"
				      "\"Expiration\":null,\"X\":[1]} ");
	assert_string_equal(v.session_token, "");
	assert_int_equal(v.expires_ns, 0);
	creds_value_free(&v);
	v = take(CREDS_FORM_PROCESS, "{\"Version\":1,\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\","
				     "\"SessionToken\":\"TK\"}\n");
	assert_string_equal(v.session_token, "TK");
	creds_value_free(&v);
}

#define KEYS "\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"top-secret\""

static void wrong_documents(void **state)
{
	static const struct {
		enum creds_form form;
		const char *text, *msg;
	} cases[] = {
		{ CREDS_FORM_ENDPOINT, "", "the answer is not a JSON object" },
		{ CREDS_FORM_ENDPOINT, "[]", "the answer is not a JSON object" },
		{ CREDS_FORM_ENDPOINT, "{" KEYS "} x", "the answer is not a JSON object" },
		{ CREDS_FORM_ENDPOINT, "{" KEYS "," KEYS "}", "the answer is not a JSON object" },
		{ CREDS_FORM_ENDPOINT, "{}", "the answer has no access key's id" },
		{ CREDS_FORM_ENDPOINT, "{\"AccessKeyId\":\"AK\"}", "the answer has no secret access key" },
		{ CREDS_FORM_ENDPOINT, "{\"AccessKeyId\":1,\"SecretAccessKey\":\"a\"}",
		  "the answer has no access key's id" },
		{ CREDS_FORM_ENDPOINT, "{\"AccessKeyId\":\"A\\nK\",\"SecretAccessKey\":\"a\"}",
		  "the answer has a key with a blank or an unprintable character in it" },
		{ CREDS_FORM_ENDPOINT, "{" KEYS ",\"Expiration\":\"soon\"}",
		  "the answer's Expiration: \"soon\" is not a time, expected one such as "
		  "\"2026-11-23T22:35:01Z\"" },
		{ CREDS_FORM_ENDPOINT, "{" KEYS ",\"Expiration\":17}", "the answer's Expiration is no text" },
		{ CREDS_FORM_ENDPOINT, "{\"Code\":\"Failed\",\"Message\":\"no\\nway\"," KEYS "}",
		  "there are no credentials: Failed: \"no\\nway\"" },
		{ CREDS_FORM_PROCESS, "{" KEYS "}", "the answer has no \"Version\": 1" },
		{ CREDS_FORM_PROCESS, "{\"Version\":2," KEYS "}", "the answer has no \"Version\": 1" },
		{ CREDS_FORM_PROCESS, "{\"Version\":\"1\"," KEYS "}", "the answer has no \"Version\": 1" },
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct creds_value v = { 0 };
		assert_int_equal(
			creds_document_read(cases[i].form, cases[i].text, strlen(cases[i].text), &v, &err),
			-1);
		assert_string_equal(err.msg, cases[i].msg);
		assert_null(v.access_key);
	}
}

static void what_endpoints_say(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "{\"code\":\"NoRole\",\"message\":\"none\"}", "NoRole: \"none\"" },
		{ "{\"Code\":\"A\",\"Message\":\"b\",\"code\":\"C\"}", "A: \"b\"" },
		{ "{\"message\":\"b\\u001b[1m\"}", "error: \"b\\x1b[1m\"" },
		{ "{\"code\":\"A B\"}", "error: \"\"" },
		{ "{}", "" },
		{ "<html>", "" },
	};
	char said[CREDS_SAID_MAX];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		creds_document_said(cases[i].text, strlen(cases[i].text), said);
		assert_string_equal(said, cases[i].said);
	}
}

/* --- STS --- */

#define STS_HEAD                                                                                             \
	"<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n"          \
	" <AssumeRoleWithWebIdentityResult>\n  <Audience>a</Audience>\n"
#define STS_TAIL "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>\n"
#define STS_KEYS                                                                                             \
	"<SessionToken>T&amp;K</SessionToken><SecretAccessKey>S/K+=</SecretAccessKey>"                       \
	"<AccessKeyId>AK</AccessKeyId>"
#define STS_END "<Expiration>2026-11-23T22:35:01Z</Expiration>"

static void sts_answer(void **state)
{
	static const char text[] = STS_HEAD
		"<Credentials>" STS_KEYS STS_END "</Credentials><AssumedRoleUser>"
		"<Arn>x</Arn><AccessKeyId>not me</AccessKeyId></AssumedRoleUser>" STS_TAIL;
	CLEANUP(creds_value_free) struct creds_value v = { 0 };
	struct stow_err err;

	(void)state;
	assert_int_equal(creds_sts_read(text, strlen(text), &v, &err), 0);
	assert_string_equal(v.access_key, "AK");
	assert_string_equal(v.secret_key, "S/K+=");
	assert_string_equal(v.session_token, "T&K");
	assert_int_equal(v.expires_ns, INT64_C(1795473301) * NSEC_PER_SEC);
}

static void wrong_sts_answers(void **state)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "", "the answer is no XML: " },
		{ "{\"AccessKeyId\":\"a\"}", "the answer is no XML: " },
		{ STS_HEAD "<Credentials>" STS_KEYS STS_END, "the answer is no XML: " },
		{ "<a/>", "the answer has no Credentials, or not all of them" },
		{ STS_HEAD STS_KEYS STS_END STS_TAIL, "the answer has no Credentials, or not all of them" },
		{ STS_HEAD "<Credentials>" STS_KEYS "</Credentials>" STS_TAIL,
		  "the answer has no Credentials, or not all of them" },
		{ STS_HEAD "<Credentials><x>" STS_KEYS STS_END "</x></Credentials>" STS_TAIL,
		  "the answer has no Credentials, or not all of them" },
		{ STS_HEAD "<Credentials>" STS_KEYS STS_KEYS STS_END "</Credentials>" STS_TAIL,
		  "the answer has two Credentials/SessionToken" },
		{ STS_HEAD "<Credentials>" STS_KEYS "<Expiration/></Credentials>" STS_TAIL,
		  "the answer's Expiration: \"\" is not a time, expected one such as "
		  "\"2026-11-23T22:35:01Z\"" },
		{ "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "XML has a document type declaration" },
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct creds_value v = { 0 };
		assert_int_equal(creds_sts_read(cases[i].text, strlen(cases[i].text), &v, &err), -1);
		assert_memory_equal(err.msg, cases[i].msg, strlen(cases[i].msg));
		assert_null(v.access_key);
	}
}

static void sts_errors(void **state)
{
	static const char text[] =
		"<ErrorResponse "
		"xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>"
		"<Code>AccessDenied</Code><Message>Not authorized to\n perform</Message></Error>"
		"<RequestId>x</RequestId></ErrorResponse>";
	struct creds_sts_error e;

	(void)state;
	creds_sts_read_error(text, strlen(text), &e);
	assert_string_equal(e.code, "AccessDenied");
	assert_string_equal(e.message, "\"Not authorized to\\n perform\"");
	creds_sts_read_error("<html/>", 7, &e);
	assert_string_equal(e.code, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),           cmocka_unit_test(documents),
		cmocka_unit_test(wrong_documents), cmocka_unit_test(what_endpoints_say),
		cmocka_unit_test(sts_answer),      cmocka_unit_test(wrong_sts_answers),
		cmocka_unit_test(sts_errors),
	};
	return cmocka_run_group_tests_name("s3_creds_document", tests, NULL, NULL);
}
