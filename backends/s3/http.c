#include "backends/s3/http.h"

#include "backends/s3/http_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>

#define HTTP_MAGIC 0x47790001u

enum { HTTP_HEADERS_DEFAULT = 64 * 1024 };

/* Where a transfer is: t->place, guarded by the lock. */
enum { PLACE_NONE, PLACE_WAITING, PLACE_ACTIVE };

bool http_on_thread(const struct http *h)
{
	return pthread_equal(h->thread, pthread_self());
}

/* After a change to what the lock guards, with the lock held. */
static void wake_locked(struct http *h)
{
	LOCK_ASSERT(&h->lock);
	h->changed = true;
	if (h->awake)
		return;
	h->awake = true;
	http_curl_wake(h);
}

/* --- a transfer's start and end --- */

/* A line break in a header would be a header, or a request, of somebody else's making. */
static int check_request(const struct http_request *req, struct stow_err *err)
{
	for (const char *c = req->url; *c != '\0'; c++)
		if (*c <= ' ' || *c == 0x7f)
			return stow_fail(err, STOW_INVALID_ARGUMENT,
					 "the URL has a character that must be encoded");
	for (const char *const *line = req->headers; line != NULL && *line != NULL; line++)
		if (strpbrk(*line, "\r\n") != NULL)
			return stow_fail(err, STOW_INVALID_ARGUMENT, "the header %.*s has a line break",
					 (int)strcspn(*line, ":\r\n"), *line);
	return 0;
}

/* The last thing that is done to a transfer. */
static void finish(struct http *h, struct http_transfer *t, enum http_failure failure)
{
	lock_take(&h->lock);
	t->place = PLACE_NONE;
	lock_release(&h->lock);
	t->failure = failure;
	t->active = NULL;
	t->done(t);
}

/* Takes the active transfer apart. */
static struct http_transfer *detach(struct http_active *a)
{
	struct http_transfer *t = a->t;
	struct http_active **at;

	http_curl_stop(a);
	for (at = &a->h->active; *at != a; at = &(*at)->next)
		;
	*at = a->next;
	a->h->active_n--;
	t->elapsed_ns = clock_mono_ns() - a->start_ns;
	free(a);
	return t;
}

static enum stow_code code_of(enum http_failure failure)
{
	switch (failure) {
	case HTTP_TLS:
		return STOW_FAILED_PRECONDITION;
	case HTTP_REFUSED:
		return STOW_INVALID_ARGUMENT;
	case HTTP_CANCELLED:
		return STOW_CANCELLED;
	case HTTP_ANSWERED:
	case HTTP_RESOLVE:
	case HTTP_CONNECT:
	case HTTP_TIMEOUT:
	case HTTP_BROKEN:
		break;
	}
	return STOW_UNAVAILABLE;
}

/* The host of a URL, for messages: the rest may hold what is secret. */
static int host_len(const char *url, const char **ret_host)
{
	const char *host = strstr(url, "://");

	host = host != NULL ? host + 3 : url;
	*ret_host = host;
	return (int)strcspn(host, "/?");
}

/* Whether a text names the host already, as curl's do that say what it could not connect to. */
static bool has_host(const char *text, const char *host, int n)
{
	char name[256];

	n = (int)strcspn(host, ":") < n ? (int)strcspn(host, ":") : n;
	(void)snprintf(name, sizeof(name), "%.*s", n, host);
	return *name != '[' && strstr(text, name) != NULL;
}

static PRINTF(3, 4) void fail(struct http_active *a, enum http_failure failure, const char *fmt, ...)
{
	struct http *h = a->h;
	struct http_transfer *t = a->t;
	const char *host;
	char text[sizeof(t->err.msg)], shown[sizeof(text)];
	int n = host_len(t->req.url, &host);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_clean(shown, sizeof(shown), text); /* curl's words may have some of the server's in them */
	if (has_host(shown, host, n))
		(void)stow_fail(&t->err, code_of(failure), "%s", shown);
	else
		(void)stow_fail(&t->err, code_of(failure), "%.*s: %s", n, host, shown);
	finish(h, detach(a), failure);
}

static void start(struct http *h, struct http_transfer *t)
{
	struct http_active *a;
	const char *refused;

	buf_init(&t->resp.headers, h->o.max_header_bytes);
	buf_init(&t->resp.body, t->req.max_body);
	if (check_request(&t->req, &t->err) < 0) {
		finish(h, t, HTTP_REFUSED);
		return;
	}
	a = x_calloc(1, sizeof(*a));
	a->h = h;
	a->t = t;
	a->start_ns = a->progress_ns = clock_mono_ns();
	t->active = a;
	a->next = h->active;
	h->active = a;
	h->active_n++;
	refused = http_curl_start(a);
	if (refused != NULL)
		fail(a, HTTP_REFUSED, "libcurl does not take the request: %s", refused);
}

void http_ended(struct http_active *a, enum http_failure failure, const char *detail)
{
	struct http *h = a->h;

	if (a->refused)
		finish(h, detach(a), HTTP_REFUSED);
	else if (failure == HTTP_ANSWERED)
		finish(h, detach(a), HTTP_ANSWERED);
	else
		fail(a, failure, "%s", detail);
}

static void cancel_active(struct http_active *a)
{
	fail(a, HTTP_CANCELLED, "cancelled");
}

static void cancel_waiting(struct http *h, struct http_transfer *t)
{
	(void)stow_fail(&t->err, STOW_CANCELLED, "cancelled");
	finish(h, t, HTTP_CANCELLED);
}

/* --- limits --- */

struct limit {
	int64_t due_ns, of_ns; /* of_ns 0: none */
	const char *what;
};

static void nearer(struct limit *l, int64_t from_ns, int64_t of_ns, const char *what)
{
	if (of_ns > 0 && (l->of_ns == 0 || from_ns + of_ns < l->due_ns))
		*l = (struct limit){ from_ns + of_ns, of_ns, what };
}

static struct limit next_limit(const struct http_active *a)
{
	const struct http_request *req = &a->t->req;
	struct limit l = { 0 };

	nearer(&l, a->start_ns, req->total_ns, "not done");
	if (a->phase == WAITING)
		nearer(&l, a->progress_ns, req->first_byte_ns, "no answer");
	else if (a->phase != CONNECTING)
		nearer(&l, a->progress_ns, req->stall_ns, "nothing has moved");
	return l;
}

/* Ends what has taken too long; returns when the next one has. */
static int64_t check_limits(struct http *h, int64_t now)
{
	int64_t next = INT64_MAX;
	struct http_active *a = h->active, *after;

	for (; a != NULL; a = after) {
		struct limit l = next_limit(a);

		after = a->next;
		if (l.of_ns == 0)
			continue;
		if (l.due_ns > now) {
			if (l.due_ns < next)
				next = l.due_ns;
			continue;
		}
		fail(a, HTTP_TIMEOUT, "%s within %.1f s", l.what, (double)l.of_ns / 1e9);
		/* `done` cannot have changed the list: what it submits is started by the loop. */
	}
	return next;
}

/* --- timers --- */

static bool unlink_timer_locked(struct http *h, struct http_timer *t)
{
	struct http_timer **at;

	LOCK_ASSERT(&h->lock);
	if (!t->set)
		return false;
	for (at = &h->timers; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	t->set = false;
	return true;
}

void http_after(struct http *h, struct http_timer *t, int64_t ns)
{
	CHECK_OBJ(h, HTTP_MAGIC);
	LOCK_SCOPE(&h->lock);
	(void)unlink_timer_locked(h, t);
	t->due_ns = clock_mono_ns() + (ns > 0 ? ns : 0);
	t->set = true;
	t->next = h->timers;
	h->timers = t;
	wake_locked(h);
}

bool http_timer_stop(struct http *h, struct http_timer *t)
{
	bool was = false;

	CHECK_OBJ(h, HTTP_MAGIC);
	LOCK_SCOPE(&h->lock);
	for (;;) {
		if (unlink_timer_locked(h, t))
			was = true;
		if (h->running != t || http_on_thread(h))
			return was;
		lock_wait(&h->lock, &h->timer_ran);
	}
}

/* Runs those that are due; returns when the next one is. */
static int64_t run_timers(struct http *h, int64_t now)
{
	int64_t next;

	lock_take(&h->lock);
	for (;;) {
		struct http_timer *first = NULL;

		for (struct http_timer *t = h->timers; t != NULL; t = t->next)
			if (first == NULL || t->due_ns < first->due_ns)
				first = t;
		next = first != NULL ? first->due_ns : INT64_MAX;
		if (next > now || h->stopping)
			break;
		(void)unlink_timer_locked(h, first);
		h->running = first;
		lock_release(&h->lock);
		first->run(first);
		lock_take(&h->lock);
		h->running = NULL;
		pthread_cond_broadcast(&h->timer_ran);
	}
	lock_release(&h->lock);
	return next;
}

/* --- the thread --- */

/* Which of the waiting transfers. */
enum pick { PICK_ANY, PICK_URGENT, PICK_CANCELLED };

static bool is_picked(const struct http *h, const struct http_transfer *t, enum pick pick)
{
	switch (pick) {
	case PICK_ANY:
		return true;
	case PICK_URGENT:
		return t->req.urgent;
	case PICK_CANCELLED:
		return t->cancelled || h->stopping;
	}
	assert(false);
	return false;
}

/* The next one of them, which waits no longer. */
static struct http_transfer *next_waiting(struct http *h, enum pick pick)
{
	struct http_transfer **at, *t, *before = NULL;

	LOCK_SCOPE(&h->lock);
	for (at = &h->head; (t = *at) != NULL; before = t, at = &t->next) {
		if (!is_picked(h, t, pick))
			continue;
		*at = t->next;
		if (h->tail == t)
			h->tail = before;
		if (pick != PICK_CANCELLED)
			t->place = PLACE_ACTIVE;
		return t;
	}
	return NULL;
}

static void run_cancels(struct http *h)
{
	struct http_active *a, *after;
	struct http_transfer *t;
	bool any, all;

	lock_take(&h->lock);
	all = h->stopping;
	any = h->cancels || all;
	h->cancels = false;
	lock_release(&h->lock);
	if (!any)
		return;
	while ((t = next_waiting(h, PICK_CANCELLED)) != NULL)
		cancel_waiting(h, t);
	for (a = h->active; a != NULL; a = after) {
		bool cancelled;

		after = a->next;
		lock_take(&h->lock);
		cancelled = a->t->cancelled;
		lock_release(&h->lock);
		if (cancelled || all)
			cancel_active(a);
	}
}

static int until_ms(int64_t next, int64_t now)
{
	const int64_t longest = 60 * NSEC_PER_SEC;
	int64_t ns = next - now;

	if (ns <= 0)
		return 0;
	return (int)(((ns < longest ? ns : longest) + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

static bool has_room(const struct http *h)
{
	return h->active_n < h->o.max_transfers;
}

/* Whether the thread may sleep; what changes from now on wakes it. */
static bool may_sleep(struct http *h)
{
	LOCK_SCOPE(&h->lock);
	if (h->changed || h->stopping || (h->head != NULL && has_room(h)))
		return false;
	h->awake = false;
	return true;
}

/* Whether there is an end to it; else what has changed up to now is about to be looked at. */
static bool look_up(struct http *h)
{
	LOCK_SCOPE(&h->lock);
	h->awake = true;
	h->changed = false;
	return h->stopping && h->head == NULL && h->active == NULL;
}

static void *transfers(void *arg)
{
	struct http *h = arg;

	while (!look_up(h)) {
		int64_t timer = run_timers(h, clock_mono_ns()), limit, now;
		struct http_transfer *t;

		run_cancels(h);
		while ((t = next_waiting(h, has_room(h) ? PICK_ANY : PICK_URGENT)) != NULL)
			start(h, t);
		http_curl_run(h);
		now = clock_mono_ns();
		limit = check_limits(h, now);
		if (may_sleep(h))
			http_curl_poll(h, until_ms(limit < timer ? limit : timer, now));
	}
	return NULL;
}

static void start_thread(struct http *h)
{
	sigset_t all, old;
	int e;

	/* Signals are for the thread that waits for them. The lock keeps the new thread from looking
	 * at h->thread before it is there. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	lock_take(&h->lock);
	e = pthread_create(&h->thread, NULL, transfers, h);
	if (e != 0)
		x_abort("cannot start the transfer thread: error %d", e);
	(void)pthread_setname_np(h->thread, "transfer");
	lock_release(&h->lock);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int check_ca_file(const char *path, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;

	if (fd < 0 || read(fd, &byte, 1) < 0) {
		(void)stow_fail_errno(err, errno, "CA file %s", path);
		err->code = STOW_INVALID_ARGUMENT;
		return -1;
	}
	return 0;
}

static char *copy(const char *s)
{
	return s != NULL ? x_strdup(s) : NULL;
}

int http_new(const struct http_options *o, struct http **ret_h, struct stow_err *err)
{
	struct http *h;

	assert(o->max_transfers > 0);
	if (o->ca_file != NULL && !o->ca_may_come && check_ca_file(o->ca_file, err) < 0)
		return -1;
	h = x_calloc(1, sizeof(*h));
	h->magic = HTTP_MAGIC;
	h->o = *o;
	h->o.ca_file = copy(o->ca_file);
	h->o.proxy = copy(o->proxy);
	h->o.user_agent = copy(o->user_agent != NULL ? o->user_agent : "stowage/" STOWAGE_VERSION);
	if (h->o.max_header_bytes == 0)
		h->o.max_header_bytes = HTTP_HEADERS_DEFAULT;
	lock_init(&h->lock, RANK_HTTP);
	lock_cond_init(&h->timer_ran);
	http_curl_init(h);
	start_thread(h);
	*ret_h = h;
	return 0;
}

void http_free(struct http *h)
{
	int e;

	if (h == NULL)
		return;
	CHECK_OBJ(h, HTTP_MAGIC);
	assert(!http_on_thread(h));
	lock_take(&h->lock);
	h->stopping = true;
	wake_locked(h);
	lock_release(&h->lock);
	e = pthread_join(h->thread, NULL);
	assert(e == 0);
	http_curl_destroy(h);
	pthread_cond_destroy(&h->timer_ran);
	lock_destroy(&h->lock);
	free((void *)(uintptr_t)h->o.ca_file);
	free((void *)(uintptr_t)h->o.proxy);
	free((void *)(uintptr_t)h->o.user_agent);
	FREE_OBJ(h);
}

void http_freep(struct http **h)
{
	http_free(*h);
}

/* --- what callers do to transfers --- */

void http_submit(struct http *h, struct http_transfer *t)
{
	CHECK_OBJ(h, HTTP_MAGIC);
	assert(t->place == PLACE_NONE && t->done != NULL);
	http_response_free(&t->resp);
	t->elapsed_ns = t->first_ns = 0;
	t->next = NULL;
	LOCK_SCOPE(&h->lock);
	t->cancelled = false;
	t->place = PLACE_WAITING;
	if (h->head == NULL)
		h->head = t;
	else
		h->tail->next = t;
	h->tail = t;
	wake_locked(h);
}

void http_cancel(struct http *h, struct http_transfer *t)
{
	CHECK_OBJ(h, HTTP_MAGIC);
	LOCK_SCOPE(&h->lock);
	if (t->place == PLACE_NONE)
		return;
	t->cancelled = true;
	h->cancels = true;
	wake_locked(h);
}

struct waiter {
	struct http_transfer t;
	sem_t done;
};

static void wake_waiter(struct http_transfer *t)
{
	struct waiter *w = CONTAINER_OF(t, struct waiter, t);

	(void)sem_post(&w->done);
}

int http_perform(struct http *h, const struct http_request *req, struct http_response *ret_r,
		 struct stow_err *err)
{
	struct waiter w = { .t = { .req = *req, .done = wake_waiter } };

	CHECK_OBJ(h, HTTP_MAGIC);
	assert(!http_on_thread(h));
	(void)sem_init(&w.done, 0, 0);
	http_submit(h, &w.t);
	while (sem_wait(&w.done) < 0)
		;
	(void)sem_destroy(&w.done);
	http_response_free(ret_r);
	*ret_r = w.t.resp;
	if (w.t.failure == HTTP_ANSWERED)
		return 0;
	*err = w.t.err;
	return -1;
}
