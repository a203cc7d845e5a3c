/* The daemon's face: Content, Health and Admin on one socket. */
#ifndef STOWAGE_PROTO_SERVER_H
#define STOWAGE_PROTO_SERVER_H

#include "content/store.h"
#include "proto/listener.h"

struct server;

struct server_options {
	struct store *store;       /* outlives the server */
	struct pool *pool;         /* for what blocks; outlives the server */
	struct pool *far;          /* for what waits for another machine; likewise */
	struct listener *listener; /* the server's from then on */
	unsigned threads;          /* RPC threads, at least 1 */
	int64_t busy_poll_ns;      /* of each of them, see rpc.h */
	size_t max_message;        /* bytes of a request */
	/* For `stowage status`; borrowed. */
	const char *root, *address, *backend;
	const atomic_bool *reconciling;
};

/* Serves from now on. */
struct server *server_start(const struct server_options *o);
/* Ends it: no new connections and calls, open ones go on for `grace_ns` and are cancelled then, which
 * parks the ingests. Those that wait for another machine go on until the store is stopped. */
void server_drain(struct server *s, int64_t grace_ns);
/* After that: returns when no call is left. */
void server_await(struct server *s);
/* After that, and after the pools have ended, whose last jobs may still be returning from gRPC. */
void server_free(struct server *s);

#endif
