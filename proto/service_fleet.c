/* stowage.v1.Admin: pinning, and bringing bytes here. All of it may wait for a storage behind. */
#include "content/base/mem.h"
#include "proto/admin.pb-c.h"
#include "proto/service.h"

static void reply(struct rpc_call *c, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	CLEANUP(freep) uint8_t *packed = x_malloc(n);

	protobuf_c_message_pack(m, packed);
	rpc_reply(c, &(struct buf){ .p = packed, .len = n });
}

/* --- pin and unpin --- */

typedef int pin_function(struct store *s, const struct digest *d, struct fleet_pinned *ret_p,
			 struct stow_err *err);

static void pin_with(struct rpc_call *c, pin_function *pin)
{
	struct blob_call *b = blob_call(c);
	Pb__PinResponse m = PB__PIN_RESPONSE__INIT;
	struct fleet_pinned p;
	struct stow_err err;

	if (pin(service_of(c)->store, &b->digest, &p, &err) < 0) {
		rpc_finish(c, &err, b->subject);
		return;
	}
	m.blobs = p.blobs;
	m.bytes = p.bytes;
	m.absent = p.absent;
	m.absent_bytes = p.absent_bytes;
	reply(c, &m.base);
}

static void pin_work(struct rpc_call *c)
{
	pin_with(c, store_pin);
}

static void unpin_work(struct rpc_call *c)
{
	pin_with(c, store_unpin);
}

/* Both read manifests, from behind where they are not here, and wait for each other. */
static void pin_start(struct rpc_call *c)
{
	if (blob_call_begin(c))
		rpc_work_far(c, pin_work);
}

static void unpin_start(struct rpc_call *c)
{
	if (blob_call_begin(c))
		rpc_work_far(c, unpin_work);
}

const struct rpc_method method_pin = {
	.path = "/stowage.v1.Admin/Pin",
	.size = sizeof(struct blob_call),
	.start = pin_start,
};

const struct rpc_method method_unpin = {
	.path = "/stowage.v1.Admin/Unpin",
	.size = sizeof(struct blob_call),
	.start = unpin_start,
};

/* --- bring and look --- */

/* A child as a message, and what that points to. */
struct child_message {
	Pb__FleetChild m;
	char digest[DIGEST_STR_MAX];
};

static void fill_child(const struct fleet_child *from, struct child_message *to)
{
	pb__fleet_child__init(&to->m);
	digest_format(&from->digest, to->digest);
	to->m.digest = (ProtobufCBinaryData){ .len = strlen(to->digest), .data = (uint8_t *)to->digest };
	to->m.size = from->size;
	to->m.of_an_index = from->of_an_index;
}

static void reply_brought(struct rpc_call *c, struct fleet_brought *b)
{
	CLEANUP(freep) struct child_message *child = x_calloc(b->n_children, sizeof(*child));
	CLEANUP(freep) Pb__FleetChild **pointer = x_calloc(b->n_children, sizeof(*pointer));
	Pb__BringResponse m;

	pb__bring_response__init(&m);
	m.place = b->place;
	m.size = b->size;
	if (b->place == FLEET_FAILED) {
		m.code = b->why.code;
		m.error = b->why.msg;
	}
	for (size_t i = 0; i < b->n_children; i++) {
		fill_child(&b->children[i], &child[i]);
		pointer[i] = &child[i].m;
	}
	m.n_children = b->n_children;
	m.children = pointer;
	reply(c, &m.base);
}

static void bring(struct rpc_call *c, bool begin)
{
	CLEANUP(fleet_brought_free) struct fleet_brought brought = { 0 };
	struct blob_call *b = blob_call(c);
	struct stow_err err;

	if (store_bring(service_of(c)->store, &b->digest, b->number, begin, &brought, &err) < 0)
		rpc_finish(c, &err, b->subject);
	else
		reply_brought(c, &brought);
}

static void bring_work(struct rpc_call *c)
{
	bring(c, true);
}

static void look_work(struct rpc_call *c)
{
	bring(c, false);
}

static void bring_start(struct rpc_call *c)
{
	if (blob_call_begin(c))
		service_work(c, BACKEND_FAR_STAT, bring_work);
}

static void look_start(struct rpc_call *c)
{
	if (blob_call_begin(c))
		service_work(c, BACKEND_FAR_STAT, look_work);
}

const struct rpc_method method_bring = {
	.path = "/stowage.v1.Admin/Bring",
	.size = sizeof(struct blob_call),
	.start = bring_start,
};

const struct rpc_method method_look = {
	.path = "/stowage.v1.Admin/Look",
	.size = sizeof(struct blob_call),
	.start = look_start,
};
