/* The keys of [remote.s3]: their values, what AWS's variables say instead, what excludes what. */
#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/conf_env.h"

#include <stdio.h>

#define S3 "[remote]\ntype = 's3'\n[remote.s3]\nbucket = 'layers'\n"

static struct conf *load_text(const char *text, const char *const *environment)
{
	const struct conf_sources src = { .file = conf_env_file(), .environment = environment };
	conf_env_put("config.toml", text);
	return conf_env_load(&src);
}

static void no_remote_by_default(void **state)
{
	/* Variables for others do not matter to a local store, right or wrong. */
	const char *environment[] = { "AWS_ENDPOINT_URL=nonsense", "AWS_REGION=eu-west-1", NULL };
	(void)state;
	CLEANUP(conf_freep)
	struct conf *c = conf_env_load(&(struct conf_sources){ .environment = environment });
	assert_int_equal(c->remote.type, CONF_REMOTE_NONE);
	assert_string_equal(c->remote.s3.region, "");
}

static void defaults(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(S3, NULL);
	assert_int_equal(c->remote.type, CONF_REMOTE_S3);
	assert_string_equal(c->remote.s3.bucket, "layers");
	assert_string_equal(c->remote.s3.endpoint, "");
	assert_int_equal(c->remote.s3.addressing, CONF_S3_ADDRESSING_AUTO);
	assert_int_equal(c->remote.s3.sse, CONF_S3_SSE_BUCKET);
	assert_int_equal(c->remote.s3.checksums, CONF_S3_CHECKSUMS_WHEN_REQUIRED);
	assert_false(c->remote.s3.dual_stack || c->remote.s3.fips || c->remote.s3.accelerate);
	assert_false(c->remote.s3.http2);
	assert_false(c->remote.s3.request_payer);
	assert_int_equal(c->remote.s3.small_blob, 8 << 20);
	assert_int_equal(c->remote.s3.part_size, 16 << 20);
	assert_int_equal(c->remote.s3.upload_concurrency, 4);
	assert_int_equal(c->remote.s3.read_memory, 64 << 20);
	assert_int_equal(c->remote.s3.connections, 32);
	assert_int_equal(c->remote.s3.connect_timeout, 5 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.first_byte_timeout, 30 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.stall_timeout, 30 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.request_timeout, 600 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.max_attempts, 4);
}

static const char every_key[] =
	"[remote]\ntype = 's3'\n[remote.s3]\nendpoint = 'https://s3.example.com:9000/'\nregion = "
	"'eu-north-1'\n"
	"bucket = 'my.bucket-1'\nprefix = 'fleet-a/x/'\naddressing = 'path'\naccess_key = 'AKIA'\n"
	"secret_key = 's3cr3t'\nsession_token = 't0k3n'\nca_file = '/ca.pem'\nproxy = 'http://[::1]:3128'\n"
	"user_agent = 'fleet/1 (a)'\nsse = 'aws:kms'\nsse_kms_key = 'arn:aws:kms:eu-north-1:1:key/a-b'\n"
	"sse_kms_context = 'team=infra,env=a=b'\nstorage_class = 'STANDARD_IA'\nrequest_payer = true\n"
	"expected_owner = '012345678901'\ntags = 'a=b c,d='\nchecksums = 'when_supported'\n"
	"small_blob = '1MiB'\npart_size = '5MiB'\nupload_concurrency = 8\nread_memory = '16MiB'\nconnections "
	"= 9\n"
	"connect_timeout = '1s'\nfirst_byte_timeout = '2s'\nstall_timeout = '3s'\nrequest_timeout = '4s'\n"
	"max_attempts = 1\n";

static void every_key_is_read(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(every_key, NULL);
	assert_string_equal(c->remote.s3.endpoint, "https://s3.example.com:9000");
	assert_string_equal(c->remote.s3.region, "eu-north-1");
	assert_string_equal(c->remote.s3.bucket, "my.bucket-1");
	assert_string_equal(c->remote.s3.prefix, "fleet-a/x");
	assert_int_equal(c->remote.s3.addressing, CONF_S3_ADDRESSING_PATH);
	assert_string_equal(c->remote.s3.access_key, "AKIA");
	assert_string_equal(c->remote.s3.secret_key, "s3cr3t");
	assert_string_equal(c->remote.s3.session_token, "t0k3n");
	assert_string_equal(c->remote.s3.ca_file, "/ca.pem");
	assert_string_equal(c->remote.s3.proxy, "http://[::1]:3128");
	assert_string_equal(c->remote.s3.user_agent, "fleet/1 (a)");
	assert_int_equal(c->remote.s3.sse, CONF_S3_SSE_KMS);
	assert_string_equal(c->remote.s3.sse_kms_key, "arn:aws:kms:eu-north-1:1:key/a-b");
	assert_string_equal(c->remote.s3.sse_kms_context, "team=infra,env=a=b");
	assert_string_equal(c->remote.s3.storage_class, "STANDARD_IA");
	assert_true(c->remote.s3.request_payer);
	assert_string_equal(c->remote.s3.expected_owner, "012345678901");
	assert_string_equal(c->remote.s3.tags, "a=b c,d=");
	assert_int_equal(c->remote.s3.checksums, CONF_S3_CHECKSUMS_WHEN_SUPPORTED);
	assert_int_equal(c->remote.s3.small_blob, 1 << 20);
	assert_int_equal(c->remote.s3.part_size, 5 << 20);
	assert_int_equal(c->remote.s3.upload_concurrency, 8);
	assert_int_equal(c->remote.s3.read_memory, 16 << 20);
	assert_int_equal(c->remote.s3.connections, 9);
	assert_int_equal(c->remote.s3.connect_timeout, 1 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.first_byte_timeout, 2 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.stall_timeout, 3 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.request_timeout, 4 * NSEC_PER_SEC);
	assert_int_equal(c->remote.s3.max_attempts, 1);
}

static void the_other_way_to_credentials(void **state)
{
	(void)state;
	CLEANUP(conf_freep)
	struct conf *files = load_text(
		S3 "access_key_file = '/a'\nsecret_key_file = '/b'\nsession_token_file = '/c'\n", NULL);
	assert_string_equal(files->remote.s3.access_key_file, "/a");
	assert_string_equal(files->remote.s3.secret_key_file, "/b");
	assert_string_equal(files->remote.s3.session_token_file, "/c");
	CLEANUP(conf_freep) struct conf *profile = load_text(S3 "profile = 'of the fleet'\n", NULL);
	assert_string_equal(profile->remote.s3.profile, "of the fleet");
}

static void aws_variables(void **state)
{
	const char *environment[] = {
		"AWS_DEFAULT_REGION=us-west-2",
		"AWS_REGION=eu-west-1",
		"AWS_ENDPOINT_URL=http://other:9000",
		"AWS_ENDPOINT_URL_S3=http://s3:9000/",
		"AWS_CA_BUNDLE=/bundle.pem",
		"AWS_REQUEST_CHECKSUM_CALCULATION=WHEN_SUPPORTED",
		"AWS_MAX_ATTEMPTS=7",
		"AWS_USE_DUALSTACK_ENDPOINT=",
		"AWS_ACCESS_KEY_ID=none-of-the-configuration",
		NULL,
	};
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(S3, environment);
	assert_string_equal(c->remote.s3.region, "eu-west-1");
	assert_string_equal(c->remote.s3.endpoint, "http://s3:9000");
	assert_string_equal(c->remote.s3.ca_file, "/bundle.pem");
	assert_int_equal(c->remote.s3.checksums, CONF_S3_CHECKSUMS_WHEN_SUPPORTED);
	assert_int_equal(c->remote.s3.max_attempts, 7);
	assert_string_equal(c->remote.s3.access_key, "");

	/* The configuration wins, also where it says what the default is. */
	CLEANUP(conf_freep)
	struct conf *own = load_text(S3 "region = 'mine'\nendpoint = 'http://mine'\n"
					"checksums = 'when_required'\nmax_attempts = 4\n",
				     environment);
	assert_string_equal(own->remote.s3.region, "mine");
	assert_string_equal(own->remote.s3.endpoint, "http://mine");
	assert_int_equal(own->remote.s3.checksums, CONF_S3_CHECKSUMS_WHEN_REQUIRED);
	assert_int_equal(own->remote.s3.max_attempts, 4);
	assert_string_equal(own->remote.s3.ca_file, "/bundle.pem");
}

static void aws_variables_that_stand_alone(void **state)
{
	const char *second[] = { "AWS_DEFAULT_REGION=us-west-2", "AWS_REGION=", "AWS_ENDPOINT_URL=http://a",
				 NULL };
	const char *ignored[] = { "AWS_ENDPOINT_URL=http://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=True",
				  "AWS_USE_DUALSTACK_ENDPOINT=TRUE", "AWS_USE_FIPS_ENDPOINT=true", NULL };
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(S3, second);
	assert_string_equal(c->remote.s3.region, "us-west-2");
	assert_string_equal(c->remote.s3.endpoint, "http://a");
	CLEANUP(conf_freep) struct conf *none = load_text(S3, ignored);
	assert_string_equal(none->remote.s3.endpoint, "");
	assert_true(none->remote.s3.dual_stack && none->remote.s3.fips);
}

static void wrong_aws_variables(void **state)
{
	const char *environment[] = { "AWS_ENDPOINT_URL=http://a/b", "AWS_MAX_ATTEMPTS=0",
				      "AWS_USE_FIPS_ENDPOINT=maybe", "AWS_REQUEST_CHECKSUM_CALCULATION=Never",
				      NULL };
	static const char *const lines[] = {
		("environment AWS_ENDPOINT_URL: remote.s3.endpoint: \"http://a/b\" has a path, expected a "
		 "URL "
		 "such as \"https://s3.example.com:9000\""),
		("environment AWS_REQUEST_CHECKSUM_CALCULATION: remote.s3.checksums: \"never\" is not a use "
		 "of "
		 "checksums, expected when_required or when_supported"),
		("environment AWS_USE_FIPS_ENDPOINT: remote.s3.fips: \"maybe\" is not a boolean, expected "
		 "true "
		 "or false"),
		("environment AWS_MAX_ATTEMPTS: remote.s3.max_attempts: 0 is out of range, expected 1 to "
		 "100"),
	};
	struct conf_errors errors;
	(void)state;
	conf_env_put("config.toml", S3);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file(), .environment = environment },
			&errors);
	conf_env_expect(&errors, lines, ARRAY_LEN(lines));
}

static void values_that_exclude_each_other(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "remote.type = 's3'", "remote.s3.bucket: is not set, and remote.type = \"s3\" needs it" },
		{ "remote.s3.bucket = 'abc'",
		  "remote.type: is not set, and remote.s3.bucket is: expected s3" },
		{ S3 "access_key = 'a'",
		  "remote.s3.access_key: is set, and secret_key is not: both or none" },
		{ S3 "secret_key_file = '/a'",
		  "remote.s3.secret_key: is set, and access_key is not: both or none" },
		{ S3 "session_token = 'a'",
		  "remote.s3.session_token: belongs to an access_key, and there is none" },
		{ S3 "access_key = 'a'\nsecret_key = 'b'\nsecret_key_file = '/c'",
		  "remote.s3.secret_key: there is also secret_key_file, expected one of them" },
		{ S3 "access_key = 'a'\nsecret_key = 'b'\nprofile = 'c'",
		  "remote.s3.profile: there are keys too, expected one or the other" },
		{ S3 "sse_kms_key = 'a'", "remote.s3.sse_kms_key: needs sse = \"aws:kms\", and sse is \"\"" },
		{ S3 "sse = 'AES256'\nsse_kms_context = 'a=b'",
		  "remote.s3.sse_kms_context: needs sse = \"aws:kms\", and sse is \"AES256\"" },
		{ S3 "endpoint = 'http://a'\nfips = true",
		  "remote.s3.fips: is for AWS's own endpoints, and there is an endpoint, http://a" },
		{ S3 "endpoint = 'http://127.0.0.1:1'\naddressing = 'virtual'",
		  "remote.s3.addressing: virtual puts the bucket before the endpoint's name, and "
		  "http://127.0.0.1:1 has an address" },
		{ S3 "endpoint = 'http://[::1]'\naddressing = 'virtual'",
		  "remote.s3.addressing: virtual puts the bucket before the endpoint's name, and "
		  "http://[::1] has an address" },
		{ S3 "accelerate = true\nfips = true",
		  "remote.s3.accelerate: AWS has no such endpoints with fips" },
		{ S3 "accelerate = true\naddressing = 'path'",
		  "remote.s3.accelerate: needs virtual addressing" },
		{ "[remote]\ntype = 's3'\ns3.bucket = 'a.b'\ns3.accelerate = true",
		  "remote.s3.accelerate: needs a bucket without dots in its name" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
	/* And what only looks like it. */
	conf_free(
		load_text(S3 "sse = 'aws:kms:dsse'\nsse_kms_key = 'alias/a'\nsse_kms_context = 'a=b'", NULL));
	conf_free(load_text(S3 "endpoint = 'http://127.0.0.1.example'\naddressing = 'virtual'", NULL));
	conf_free(load_text(S3 "accelerate = true\ndual_stack = true", NULL));
}

static void wrong_values(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "remote.type = 'gcs'",
		  "config.toml:1: remote.type: \"gcs\" is not a type of remote, expected \"\" or s3" },
		{ S3 "addressing = 'dns'", "config.toml:5: remote.s3.addressing: \"dns\" is not a form of "
					   "address, expected auto, path or virtual" },
		{ S3 "request_payer = 'true'",
		  "config.toml:5: remote.s3.request_payer: expected a boolean, found a string" },
		{ S3 "part_size = '4MiB'",
		  "config.toml:5: remote.s3.part_size: 4MiB is out of range, expected 5MiB to 5GiB" },
		{ S3 "buckt = 'a'",
		  "config.toml:5: remote.s3.buckt: unknown key, did you mean \"remote.s3.bucket\"?" },
		{ "[s3]\nbucket = 'a'", "config.toml:1: s3: unknown key, did you mean \"remote.s3\"?" },
		{ "bucket = 'a'", "config.toml:1: bucket: unknown key, did you mean \"remote.s3.bucket\"?" },
		/* Secrets do not show up in what is wrong with them. */
		{ S3 "secret_key = 'top secret'",
		  "config.toml:5: remote.s3.secret_key: the value has a blank, a "
		  "control character or a letter beyond ASCII in it" },
		{ S3 "proxy = 'http://me:pass@proxy:1'",
		  "config.toml:5: remote.s3.proxy: the URL has a user in it, expected a URL such as "
		  "\"http://proxy:3128\", or direct (a proxy's user and password stand in $https_proxy)" },
		{ S3 "bucket2 = 1\nsecret_key = 'a'",
		  "config.toml:5: remote.s3.bucket2: unknown key, did you mean \"remote.s3.bucket\"?" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
}

/* Many keys: the list of them is cut, not the line. */
static void a_long_list_of_keys_is_cut(void **state)
{
	char hint[CONF_HINT_MAX];
	(void)state;
	conf_key_hint(&conf_table_main, "remote.s3.zzzzzzzzzzzz", hint);
	assert_memory_equal(hint, ", expected one of endpoint, region, bucket,", 43);
	assert_int_equal(strlen(hint), CONF_HINT_MAX - 1);
	assert_string_equal(hint + strlen(hint) - 3, "...");
}

typedef int parse(const char *s, char **ret_s, struct stow_err *err);

/* The good ones come out as given, or as what follows them after a "|". */
static void try(parse *p, const char *const *good, const char *const *bad)
{
	struct stow_err err;
	for (; *good; good++) {
		char text[128];
		snprintf(text, sizeof(text), "%s", *good);
		char *bar = strchr(text, '|');
		if (bar)
			*bar++ = 0;
		CLEANUP(freep) char *s = NULL;
		if (p(text, &s, &err) < 0)
			fail_msg("%s: %s", text, err.msg);
		assert_string_equal(s, bar ? bar : text);
	}
	for (; *bad; bad++) {
		char *s = NULL;
		if (p(*bad, &s, &err) == 0)
			fail_msg("%s was taken", *bad);
		assert_null(s);
		assert_true(err.code == STOW_INVALID_ARGUMENT || err.code == STOW_OUT_OF_RANGE);
	}
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void texts(void **state)
{
	(void)state;
	try(conf_parse_endpoint,
	    LIST("http://a", "https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:7480",
		 "http://a:1/|http://a:1", "https://[fd00::1]", "https://[fd00::1]:443", "http://a_b.c.",
		 "http://A:65535"),
	    LIST("", "a", "s3.example.com", "ftp://a", "HTTP://a", "http://", "https:///",
		 "http://a:", "http://a:0", "http://a:65536", "http://a:1x", "http://a//", "http://a/b",
		 "http://a?b", "http://a#b", "http://u@a", "http://u:p@a", "http://a b", "http://[::1",
		 "http://[x]", "http://[]", "http://-a", "http://a-", "http://.a", "http://a..b",
		 "http://\xc3\xa4", "http://[::1]x:1"));
	try(conf_parse_proxy, LIST("direct", "http://proxy:3128"),
	    LIST("", "none", "proxy:3128", "socks5://a"));
	try(conf_parse_bucket, LIST("abc", "a-b.c", "123", "0a0"),
	    LIST("", "ab", "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "a/b", "192.168.1.1", A64));
	try(conf_parse_prefix, LIST("a", "a/b/|a/b", "fleet-a", "(a)!_.*'", "..a", "a./b"),
	    LIST("", "/", "/a", "a//b", "a//", ".", "..", "a/../b", "a/.", "a b", "a?b", "a%b", "\xc3\xa4",
		 A64 A64 A64 A64 A64 A64 A64 A64 "a"));
	try(conf_parse_region, LIST("us-east-1", "default", "US_1"), LIST("", "eu west", "a.b", "a/b", A64));
	try(conf_parse_account, LIST("012345678901"),
	    LIST("", "01234567890", "0123456789012", "01234567890a"));
	try(conf_parse_storage_class, LIST("STANDARD", "GLACIER_IR", "hot-1"),
	    LIST("", "A B", "a:b", A64 "a"));
	try(conf_parse_kms_key, LIST("alias/a", "1234abcd-12ab", "arn:aws:kms:a:1:key/b"),
	    LIST("", "a b", "a\nb"));
	try(conf_parse_ascii, LIST("a b/1.0 (x)", "~"), LIST("a\tb", "a\x7f", "\xc3\xa4"));
	try(conf_parse_secret, LIST("wJalr/+=", "!~"), LIST("a b", "a\n", "\xc3\xa4", "\x7f"));
	try(conf_parse_pairs, LIST("a=b", "a=", "a=b,c=d", "a=b=c", "a b=c d", "a=b,ab=c"),
	    LIST("", "a", "=b", ",", "a=b,", ",a=b", "a=b,,c=d", "a=b,a=c", "aws:a=b", "AWS:a=b", "a=b;c=d",
		 "a=\n", "1=,2=,3=,4=,5=,6=,7=,8=,9=,10=,11=", A64 A64 "a=b", "a=" A64 A64 A64 A64 "a"));
}

static void dump_hides_secrets(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(every_key, NULL);
	CLEANUP(freep) char *text = conf_dump(c);
	assert_null(strstr(text, "s3cr3t"));
	assert_null(strstr(text, "t0k3n"));
	assert_non_null(strstr(text, "\n# secret_key is set, and not shown\n"));
	assert_non_null(strstr(text, "\n# session_token is set, and not shown\n"));
	assert_non_null(strstr(text, "\naccess_key = \"AKIA\"\n"));
	assert_non_null(strstr(text, "\nrequest_payer = true\n"));
	assert_non_null(strstr(text, "\nsse = \"aws:kms\"\n"));

	/* What it says reads back; and what it does not say is missed. */
	conf_env_expect_error(text, "remote.s3.access_key: is set, and secret_key is not: both or none");
	char *line = strstr(text, "# secret_key is");
	memcpy(line, "secret_key = 'ab' #", 19);
	CLEANUP(conf_freep) struct conf *again = load_text(text, NULL);
	assert_string_equal(again->remote.s3.secret_key, "ab");
	assert_string_equal(again->remote.s3.prefix, "fleet-a/x");
	assert_int_equal(again->remote.s3.stall_timeout, 3 * NSEC_PER_SEC);
	assert_true(again->remote.s3.request_payer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_remote_by_default),
		CONF_TEST(defaults),
		CONF_TEST(every_key_is_read),
		CONF_TEST(the_other_way_to_credentials),
		CONF_TEST(aws_variables),
		CONF_TEST(aws_variables_that_stand_alone),
		CONF_TEST(wrong_aws_variables),
		CONF_TEST(values_that_exclude_each_other),
		CONF_TEST(wrong_values),
		cmocka_unit_test(a_long_list_of_keys_is_cut),
		cmocka_unit_test(texts),
		CONF_TEST(dump_hides_secrets),
	};
	return cmocka_run_group_tests_name("conf_s3", tests, NULL, NULL);
}
