/* Status, ListStatuses and Abort. */
#include "content/base/mem.h"
#include "proto/service.h"
#include "proto/wire.h"

struct ref_call {
	struct rpc_call base;
	char *ref;
};

static struct ref_call *ref_call(struct rpc_call *c)
{
	return CONTAINER_OF(c, struct ref_call, base);
}

/* Decodes the ref; false if the call has been ended because there is none. */
static bool ref_call_begin(struct rpc_call *c)
{
	struct stow_err err;

	if (wire_ref_request(c->message->iov, c->message->n, &ref_call(c)->ref, &err) == 0)
		return true;
	rpc_finish(c, &err, NULL);
	return false;
}

static void ref_call_free(struct rpc_call *c)
{
	free(ref_call(c)->ref);
}

/* --- Status --- */

/* On the RPC thread: one look into memory, and perhaps one into the database. */
static void status_start(struct rpc_call *c)
{
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, WIRE_RESPONSE_MAX);
	if (!ref_call_begin(c))
		return;
	if (store_ingest_status(service_of(c)->store, ref_call(c)->ref, &st, &err) < 0 ||
	    wire_status_response(&st, &b, &err) < 0)
		rpc_finish(c, &err, ref_call(c)->ref);
	else
		rpc_reply(c, &b);
}

const struct rpc_method method_status = {
	.path = "/containerd.services.content.v1.Content/Status",
	.size = sizeof(struct ref_call),
	.start = status_start,
	.free = ref_call_free,
};

/* --- Abort --- */

static void abort_work(struct rpc_call *c)
{
	CLEANUP(buf_free) struct buf empty;
	struct stow_err err;

	buf_init(&empty, 1);
	if (store_abort(service_of(c)->store, ref_call(c)->ref, &err) < 0)
		rpc_finish(c, &err, ref_call(c)->ref);
	else
		rpc_reply(c, &empty);
}

static void abort_start(struct rpc_call *c)
{
	if (ref_call_begin(c))
		service_work(c, BACKEND_FAR_COMMIT, abort_work); /* it may be about to be committed */
}

const struct rpc_method method_abort = {
	.path = "/containerd.services.content.v1.Content/Abort",
	.size = sizeof(struct ref_call),
	.start = abort_start,
	.free = ref_call_free,
};

/* --- ListStatuses --- */

static int add_status(void *arg, const struct ingest_status *st, struct stow_err *err)
{
	return wire_statuses_element(st, arg, err);
}

static void list_statuses_work(struct rpc_call *c)
{
	CLEANUP(filter_freep) struct filter *filter = NULL;
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, WIRE_RESPONSE_MAX);
	if (wire_filter_request(c->message->iov, c->message->n, &filter, &err) < 0 ||
	    store_ingests(service_of(c)->store, filter, add_status, &b, &err) < 0)
		rpc_finish(c, &err, NULL);
	else
		rpc_reply(c, &b);
}

static void list_statuses_start(struct rpc_call *c)
{
	rpc_work(c, list_statuses_work);
}

const struct rpc_method method_list_statuses = {
	.path = "/containerd.services.content.v1.Content/ListStatuses",
	.size = sizeof(struct rpc_call),
	.start = list_statuses_start,
};
