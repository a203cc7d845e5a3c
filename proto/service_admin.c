/* stowage.v1.Admin: what only a running daemon can tell. */
#include "content/base/mem.h"
#include "proto/admin.pb-c.h"
#include "proto/service.h"

struct ingest_sums {
	uint64_t n, bytes;
};

static int add_ingest(void *arg, const struct ingest_status *st, struct stow_err *err UNUSED)
{
	struct ingest_sums *sums = arg;

	sums->n++;
	sums->bytes += st->offset;
	return 0;
}

static void daemon_status_work(struct rpc_call *c)
{
	const struct service *s = service_of(c);
	Pb__DaemonStatusResponse m;
	CLEANUP(filter_freep) struct filter *all = NULL;
	struct ingest_sums sums = { 0 };
	CLEANUP(freep) uint8_t *packed = NULL;
	struct buf b = { 0 };
	struct stow_err err;

	pb__daemon_status_response__init(&m);
	if (filter_compile(NULL, 0, &all, &err) < 0 ||
	    store_ingests(s->store, all, add_ingest, &sums, &err) < 0 ||
	    store_count(s->store, &m.blobs, &m.blob_bytes, &err) < 0) {
		rpc_finish(c, &err, NULL);
		return;
	}
	m.version = (char *)(uintptr_t)STOWAGE_VERSION;
	m.pid = getpid();
	m.started_ns = s->started_ns;
	m.root = (char *)(uintptr_t)s->root;
	m.address = (char *)(uintptr_t)s->address;
	m.backend = (char *)(uintptr_t)s->backend;
	m.ingests = sums.n;
	m.ingest_bytes = sums.bytes;
	m.reconciling = atomic_load(s->reconciling);
	m.node = (char *)(uintptr_t)store_node_id(s->store);
	b.len = protobuf_c_message_get_packed_size(&m.base);
	b.p = packed = x_malloc(b.len);
	protobuf_c_message_pack(&m.base, packed);
	rpc_reply(c, &b);
}

static void daemon_status_start(struct rpc_call *c)
{
	rpc_work(c, daemon_status_work);
}

const struct rpc_method method_daemon_status = {
	.path = "/stowage.v1.Admin/Status",
	.size = sizeof(struct rpc_call),
	.start = daemon_status_start,
};
