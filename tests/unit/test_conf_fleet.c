/* The keys of a fleet, and the places to read from ([[source]]): values, what excludes what, the dump. */
#include "conf/conf_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/conf_env.h"

#include <stdio.h>

#define REMOTE "[remote]\ntype = 's3'\ns3.bucket = 'layers'\n"
#define DIRECT REMOTE "mode = 'direct'\n"
#define DIR "[[source]]\ntype = 'dir'\npath = '/a'\n"
#define GIB (INT64_C(1) << 30)

static struct conf *load_text(const char *text)
{
	conf_env_put("config.toml", text);
	return conf_env_load(&(struct conf_sources){ .file = conf_env_file() });
}

static void defaults(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(REMOTE);
	assert_true(conf_is_tiered(c));
	assert_int_equal(c->remote.mode, CONF_MODE_TIERED);
	assert_int_equal(c->local.max_size.bytes, 0);
	assert_int_equal(c->local.max_size.percent, 0);
	assert_int_equal(c->local.min_free.bytes, 0);
	assert_int_equal(c->local.min_free.percent, 5);
	assert_int_equal(c->remote.commit_wait, 0);
	assert_int_equal(c->remote.info_timeout, 500 * NSEC_PER_MSEC);
	assert_int_equal(c->remote.owner, CONF_OWNER_SHARED);
	assert_int_equal(c->remote.uploads, 2);
	assert_int_equal(c->remote.upload_bandwidth, 0);
	assert_int_equal(c->remote.prefetch, 4);
	assert_int_equal(c->remote.claim_interval, 60 * NSEC_PER_SEC);
	assert_int_equal(c->remote.claim_grace, 7 * 24 * 3600 * NSEC_PER_SEC);
	assert_int_equal(c->remote.recheck_every, 7 * 24 * 3600 * NSEC_PER_SEC);
	assert_int_equal(c->n_sources, 0);
}

static const char every_key[] =
	"[local]\nmax_size = '50GiB'\nmin_free = '10%'\n" REMOTE
	"commit_wait = 'always'\ninfo_timeout = '10ms'\nowner = 'exclusive'\nuploads = 64\n"
	"upload_bandwidth = '10MB'\nprefetch = 0\nclaim_interval = '100ms'\nclaim_grace = '1s'\n"
	"recheck_every = '0s'\n";

static void expect_every_key(const struct conf *c)
{
	assert_int_equal(c->local.max_size.bytes, 50 * GIB);
	assert_int_equal(c->local.max_size.percent, 0);
	assert_int_equal(c->local.min_free.bytes, 0);
	assert_int_equal(c->local.min_free.percent, 10);
	assert_true(c->remote.commit_wait == CONF_WAIT_ALWAYS);
	assert_int_equal(c->remote.info_timeout, 10 * NSEC_PER_MSEC);
	assert_int_equal(c->remote.owner, CONF_OWNER_EXCLUSIVE);
	assert_int_equal(c->remote.uploads, 64);
	assert_int_equal(c->remote.upload_bandwidth, 10000000);
	assert_int_equal(c->remote.prefetch, 0);
	assert_int_equal(c->remote.claim_interval, 100 * NSEC_PER_MSEC);
	assert_int_equal(c->remote.claim_grace, NSEC_PER_SEC);
	assert_int_equal(c->remote.recheck_every, 0);
}

static void every_key_is_read(void **state)
{
	(void)state;
	CLEANUP(conf_freep) struct conf *c = load_text(every_key);
	expect_every_key(c);
	CLEANUP(freep) char *dump = conf_dump(c);
	CLEANUP(conf_freep) struct conf *again = load_text(dump);
	expect_every_key(again);

	CLEANUP(conf_freep)
	struct conf *other = load_text("local.max_size = '100%'\nlocal.min_free = 1048576\n" REMOTE
				       "commit_wait = '90s'\n");
	assert_int_equal(other->local.max_size.percent, 100);
	assert_int_equal(other->local.min_free.bytes, 1 << 20);
	assert_int_equal(other->local.min_free.percent, 0);
	assert_int_equal(other->remote.commit_wait, 90 * NSEC_PER_SEC);
}

/* A stronger source replaces a share by a size as a whole. */
static void the_environment_sets_them(void **state)
{
	const char *environment[] = { "STOWAGE_LOCAL_MIN_FREE=1GiB", "STOWAGE_REMOTE_COMMIT_WAIT=always",
				      "STOWAGE_REMOTE_UPLOADS=3", NULL };
	(void)state;
	conf_env_put("config.toml", REMOTE "[local]\nmin_free = '7%'\n");
	const struct conf_sources src = { .file = conf_env_file(), .environment = environment };
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&src);
	assert_int_equal(c->local.min_free.bytes, GIB);
	assert_int_equal(c->local.min_free.percent, 0);
	assert_true(c->remote.commit_wait == CONF_WAIT_ALWAYS);
	assert_int_equal(c->remote.uploads, 3);
}

static void wrong_values(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "local.max_size = '101%'",
		  "config.toml:1: local.max_size: 101% is out of range, expected no more than 100%" },
		{ "local.min_free = '91%'",
		  "config.toml:1: local.min_free: 91% is out of range, expected no more than 90%" },
		{ "local.min_free = '5.5%'",
		  "config.toml:1: local.min_free: \"5.5%\" is neither a size such as "
		  "\"50GiB\" nor a share such as \"20%\"" },
		{ "local.max_size = '99999999999999999999%'",
		  "config.toml:1: local.max_size: \"99999999999999999999%\" is too large a size" },
		{ "local.max_size = -1",
		  "config.toml:1: local.max_size: -1 is out of range, expected 0 or more" },
		{ "local.max_size = 'half'",
		  "config.toml:1: local.max_size: \"half\" is neither a size such as "
		  "\"50GiB\" nor a share such as \"20%\"" },
		{ "local.max_size = 0.5",
		  "config.toml:1: local.max_size: expected a size such as \"50GiB\" or "
		  "a share such as \"20%\", found a float" },
		{ "remote.mode = 'cache'",
		  "config.toml:1: remote.mode: \"cache\" is not a use of the remote, "
		  "expected tiered or direct" },
		{ "remote.owner = 'me'",
		  "config.toml:1: remote.owner: \"me\" is not a kind of owner, expected "
		  "shared or exclusive" },
		{ "remote.commit_wait = 'never'",
		  "config.toml:1: remote.commit_wait: \"never\" is neither a duration such as \"30s\" nor "
		  "\"always\"" },
		{ "remote.commit_wait = 5", "config.toml:1: remote.commit_wait: expected a duration such as "
					    "\"30s\", or \"always\", found an integer" },
		{ "remote.commit_wait = '25h'",
		  "config.toml:1: remote.commit_wait: 25h is out of range, expected 0s to 24h" },
		{ "remote.info_timeout = '9ms'",
		  "config.toml:1: remote.info_timeout: 9ms is out of range, expected 10ms to 1m" },
		{ "remote.uploads = 0",
		  "config.toml:1: remote.uploads: 0 is out of range, expected 1 to 64" },
		{ "remote.prefetch = 65",
		  "config.toml:1: remote.prefetch: 65 is out of range, expected 0 to 64" },
		{ "remote.claim_interval = '99ms'",
		  "config.toml:1: remote.claim_interval: 99ms is out of range, expected 100ms to 24h" },
		{ "remote.claim_grace = '999ms'",
		  "config.toml:1: remote.claim_grace: 999ms is out of range, expected 1s to 8760h" },
		{ "remote.upload_bandwith = 1", "config.toml:1: remote.upload_bandwith: unknown key, did you "
						"mean \"remote.upload_bandwidth\"?" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
}

static void values_that_need_others(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "local.max_size = '1GiB'",
		  "local.max_size: is for bytes that are also elsewhere, and there "
		  "is neither a remote nor a source" },
		{ "local.min_free = '6%'", "local.min_free: is for bytes that are also elsewhere, and there "
					   "is neither a remote nor a source" },
		{ "local.max_size = '1GiB'\n" DIRECT, "local.max_size: is for remote.mode = \"tiered\", and "
						      "remote.mode is \"direct\"" },
		{ DIRECT "commit_wait = 'always'", "remote.commit_wait: is for remote.mode = \"tiered\", and "
						   "remote.mode is \"direct\"" },
		{ DIRECT "recheck_every = '1h'", "remote.recheck_every: is for remote.mode = \"tiered\", and "
						 "remote.mode is \"direct\"" },
		{ REMOTE "claim_interval = '2m'\nclaim_grace = '3m'",
		  "remote.claim_grace: 3m is out of range, expected at least twice remote.claim_interval, "
		  "2m" },
		{ DIRECT DIR, "config.toml:5: source[1]: is for remote.mode = \"tiered\", and remote.mode is "
			      "\"direct\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
	/* What is as by default may stand there: the default text and dumps have all keys. */
	CLEANUP(conf_freep)
	struct conf *direct = load_text(DIRECT
					"commit_wait = '0s'\n[local]\nmax_size = 0\nmin_free = '5%'\n");
	assert_false(conf_is_tiered(direct));
	CLEANUP(freep) char *dump = conf_dump(direct);
	conf_free(load_text(dump));
	CLEANUP(conf_freep) struct conf *local = load_text("local.max_size = '0%'\n");
	assert_false(conf_is_tiered(local));
	/* A source is enough to have bytes from elsewhere. */
	CLEANUP(conf_freep) struct conf *read = load_text(DIR "[local]\nmax_size = '1GiB'\n");
	assert_true(conf_is_tiered(read));
}

/* --- sources --- */

static void sources_are_a_list(void **state)
{
	const char *environment[] = { "AWS_REGION=elsewhere", "AWS_ENDPOINT_URL=http://other", NULL };
	(void)state;
	conf_env_put("config.toml",
		     REMOTE "[[source]]\ntype = 'dir'\npath = '/var/lib/registry'\n"
			    "[[source]]\ntype = 's3'\nlayout = 'stowage'\n"
			    "[source.s3]\nbucket = 'others'\nprefix = 'b/'\nrequest_payer = true\n");
	conf_env_put("conf.d/1.toml", "source = [{ type = 's3', s3.bucket = 'third' }]\n");
	const struct conf_sources src = { .file = conf_env_file(), .environment = environment };
	CLEANUP(conf_freep) struct conf *c = conf_env_load(&src);
	assert_int_equal(c->n_sources, 3);
	assert_int_equal(c->sources[0].type, CONF_SOURCE_DIR);
	assert_int_equal(c->sources[0].layout, CONF_LAYOUT_REGISTRY);
	assert_string_equal(c->sources[0].path, "/var/lib/registry");
	assert_string_equal(c->sources[0].origin + strlen(conf_env_dir), "/config.toml:4");
	assert_int_equal(c->sources[1].type, CONF_SOURCE_S3);
	assert_int_equal(c->sources[1].layout, CONF_LAYOUT_STOWAGE);
	assert_string_equal(c->sources[1].path, "");
	assert_string_equal(c->sources[1].s3.bucket, "others");
	assert_string_equal(c->sources[1].s3.prefix, "b");
	assert_true(c->sources[1].s3.request_payer);
	assert_int_equal(c->sources[1].s3.connections, 32);
	assert_string_equal(c->sources[1].origin + strlen(conf_env_dir), "/config.toml:7");
	assert_string_equal(c->sources[2].s3.bucket, "third");
	assert_string_equal(c->sources[2].origin + strlen(conf_env_dir), "/conf.d/1.toml:1");

	/* AWS's variables are for the remote, not for the buckets of others. */
	assert_string_equal(c->remote.s3.region, "elsewhere");
	assert_string_equal(c->sources[1].s3.region, "");
	assert_string_equal(c->sources[1].s3.endpoint, "");
}

static void wrong_sources(void **state)
{
	static const struct {
		const char *text, *line;
	} cases[] = {
		{ "[source]\ntype = 'dir'",
		  "config.toml:1: source: expected an array of tables, found a table" },
		{ "source = 'dir'", "config.toml:1: source: expected an array of tables, found a string" },
		{ "source = [\n'dir']", "config.toml:2: source[1]: expected a table, found a string" },
		{ "[[sources]]\ntype = 'dir'",
		  "config.toml:1: sources: unknown key, did you mean \"source\"?" },
		{ DIR "[[source]]\ntype = 'nfs'",
		  "config.toml:5: source[2].type: \"nfs\" is not a type of source, expected dir or s3" },
		{ "[[source]]\nlayout = 'oci'", "config.toml:2: source[1].layout: \"oci\" is not a layout, "
						"expected registry or stowage" },
		{ "[[source]]\npath = 'a'", "config.toml:2: source[1].path: \"a\" is not an absolute path" },
		{ "[[source]]\npaht = '/a'",
		  "config.toml:2: source[1].paht: unknown key, did you mean \"source.path\"?" },
		{ "[[source]]\nbucket = 'abc'",
		  "config.toml:2: source[1].bucket: unknown key, did you mean \"source.s3.bucket\"?" },
		{ "[[source]]\nzzzzzzzz = 1",
		  "config.toml:2: source[1].zzzzzzzz: unknown key, expected one of "
		  "type, layout, path, s3" },
		{ "[[source]]\ntype = ['s3']",
		  "config.toml:2: source[1].type: expected a string, found an array" },
		{ "[[source]]\ns3 = 'a'", "config.toml:2: source[1].s3: expected a table, found a string" },
		{ DIR "[[source]]\ntype = 's3'\n[source.s3]\nbukket = 'a'",
		  "config.toml:7: source[2].s3.bukket: unknown key, did you mean \"source.s3.bucket\"?" },
		{ "[[source]]\n[[source.s3]]\nbucket = 'a'",
		  "config.toml:2: source[1].s3: expected a table, found an array" },
		{ DIR DIR DIR DIR DIR DIR DIR DIR DIR, "config.toml:25: source: there are more than 8" },

		{ "[[source]]\npath = '/a'",
		  "config.toml:1: source[1].type: is not set, expected dir or s3" },
		{ DIR "[[source]]\ntype = 'dir'",
		  "config.toml:4: source[2].path: is not set, and type = \"dir\" needs it" },
		{ "[[source]]\ntype = 's3'",
		  "config.toml:1: source[1].s3.bucket: is not set, and type = \"s3\" needs it" },
		{ DIR "s3.bucket = 'abc'",
		  "config.toml:1: source[1].s3.bucket: is for type = \"s3\", and type is \"dir\"" },
		{ "[[source]]\ntype = 's3'\npath = '/a'\ns3.bucket = 'abc'",
		  "config.toml:1: source[1].path: is for type = \"dir\", and type is \"s3\"" },
		{ DIR "[[source]]\ntype = 's3'\ns3.bucket = 'abc'\ns3.access_key = 'a'",
		  "config.toml:4: source[2].s3.access_key: is set, and secret_key is not: both or none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		conf_env_expect_error(cases[i].text, cases[i].line);
	conf_free(load_text("source = []\n"));
	CLEANUP(conf_freep) struct conf *most = load_text(DIR DIR DIR DIR DIR DIR DIR DIR);
	assert_int_equal(most->n_sources, CONF_SOURCES_MAX);
}

/* The limit counts over all files. */
static void many_sources(void **state)
{
	static const char *const lines[] = { "conf.d/1.toml:1: source: there are more than 8",
					     "conf.d/1.toml:4: source: there are more than 8" };
	struct conf_errors errors;
	(void)state;
	conf_env_put("config.toml", DIR DIR DIR DIR DIR DIR DIR DIR);
	conf_env_put("conf.d/1.toml", DIR DIR);
	conf_env_refuse(&(struct conf_sources){ .file = conf_env_file() }, &errors);
	conf_env_expect(&errors, lines, ARRAY_LEN(lines));
}

static void sources_are_not_of_the_environment(void **state)
{
	const char *environment[] = { "STOWAGE_SOURCE_TYPE=dir", NULL };
	struct conf_errors errors;
	(void)state;
	conf_env_refuse(&(struct conf_sources){ .environment = environment }, &errors);
	assert_int_equal(errors.n, 1);
	assert_non_null(strstr(errors.line[0], "environment STOWAGE_SOURCE_TYPE: unknown variable"));
}

static void dump_has_the_sources(void **state)
{
	(void)state;
	CLEANUP(conf_freep)
	struct conf *c = load_text(DIR "[[source]]\ntype = 's3'\ns3 = { bucket = 'abc', access_key = 'AKIA', "
				       "secret_key = 's3cr3t', stall_timeout = '7s' }\n" DIR);
	CLEANUP(freep) char *dump = conf_dump(c);
	const char *first = strstr(dump, "\n[[source]]\n");
	static const char expected[] = "\n[[source]]\ntype = \"dir\"\nlayout = \"registry\"\npath = \"/a\"\n"
				       "\n[[source]]\ntype = \"s3\"\nlayout = \"registry\"\n"
				       "\n[source.s3]\nendpoint = \"\"\n";
	assert_non_null(first);
	assert_memory_equal(first, expected, strlen(expected));
	assert_null(strstr(dump, "s3cr3t"));

	char *line = strstr(first, "# secret_key is");
	memcpy(line, "secret_key = 'ab' #", 19);
	CLEANUP(conf_freep) struct conf *again = load_text(dump);
	assert_int_equal(again->n_sources, 3);
	assert_string_equal(again->sources[1].s3.secret_key, "ab");
	assert_int_equal(again->sources[1].s3.stall_timeout, 7 * NSEC_PER_SEC);
	assert_string_equal(again->sources[2].path, "/a");
}

/* Without the marks, what the default text has of sources is one. */
static void the_example_source_is_one(void **state)
{
	(void)state;
	CLEANUP(freep) char *text = conf_default_text();
	assert_non_null(strstr(text, "\n#[[source]]\n"));
	for (char *p = text; (p = strstr(p, "\n#")); p++)
		if (p[2] != ' ')
			p[1] = ' ';
	CLEANUP(conf_freep) struct conf *c = load_text(text);
	assert_int_equal(c->n_sources, 1);
	assert_int_equal(c->sources[0].type, CONF_SOURCE_DIR);
	assert_string_equal(c->sources[0].path, "/var/lib/registry");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST(defaults),
		CONF_TEST(every_key_is_read),
		CONF_TEST(the_environment_sets_them),
		CONF_TEST(wrong_values),
		CONF_TEST(values_that_need_others),
		CONF_TEST(sources_are_a_list),
		CONF_TEST(wrong_sources),
		CONF_TEST(many_sources),
		cmocka_unit_test(sources_are_not_of_the_environment),
		CONF_TEST(dump_has_the_sources),
		CONF_TEST(the_example_source_is_one),
	};
	return cmocka_run_group_tests_name("conf_fleet", tests, NULL, NULL);
}
