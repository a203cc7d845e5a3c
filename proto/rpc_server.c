/* The server: its threads, the arrival of calls, its end. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "proto/abseil.h"
#include "proto/rpc_internal.h"

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

enum { ARMED = 2 }; /* calls of each method that wait for a request, on each thread */

/* --- arrival of calls --- */

struct rpc_call *rpc_call_make(struct rpc_server *s, const struct rpc_method *m)
{
	struct rpc_call *c = x_calloc(1, m->size);

	c->method = m;
	c->server = s;
	c->context = s->options.context;
	c->tags = 1;
	grpc_metadata_array_init(&c->metadata);
	atomic_fetch_add(&s->calls, 1);
	return c;
}

void rpc_call_delete(struct rpc_call *c)
{
	struct rpc_server *s = c->server;

	grpc_metadata_array_destroy(&c->metadata);
	free(c);
	if (atomic_fetch_sub(&s->calls, 1) != 1)
		return;
	/* Some always wait for a request, so this is the end: the drain waits for it. */
	lock_take(&s->lock);
	pthread_cond_broadcast(&s->changed);
	lock_release(&s->lock);
}

static void arm(struct rpc_server *s, size_t method, grpc_completion_queue *cq);

struct arrival {
	struct rpc_tag tag;
	struct rpc_call *call;
	grpc_completion_queue *cq;
	size_t method;
};

static void arrived(struct rpc_tag *t, bool ok)
{
	struct arrival *a = CONTAINER_OF(t, struct arrival, tag);
	struct rpc_call *c = a->call;
	struct stow_err err;

	if (!ok) { /* the server is draining */
		rpc_call_delete(c);
		free(a);
		return;
	}
	arm(c->server, a->method, a->cq);
	free(a);
	if (c->received)
		c->message = rpc_message_new(TAKE(c->received));
	if (!c->method->client_streams && (!c->message || c->message->compressed)) {
		rpc_fail_unreadable(c->message, &err);
		rpc_finish(c, &err, NULL);
		return;
	}
	c->method->start(c);
}

/* Has the next request of that method answered by a call that is ready for it. */
static void arm(struct rpc_server *s, size_t method, grpc_completion_queue *cq)
{
	const struct rpc_method *m = s->options.methods[method];
	struct arrival *a = x_calloc(1, sizeof(*a));
	struct rpc_call *c = rpc_call_make(s, m);
	grpc_call_error e;

	*a = (struct arrival){ .tag.done = arrived, .call = c, .cq = cq, .method = method };
	e = grpc_server_request_registered_call(s->server, s->handles[method], &c->call, &c->deadline,
						&c->metadata, m->client_streams ? NULL : &c->received, cq, cq,
						&a->tag);
	assert(e == GRPC_CALL_OK);
}

/* --- calls of methods that we do not have --- */

struct unknown_call {
	struct rpc_call base;
	struct rpc_tag arrival;
	grpc_call_details details;
	grpc_completion_queue *cq;
};

static void unknown_free(struct rpc_call *c)
{
	grpc_call_details_destroy(&CONTAINER_OF(c, struct unknown_call, base)->details);
}

static const struct rpc_method unknown_method = {
	.path = "(unknown)",
	.size = sizeof(struct unknown_call),
	.free = unknown_free,
};

static void arm_unknown(struct rpc_server *s, grpc_completion_queue *cq);

static void unknown_arrived(struct rpc_tag *t, bool ok)
{
	struct unknown_call *u = CONTAINER_OF(t, struct unknown_call, arrival);
	struct stow_err err;

	if (!ok) {
		unknown_free(&u->base);
		rpc_call_delete(&u->base);
		return;
	}
	arm_unknown(u->base.server, u->cq);
	stow_fail(&err, STOW_UNIMPLEMENTED, "method %.*s is not served here",
		  (int)GRPC_SLICE_LENGTH(u->details.method),
		  (const char *)GRPC_SLICE_START_PTR(u->details.method));
	rpc_finish(&u->base, &err, NULL);
}

static void arm_unknown(struct rpc_server *s, grpc_completion_queue *cq)
{
	struct unknown_call *u = CONTAINER_OF(rpc_call_make(s, &unknown_method), struct unknown_call, base);
	grpc_call_error e;

	u->arrival.done = unknown_arrived;
	u->cq = cq;
	grpc_call_details_init(&u->details);
	e = grpc_server_request_call(s->server, &u->base.call, &u->details, &u->base.metadata, cq, cq,
				     &u->arrival);
	assert(e == GRPC_CALL_OK);
}

/* --- the server --- */

/* The next event. A client that stops and waits comes back within some 100 µs, and falling asleep and
 * being woken takes a good part of that; so for a while after each event the thread looks again and
 * again before it sleeps. It gives way to whoever else can use the processor. */
static grpc_event next_event(struct rpc_thread *t)
{
	int64_t until = clock_mono_ns() + t->server->options.busy_poll_ns;

	while (clock_mono_ns() < until) {
		grpc_event ev = grpc_completion_queue_next(t->cq, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);

		if (ev.type != GRPC_QUEUE_TIMEOUT)
			return ev;
		sched_yield();
	}
	return grpc_completion_queue_next(t->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static void *cq_loop(void *arg)
{
	struct rpc_thread *t = arg;

	for (;;) {
		grpc_event ev = next_event(t);

		if (ev.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		((struct rpc_tag *)ev.tag)->done(ev.tag, ev.success != 0);
	}
}

static void thread_start(struct rpc_thread *t, unsigned number)
{
	sigset_t all, old;
	char name[16];

	snprintf(name, sizeof(name), "rpc-%u", number);
	sigfillset(&all); /* signals are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&t->thread, NULL, cq_loop, t) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_setname_np(t->thread, name);
}

static grpc_server *server_make(const struct rpc_options *o)
{
	grpc_arg args[] = {
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
		  .value.integer = (int)o->max_message },
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH,
		  .value.integer = -1 },
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_ARG_MAX_CONCURRENT_STREAMS,
		  .value.integer = LIMIT_STREAMS },
		/* A small message may unpack to any size, and gRPC would do it before it looks. */
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char *)(uintptr_t)GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
		  .value.integer = 0 },
	};
	grpc_channel_args list = { .num_args = ARRAY_LEN(args), .args = args };

	return grpc_server_create(&list, NULL);
}

struct rpc_server *rpc_server_new(const struct rpc_options *o)
{
	struct rpc_server *s;
	size_t methods = 0;

	abseil_quiet();
	grpc_init();
	while (o->methods[methods])
		methods++;
	s = x_calloc(1, sizeof(*s) + o->threads * sizeof(s->threads[0]));
	s->options = *o;
	s->handles = x_calloc(methods, sizeof(*s->handles));
	lock_init(&s->lock, RANK_SERVER);
	lock_cond_init(&s->changed);
	s->server = server_make(o);
	s->credentials = grpc_insecure_server_credentials_create();
	for (size_t i = 0; i < methods; i++)
		s->handles[i] = grpc_server_register_method(
			s->server, o->methods[i]->path, NULL,
			o->methods[i]->client_streams ? GRPC_SRM_PAYLOAD_NONE
						      : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
			0);
	for (unsigned t = 0; t < o->threads; t++) {
		s->threads[t].server = s;
		s->threads[t].cq = grpc_completion_queue_create_for_next(NULL);
		grpc_server_register_completion_queue(s->server, s->threads[t].cq, NULL);
	}
	grpc_server_start(s->server);
	for (unsigned t = 0; t < o->threads; t++) {
		for (unsigned n = 0; n < ARMED; n++) {
			for (size_t i = 0; i < methods; i++)
				arm(s, i, s->threads[t].cq);
			arm_unknown(s, s->threads[t].cq);
		}
		thread_start(&s->threads[t], t);
	}
	return s;
}

void rpc_server_add(struct rpc_server *s, int fd)
{
	grpc_server_add_channel_from_fd(s->server, fd, s->credentials);
}

static void drained(struct rpc_tag *t, bool ok UNUSED)
{
	struct rpc_server *s = CONTAINER_OF(t, struct rpc_server, drained_tag);

	LOCK_SCOPE(&s->lock);
	s->drained = true;
	pthread_cond_broadcast(&s->changed);
}

static bool all_ended_locked(struct rpc_server *s)
{
	LOCK_ASSERT(&s->lock);
	return s->drained && atomic_load(&s->calls) == 0;
}

void rpc_server_drain(struct rpc_server *s, int64_t grace_ns)
{
	int64_t deadline = clock_mono_ns() + grace_ns;
	bool in_time = true;

	s->drained_tag.done = drained;
	grpc_server_shutdown_and_notify(s->server, s->threads[0].cq, &s->drained_tag);
	lock_take(&s->lock);
	while (!all_ended_locked(s) && in_time)
		in_time = lock_wait_until(&s->lock, &s->changed, deadline);
	lock_release(&s->lock);
	if (!in_time)
		grpc_server_cancel_all_calls(s->server);
}

void rpc_server_await(struct rpc_server *s)
{
	lock_take(&s->lock);
	while (!all_ended_locked(s))
		lock_wait(&s->lock, &s->changed);
	lock_release(&s->lock);
}

void rpc_server_free(struct rpc_server *s)
{
	if (!s)
		return;
	assert(s->drained);
	for (unsigned t = 0; t < s->options.threads; t++)
		grpc_completion_queue_shutdown(s->threads[t].cq);
	for (unsigned t = 0; t < s->options.threads; t++) {
		pthread_join(s->threads[t].thread, NULL);
		grpc_completion_queue_destroy(s->threads[t].cq);
	}
	grpc_server_destroy(s->server);
	grpc_server_credentials_release(s->credentials);
	pthread_cond_destroy(&s->changed);
	lock_destroy(&s->lock);
	free(s->handles);
	free(s);
	grpc_shutdown_blocking();
}
