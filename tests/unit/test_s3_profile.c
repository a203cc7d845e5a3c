/* The files that AWS's tools share, and what the backend's options take from them. */
#include "backends/s3/aws_profile.h"
#include "backends/s3/file.h"
#include "backends/s3/ini.h"
#include "content/base/mem.h"
#include "tests/unit/creds_env.h"

#include <stdio.h>
#include <sys/stat.h>

/* --- the form --- */

/* Writes "section/key=value;" for each key. */
static int show(void *arg, const char *section, const char *key, const char *value, struct stow_err *err)
{
	char *out = arg;
	size_t n = strlen(out);
	if (strcmp(key, "stop") == 0)
		return stow_fail(err, STOW_ABORTED, "stopped");
	snprintf(out + n, 512 - n, "%s/%s=%s;", section, key, value);
	return 0;
}

static void form(void **state)
{
	static const struct {
		const char *text, *keys;
	} cases[] = {
		{ "", "" },
		{ "\n\n# c\n; c\n  # c\n", "" },
		{ "[a]\nk = v", "a/k=v;" },
		{ "\xef\xbb\xbf[a]\nk=v\n", "a/k=v;" },
		{ "[ profile  b ] # c\r\nKEY\t=\tv w \r\n", "profile  b/key=v w;" },
		{ "[a]\nk = v # c\nl = v;w#x\nm=#c\nn = ; c\no=", "a/k=v;a/l=v;w#x;a/m=;a/n=;a/o=;" },
		{ "[a]\nk = a=b==\nk = 2\n", "a/k=a=b==;a/k=2;" },
		{ "[a]\ns3 =\n  max = 1\n\tx\n\nk = v\n[b]\n[a]\nl=1", "a/s3=;a/k=v;a/l=1;" },
		{ "[a];c\nk=v", "a/k=v;" },
		{ "[]\nk=v", "/k=v;" },
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[512] = "";
		assert_int_equal(ini_read(cases[i].text, strlen(cases[i].text), show, out, &err), 0);
		assert_string_equal(out, cases[i].keys);
	}
}

static void wrong_forms(void **state)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "k = v", "line 1 has a key before the first [section]" },
		{ "[a]\n\nsecret", "line 3 is neither [section] nor key = value" },
		{ "[a]\n= v", "line 2 is neither [section] nor key = value" },
		{ "[a\nk = v", "line 1 begins a section, and has no ]" },
		{ "[a] b\n", "line 1 has more than the section's name" },
		{ "  k = v", "line 1 begins with a blank, and no key is before it" },
		{ "[a]\nk = v\n[b]\n l = v", "line 4 begins with a blank, and no key is before it" },
	};
	struct stow_err err;
	char out[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		*out = 0;
		assert_int_equal(ini_read(cases[i].text, strlen(cases[i].text), show, out, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_string_equal(err.msg, cases[i].msg);
	}
	assert_int_equal(ini_read("[a]\nk\0=v", 8, show, out, &err), -1);
	assert_string_equal(err.msg, "line 2 has a NUL in it");
	assert_int_equal(ini_read("[a]\nstop=v", 10, show, out, &err), -1);
	assert_int_equal(err.code, STOW_ABORTED);
}

/* --- profiles --- */

static void read_profile(const char *name, struct aws_profile *ret_p)
{
	struct stow_err err;
	if (aws_profile_read(creds_env_variables(), name, ret_p, &err) < 0)
		fail_msg("%s", err.msg);
}

static void the_right_section(void **state)
{
	(void)state;
	creds_env_put(".aws/credentials",
		      "[default]\nk=cred-default\n[x]\nk=cred-x\n[profile y]\nk=cred-y\n");
	creds_env_put(".aws/config", "[profile x]\nk=conf-x\nregion=eu\n[y]\nk=conf-plain-y\n"
				     "[profile 'two words']\nk=two\n[profile \"q\"]\nk=q\n[profilez]\nk=z\n"
				     "[default]\nk=conf-default\nl=1\n");
	static const struct {
		const char *name, *k;
	} cases[] = {
		{ "", "cred-default" }, { "default", "cred-default" },
		{ "x", "cred-x" },      { "two words", "two" },
		{ "q", "q" },           { "y", NULL },
		{ "z", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		CLEANUP(aws_profile_free) struct aws_profile p = { 0 };
		read_profile(cases[i].name, &p);
		const char *k = aws_profile_get(&p, "k");
		assert_int_equal(p.found, cases[i].k != NULL);
		if (cases[i].k)
			assert_string_equal(k, cases[i].k);
		else
			assert_null(k);
	}
	CLEANUP(aws_profile_free) struct aws_profile p = { 0 };
	creds_env_set("AWS_PROFILE=x");
	read_profile("", &p);
	assert_string_equal(p.name, "x");
	assert_string_equal(aws_profile_get(&p, "region"), "eu");
	assert_null(aws_profile_get(&p, "l"));
}

/* "default" of the config file may be called "profile default" too. */
static void default_by_its_long_name(void **state)
{
	CLEANUP(aws_profile_free) struct aws_profile p = { 0 };
	(void)state;
	creds_env_put(".aws/config", "[profile default]\nregion = eu # home\n");
	read_profile("", &p);
	assert_string_equal(aws_profile_get(&p, "region"), "eu");
}

static void files_that_variables_name(void **state)
{
	CLEANUP(aws_profile_free) struct aws_profile p = { 0 };
	struct stow_err err;
	(void)state;

	/* Nothing there is fine; what is named must be. */
	read_profile("", &p);
	assert_false(p.found);
	assert_non_null(strstr(p.origin, "/.aws/credentials and /"));
	creds_env_set("AWS_CONFIG_FILE=~/elsewhere");
	struct aws_profile none = { 0 };
	assert_int_equal(aws_profile_read(creds_env_variables(), "", &none, &err), -1);
	assert_int_equal(err.code, STOW_NOT_FOUND);
	assert_memory_equal(err.msg, "AWS_CONFIG_FILE: ", 17);
	assert_null(none.name);

	aws_profile_free(&p);
	creds_env_put("elsewhere", "[default]\nregion=here\n");
	read_profile("", &p);
	assert_string_equal(aws_profile_get(&p, "region"), "here");
}

static void files_that_are_wrong(void **state)
{
	struct aws_profile p = { 0 };
	struct stow_err err;
	char text[16 * 70] = "[default]\n";
	(void)state;

	creds_env_put(".aws/credentials", "[default]\ntop secret\n");
	assert_int_equal(aws_profile_read(creds_env_variables(), "", &p, &err), -1);
	assert_non_null(strstr(err.msg, ".aws/credentials: line 2 is neither"));
	assert_null(strstr(err.msg, "secret\n"));
	for (int i = 0; i < AWS_PROFILE_KEYS_MAX + 1; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "key%d = 1\n", i);
	creds_env_put(".aws/credentials", text);
	assert_int_equal(aws_profile_read(creds_env_variables(), "", &p, &err), -1);
	assert_non_null(strstr(err.msg, "more than 64 keys"));
	assert_null(p.name);
}

/* --- words --- */

static void words(void **state)
{
	static const char *const bad[] = { "", " \n", "a b", "a\nb", "\xc3\xa4", "a\x7f" };
	char path[128];
	struct stow_err err;
	(void)state;

	creds_env_path("word", path, sizeof(path));
	creds_env_put("word", " \r\n a/+=b \n\n");
	CLEANUP(freep) char *word = NULL;
	assert_int_equal(file_read_word(path, &word, &err), 0);
	assert_string_equal(word, "a/+=b");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *none = NULL;
		creds_env_put("word", bad[i]);
		assert_int_equal(file_read_word(path, &none, &err), -1);
		assert_int_equal(err.code, STOW_INVALID_ARGUMENT);
		assert_null(none);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(file_read_word(path, &word, &err), -1);
	assert_int_equal(err.code, STOW_NOT_FOUND);
	assert_non_null(strstr(err.msg, "/word: "));
}

/* --- options --- */

static void regions(void **state)
{
	struct s3_options o = creds_env_options();
	struct stow_err err;
	char *region = NULL;
	(void)state;

	assert_int_equal(s3_options_region(&o, &region, &err), -1);
	assert_int_equal(err.code, STOW_FAILED_PRECONDITION);
	assert_string_equal(
		err.msg, "no region: set remote.s3.region or AWS_REGION, or the region of profile default");
	assert_null(region);

	o.endpoint = "http://a";
	assert_int_equal(s3_options_region(&o, &region, &err), 0);
	assert_string_equal(region, "us-east-1");
	free(region);

	creds_env_put(".aws/config", "[default]\nregion=eu-west-1\n[profile odd]\nregion=a/b\n");
	assert_int_equal(s3_options_region(&o, &region, &err), 0);
	assert_string_equal(region, "eu-west-1");
	free(region);

	o.region = "mine";
	assert_int_equal(s3_options_region(&o, &region, &err), 0);
	assert_string_equal(region, "mine");
	free(region);

	o.region = "";
	o.credentials.profile = "odd";
	assert_int_equal(s3_options_region(&o, &region, &err), -1);
	assert_non_null(strstr(err.msg, "has a region that is none"));

	/* A file that is to come has none yet, and only an endpoint of one's own can do without. */
	o.credentials.profile = "";
	creds_env_set("AWS_CONFIG_FILE=/nonexistent/config");
	o.credentials.environment = creds_env_variables();
	assert_int_equal(s3_options_region(&o, &region, &err), -1);
	assert_non_null(strstr(err.msg, "/nonexistent/config"));
	o.files_may_come = true;
	assert_int_equal(s3_options_region(&o, &region, &err), 0);
	assert_string_equal(region, "us-east-1");
	free(region);
	o.endpoint = "";
	assert_int_equal(s3_options_region(&o, &region, &err), -1);
	assert_non_null(strstr(err.msg, "/nonexistent/config"));
}

static void headers(void **state)
{
	(void)state;
	CLEANUP(freep) char *tags = s3_tagging_header("team=a b,env=x=y/z,empty=");
	assert_string_equal(tags, "team=a%20b&env=x%3Dy%2Fz&empty=");
	/* {"team":"a b","env":"x=y"} */
	CLEANUP(freep) char *context = s3_kms_context_header("team=a b,env=x=y");
	assert_string_equal(context, "eyJ0ZWFtIjoiYSBiIiwiZW52IjoieD15In0=");
	assert_null(s3_tagging_header(""));
	assert_null(s3_kms_context_header(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(form),
		cmocka_unit_test(wrong_forms),
		CREDS_TEST(the_right_section),
		CREDS_TEST(default_by_its_long_name),
		CREDS_TEST(files_that_variables_name),
		CREDS_TEST(files_that_are_wrong),
		CREDS_TEST(words),
		CREDS_TEST(regions),
		cmocka_unit_test(headers),
	};
	return cmocka_run_group_tests_name("s3_profile", tests, NULL, NULL);
}
