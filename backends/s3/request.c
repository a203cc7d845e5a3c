#include "backends/s3/request.h"

#include "backends/s3/request_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <semaphore.h>
#include <stdarg.h>
#include <sys/random.h>

#define REQUEST_MAGIC 0x53c00001u

/* How long a request waits for the first credentials, and how often it looks. */
#define CREDS_WAIT (60 * NSEC_PER_SEC)
#define CREDS_LOOK (50 * NSEC_PER_MSEC)
/* S3 refuses what is 15 minutes off; an answer without a body says 403 only. */
#define SKEW_SUSPECT (5 * 60 * NSEC_PER_SEC)

static const char hash_of_nothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void attempt(struct request *r);
static void try_again_in(struct request *r, int64_t ns);

/* --- what all requests share --- */

int request_env_init(struct request_env *s, const struct s3_options *o, const char *region, struct http *http,
		     const struct s3_creds_source *creds, struct stow_err *err)
{
	*s = (struct request_env){ .o = o, .creds = creds, .http = http, .home = region };
	if (s3_endpoint_make(o, region, false, &s->endpoint, err) < 0)
		return -1;
	s->tls = s->endpoint.tls;
	(void)snprintf(s->learnt.region, sizeof(s->learnt.region), "%s", region);
	retry_budget_init(&s->budget);
	lock_init(&s->lock, RANK_S3);
	return 0;
}

void request_env_destroy(struct request_env *s)
{
	lock_destroy(&s->lock);
}

int64_t request_env_now(struct request_env *s)
{
	LOCK_SCOPE(&s->lock);
	return clock_wall_ns() + s->sign_offset_ns;
}

/* --- what a request is made of --- */

void request_init(struct request *r, struct request_env *s, const char *op, const char *method,
		  const char *key)
{
	*r = (struct request){ .magic = REQUEST_MAGIC, .env = s, .op = op, .method = method };
	r->key = key != NULL ? x_strdup(key) : NULL;
	buf_init(&r->url, REQUEST_TEXT_MAX);
	buf_init(&r->text, REQUEST_TEXT_MAX);
	memcpy(r->payload, hash_of_nothing, sizeof(hash_of_nothing));
}

static void release_creds(struct request *r)
{
	const struct s3_creds_source *c = r->env->creds;

	if (r->has_creds && c->release != NULL)
		c->release(c->arg, &r->creds);
	r->has_creds = false;
}

static void free_pairs(struct sigv4_pair *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)p[i].value);
}

void request_destroy(struct request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	release_creds(r);
	free_pairs(r->query, r->query_n);
	free_pairs(r->headers, r->headers_n);
	http_response_free(&r->t.resp);
	buf_free(&r->url);
	buf_free(&r->text);
	free(r->key);
	r->magic = 0;
}

static PRINTF(4, 0) void add_pair(struct sigv4_pair *p, size_t *n, const char *name, const char *fmt,
				  va_list ap)
{
	char *value;

	assert(*n < REQUEST_PAIRS);
	if (vasprintf(&value, fmt, ap) < 0)
		x_abort("out of memory: %s", name);
	p[(*n)++] = (struct sigv4_pair){ name, value };
}

void request_query(struct request *r, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_pair(r->query, &r->query_n, name, fmt, ap);
	va_end(ap);
}

void request_header(struct request *r, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_pair(r->headers, &r->headers_n, name, fmt, ap);
	va_end(ap);
}

/* --- its end --- */

static void finish(struct request *r, int result)
{
	r->result = result;
	r->done(r);
}

/* "s3: PutObject bucket/key" in front of the failure. */
static void finish_failed(struct request *r)
{
	const char *slash = r->key != NULL ? "/" : "", *key = r->key != NULL ? r->key : "";

	if (!http_on_thread(r->env->http)) {
		r->failed = true; /* which `done` is told on the transfer thread */
		try_again_in(r, 0);
		return;
	}
	if (r->attempts > 1)
		(void)stow_fail(&r->err, r->err.code, "%s (%u attempts)", r->err.msg, r->attempts);
	(void)stow_wrap(&r->err, "s3: %s %s%s%s", r->op, r->env->o->bucket, slash, key);
	finish(r, -1);
}

static void finish_cancelled(struct request *r)
{
	(void)stow_fail(&r->err, STOW_CANCELLED, "cancelled");
	finish_failed(r);
}

static const struct {
	const char *code;
	enum stow_code as;
} meanings[] = {
	{ "NoSuchBucket", STOW_FAILED_PRECONDITION },
	{ "NoSuchKey", STOW_NOT_FOUND },
	{ "NoSuchUpload", STOW_NOT_FOUND },
	{ "AuthorizationHeaderMalformed", STOW_FAILED_PRECONDITION },
	{ "AccessDenied", STOW_PERMISSION_DENIED },
	{ "ExpiredToken", STOW_PERMISSION_DENIED },
	{ "ExpiredTokenException", STOW_PERMISSION_DENIED },
	{ "TokenRefreshRequired", STOW_PERMISSION_DENIED },
	{ "InvalidToken", STOW_PERMISSION_DENIED },
	{ "QuotaExceeded", STOW_RESOURCE_EXHAUSTED },
	{ "XMinioStorageFull", STOW_RESOURCE_EXHAUSTED },
	{ "XMinioAdminBucketQuotaExceeded", STOW_RESOURCE_EXHAUSTED },
	{ "BadDigest", STOW_DATA_LOSS },
	{ "XAmzContentSHA256Mismatch", STOW_DATA_LOSS },
	{ "XAmzContentChecksumMismatch", STOW_DATA_LOSS },
	{ "NotImplemented", STOW_UNIMPLEMENTED },
	{ "MethodNotAllowed", STOW_UNIMPLEMENTED },
	{ "RequestTimeout", STOW_UNAVAILABLE },
};

static enum stow_code code_of(const struct request *r, int status)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (strcmp(r->error.code, meanings[i].code) == 0)
			return meanings[i].as;
	if (status == 412 || strcmp(r->error.code, "PreconditionFailed") == 0)
		return r->flags & REQUEST_IF_ABSENT ? STOW_ALREADY_EXISTS : STOW_FAILED_PRECONDITION;
	switch (status) {
	case 401:
	case 403:
		return STOW_PERMISSION_DENIED;
	case 404: /* what is missing is in the body, which HEAD has not: see s3_head() */
		return strcmp(r->method, "HEAD") == 0 ? STOW_NOT_FOUND : STOW_FAILED_PRECONDITION;
	case 405:
	case 501:
		return STOW_UNIMPLEMENTED;
	case 408:
	case 429:
		return STOW_UNAVAILABLE;
	case 409:
		return STOW_ABORTED;
	case 416:
		return STOW_OUT_OF_RANGE;
	case 507:
		return STOW_RESOURCE_EXHAUSTED;
	default:
		break;
	}
	if (status >= 300 && status < 400)
		return STOW_FAILED_PRECONDITION;
	return status >= 400 && status < 500 ? STOW_INVALID_ARGUMENT : STOW_UNAVAILABLE;
}

/* "403 AccessDenied (request 4X): what the server has to say" */
static void explain_answer(struct request *r)
{
	const struct s3_error *e = &r->error;
	const char *id = http_header(&r->t.resp, "x-amz-request-id");
	char request[128] = "";

	if (id == NULL && e->request_id[0] != '\0')
		id = e->request_id;
	if (id != NULL)
		(void)snprintf(request, sizeof(request), " (request %.96s)", id);
	(void)stow_fail(&r->err, code_of(r, r->t.resp.status), "%d%s%s%s%s%s", r->t.resp.status,
			e->code[0] != '\0' ? " " : "", e->code, request, e->message[0] != '\0' ? ": " : "",
			e->message);
	if (retry_judge(&(struct retry_outcome){ HTTP_ANSWERED, r->t.resp.status, e->code, false }) ==
	    RETRY_REGION)
		(void)stow_fail(&r->err, r->err.code, "%s (asked in region %s)", r->err.msg, r->region);
}

/* --- what an answer means --- */

/* Keeps the difference of the clocks; whether the answer has a date, and *ret_off_ns. */
static bool learn_clock(struct request *r, int64_t *ret_off_ns)
{
	struct request_env *s = r->env;
	const char *date = http_header(&r->t.resp, "date");
	int64_t at;

	if (date == NULL || !http_date(date, &at))
		return false;
	*ret_off_ns = at - clock_wall_ns();
	LOCK_SCOPE(&s->lock);
	s->learnt.any = true;
	s->learnt.clock_offset_ns = *ret_off_ns;
	return true;
}

/* The bucket's region, if the answer says it and the request was for another one: all requests' from now
 * on. Whether to try again. */
static bool learn_region(struct request *r)
{
	struct request_env *s = r->env;
	const char *region = http_header(&r->t.resp, "x-amz-bucket-region");
	struct s3_endpoint e;
	struct stow_err err;

	if (region == NULL)
		region = r->error.region;
	if (r->region_used || !s3_region_ok(region) || strcmp(region, r->region) == 0)
		return false;
	if (s3_endpoint_make(s->o, region, strcmp(region, s->home) != 0, &e, &err) < 0)
		return false;
	r->region_used = true;
	LOCK_SCOPE(&s->lock);
	s->endpoint = e;
	(void)snprintf(s->learnt.region, sizeof(s->learnt.region), "%s", region);
	s->learnt.region_changed = strcmp(region, s->home) != 0;
	return true;
}

static bool learn_skew(struct request *r, bool dated, int64_t off_ns)
{
	struct request_env *s = r->env;

	if (r->skew_used || !dated)
		return false;
	r->skew_used = true;
	LOCK_SCOPE(&s->lock);
	s->sign_offset_ns = off_ns;
	return true;
}

static bool refresh_creds(struct request *r)
{
	const struct s3_creds_source *c = r->env->creds;

	if (r->refresh_used || c->refresh == NULL || r->creds.key.session_token == NULL)
		return false;
	r->refresh_used = true;
	c->refresh(c->arg, &r->creds);
	return true;
}

/* Whether something has been put right, so that the request may go out again at once. */
static bool repaired(struct request *r, enum retry_verdict v, bool dated, int64_t off_ns)
{
	switch (v) {
	case RETRY_SKEW:
		return learn_skew(r, dated, off_ns);
	case RETRY_EXPIRED:
		return refresh_creds(r);
	case RETRY_REGION:
		/* HEAD has no body that could say more than 400. */
		return learn_region(r) ||
		       (r->t.resp.status == 400 && r->error.code[0] == '\0' && refresh_creds(r));
	case RETRY_NONE:
		/* Nor 403. */
		if (r->t.failure == HTTP_ANSWERED && r->t.resp.status == 403 && r->error.code[0] == '\0' &&
		    dated && (off_ns > SKEW_SUSPECT || off_ns < -SKEW_SUSPECT))
			return learn_skew(r, dated, off_ns);
		return false;
	case RETRY_SOON:
	case RETRY_THROTTLED:
		break;
	}
	return false;
}

/* A success, or -1 with the outcome in *o and r->err. */
static int look_at_answer(struct request *r, struct retry_outcome *o)
{
	struct http_transfer *t = &r->t;
	const struct buf *body = &t->resp.body;
	bool good = t->resp.status >= 200 && t->resp.status < 300;

	r->error = (struct s3_error){ 0 };
	*o = (struct retry_outcome){ t->failure, t->resp.status, r->error.code, r->bad_answer };
	if (r->bad_answer || t->failure != HTTP_ANSWERED) {
		r->err = t->err;
		/* Its sink refused it, but the fault is the answer's. */
		if (r->bad_answer)
			o->failure = HTTP_ANSWERED;
		return -1;
	}
	if (!good || (r->flags & REQUEST_LATE_ERROR))
		(void)xml_error(body->p, body->len, &r->error);
	if (!good || r->error.code[0] != '\0') {
		explain_answer(r);
		return -1;
	}
	if (r->check == NULL || r->check(r, &r->err) == 0)
		return 0;
	o->bad_answer = r->bad_answer;
	return -1;
}

/* --- the attempts --- */

/* Later, unless it has been cancelled meanwhile. */
static void try_again_in(struct request *r, int64_t ns)
{
	struct request_env *s = r->env;

	LOCK_SCOPE(&s->lock);
	r->waiting = true;
	http_after(s->http, &r->timer, r->cancelled ? 0 : ns);
}

static bool is_cancelled(struct request *r)
{
	LOCK_SCOPE(&r->env->lock);
	return r->cancelled;
}

static uint64_t any_bits(void)
{
	uint64_t v = 0;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		v = (uint64_t)clock_mono_ns();
	return v;
}

/* Whether one more attempt is allowed; takes its price. */
static bool may_retry(struct request *r, enum retry_verdict v)
{
	struct request_env *s = r->env;

	if ((v != RETRY_SOON && v != RETRY_THROTTLED) || r->attempts >= s->o->max_attempts)
		return false;
	LOCK_SCOPE(&s->lock);
	return retry_budget_take(&s->budget, v);
}

static void on_answer(struct http_transfer *t)
{
	struct request *r = CONTAINER_OF(t, struct request, t);
	struct request_env *s = r->env;
	struct retry_outcome o;
	enum retry_verdict v;
	int64_t off_ns = 0;
	bool dated = learn_clock(r, &off_ns);

	CHECK_OBJ(r, REQUEST_MAGIC);
	if (look_at_answer(r, &o) == 0) {
		lock_take(&s->lock);
		retry_budget_give(&s->budget);
		lock_release(&s->lock);
		finish(r, 0);
		return;
	}
	v = retry_judge(&o);
	if (is_cancelled(r)) {
		finish_cancelled(r);
	} else if (repaired(r, v, dated, off_ns)) {
		try_again_in(r, 0);
	} else if (may_retry(r, v)) {
		int64_t after = retry_after_ns(http_header(&t->resp, "retry-after"), clock_wall_ns());

		try_again_in(r, retry_delay_ns(v, r->attempts, any_bits(), after));
	} else {
		finish_failed(r);
	}
}

static void on_timer(struct http_timer *timer)
{
	struct request *r = CONTAINER_OF(timer, struct request, timer);
	struct request_env *s = r->env;

	/* A cancel may have set the timer again since it ran out, and the request may be about to end. */
	lock_take(&s->lock);
	r->waiting = false;
	(void)http_timer_stop(s->http, timer);
	lock_release(&s->lock);
	attempt(r);
}

/* Credentials to sign with. 1: not yet, it will be looked for again. */
static int take_creds(struct request *r)
{
	const struct s3_creds_source *c = r->env->creds;
	int result;

	release_creds(r);
	result = c->get(c->arg, &r->creds, &r->err);
	if (result == 0) {
		r->has_creds = true;
		r->creds_until_ns = 0;
	}
	if (result <= 0)
		return result;
	if (r->creds_until_ns == 0)
		r->creds_until_ns = clock_mono_ns() + CREDS_WAIT;
	if (clock_mono_ns() >= r->creds_until_ns)
		return -1;
	try_again_in(r, CREDS_LOOK);
	return 1;
}

static void fill_transfer(struct request *r)
{
	const struct s3_options *o = r->env->o;
	bool patient = r->flags & REQUEST_TAKES_TIME;

	r->t.req = (struct http_request){
		.method = r->method,
		.url = (char *)r->url.p,
		.headers = r->lines,
		.body_size = r->body.size,
		.body_read = r->body.read,
		.sink = r->sink,
		.arg = r->sink != NULL ? r->arg : r->body.arg,
		.max_body = r->max_body,
		.connect_ns = o->connect_timeout,
		.first_byte_ns = patient ? 0 : o->first_byte_timeout,
		.stall_ns = patient ? 0 : o->stall_timeout,
		.total_ns = o->request_timeout,
	};
	r->t.done = on_answer;
}

/* Hands it over, unless it has been cancelled. Under the lock, so that whoever cancels it either comes
 * first or finds the transfer there; afterwards the request may be gone. */
static bool submit(struct request *r)
{
	struct request_env *s = r->env;

	LOCK_SCOPE(&s->lock);
	if (r->cancelled)
		return false;
	http_submit(s->http, &r->t);
	return true;
}

static void attempt(struct request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	if (!r->failed && is_cancelled(r)) {
		finish_cancelled(r);
		return;
	}
	if (r->failed) {
		finish_failed(r);
		return;
	}
	switch (take_creds(r)) {
	case 0:
		break;
	case 1:
		return;
	default:
		finish_failed(r);
		return;
	}
	r->attempts++;
	r->bad_answer = false;
	if (request_sign(r) < 0) {
		finish_failed(r);
		return;
	}
	if (r->begin != NULL)
		r->begin(r);
	fill_transfer(r);
	if (!submit(r))
		finish_cancelled(r);
}

void request_start(struct request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	r->timer.run = on_timer;
	assert(r->sink == NULL || r->body.read == NULL); /* they share an argument */
	if (r->failed)
		finish_failed(r);
	else
		attempt(r);
}

void request_cancel_locked(struct request *r)
{
	struct request_env *s = r->env;

	LOCK_ASSERT(&s->lock);
	r->cancelled = true;
	if (r->waiting)
		http_after(s->http, &r->timer, 0);
	http_cancel(s->http, &r->t);
}

/* --- waiting --- */

static void wake(struct request *r)
{
	(void)sem_post(r->waiter);
}

int request_perform(struct request *r, struct stow_err *err)
{
	sem_t done;

	assert(!http_on_thread(r->env->http));
	(void)sem_init(&done, 0, 0);
	r->waiter = &done;
	r->done = wake;
	request_start(r);
	while (sem_wait(&done) < 0)
		;
	(void)sem_destroy(&done);
	if (r->result < 0)
		*err = r->err;
	return r->result;
}
