/* Requests of credential providers: no signature, few bytes, a few attempts. */
#include "backends/s3/creds_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/random.h>

enum { ANSWER_MAX = 64 * 1024 };

int64_t creds_random(int64_t n)
{
	uint64_t x = 0;
	/* Without a flag it does not fail, but for signals before the kernel's pool is ready. */
	while (getrandom(&x, sizeof(x), 0) != sizeof(x))
		continue;
	return (int64_t)(x % (uint64_t)n);
}

bool creds_pause(const struct creds_context *cx, int64_t ns)
{
	struct pollfd stop = { .fd = cx->stop_fd, .events = POLLIN };
	int64_t until = clock_mono_ns() + ns;
	int64_t left;

	while ((left = until - clock_mono_ns()) > 0) {
		int n = poll(&stop, 1, (int)(left / NSEC_PER_MSEC) + 1);
		if (n > 0)
			return false;
	}
	return true;
}

/* --- one attempt --- */

struct attempt {
	struct http_transfer transfer;
	const char *body;
	int done_fd; /* readable once the transfer is done */
};

static int read_body(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	(void)err;
	memcpy(to, (const char *)arg + off, n);
	return 0;
}

static void mark_done(struct http_transfer *t)
{
	struct attempt *a = CONTAINER_OF(t, struct attempt, transfer);
	eventfd_write(a->done_fd, 1);
}

/* Until the transfer is done; sooner than it would be by itself, if the credentials are being freed. */
static void await(const struct creds_context *cx, struct attempt *a)
{
	struct pollfd fds[] = { { .fd = a->done_fd, .events = POLLIN },
				{ .fd = cx->stop_fd, .events = POLLIN } };
	eventfd_t n;

	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			break;
		http_cancel(cx->http, &a->transfer);
		fds[1].fd = -1;
	}
	eventfd_read(a->done_fd, &n);
}

static int try_once(const struct creds_context *cx, const struct creds_request *rq,
		    struct http_response *ret_r, enum http_failure *ret_failure, struct stow_err *err)
{
	struct attempt a = { .body = rq->body, .done_fd = eventfd(0, EFD_CLOEXEC) };
	if (a.done_fd < 0)
		return stow_fail_errno(err, errno, "eventfd");
	a.transfer.done = mark_done;
	a.transfer.req = (struct http_request){
		.method = rq->method,
		.url = rq->url,
		.headers = rq->headers,
		.body_size = rq->body ? strlen(rq->body) : 0,
		.body_read = rq->body ? read_body : NULL,
		.arg = (void *)(uintptr_t)rq->body,
		.max_body = ANSWER_MAX,
		.no_proxy = rq->no_proxy,
		.connect_ns = rq->connect_ns,
		.total_ns = rq->total_ns,
	};
	http_response_init(&a.transfer.resp);
	http_submit(cx->http, &a.transfer);
	await(cx, &a);
	close(a.done_fd);
	http_response_free(ret_r);
	*ret_r = a.transfer.resp;
	*ret_failure = a.transfer.failure;
	if (a.transfer.failure == HTTP_ANSWERED)
		return 0;
	*err = a.transfer.err;
	return stow_wrap(err, "%s", rq->what);
}

/* --- attempts --- */

static bool is_worth_another(enum http_failure failure, int status)
{
	switch (failure) {
	case HTTP_ANSWERED:
		return status == 429 || status >= 500;
	case HTTP_CONNECT:
	case HTTP_TIMEOUT:
	case HTTP_BROKEN:
	case HTTP_RESOLVE:
		return true;
	case HTTP_TLS:
	case HTTP_CANCELLED:
	case HTTP_REFUSED:
		return false;
	}
	assert(false);
	return false;
}

int creds_refused(const char *what, const struct http_response *r, struct stow_err *err)
{
	enum stow_code code = r->status == 401 || r->status == 403   ? STOW_PERMISSION_DENIED
			      : r->status == 429 || r->status >= 500 ? STOW_UNAVAILABLE
								     : STOW_FAILED_PRECONDITION;
	char said[CREDS_SAID_MAX] = "";
	if (r->body.len > 0)
		creds_document_said((const char *)r->body.p, r->body.len, said);
	return stow_fail(err, code, "%s: HTTP %d%s%s", what, r->status, *said ? ": " : "", said);
}

int creds_request(const struct creds_context *cx, const struct creds_request *rq, struct http_response *ret_r,
		  enum http_failure *ret_failure, struct stow_err *err)
{
	enum http_failure failure = HTTP_ANSWERED;
	int64_t pause = 100 * NSEC_PER_MSEC;
	int r = -1;

	assert(rq->attempts > 0);
	if (!cx->http)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s needs HTTP", rq->what);
	for (unsigned i = 0; i < rq->attempts; i++, pause *= 2) {
		if (i > 0 && !creds_pause(cx, pause / 2 + creds_random(pause)))
			break;
		r = try_once(cx, rq, ret_r, &failure, err);
		if (!is_worth_another(failure, ret_r->status))
			break;
	}
	if (ret_failure)
		*ret_failure = failure;
	if (r == 0 && is_worth_another(failure, ret_r->status))
		return creds_refused(rq->what, ret_r, err);
	return r;
}
