/* grpc.health.v1.Health, as the gRPC health checking protocol describes it: Check answers once, Watch
 * stays open and tells changes, of which there is one: the daemon begins to end. */
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "proto/service.h"
#include "proto/wire.h"

struct watch_call {
	struct rpc_call base;
	struct watch_call *next, **prev; /* in health.watchers; prev NULL: not there */
	bool gone;                       /* the client went */
};

/* A Watch call belongs to the list until health_stop() or its client's going takes it out; who took
 * it out ends it. */
struct health {
	struct lock lock;
	bool stopping;
	struct watch_call *watchers;
};

struct health *health_new(void)
{
	struct health *h = x_calloc(1, sizeof(*h));

	lock_init(&h->lock, RANK_WATCHERS);
	return h;
}

void health_free(struct health *h)
{
	assert(!h->watchers);
	lock_destroy(&h->lock);
	free(h);
}

static bool known_service(const char *name)
{
	return !*name || !strcmp(name, "containerd.services.content.v1.Content");
}

static grpc_byte_buffer *health_message(enum wire_serving state)
{
	uint8_t out[WIRE_HEALTH_RESPONSE_MAX];

	return rpc_bytes(out, wire_health_response(state, out));
}

static bool is_stopping(struct health *h)
{
	LOCK_SCOPE(&h->lock);
	return h->stopping;
}

/* --- Check --- */

static void check_start(struct rpc_call *c)
{
	CLEANUP(freep) char *name = NULL;
	struct stow_err err;

	if (wire_health_request(c->message->iov, c->message->n, &name, &err) < 0) {
		rpc_finish(c, &err, NULL);
	} else if (!known_service(name)) {
		stow_fail(&err, STOW_NOT_FOUND, "service %s is not served here", name);
		rpc_finish(c, &err, NULL);
	} else {
		bool stopping = is_stopping(service_of(c)->health);

		rpc_send_last(c, health_message(stopping ? WIRE_NOT_SERVING : WIRE_SERVING));
	}
}

const struct rpc_method method_health_check = {
	.path = "/grpc.health.v1.Health/Check",
	.size = sizeof(struct rpc_call),
	.start = check_start,
};

/* --- Watch --- */

/* False if somebody else has it already. */
static bool take_out_locked(struct watch_call *w)
{
	if (!w->prev)
		return false;
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->prev = NULL;
	return true;
}

static void watch_gone(struct rpc_call *c, bool ok UNUSED)
{
	struct watch_call *w = CONTAINER_OF(c, struct watch_call, base);
	struct health *h = service_of(c)->health;
	bool ours;

	lock_take(&h->lock);
	ours = take_out_locked(w);
	w->gone = true;
	lock_release(&h->lock);
	if (ours)
		rpc_finish(c, NULL, NULL);
}

/* The first state has been sent: from now on the call waits. */
static void watch_told(struct rpc_call *c, bool ok)
{
	struct watch_call *w = CONTAINER_OF(c, struct watch_call, base);
	struct health *h = service_of(c)->health;
	bool waits;

	if (!ok) {
		rpc_finish(c, NULL, NULL);
		return;
	}
	rpc_watch(c, watch_gone);
	lock_take(&h->lock);
	waits = !w->gone && !h->stopping;
	if (waits) {
		w->next = h->watchers;
		w->prev = &h->watchers;
		if (w->next)
			w->next->prev = &w->next;
		h->watchers = w;
	}
	lock_release(&h->lock);
	if (!waits)
		rpc_finish(c, NULL, NULL);
}

static void watch_start(struct rpc_call *c)
{
	CLEANUP(freep) char *name = NULL;
	struct stow_err err;

	if (wire_health_request(c->message->iov, c->message->n, &name, &err) < 0)
		rpc_finish(c, &err, NULL);
	else
		rpc_send(c, health_message(known_service(name) ? WIRE_SERVING : WIRE_SERVICE_UNKNOWN),
			 watch_told);
}

void health_stop(struct health *h)
{
	struct watch_call *w;

	lock_take(&h->lock);
	h->stopping = true;
	while ((w = h->watchers)) {
		take_out_locked(w);
		lock_release(&h->lock);
		rpc_send_last(&w->base, health_message(WIRE_NOT_SERVING));
		lock_take(&h->lock);
	}
	lock_release(&h->lock);
}

const struct rpc_method method_health_watch = {
	.path = "/grpc.health.v1.Health/Watch",
	.size = sizeof(struct watch_call),
	.start = watch_start,
};
