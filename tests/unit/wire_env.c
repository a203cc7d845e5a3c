#include "tests/unit/wire_env.h"

#include "content/base/mem.h"

#include <stdio.h>

/* --- pieces --- */

struct pieces pieces_cut(const void *p, size_t size, const size_t *places, int n)
{
	struct pieces pieces = { .iov = x_calloc((size_t)n + 1, sizeof(*pieces.iov)), .n = n + 1 };
	size_t from = 0;

	for (int i = 0; i <= n; i++) {
		size_t to = i < n ? places[i] : size;

		assert(from <= to && to <= size);
		pieces.iov[i].iov_len = to - from;
		pieces.iov[i].iov_base = x_malloc(to - from);
		if (to > from)
			memcpy(pieces.iov[i].iov_base, (const uint8_t *)p + from, to - from);
		from = to;
	}
	return pieces;
}

struct pieces pieces_random(const void *p, size_t size, unsigned seed)
{
	CLEANUP(freep) size_t *places = x_calloc(size * 2 + 1, sizeof(*places));
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15);
	int n = 0;

	if (seed == 0)
		return pieces_cut(p, size, places, 0);
	for (size_t at = 0; at <= size && n < (int)(size * 2); at++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		if (seed == 1 || (state >> 32) % (1 + seed % 13) == 0)
			places[n++] = at;
		if (seed > 1 && (state >> 40) % 16 == 0 && n)
			places[n++] = at; /* and an empty one */
	}
	return pieces_cut(p, size, places, n);
}

void pieces_free(struct pieces *p)
{
	for (int i = 0; i < p->n; i++)
		free(p->iov[i].iov_base);
	free(p->iov);
	*p = (struct pieces){ 0 };
}

bool pieces_hold(const struct pieces *p, const void *at, size_t n)
{
	for (int i = 0; i < p->n; i++) {
		const uint8_t *base = p->iov[i].iov_base;

		if ((const uint8_t *)at >= base && (const uint8_t *)at + n <= base + p->iov[i].iov_len)
			return true;
	}
	return false;
}

/* --- readings --- */

static void add(struct buf *b, const char *name, const void *p, size_t n)
{
	struct stow_err err;
	int rc = buf_printf(b, &err, "%s[%zu]=", name, n);

	if (rc == 0 && n)
		rc = buf_append(b, p, n, &err);
	if (rc == 0)
		rc = buf_append(b, "\n", 1, &err);
	assert(rc == 0);
}

static void add_number(struct buf *b, const char *name, int64_t n)
{
	add(b, name, &n, sizeof(n));
}

static void add_digest(struct buf *b, const struct digest *d)
{
	char text[DIGEST_STR_MAX] = "";

	if (digest_is_set(d))
		digest_format(d, text);
	add(b, "digest", text, strlen(text));
}

static void add_labels(struct buf *b, const struct labels *l)
{
	for (size_t i = 0; i < l->n; i++) {
		add(b, "key", l->v[i].key, strlen(l->v[i].key));
		add(b, "value", l->v[i].value, strlen(l->v[i].value));
	}
}

uint8_t *wire_data(const struct wire_write *w, const struct pieces *p)
{
	uint8_t *data = x_malloc(w->data_len);
	size_t at = 0;

	assert(w->n_data <= p->n);
	for (int i = 0; i < w->n_data; i++) {
		assert(w->data[i].iov_len > 0);
		assert(pieces_hold(p, w->data[i].iov_base, w->data[i].iov_len));
		assert(w->data[i].iov_len <= w->data_len - at);
		memcpy(data + at, w->data[i].iov_base, w->data[i].iov_len);
		at += w->data[i].iov_len;
	}
	assert(at == w->data_len);
	return data;
}

static const char *any_field(const void *subject, const char *first UNUSED, const char *joined UNUSED)
{
	return subject;
}

static int read_filter(const struct pieces *p, struct buf *b, struct stow_err *err)
{
	CLEANUP(filter_freep) struct filter *f = NULL;

	if (wire_filter_request(p->iov, p->n, &f, err) < 0) {
		assert(!f);
		return -1;
	}
	add_number(b, "all", filter_is_all(f));
	add_number(b, "a", filter_match(f, any_field, "a"));
	add_number(b, "absent", filter_match(f, any_field, NULL));
	return 0;
}

static int read_update(const struct pieces *p, struct buf *b, struct stow_err *err)
{
	CLEANUP(wire_update_free) struct wire_update u = { 0 };

	if (wire_update_request(p->iov, p->n, &u, err) < 0) {
		assert(!u.paths && !u.labels.n);
		return -1;
	}
	add_digest(b, &u.digest);
	add_labels(b, &u.labels);
	for (size_t i = 0; i < u.n_paths; i++)
		add(b, "path", u.paths[i], strlen(u.paths[i]));
	return 0;
}

static int read_write(const struct pieces *p, struct buf *b, struct stow_err *err)
{
	CLEANUP(wire_write_free) struct wire_write w = { 0 };
	CLEANUP(freep) uint8_t *data = NULL;

	if (wire_write_request(p->iov, p->n, &w, err) < 0) {
		assert(!w.ref && !w.data && !w.labels.n);
		return -1;
	}
	data = wire_data(&w, p);
	add_number(b, "action", (int)w.action);
	add(b, "ref", w.ref, w.ref ? strlen(w.ref) : 0);
	add_number(b, "total", (int64_t)w.total);
	add_number(b, "offset", w.offset);
	add_digest(b, &w.expected);
	add_labels(b, &w.labels);
	add(b, "data", data, w.data_len);
	return 0;
}

static int read_text(int (*decode)(const struct iovec *msg, int n, char **ret_s, struct stow_err *err),
		     const struct pieces *p, struct buf *b, struct stow_err *err)
{
	CLEANUP(freep) char *s = NULL;

	if (decode(p->iov, p->n, &s, err) < 0) {
		assert(!s);
		return -1;
	}
	add(b, "text", s, strlen(s));
	return 0;
}

static int read_digest(const struct pieces *p, struct buf *b, struct stow_err *err)
{
	struct wire_digest_request r = { 0 };

	if (wire_digest_request(p->iov, p->n, &r, err) < 0) {
		assert(!digest_is_set(&r.digest));
		return -1;
	}
	add_digest(b, &r.digest);
	add_number(b, "offset", r.offset);
	add_number(b, "size", r.size);
	return 0;
}

static int reading(enum wire_kind kind, const struct pieces *p, struct buf *b, struct stow_err *err)
{
	switch (kind) {
	case KIND_DIGEST:
		return read_digest(p, b, err);
	case KIND_REF:
		return read_text(wire_ref_request, p, b, err);
	case KIND_FILTER:
		return read_filter(p, b, err);
	case KIND_UPDATE:
		return read_update(p, b, err);
	case KIND_WRITE:
		return read_write(p, b, err);
	case KIND_HEALTH:
		return read_text(wire_health_request, p, b, err);
	case KIND_COUNT:
		break;
	}
	abort();
}

char *wire_reading(enum wire_kind kind, const struct pieces *p)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err = { 0 };
	char *text;

	buf_init(&b, 256 << 20);
	if (reading(kind, p, &b, &err) < 0) {
		assert(err.code == STOW_INVALID_ARGUMENT && err.msg[0] != '\0');
		return x_asprintf("refused: %s", err.msg);
	}
	/* Bytes may be NUL: as hex, so that texts can be compared. */
	text = x_malloc(2 * b.len + 1);
	for (size_t i = 0; i < b.len; i++)
		snprintf(text + 2 * i, 3, "%02x", b.p[i]);
	text[2 * b.len] = '\0';
	return text;
}
