/* Which provider is chosen, and that a configured one that fails is the end of the search. */
#include "backends/s3/creds.h"
#include "backends/s3/creds_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/creds_env.h"

#include <stdio.h>
#include <sys/eventfd.h>

#define WAIT (clock_mono_ns() + 20 * NSEC_PER_SEC)

static struct s3_options options;

/* Credentials that must be, and the snapshot of the moment, which the caller drops. */
static struct creds *take(const struct creds_snapshot **ret_s)
{
	struct creds *c = NULL;
	struct stow_err err;
	if (creds_new(&options, "", NULL, &c, &err) < 0 || creds_wait(c, WAIT, &err) < 0 ||
	    creds_get(c, ret_s, &err) != 0)
		fail_msg("%s", err.msg);
	return c;
}

static void expect_keys(const char *provider, const char *access, const char *secret, const char *token)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	creds_free(take(&s)); /* a snapshot stands for itself */
	assert_string_equal(s->provider, provider);
	assert_string_equal(s->access_key, access);
	assert_string_equal(s->secret_key, secret);
	assert_string_equal(s->session_token, token);
	assert_int_equal(s->expires_ns, 0);
}

/* Choosing fails, with a message that contains `msg`; nothing else is tried. */
static void expect_refusal(const char *msg)
{
	struct creds *c = NULL;
	struct stow_err err;
	assert_int_equal(creds_new(&options, "", NULL, &c, &err), -1);
	if (!strstr(err.msg, msg))
		fail_msg("\"%s\" is not in: %s", msg, err.msg);
	assert_null(c);
}

static int setup(void **state)
{
	if (creds_env_setup(state) < 0)
		return -1;
	creds_env_set("AWS_EC2_METADATA_DISABLED=true");
	options = creds_env_options();
	return 0;
}

/* What is found last is set up first: each step must win over all before. */
static void the_order(void **state)
{
	char path[128];
	(void)state;

	creds_env_set("AWS_CONTAINER_CREDENTIALS_FULL_URI=ftp://a");
	expect_refusal(
		"credentials from the container: AWS_CONTAINER_CREDENTIALS_FULL_URI: ftp://a is no URL");
	creds_env_set("AWS_ROLE_ARN=arn:aws:iam::1:role/a");
	expect_refusal("credentials from the web identity: AWS_ROLE_ARN is set, and "
		       "AWS_WEB_IDENTITY_TOKEN_FILE is not");
	creds_env_put(".aws/credentials", "[default]\naws_access_key_id=PA\naws_secret_access_key=PS\n"
					  "[named]\naws_access_key_id=NA\naws_secret_access_key=NS\n"
					  "aws_session_token=NT\n");
	expect_keys("profile", "PA", "PS", "");
	creds_env_set("AWS_PROFILE=named");
	expect_keys("profile", "NA", "NS", "NT");
	creds_env_set("AWS_ACCESS_KEY_ID=EA");
	expect_refusal(
		"credentials from the environment: AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY "
		"is not");
	creds_env_set("AWS_SECRET_ACCESS_KEY=ES");
	expect_keys("environment", "EA", "ES", "");
	creds_env_set("AWS_SESSION_TOKEN=ET");
	expect_keys("environment", "EA", "ES", "ET");
	options.credentials.profile = "named";
	expect_keys("profile", "NA", "NS", "NT");
	options.credentials.profile = "";
	options.credentials.access_key = "CA";
	expect_refusal("credentials from the configuration: access_key is set, and secret_key is not");
	creds_env_put("secret", "CS\n");
	creds_env_path("secret", path, sizeof(path));
	options.credentials.secret_key_file = path;
	expect_keys("configuration", "CA", "CS", "");
}

static void nothing_is_configured(void **state)
{
	(void)state;
	expect_refusal("no credentials are configured: no access_key, AWS_ACCESS_KEY_ID, profile, "
		       "AWS_WEB_IDENTITY_TOKEN_FILE or container endpoint, and AWS_EC2_METADATA_DISABLED");
	/* A profile without credentials, if nobody has asked for it by name, is as good as none. */
	creds_env_put(".aws/config", "[default]\nregion=eu\n");
	expect_refusal("no credentials are configured");
}

static void profiles_that_fail(void **state)
{
	static const struct {
		const char *profile, *msg;
	} cases[] = {
		{ "missing",
		  "the configuration names the profile missing, and there is no such profile in /" },
		{ "empty", "the configuration names the profile empty, and it has no credentials in /" },
		{ "half", "the profile has no secret access key" },
		{ "chain", "has source_profile, which Stowage does not know; a profile with "
			   "credential_process = aws configure export-credentials --profile chain --format "
			   "process does the same" },
		{ "sso", "has sso_session, which" },
		{ "role", "has role_arn and no web_identity_token_file" },
		{ "token", "has web_identity_token_file and no role_arn" },
	};
	(void)state;
	creds_env_put(".aws/config",
		      "[profile empty]\nregion=eu\n[profile half]\naws_access_key_id=a\n"
		      "[profile chain]\nrole_arn=r\nsource_profile=half\n[profile sso]\nsso_session=s\n"
		      "[profile role]\nrole_arn=r\n[profile token]\nweb_identity_token_file=/t\n");
	/* What would be next must not matter. */
	creds_env_set("AWS_ACCESS_KEY_ID=EA");
	creds_env_set("AWS_SECRET_ACCESS_KEY=ES");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		options.credentials.profile = cases[i].profile;
		expect_refusal(cases[i].msg);
	}
	options.credentials.profile = "";
	creds_env_set("AWS_ACCESS_KEY_ID=");
	creds_env_set("AWS_SECRET_ACCESS_KEY=");
	creds_env_set("AWS_PROFILE=missing");
	expect_refusal("AWS_PROFILE names the profile missing, and there is no such profile");
}

static void files_that_fail(void **state)
{
	char path[128];
	(void)state;
	creds_env_path("secret", path, sizeof(path));
	options.credentials.access_key = "CA";
	options.credentials.secret_key_file = path;
	expect_refusal("credentials from the configuration: /");
	creds_env_put("secret", "\n");
	expect_refusal("is empty");
}

/* Without what it waits for, `why` is why there are no keys; and then there are. */
static void expect_late(const char *why, const char *name, const char *text, const char *access)
{
	CLEANUP(creds_freep) struct creds *c = NULL;
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	int64_t until_ns = WAIT;
	struct stow_err err;

	options.files_may_come = true;
	if (creds_new(&options, "", NULL, &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(creds_get(c, &s, &err), -1);
	assert_int_equal(err.code, STOW_FAILED_PRECONDITION);
	if (!strstr(err.msg, why))
		fail_msg("\"%s\" is not in: %s", why, err.msg);
	creds_env_put(name, text);
	while (creds_get(c, &s, &err) != 0 && clock_mono_ns() < until_ns)
		(void)usleep(5000);
	if (!s)
		fail_msg("%s", err.msg);
	assert_string_equal(s->access_key, access);
}

static void files_may_come_late(void **state)
{
	char access[128], secret[128];

	(void)state;
	creds_env_path("access", access, sizeof(access));
	creds_env_path("secret", secret, sizeof(secret));
	options.credentials.access_key_file = access;
	options.credentials.secret_key_file = secret;
	creds_env_put("access", "CA");
	expect_late("/secret: No such file or directory", "secret", "CS", "CA");
	creds_env_put("secret", "");
	expect_late("/secret is empty", "secret", "CS", "CA");
}

static void profiles_may_come_late(void **state)
{
	char path[128];

	(void)state;
	options.credentials.profile = "a";
	expect_late("there is no such profile", ".aws/credentials",
		    "[a]\naws_access_key_id=A\naws_secret_access_key=S\n", "A");
	creds_env_put(".aws/credentials", "[a]\naws_access_key_id=A\n");
	expect_late("profile a in ", ".aws/credentials",
		    "[a]\naws_access_key_id=B\naws_secret_access_key=S\n", "B");
	creds_env_put(".aws/credentials", "[b]\n");
	expect_late("the configuration names the profile a", ".aws/credentials",
		    "[a]\ncredential_process=echo '{\"Version\":1,\"AccessKeyId\":\"P\","
		    "\"SecretAccessKey\":\"S\"}'\n",
		    "P");
	creds_env_path("late", path, sizeof(path));
	options.credentials.profile = "";
	creds_env_set("AWS_PROFILE=v");
	creds_env_set("AWS_SHARED_CREDENTIALS_FILE=%s", path);
	options.credentials.environment = creds_env_variables();
	expect_late("/late: No such file or directory", "late",
		    "[v]\naws_access_key_id=V\naws_secret_access_key=S\n", "V");
}

/* What no file can put right is refused all the same. */
static void not_all_can_come_late(void **state)
{
	(void)state;
	options.files_may_come = true;
	options.credentials.access_key = "C A";
	options.credentials.secret_key = "CS";
	expect_refusal("credentials from the configuration: ");
	options.credentials.access_key = options.credentials.secret_key = "";
	options.credentials.profile = "a";
	creds_env_put(".aws/config", "[profile a]\nsso_session=x\n");
	expect_refusal("which Stowage does not know");
	options.credentials.profile = "";
	creds_env_put(".aws/config", "");
	expect_refusal("no credentials are configured");
}

static void containers(void **state)
{
	static const struct {
		const char *full, *msg; /* NULL: good */
	} cases[] = {
		{ "http://127.0.0.1/x", NULL },
		{ "http://127.9.9.9:80", NULL },
		{ "http://localhost:8080/a?b", NULL },
		{ "http://[::1]:80/", NULL },
		{ "http://[::1]", NULL },
		{ "http://169.254.170.2/v2", NULL },
		{ "http://169.254.170.23/v1/credentials", NULL },
		{ "http://[fd00:ec2::23]/v1/credentials", NULL },
		{ "https://anywhere.example/", NULL },
		{ "http://169.254.169.254/", "http may only go to this machine" },
		{ "http://10.0.0.1/", "http may only go to this machine" },
		{ "http://localhost.example/", "http may only go to this machine" },
		{ "http://localhost@example/", "http may only go to this machine" },
		{ "http://127.0.0.1@10.0.0.1/", "http may only go to this machine" },
		{ "http://127.0.0.1.example/", "http may only go to this machine" },
		{ "http://", "http may only go to this machine" },
		{ "http://[::2]/", "http may only go to this machine" },
		{ "http://[::1].example/", "http may only go to this machine" },
		{ "http://[::1", "http may only go to this machine" },
		{ "file:///etc/passwd", "is no URL with http or https" },
		{ "http://127.0.0.1/a b", "the URL has an unprintable character" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct creds_context cx = { .environment = creds_env_variables() };
		char why[CREDS_WHY_MAX];
		struct creds_provider *p = NULL;
		struct stow_err err;
		creds_env_set("AWS_CONTAINER_CREDENTIALS_FULL_URI=%s", cases[i].full);
		int r = creds_find_container(&cx, &options.credentials, &p, why, &err);
		if (r == 0 && cases[i].msg)
			fail_msg("%s was taken", cases[i].full);
		if (r < 0 && !cases[i].msg)
			fail_msg("%s", err.msg);
		if (r < 0)
			assert_non_null(strstr(err.msg, cases[i].msg));
		creds_provider_free(p);
	}
	creds_env_set("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1/");
	creds_env_set("AWS_CONTAINER_AUTHORIZATION_TOKEN=a\r\nHost: b");
	expect_refusal("AWS_CONTAINER_AUTHORIZATION_TOKEN has an unprintable character");
	creds_env_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=x");
	expect_refusal("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: x does not begin with a slash");
}

static void addresses_of_sts(void **state)
{
	static const struct {
		const char *region;
		bool fips, dual_stack;
		const char *variable, *url;
	} cases[] = {
		{ "", false, false, NULL, "https://sts.amazonaws.com/" },
		{ "eu-west-1", false, false, NULL, "https://sts.eu-west-1.amazonaws.com/" },
		{ "us-gov-west-1", true, false, NULL, "https://sts-fips.us-gov-west-1.amazonaws.com/" },
		{ "eu-west-1", false, true, NULL, "https://sts.eu-west-1.api.aws/" },
		{ "cn-north-1", false, false, NULL, "https://sts.cn-north-1.amazonaws.com.cn/" },
		{ "cn-north-1", false, true, NULL, "https://sts.cn-north-1.api.amazonwebservices.com.cn/" },
		{ "us-iso-east-1", false, false, NULL, "https://sts.us-iso-east-1.c2s.ic.gov/" },
		{ "us-isob-east-1", false, false, NULL, "https://sts.us-isob-east-1.sc2s.sgov.gov/" },
		{ "eu-west-1", false, false, "AWS_STS_REGIONAL_ENDPOINTS=legacy",
		  "https://sts.amazonaws.com/" },
		{ "eu-west-1", false, false, "AWS_STS_REGIONAL_ENDPOINTS=regional",
		  "https://sts.eu-west-1.amazonaws.com/" },
		{ "eu-west-1", false, false, "AWS_ENDPOINT_URL=http://a:1", "http://a:1/" },
		{ "eu-west-1", false, false, "AWS_ENDPOINT_URL_STS=http://b/c/", "http://b/c/" },
		{ "eu-west-1", false, false, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true",
		  "https://sts.eu-west-1.amazonaws.com/" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char region[32];
		snprintf(region, sizeof(region), "%s", cases[i].region);
		if (cases[i].variable)
			creds_env_set("%s", cases[i].variable);
		const struct creds_context cx = { .environment = creds_env_variables(),
						  .region = region,
						  .fips = cases[i].fips,
						  .dual_stack = cases[i].dual_stack };
		CLEANUP(freep) char *url = creds_sts_url(&cx);
		assert_string_equal(url, cases[i].url);
	}
}

/* --- what is said about it --- */

static void explanations(void **state)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	CLEANUP(buf_free) struct buf text;
	struct stow_err err;
	(void)state;

	creds_env_put(".aws/credentials", "[x]\naws_access_key_id=PA\naws_secret_access_key=top-secret\n");
	creds_env_set("AWS_PROFILE=x");
	CLEANUP(creds_freep) struct creds *c = take(&s);
	buf_init(&text, 4096);
	assert_int_equal(creds_explain(c, &text, &err), 0);
	assert_int_equal(buf_append(&text, "", 1, &err), 0);
	const char *said = (const char *)text.p;
	assert_memory_equal(said, "from the profile: profile x in /", 32);
	assert_non_null(strstr(said, "/.aws/config\naccess key PA, without an end\n"
				     "not from the configuration: neither access_key nor profile is set\n"
				     "not from the environment: AWS_ACCESS_KEY_ID is not set\n"));
	assert_null(strstr(said, "secret"));
}

/* Keys in files are read again when S3 does not take them any longer. */
static void files_are_read_again(void **state)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL, *again = NULL;
	struct stow_err err;
	(void)state;

	creds_env_put(".aws/credentials", "[default]\naws_access_key_id=A1\naws_secret_access_key=S1\n");
	CLEANUP(creds_freep) struct creds *c = take(&s);
	creds_env_put(".aws/credentials", "[default]\naws_access_key_id=A2\naws_secret_access_key=S2\n");
	assert_int_equal(creds_get(c, &again, &err), 0);
	assert_ptr_equal(again, s);
	creds_unref(TAKE(again));

	creds_refresh(c, s);
	assert_int_equal(creds_wait(c, WAIT, &err), 0);
	assert_int_equal(creds_get(c, &again, &err), 0);
	assert_string_equal(again->access_key, "A2");
	/* The old ones are whole as long as somebody holds them; and refused once, not twice. */
	assert_string_equal(s->secret_key, "S1");
	creds_refresh(c, s);
	const struct creds_snapshot *same = NULL;
	assert_int_equal(creds_get(c, &same, &err), 0);
	assert_ptr_equal(same, again);
	creds_unref(same);
}

/* A token that the other file has belongs to other keys. */
static void keys_are_from_one_file(void **state)
{
	(void)state;
	creds_env_put(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=S\n");
	creds_env_put(".aws/config", "[default]\naws_access_key_id=B\naws_secret_access_key=T\n"
				     "aws_session_token=old\n");
	expect_keys("profile", "A", "S", "");
	creds_env_put(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=\n");
	expect_refusal("the profile has no secret access key");
	creds_env_put(".aws/credentials", "[default]\naws_session_token=old\naws_access_key_id=\n");
	creds_env_put(".aws/config", "[default]\naws_access_key_id=B\naws_secret_access_key=T\n");
	expect_keys("profile", "B", "T", "");
}

/* --- credential_process --- */

static struct creds_context context(void)
{
	return (struct creds_context){ .environment = creds_env_variables(),
				       .stop_fd = eventfd(0, EFD_CLOEXEC) };
}

/* Runs a command that must fail, with a message that contains `msg`. */
static void expect_failure(const char *command, enum stow_code code, const char *msg)
{
	struct creds_context cx = context();
	CLEANUP(buf_free) struct buf out;
	struct stow_err err;
	buf_init(&out, 1000);
	assert_int_equal(creds_process_run(&cx, command, NSEC_PER_SEC / 2, &out, &err), -1);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, msg))
		fail_msg("\"%s\" is not in: %s", msg, err.msg);
	close(cx.stop_fd);
}

static void processes(void **state)
{
	CLEANUP(buf_free) struct buf out;
	struct creds_context cx = context();
	struct stow_err err;
	(void)state;

	/* Its environment is ours, its input is empty, and what it complains of does not matter if it goes
	 * well, however much that is. */
	buf_init(&out, 100);
	creds_env_set("MARK=here");
	assert_int_equal(
		creds_process_run(&cx, "cat; echo $MARK; head -c 300000 /dev/zero | tr '\\0' x >&2; exit 0",
				  20 * NSEC_PER_SEC, &out, &err),
		0);
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.p, "here\n", 5);
	close(cx.stop_fd);

	expect_failure("echo 'no vault' >&2; exit 3", STOW_FAILED_PRECONDITION,
		       "credential_process ended with status 3: \"no vault\"");
	expect_failure("kill -9 $$", STOW_FAILED_PRECONDITION, "credential_process was killed by SIGKILL");
	expect_failure("/nonexistent/x", STOW_FAILED_PRECONDITION, "status 127");
	expect_failure("head -c 1001 /dev/zero", STOW_RESOURCE_EXHAUSTED, "writes more than 1000 bytes");
	expect_failure("exec >&- 2>&-; sleep 60", STOW_UNAVAILABLE, "has not ended in time");
}

/* One that hangs is killed with what it has started. */
static void a_process_that_hangs(void **state)
{
	char path[128], command[256], pid[32] = "";
	(void)state;
	creds_env_path("pid", path, sizeof(path));
	snprintf(command, sizeof(command), "sleep 60 & echo $! > %s; wait", path);
	expect_failure(command, STOW_UNAVAILABLE, "has not ended in time");

	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(pid, sizeof(pid), f));
	fclose(f);
	/* Gone, or a zombie that its new parent has not looked at: then it has no open files either. */
	char proc[64], target[64];
	snprintf(proc, sizeof(proc), "/proc/%.*s/fd/0", (int)strcspn(pid, "\n"), pid);
	for (int i = 0; i < 200; i++) {
		if (readlink(proc, target, sizeof(target)) < 0)
			return;
		usleep(10000);
	}
	fail_msg("%s goes on", proc);
}

static void a_process_gives_credentials(void **state)
{
	(void)state;
	creds_env_put(".aws/config", "[profile p]\ncredential_process = cat \"$HOME/doc\"\n");
	creds_env_put("doc", "{\"Version\":1,\"AccessKeyId\":\"QA\",\"SecretAccessKey\":\"QS\"}");
	options.credentials.profile = "p";
	expect_keys("profile", "QA", "QS", "");

	struct creds *c = NULL;
	struct stow_err err;
	creds_env_put("doc", "{}");
	assert_int_equal(creds_new(&options, "", NULL, &c, &err), 0);
	assert_int_equal(creds_wait(c, WAIT, &err), -1);
	assert_string_equal(err.msg, "credentials from the profile: credential_process: the answer has no "
				     "\"Version\": 1");
	creds_free(c);

	/* The end does not wait for one that hangs. */
	creds_env_put(".aws/config", "[profile p]\ncredential_process = sleep 60\n");
	int64_t start = clock_mono_ns();
	assert_int_equal(creds_new(&options, "", NULL, &c, &err), 0);
	const struct creds_snapshot *s = NULL;
	assert_int_equal(creds_get(c, &s, &err), 1);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	assert_int_equal(creds_wait(c, clock_mono_ns() + NSEC_PER_SEC / 10, &err), -1);
	assert_int_equal(err.code, STOW_UNAVAILABLE);
	creds_free(c);
	assert_true(clock_mono_ns() - start < 30 * NSEC_PER_SEC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, creds_env_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_order),
		TEST(nothing_is_configured),
		TEST(profiles_that_fail),
		TEST(files_that_fail),
		TEST(files_may_come_late),
		TEST(profiles_may_come_late),
		TEST(not_all_can_come_late),
		TEST(containers),
		TEST(addresses_of_sts),
		TEST(explanations),
		TEST(files_are_read_again),
		TEST(keys_are_from_one_file),
		TEST(processes),
		TEST(a_process_that_hangs),
		TEST(a_process_gives_credentials),
	};
	return cmocka_run_group_tests_name("s3_creds_chain", tests, NULL, NULL);
}
