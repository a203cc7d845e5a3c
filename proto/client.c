#include "proto/client.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "proto/admin.pb-c.h"
#include "proto/content.pb-c.h"
#include "proto/rpc.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>

struct client {
	grpc_channel *channel;
	grpc_completion_queue *cq;
	int64_t timeout_ns;
};

struct client *client_new(const char *socket_path, int64_t timeout_ns)
{
	CLEANUP(freep) char *target = x_asprintf("unix:%s", socket_path);
	struct client *c = x_calloc(1, sizeof(*c));
	grpc_channel_credentials *creds;

	grpc_init();
	creds = grpc_insecure_credentials_create();
	c->channel = grpc_channel_create(target, creds, NULL);
	grpc_channel_credentials_release(creds);
	c->cq = grpc_completion_queue_create_for_pluck(NULL);
	c->timeout_ns = timeout_ns;
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	grpc_channel_destroy(c->channel);
	grpc_completion_queue_shutdown(c->cq);
	grpc_completion_queue_destroy(c->cq);
	free(c);
	grpc_shutdown_blocking();
}

void client_freep(struct client **c)
{
	client_free(*c);
}

/* What a call came to: gRPC fills it in. */
struct outcome {
	grpc_metadata_array head, tail;
	grpc_byte_buffer *message;
	grpc_status_code code;
	grpc_slice details;
};

static void outcome_free(struct outcome *o)
{
	grpc_metadata_array_destroy(&o->head);
	grpc_metadata_array_destroy(&o->tail);
	grpc_byte_buffer_destroy(o->message);
	grpc_slice_unref(o->details);
}

static void call_run(struct client *c, const char *method, grpc_byte_buffer *request, struct outcome *o)
{
	gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
					     gpr_time_from_nanos(c->timeout_ns, GPR_TIMESPAN));
	grpc_slice path = grpc_slice_from_static_string(method);
	grpc_slice host = grpc_slice_from_static_string("localhost");
	grpc_call *call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->cq, path,
						   &host, deadline, NULL);
	grpc_op ops[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = request },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
		{ .op = GRPC_OP_RECV_INITIAL_METADATA,
		  .data.recv_initial_metadata.recv_initial_metadata = &o->head },
		{ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &o->message },
		{ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		  .data.recv_status_on_client = { .trailing_metadata = &o->tail,
						  .status = &o->code,
						  .status_details = &o->details } },
	};
	grpc_call_error e = grpc_call_start_batch(call, ops, ARRAY_LEN(ops), call, NULL);

	assert(e == GRPC_CALL_OK);
	grpc_completion_queue_pluck(c->cq, call, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	grpc_call_unref(call);
}

/* One unary call. The answer, if `ret_answer` is not NULL, is to be unreffed. */
static int unary(struct client *c, const char *method, const ProtobufCMessage *request,
		 grpc_slice *ret_answer, struct stow_err *err)
{
	size_t n = protobuf_c_message_get_packed_size(request);
	CLEANUP(freep) uint8_t *packed = x_malloc(n);
	CLEANUP(outcome_free) struct outcome o = { .details = grpc_empty_slice() };
	grpc_byte_buffer_reader reader;
	grpc_byte_buffer *bytes;

	protobuf_c_message_pack(request, packed);
	grpc_metadata_array_init(&o.head);
	grpc_metadata_array_init(&o.tail);
	bytes = rpc_bytes(packed, n);
	call_run(c, method, bytes, &o);
	grpc_byte_buffer_destroy(bytes);
	if (o.code != GRPC_STATUS_OK)
		return stow_fail(err, (enum stow_code)o.code, "%.*s", (int)GRPC_SLICE_LENGTH(o.details),
				 (const char *)GRPC_SLICE_START_PTR(o.details));
	if (!ret_answer)
		return 0;
	if (!o.message || !grpc_byte_buffer_reader_init(&reader, o.message))
		return stow_fail(err, STOW_INTERNAL, "%s: the answer has no message", method);
	*ret_answer = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return 0;
}

static char *copy_text(const char *s)
{
	return x_strdup(s ? s : "");
}

static void copy_line(char to[FLEET_TEXT], const char *from)
{
	snprintf(to, FLEET_TEXT, "%s", from ? from : "");
}

static struct fleet_status *copy_fleet(const Pb__FleetStatus *m)
{
	struct fleet_status *st;

	if (!m)
		return NULL;
	st = x_calloc(1, sizeof(*st));
	*st = (struct fleet_status){
		.pending = m->pending,
		.pending_bytes = m->pending_bytes,
		.oldest_ns = m->oldest_ns,
		.uploading = m->uploading,
		.uploaded = m->uploaded,
		.uploaded_bytes = m->uploaded_bytes,
		.upload_error_ns = m->upload_error_ns,
		.cache_bytes = m->cache_bytes,
		.cache_limit = m->cache_limit,
		.evicted = m->evicted,
		.evicted_bytes = m->evicted_bytes,
		.fetching = m->fetching,
		.fetched = m->fetched,
		.fetched_bytes = m->fetched_bytes,
		.pinned = m->pinned,
		.pinned_bytes = m->pinned_bytes,
		.cache_room = m->cache_room,
		.untold_ns = m->untold_ns,
		.unshared = m->unshared,
	};
	copy_line(st->upload_error, m->upload_error);
	copy_line(st->untold_error, m->untold_error);
	copy_line(st->node, m->node);
	for (size_t i = 0; i < m->n_behind && i < FLEET_BEHIND_MAX; i++) {
		struct fleet_behind *b = &st->behind[st->n_behind++];

		copy_line(b->name, m->behind[i]->name);
		b->away = m->behind[i]->away;
		b->answered = m->behind[i]->answered;
		b->since_ns = m->behind[i]->since_ns;
		copy_line(b->error, m->behind[i]->error);
	}
	return st;
}

int client_status(struct client *c, struct daemon_status *ret_st, struct stow_err *err)
{
	Pb__DaemonStatusRequest request;
	Pb__DaemonStatusResponse *m;
	grpc_slice answer;

	pb__daemon_status_request__init(&request);
	if (unary(c, "/stowage.v1.Admin/Status", &request.base, &answer, err) < 0)
		return -1;
	m = pb__daemon_status_response__unpack(NULL, GRPC_SLICE_LENGTH(answer), GRPC_SLICE_START_PTR(answer));
	grpc_slice_unref(answer);
	if (!m)
		return stow_fail(err, STOW_INTERNAL, "the daemon's status does not parse");
	*ret_st = (struct daemon_status){
		.version = copy_text(m->version),
		.root = copy_text(m->root),
		.address = copy_text(m->address),
		.backend = copy_text(m->backend),
		.node = copy_text(m->node),
		.pid = m->pid,
		.started_ns = m->started_ns,
		.blobs = m->blobs,
		.blob_bytes = m->blob_bytes,
		.ingests = m->ingests,
		.ingest_bytes = m->ingest_bytes,
		.reconciling = m->reconciling,
		.fleet = copy_fleet(m->fleet),
	};
	pb__daemon_status_response__free_unpacked(m, NULL);
	return 0;
}

void daemon_status_free(struct daemon_status *st)
{
	free(st->version);
	free(st->root);
	free(st->address);
	free(st->backend);
	free(st->node);
	free(st->fleet);
	*st = (struct daemon_status){ 0 };
}

int client_flush(struct client *c, struct stow_err *err)
{
	Pb__FlushRequest request = PB__FLUSH_REQUEST__INIT;

	return unary(c, "/stowage.v1.Admin/Flush", &request.base, NULL, err);
}

/* InfoRequest and DeleteContentRequest are alike: field 1 is the digest. */
static int digest_call(struct client *c, const char *method, const struct digest *d, grpc_slice *ret_answer,
		       struct stow_err *err)
{
	Pb__InfoRequest request = PB__INFO_REQUEST__INIT;
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	request.digest = (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)text };
	return unary(c, method, &request.base, ret_answer, err);
}

static int fail_answer(struct stow_err *err)
{
	return stow_fail(err, STOW_INTERNAL, "the daemon's answer does not parse");
}

static int pin_call(struct client *c, const char *method, const struct digest *d, struct fleet_pinned *ret_p,
		    struct stow_err *err)
{
	Pb__PinResponse *m;
	grpc_slice answer;

	if (digest_call(c, method, d, &answer, err) < 0)
		return -1;
	m = pb__pin_response__unpack(NULL, GRPC_SLICE_LENGTH(answer), GRPC_SLICE_START_PTR(answer));
	grpc_slice_unref(answer);
	if (!m)
		return fail_answer(err);
	*ret_p = (struct fleet_pinned){
		.blobs = m->blobs,
		.bytes = m->bytes,
		.absent = m->absent,
		.absent_bytes = m->absent_bytes,
	};
	pb__pin_response__free_unpacked(m, NULL);
	return 0;
}

int client_pin(struct client *c, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	return pin_call(c, "/stowage.v1.Admin/Pin", d, ret_p, err);
}

int client_unpin(struct client *c, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	return pin_call(c, "/stowage.v1.Admin/Unpin", d, ret_p, err);
}

static int copy_children(const Pb__BringResponse *m, struct fleet_brought *b, struct stow_err *err)
{
	b->children = x_calloc(m->n_children, sizeof(*b->children));
	for (size_t i = 0; i < m->n_children; i++) {
		const Pb__FleetChild *from = m->children[i];
		struct fleet_child *to = &b->children[b->n_children++];

		to->size = from->size;
		to->of_an_index = from->of_an_index;
		if (digest_parse(&to->digest, (const char *)from->digest.data, from->digest.len, err) < 0)
			return -1;
	}
	return 0;
}

int client_bring(struct client *c, const struct digest *d, int64_t lease, bool begin,
		 struct fleet_brought *ret_b, struct stow_err *err)
{
	const char *method = begin ? "/stowage.v1.Admin/Bring" : "/stowage.v1.Admin/Look";
	Pb__BringRequest request = PB__BRING_REQUEST__INIT;
	struct fleet_brought b = { 0 };
	char text[DIGEST_STR_MAX];
	Pb__BringResponse *m;
	grpc_slice answer;
	int result;

	digest_format(d, text);
	request.digest = (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)text };
	request.lease = lease;
	if (unary(c, method, &request.base, &answer, err) < 0)
		return -1;
	m = pb__bring_response__unpack(NULL, GRPC_SLICE_LENGTH(answer), GRPC_SLICE_START_PTR(answer));
	grpc_slice_unref(answer);
	if (!m)
		return fail_answer(err);
	b.place = (enum fleet_place)m->place;
	b.size = m->size;
	if (b.place == FLEET_FAILED)
		(void)stow_fail(&b.why, (enum stow_code)m->code, "%s", m->error ? m->error : "");
	result = copy_children(m, &b, err);
	pb__bring_response__free_unpacked(m, NULL);
	if (result < 0)
		fleet_brought_free(&b);
	else
		*ret_b = b;
	return result;
}

int client_touch(struct client *c, const struct digest *d, struct stow_err *err)
{
	return digest_call(c, "/containerd.services.content.v1.Content/Info", d, NULL, err);
}

int client_delete(struct client *c, const struct digest *d, struct stow_err *err)
{
	return digest_call(c, "/containerd.services.content.v1.Content/Delete", d, NULL, err);
}
