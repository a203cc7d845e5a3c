/* Calls: messages, operations, and their end. */
#include "content/base/log.h"
#include "content/base/mem.h"
#include "proto/rpc_internal.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/status.h>

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

struct rpc_message *rpc_message_new(grpc_byte_buffer *bytes)
{
	struct rpc_message *m = x_calloc(1, sizeof(*m));
	grpc_byte_buffer_reader reader;
	size_t room = 0;
	grpc_slice slice;

	m->bytes = bytes;
	/* The caps are for what arrives; what it would unpack to, nobody knows. */
	m->compressed = bytes->data.raw.compression != GRPC_COMPRESS_NONE ||
			!grpc_byte_buffer_reader_init(&reader, bytes);
	if (m->compressed)
		return m;
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

int rpc_fail_unreadable(const struct rpc_message *m, struct stow_err *err)
{
	if (m)
		return stow_fail(err, STOW_UNIMPLEMENTED, "compressed messages are not accepted");
	return stow_fail(err, STOW_INVALID_ARGUMENT, "the request carries no message");
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
	grpc_call_unref(c->call);
	rpc_call_delete(c);
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
		c->message = c->received ? rpc_message_new(TAKE(c->received)) : NULL;
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
	enum log_level level = ours ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;
	struct log_field fields[] = {
		LOG_S("method", c->method->path),
		LOG_S("code", stow_code_name(err->code)),
		LOG_S("error", err->msg),
		LOG_S("subject", subject),
		{ 0 },
	};

	if (!log_enabled(level))
		return;
	if (!subject)
		fields[3] = (struct log_field){ 0 };
	log_write(level, "request failed", fields);
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

static void work_on(struct pool *p, struct rpc_call *c, void (*work)(struct rpc_call *c))
{
	c->work = work;
	c->job.run = work_run;
	pool_submit(p, &c->job);
}

void rpc_work(struct rpc_call *c, void (*work)(struct rpc_call *c))
{
	work_on(c->server->options.pool, c, work);
}

void rpc_work_far(struct rpc_call *c, void (*work)(struct rpc_call *c))
{
	work_on(c->server->options.far, c, work);
}
