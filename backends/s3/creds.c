/* The cache before the provider: who has which credentials, and when they are fetched anew.
 *
 *   current   what creds_get gives, until its end or until S3 has refused it; NULL: none
 *   wanted    somebody needs credentials now: a refresh is due as soon as it may be
 *   failed    the last refresh failed, with `error`; the next one is due at `next_ns`
 *
 * All fetching happens on one thread, so there is one refresh at a time whoever asks. */
#include "backends/s3/creds.h"

#include "backends/s3/creds_internal.h"
#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#define CREDS_MAGIC 0xc4ed5001u

/* When to refresh. Instance metadata has new keys five minutes before the old ones end, STS at any time;
 * a quarter of what is left comes down to both, and to the seconds of tests. */
#define LEAD_MAX (15 * 60 * NSEC_PER_SEC)
/* Between two refreshes at least, whoever asks: a server that refuses all we have must not make us hammer
 * STS. And between two that fail: doubled each time. */
#define SPACING_MIN NSEC_PER_SEC
#define BACKOFF_MAX (60 * NSEC_PER_SEC)
#define BACKOFF_MAX_INSTANT (5 * NSEC_PER_SEC) /* a file that is looked for troubles nobody */

enum { TRAIL_MAX = 4096 };

struct snapshot {
	struct creds_snapshot pub;
	struct creds_value value; /* owns what pub points to */
	atomic_uint refs;
};

struct creds {
	uint32_t magic;
	struct creds_context cx;
	struct creds_provider *provider;
	struct buf trail;
	pthread_t thread;

	struct lock lock;
	pthread_cond_t changed; /* of all below; for the thread, and for creds_wait */
	struct snapshot *current;
	bool wanted, failed, stopping;
	struct stow_err error;
	int64_t next_ns; /* monotonic: the next refresh; INT64_MAX: none */
	int64_t last_ns; /* monotonic: the last one; 0: none yet */
	int64_t last_wall_ns;
	unsigned failures; /* in a row */
};

/* --- snapshots --- */

static struct snapshot *snapshot_new(const char *provider, struct creds_value *value)
{
	struct snapshot *s = x_calloc(1, sizeof(*s));
	s->value = *value;
	*value = (struct creds_value){ 0 };
	s->pub = (struct creds_snapshot){
		.access_key = s->value.access_key,
		.secret_key = s->value.secret_key,
		.session_token = s->value.session_token,
		.expires_ns = s->value.expires_ns,
		.provider = provider,
	};
	atomic_init(&s->refs, 1);
	return s;
}

static struct snapshot *snapshot_of(const struct creds_snapshot *s)
{
	return (struct snapshot *)(uintptr_t)s; /* its first member */
}

const struct creds_snapshot *creds_ref(const struct creds_snapshot *s)
{
	atomic_fetch_add(&snapshot_of(s)->refs, 1);
	return s;
}

void creds_unref(const struct creds_snapshot *s)
{
	if (!s || atomic_fetch_sub(&snapshot_of(s)->refs, 1) != 1)
		return;
	creds_value_free(&snapshot_of(s)->value);
	free(snapshot_of(s));
}

void creds_unrefp(const struct creds_snapshot **s)
{
	creds_unref(*s);
}

/* --- refreshing --- */

static bool is_over(const struct snapshot *s)
{
	return s->pub.expires_ns != 0 && clock_wall_ns() >= s->pub.expires_ns;
}

/* When to refresh credentials that end at `expires_ns` (0: never): sooner by a quarter of what is left, at
 * most LEAD_MAX, less up to half of that, so that nodes which started together do not come together. */
static int64_t due_ns(int64_t expires_ns)
{
	if (expires_ns == 0)
		return INT64_MAX;
	int64_t left = expires_ns - clock_wall_ns();
	int64_t lead = left / 4 < LEAD_MAX ? left / 4 : LEAD_MAX;
	int64_t wait = left <= 0 ? 0 : left - lead + creds_random(lead / 2 + 1);
	return clock_mono_ns() + (wait > SPACING_MIN ? wait : SPACING_MIN);
}

static int check_fresh(const struct creds_value *v, struct stow_err *err)
{
	char text[CLOCK_TEXT_MAX];
	if (v->expires_ns == 0 || v->expires_ns > clock_wall_ns())
		return 0;
	clock_format(v->expires_ns, text);
	return stow_fail(err, STOW_UNAVAILABLE,
			 "the keys have ended at %s already: is this machine's clock right?", text);
}

/* A file that is missing, or an answer that cannot be right, is about the keys. To whoever asked for a blob
 * these codes would say that about the blob. */
static enum stow_code code_for_requests(enum stow_code code)
{
	if (code == STOW_UNAVAILABLE || code == STOW_CANCELLED)
		return STOW_UNAVAILABLE;
	return code == STOW_PERMISSION_DENIED ? code : STOW_FAILED_PRECONDITION;
}

static bool is_same(const struct snapshot *s, const struct creds_value *v)
{
	return strcmp(s->value.access_key, v->access_key) == 0 &&
	       strcmp(s->value.secret_key, v->secret_key) == 0 &&
	       strcmp(s->value.session_token, v->session_token) == 0 && s->value.expires_ns == v->expires_ns;
}

static void take_fresh_locked(struct creds *c, struct creds_value *v)
{
	int64_t again_ns = clock_mono_ns() + c->provider->reread_ns;

	LOCK_ASSERT(&c->lock);
	c->failed = false;
	c->failures = 0;
	c->next_ns = due_ns(v->expires_ns);
	if (c->provider->reread_ns > 0 && again_ns < c->next_ns)
		c->next_ns = again_ns;
	if (c->current && is_same(c->current, v))
		return;
	if (c->current)
		creds_unref(&c->current->pub);
	c->current = snapshot_new(c->provider->name, v);
}

static void take_failure_locked(struct creds *c, const struct stow_err *err)
{
	LOCK_ASSERT(&c->lock);
	int64_t wait = SPACING_MIN, most = c->provider->instant ? BACKOFF_MAX_INSTANT : BACKOFF_MAX;
	for (unsigned i = 0; i < c->failures && wait < most; i++)
		wait *= 2;
	if (wait > most)
		wait = most;
	c->failures++;
	c->failed = true;
	c->error = *err;
	c->next_ns = clock_mono_ns() + wait / 2 + creds_random(wait / 2 + 1);
}

/* Fetches without the lock, which the caller holds. */
static void refresh_locked(struct creds *c)
{
	CLEANUP(creds_value_free) struct creds_value v = { 0 };
	struct stow_err err;

	LOCK_ASSERT(&c->lock);
	lock_release(&c->lock);
	int r = c->provider->fetch(c->provider, &v, &err);
	if (r == 0)
		r = check_fresh(&v, &err);
	if (r < 0) {
		stow_wrap(&err, "credentials from the %s", c->provider->name);
		err.code = code_for_requests(err.code);
	}
	lock_take(&c->lock);
	if (r == 0)
		take_fresh_locked(c, &v);
	else
		take_failure_locked(c, &err);
	/* Also for those who began to want them meanwhile. */
	c->wanted = false;
	c->last_ns = clock_mono_ns();
	c->last_wall_ns = clock_wall_ns();
	pthread_cond_broadcast(&c->changed);
}

/* When the thread has something to do. */
static int64_t wake_ns_locked(const struct creds *c)
{
	int64_t soonest = c->last_ns ? c->last_ns + SPACING_MIN : 0;
	if (!c->wanted || c->failed)
		return c->next_ns;
	return soonest < c->next_ns ? soonest : c->next_ns;
}

static void *run(void *arg)
{
	struct creds *c = arg;

	lock_take(&c->lock);
	while (!c->stopping) {
		int64_t wake = wake_ns_locked(c);
		if (wake == INT64_MAX)
			lock_wait(&c->lock, &c->changed);
		else if (clock_mono_ns() >= wake)
			refresh_locked(c);
		else
			lock_wait_until(&c->lock, &c->changed, wake);
	}
	lock_release(&c->lock);
	return NULL;
}

/* --- life --- */

static int start_thread(struct creds *c, struct stow_err *err)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e != 0)
		return stow_fail_errno(err, e, "a thread for credentials");
	pthread_setname_np(c->thread, "creds");
	return 0;
}

/* All but the thread. */
static void creds_destroy(struct creds *c)
{
	if (c->current)
		creds_unref(&c->current->pub);
	creds_provider_free(c->provider);
	pthread_cond_destroy(&c->changed);
	lock_destroy(&c->lock);
	fd_closep(&c->cx.stop_fd);
	buf_free(&c->trail);
	free(c->cx.region);
	FREE_OBJ(c);
}

static void creds_destroyp(struct creds **c)
{
	if (*c)
		creds_destroy(*c);
}

/* Keys that are at hand are there from the start, and what is wrong with them is known. Where they are read
 * again and again, it may be put right. */
static int fetch_instant(struct creds *c, struct stow_err *err)
{
	LOCK_SCOPE(&c->lock);
	refresh_locked(c);
	if (!c->failed || (c->cx.files_may_come && c->provider->reread_ns > 0))
		return 0;
	*err = c->error;
	return -1;
}

/* Without a provider yet. */
static int creds_make(const struct s3_options *o, const char *region, struct http *http, struct creds **ret_c,
		      struct stow_err *err)
{
	CLEANUP(creds_destroyp) struct creds *c = x_calloc(1, sizeof(*c));

	c->magic = CREDS_MAGIC;
	c->cx = (struct creds_context){
		.environment = o->credentials.environment,
		.region = x_strdup(region),
		.fips = o->fips,
		.files_may_come = o->files_may_come,
		.dual_stack = o->dual_stack,
		.http = http,
		.stop_fd = eventfd(0, EFD_CLOEXEC),
	};
	buf_init(&c->trail, TRAIL_MAX);
	lock_init(&c->lock, RANK_CREDS);
	lock_cond_init(&c->changed);
	if (c->cx.stop_fd < 0)
		return stow_fail_errno(err, errno, "eventfd");
	*ret_c = TAKE(c);
	return 0;
}

static int creds_begin(struct creds *c, struct stow_err *err)
{
	c->provider->cx = &c->cx;
	if (c->provider->instant && fetch_instant(c, err) < 0)
		return -1;
	return start_thread(c, err);
}

int creds_new(const struct s3_options *o, const char *region, struct http *http, struct creds **ret_c,
	      struct stow_err *err)
{
	CLEANUP(creds_destroyp) struct creds *c = NULL;

	if (creds_make(o, region, http, &c, err) < 0)
		return -1;
	if (creds_choose(&c->cx, &o->credentials, &c->provider, &c->trail, err) < 0) {
		err->code = code_for_requests(err->code);
		return -1;
	}
	if (creds_begin(c, err) < 0)
		return -1;
	*ret_c = TAKE(c);
	return 0;
}

int creds_new_from(const struct s3_options *o, struct creds_provider *p, struct creds **ret_c,
		   struct stow_err *err)
{
	CLEANUP(creds_destroyp) struct creds *c = NULL;

	if (creds_make(o, "", NULL, &c, err) < 0)
		return -1;
	c->provider = p;
	if (creds_begin(c, err) < 0)
		return -1;
	*ret_c = TAKE(c);
	return 0;
}

void creds_free(struct creds *c)
{
	if (!c)
		return;
	CHECK_OBJ(c, CREDS_MAGIC);
	lock_take(&c->lock);
	c->stopping = true;
	pthread_cond_broadcast(&c->changed);
	lock_release(&c->lock);
	eventfd_write(c->cx.stop_fd, 1);
	pthread_join(c->thread, NULL);
	creds_destroy(c);
}

void creds_freep(struct creds **c)
{
	creds_free(*c);
}

/* --- use --- */

/* As creds_get(). Sees to it that there will be some. */
static int get_locked(struct creds *c, const struct creds_snapshot **ret_s, struct stow_err *err)
{
	LOCK_ASSERT(&c->lock);
	if (c->current && !is_over(c->current)) {
		*ret_s = creds_ref(&c->current->pub);
		return 0;
	}
	if (!c->wanted) {
		c->wanted = true;
		pthread_cond_broadcast(&c->changed);
	}
	if (c->failed) {
		*err = c->error;
		return -1;
	}
	(void)stow_fail(err, STOW_UNAVAILABLE, "credentials from the %s are being asked for",
			c->provider->name);
	return 1;
}

int creds_get(struct creds *c, const struct creds_snapshot **ret_s, struct stow_err *err)
{
	CHECK_OBJ(c, CREDS_MAGIC);
	LOCK_SCOPE(&c->lock);
	return get_locked(c, ret_s, err);
}

int creds_wait(struct creds *c, int64_t until_ns, struct stow_err *err)
{
	CLEANUP(creds_unrefp) const struct creds_snapshot *s = NULL;
	CHECK_OBJ(c, CREDS_MAGIC);
	LOCK_SCOPE(&c->lock);

	for (;;) {
		int r = get_locked(c, &s, err);
		if (r <= 0)
			return r;
		if (!lock_wait_until(&c->lock, &c->changed, until_ns))
			return -1;
	}
}

void creds_refresh(struct creds *c, const struct creds_snapshot *failed)
{
	CHECK_OBJ(c, CREDS_MAGIC);
	LOCK_SCOPE(&c->lock);
	if (!c->current || &c->current->pub != failed)
		return;
	creds_unref(&c->current->pub);
	c->current = NULL;
	c->failed = false;
	c->wanted = true;
	pthread_cond_broadcast(&c->changed);
}

static int explain_moment_locked(const struct creds *c, struct buf *b, struct stow_err *err)
{
	char text[CLOCK_TEXT_MAX];

	LOCK_ASSERT(&c->lock);
	if (!c->current) {
		return c->failed ? buf_printf(b, err, "there are none: %s\n", c->error.msg)
				 : buf_printf(b, err, "they are being asked for\n");
	}
	if (c->current->pub.expires_ns == 0)
		return buf_printf(b, err, "access key %s, without an end\n", c->current->pub.access_key);
	clock_format(c->current->pub.expires_ns, text);
	if (buf_printf(b, err, "access key %s, good until %s\n", c->current->pub.access_key, text) < 0)
		return -1;
	if (!c->failed)
		return 0;
	clock_format(c->last_wall_ns, text);
	return buf_printf(b, err, "the last refresh, at %s, has failed: %s\n", text, c->error.msg);
}

int creds_explain(struct creds *c, struct buf *b, struct stow_err *err)
{
	CHECK_OBJ(c, CREDS_MAGIC);
	LOCK_SCOPE(&c->lock);
	if (buf_printf(b, err, "from the %s: %s\n", c->provider->name, c->provider->detail) < 0 ||
	    explain_moment_locked(c, b, err) < 0)
		return -1;
	return c->trail.len > 0 ? buf_append(b, c->trail.p, c->trail.len, err) : 0;
}

/* --- as the client wants them --- */

static int source_get(void *arg, struct s3_creds *ret, struct stow_err *err)
{
	const struct creds_snapshot *s = NULL;
	int r = creds_get(arg, &s, err);
	if (r != 0)
		return r;
	ret->key = (struct sigv4_key){
		.access_key = s->access_key,
		.secret_key = s->secret_key,
		.session_token = *s->session_token ? s->session_token : NULL,
	};
	ret->held = s;
	return 0;
}

static void source_refresh(void *arg, const struct s3_creds *failed)
{
	creds_refresh(arg, failed->held);
}

static void source_release(void *arg, struct s3_creds *c)
{
	(void)arg;
	creds_unref(c->held);
}

struct s3_creds_source creds_source(struct creds *c)
{
	CHECK_OBJ(c, CREDS_MAGIC);
	return (struct s3_creds_source){
		.arg = c, .get = source_get, .refresh = source_refresh, .release = source_release
	};
}
