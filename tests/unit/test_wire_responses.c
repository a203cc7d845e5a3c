/* Responses: what we encode by hand or in parts, protobuf-c reads as the whole messages. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "proto/health.pb-c.h"
#include "proto/wire.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static void unpacked_freep(void *p)
{
	if (*(ProtobufCMessage **)p)
		protobuf_c_message_free_unpacked(*(ProtobufCMessage **)p, NULL);
}

static bool is_text(const ProtobufCBinaryData *b, const char *s)
{
	return b->len == strlen(s) && (b->len == 0 || memcmp(b->data, s, b->len) == 0);
}

static bool is_time(const Pb__Timestamp *t, int64_t ns)
{
	return t && t->seconds * NSEC_PER_SEC + t->nanos == ns && t->nanos >= 0 && t->nanos < NSEC_PER_SEC;
}

static struct digest digest_of(enum digest_alg alg, unsigned seed)
{
	struct digest d = { .alg = (uint8_t)alg, .len = (uint8_t)digest_alg_len(alg) };

	for (unsigned i = 0; i < d.len; i++)
		d.b[i] = (uint8_t)(seed + i * 17);
	return d;
}

static struct blob_info info_of(unsigned n_labels)
{
	struct blob_info i = {
		.digest = digest_of(n_labels % 2 ? DIGEST_SHA512 : DIGEST_SHA256, n_labels),
		.size = n_labels * UINT64_C(1000000007),
		.created_ns = INT64_C(1700000000123456789) * (n_labels > 0),
		.updated_ns = INT64_C(1700000000000000000) + n_labels,
	};
	struct stow_err err;

	for (unsigned k = 0; k < n_labels; k++) {
		char key[32];

		snprintf(key, sizeof(key), "label.%u", k);
		assert_int_equal(labels_set(&i.labels, key, k % 2 ? "\u725b" : "", &err), 0);
	}
	return i;
}

static void check_info(const Pb__Info *got, const struct blob_info *want)
{
	char digest[DIGEST_STR_MAX];

	digest_format(&want->digest, digest);
	assert_true(is_text(&got->digest, digest));
	assert_int_equal(got->size, want->size);
	assert_true(is_time(got->created_at, want->created_ns));
	assert_true(is_time(got->updated_at, want->updated_ns));
	assert_int_equal(got->n_labels, want->labels.n);
	for (size_t i = 0; i < want->labels.n; i++) {
		assert_true(is_text(&got->labels[i]->key, want->labels.v[i].key));
		assert_true(is_text(&got->labels[i]->value, want->labels.v[i].value));
	}
}

static void info_and_list(void **state UNUSED)
{
	CLEANUP(unpacked_freep) Pb__ListContentResponse *list = NULL;
	CLEANUP(buf_free) struct buf run;
	struct stow_err err;

	buf_init(&run, WIRE_RESPONSE_MAX);
	for (unsigned n = 0; n < 20; n++) {
		CLEANUP(unpacked_freep) Pb__InfoResponse *one = NULL;
		CLEANUP(buf_free) struct buf b;
		struct blob_info i = info_of(n);

		buf_init(&b, WIRE_RESPONSE_MAX);
		assert_int_equal(wire_info_response(&i, &b, &err), 0);
		one = pb__info_response__unpack(NULL, b.len, b.p);
		assert_non_null(one);
		check_info(one->info, &i);
		assert_int_equal(wire_list_element(&i, &run, &err), 0);
		blob_info_free(&i);
	}
	list = pb__list_content_response__unpack(NULL, run.len, run.p);
	assert_non_null(list);
	assert_int_equal(list->n_info, 20);
	for (unsigned n = 0; n < 20; n++) {
		struct blob_info i = info_of(n);

		check_info(list->info[n], &i);
		blob_info_free(&i);
	}
}

static void a_full_response_is_unchanged(void **state UNUSED)
{
	CLEANUP(buf_free) struct buf b;
	struct blob_info i = info_of(3);
	struct stow_err err;
	size_t before;

	buf_init(&b, 300);
	assert_int_equal(wire_list_element(&i, &b, &err), 0);
	before = b.len;
	assert_int_equal(wire_list_element(&i, &b, &err), -1);
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(b.len, before);
	blob_info_free(&i);
}

static struct ingest_status status_of(unsigned n)
{
	struct ingest_status st = {
		.ref = x_asprintf("default/%u/layer-\u725b", n),
		.started_ns = INT64_C(1700000000999999999),
		.updated_ns = INT64_C(1700000001000000000) + n,
		.offset = n * UINT64_C(5000000000),
		.total = n * UINT64_C(7000000000),
	};

	if (n % 2)
		st.expected = digest_of(DIGEST_SHA384, n);
	return st;
}

static void check_status(const Pb__Status *got, const struct ingest_status *want)
{
	char digest[DIGEST_STR_MAX] = "";

	if (digest_is_set(&want->expected))
		digest_format(&want->expected, digest);
	assert_true(is_text(&got->ref, want->ref));
	assert_true(is_text(&got->expected, digest));
	assert_true(is_time(got->started_at, want->started_ns));
	assert_true(is_time(got->updated_at, want->updated_ns));
	assert_int_equal(got->offset, want->offset);
	assert_int_equal(got->total, want->total);
}

static void status_and_statuses(void **state UNUSED)
{
	CLEANUP(unpacked_freep) Pb__ListStatusesResponse *list = NULL;
	CLEANUP(buf_free) struct buf run;
	struct stow_err err;

	buf_init(&run, WIRE_RESPONSE_MAX);
	for (unsigned n = 0; n < 10; n++) {
		CLEANUP(unpacked_freep) Pb__StatusResponse *one = NULL;
		CLEANUP(ingest_status_free) struct ingest_status st = status_of(n);
		CLEANUP(buf_free) struct buf b;

		buf_init(&b, WIRE_RESPONSE_MAX);
		assert_int_equal(wire_status_response(&st, &b, &err), 0);
		one = pb__status_response__unpack(NULL, b.len, b.p);
		assert_non_null(one);
		check_status(one->status, &st);
		assert_int_equal(wire_statuses_element(&st, &run, &err), 0);
	}
	list = pb__list_statuses_response__unpack(NULL, run.len, run.p);
	assert_non_null(list);
	assert_int_equal(list->n_statuses, 10);
	for (unsigned n = 0; n < 10; n++) {
		CLEANUP(ingest_status_free) struct ingest_status st = status_of(n);

		check_status(list->statuses[n], &st);
	}
}

static void check_write(const struct wire_write_response *r)
{
	CLEANUP(unpacked_freep) Pb__WriteContentResponse *m = NULL;
	uint8_t out[WIRE_WRITE_RESPONSE_MAX];
	size_t n = wire_write_response(r, out);
	char digest[DIGEST_STR_MAX] = "";

	assert_true(n <= sizeof(out));
	m = pb__write_content_response__unpack(NULL, n, out);
	assert_non_null(m);
	if (digest_is_set(&r->digest))
		digest_format(&r->digest, digest);
	assert_int_equal(m->action, r->action);
	assert_int_equal(m->offset, r->offset);
	assert_int_equal(m->total, r->total);
	assert_true(is_text(&m->digest, digest));
	assert_true(r->started_ns ? is_time(m->started_at, r->started_ns) : !m->started_at);
	assert_true(r->updated_ns ? is_time(m->updated_at, r->updated_ns) : !m->updated_at);
}

static void write_responses(void **state UNUSED)
{
	struct wire_write_response none = { 0 };
	struct wire_write_response most = {
		.action = WIRE_COMMIT,
		.started_ns = INT64_MAX,
		.updated_ns = INT64_MAX - 1,
		.offset = UINT64_MAX, /* ten bytes on the wire */
		.total = UINT64_MAX,
		.digest = digest_of(DIGEST_SHA512, 9),
	};
	struct wire_write_response some = { .action = WIRE_WRITE, .offset = 4096 };

	check_write(&none);
	check_write(&most);
	check_write(&some);
}

static void read_headers(void **state UNUSED)
{
	static const size_t sizes[] = { 0, 1, 127, 128, 16383, 16384, 32768, 1 << 20 };
	static const uint64_t offsets[] = { 0, 1, 127, 128, UINT64_C(1) << 35, INT64_MAX };
	CLEANUP(freep) uint8_t *b = x_malloc((1 << 20) + WIRE_READ_HEADER_MAX);

	for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
		for (size_t o = 0; o < ARRAY_LEN(offsets); o++) {
			CLEANUP(unpacked_freep) Pb__ReadContentResponse *m = NULL;
			uint8_t header[WIRE_READ_HEADER_MAX];
			size_t n = wire_read_header(offsets[o], sizes[s], header);

			assert_true(n <= sizeof(header));
			memcpy(b, header, n);
			for (size_t i = 0; i < sizes[s]; i++)
				b[n + i] = (uint8_t)(i * 31);
			m = pb__read_content_response__unpack(NULL, n + sizes[s], b);
			assert_non_null(m);
			assert_int_equal(m->offset, offsets[o]);
			assert_int_equal(m->data.len, sizes[s]);
			if (sizes[s])
				assert_memory_equal(m->data.data, b + n, sizes[s]);
		}
	}
}

static void health_responses(void **state UNUSED)
{
	for (int s = WIRE_SERVING; s <= WIRE_SERVICE_UNKNOWN; s++) {
		CLEANUP(unpacked_freep) Pb__HealthCheckResponse *m = NULL;
		uint8_t out[WIRE_HEALTH_RESPONSE_MAX];
		size_t n = wire_health_response((enum wire_serving)s, out);

		m = pb__health_check_response__unpack(NULL, n, out);
		assert_non_null(m);
		assert_int_equal(m->status, s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(info_and_list),       cmocka_unit_test(a_full_response_is_unchanged),
		cmocka_unit_test(status_and_statuses), cmocka_unit_test(write_responses),
		cmocka_unit_test(read_headers),        cmocka_unit_test(health_responses),
	};

	return cmocka_run_group_tests_name("wire responses", tests, NULL, NULL);
}
