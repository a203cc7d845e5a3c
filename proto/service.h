/* The methods that Stowage serves, each a `struct rpc_method`; what they share. */
#ifndef STOWAGE_PROTO_SERVICE_H
#define STOWAGE_PROTO_SERVICE_H

#include "content/store.h"
#include "proto/rpc.h"

struct health;

/* What every call's `context` points to. Lives as long as the server. */
struct service {
	struct store *store;
	struct pool *pool, *far; /* see server.h */
	struct health *health;
	/* For the Admin service. */
	const char *root, *address, *backend;
	int64_t started_ns; /* wall clock */
	const atomic_bool *reconciling;
};

extern const struct rpc_method method_info, method_update, method_list, method_delete; /* service_info.c */
extern const struct rpc_method method_read;                                            /* service_read.c */
extern const struct rpc_method method_status, method_list_statuses, method_abort;      /* service_status.c */
extern const struct rpc_method method_write;                                           /* service_write.c */
extern const struct rpc_method method_health_check, method_health_watch;               /* service_health.c */
extern const struct rpc_method method_daemon_status, method_flush;                     /* service_admin.c */
extern const struct rpc_method method_pin, method_unpin, method_bring, method_look;    /* service_fleet.c */

static inline const struct service *service_of(const struct rpc_call *c)
{
	return c->context;
}

/* What the method's `work` does of the backend's is `what`, of backend_far. Where that may wait for another
 * machine it is no business of the workers': they are few, and there for those who wait for the local disk.
 */
static inline void service_work(struct rpc_call *c, unsigned what, void (*work)(struct rpc_call *c))
{
	if ((store_far(service_of(c)->store) & what) != 0)
		rpc_work_far(c, work);
	else
		rpc_work(c, work);
}

/* A call about one blob. */
struct blob_call {
	struct rpc_call base;
	struct digest digest;
	int64_t number; /* field 2, of requests that have one */
	char subject[DIGEST_STR_MAX];
};
static inline struct blob_call *blob_call(struct rpc_call *c)
{
	return CONTAINER_OF(c, struct blob_call, base);
}
/* Decodes the digest, field 1 of the request; false if the call has been ended because there is none. */
bool blob_call_begin(struct rpc_call *c);

/* Who watches our health; see service_health.c. */
struct health *health_new(void);
/* From here on Check says NOT_SERVING; the watchers are told, and their calls end. */
void health_stop(struct health *h);
/* No call may be open. */
void health_free(struct health *h);

#endif
