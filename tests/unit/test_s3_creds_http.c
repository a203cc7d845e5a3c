/* The providers that ask over HTTP: what they ask for, and what becomes of each answer. */
#include "backends/s3/creds.h"
#include "backends/s3/http.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/creds_env.h"
#include "tests/unit/http_env.h"

#include <stdio.h>

#define DOCUMENT                                                                                             \
	"{\"Code\":\"Success\",\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"TK\","          \
	"\"Expiration\":\"2099-01-01T00:00:00Z\"}"

/* The server of the moment: answers[n] is for the request n, the last one for all that follow. */
struct answer {
	const char *status, *headers, *body;
	enum env_after after;
};
static struct server {
	struct http_env *env;
	struct answer answers[8];
	atomic_uint n; /* requests */
	char heads[8][1024];
	char bodies[8][1024];
} server;

static void answer(void *arg, const struct env_request *req, struct env_answer *a)
{
	unsigned i = atomic_fetch_add(&server.n, 1), use = i;
	(void)arg;
	MUST(i < ARRAY_LEN(server.heads));
	snprintf(server.heads[i], sizeof(server.heads[i]), "%s", req->head);
	snprintf(server.bodies[i], sizeof(server.bodies[i]), "%.*s", (int)req->body_n,
		 req->body_n > 0 ? (const char *)req->body : "");
	while (use > 0 && !server.answers[use].status)
		use--;
	a->after = server.answers[use].after;
	if (a->after != ENV_HANG)
		env_say(a, server.answers[use].status, server.answers[use].headers, server.answers[use].body);
}

static struct http *http;

static int setup(void **state)
{
	struct stow_err err;
	if (creds_env_setup(state) < 0)
		return -1;
	memset(&server, 0, sizeof(server));
	server.env = http_env_new(answer, NULL);
	return http_new(&(struct http_options){ .max_transfers = 4, .proxy = "" }, &http, &err);
}

static int teardown(void **state)
{
	http_free(http);
	http_env_free(server.env);
	return creds_env_teardown(state);
}

/* A header of a request. */
static const char *header(unsigned i, const char *name)
{
	static char value[1024];
	return env_header(&(struct env_request){ .head = server.heads[i] }, name, value, sizeof(value));
}

static void expect_line(unsigned i, const char *line)
{
	assert_memory_equal(server.heads[i], line, strlen(line));
	assert_int_equal(server.heads[i][strlen(line)], ' ');
}

static int get(const struct creds_snapshot **ret_s, struct stow_err *err)
{
	const struct s3_options o = creds_env_options();
	CLEANUP(creds_freep) struct creds *c = NULL;
	if (creds_new(&o, "eu-west-1", http, &c, err) < 0 ||
	    creds_wait(c, clock_mono_ns() + 20 * NSEC_PER_SEC, err) < 0)
		return -1;
	return creds_get(c, ret_s, err);
}

static void expect_keys(const char *provider)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	struct stow_err err;
	if (get(&s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(s->provider, provider);
	assert_string_equal(s->access_key, "AK");
	assert_string_equal(s->secret_key, "SK");
	assert_string_equal(s->session_token, "TK");
	assert_int_equal(s->expires_ns, INT64_C(4070908800) * NSEC_PER_SEC);
}

/* The failure's message begins with `start` and contains `part`. */
static void expect_failure(enum stow_code code, const char *start, const char *part)
{
	const struct creds_snapshot *s = NULL;
	struct stow_err err;
	assert_int_equal(get(&s, &err), -1);
	assert_int_equal(err.code, code);
	if (strncmp(err.msg, start, strlen(start)) != 0 || !strstr(err.msg, part))
		fail_msg("not \"%s...%s\": %s", start, part, err.msg);
}

/* --- container --- */

static void container(const char *path)
{
	creds_env_set("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://%s%s", http_env_host(server.env), path);
}

static void a_container(void **state)
{
	(void)state;
	container("/v2/a?b=c");
	server.answers[0] = (struct answer){ "200 OK", "", DOCUMENT, ENV_KEEP };
	expect_keys("container");
	expect_line(0, "GET /v2/a?b=c");
	assert_string_equal(header(0, "authorization"), "");

	creds_env_set("AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic abc");
	expect_keys("container");
	assert_string_equal(header(1, "authorization"), "Basic abc");

	/* The file goes before the variable. */
	char path[128];
	creds_env_path("token", path, sizeof(path));
	creds_env_put("token", "t.o-k_en\n");
	creds_env_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%s", path);
	expect_keys("container");
	assert_string_equal(header(2, "authorization"), "t.o-k_en");

	creds_env_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%s.none", path);
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the container: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: /",
		       "No such file");
	assert_int_equal(server.n, 3);
}

static void a_container_that_fails_at_first(void **state)
{
	(void)state;
	container("/");
	server.answers[0] = (struct answer){ "500 Oh", "", "", ENV_KEEP };
	server.answers[1] = (struct answer){ "429 Oh", "", "", ENV_RESET };
	server.answers[2] = (struct answer){ "200 OK", "", DOCUMENT, ENV_KEEP };
	expect_keys("container");
	assert_int_equal(server.n, 3);
}

static void a_container_that_refuses(void **state)
{
	(void)state;
	container("/x");
	server.answers[0] = (struct answer){ "400 Bad Request", "",
					     "{\"code\":\"NoAssociation\",\"message\":\"no role\"}",
					     ENV_KEEP };
	expect_failure(STOW_FAILED_PRECONDITION, "credentials from the container: http://127.0.0.1:",
		       "/x: HTTP 400: NoAssociation: \"no role\"");
	server.answers[0] = (struct answer){ "403 Forbidden", "", "<html>", ENV_KEEP };
	expect_failure(STOW_PERMISSION_DENIED, "credentials from the container: ", "/x: HTTP 403");
	assert_int_equal(server.n, 2);
	server.answers[0] = (struct answer){ "503 Slow", "", "", ENV_KEEP };
	expect_failure(STOW_UNAVAILABLE, "credentials from the container: ", "/x: HTTP 503");
	assert_int_equal(server.n, 5);
	server.answers[0] = (struct answer){ "200 OK", "", "<html>", ENV_KEEP };
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the container: ", "/x: the answer is not a JSON object");
}

/* --- instance --- */

static void instance(void)
{
	creds_env_set("AWS_EC2_METADATA_SERVICE_ENDPOINT=http://%s/", http_env_host(server.env));
}

#define ROLES "/latest/meta-data/iam/security-credentials/"

static void an_instance(void **state)
{
	(void)state;
	instance();
	server.answers[0] = (struct answer){ "200 OK", "", "ToKeN==", ENV_KEEP };
	server.answers[1] = (struct answer){ "200 OK", "", "my-role\n", ENV_KEEP };
	server.answers[2] = (struct answer){ "200 OK", "", DOCUMENT, ENV_KEEP };
	expect_keys("instance");
	assert_int_equal(server.n, 3);
	expect_line(0, "PUT /latest/api/token");
	assert_string_equal(header(0, "x-aws-ec2-metadata-token-ttl-seconds"), "21600");
	expect_line(1, "GET " ROLES);
	assert_string_equal(header(1, "x-aws-ec2-metadata-token"), "ToKeN==");
	expect_line(2, "GET " ROLES "my-role");
	assert_string_equal(header(2, "x-aws-ec2-metadata-token"), "ToKeN==");
}

static void an_instance_that_refuses(void **state)
{
	static const struct answer token = { "200 OK", "", "ToKeN==", ENV_KEEP };
	(void)state;
	instance();
	/* Version 1 is not tried. */
	server.answers[0] = (struct answer){ "404 Not Found", "", "", ENV_KEEP };
	expect_failure(STOW_FAILED_PRECONDITION, "credentials from the instance: ",
		       "has no version 2 (HTTP 404 for a token), and version 1 is not used");
	assert_int_equal(server.n, 1);
	server.answers[0].status = "403 Forbidden";
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the instance: ", "is switched off for this instance");
	server.answers[0] = token;
	server.answers[0].body = "a b";
	expect_failure(STOW_FAILED_PRECONDITION, "credentials from the instance: ", "a token that is none");
	assert_int_equal(server.n, 3);
}

static void an_instance_without_a_role(void **state)
{
	(void)state;
	instance();
	server.answers[0] = (struct answer){ "200 OK", "", "ToKeN==", ENV_KEEP };
	server.answers[1] = (struct answer){ "404 Not Found", "", "", ENV_KEEP };
	server.answers[2] = server.answers[0];
	server.answers[3] = (struct answer){ "200 OK", "", "../../x", ENV_KEEP };
	server.answers[4] = server.answers[0];
	server.answers[5] = (struct answer){ "200 OK", "", "role", ENV_KEEP };
	server.answers[6] = (struct answer){ "200 OK", "",
					     "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"a\"}",
					     ENV_KEEP };
	expect_failure(STOW_FAILED_PRECONDITION, "credentials from the instance: ", "no instance profile");
	/* Nothing but a name may come. */
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the instance: ", "gave a role's name that is none");
	expect_failure(STOW_PERMISSION_DENIED, "credentials from the instance: ",
		       "role role: there are no credentials: AssumeRoleUnauthorizedAccess: \"a\"");
}

static void an_instance_that_is_silent(void **state)
{
	(void)state;
	instance();
	server.answers[0] = (struct answer){ .status = "", .after = ENV_HANG };
	expect_failure(STOW_UNAVAILABLE, "credentials from the instance: ",
		       "the instance's hop limit must be 2: aws ec2 modify-instance-metadata-options "
		       "--http-put-response-hop-limit 2");
}

static void no_instance(void **state)
{
	(void)state;
	creds_env_set("AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1");
	expect_failure(
		STOW_UNAVAILABLE,
		"credentials from the instance: nothing else is configured, and this seems to be no EC2 "
		"instance: ",
		"http://127.0.0.1:1/latest/api/token");
	creds_env_set("AWS_EC2_METADATA_SERVICE_ENDPOINT=127.0.0.1");
	expect_failure(
		STOW_FAILED_PRECONDITION,
		"credentials from the instance: AWS_EC2_METADATA_SERVICE_ENDPOINT: 127.0.0.1 is no URL", "");
	creds_env_set("AWS_EC2_METADATA_SERVICE_ENDPOINT=");
	creds_env_set("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv5");
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the instance: ", "is neither IPv4 nor IPv6");
}

/* --- web identity --- */

#define STS_ANSWER                                                                                           \
	"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"                  \
	"<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>TK</SessionToken>"  \
	"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"      \
	"</AssumeRoleWithWebIdentityResponse>"

static void sts(const char *variable)
{
	char path[128];
	creds_env_path("token", path, sizeof(path));
	creds_env_put("token", "head.body/+=.sign\n");
	creds_env_set("AWS_WEB_IDENTITY_TOKEN_FILE=%s", path);
	creds_env_set("AWS_ROLE_ARN=arn:aws:iam::123456789012:role/a+b");
	creds_env_set("%s=http://%s", variable, http_env_host(server.env));
}

static void a_web_identity(void **state)
{
	(void)state;
	sts("AWS_ENDPOINT_URL_STS");
	creds_env_set("AWS_ENDPOINT_URL=http://127.0.0.1:1");
	creds_env_set("AWS_ROLE_SESSION_NAME=pod@7");
	server.answers[0] = (struct answer){ "200 OK", "", STS_ANSWER, ENV_KEEP };
	expect_keys("web identity");
	expect_line(0, "POST /");
	assert_string_equal(header(0, "content-type"), "application/x-www-form-urlencoded");
	assert_string_equal(
		server.bodies[0],
		"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
		"&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fa%2Bb&RoleSessionName=pod%407"
		"&WebIdentityToken=head.body%2F%2B%3D.sign");
	/* The token is read anew, and a name is made where none is given. */
	creds_env_put("token", "new");
	creds_env_set("AWS_ROLE_SESSION_NAME=");
	expect_keys("web identity");
	assert_non_null(strstr(server.bodies[1], "&RoleSessionName=stowage-"));
	assert_non_null(strstr(server.bodies[1], "&WebIdentityToken=new"));
}

static void a_web_identity_of_a_profile(void **state)
{
	char path[128], text[256];
	(void)state;
	sts("AWS_ENDPOINT_URL");
	creds_env_set("AWS_WEB_IDENTITY_TOKEN_FILE=");
	creds_env_set("AWS_ROLE_ARN=");
	creds_env_path("token", path, sizeof(path));
	snprintf(text, sizeof(text),
		 "[default]\nrole_arn=r\nweb_identity_token_file=%s\nrole_session_name=s\n", path);
	creds_env_put(".aws/config", text);
	server.answers[0] = (struct answer){ "200 OK", "", STS_ANSWER, ENV_KEEP };
	expect_keys("profile");
	assert_non_null(strstr(server.bodies[0], "&RoleArn=r&RoleSessionName=s&"));
}

static void a_web_identity_that_is_refused(void **state)
{
	(void)state;
	sts("AWS_ENDPOINT_URL_STS");
	server.answers[0] =
		(struct answer){ "403 Forbidden", "",
				 "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized"
				 "</Message></Error></ErrorResponse>",
				 ENV_KEEP };
	expect_failure(
		STOW_PERMISSION_DENIED, "credentials from the web identity: http://127.0.0.1:",
		"AssumeRoleWithWebIdentity of arn:aws:iam::123456789012:role/a+b: HTTP 403 AccessDenied: "
		"\"Not authorized\"");
	server.answers[0].status = "400 Bad Request";
	server.answers[0].body = "<E><Error><Code>IDPCommunicationError</Code></Error></E>";
	expect_failure(STOW_UNAVAILABLE,
		       "credentials from the web identity: ", "HTTP 400 IDPCommunicationError");
	server.answers[0].body = "oops";
	expect_failure(STOW_FAILED_PRECONDITION, "credentials from the web identity: ", "/: HTTP 400");
	server.answers[0] = (struct answer){ "200 OK", "", "<a/>", ENV_KEEP };
	expect_failure(STOW_FAILED_PRECONDITION,
		       "credentials from the web identity: ", "/: the answer has no Credentials");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_container),
		TEST(a_container_that_fails_at_first),
		TEST(a_container_that_refuses),
		TEST(an_instance),
		TEST(an_instance_that_refuses),
		TEST(an_instance_without_a_role),
		TEST(an_instance_that_is_silent),
		TEST(no_instance),
		TEST(a_web_identity),
		TEST(a_web_identity_of_a_profile),
		TEST(a_web_identity_that_is_refused),
	};
	return cmocka_run_group_tests_name("s3_creds_http", tests, NULL, NULL);
}
