#include "backends/s3/xml.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define DECL "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static void errors_are_read(void **state)
{
	static const char text[] = DECL
		"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region\n is "
		"&lt;wrong&gt;</Message>"
		"<Region>eu-west-1</Region><RequestId>4442587FB7D0A2F9</RequestId><HostId>x</HostId></Error>";
	struct s3_error e;
	char longer[2000];

	(void)state;
	assert_true(xml_error(text, strlen(text), &e));
	assert_string_equal(e.code, "AuthorizationHeaderMalformed");
	assert_string_equal(e.message, "the region  is <wrong>");
	assert_string_equal(e.region, "eu-west-1");
	assert_string_equal(e.request_id, "4442587FB7D0A2F9");

	/* Cut off, but it has said what it is. */
	assert_true(xml_error(text, strlen(text) - 60, &e));
	assert_string_equal(e.code, "AuthorizationHeaderMalformed");
	/* A text of any length, and none. */
	(void)snprintf(longer, sizeof(longer), "<Error><Code>A</Code><Message>%01500d</Message></Error>", 0);
	assert_true(xml_error(longer, strlen(longer), &e));
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	assert_true(xml_error("<Error><Message/><Code>B</Code></Error>", 39, &e));
	assert_string_equal(e.message, "");
}

static void what_is_no_error_is_none(void **state)
{
	static const char *const none[] = {
		"",
		"<html><body>Bad Gateway</body></html>",
		"<Error></Error>",
		"<Other><Code>X</Code></Other>",
		"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
		"no XML",
		"<!DOCTYPE Error [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>",
	};
	struct s3_error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		memset(&e, 0xff, sizeof(e));
		if (xml_error(none[i], strlen(none[i]), &e) || e.code[0] != '\0' || e.region[0] != '\0')
			fail_msg("%s", none[i]);
	}
}

static void results_are_read(void **state)
{
	static const char create[] = DECL
		"<InitiateMultipartUploadResult" NS "><Bucket>b</Bucket><Key>k</Key>"
		"<UploadId>2~vS6T&amp;nI</UploadId></InitiateMultipartUploadResult>";
	static const char blanks[] = DECL
		"   \n  <CompleteMultipartUploadResult" NS "><Location>http://x</Location>"
		"<ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag></CompleteMultipartUploadResult>";
	static const char no_etag[] =
		"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>";
	char id[S3_UPLOAD_ID_MAX + 1], etag[S3_ETAG_MAX], *longer;
	struct stow_err err;

	(void)state;
	assert_int_equal(xml_upload_id(create, strlen(create), id, &err), 0);
	assert_string_equal(id, "2~vS6T&nI");
	assert_int_equal(xml_completed(blanks, strlen(blanks), etag, &err), 0);
	assert_string_equal(etag, "\"3858f62230ac3c915f300c664312c11f-9\"");
	assert_int_equal(xml_completed(no_etag, strlen(no_etag), etag, &err), 0);
	assert_string_equal(etag, "");

	/* One for the other, without its id, cut off, too long. */
	assert_int_equal(xml_upload_id(blanks, strlen(blanks), id, &err), -1);
	assert_int_equal(err.code, STOW_DATA_LOSS);
	assert_int_equal(xml_completed(create, strlen(create), etag, &err), -1);
	assert_int_equal(xml_upload_id("<InitiateMultipartUploadResult/>", 32, id, &err), -1);
	assert_non_null(strstr(err.msg, "UploadId"));
	assert_int_equal(xml_upload_id(create, strlen(create) - 1, id, &err), -1);
	longer = x_asprintf("<InitiateMultipartUploadResult><UploadId>%01025d</UploadId>"
			    "</InitiateMultipartUploadResult>",
			    0);
	assert_int_equal(xml_upload_id(longer, strlen(longer), id, &err), -1);
	free(longer);
	assert_string_equal(id, "2~vS6T&nI");
}

/* --- lists --- */

static int see_object(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	return buf_printf(arg, err, "%s %llu %s %lld;", key, (unsigned long long)o->size, o->etag,
			  (long long)(o->modified_ns / NSEC_PER_SEC));
}

static int see_part(void *arg, const struct s3_part *p, struct stow_err *err)
{
	return buf_printf(arg, err, "%u %llu %s %u;", p->number, (unsigned long long)p->size, p->etag,
			  p->sha256.b[31]);
}

static int see_upload(void *arg, const struct s3_upload *u, struct stow_err *err)
{
	return buf_printf(arg, err, "%s %s;", u->key, u->id);
}

static void expect_seen(struct buf *b, const char *text)
{
	struct stow_err err;

	assert_int_equal(buf_append(b, "", 1, &err), 0);
	assert_string_equal((char *)b->p, text);
	buf_reset(b);
}

static void lists_are_read(void **state)
{
	static const char objects[] = DECL
		"<ListBucketResult" NS "><Name>b</Name><Prefix>p</Prefix><IsTruncated>true</IsTruncated>"
		"<Contents><Key>a &amp; b</Key><LastModified>2026-11-23T22:35:01.000Z</LastModified>"
		"<Size>12</Size><ETag>&quot;e1&quot;</ETag>"
		"<Owner><ID>1</ID></Owner></Contents>"
		"<Contents><ETag>e2</ETag><Size>5497558138880</Size>"
		"<LastModified>today</LastModified><Key>\xc3\xa4</Key></Contents>"
		"<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>"
		"</ListBucketResult>";
	static const char parts[] = DECL
		"<ListPartsResult" NS "><UploadId>u</UploadId><PartNumberMarker>0</PartNumberMarker>"
		"<Part><PartNumber>1</PartNumber><ETag>\"x\"</ETag><Size>5242880</Size></Part>"
		"<Part><PartNumber>10000</PartNumber><ETag>\"y\"</ETag><Size>1</Size>"
		"<ChecksumSHA256>AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAc=</ChecksumSHA256></Part>"
		"<IsTruncated>false</IsTruncated></ListPartsResult>";
	static const char uploads[] = DECL
		"<ListMultipartUploadsResult" NS "><NextKeyMarker>k2</NextKeyMarker>"
		"<NextUploadIdMarker>i2</NextUploadIdMarker><IsTruncated>true</IsTruncated>"
		"<Upload><Key>k1</Key><UploadId>i1</UploadId><Initiator><ID>x</ID></Initiator></Upload>"
		"<Upload><Key>k2</Key><UploadId>i2</UploadId></Upload></ListMultipartUploadsResult>";
	CLEANUP(buf_free) struct buf seen;
	struct xml_page page;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 4096);
	assert_int_equal(xml_objects(objects, strlen(objects), see_object, &seen, &page, &err), 0);
	expect_seen(&seen, "a & b 12 \"e1\" 1795473301;\xc3\xa4 5497558138880 e2 0;");
	assert_true(page.truncated);
	assert_string_equal(page.next, "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");

	assert_int_equal(xml_parts(parts, strlen(parts), see_part, &seen, &page, &err), 0);
	expect_seen(&seen, "1 5242880 \"x\" 0;10000 1 \"y\" 7;");
	assert_false(page.truncated);

	assert_int_equal(xml_uploads(uploads, strlen(uploads), see_upload, &seen, &page, &err), 0);
	expect_seen(&seen, "k1 i1;k2 i2;");
	assert_true(page.truncated);
	assert_string_equal(page.next, "k2");
	assert_string_equal(page.next_id, "i2");
}

/* What says so may come before or after the keys. */
static void encoded_keys_are_decoded(void **state)
{
#define KEY(k) "<Contents><Key>" k "</Key><Size>1</Size></Contents>"
#define URL "<EncodingType>url</EncodingType>"
	static const char before[] = "<ListBucketResult>" URL KEY("a%2fb+c%2B%01") "</ListBucketResult>";
	static const char after[] = "<ListBucketResult>" KEY("%25%C3%A4") URL "</ListBucketResult>";
	static const char none[] = "<ListBucketResult>" KEY("a%2Fb+c") "</ListBucketResult>";
	static const char uploads[] = "<ListMultipartUploadsResult>" URL "<IsTruncated>true</IsTruncated>"
				      "<NextKeyMarker>k%202</NextKeyMarker>"
				      "<NextUploadIdMarker>i%202</NextUploadIdMarker>"
				      "<Upload><Key>k%201</Key><UploadId>i%201</UploadId></Upload>"
				      "</ListMultipartUploadsResult>";
	static const char *const bad[] = { "%", "%2", "a%2g", "%00", "%%41" };
	CLEANUP(buf_free) struct buf seen;
	struct xml_page page;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 4096);
	assert_int_equal(xml_objects(before, strlen(before), see_object, &seen, &page, &err), 0);
	expect_seen(&seen, "a/b c+\x01 1  0;");
	assert_int_equal(xml_objects(after, strlen(after), see_object, &seen, &page, &err), 0);
	expect_seen(&seen, "%\xc3\xa4 1  0;");
	assert_int_equal(xml_objects(none, strlen(none), see_object, &seen, &page, &err), 0);
	expect_seen(&seen, "a%2Fb+c 1  0;");
	assert_int_equal(xml_uploads(uploads, strlen(uploads), see_upload, &seen, &page, &err), 0);
	expect_seen(&seen, "k 1 i%201;");
	assert_string_equal(page.next, "k 2");
	assert_string_equal(page.next_id, "i%202");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(freep)
		char *text = x_asprintf("<ListBucketResult>" URL KEY("%s") "</ListBucketResult>", bad[i]);

		assert_int_equal(xml_objects(text, strlen(text), see_object, &seen, &page, &err), -1);
		assert_int_equal(err.code, STOW_DATA_LOSS);
		assert_non_null(strstr(err.msg, "is not encoded as the answer says"));
	}
	assert_int_equal(seen.len, 0);
}

static int refuse_object(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	(void)key, (void)o;
	++*(int *)arg;
	return stow_fail(err, STOW_ABORTED, "enough");
}

static void visitors_may_stop(void **state)
{
	static const char two[] = "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>"
				  "<Contents><Key>b</Key><Size>1</Size></Contents></ListBucketResult>";
	struct xml_page page;
	struct stow_err err;
	int n = 0;

	(void)state;
	assert_int_equal(xml_objects(two, strlen(two), refuse_object, &n, &page, &err), -1);
	assert_int_equal(err.code, STOW_ABORTED);
	assert_string_equal(err.msg, "enough");
	assert_int_equal(n, 1);
}

static void lists_that_cannot_be(void **state)
{
#define LIST(x) "<ListBucketResult>" x "</ListBucketResult>"
	static const char *const bad[] = {
		"",
		"<ListBucketResult>",
		"<ListPartsResult/>",
		LIST("<Contents><Size>1</Size></Contents>"),
		LIST("<Contents><Key>a</Key></Contents>"),
		LIST("<Contents><Key>a</Key><Size>-1</Size></Contents>"),
		LIST("<Contents><Key>a</Key><Size>1 </Size></Contents>"),
		LIST("<Contents><Key>a</Key><Size></Size></Contents>"),
		LIST("<Contents><Key>a</Key><Size>9223372036854775808</Size></Contents>"),
		LIST("<Contents><Key>a</Key><Size>99999999999999999999999</Size></Contents>"),
		LIST("<IsTruncated>true</IsTruncated>"),
		LIST("<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></"
		     "a></a>"
		     "</a></a></a></a>"),
		"<!DOCTYPE x>" LIST(""),
		LIST("&undefined;"),
		LIST("") LIST(""),
	};
	CLEANUP(buf_free) struct buf seen;
	struct xml_page page;
	struct stow_err err;
	char *longer;

	(void)state;
	buf_init(&seen, 4096);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (xml_objects(bad[i], strlen(bad[i]), see_object, &seen, &page, &err) == 0 ||
		    err.code != STOW_DATA_LOSS)
			fail_msg("%s", bad[i]);
	longer = x_asprintf(LIST("<Contents><Key>%01025d</Key><Size>1</Size></Contents>"), 0);
	assert_int_equal(xml_objects(longer, strlen(longer), see_object, &seen, &page, &err), -1);
	free(longer);
	longer = x_asprintf(LIST("<x>%09000d</x>"), 0);
	assert_int_equal(xml_objects(longer, strlen(longer), see_object, &seen, &page, &err), -1);
	assert_non_null(strstr(err.msg, "too long a text in ListBucketResult/x"));
	free(longer);
	assert_int_equal(seen.len, 0);
}

static void parts_have_limits(void **state)
{
#define PART(n, e)                                                                                           \
	"<ListPartsResult><Part><PartNumber>" n "</PartNumber><Size>1</Size>" e "</Part></ListPartsResult>"
	static const char *const bad[] = { PART("0", "<ETag>x</ETag>"), PART("10001", "<ETag>x</ETag>"),
					   PART("", "<ETag>x</ETag>"), PART("1", "") };
	CLEANUP(buf_free) struct buf seen;
	struct xml_page page;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 4096);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (xml_parts(bad[i], strlen(bad[i]), see_part, &seen, &page, &err) == 0)
			fail_msg("%s", bad[i]);
}

static void text_is_escaped(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(xml_escape(&b, "\"a\" <b> & 'c'", &err), 0);
	expect_seen(&b, "&quot;a&quot; &lt;b&gt; &amp; 'c'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_are_read),          cmocka_unit_test(what_is_no_error_is_none),
		cmocka_unit_test(results_are_read),         cmocka_unit_test(lists_are_read),
		cmocka_unit_test(encoded_keys_are_decoded), cmocka_unit_test(visitors_may_stop),
		cmocka_unit_test(lists_that_cannot_be),     cmocka_unit_test(parts_have_limits),
		cmocka_unit_test(text_is_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
