/* What the client's operations send, and what they make of the answers. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/s3_env.h"
#include "tests/unit/unit.h"

#include <semaphore.h>

#define ERROR(code) "<Error><Code>" code "</Code></Error>"
#define CREATED "<InitiateMultipartUploadResult><UploadId>id 1</UploadId></InitiateMultipartUploadResult>"
#define COMPLETED "<CompleteMultipartUploadResult><ETag>\"all-2\"</ETag></CompleteMultipartUploadResult>"
/* Of "abc", in hex and in base 64. */
#define ABC_HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_64 "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="

static int read_abc(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg, (void)err;
	memcpy(to, &"abc"[off], n);
	return 0;
}

static int read_nothing(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)arg, (void)off, (void)to, (void)n;
	return stow_fail(err, STOW_INTERNAL, "the spool is gone");
}

static const struct s3_body abc = { .size = 3, .read = read_abc };

static void expect_header(struct s3_env *e, unsigned i, const char *name, const char *value)
{
	const char *got = s3_env_header(e, i, name);

	if (strcmp(got, value) != 0)
		fail_msg("request %u: %s is \"%s\", expected \"%s\"", i, name, got, value);
}

static void expect_line(struct s3_env *e, unsigned i, const char *line)
{
	assert_string_equal(s3_env_line(e, i), line);
}

/* --- objects --- */

static void objects_are_put_and_looked_at(void **state)
{
	struct s3_env e;
	struct s3_object o;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK", .headers = "ETag: \"abc\"\r\n" });
	assert_int_equal(s3_put(e.client, "a b/c", &abc, 0, &o, &err), 0);
	assert_int_equal(o.size, 3);
	assert_string_equal(o.etag, "\"abc\"");
	expect_line(&e, 0, "PUT /layers/a%20b/c");
	expect_header(&e, 0, "x-amz-content-sha256", ABC_HEX);
	expect_header(&e, 0, "Content-Length", "3");
	expect_header(&e, 0, "x-amz-checksum-sha256", "");
	expect_header(&e, 0, "If-None-Match", "");
	assert_string_equal(s3_env_body(&e, 0), "abc");

	SCRIPT(&e, { .status = "412 Precondition Failed", .body = ERROR("PreconditionFailed") });
	assert_int_equal(s3_put(e.client, "k", &abc, S3_IF_ABSENT, NULL, &err), -1);
	s3_env_expect(&err, STOW_ALREADY_EXISTS, "s3: PutObject layers/k: 412 PreconditionFailed");
	expect_header(&e, 0, "If-None-Match", "*");

	SCRIPT(&e, { .status = "200 OK", .headers = "Content-Length: 5497558138880\r\n", .head = true });
	assert_int_equal(s3_head(e.client, "k", &o, &err), 0);
	assert_int_equal(o.size, S3_OBJECT_MAX);
	assert_string_equal(o.etag, "");
	assert_int_equal(o.modified_ns, 0);
	SCRIPT(&e, { .status = "200 OK",
		     .headers = "Content-Length: 1\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
		     .head = true });
	assert_int_equal(s3_head(e.client, "k", &o, &err), 0);
	assert_int_equal(o.modified_ns, 784111777 * NSEC_PER_SEC);
	expect_line(&e, 0, "HEAD /layers/k");
	SCRIPT(&e,
	       { .status = "200 OK", .headers = "Content-Length: 1x\r\n", .head = true, .after = ENV_CLOSE });
	assert_int_equal(s3_head(e.client, "k", &o, &err), -1);

	SCRIPT(&e, { .status = "204 No Content" });
	assert_int_equal(s3_delete(e.client, "k", &err), 0);
	expect_line(&e, 0, "DELETE /layers/k");
	s3_env_end(&e);
}

static void keys_have_limits(void **state)
{
	struct s3_env e;
	struct s3_object o;
	struct stow_err err;
	char key[S3_KEY_MAX + 2];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "404 Not Found", .headers = "", .head = true, .after = ENV_CLOSE });
	memset(key, 'k', sizeof(key));
	key[S3_KEY_MAX + 1] = '\0';
	assert_int_equal(s3_head(e.client, key, &o, &err), -1);
	s3_env_expect(&err, STOW_INVALID_ARGUMENT, "s3: HeadObject layers/kkk");
	assert_int_equal(s3_head(e.client, "", &o, &err), -1);
	s3_env_expect(&err, STOW_INVALID_ARGUMENT, "a key has 1 to 1024 bytes, this one 0");
	assert_int_equal(e.seen_n, 0);
	key[S3_KEY_MAX] = '\0';
	assert_int_equal(s3_head(e.client, key, &o, &err), -1);
	s3_env_expect(&err, STOW_NOT_FOUND, "");
	s3_env_end(&e);
}

static void objects_that_are_shorter_are_out_of_range(void **state)
{
	struct s3_env e;
	struct stow_err err;
	char to[10];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e,
	       { .status = "206 Partial", .headers = "Content-Range: bytes 5-9/10\r\n", .body = "56789" });
	assert_int_equal(s3_get(e.client, "k", NULL, 5, 10, to, &err), -1);
	s3_env_expect(&err, STOW_OUT_OF_RANGE, "10 bytes at 5 of an object that has 10");
	assert_int_equal(e.seen_n, 1);
	expect_header(&e, 0, "If-Match", "");
	/* The range is all there is: servers may leave it at 200. */
	SCRIPT(&e, { .status = "200 OK", .body = "0123456789" });
	assert_int_equal(s3_get(e.client, "k", "", 0, 10, to, &err), 0);
	s3_env_end(&e);
}

static void bodies_that_cannot_be_read_are_not_sent(void **state)
{
	struct s3_body gone = { .size = 3, .read = read_nothing };
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK" });
	/* For the hash; and, where that is known, on the way. */
	assert_int_equal(s3_put(e.client, "k", &gone, 0, NULL, &err), -1);
	s3_env_expect(&err, STOW_INTERNAL, "s3: PutObject layers/k: the spool is gone");
	gone.sha256 = (struct digest){ .alg = DIGEST_SHA256, .len = 32 };
	assert_int_equal(s3_put(e.client, "k", &gone, 0, NULL, &err), -1);
	s3_env_expect(&err, STOW_INTERNAL, "the spool is gone");
	assert_int_equal(e.seen_n, 0);
	s3_env_end(&e);
}

/* --- options --- */

static void options_become_headers(void **state)
{
	char id[S3_UPLOAD_ID_MAX + 1];
	struct s3_env e;
	struct s3_object o;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	e.o.sse = S3_SSE_KMS;
	e.o.sse_kms_key = "arn:aws:kms:eu-west-1:1:key/2";
	e.o.sse_kms_context = "team=images";
	e.o.storage_class = "STANDARD_IA";
	e.o.request_payer = true;
	e.o.expected_owner = "111122223333";
	e.o.tags = "team=images,cost center=4 2";
	e.o.checksums = S3_CHECKSUMS_WHEN_SUPPORTED;
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK", .body = CREATED }, { .status = "200 OK" },
	       { .status = "200 OK", .headers = "Content-Length: 1\r\n", .head = true });
	assert_int_equal(s3_upload_create(e.client, "k", id, &err), 0);
	assert_int_equal(s3_put(e.client, "k", &abc, 0, &o, &err), 0);
	assert_int_equal(s3_head(e.client, "k", &o, &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		bool makes = i < 2;

		expect_header(&e, i, "x-amz-expected-bucket-owner", "111122223333");
		expect_header(&e, i, "x-amz-request-payer", "requester");
		expect_header(&e, i, "x-amz-server-side-encryption", makes ? "aws:kms" : "");
		expect_header(&e, i, "x-amz-server-side-encryption-aws-kms-key-id",
			      makes ? "arn:aws:kms:eu-west-1:1:key/2" : "");
		expect_header(&e, i, "x-amz-server-side-encryption-context",
			      makes ? "eyJ0ZWFtIjoiaW1hZ2VzIn0=" : "");
		expect_header(&e, i, "x-amz-storage-class", makes ? "STANDARD_IA" : "");
		expect_header(&e, i, "x-amz-tagging", makes ? "team=images&cost%20center=4%202" : "");
	}
	expect_header(&e, 0, "x-amz-checksum-algorithm", "SHA256");
	expect_header(&e, 1, "x-amz-checksum-sha256", ABC_64);
	s3_env_end(&e);
}

static void options_are_checked(void **state)
{
	const struct s3_creds_source none = { 0 };
	struct s3_client *c = NULL;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	e.o.accelerate = true;
	assert_int_equal(s3_client_new(&e.o, e.http, &none, &c, &err), -1);
	s3_env_expect(&err, STOW_INVALID_ARGUMENT, "an endpoint of one's own excludes accelerate");
	assert_null(c);
	s3_env_end(&e);
}

/* --- multipart uploads --- */

static void uploads_have_their_life(void **state)
{
	char id[S3_UPLOAD_ID_MAX + 1];
	struct s3_upload u = { "k", id };
	struct s3_part parts[2];
	struct s3_env e;
	struct s3_object o;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK", .body = CREATED },
	       { .status = "200 OK", .headers = "ETag: \"<1>\"\r\n" },
	       { .status = "200 OK", .headers = "ETag: \"2\"\r\n" },
	       { .status = "200 OK", .body = COMPLETED }, { .status = "204 No Content" });
	assert_int_equal(s3_upload_create(e.client, "k", id, &err), 0);
	assert_string_equal(id, "id 1");
	assert_int_equal(s3_upload_part(e.client, &u, 1, &abc, &parts[0], &err), 0);
	assert_int_equal(s3_upload_part(e.client, &u, 3, &abc, &parts[1], &err), 0);
	assert_int_equal(s3_upload_complete(e.client, &u, parts, 2, S3_IF_ABSENT, &o, &err), 0);
	assert_int_equal(o.size, 6);
	assert_string_equal(o.etag, "\"all-2\"");
	assert_int_equal(s3_upload_abort(e.client, &u, &err), 0);
	expect_line(&e, 0, "POST /layers/k?uploads=");
	expect_line(&e, 1, "PUT /layers/k?partNumber=1&uploadId=id%201");
	expect_line(&e, 3, "POST /layers/k?uploadId=id%201");
	expect_header(&e, 3, "If-None-Match", "*");
	assert_string_equal(s3_env_body(&e, 3),
			    "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
			    "<Part><PartNumber>1</PartNumber><ETag>&quot;&lt;1&gt;&quot;</ETag></Part>"
			    "<Part><PartNumber>3</PartNumber><ETag>&quot;2&quot;</ETag></Part>"
			    "</CompleteMultipartUpload>");
	expect_line(&e, 4, "DELETE /layers/k?uploadId=id%201");
	s3_env_end(&e);
}

static void parts_carry_checksums_where_wanted(void **state)
{
	struct s3_upload u = { "k", "id" };
	struct s3_part part;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	e.o.checksums = S3_CHECKSUMS_WHEN_SUPPORTED;
	s3_env_start(&e);
	/* What the server has is not what was sent; then it is; then it does not say. */
	SCRIPT(&e,
	       { .status = "200 OK",
		 .headers = "ETag: 1\r\nx-amz-checksum-sha256: "
			    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n" },
	       { .status = "200 OK", .headers = "ETag: 1\r\nx-amz-checksum-sha256: " ABC_64 "\r\n" },
	       { .status = "200 OK", .headers = "ETag: 1\r\n" }, { .status = "200 OK", .body = COMPLETED });
	assert_int_equal(s3_upload_part(e.client, &u, 1, &abc, &part, &err), 0);
	assert_int_equal(e.seen_n, 2);
	expect_header(&e, 0, "x-amz-checksum-sha256", ABC_64);
	assert_int_equal(s3_upload_part(e.client, &u, 1, &abc, &part, &err), 0);
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, NULL, &err), 0);
	assert_non_null(strstr(s3_env_body(&e, 3), "<ChecksumSHA256>" ABC_64 "</ChecksumSHA256></Part>"));

	SCRIPT(&e, { .status = "200 OK" });
	assert_int_equal(s3_upload_part(e.client, &u, 1, &abc, &part, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS, "part 1 was taken, but has no ETag");
	s3_env_end(&e);
}

static void completing_may_fail_with_200(void **state)
{
	static const struct s3_part part = { .number = 1, .size = 3, .etag = "1" };
	struct s3_upload u = { "k", "id" };
	struct s3_env e;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK", .body = "<?xml version=\"1.0\"?>\n\n" ERROR("InternalError") },
	       { .status = "200 OK", .body = "cut off <" }, { .status = "200 OK", .body = COMPLETED });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, NULL, &err), 0);
	assert_int_equal(e.seen_n, 3);
	SCRIPT(&e, { .status = "200 OK", .body = ERROR("AccessDenied") });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, NULL, &err), -1);
	s3_env_expect(&err, STOW_PERMISSION_DENIED, "s3: CompleteMultipartUpload layers/k: 200 AccessDenied");
	SCRIPT(&e, { .status = "200 OK", .body = ERROR("PreconditionFailed") });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, S3_IF_ABSENT, NULL, &err), -1);
	s3_env_expect(&err, STOW_ALREADY_EXISTS, "200 PreconditionFailed");
	SCRIPT(&e, { .status = "200 OK", .body = ERROR("InternalError") });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, NULL, &err), -1);
	s3_env_expect(&err, STOW_ABORTED, "200 InternalError");
	s3_env_end(&e);
}

static void lost_answers_to_complete_are_made_up_for(void **state)
{
	static const struct s3_part part = { .number = 1, .size = 3, .etag = "1" };
	static const struct s3_step gone = { .status = "404 Not Found", .body = ERROR("NoSuchUpload") };
	static const struct s3_step there = { .status = "200 OK",
					      .headers = "Content-Length: 3\r\nETag: \"x\"\r\n",
					      .head = true };
	struct s3_upload u = { "k", "id" };
	struct s3_env e;
	struct s3_object o;
	struct stow_err err;

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, gone, there);
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, &o, &err), 0);
	assert_int_equal(o.size, 3);
	assert_string_equal(o.etag, "\"x\"");
	SCRIPT(&e, gone, there);
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, S3_IF_ABSENT, &o, &err), -1);
	s3_env_expect(&err, STOW_ALREADY_EXISTS, "it is there already");
	/* Nothing there, or something else. */
	SCRIPT(&e, gone, { .status = "404 Not Found", .headers = "", .head = true, .after = ENV_CLOSE });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, &o, &err), -1);
	s3_env_expect(&err, STOW_NOT_FOUND, "NoSuchUpload");
	SCRIPT(&e, gone, { .status = "200 OK", .headers = "Content-Length: 4\r\n", .head = true });
	assert_int_equal(s3_upload_complete(e.client, &u, &part, 1, 0, &o, &err), -1);
	s3_env_expect(&err, STOW_NOT_FOUND, "NoSuchUpload");
	s3_env_end(&e);
}

struct sent {
	struct s3_op op;
	sem_t *done;
};

static void post(struct s3_op *op)
{
	(void)sem_post(CONTAINER_OF(op, struct sent, op)->done);
}

static void parts_go_side_by_side(void **state)
{
	enum { PARTS = 20 };
	struct s3_upload u = { "k", "id" };
	struct sent s[PARTS];
	struct s3_env e;
	sem_t done;

	(void)state;
	(void)sem_init(&done, 0, 0);
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "503 Slow" }, { .status = "500 Bad" },
	       { .status = "200 OK", .headers = "ETag: \"p\"\r\n", .delay_ms = 20 });
	for (unsigned i = 0; i < PARTS; i++) {
		s[i] = (struct sent){ { .done = post }, &done };
		s3_upload_part_start(e.client, &s[i].op, &u, i + 1, &abc);
	}
	for (unsigned i = 0; i < PARTS;)
		if (sem_wait(&done) == 0)
			i++;
	for (unsigned i = 0; i < PARTS; i++) {
		assert_int_equal(s[i].op.result, 0);
		assert_int_equal(s[i].op.part.number, i + 1);
		assert_int_equal(s[i].op.part.size, 3);
		assert_string_equal(s[i].op.part.etag, "\"p\"");
	}
	assert_int_equal(http_env_most(e.server), 4);
	assert_int_equal(e.seen_n, PARTS + 2);
	s3_env_end(&e);
	(void)sem_destroy(&done);
}

/* --- lists --- */

#define PAGE(more, entries) "<ListBucketResult>" more entries "</ListBucketResult>"
#define MORE(next) "<IsTruncated>true</IsTruncated><NextContinuationToken>" next "</NextContinuationToken>"
#define ENTRY(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"

static int see_key(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	(void)o;
	return buf_printf(arg, err, "%s ", key);
}

static void lists_go_on_page_by_page(void **state)
{
	CLEANUP(buf_free) struct buf seen;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 1000);
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK", .body = PAGE(MORE("t+1"), ENTRY("a") ENTRY("b")) },
	       { .status = "200 OK", .body = PAGE(MORE("t2"), "") },
	       { .status = "200 OK", .body = PAGE("", ENTRY("c")) });
	assert_int_equal(s3_list(e.client, "p/", "p/0", 0, see_key, &seen, &err), 0);
	assert_int_equal(seen.len, 6);
	assert_memory_equal(seen.p, "a b c ", 6);
	expect_line(&e, 0,
		    "GET /layers?encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F&start-after=p%2F0");
	expect_line(
		&e, 1,
		"GET "
		"/layers?continuation-token=t%2B1&encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F");
	assert_int_equal(e.seen_n, 3);

	/* No more than is wanted, whatever comes. */
	buf_reset(&seen);
	SCRIPT(&e, { .status = "200 OK", .body = PAGE(MORE("t1"), ENTRY("a") ENTRY("b")) });
	assert_int_equal(s3_list(e.client, "", NULL, 1, see_key, &seen, &err), 0);
	assert_int_equal(seen.len, 2);
	assert_int_equal(e.seen_n, 1);
	expect_line(&e, 0, "GET /layers?encoding-type=url&list-type=2&max-keys=1&prefix=");
	s3_env_end(&e);
}

/* Whether a key comes again, or there are none, and however long the circle is. */
static void lists_that_lead_in_circles_end(void **state)
{
	static const struct s3_step a = { .status = "200 OK", .body = PAGE(MORE("a"), "") };
	static const struct s3_step b = { .status = "200 OK", .body = PAGE(MORE("b"), "") };
	static const struct s3_step c = { .status = "200 OK", .body = PAGE(MORE("c"), "") };
	CLEANUP(buf_free) struct buf seen;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 1000);
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, a);
	assert_int_equal(s3_list(e.client, "", NULL, 0, see_key, &seen, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS,
		      "s3: ListObjectsV2 layers: its pages lead in a circle, to a again");
	assert_true(e.seen_n < 5);
	SCRIPT(&e, a, b, a, b, a, b, a, b, a, b, a, b);
	assert_int_equal(s3_list(e.client, "", NULL, 0, see_key, &seen, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS, "in a circle");
	SCRIPT(&e, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b);
	assert_int_equal(s3_list(e.client, "", NULL, 0, see_key, &seen, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS, "in a circle");
	assert_int_equal(seen.len, 0);

	SCRIPT(&e, { .status = "200 OK", .body = PAGE(MORE("1"), ENTRY("a") ENTRY("b")) },
	       { .status = "200 OK", .body = PAGE(MORE("2"), ENTRY("b") ENTRY("c")) });
	assert_int_equal(s3_list(e.client, "", NULL, 0, see_key, &seen, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS, "b comes after b: keys are expected to rise");
	assert_int_equal(seen.len, 4);
	s3_env_end(&e);
}

static int see_number(void *arg, const struct s3_part *p, struct stow_err *err)
{
	return buf_printf(arg, err, "%u ", p->number);
}

static int see_id(void *arg, const struct s3_upload *u, struct stow_err *err)
{
	return buf_printf(arg, err, "%s/%s ", u->key, u->id);
}

#define PART(n) "<Part><PartNumber>" n "</PartNumber><Size>1</Size><ETag>x</ETag></Part>"

static void parts_and_uploads_are_listed(void **state)
{
	struct s3_upload u = { "k", "i d" };
	CLEANUP(buf_free) struct buf seen;
	struct s3_env e;
	struct stow_err err;

	(void)state;
	buf_init(&seen, 1000);
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e,
	       { .status = "200 OK",
		 .body = "<ListPartsResult><IsTruncated>true</IsTruncated>"
			 "<NextPartNumberMarker>1</NextPartNumberMarker>" PART("1") "</ListPartsResult>" },
	       { .status = "200 OK", .body = "<ListPartsResult>" PART("2") "</ListPartsResult>" });
	assert_int_equal(s3_upload_parts(e.client, &u, see_number, &seen, &err), 0);
	assert_memory_equal(seen.p, "1 2 ", 4);
	expect_line(&e, 0, "GET /layers/k?max-parts=1000&uploadId=i%20d");
	expect_line(&e, 1, "GET /layers/k?max-parts=1000&part-number-marker=1&uploadId=i%20d");

	buf_reset(&seen);
	SCRIPT(&e,
	       { .status = "200 OK", .body = "<ListPartsResult>" PART("2") PART("2") "</ListPartsResult>" });
	assert_int_equal(s3_upload_parts(e.client, &u, see_number, &seen, &err), -1);
	s3_env_expect(&err, STOW_DATA_LOSS, "part 2 comes after 2: numbers are expected to rise");

	buf_reset(&seen);
	SCRIPT(&e,
	       { .status = "200 OK",
		 .body = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
			 "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>i</NextUploadIdMarker>"
			 "<Upload><Key>k</Key><UploadId>i</UploadId></Upload></ListMultipartUploadsResult>" },
	       { .status = "200 OK", .body = "<ListMultipartUploadsResult/>" });
	assert_int_equal(s3_uploads(e.client, "p", see_id, &seen, &err), 0);
	assert_memory_equal(seen.p, "k/i ", 4);
	expect_line(&e, 0, "GET /layers?encoding-type=url&max-uploads=1000&prefix=p&uploads=");
	expect_line(&e, 1,
		    "GET "
		    "/layers?encoding-type=url&key-marker=k&max-uploads=1000&prefix=p&upload-id-marker=i&"
		    "uploads=");

	SCRIPT(&e, { .status = "404 Not Found", .body = ERROR("NoSuchUpload") });
	assert_int_equal(s3_upload_parts(e.client, &u, see_number, &seen, &err), -1);
	s3_env_expect(&err, STOW_NOT_FOUND, "s3: ListParts layers/k: 404 NoSuchUpload");
	s3_env_end(&e);
}

static void urls_can_be_presigned(void **state)
{
	struct s3_env e;
	struct stow_err err;
	char url[1024], small[100];

	(void)state;
	s3_env_init(&e);
	s3_env_start(&e);
	SCRIPT(&e, { .status = "200 OK" });
	assert_int_equal(s3_presign(e.client, "a b", 60, url, sizeof(url), &err), 0);
	assert_int_equal(strncmp(url, e.endpoint, strlen(e.endpoint)), 0);
	assert_int_equal(strncmp(url + strlen(e.endpoint), "/layers/a%20b?X-Amz-Algorithm=", 30), 0);
	assert_non_null(strstr(url, "&X-Amz-Security-Token=old&"));
	assert_int_equal(s3_presign(e.client, "a b", 60, small, sizeof(small), &err), -1);
	s3_env_expect(&err, STOW_RESOURCE_EXHAUSTED, "");
	s3_env_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_put_and_looked_at),
		cmocka_unit_test(keys_have_limits),
		cmocka_unit_test(objects_that_are_shorter_are_out_of_range),
		cmocka_unit_test(bodies_that_cannot_be_read_are_not_sent),
		cmocka_unit_test(options_become_headers),
		cmocka_unit_test(options_are_checked),
		cmocka_unit_test(uploads_have_their_life),
		cmocka_unit_test(parts_carry_checksums_where_wanted),
		cmocka_unit_test(completing_may_fail_with_200),
		cmocka_unit_test(lost_answers_to_complete_are_made_up_for),
		cmocka_unit_test(parts_go_side_by_side),
		cmocka_unit_test(lists_go_on_page_by_page),
		cmocka_unit_test(lists_that_lead_in_circles_end),
		cmocka_unit_test(parts_and_uploads_are_listed),
		cmocka_unit_test(urls_can_be_presigned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
