#include "proto/server.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "proto/service.h"

struct server {
	struct service service;
	struct rpc_server *rpc;
	struct listener *listener;
};

static const struct rpc_method *const METHODS[] = {
	&method_info,         &method_update,        &method_list,  &method_delete, &method_read,
	&method_status,       &method_list_statuses, &method_abort, &method_write,  &method_health_check,
	&method_health_watch, &method_daemon_status, &method_flush, &method_pin,    &method_unpin,
	&method_bring,        &method_look,          NULL,
};

static void connected(void *arg, int fd)
{
	struct server *s = arg;

	rpc_server_add(s->rpc, fd);
}

struct server *server_start(const struct server_options *o)
{
	struct server *s = x_calloc(1, sizeof(*s));
	struct rpc_options rpc = {
		.methods = METHODS,
		.context = &s->service,
		.pool = o->pool,
		.far = o->far,
		.threads = o->threads,
		.busy_poll_ns = o->busy_poll_ns,
		.max_message = o->max_message,
	};

	s->service = (struct service){
		.store = o->store,
		.pool = o->pool,
		.far = o->far,
		.health = health_new(),
		.root = o->root,
		.address = o->address,
		.backend = o->backend,
		.started_ns = clock_wall_ns(),
		.reconciling = o->reconciling,
	};
	s->listener = o->listener;
	s->rpc = rpc_server_new(&rpc);
	listener_start(s->listener, connected, s);
	return s;
}

void server_drain(struct server *s, int64_t grace_ns)
{
	listener_stop(s->listener);
	health_stop(s->service.health);
	rpc_server_drain(s->rpc, grace_ns);
}

void server_await(struct server *s)
{
	rpc_server_await(s->rpc);
}

void server_free(struct server *s)
{
	rpc_server_free(s->rpc);
	health_free(s->service.health);
	listener_free(s->listener);
	free(s);
}
