#include "proto/wire.h"

#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/base/text.h"
#include "content/ref.h"
#include "proto/health.pb-c.h"

#include <assert.h>

/* Everything of a message but `data` is small, and protobuf-c makes several times as much of it: caps
 * a little above what the limits allow. */
enum {
	ONE_FIELD_MAX = 64 << 10,
	FILTERS_MAX = LIMIT_FILTERS * (LIMIT_FILTER + 64),
	LABELS_MAX = LIMIT_LABELS * (LIMIT_LABEL + 64) + (1 << 20),
	PATHS_LIMIT = 2 * LIMIT_LABELS,
};

static_assert((int)WIRE_STAT == (int)PB__WRITE_ACTION__STAT &&
		      (int)WIRE_WRITE == (int)PB__WRITE_ACTION__WRITE &&
		      (int)WIRE_COMMIT == (int)PB__WRITE_ACTION__COMMIT,
	      "actions are containerd's");
static_assert((int)WIRE_SERVING == (int)PB__SERVING_STATUS__SERVING, "states are gRPC's");

/* --- reading a message that lies in pieces --- */

struct pieces {
	const struct iovec *iov;
	int n;     /* pieces left */
	size_t at; /* position in the first of them */
};

static bool pieces_end(struct pieces *p)
{
	while (p->n && p->at == p->iov->iov_len) {
		p->iov++;
		p->n--;
		p->at = 0;
	}
	return p->n == 0;
}

/* The next run of at most `n` bytes that lies in one piece; NULL at the end. */
static const uint8_t *pieces_run(struct pieces *p, size_t n, size_t *ret_n)
{
	const uint8_t *run;

	if (pieces_end(p))
		return NULL;
	run = (const uint8_t *)p->iov->iov_base + p->at;
	*ret_n = p->iov->iov_len - p->at < n ? p->iov->iov_len - p->at : n;
	p->at += *ret_n;
	return run;
}

static int fail_message(struct stow_err *err, const char *what)
{
	return stow_fail(err, STOW_INVALID_ARGUMENT, "the request is no valid message: %s", what);
}

/* A varint; its bytes go to `raw` too, as they are. */
static int read_varint(struct pieces *p, uint64_t *ret_v, struct buf *raw, struct stow_err *err)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		size_t n;
		const uint8_t *b = pieces_run(p, 1, &n);

		if (!b)
			return fail_message(err, "it ends within a number");
		if (buf_append(raw, b, 1, err) < 0)
			return -1;
		v |= (uint64_t)(*b & 0x7f) << shift;
		if (!(*b & 0x80)) {
			*ret_v = v;
			return 0;
		}
	}
	return fail_message(err, "a number is too long");
}

static int copy_bytes(struct pieces *p, uint64_t len, struct buf *to, struct stow_err *err)
{
	while (len) {
		size_t n;
		const uint8_t *run = pieces_run(p, len, &n);

		if (!run)
			return fail_message(err, "it ends within a field");
		if (buf_append(to, run, n, err) < 0)
			return -1;
		len -= n;
	}
	return 0;
}

static int note_data(struct pieces *p, uint64_t len, struct wire_write *w, struct stow_err *err)
{
	/* A field that is given twice counts the second time. */
	w->n_data = 0;
	w->data_len = 0;
	while (len) {
		size_t n;
		const uint8_t *run = pieces_run(p, len, &n);

		if (!run)
			return fail_message(err, "it ends within its data");
		w->data[w->n_data++] = (struct iovec){ .iov_base = (void *)(uintptr_t)run, .iov_len = n };
		w->data_len += n;
		len -= n;
	}
	return 0;
}

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { WRITE_FIELD_DATA = 6, TAG_BYTES_MAX = 5, LENGTH_BYTES_MAX = 5 }; /* as protobuf-c has it */

/* Reads a field's tag and, where the wire type has one, its length; `ret_len` is what follows. */
static int read_tag(struct pieces *p, uint64_t *ret_tag, uint64_t *ret_len, struct buf *raw,
		    struct stow_err *err)
{
	size_t start = raw->len;
	uint64_t ignored;

	*ret_len = 0;
	if (read_varint(p, ret_tag, raw, err) < 0)
		return -1;
	if (raw->len - start > TAG_BYTES_MAX)
		return fail_message(err, "a field's number is too long");
	switch (*ret_tag & 7) {
	case WIRE_VARINT:
		return read_varint(p, &ignored, raw, err);
	case WIRE_FIXED64:
		*ret_len = 8;
		return 0;
	case WIRE_FIXED32:
		*ret_len = 4;
		return 0;
	case WIRE_BYTES:
		start = raw->len;
		if (read_varint(p, ret_len, raw, err) < 0)
			return -1;
		return raw->len - start > LENGTH_BYTES_MAX ? fail_message(err, "a field's length is too long")
							   : 0;
	default:
		return fail_message(err, "a field has an unknown wire type");
	}
}

/* Splits a WriteContentRequest into its data, which stay where they are, and all other fields,
 * copied to `small`. */
static int split(const struct iovec *msg, int n, struct wire_write *w, struct buf *small,
		 struct stow_err *err)
{
	struct pieces p = { .iov = msg, .n = n };

	while (!pieces_end(&p)) {
		size_t start = small->len;
		uint64_t tag, len;

		if (read_tag(&p, &tag, &len, small, err) < 0)
			return -1;
		if (tag == (WRITE_FIELD_DATA << 3 | WIRE_BYTES)) {
			small->len = start;
			if (note_data(&p, len, w, err) < 0)
				return -1;
		} else if (copy_bytes(&p, len, small, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* A cap of ours is the client's mistake: no message of that kind is as long. */
static int fail_too_long(struct stow_err *err, size_t max)
{
	return stow_fail(err, STOW_INVALID_ARGUMENT,
			 "the request is no valid message: its fields are longer than %zu bytes", max);
}

/* The whole message in one run. */
static int gather(const struct iovec *msg, int n, struct buf *to, struct stow_err *err)
{
	for (int i = 0; i < n; i++)
		if (buf_append(to, msg[i].iov_base, msg[i].iov_len, err) < 0)
			return fail_too_long(err, to->max);
	return 0;
}

/* Unpacks `b`; NULL with *err set if it is no such message. To be freed by unpacked_freep(). */
static void *unpack(const ProtobufCMessageDescriptor *type, const struct buf *b, struct stow_err *err)
{
	void *m = protobuf_c_message_unpack(type, NULL, b->len, b->p);

	if (!m)
		fail_message(err, type->short_name);
	return m;
}

static void *gather_unpack(const ProtobufCMessageDescriptor *type, size_t max, const struct iovec *msg, int n,
			   struct stow_err *err)
{
	CLEANUP(buf_free) struct buf b;

	buf_init(&b, max);
	if (gather(msg, n, &b, err) < 0)
		return NULL;
	return unpack(type, &b, err);
}

/* For CLEANUP of any unpacked message. */
static void unpacked_freep(void *p)
{
	ProtobufCMessage *m = *(ProtobufCMessage **)p;

	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

/* --- values of requests --- */

/* A copy of a string field; `what` names it. */
static int take_text(const ProtobufCBinaryData *b, const char *what, char **ret_s, struct stow_err *err)
{
	const char *s = (const char *)b->data;
	char shown[80];
	uint32_t c;

	for (size_t at = 0, step; at < b->len; at += step) {
		step = text_decode(s + at, b->len - at, &c);
		if (step && s[at])
			continue;
		text_quote(shown, sizeof(shown), s, b->len);
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%s %s: byte %zu is %s", what, shown, at,
				 step ? "NUL" : "no valid UTF-8");
	}
	*ret_s = x_strndup(b->len ? s : "", b->len);
	return 0;
}

static int take_digest(const ProtobufCBinaryData *b, struct digest *ret_d, struct stow_err *err)
{
	return digest_parse(ret_d, (const char *)b->data, b->len, err);
}

static int take_ref(const ProtobufCBinaryData *b, char **ret_ref, struct stow_err *err)
{
	if (ref_check((const char *)b->data, b->len, err) < 0)
		return -1;
	*ret_ref = x_strndup((const char *)b->data, b->len);
	return 0;
}

static int take_labels(Pb__LabelsEntry *const *v, size_t n, struct labels *l, struct stow_err *err)
{
	for (size_t i = 0; i < n; i++) {
		CLEANUP(freep) char *key = NULL;
		CLEANUP(freep) char *value = NULL;

		if (take_text(&v[i]->key, "label", &key, err) < 0 ||
		    take_text(&v[i]->value, "value of a label", &value, err) < 0 ||
		    labels_set(l, key, value, err) < 0)
			return -1;
	}
	return 0;
}

static void texts_free(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

static int take_texts(const ProtobufCBinaryData *b, size_t n, const char *what, char ***ret_v,
		      struct stow_err *err)
{
	char **v = x_calloc(n + 1, sizeof(*v));

	for (size_t i = 0; i < n; i++) {
		if (take_text(&b[i], what, &v[i], err) < 0) {
			texts_free(v, i);
			return -1;
		}
	}
	*ret_v = v;
	return 0;
}

/* --- requests --- */

int wire_digest_request(const struct iovec *msg, int n, struct wire_digest_request *ret_r,
			struct stow_err *err)
{
	CLEANUP(unpacked_freep)
	Pb__ReadContentRequest *m = gather_unpack(&pb__read_content_request__descriptor, ONE_FIELD_MAX, msg,
						  n, err);
	struct wire_digest_request r;

	if (!m || take_digest(&m->digest, &r.digest, err) < 0)
		return -1;
	r.offset = m->offset;
	r.size = m->size;
	*ret_r = r;
	return 0;
}

int wire_ref_request(const struct iovec *msg, int n, char **ret_ref, struct stow_err *err)
{
	CLEANUP(unpacked_freep)
	Pb__StatusRequest *m = gather_unpack(&pb__status_request__descriptor, ONE_FIELD_MAX, msg, n, err);

	return m ? take_ref(&m->ref, ret_ref, err) : -1;
}

int wire_filter_request(const struct iovec *msg, int n, struct filter **ret_f, struct stow_err *err)
{
	CLEANUP(unpacked_freep)
	Pb__ListContentRequest *m = gather_unpack(&pb__list_content_request__descriptor, FILTERS_MAX, msg, n,
						  err);
	char **texts;
	int result;

	if (!m || take_texts(m->filters, m->n_filters, "filter", &texts, err) < 0)
		return -1;
	result = filter_compile((const char *const *)texts, m->n_filters, ret_f, err);
	texts_free(texts, m->n_filters);
	return result;
}

int wire_update_request(const struct iovec *msg, int n, struct wire_update *ret_u, struct stow_err *err)
{
	CLEANUP(unpacked_freep)
	Pb__UpdateRequest *m = gather_unpack(&pb__update_request__descriptor, LABELS_MAX, msg, n, err);
	CLEANUP(wire_update_free) struct wire_update u = { 0 };

	if (!m)
		return -1;
	if (!m->info)
		return fail_message(err, "UpdateRequest without info");
	if (take_digest(&m->info->digest, &u.digest, err) < 0 ||
	    take_labels(m->info->labels, m->info->n_labels, &u.labels, err) < 0)
		return -1;
	if (m->update_mask && m->update_mask->n_paths > PATHS_LIMIT)
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "the update mask has %zu paths, at most %d are allowed",
				 m->update_mask->n_paths, PATHS_LIMIT);
	if (m->update_mask) {
		if (take_texts(m->update_mask->paths, m->update_mask->n_paths, "update path", &u.paths, err) <
		    0)
			return -1;
		u.n_paths = m->update_mask->n_paths;
	}
	*ret_u = u;
	u = (struct wire_update){ 0 };
	return 0;
}

void wire_update_free(struct wire_update *u)
{
	labels_free(&u->labels);
	texts_free(u->paths, u->n_paths);
	*u = (struct wire_update){ 0 };
}

static int take_write(const Pb__WriteContentRequest *m, struct wire_write *w, struct stow_err *err)
{
	if (m->action != PB__WRITE_ACTION__STAT && m->action != PB__WRITE_ACTION__WRITE &&
	    m->action != PB__WRITE_ACTION__COMMIT)
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "write action %d is unknown, expected 0 (stat), 1 (write) or 2 (commit)",
				 (int)m->action);
	w->action = (int)m->action;
	w->total = m->total > 0 ? (uint64_t)m->total : 0; /* clients say -1 for "unknown", too */
	w->offset = m->offset;
	if (m->ref.len && take_ref(&m->ref, &w->ref, err) < 0)
		return -1;
	if (m->expected.len && take_digest(&m->expected, &w->expected, err) < 0)
		return -1;
	return take_labels(m->labels, m->n_labels, &w->labels, err);
}

int wire_write_request(const struct iovec *msg, int n, struct wire_write *ret_w, struct stow_err *err)
{
	CLEANUP(wire_write_free) struct wire_write w = { 0 };
	CLEANUP(unpacked_freep) Pb__WriteContentRequest *m = NULL;
	CLEANUP(buf_free) struct buf small;

	buf_init(&small, LABELS_MAX);
	w.data = x_calloc((size_t)n + 1, sizeof(*w.data));
	if (split(msg, n, &w, &small, err) < 0)
		return err->code == STOW_RESOURCE_EXHAUSTED ? fail_too_long(err, small.max) : -1;
	m = unpack(&pb__write_content_request__descriptor, &small, err);
	if (!m || take_write(m, &w, err) < 0)
		return -1;
	*ret_w = w;
	w = (struct wire_write){ 0 };
	return 0;
}

void wire_write_free(struct wire_write *w)
{
	free(w->ref);
	free(w->data);
	labels_free(&w->labels);
	*w = (struct wire_write){ 0 };
}

int wire_health_request(const struct iovec *msg, int n, char **ret_service, struct stow_err *err)
{
	CLEANUP(unpacked_freep)
	Pb__HealthCheckRequest *m = gather_unpack(&pb__health_check_request__descriptor, ONE_FIELD_MAX, msg,
						  n, err);

	return m ? take_text(&m->service, "service", ret_service, err) : -1;
}

/* --- responses --- */

static ProtobufCBinaryData text_field(const char *s)
{
	return (ProtobufCBinaryData){ .len = strlen(s), .data = (uint8_t *)(uintptr_t)s };
}

static Pb__Timestamp timestamp(int64_t wall_ns)
{
	Pb__Timestamp t = PB__TIMESTAMP__INIT;

	t.seconds = wall_ns / NSEC_PER_SEC;
	t.nanos = (int32_t)(wall_ns % NSEC_PER_SEC);
	return t;
}

/* Appends a packed message. */
static int append_message(struct buf *to, const ProtobufCMessage *m, struct stow_err *err)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	CLEANUP(freep) uint8_t *packed = x_malloc(n);

	protobuf_c_message_pack(m, packed);
	return buf_append(to, packed, n, err);
}

static int append_status(const struct ingest_status *s, struct buf *to, struct stow_err *err)
{
	char expected[DIGEST_STR_MAX] = "";
	Pb__Timestamp started = timestamp(s->started_ns), updated = timestamp(s->updated_ns);
	Pb__StatusResponse response = PB__STATUS_RESPONSE__INIT;
	Pb__Status status = PB__STATUS__INIT;

	if (digest_is_set(&s->expected))
		digest_format(&s->expected, expected);
	status.started_at = &started;
	status.updated_at = &updated;
	status.ref = text_field(s->ref);
	status.offset = (int64_t)s->offset;
	status.total = (int64_t)s->total;
	status.expected = text_field(expected);
	response.status = &status;
	return append_message(to, &response.base, err);
}

int wire_status_response(const struct ingest_status *s, struct buf *to, struct stow_err *err)
{
	return append_status(s, to, err);
}

int wire_statuses_element(const struct ingest_status *s, struct buf *to, struct stow_err *err)
{
	/* StatusResponse{status=1} and one element of ListStatusesResponse{repeated statuses=1}. */
	return append_status(s, to, err);
}

size_t wire_write_response(const struct wire_write_response *r, uint8_t out[WIRE_WRITE_RESPONSE_MAX])
{
	char digest[DIGEST_STR_MAX];
	Pb__Timestamp started = timestamp(r->started_ns), updated = timestamp(r->updated_ns);
	Pb__WriteContentResponse m = PB__WRITE_CONTENT_RESPONSE__INIT;
	size_t n;

	m.action = (Pb__WriteAction)r->action;
	m.offset = (int64_t)r->offset;
	m.total = (int64_t)r->total;
	if (r->started_ns)
		m.started_at = &started;
	if (r->updated_ns)
		m.updated_at = &updated;
	if (digest_is_set(&r->digest)) {
		digest_format(&r->digest, digest);
		m.digest = text_field(digest);
	}
	n = protobuf_c_message_get_packed_size(&m.base);
	assert(n <= WIRE_WRITE_RESPONSE_MAX);
	return protobuf_c_message_pack(&m.base, out);
}

size_t wire_health_response(enum wire_serving s, uint8_t out[WIRE_HEALTH_RESPONSE_MAX])
{
	Pb__HealthCheckResponse m = PB__HEALTH_CHECK_RESPONSE__INIT;

	m.status = (Pb__ServingStatus)s;
	return protobuf_c_message_pack(&m.base, out);
}
