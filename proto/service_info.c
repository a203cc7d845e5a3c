/* Info, Update, List and Delete. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "proto/service.h"
#include "proto/wire.h"

bool blob_call_begin(struct rpc_call *c)
{
	struct blob_call *b = blob_call(c);
	struct wire_digest_request r;
	struct stow_err err;

	if (wire_digest_request(c->message->iov, c->message->n, &r, &err) < 0) {
		rpc_finish(c, &err, NULL);
		return false;
	}
	b->digest = r.digest;
	b->number = r.offset;
	digest_format(&r.digest, b->subject);
	return true;
}

/* --- Info --- */

static void reply_info(struct rpc_call *c, const struct blob_info *info)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, WIRE_RESPONSE_MAX);
	if (wire_info_response(info, &b, &err) < 0)
		rpc_finish(c, &err, NULL);
	else
		rpc_reply(c, &b);
}

static void info_work(struct rpc_call *c)
{
	struct blob_call *b = blob_call(c);
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct stow_err err;

	if (store_info(service_of(c)->store, &b->digest, &info, &err) < 0)
		rpc_finish(c, &err, b->subject);
	else
		reply_info(c, &info);
}

static void info_start(struct rpc_call *c)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct stow_err err;

	if (!blob_call_begin(c))
		return;
	if (store_info_now(service_of(c)->store, &blob_call(c)->digest, &info, &err) == 0)
		reply_info(c, &info);
	else
		service_work(c, BACKEND_FAR_STAT, info_work);
}

const struct rpc_method method_info = {
	.path = "/containerd.services.content.v1.Content/Info",
	.size = sizeof(struct blob_call),
	.start = info_start,
};

/* --- Delete --- */

static void delete_work(struct rpc_call *c)
{
	struct blob_call *b = blob_call(c);
	CLEANUP(buf_free) struct buf empty;
	struct stow_err err;

	buf_init(&empty, 1);
	if (store_delete(service_of(c)->store, &b->digest, &err) < 0)
		rpc_finish(c, &err, b->subject);
	else
		rpc_reply(c, &empty);
}

static void delete_start(struct rpc_call *c)
{
	if (blob_call_begin(c))
		service_work(c, BACKEND_FAR_REMOVE, delete_work);
}

const struct rpc_method method_delete = {
	.path = "/containerd.services.content.v1.Content/Delete",
	.size = sizeof(struct blob_call),
	.start = delete_start,
};

/* --- Update --- */

static void update_far(struct rpc_call *c);

/* `near`: must not wait for another machine, which has to be asked for what is not recorded here. */
static void update(struct rpc_call *c, bool near)
{
	struct store *s = service_of(c)->store;
	CLEANUP(wire_update_free) struct wire_update u = { 0 };
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	char subject[DIGEST_STR_MAX];
	struct stow_err err;

	if (wire_update_request(c->message->iov, c->message->n, &u, &err) < 0) {
		rpc_finish(c, &err, NULL);
		return;
	}
	digest_format(&u.digest, subject);
	if (near && (store_far(s) & BACKEND_FAR_STAT) && !store_has(s, &u.digest)) {
		rpc_work_far(c, update_far);
		return;
	}
	if (store_update(s, &u.digest, &u.labels, (const char *const *)u.paths, u.n_paths, &info, &err) < 0)
		rpc_finish(c, &err, subject);
	else
		reply_info(c, &info);
}

static void update_work(struct rpc_call *c)
{
	update(c, true);
}

static void update_far(struct rpc_call *c)
{
	update(c, false);
}

static void update_start(struct rpc_call *c)
{
	rpc_work(c, update_work);
}

const struct rpc_method method_update = {
	.path = "/containerd.services.content.v1.Content/Update",
	.size = sizeof(struct rpc_call),
	.start = update_start,
};

/* --- List --- */

/* Messages of LIMIT_LIST_BLOCK blobs, one on its way at a time, each from a look of its own at the
 * database: a client that reads slowly holds nothing open. */
enum { LIST_BLOCK_BYTES = 256 << 10 };
struct list_call {
	struct rpc_call base;
	struct filter *filter;
	struct digest cursor;
};

/* A block ends early where labels make it long: a client may refuse messages of more than 4 MiB. */
static int list_add(void *arg, const struct blob_info *i, struct stow_err *err)
{
	struct buf *b = arg;

	if (wire_list_element(i, b, err) < 0)
		return -1;
	return b->len >= LIST_BLOCK_BYTES;
}

static void list_work(struct rpc_call *c);

static void list_next(struct rpc_call *c, bool ok)
{
	if (ok)
		rpc_work(c, list_work);
	else
		rpc_finish(c, NULL, NULL); /* the client has gone */
}

static void list_work(struct rpc_call *c)
{
	struct list_call *l = CONTAINER_OF(c, struct list_call, base);
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	bool end;

	buf_init(&b, WIRE_RESPONSE_MAX);
	if (store_list(service_of(c)->store, l->filter, &l->cursor, LIMIT_LIST_BLOCK, list_add, &b, &end,
		       &err) < 0)
		rpc_finish(c, &err, NULL);
	else if (end && b.len == 0)
		rpc_finish(c, NULL, NULL);
	else if (end)
		rpc_reply(c, &b);
	else
		rpc_send(c, rpc_bytes(b.p, b.len), list_next);
}

static void list_start(struct rpc_call *c)
{
	struct list_call *l = CONTAINER_OF(c, struct list_call, base);
	struct stow_err err;

	if (wire_filter_request(c->message->iov, c->message->n, &l->filter, &err) < 0)
		rpc_finish(c, &err, NULL);
	else
		rpc_work(c, list_work);
}

static void list_free(struct rpc_call *c)
{
	filter_free(CONTAINER_OF(c, struct list_call, base)->filter);
}

const struct rpc_method method_list = {
	.path = "/containerd.services.content.v1.Content/List",
	.size = sizeof(struct list_call),
	.start = list_start,
	.free = list_free,
};
