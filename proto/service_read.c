/* Read: a range of a blob, in messages of LIMIT_READ_CHUNK bytes at most: so short that the client unpacks
 * one while the next is on its way.
 *
 * containerd unpacks a layer by some 32 000 of these a GiB, 32 KiB each, so the common case is kept
 * short: the blob is in the table of open ones, its bytes are in the page cache, and one pread and one
 * batch answer the call on the RPC thread. What waits for the disk goes to a worker. What turns out there not
 * to be on this machine goes on to a thread for those who wait for another one: 16 readers of what a bucket
 * does not give must not hold up a node. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "proto/service.h"
#include "proto/wire.h"

#include <grpc/slice_buffer.h>

struct read_call {
	struct rpc_call base;
	struct digest digest;
	char subject[DIGEST_STR_MAX];
	int64_t asked_offset, asked_size;
	struct open_blob *blob;
	uint64_t start; /* of this read, in the blob */
	uint64_t done;  /* bytes of it that have been sent */
	uint64_t size;  /* of it */
};

static struct read_call *read_call(struct rpc_call *c)
{
	return CONTAINER_OF(c, struct read_call, base);
}

/* Clamps the client's numbers, which may be anything, to the blob. */
static int read_range(struct read_call *r, struct stow_err *err)
{
	uint64_t total = store_read_size(r->blob);
	uint64_t start = r->asked_offset > 0 ? (uint64_t)r->asked_offset : 0;

	if (start > total)
		return stow_fail(err, STOW_OUT_OF_RANGE, "content %s: offset %llu is beyond its %llu bytes",
				 r->subject, (unsigned long long)start, (unsigned long long)total);
	r->start = start;
	r->size = total - start;
	if (r->asked_size > 0 && (uint64_t)r->asked_size < r->size)
		r->size = (uint64_t)r->asked_size;
	return 0;
}

/* A message of the next chunk, its bytes read straight into the slice that is sent. NULL with *err
 * set on failure. */
static grpc_byte_buffer *read_chunk(struct read_call *r, unsigned flags, struct stow_err *err)
{
	uint64_t left = r->size - r->done;
	size_t want = left < LIMIT_READ_CHUNK ? (size_t)left : LIMIT_READ_CHUNK, got;
	uint8_t header[WIRE_READ_HEADER_MAX];
	grpc_slice slices[2];
	grpc_byte_buffer *m = NULL;

	slices[1] = grpc_slice_malloc_large(want);
	if (store_read(service_of(&r->base)->store, r->blob, GRPC_SLICE_START_PTR(slices[1]), want,
		       r->start + r->done, flags, &got, err) == 0) {
		if (got == want) {
			/* The offset counts from the start of this read, as containerd's server has it. */
			slices[0] = grpc_slice_from_copied_buffer((const char *)header,
								  wire_read_header(r->done, got, header));
			m = grpc_raw_byte_buffer_create(slices, 2);
			grpc_slice_unref(slices[0]);
			r->done += got;
		} else {
			stow_fail(err, STOW_DATA_LOSS, "content %s: its bytes end at %llu", r->subject,
				  (unsigned long long)(r->start + r->done + got));
		}
	}
	grpc_slice_unref(slices[1]);
	return m;
}

static void read_near(struct rpc_call *c);
static void read_far(struct rpc_call *c);

/* What could not be had with `flags` is tried again where one may wait longer. */
static void read_later(struct rpc_call *c, unsigned flags)
{
	bool far = store_far(service_of(c)->store) & BACKEND_FAR_READ;

	if ((flags & BACKEND_READ_NOWAIT) && !far)
		rpc_work(c, read_near);
	else
		rpc_work_far(c, read_far);
}

static void read_next(struct rpc_call *c, bool ok);

/* Sends the next chunk, or, if that would wait and must not, has it done elsewhere. */
static void read_go_on(struct rpc_call *c, unsigned flags)
{
	struct read_call *r = read_call(c);
	struct stow_err err;
	grpc_byte_buffer *m;

	if (r->size == 0) {
		rpc_finish(c, NULL, NULL);
		return;
	}
	m = read_chunk(r, flags, &err);
	if (!m && flags && err.code == STOW_UNAVAILABLE)
		read_later(c, flags);
	else if (!m)
		rpc_finish(c, &err, r->subject);
	else if (r->done == r->size)
		rpc_send_last(c, m);
	else
		rpc_send(c, m, read_next);
}

static void read_next(struct rpc_call *c, bool ok)
{
	if (ok)
		read_go_on(c, BACKEND_READ_NOWAIT);
	else
		rpc_finish(c, NULL, NULL); /* cancelled: a client whose buffer is full does that */
}

static void read_work(struct rpc_call *c, unsigned flags)
{
	struct read_call *r = read_call(c);
	struct stow_err err;

	if (r->blob)
		read_go_on(c, flags);
	else if (store_read_begin(service_of(c)->store, &r->digest, flags, &r->blob, &err) == 0 &&
		 read_range(r, &err) == 0)
		read_go_on(c, flags);
	else if (!r->blob && flags && err.code == STOW_UNAVAILABLE)
		read_later(c, flags);
	else
		rpc_finish(c, &err, r->subject);
}

static void read_near(struct rpc_call *c)
{
	read_work(c, BACKEND_READ_NEAR);
}

static void read_far(struct rpc_call *c)
{
	read_work(c, 0);
}

static void read_start(struct rpc_call *c)
{
	struct read_call *r = read_call(c);
	struct wire_digest_request q;
	struct stow_err err;

	if (wire_digest_request(c->message->iov, c->message->n, &q, &err) < 0) {
		rpc_finish(c, &err, NULL);
		return;
	}
	r->digest = q.digest;
	r->asked_offset = q.offset;
	r->asked_size = q.size;
	digest_format(&q.digest, r->subject);
	r->blob = store_read_begin_now(service_of(c)->store, &r->digest);
	if (!r->blob)
		read_later(c, BACKEND_READ_NOWAIT);
	else if (read_range(r, &err) < 0)
		rpc_finish(c, &err, r->subject);
	else
		read_go_on(c, BACKEND_READ_NOWAIT);
}

static void read_free(struct rpc_call *c)
{
	struct read_call *r = read_call(c);

	if (r->blob)
		store_read_end(service_of(c)->store, r->blob);
}

const struct rpc_method method_read = {
	.path = "/containerd.services.content.v1.Content/Read",
	.size = sizeof(struct read_call),
	.start = read_start,
	.free = read_free,
};
