/* Signatures that others have published: AWS's signing test suite (as of aws-c-auth, Apache-2.0; each
 * case with its name there, those that normalise a path left out, for S3 does not), and the examples of
 * "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API Reference. */
#include "backends/s3/sigv4.h"
#include "content/base/clock.h"
#include "content/base/hash.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ALNUM "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define TOKEN "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
#define FORM "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"

struct vector {
	const char *name, *method, *path; /* the path as it is before it is encoded */
	struct sigv4_pair query[4], headers[5];
	const char *token, *payload;
	const char *by_header, *by_query; /* the signatures */
};

static const struct vector vectors[] = {
	{ .name = "get-vanilla",
	  .by_header = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
	  .by_query = "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d" },
	{ .name = "get-vanilla-empty-query-key",
	  .query = { { "Param1", "value1" } },
	  .by_header = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
	  .by_query = "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de" },
	{ .name = "get-vanilla-query-order-key-case",
	  .query = { { "Param2", "value2" }, { "Param1", "value1" } },
	  .by_header = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
	  .by_query = "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5" },
	{ .name = "get-vanilla-query-order-encoded",
	  .query = { { "Param-3", "Value3" }, { "Param", "Value2" }, { "\u1234", "Value1" } },
	  .by_header = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
	  .by_query = "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787" },
	{ .name = "get-vanilla-query-unreserved",
	  .query = { { ALNUM, ALNUM } },
	  .by_header = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
	  .by_query = "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf" },
	{ .name = "get-vanilla-utf8-query",
	  .query = { { "\u1234", "bar" } },
	  .by_header = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
	  .by_query = "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600" },
	{ .name = "get-unreserved",
	  .path = "/" ALNUM,
	  .by_header = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
	  .by_query = "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005" },
	{ .name = "get-utf8",
	  .path = "/\u1234",
	  .by_header = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
	  .by_query = "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44" },
	{ .name = "get-space-unnormalized",
	  .path = "/example space/",
	  .by_header = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
	  .by_query = "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6" },
	{ .name = "get-slashes-unnormalized",
	  .path = "//example//",
	  .by_header = "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
	  .by_query = "822a5a9ba28072c5ab2bb4a6307d0c88276d40e49fec6b724c03fb4d4ba60fc2" },
	{ .name = "get-slash-dot-slash-unnormalized",
	  .path = "/./",
	  .by_header = "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145",
	  .by_query = "a9b13e8f3484d9505bf1a6f347219f8f35b0fe8f128ceea597efc146a3dfe90c" },
	{ .name = "get-relative-unnormalized",
	  .path = "/example/..",
	  .by_header = "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282",
	  .by_query = "cbcb213b928a077e43275df47b500f1dfaa864ab3f5a18f6b95f4ff0938167ee" },
	{ .name = "get-relative-relative-unnormalized",
	  .path = "/example1/example2/../..",
	  .by_header = "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b",
	  .by_query = "b45db0bfd1cf15003493b733e33aa208dd981bd0e63037a6ed953f71d2118a16" },
	{ .name = "get-header-key-duplicate",
	  .headers = { { "My-Header1", "value2" }, { "My-Header1", "value2" }, { "My-Header1", "value1" } },
	  .by_header = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
	  .by_query = "3349ee0b81b4b589da0ff28a395c3591e04de515651dd74f298fa992d1507a97" },
	{ .name = "get-header-value-order",
	  .headers = { { "My-Header1", "value4" },
		       { "My-Header1", "value1" },
		       { "My-Header1", "value3" },
		       { "My-Header1", "value2" } },
	  .by_header = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
	  .by_query = "313720e71ca6202fdcfa9b20f88de01a4eb0638a83c833b1c184359a4eda864e" },
	{ .name = "get-header-value-trim",
	  .headers = { { "My-Header1", " value1" }, { "My-Header2", " \"a   b   c\" " } },
	  .by_header = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
	  .by_query = "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4" },
	{ .name = "get-header-value-multiline",
	  .headers = { { "My-Header1", "value1\n  value2\n     value3" } },
	  .by_header = "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
	  .by_query = "e6f5def831211aca02987a44b96826706278c7bc078112ae0263659c5b2f2d56" },
	{ .name = "post-header-key-sort",
	  .method = "POST",
	  .headers = { { "My-Header1", "value1" } },
	  .by_header = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
	  .by_query = "c09d07e0d55871f10f2a6d350d994acf6825a3cae70673d7def55616e6119dd7" },
	{ .name = "post-x-www-form-urlencoded",
	  .method = "POST",
	  .headers = { { "Content-Type", "application/x-www-form-urlencoded" },
		       { "Content-Length", "13" },
		       { "x-amz-content-sha256", FORM } },
	  .payload = FORM,
	  .by_header = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b" },
	{ .name = "get-vanilla-with-session-token",
	  .token = TOKEN,
	  .by_header = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
	  .by_query = "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c" },
};

/* 2015-08-30T12:36:00Z and 2013-05-24T00:00:00Z */
#define SUITE_TIME (INT64_C(1440938160) * NSEC_PER_SEC)
#define S3_TIME (INT64_C(1369353600) * NSEC_PER_SEC)

static bool ends_with(const struct buf *b, const char *s)
{
	size_t n = strlen(s);

	return b->len >= n && memcmp(b->p + b->len - n, s, n) == 0;
}

static size_t count(const struct sigv4_pair *p, size_t max)
{
	size_t n = 0;

	while (n < max && p[n].name != NULL)
		n++;
	return n;
}

static void check_vector(const struct vector *v)
{
	CLEANUP(buf_free) struct buf path, header, query;
	struct sigv4_pair headers[ARRAY_LEN(v->headers) + 1] = { { "Host", "example.amazonaws.com" } };
	struct sigv4_key key = { "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", v->token };
	struct sigv4_request r = { .method = v->method != NULL ? v->method : "GET",
				   .query = v->query,
				   .query_n = count(v->query, ARRAY_LEN(v->query)),
				   .headers = headers,
				   .headers_n = 1 + count(v->headers, ARRAY_LEN(v->headers)),
				   .payload = v->payload != NULL ? v->payload : EMPTY,
				   .region = "us-east-1",
				   .service = "service",
				   .time_ns = SUITE_TIME };
	struct stow_err err;

	buf_init(&path, 1024);
	buf_init(&header, 4096);
	buf_init(&query, 4096);
	memcpy(headers + 1, v->headers, sizeof(v->headers));
	assert_int_equal(sigv4_encode(&path, v->path != NULL ? v->path : "/", true, &err), 0);
	assert_int_equal(buf_append(&path, "", 1, &err), 0);
	r.path = (const char *)path.p;
	assert_int_equal(sigv4_authorization(&r, &key, &header, &err), 0);
	assert_int_equal(sigv4_presign(&r, &key, 3600, &query, &err), 0);
	if (!ends_with(&header, v->by_header) || (v->by_query != NULL && !ends_with(&query, v->by_query)))
		fail_msg("%s: %.*s\n%.*s", v->name, (int)header.len, (char *)header.p, (int)query.len,
			 (char *)query.p);
}

static void sigv4_matches_the_published_suite(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		check_vector(&vectors[i]);
}

static const struct sigv4_key s3_key = { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
					 NULL };

static void check_s3(const struct sigv4_request *r, const char *names, const char *signature)
{
	CLEANUP(freep)
	char *want = x_asprintf("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
				"aws4_request, SignedHeaders=%s, Signature=%s",
				names, signature);
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, 4096);
	assert_int_equal(sigv4_authorization(r, &s3_key, &b, &err), 0);
	assert_int_equal(buf_append(&b, "", 1, &err), 0);
	assert_string_equal((char *)b.p, want);
}

#define S3_REQUEST .region = "us-east-1", .service = "s3", .time_ns = S3_TIME
#define HEADERS(h) .headers = (h), .headers_n = ARRAY_LEN(h)

static void sigv4_matches_s3s_own_examples(void **state)
{
	static const char put_hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	const struct sigv4_pair get[] = { { "Host", "examplebucket.s3.amazonaws.com" },
					  { "Range", "bytes=0-9" },
					  { "x-amz-content-sha256", EMPTY } };
	const struct sigv4_pair put[] = { { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
					  { "Date", "Fri, 24 May 2013 00:00:00 GMT" },
					  { "Host", "examplebucket.s3.amazonaws.com" },
					  { "x-amz-content-sha256", put_hash } };
	const struct sigv4_pair plain[] = { { "Host", "examplebucket.s3.amazonaws.com" },
					    { "x-amz-content-sha256", EMPTY } };
	const struct sigv4_pair lifecycle[] = { { "lifecycle", NULL } };
	const struct sigv4_pair list[] = { { "prefix", "J" }, { "max-keys", "2" } };

	(void)state;
	check_s3(&(struct sigv4_request){ S3_REQUEST, .method = "GET", .path = "/test.txt", HEADERS(get),
					  .payload = EMPTY },
		 "host;range;x-amz-content-sha256;x-amz-date",
		 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	check_s3(&(struct sigv4_request){ S3_REQUEST, .method = "PUT", .path = "/test%24file.text",
					  HEADERS(put), .payload = put_hash },
		 "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	check_s3(&(struct sigv4_request){ S3_REQUEST, .method = "GET", .path = "/", HEADERS(plain),
					  .query = lifecycle, .query_n = 1, .payload = EMPTY },
		 "host;x-amz-content-sha256;x-amz-date",
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	check_s3(&(struct sigv4_request){ S3_REQUEST, .method = "GET", .path = "/", HEADERS(plain),
					  .query = list, .query_n = 2, .payload = EMPTY },
		 "host;x-amz-content-sha256;x-amz-date",
		 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void sigv4_presigns_s3s_own_example(void **state)
{
	const struct sigv4_pair host[] = { { "host", "examplebucket.s3.amazonaws.com" } };
	struct sigv4_request r = { S3_REQUEST, .method = "GET", .path = "/test.txt", HEADERS(host),
				   .payload = SIGV4_UNSIGNED };
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(sigv4_presign(&r, &s3_key, 86400, &b, &err), 0);
	assert_int_equal(buf_append(&b, "", 1, &err), 0);
	assert_string_equal(
		(char *)b.p,
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-"
		"1"
		"%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders="
		"host"
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

/* The texts in between, which a server shows in its SignatureDoesNotMatch. */
static void sigv4_shows_what_is_signed(void **state)
{
	const struct sigv4_pair plain[] = { { "Host", "examplebucket.s3.amazonaws.com" },
					    { "x-amz-content-sha256", EMPTY } };
	const struct sigv4_pair list[] = { { "prefix", "J" }, { "max-keys", "2" } };
	struct sigv4_request r = { S3_REQUEST,    .method = "GET", .path = "/",     HEADERS(plain),
				   .query = list, .query_n = 2,    .payload = EMPTY };
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(sigv4_canonical(&r, &s3_key, &b, &err), 0);
	assert_int_equal(buf_append(&b, "", 1, &err), 0);
	assert_string_equal((char *)b.p, "GET\n/\nmax-keys=2&prefix=J\nhost:examplebucket.s3.amazonaws.com\n"
					 "x-amz-content-sha256:" EMPTY "\nx-amz-date:20130524T000000Z\n\n"
					 "host;x-amz-content-sha256;x-amz-date\n" EMPTY);
	buf_reset(&b);
	assert_int_equal(sigv4_string_to_sign(&r, &s3_key, &b, &err), 0);
	assert_int_equal(buf_append(&b, "", 1, &err), 0);
	assert_string_equal((char *)b.p,
			    "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
			    "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7");
}

static void sigv4_encodes_bytes_not_characters(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	char all[257];

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(sigv4_encode(&b, "a b+c/d%20=&\xff~", true, &err), 0);
	assert_int_equal(sigv4_encode(&b, "/", false, &err), 0);
	assert_int_equal(buf_append(&b, "", 1, &err), 0);
	assert_string_equal((char *)b.p, "a%20b%2Bc/d%2520%3D%26%FF~%2F");

	/* 66 of all 255 bytes stay as they are. */
	for (int i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	all[255] = '\0';
	buf_reset(&b);
	assert_int_equal(sigv4_encode(&b, all, false, &err), 0);
	assert_int_equal(b.len, 66 + 3 * (255 - 66));
}

static void sigv4_stops_at_the_buffers_cap(void **state)
{
	const struct sigv4_pair host[] = { { "host", "h" } };
	struct sigv4_request r = { S3_REQUEST, .method = "GET", .path = "/", HEADERS(host),
				   .payload = EMPTY };
	struct stow_err err;

	(void)state;
	for (size_t max = 0; max < 200; max++) {
		CLEANUP(buf_free) struct buf b;

		buf_init(&b, max);
		if (sigv4_authorization(&r, &s3_key, &b, &err) == 0)
			return;
		assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
		assert_int_equal(b.len, 0);
	}
	fail_msg("no cap was enough");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sigv4_matches_the_published_suite),
		cmocka_unit_test(sigv4_matches_s3s_own_examples),
		cmocka_unit_test(sigv4_presigns_s3s_own_example),
		cmocka_unit_test(sigv4_shows_what_is_signed),
		cmocka_unit_test(sigv4_encodes_bytes_not_characters),
		cmocka_unit_test(sigv4_stops_at_the_buffers_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
