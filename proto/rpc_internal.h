/* What rpc.c (calls) and rpc_server.c (where they come from) share. */
#ifndef STOWAGE_PROTO_RPC_INTERNAL_H
#define STOWAGE_PROTO_RPC_INTERNAL_H

#include "content/base/lock.h"
#include "proto/rpc.h"

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
	/* Calls that are open or wait for their request. gRPC tells when it knows of none any more,
	 * which may be before their owners have started their last operations; those need the queues. */
	atomic_uint calls;
	struct rpc_tag drained_tag;
	struct lock lock;
	pthread_cond_t changed;
	bool drained; /* gRPC's word for it */
	struct rpc_thread threads[];
};

/* Memory for a call of that method, counted as one of the server's. */
struct rpc_call *rpc_call_make(struct rpc_server *s, const struct rpc_method *m);
/* Frees it, which may let rpc_server_drain() return. */
void rpc_call_delete(struct rpc_call *c);

/* Takes `bytes`. */
struct rpc_message *rpc_message_new(grpc_byte_buffer *bytes);

#endif
