/* Requests: read from any pieces as protobuf-c reads them whole; refused where the contract says so. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "proto/health.pb-c.h"
#include "tests/unit/unit.h"
#include "tests/unit/wire_env.h"

#include <stdio.h>

#define HEX64 "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"

/* --- messages --- */

static ProtobufCBinaryData bytes_of(const void *p, size_t n)
{
	return (ProtobufCBinaryData){ .len = n, .data = (uint8_t *)(uintptr_t)p };
}

static ProtobufCBinaryData text_of(const char *s)
{
	return bytes_of(s, strlen(s));
}

struct message {
	uint8_t *p;
	size_t n;
};

static void message_free(struct message *m)
{
	free(m->p);
}

static struct message pack(const ProtobufCMessage *pb)
{
	struct message m = { .n = protobuf_c_message_get_packed_size(pb) };

	m.p = x_malloc(m.n);
	protobuf_c_message_pack(pb, m.p);
	return m;
}

static void append(struct message *m, const void *p, size_t n)
{
	m->p = x_reallocarray(m->p, m->n + n, 1);
	memcpy(m->p + m->n, p, n);
	m->n += n;
}
#define APPEND(m, ...) append(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* A write with everything in it. The data are the caller's. */
static struct message whole_write(const void *data, size_t n)
{
	Pb__LabelsEntry entries[2] = { PB__LABELS_ENTRY__INIT, PB__LABELS_ENTRY__INIT };
	Pb__LabelsEntry *labels[2] = { &entries[0], &entries[1] };
	Pb__WriteContentRequest q = PB__WRITE_CONTENT_REQUEST__INIT;

	entries[0].key = text_of("containerd.io/gc.root");
	entries[0].value = text_of("\u725b");
	entries[1].key = text_of("empty");
	q.action = PB__WRITE_ACTION__COMMIT;
	q.ref = text_of("default/12/layer-sha256:" HEX64);
	q.total = INT64_MAX;
	q.expected = text_of("sha256:" HEX64);
	q.offset = 300;
	q.data = bytes_of(data, n);
	q.n_labels = 2;
	q.labels = labels;
	return pack(&q.base);
}

/* --- readings --- */

static struct pieces whole(const struct message *m)
{
	return pieces_cut(m->p, m->n, NULL, 0);
}

/* The message in every two pieces, byte by byte, and in many by chance, reads as it does whole. */
static void check_cuts(enum wire_kind kind, const struct message *m)
{
	CLEANUP(pieces_free) struct pieces one = whole(m);
	CLEANUP(freep) char *want = wire_reading(kind, &one);

	for (size_t at = 0; at <= m->n; at++) {
		CLEANUP(pieces_free) struct pieces two = pieces_cut(m->p, m->n, &at, 1);
		CLEANUP(freep) char *got = wire_reading(kind, &two);

		assert_string_equal(got, want);
	}
	for (unsigned seed = 1; seed < 40; seed++) {
		CLEANUP(pieces_free) struct pieces many = pieces_random(m->p, m->n, seed);
		CLEANUP(freep) char *got = wire_reading(kind, &many);

		assert_string_equal(got, want);
	}
}

/* Cut short at every byte: refused or read, never beyond what is there. Returns how many were read. */
static unsigned check_short(enum wire_kind kind, const struct message *m)
{
	unsigned read = 0;

	for (size_t n = 0; n < m->n; n++) {
		CLEANUP(pieces_free) struct pieces one = pieces_cut(m->p, n, NULL, 0);
		CLEANUP(pieces_free) struct pieces bytes = pieces_random(m->p, n, 1);
		CLEANUP(freep) char *a = wire_reading(kind, &one);
		CLEANUP(freep) char *b = wire_reading(kind, &bytes);

		assert_string_equal(a, b);
		read += strncmp(a, "refused", 7) != 0;
	}
	return read;
}

static void check_refused(enum wire_kind kind, const struct message *m, const char *why)
{
	CLEANUP(pieces_free) struct pieces p = whole(m);
	CLEANUP(freep) char *got = wire_reading(kind, &p);

	if (strncmp(got, "refused: ", 9) != 0 || !strstr(got, why))
		fail_msg("\"%s\" is not in \"%.300s\"", why, got);
	check_cuts(kind, m);
}

static void check_same(enum wire_kind kind, const struct message *a, const struct message *b)
{
	CLEANUP(pieces_free) struct pieces pa = whole(a);
	CLEANUP(pieces_free) struct pieces pb = whole(b);
	CLEANUP(freep) char *ra = wire_reading(kind, &pa);
	CLEANUP(freep) char *rb = wire_reading(kind, &pb);

	assert_true(strncmp(ra, "refused", 7) != 0);
	assert_string_equal(ra, rb);
}

/* --- Write --- */

static void write_of_everything(void **state UNUSED)
{
	CLEANUP(wire_write_free) struct wire_write w;
	CLEANUP(freep) uint8_t *data = x_malloc(1500), *got = NULL;
	CLEANUP(message_free) struct message m = { 0 };
	CLEANUP(pieces_free) struct pieces p = { 0 };
	struct stow_err err;
	char text[DIGEST_STR_MAX];

	for (size_t i = 0; i < 1500; i++)
		data[i] = (uint8_t)(i * 7);
	m = whole_write(data, 1500);
	p = whole(&m);
	assert_int_equal(wire_write_request(p.iov, p.n, &w, &err), 0);
	assert_int_equal(w.action, WIRE_COMMIT);
	assert_string_equal(w.ref, "default/12/layer-sha256:" HEX64);
	assert_int_equal(w.total, INT64_MAX);
	assert_int_equal(w.offset, 300);
	digest_format(&w.expected, text);
	assert_string_equal(text, "sha256:" HEX64);
	assert_int_equal(w.labels.n, 2);
	assert_string_equal(labels_get(&w.labels, "containerd.io/gc.root"), "\u725b");
	assert_string_equal(labels_get(&w.labels, "empty"), "");
	assert_int_equal(w.n_data, 1); /* not copied, and not cut */
	assert_int_equal(w.data_len, 1500);
	got = wire_data(&w, &p);
	assert_memory_equal(got, data, 1500);
	check_cuts(KIND_WRITE, &m);
	assert_true(check_short(KIND_WRITE, &m) > 0);
}

static void write_of_nothing(void **state UNUSED)
{
	CLEANUP(wire_write_free) struct wire_write w;
	struct stow_err err;

	assert_int_equal(wire_write_request(NULL, 0, &w, &err), 0);
	assert_int_equal(w.action, WIRE_STAT);
	assert_null(w.ref);
	assert_int_equal(w.total, 0);
	assert_false(digest_is_set(&w.expected));
	assert_int_equal(w.n_data, 0);
	assert_int_equal(w.labels.n, 0);
}

static void the_last_data_count(void **state UNUSED)
{
	CLEANUP(message_free) struct message m = whole_write("first, and longer", 17);
	CLEANUP(message_free) struct message want = whole_write("second", 6);
	CLEANUP(message_free) struct message none = whole_write("", 0);

	APPEND(&m, 6 << 3 | 2, 6, 's', 'e', 'c', 'o', 'n', 'd');
	check_same(KIND_WRITE, &m, &want);
	check_cuts(KIND_WRITE, &m);
	APPEND(&m, 6 << 3 | 2, 0); /* none at all */
	check_same(KIND_WRITE, &m, &none);
	check_cuts(KIND_WRITE, &m);
	/* Other fields: the last one, too. */
	APPEND(&m, 5 << 3, 7, 5 << 3, 0xac, 0x02);
	check_same(KIND_WRITE, &m, &none);
}

static void unknown_fields_are_skipped(void **state UNUSED)
{
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		CLEANUP(message_free) struct message with = { 0 };
		CLEANUP(message_free) struct message without = { 0 };

		APPEND(&with, (100 << 3 & 0x7f) | 0x80, 100 >> 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		       0xff, 0xff, 1); /* field 100, a number of ten bytes */
		APPEND(&with, (100 << 3 & 0x7f) | 0x80 | 1, 100 >> 4, 1, 2, 3, 4, 5, 6, 7, 8);
		APPEND(&with, (100 << 3 & 0x7f) | 0x80 | 2, 100 >> 4, 5, 'h', 'e', 'l', 'l', 'o');
		APPEND(&with, (100 << 3 & 0x7f) | 0x80 | 5, 100 >> 4, 1, 2, 3, 4);
		if (kind == KIND_DIGEST || kind == KIND_REF) {
			append(&with, "\x0a\x47sha256:" HEX64, 73);
			append(&without, "\x0a\x47sha256:" HEX64, 73);
		} else if (kind == KIND_UPDATE) {
			append(&with, "\x0a\x49\x0a\x47sha256:" HEX64, 75);
			append(&without, "\x0a\x49\x0a\x47sha256:" HEX64, 75);
		} else if (kind == KIND_WRITE) {
			APPEND(&with, 6 << 3 | 2, 1, 'x');
			APPEND(&without, 6 << 3 | 2, 1, 'x');
		} else {
			APPEND(&with, 1 << 3 | 2, 1, 'x');
			APPEND(&without, 1 << 3 | 2, 1, 'x');
		}
		check_same((enum wire_kind)kind, &with, &without);
		check_cuts((enum wire_kind)kind, &with);
		(void)check_short((enum wire_kind)kind, &with);
	}
}

static void no_message(void **state UNUSED)
{
	static const struct {
		uint8_t b[16];
		size_t n;
		const char *why;
	} wrong[] = {
		{ { 10 << 3 | 3, 10 << 3 | 4 }, 2, "wire type" },     /* groups */
		{ { 10 << 3 | 4 }, 1, "wire type" },                  /* their end */
		{ { 10 << 3 | 6, 0 }, 2, "wire type" },               /* no such type */
		{ { 10 << 3 | 7, 0 }, 2, "wire type" },               /* nor such */
		{ { 0x80 }, 1, "ends within a number" },              /* half a tag */
		{ { 3 << 3, 0xff }, 2, "ends within a number" },      /* half a number */
		{ { 6 << 3 | 2, 5, 'a' }, 3, "within its data" },     /* half the data */
		{ { 2 << 3 | 2, 5, 'a' }, 3, "within a field" },      /* half a ref */
		{ { 10 << 3 | 1, 1, 2 }, 3, "within a field" },       /* half a fixed64 */
		{ { 6 << 3, 1 }, 2, "WriteContentRequest" },          /* data that are a number */
		{ { 3 << 3 | 2, 1, 'x' }, 3, "WriteContentRequest" }, /* a total that is a text */
		{ { 0xb0, 0x80, 0x80, 0x80, 0x80, 0x00, 1 }, 7, "field's number is too long" },
		{ { 3 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0 },
		  12,
		  "number is too long" },
		{ { 6 << 3 | 2, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 'x' }, 8, "too long" }, /* its length */
		{ { 6 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0x7f, 'x' }, 7, "within its data" },
		{ { 6 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1 }, 11, "too long" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CLEANUP(message_free) struct message m = { 0 };

		append(&m, wrong[i].b, wrong[i].n);
		check_refused(KIND_WRITE, &m, wrong[i].why);
	}
}

static void write_fields_are_checked(void **state UNUSED)
{
	static const struct {
		const char *ref;
		size_t ref_len;
		const char *expected;
		int action;
		const char *key, *value;
		size_t value_len;
		const char *why;
	} wrong[] = {
		{ .ref = "a\0b", .ref_len = 3, .why = "NUL" },
		{ .ref = "a\xff", .ref_len = 2, .why = "UTF-8" },
		{ .ref = "\xed\xa0\x80", .ref_len = 3, .why = "UTF-8" }, /* a surrogate */
		{ .expected = "sha256:" HEX64 "0", .why = "sha256" },
		{ .expected = "md5:00", .why = "md5" },
		{ .expected = "SHA256:" HEX64, .why = "SHA256" },
		{ .action = 3, .why = "write action 3 is unknown" },
		{ .action = -1, .why = "write action -1 is unknown" },
		{ .key = "", .why = "label" },
		{ .key = "k", .value = "a\0b", .value_len = 3, .why = "NUL" },
		{ .key = "k", .value = "\xc0\x80", .value_len = 2, .why = "UTF-8" },
		{ .key = "k\x80", .why = "UTF-8" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CLEANUP(message_free) struct message m = { 0 };
		Pb__LabelsEntry entry = PB__LABELS_ENTRY__INIT, *entries = &entry;
		Pb__WriteContentRequest q = PB__WRITE_CONTENT_REQUEST__INIT;

		q.ref = bytes_of(wrong[i].ref, wrong[i].ref_len);
		q.expected = text_of(wrong[i].expected ? wrong[i].expected : "");
		q.action = (Pb__WriteAction)wrong[i].action;
		if (wrong[i].key) {
			entry.key = text_of(wrong[i].key);
			entry.value = bytes_of(wrong[i].value, wrong[i].value_len);
			q.n_labels = 1;
			q.labels = &entries;
		}
		m = pack(&q.base);
		check_refused(KIND_WRITE, &m, wrong[i].why);
	}
}

static void numbers_of_clients(void **state UNUSED)
{
	static const int64_t totals[] = { -1, INT64_MIN, 0, 1, INT64_MAX };

	for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
		CLEANUP(message_free) struct message m = { 0 };
		CLEANUP(wire_write_free) struct wire_write w;
		CLEANUP(pieces_free) struct pieces p = { 0 };
		Pb__WriteContentRequest q = PB__WRITE_CONTENT_REQUEST__INIT;
		struct stow_err err;

		q.total = q.offset = totals[i];
		m = pack(&q.base);
		p = whole(&m);
		assert_int_equal(wire_write_request(p.iov, p.n, &w, &err), 0);
		assert_int_equal(w.total, totals[i] > 0 ? totals[i] : 0);
		assert_int_equal(w.offset, totals[i]);
	}
}

static void labels_have_limits(void **state UNUSED)
{
	enum { N = LIMIT_LABELS + 1 };
	CLEANUP(freep) Pb__LabelsEntry *v = x_calloc(N, sizeof(*v));
	CLEANUP(freep) Pb__LabelsEntry **labels = x_calloc(N, sizeof(*labels));
	CLEANUP(freep) char(*keys)[16] = x_calloc(N, sizeof(*keys));
	CLEANUP(freep) char *large = x_malloc(LIMIT_LABEL);
	Pb__WriteContentRequest q = PB__WRITE_CONTENT_REQUEST__INIT;

	memset(large, 'v', LIMIT_LABEL);
	for (int i = 0; i < N; i++) {
		pb__labels_entry__init(&v[i]);
		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		v[i].key = text_of(keys[i]);
		labels[i] = &v[i];
	}
	q.labels = labels;
	for (q.n_labels = LIMIT_LABELS; q.n_labels <= N; q.n_labels++) {
		CLEANUP(message_free) struct message m = pack(&q.base);
		CLEANUP(pieces_free) struct pieces p = whole(&m);
		CLEANUP(freep) char *got = wire_reading(KIND_WRITE, &p);

		assert_int_equal(strncmp(got, "refused", 7) == 0, q.n_labels == N);
	}
	q.n_labels = 1;
	for (size_t n = LIMIT_LABEL - 2; n < LIMIT_LABEL; n++) {
		CLEANUP(message_free) struct message m = { 0 };
		CLEANUP(pieces_free) struct pieces p = { 0 };
		CLEANUP(freep) char *got = NULL;

		v[0].value = bytes_of(large, n); /* and a key of two */
		m = pack(&q.base);
		p = whole(&m);
		got = wire_reading(KIND_WRITE, &p);
		assert_int_equal(strncmp(got, "refused", 7) == 0, n > LIMIT_LABEL - 2);
	}
}

/* --- the others --- */

static void digest_requests(void **state UNUSED)
{
	CLEANUP(message_free) struct message m = { 0 };
	CLEANUP(message_free) struct message info = { 0 };
	CLEANUP(message_free) struct message wrong = { 0 };
	CLEANUP(message_free) struct message empty = { 0 };
	CLEANUP(pieces_free) struct pieces p = { 0 };
	Pb__ReadContentRequest q = PB__READ_CONTENT_REQUEST__INIT;
	Pb__InfoRequest i = PB__INFO_REQUEST__INIT;
	struct wire_digest_request r;
	struct stow_err err;
	char text[DIGEST_STR_MAX];

	q.digest = text_of("sha512:" HEX64 HEX64);
	q.offset = -5;
	q.size = INT64_MAX;
	m = pack(&q.base);
	p = whole(&m);
	assert_int_equal(wire_digest_request(p.iov, p.n, &r, &err), 0);
	digest_format(&r.digest, text);
	assert_string_equal(text, "sha512:" HEX64 HEX64);
	assert_int_equal(r.offset, -5);
	assert_int_equal(r.size, INT64_MAX);
	check_cuts(KIND_DIGEST, &m);
	assert_true(check_short(KIND_DIGEST, &m) > 0);

	i.digest = text_of("sha256:" HEX64);
	info = pack(&i.base);
	check_cuts(KIND_DIGEST, &info);
	i.digest = bytes_of("sha256:" HEX64 "\0", 72);
	wrong = pack(&i.base);
	check_refused(KIND_DIGEST, &wrong, "sha256");
	check_refused(KIND_DIGEST, &empty, "digest");
}

static void ref_requests(void **state UNUSED)
{
	CLEANUP(freep) char *longest = x_malloc(LIMIT_REF + 1);
	CLEANUP(message_free) struct message empty = { 0 };

	memset(longest, 'r', LIMIT_REF + 1);
	for (size_t n = LIMIT_REF; n <= LIMIT_REF + 1; n++) {
		CLEANUP(message_free) struct message m = { 0 };
		Pb__AbortRequest q = PB__ABORT_REQUEST__INIT;

		q.ref = bytes_of(longest, n);
		m = pack(&q.base);
		if (n > LIMIT_REF) {
			check_refused(KIND_REF, &m, "ref");
		} else {
			CLEANUP(pieces_free) struct pieces p = pieces_random(m.p, m.n, 1);
			CLEANUP(freep) char *ref = NULL;
			struct stow_err err;

			assert_int_equal(wire_ref_request(p.iov, p.n, &ref, &err), 0);
			assert_int_equal(strlen(ref), n);
			assert_memory_equal(ref, longest, n);
		}
	}
	check_refused(KIND_REF, &empty, "ref");
	for (size_t i = 0; i < 2; i++) {
		CLEANUP(message_free) struct message m = { 0 };
		Pb__StatusRequest q = PB__STATUS_REQUEST__INIT;

		q.ref = i ? bytes_of("a\0", 2) : bytes_of("\xf5\x80\x80\x80", 4);
		m = pack(&q.base);
		check_refused(KIND_REF, &m, i ? "NUL" : "UTF-8");
	}
}

static bool filters_accepted(const ProtobufCBinaryData *v, size_t n, const char *why)
{
	CLEANUP(message_free) struct message m = { 0 };
	CLEANUP(pieces_free) struct pieces p = { 0 };
	CLEANUP(freep) char *got = NULL;
	Pb__ListContentRequest q = PB__LIST_CONTENT_REQUEST__INIT;

	q.n_filters = n;
	q.filters = (ProtobufCBinaryData *)(uintptr_t)v;
	m = pack(&q.base);
	p = whole(&m);
	got = wire_reading(KIND_FILTER, &p);
	check_cuts(KIND_FILTER, &m);
	(void)check_short(KIND_FILTER, &m);
	if (strncmp(got, "refused", 7) != 0)
		return true;
	if (!strstr(got, why))
		fail_msg("\"%s\" is not in \"%s\"", why, got);
	return false;
}

static void filter_requests(void **state UNUSED)
{
	ProtobufCBinaryData many[LIMIT_FILTERS + 1];
	ProtobufCBinaryData good[] = { text_of("ref==a"), text_of("labels.\"a.b\"~=/x+/"), text_of("") };
	ProtobufCBinaryData nul[] = { text_of("ref==a"), bytes_of("ref==\0", 6) };
	ProtobufCBinaryData utf8[] = { bytes_of("ref==\xc3", 6) };
	ProtobufCBinaryData wrong[] = { text_of("ref=a") };

	assert_true(filters_accepted(NULL, 0, ""));
	assert_true(filters_accepted(good, 3, ""));
	assert_false(filters_accepted(nul, 2, "byte 5 is NUL"));
	assert_false(filters_accepted(utf8, 1, "byte 5 is no valid UTF-8"));
	assert_false(filters_accepted(wrong, 1, "ref=a"));
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = text_of("ref");
	assert_true(filters_accepted(many, LIMIT_FILTERS, ""));
	assert_false(filters_accepted(many, LIMIT_FILTERS + 1, "at most"));
}

static void update_requests(void **state UNUSED)
{
	Pb__LabelsEntry entry = PB__LABELS_ENTRY__INIT, *entries = &entry;
	ProtobufCBinaryData paths[] = { text_of("labels.a"), text_of("labels.b.c") };
	Pb__FieldMask mask = PB__FIELD_MASK__INIT;
	Pb__Info info = PB__INFO__INIT;
	Pb__UpdateRequest q = PB__UPDATE_REQUEST__INIT;
	CLEANUP(wire_update_free) struct wire_update u = { 0 };
	CLEANUP(message_free) struct message m = { 0 };
	CLEANUP(message_free) struct message no_info = { 0 };
	CLEANUP(message_free) struct message wrong = { 0 };
	CLEANUP(pieces_free) struct pieces p = { 0 };
	struct stow_err err;

	mask.n_paths = 2;
	mask.paths = paths;
	q.update_mask = &mask;
	no_info = pack(&q.base);
	check_refused(KIND_UPDATE, &no_info, "UpdateRequest without info");
	entry.key = text_of("a");
	entry.value = text_of("1");
	info.digest = text_of("sha256:" HEX64);
	info.n_labels = 1;
	info.labels = &entries;
	q.info = &info;
	m = pack(&q.base);
	p = whole(&m);
	assert_int_equal(wire_update_request(p.iov, p.n, &u, &err), 0);
	assert_int_equal(u.n_paths, 2);
	assert_string_equal(u.paths[1], "labels.b.c");
	assert_string_equal(labels_get(&u.labels, "a"), "1");
	check_cuts(KIND_UPDATE, &m);
	(void)check_short(KIND_UPDATE, &m);
	paths[1] = bytes_of("labels.\0", 8);
	wrong = pack(&q.base);
	check_refused(KIND_UPDATE, &wrong, "byte 7 is NUL");
}

/* In one piece: every cut of a message of this size would take long. */
static void check_refused_whole(enum wire_kind kind, const struct message *m, const char *part)
{
	CLEANUP(pieces_free) struct pieces p = whole(m);
	CLEANUP(freep) char *reading = wire_reading(kind, &p);

	assert_non_null(strstr(reading, part));
}

/* What protobuf-c would make of it is several times as long. */
static void requests_that_are_too_long(void **state UNUSED)
{
	enum { PATHS = 3000, LONG = 100000 };
	CLEANUP(freep) ProtobufCBinaryData *paths = x_calloc(PATHS, sizeof(*paths));
	CLEANUP(message_free) struct message many = { 0 };
	CLEANUP(message_free) struct message longer = { 0 };
	CLEANUP(freep) uint8_t *zeros = x_calloc(1, LONG);
	Pb__FieldMask mask = PB__FIELD_MASK__INIT;
	Pb__Info info = PB__INFO__INIT;
	Pb__UpdateRequest update = PB__UPDATE_REQUEST__INIT;
	Pb__InfoRequest request = PB__INFO_REQUEST__INIT;

	for (size_t i = 0; i < PATHS; i++)
		paths[i] = text_of("labels.a");
	mask.n_paths = PATHS;
	mask.paths = paths;
	info.digest = text_of("sha256:" HEX64);
	update.info = &info;
	update.update_mask = &mask;
	many = pack(&update.base);
	check_refused_whole(KIND_UPDATE, &many, "3000 paths");
	request.digest = (ProtobufCBinaryData){ .len = LONG, .data = zeros };
	longer = pack(&request.base);
	check_refused_whole(KIND_DIGEST, &longer, "longer than 65536 bytes");
}

static void health_requests(void **state UNUSED)
{
	CLEANUP(message_free) struct message m = { 0 };
	CLEANUP(freep) char *service = NULL;
	CLEANUP(freep) char *none = NULL;
	CLEANUP(pieces_free) struct pieces p = { 0 };
	Pb__HealthCheckRequest q = PB__HEALTH_CHECK_REQUEST__INIT;
	struct stow_err err;

	q.service = text_of("containerd.services.content.v1.Content");
	m = pack(&q.base);
	p = whole(&m);
	assert_int_equal(wire_health_request(p.iov, p.n, &service, &err), 0);
	assert_string_equal(service, "containerd.services.content.v1.Content");
	assert_int_equal(wire_health_request(NULL, 0, &none, &err), 0);
	assert_string_equal(none, "");
	check_cuts(KIND_HEALTH, &m);
	(void)check_short(KIND_HEALTH, &m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_of_everything),
		cmocka_unit_test(write_of_nothing),
		cmocka_unit_test(the_last_data_count),
		cmocka_unit_test(unknown_fields_are_skipped),
		cmocka_unit_test(no_message),
		cmocka_unit_test(write_fields_are_checked),
		cmocka_unit_test(numbers_of_clients),
		cmocka_unit_test(labels_have_limits),
		cmocka_unit_test(digest_requests),
		cmocka_unit_test(ref_requests),
		cmocka_unit_test(filter_requests),
		cmocka_unit_test(update_requests),
		cmocka_unit_test(requests_that_are_too_long),
		cmocka_unit_test(health_requests),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
