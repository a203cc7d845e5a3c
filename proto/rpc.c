#include "proto/rpc.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/log.h"
#include "content/base/mem.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/status.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdio.h>

static_assert((int)STOW_INVALID_ARGUMENT == (int)GRPC_STATUS_INVALID_ARGUMENT &&
		      (int)STOW_NOT_FOUND == (int)GRPC_STATUS_NOT_FOUND &&
		      (int)STOW_ALREADY_EXISTS == (int)GRPC_STATUS_ALREADY_EXISTS &&
		      (int)STOW_RESOURCE_EXHAUSTED == (int)GRPC_STATUS_RESOURCE_EXHAUSTED &&
		      (int)STOW_FAILED_PRECONDITION == (int)GRPC_STATUS_FAILED_PRECONDITION &&
		      (int)STOW_OUT_OF_RANGE == (int)GRPC_STATUS_OUT_OF_RANGE &&
		      (int)STOW_UNIMPLEMENTED == (int)GRPC_STATUS_UNIMPLEMENTED &&
		      (int)STOW_INTERNAL == (int)GRPC_STATUS_INTERNAL &&
		      (int)STOW_UNAVAILABLE == (int)GRPC_STATUS_UNAVAILABLE &&
		      (int)STOW_DATA_LOSS == (int)GRPC_STATUS_DATA_LOSS,
	      "codes are gRPC's");

enum { ARMED = 2 }; /* calls of each method that wait for a request, on each thread */

struct rpc_thread {
	struct rpc_server *server;
	grpc_completion_queue *cq;
	pthread_t thread;
};

struct rpc_server {
	grpc_server *server;
	grpc_server_credentials *credentials;
	struct rpc_options options;
	void **handles; /* of the registered methods, in their order */
	struct rpc_tag drained_tag;
	struct lock lock;
	pthread_cond_t drained_cond;
	bool drained; /* no call is left */
	struct rpc_thread threads[];
};

/* --- messages --- */

void rpc_message_free(struct rpc_message *m)
{
	if (!m)
		return;
	for (int i = 0; i < m->n; i++)
		grpc_slice_unref(m->slices[i]);
	grpc_byte_buffer_destroy(m->bytes);
	free(m->slices);
	free(m->iov);
	free(m);
}

void rpc_message_freep(struct rpc_message **m)
{
	rpc_message_free(*m);
}

/* Takes `bytes`. NULL if they cannot be read (a compression that fails). */
static struct rpc_message *message_new(grpc_byte_buffer *bytes)
{
	struct rpc_message *m = x_calloc(1, sizeof(*m));
	grpc_byte_buffer_reader reader;
	size_t room = 0;
	grpc_slice slice;

	m->bytes = bytes;
	if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
		rpc_message_free(m);
		return NULL;
	}
	while (grpc_byte_buffer_reader_next(&reader, &slice)) {
		if ((size_t)m->n == room) {
			room = room ? 2 * room : 8;
			m->slices = x_reallocarray(m->slices, room, sizeof(*m->slices));
		}
		m->slices[m->n++] = slice;
	}
	grpc_byte_buffer_reader_destroy(&reader);
	/* Only now: short slices hold their bytes themselves, and have moved until here. */
	m->iov = x_calloc((size_t)m->n, sizeof(*m->iov));
	for (int i = 0; i < m->n; i++) {
		m->iov[i].iov_base = GRPC_SLICE_START_PTR(m->slices[i]);
		m->iov[i].iov_len = GRPC_SLICE_LENGTH(m->slices[i]);
		m->len += m->iov[i].iov_len;
	}
	return m;
}

grpc_byte_buffer *rpc_bytes(const void *p, size_t n)
{
	grpc_slice slice = grpc_slice_from_copied_buffer(p, n);
	grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return bytes;
}

/* --- operations --- */

static void call_free(struct rpc_call *c)
{
	if (c->method->free)
		c->method->free(c);
	rpc_message_free(c->message);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_call_unref(c->call);
	free(c);
}

static void tag_ended(struct rpc_call *c)
{
	if (atomic_fetch_sub(&c->tags, 1) == 1)
		call_free(c);
}

static void operation_done(struct rpc_tag *t, bool ok)
{
	struct rpc_call *c = CONTAINER_OF(t, struct rpc_call, tag);

	if (c->sending) {
		grpc_byte_buffer_destroy(c->sending);
		c->sending = NULL;
	}
	if (c->receiving) {
		c->receiving = false;
		c->message = c->received ? message_new(TAKE(c->received)) : NULL;
	}
	if (c->next)
		c->next(c, ok);
	else
		tag_ended(c);
}

static void start(struct rpc_call *c, grpc_op *ops, size_t n, rpc_next *next)
{
	grpc_call_error e;

	c->next = next;
	c->tag.done = operation_done;
	e = grpc_call_start_batch(c->call, ops, n, &c->tag, NULL);
	assert(e == GRPC_CALL_OK);
}

static grpc_op *add_greeting(struct rpc_call *c, grpc_op *op)
{
	if (c->greeted)
		return op;
	c->greeted = true;
	*op = (grpc_op){ .op = GRPC_OP_SEND_INITIAL_METADATA };
	return op + 1;
}

static grpc_op *add_message(struct rpc_call *c, grpc_op *op, grpc_byte_buffer *m)
{
	c->sending = m;
	*op = (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = m };
	return op + 1;
}

static grpc_op *add_receive(struct rpc_call *c, grpc_op *op)
{
	rpc_message_free(TAKE(c->message));
	c->receiving = true;
	*op = (grpc_op){ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->received };
	return op + 1;
}

/* `details` must live until the batch is started. */
static grpc_op *add_end(struct rpc_call *c, grpc_op *op, enum stow_code code, grpc_slice *details)
{
	*op++ = (grpc_op){
		.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		.data.send_status_from_server = { .status = (grpc_status_code)code,
						  .status_details = details },
	};
	if (!c->watching)
		*op++ = (grpc_op){ .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
				   .data.recv_close_on_server.cancelled = &c->cancelled };
	return op;
}

void rpc_recv(struct rpc_call *c, rpc_next *next)
{
	grpc_op ops[1], *end = add_receive(c, ops);

	start(c, ops, (size_t)(end - ops), next);
}

void rpc_send(struct rpc_call *c, grpc_byte_buffer *m, rpc_next *next)
{
	grpc_op ops[2], *end = add_message(c, add_greeting(c, ops), m);

	start(c, ops, (size_t)(end - ops), next);
}

void rpc_send_recv(struct rpc_call *c, grpc_byte_buffer *m, rpc_next *next)
{
	grpc_op ops[3], *end = add_receive(c, add_message(c, add_greeting(c, ops), m));

	start(c, ops, (size_t)(end - ops), next);
}

void rpc_send_last(struct rpc_call *c, grpc_byte_buffer *m)
{
	grpc_op ops[4], *end = add_end(c, add_message(c, add_greeting(c, ops), m), STOW_OK, NULL);

	start(c, ops, (size_t)(end - ops), NULL);
}

void rpc_reply(struct rpc_call *c, const struct buf *b)
{
	rpc_send_last(c, rpc_bytes(b->p, b->len));
}

/* What went wrong here, at the level that it deserves: clients err all the time, we should not. */
static void log_failure(const struct rpc_call *c, const struct stow_err *err, const char *subject)
{
	bool ours = err->code == STOW_INTERNAL || err->code == STOW_DATA_LOSS || err->code == STOW_UNKNOWN ||
		    err->code == STOW_RESOURCE_EXHAUSTED;
	struct log_field fields[] = {
		LOG_S("method", c->method->path),
		LOG_S("code", stow_code_name(err->code)),
		LOG_S("error", err->msg),
		LOG_S("subject", subject),
		{ 0 },
	};

	if (!subject)
		fields[3] = (struct log_field){ 0 };
	log_write(ours ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG, "request failed", fields);
}

void rpc_finish(struct rpc_call *c, const struct stow_err *err, const char *subject)
{
	grpc_op ops[3], *end;
	grpc_slice details = err ? grpc_slice_from_copied_string(err->msg) : grpc_empty_slice();

	if (err)
		log_failure(c, err, subject);
	end = add_end(c, add_greeting(c, ops), err ? err->code : STOW_OK, err ? &details : NULL);
	start(c, ops, (size_t)(end - ops), NULL);
	grpc_slice_unref(details);
}

static void watch_done(struct rpc_tag *t, bool ok)
{
	struct rpc_call *c = CONTAINER_OF(t, struct rpc_call, watch_tag);

	c->gone(c, ok);
	tag_ended(c);
}

void rpc_watch(struct rpc_call *c, rpc_next *gone)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		       .data.recv_close_on_server.cancelled = &c->cancelled };
	grpc_call_error e;

	c->watching = true;
	c->gone = gone;
	c->watch_tag.done = watch_done;
	atomic_fetch_add(&c->tags, 1);
	e = grpc_call_start_batch(c->call, &op, 1, &c->watch_tag, NULL);
	assert(e == GRPC_CALL_OK);
}

static void work_run(struct job *j)
{
	struct rpc_call *c = CONTAINER_OF(j, struct rpc_call, job);

	c->work(c);
}

void rpc_work(struct rpc_call *c, void (*work)(struct rpc_call *c))
{
	c->work = work;
	c->job.run = work_run;
	pool_submit(c->server->options.pool, &c->job);
}

/* --- arrival of calls --- */

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
		grpc_metadata_array_destroy(&c->metadata);
		free(c);
		free(a);
		return;
	}
	arm(c->server, a->method, a->cq);
	free(a);
	if (c->received)
		c->message = message_new(TAKE(c->received));
	if (!c->message && !c->method->client_streams) {
		stow_fail(&err, STOW_INVALID_ARGUMENT, "the request carries no message that could be read");
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
	struct rpc_call *c = x_calloc(1, m->size);
	grpc_call_error e;

	*a = (struct arrival){ .tag.done = arrived, .call = c, .cq = cq, .method = method };
	c->method = m;
	c->server = s;
	c->context = s->options.context;
	c->tags = 1;
	grpc_metadata_array_init(&c->metadata);
	e = grpc_server_request_registered_call(s->server, s->handles[method], &c->call, &c->deadline,
						&c->metadata, m->client_streams ? NULL : &c->received, cq, cq,
						&a->tag);
	assert(e == GRPC_CALL_OK);
}

/* --- calls of methods that we do not have --- */

static void unknown_free(struct rpc_call *c);
static const struct rpc_method unknown_method = { .path = "(unknown)", .free = unknown_free };

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

static void arm_unknown(struct rpc_server *s, grpc_completion_queue *cq);

static void unknown_arrived(struct rpc_tag *t, bool ok)
{
	struct unknown_call *u = CONTAINER_OF(t, struct unknown_call, arrival);
	struct stow_err err;

	if (!ok) {
		grpc_call_details_destroy(&u->details);
		grpc_metadata_array_destroy(&u->base.metadata);
		free(u);
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
	struct unknown_call *u = x_calloc(1, sizeof(*u));
	grpc_call_error e;

	u->base.method = &unknown_method;
	u->base.server = s;
	u->base.tags = 1;
	u->arrival.done = unknown_arrived;
	u->cq = cq;
	grpc_metadata_array_init(&u->base.metadata);
	grpc_call_details_init(&u->details);
	e = grpc_server_request_call(s->server, &u->base.call, &u->details, &u->base.metadata, cq, cq,
				     &u->arrival);
	assert(e == GRPC_CALL_OK);
}

/* --- the server --- */

static void *cq_loop(void *arg)
{
	struct rpc_thread *t = arg;
	grpc_event ev;

	for (;;) {
		ev = grpc_completion_queue_next(t->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
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
	};
	grpc_channel_args list = { .num_args = ARRAY_LEN(args), .args = args };

	return grpc_server_create(&list, NULL);
}

struct rpc_server *rpc_server_new(const struct rpc_options *o)
{
	struct rpc_server *s;
	size_t methods = 0;

	grpc_init();
	while (o->methods[methods])
		methods++;
	s = x_calloc(1, sizeof(*s) + o->threads * sizeof(s->threads[0]));
	s->options = *o;
	s->handles = x_calloc(methods, sizeof(*s->handles));
	lock_init(&s->lock, RANK_SERVER);
	lock_cond_init(&s->drained_cond);
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
	pthread_cond_broadcast(&s->drained_cond);
}

void rpc_server_drain(struct rpc_server *s, int64_t grace_ns)
{
	int64_t deadline = clock_mono_ns() + grace_ns;
	bool in_time = true;

	s->drained_tag.done = drained;
	grpc_server_shutdown_and_notify(s->server, s->threads[0].cq, &s->drained_tag);
	lock_take(&s->lock);
	while (!s->drained && in_time)
		in_time = lock_wait_until(&s->lock, &s->drained_cond, deadline);
	lock_release(&s->lock);
	if (in_time)
		return;
	grpc_server_cancel_all_calls(s->server);
	lock_take(&s->lock);
	while (!s->drained)
		lock_wait(&s->lock, &s->drained_cond);
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
	pthread_cond_destroy(&s->drained_cond);
	lock_destroy(&s->lock);
	free(s->handles);
	free(s);
	grpc_shutdown_blocking();
}
