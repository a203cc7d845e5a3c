/* gRPC's C core as calls with a life: completion queues, tags, batches. Knows no method of ours.
 *
 * A call is made when a request arrives, and runs its method's `start` on one of the RPC threads. From
 * then on its owner starts one operation after another; each names the function that goes on when it
 * has ended, on an RPC thread. Exactly one operation is under way, or the owner is working (there, or
 * by rpc_work() elsewhere): so a call's own state needs no lock. rpc_reply(), rpc_send_last() and
 * rpc_finish() are the last operation; when it has ended the method's `free` runs, and the call is gone.
 *
 *   unary      start -> [rpc_work] -> rpc_reply | rpc_finish
 *   stream out start -> rpc_send ... -> rpc_send_last | rpc_finish
 *   two-way    start -> rpc_recv -> rpc_send_recv ... -> rpc_send_last | rpc_finish
 *
 * A cancelled call shows as `ok` being false, or as a received message that is NULL; its owner ends it
 * by rpc_finish() as any other. Everything it held goes then.
 *
 * Messages are capped by the server (max_message): gRPC refuses a longer one with RESOURCE_EXHAUSTED. */
#ifndef STOWAGE_PROTO_RPC_H
#define STOWAGE_PROTO_RPC_H

#include "content/base/buf.h"
#include "content/base/err.h"
#include "content/base/pool.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct rpc_server;
struct rpc_call;

/* One kind of call. Static storage. */
struct rpc_method {
	const char *path;    /* "/containerd.services.content.v1.Content/Info" */
	bool client_streams; /* else the one request is there when the call starts */
	size_t size;         /* of the struct that begins with a struct rpc_call */
	/* On an RPC thread; must not block. The memory behind the rpc_call is zero. */
	void (*start)(struct rpc_call *c);
	/* What the method's own part holds; on an RPC thread. NULL: nothing. */
	void (*free)(struct rpc_call *c);
};

/* One outstanding operation of gRPC's: `done` runs once, on an RPC thread. */
struct rpc_tag {
	void (*done)(struct rpc_tag *t, bool ok);
};

typedef void rpc_next(struct rpc_call *c, bool ok);

/* A message as it lies in memory: the slices of a byte buffer. */
struct rpc_message {
	grpc_byte_buffer *bytes; /* owned */
	grpc_slice *slices;      /* n of them, owned */
	struct iovec *iov;       /* the same, as the decoders take them */
	int n;
	size_t len;
	bool compressed; /* then it has no slices: we do not read such messages */
};
void rpc_message_free(struct rpc_message *m); /* NULL is a no-op */
void rpc_message_freep(struct rpc_message **m);

struct rpc_call {
	const struct rpc_method *method;
	struct rpc_server *server;
	void *context; /* rpc_options.context */
	/* The request (unary), or what rpc_recv() has received: NULL at the stream's end. The owner
	 * may take it. */
	struct rpc_message *message;

	/* private to rpc.c */
	grpc_call *call;
	struct rpc_tag tag, watch_tag;
	rpc_next *next, *gone; /* next NULL: that was the last operation */
	atomic_uint tags;      /* ends still to come: of the last operation, and of the watch */
	grpc_byte_buffer *received, *sending;
	int cancelled;
	bool receiving, greeted, watching;
	struct job job;
	void (*work)(struct rpc_call *c);
	grpc_metadata_array metadata;
	gpr_timespec deadline;
};

/* --- a call's operations --- */

/* Runs `work` on a worker, where it may block. Counts as the call's operation. */
void rpc_work(struct rpc_call *c, void (*work)(struct rpc_call *c));
/* The same on a thread for those who may wait for another machine. */
void rpc_work_far(struct rpc_call *c, void (*work)(struct rpc_call *c));

/* Receives the next message. `next` finds it in c->message. */
void rpc_recv(struct rpc_call *c, rpc_next *next);
/* Sends a message; takes `m`. */
void rpc_send(struct rpc_call *c, grpc_byte_buffer *m, rpc_next *next);
/* Sends one and receives the next: how a client that stops and waits is served with one wake-up. */
void rpc_send_recv(struct rpc_call *c, grpc_byte_buffer *m, rpc_next *next);
/* Sends the last message and the status OK. */
void rpc_send_last(struct rpc_call *c, grpc_byte_buffer *m);
/* The same with the bytes of `b`, which are copied. */
void rpc_reply(struct rpc_call *c, const struct buf *b);
/* Ends the call: with OK if `err` is NULL, else with its code and message. The one place where a
 * failed RPC is logged; `subject` (may be NULL) is the ref or digest that it was about. */
void rpc_finish(struct rpc_call *c, const struct stow_err *err, const char *subject);
/* For a call that stays open to tell news: `gone` runs once when the call has ended on the wire,
 * because the client went or because somebody finished it. Beside it, and from any thread, the owner
 * goes on with one operation at a time. */
void rpc_watch(struct rpc_call *c, rpc_next *gone);

/* Says why there is no message to decode: it is NULL, or compressed. Returns -1. */
int rpc_fail_unreadable(const struct rpc_message *m, struct stow_err *err);

/* A message of copied bytes. */
grpc_byte_buffer *rpc_bytes(const void *p, size_t n);

/* --- the server --- */

struct rpc_options {
	const struct rpc_method *const *methods; /* NULL-terminated */
	void *context;                           /* for every call */
	struct pool *pool;                       /* for rpc_work() */
	struct pool *far;                        /* for rpc_work_far() */
	unsigned threads;                        /* RPC threads, at least 1 */
	int64_t busy_poll_ns; /* how long each looks for the next event before it sleeps; 0: not at all */
	size_t max_message;   /* bytes of a received message */
};
/* Starts the threads; connections come by rpc_server_add(). */
struct rpc_server *rpc_server_new(const struct rpc_options *o);
/* Serves a connected, non-blocking socket; owns it from then on. Any thread, not after drain. */
void rpc_server_add(struct rpc_server *s, int fd);
/* Takes no more calls and lets the open ones go on for `grace_ns`; then cancels them. Their work may go on.
 */
void rpc_server_drain(struct rpc_server *s, int64_t grace_ns);
/* After drain: returns when all calls have ended. */
void rpc_server_await(struct rpc_server *s);
/* After that: ends the threads. NULL is a no-op. */
void rpc_server_free(struct rpc_server *s);

#endif
