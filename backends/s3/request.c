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
/* For the answers of REQUEST_NAMES_ITS_WORK. */
#define STOP_GRACE (500 * NSEC_PER_MSEC)

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
	assert(s->running == NULL);
	lock_destroy(&s->lock);
}

int64_t request_env_now(struct request_env *s)
{
	LOCK_SCOPE(&s->lock);
	return clock_wall_ns() + s->sign_offset_ns;
}

bool request_env_stopped(struct request_env *s, const struct request_group *g)
{
	LOCK_SCOPE(&s->lock);
	return s->stopped || (g != NULL && g->stopped);
}

/* Has what it waits for end now. */
static void hurry_locked(struct request *r)
{
	struct request_env *s = r->env;

	LOCK_ASSERT(&s->lock);
	if (r->waiting)
		http_after(s->http, &r->timer, 0);
	http_cancel(s->http, &r->t);
}

void request_env_stop(struct request_env *s, struct request_group *g)
{
	LOCK_SCOPE(&s->lock);
	*(g != NULL ? &g->stopped : &s->stopped) = true;
	for (struct request *r = s->running; r != NULL; r = r->next) {
		if (g != NULL && r->group != g)
			continue;
		if (r->flying && (r->flags & REQUEST_NAMES_ITS_WORK) != 0)
			http_after(s->http, &r->timer, STOP_GRACE);
		else
			hurry_locked(r);
	}
}

/* --- what a request is made of --- */

void request_init(struct request *r, struct request_env *s, const struct request_group *g, const char *op,
		  const char *method, const char *key)
{
	*r = (struct request){ .magic = REQUEST_MAGIC, .env = s, .group = g, .op = op, .method = method };
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
	lock_take(&r->env->lock);
	*r->at = r->next;
	if (r->next != NULL)
		r->next->at = r->at;
	lock_release(&r->env->lock);
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
	if (request_env_stopped(r->env, NULL))
		(void)stow_fail(&r->err, STOW_UNAVAILABLE, "the store is stopping");
	else
		(void)stow_fail(&r->err, STOW_CANCELLED, "cancelled");
	finish_failed(r);
}

/* --- the attempts --- */

static bool is_cancelled_locked(const struct request *r)
{
	LOCK_ASSERT(&r->env->lock);
	return r->cancelled || r->group->stopped || r->env->stopped;
}

/* Later, unless it has been cancelled meanwhile. */
static void try_again_in(struct request *r, int64_t ns)
{
	struct request_env *s = r->env;

	LOCK_SCOPE(&s->lock);
	r->waiting = true;
	http_after(s->http, &r->timer, is_cancelled_locked(r) ? 0 : ns);
}

static bool is_cancelled(struct request *r)
{
	LOCK_SCOPE(&r->env->lock);
	return is_cancelled_locked(r);
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

	if ((v != RETRY_SOON && v != RETRY_THROTTLED) || r->once_ns > 0 || r->attempts >= s->o->max_attempts)
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
	bool dated = request_learn_clock(r, &off_ns);

	CHECK_OBJ(r, REQUEST_MAGIC);
	lock_take(&s->lock);
	r->flying = false;
	(void)http_timer_stop(s->http, &r->timer);
	lock_release(&s->lock);
	if (request_judge(r, &o) == 0) {
		lock_take(&s->lock);
		retry_budget_give(&s->budget);
		lock_release(&s->lock);
		finish(r, 0);
		return;
	}
	v = retry_judge(&o);
	if (is_cancelled(r)) {
		finish_cancelled(r);
	} else if (request_repair(r, v, dated, off_ns)) {
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
	bool waited;

	lock_take(&s->lock);
	waited = r->waiting;
	r->waiting = false;
	/* A cancel may have set the timer again since it ran out, and the request may be about to end. */
	(void)http_timer_stop(s->http, timer);
	if (!waited) /* the end of STOP_GRACE */
		http_cancel(s->http, &r->t);
	lock_release(&s->lock);
	if (waited)
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
		r->creds_until_ns = clock_mono_ns() + (r->once_ns > 0 ? r->once_ns : CREDS_WAIT);
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
	if (r->once_ns > 0) {
		r->t.req.urgent = true;
		r->t.req.first_byte_ns = r->once_ns / 2;
		r->t.req.total_ns = r->once_ns;
	}
	r->t.done = on_answer;
}

/* Hands it over, unless it has been cancelled. Under the lock, so that whoever cancels it either comes
 * first or finds the transfer there; afterwards the request may be gone. */
static bool submit(struct request *r)
{
	struct request_env *s = r->env;

	LOCK_SCOPE(&s->lock);
	if (is_cancelled_locked(r))
		return false;
	r->flying = true;
	http_submit(s->http, &r->t);
	return true;
}

static void attempt(struct request *r)
{
	CHECK_OBJ(r, REQUEST_MAGIC);
	if (is_cancelled(r)) {
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
	struct request_env *s = r->env;

	CHECK_OBJ(r, REQUEST_MAGIC);
	r->timer.run = on_timer;
	assert(r->sink == NULL || r->body.read == NULL); /* they share an argument */
	lock_take(&s->lock);
	r->next = s->running;
	if (r->next != NULL)
		r->next->at = &r->next;
	r->at = &s->running;
	s->running = r;
	lock_release(&s->lock);
	attempt(r);
}

void request_cancel_locked(struct request *r)
{
	r->cancelled = true;
	hurry_locked(r);
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
