#include "tests/unit/s3_env.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

static void answer(void *arg, const struct env_request *req, struct env_answer *a)
{
	struct s3_env *e = arg;
	const struct s3_step *s;
	struct stow_err err;
	unsigned i;

	(void)pthread_mutex_lock(&e->lock);
	i = atomic_fetch_add(&e->seen_n, 1);
	s = &e->steps[i < e->steps_n ? i : e->steps_n - 1];
	MUST(i < S3_ENV_SEEN && e->steps_n > 0);
	e->seen[i] = x_asprintf("%s%.*s", req->head, (int)(req->body_n < 4000 ? req->body_n : 0),
				req->body != NULL ? (const char *)req->body : "");
	a->after = s->after;
	a->cut = s->cut;
	a->delay_ms = s->delay_ms;
	if (s->head)
		MUST(buf_printf(&a->text, &err, "HTTP/1.1 %s\r\n%s\r\n", s->status, s->headers) == 0);
	else
		env_say(a, s->status, s->headers != NULL ? s->headers : "", s->body != NULL ? s->body : "");
	(void)pthread_mutex_unlock(&e->lock);
}

static int get_creds(void *arg, struct s3_creds *ret_c, struct stow_err *err)
{
	struct s3_env *e = arg;

	if (atomic_load(&e->not_yet) > 0) {
		atomic_fetch_sub(&e->not_yet, 1);
		(void)stow_fail(err, STOW_UNAVAILABLE, "no credentials yet");
		return 1;
	}
	if (e->refuse != STOW_OK)
		return stow_fail(err, e->refuse, "no credentials at all");
	atomic_fetch_add(&e->held, 1);
	*ret_c = (struct s3_creds){
		.key = { "AKID", "secret", atomic_load(&e->generation) == 0 ? "old" : "new" }, .held = e
	};
	if (e->no_token)
		ret_c->key.session_token = NULL;
	return 0;
}

static void refresh_creds(void *arg, const struct s3_creds *failed)
{
	struct s3_env *e = arg;

	MUST(failed->held == e);
	atomic_fetch_add(&e->refreshes, 1);
	atomic_store(&e->generation, 1);
	atomic_store(&e->not_yet, 1);
}

static void release_creds(void *arg, struct s3_creds *c)
{
	struct s3_env *e = arg;

	MUST(c->held == e);
	atomic_fetch_sub(&e->held, 1);
}

void s3_env_init(struct s3_env *e)
{
	*e = (struct s3_env){ .o = { .endpoint = "",
				     .region = "us-east-1",
				     .bucket = "layers",
				     .prefix = "",
				     .ca_file = "",
				     .proxy = "",
				     .user_agent = "",
				     .sse_kms_key = "",
				     .sse_kms_context = "",
				     .storage_class = "",
				     .expected_owner = "",
				     .tags = "",
				     .connect_timeout = 5 * NSEC_PER_SEC,
				     .first_byte_timeout = 5 * NSEC_PER_SEC,
				     .stall_timeout = 5 * NSEC_PER_SEC,
				     .request_timeout = 20 * NSEC_PER_SEC,
				     .max_attempts = 4 } };
	(void)pthread_mutex_init(&e->lock, NULL);
	e->server = http_env_new(answer, e);
	(void)snprintf(e->endpoint, sizeof(e->endpoint), "http://%s", http_env_host(e->server));
	e->o.endpoint = e->endpoint;
}

void s3_env_start(struct s3_env *e)
{
	const struct s3_creds_source creds = { e, get_creds, refresh_creds, release_creds };
	struct stow_err err;

	assert_int_equal(http_new(&(struct http_options){ .max_transfers = 4, .proxy = "" }, &e->http, &err),
			 0);
	if (s3_client_new(&e->o, e->http, &creds, &e->client, &err) < 0)
		fail_msg("%s", err.msg);
}

static void forget(struct s3_env *e)
{
	for (unsigned i = 0; i < S3_ENV_SEEN; i++) {
		free(e->seen[i]);
		e->seen[i] = NULL;
	}
	atomic_store(&e->seen_n, 0);
}

void s3_env_script(struct s3_env *e, const struct s3_step *steps, size_t n)
{
	/* A request that was cancelled may be with the server still. */
	(void)pthread_mutex_lock(&e->lock);
	forget(e);
	free((void *)(uintptr_t)e->steps);
	e->steps = memcpy(x_calloc(n, sizeof(*steps)), steps, n * sizeof(*steps));
	e->steps_n = n;
	(void)pthread_mutex_unlock(&e->lock);
}

void s3_env_end(struct s3_env *e)
{
	s3_client_free(e->client);
	http_free(e->http);
	http_env_free(e->server);
	assert_int_equal(e->held, 0);
	forget(e);
	free((void *)(uintptr_t)e->steps);
	(void)pthread_mutex_destroy(&e->lock);
}

int s3_env_head(struct s3_env *e, struct stow_err *err)
{
	struct s3_object o;

	*err = (struct stow_err){ 0 };
	return s3_head(e->client, "a/key", &o, err);
}

int s3_env_range(struct s3_env *e, struct stow_err *err)
{
	char to[10];

	*err = (struct stow_err){ 0 };
	if (s3_get(e->client, "a/key", "\"e\"", 5, sizeof(to), to, err) < 0)
		return -1;
	assert_memory_equal(to, "0123456789", sizeof(to));
	return 0;
}

void s3_env_expect(const struct stow_err *err, enum stow_code code, const char *text)
{
	if (err->code != code || strstr(err->msg, text) == NULL)
		fail_msg("%s: %s; expected %s and \"%s\"", stow_code_name(err->code), err->msg,
			 stow_code_name(code), text);
}

const char *s3_env_header(struct s3_env *e, unsigned i, const char *name)
{
	static char out[4096];

	assert_true(i < e->seen_n);
	return env_header(&(struct env_request){ .head = e->seen[i] }, name, out, sizeof(out));
}

const char *s3_env_line(struct s3_env *e, unsigned i)
{
	static char out[4096];

	assert_true(i < e->seen_n);
	(void)snprintf(out, sizeof(out), "%.*s", (int)(strstr(e->seen[i], " HTTP/1.1") - e->seen[i]),
		       e->seen[i]);
	return out;
}

const char *s3_env_body(struct s3_env *e, unsigned i)
{
	assert_true(i < e->seen_n);
	return strstr(e->seen[i], "\r\n\r\n") + 4;
}
