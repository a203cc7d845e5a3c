/* Messages of clients. The first byte says which, and how they are cut into pieces: that changes nothing
 * of what is read. A write that is accepted is one for protobuf-c too, and says the same there. */
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/wire_env.h"

static void check_text(const ProtobufCBinaryData *b, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	assert(b->len == n && (n == 0 || memcmp(b->data, s, n) == 0));
}

/* Of the labels that come twice, the last one counts. */
static void check_labels(const Pb__WriteContentRequest *m, const struct labels *got)
{
	CLEANUP(labels_free) struct labels want = { 0 };

	for (size_t i = 0; i < m->n_labels; i++) {
		CLEANUP(freep)
		char *key = x_strndup((const char *)m->labels[i]->key.data, m->labels[i]->key.len);
		CLEANUP(freep) char *value = NULL;
		struct stow_err err;
		int rc;

		if (m->labels[i]->value.len)
			value = x_strndup((const char *)m->labels[i]->value.data, m->labels[i]->value.len);
		rc = labels_set(&want, key, value ? value : "", &err);
		assert(rc == 0);
	}
	assert(labels_equal(&want, got));
}

static void check_write(const struct wire_write *w, const struct pieces *p, const uint8_t *whole, size_t size)
{
	Pb__WriteContentRequest *m = pb__write_content_request__unpack(NULL, size, whole);
	CLEANUP(freep) uint8_t *data = wire_data(w, p);
	char expected[DIGEST_STR_MAX] = "";

	assert(m);
	assert((int)m->action == (int)w->action);
	check_text(&m->ref, w->ref);
	assert(w->total == (m->total > 0 ? (uint64_t)m->total : 0));
	assert(w->offset == m->offset);
	if (digest_is_set(&w->expected))
		digest_format(&w->expected, expected);
	check_text(&m->expected, expected);
	check_labels(m, &w->labels);
	assert(m->data.len == w->data_len);
	assert(w->data_len == 0 || memcmp(m->data.data, data, w->data_len) == 0);
	pb__write_content_request__free_unpacked(m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_kind kind;
	unsigned seed;

	if (size == 0)
		return 0;
	kind = (enum wire_kind)(data[0] % KIND_COUNT);
	seed = data[0] / KIND_COUNT + 1;
	data++;
	size--;

	CLEANUP(pieces_free) struct pieces one = pieces_random(data, size, 0);
	CLEANUP(pieces_free) struct pieces many = pieces_random(data, size, seed);
	CLEANUP(freep) char *a = wire_reading(kind, &one);
	CLEANUP(freep) char *b = wire_reading(kind, &many);

	assert(strcmp(a, b) == 0);
	if (kind == KIND_WRITE) {
		CLEANUP(wire_write_free) struct wire_write w = { 0 };
		struct stow_err err;

		if (wire_write_request(many.iov, many.n, &w, &err) == 0)
			check_write(&w, &many, data, size);
	}
	return 0;
}
