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

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* A message and what it points to. */
struct fleet_message {
	struct fleet_status st;
	Pb__FleetStatus m;
	Pb__FleetBehind behind[FLEET_BEHIND_MAX];
	Pb__FleetBehind *pointers[FLEET_BEHIND_MAX];
};

static void fill_fleet(struct fleet_message *f)
{
	const struct fleet_status *st = &f->st;
	Pb__FleetStatus *m = &f->m;

	pb__fleet_status__init(m);
	m->pending = st->pending;
	m->pending_bytes = st->pending_bytes;
	m->oldest_ns = st->oldest_ns;
	m->uploading = st->uploading;
	m->uploaded = st->uploaded;
	m->uploaded_bytes = st->uploaded_bytes;
	m->upload_error = text(st->upload_error);
	m->upload_error_ns = st->upload_error_ns;
	m->cache_bytes = st->cache_bytes;
	m->cache_limit = st->cache_limit;
	m->evicted = st->evicted;
	m->evicted_bytes = st->evicted_bytes;
	m->fetching = st->fetching;
	m->fetched = st->fetched;
	m->fetched_bytes = st->fetched_bytes;
	m->pinned = st->pinned;
	m->pinned_bytes = st->pinned_bytes;
	m->cache_room = st->cache_room;
	m->untold_ns = st->untold_ns;
	m->untold_error = text(st->untold_error);
	m->unshared = st->unshared;
	m->node = text(st->node);
	for (size_t i = 0; i < st->n_behind; i++) {
		Pb__FleetBehind *b = f->pointers[i] = &f->behind[i];

		pb__fleet_behind__init(b);
		b->name = text(st->behind[i].name);
		b->away = st->behind[i].away;
		b->answered = st->behind[i].answered;
		b->since_ns = st->behind[i].since_ns;
		b->error = text(st->behind[i].error);
	}
	m->n_behind = st->n_behind;
	m->behind = f->pointers;
}

/* Most stores have nothing behind them. */
static int add_fleet(struct store *s, struct fleet_message *f, Pb__DaemonStatusResponse *m,
		     struct stow_err *err)
{
	if (store_fleet_status(s, &f->st, err) < 0)
		return err->code == STOW_UNIMPLEMENTED ? 0 : -1;
	fill_fleet(f);
	m->fleet = &f->m;
	return 0;
}

static void daemon_status_work(struct rpc_call *c)
{
	const struct service *s = service_of(c);
	Pb__DaemonStatusResponse m;
	CLEANUP(filter_freep) struct filter *all = NULL;
	struct ingest_sums sums = { 0 };
	CLEANUP(freep) struct fleet_message *fleet = x_calloc(1, sizeof(*fleet));
	CLEANUP(freep) uint8_t *packed = NULL;
	struct buf b = { 0 };
	struct stow_err err;

	pb__daemon_status_response__init(&m);
	if (filter_compile(NULL, 0, &all, &err) < 0 ||
	    store_ingests(s->store, all, add_ingest, &sums, &err) < 0 ||
	    store_count(s->store, &m.blobs, &m.blob_bytes, &err) < 0 ||
	    add_fleet(s->store, fleet, &m, &err) < 0) {
		rpc_finish(c, &err, NULL);
		return;
	}
	m.version = text(STOWAGE_VERSION);
	m.pid = getpid();
	m.started_ns = s->started_ns;
	m.root = text(s->root);
	m.address = text(s->address);
	m.backend = text(s->backend);
	m.ingests = sums.n;
	m.ingest_bytes = sums.bytes;
	m.reconciling = atomic_load(s->reconciling);
	m.node = text(store_node_id(s->store));
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

static void flush_work(struct rpc_call *c)
{
	CLEANUP(buf_free) struct buf empty;
	struct stow_err err;

	buf_init(&empty, 1);
	if (store_flush(service_of(c)->store, &err) < 0)
		rpc_finish(c, &err, NULL);
	else
		rpc_reply(c, &empty);
}

static void flush_start(struct rpc_call *c)
{
	rpc_work(c, flush_work);
}

const struct rpc_method method_flush = {
	.path = "/stowage.v1.Admin/Flush",
	.size = sizeof(struct rpc_call),
	.start = flush_start,
};
