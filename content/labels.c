#include "content/labels.h"

#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* A row: the count, then for each label the two lengths, the key and the value. */
struct row_label {
	uint32_t key_len, value_len;
};

static void label_free(struct label *one)
{
	free(one->key);
	free(one->value);
}

void labels_free(struct labels *l)
{
	for (size_t i = 0; i < l->n; i++)
		label_free(&l->v[i]);
	free(l->v);
	*l = (struct labels){ 0 };
}

void labels_copy(struct labels *dst, const struct labels *src)
{
	*dst = (struct labels){ 0 };
	if (src->n == 0)
		return;
	dst->v = x_calloc(src->n, sizeof(*dst->v));
	for (dst->n = 0; dst->n < src->n; dst->n++) {
		dst->v[dst->n].key = x_strdup(src->v[dst->n].key);
		dst->v[dst->n].value = x_strdup(src->v[dst->n].value);
	}
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->v[i].key, b->v[i].key) != 0 || strcmp(a->v[i].value, b->v[i].value) != 0)
			return false;
	}
	return true;
}

/* Where the key is, or where it would have to be put in. */
static bool find(const struct labels *l, const char *key, size_t *ret_at)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(l->v[mid].key, key);
		if (order == 0) {
			*ret_at = mid;
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_at = low;
	return false;
}

const char *labels_get(const struct labels *l, const char *key)
{
	size_t at;

	return find(l, key, &at) ? l->v[at].value : NULL;
}

/* Refuses, saying which label it is about. */
static int refuse(const char *key, const char *why, size_t have, int limit, struct stow_err *err)
{
	char shown[80];

	text_quote(shown, sizeof(shown), key, strlen(key));
	return stow_fail(err, STOW_INVALID_ARGUMENT, "label %s: %s %zu, at most %d are allowed", shown, why,
			 have, limit);
}

int labels_set(struct labels *l, const char *key, const char *value, struct stow_err *err)
{
	size_t size = strlen(key) + strlen(value), at;

	if (key[0] == '\0')
		return stow_fail(err, STOW_INVALID_ARGUMENT, "label with an empty key");
	if (size > LIMIT_LABEL)
		return refuse(key, "the bytes of key and value are", size, LIMIT_LABEL, err);
	if (find(l, key, &at)) {
		char *fresh = x_strdup(value); /* `value` may be the one that goes */
		free(l->v[at].value);
		l->v[at].value = fresh;
		return 0;
	}
	if (l->n >= LIMIT_LABELS)
		return refuse(key, "the labels would be", l->n + 1, LIMIT_LABELS, err);

	l->v = x_reallocarray(l->v, l->n + 1, sizeof(*l->v));
	memmove(&l->v[at + 1], &l->v[at], (l->n - at) * sizeof(*l->v));
	l->v[at] = (struct label){ .key = x_strdup(key), .value = x_strdup(value) };
	l->n++;
	return 0;
}

void labels_remove(struct labels *l, const char *key)
{
	size_t at;

	if (!find(l, key, &at))
		return;
	label_free(&l->v[at]);
	l->n--;
	memmove(&l->v[at], &l->v[at + 1], (l->n - at) * sizeof(*l->v));
}

/* The key that a path "labels.<key>" names, or NULL. */
static const char *path_key(const char *path)
{
	static const char prefix[] = "labels.";

	if (strncmp(path, prefix, sizeof(prefix) - 1) != 0 || path[sizeof(prefix) - 1] == '\0')
		return NULL;
	return path + sizeof(prefix) - 1;
}

/* An empty value asks for removal, as an absent one does. */
static const char *value_to_set(const struct labels *from, const char *key)
{
	const char *value = labels_get(from, key);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

int labels_apply(struct labels *l, const struct labels *from, const char *const *paths, size_t n,
		 struct stow_err *err)
{
	bool all = n == 0;

	for (size_t i = 0; i < n; i++) {
		char shown[80];
		if (strcmp(paths[i], "labels") == 0) {
			all = true;
		} else if (path_key(paths[i]) == NULL) {
			text_quote(shown, sizeof(shown), paths[i], strlen(paths[i]));
			return stow_fail(
				err, STOW_INVALID_ARGUMENT,
				"cannot update the field %s, expected \"labels\" or \"labels.<key>\"", shown);
		}
	}

	CLEANUP(labels_free) struct labels next = { 0 };
	labels_copy(&next, all ? from : l);
	if (!all) {
		/* Removals first, so that a full set can exchange labels in one update. */
		for (size_t i = 0; i < n; i++) {
			if (value_to_set(from, path_key(paths[i])) == NULL)
				labels_remove(&next, path_key(paths[i]));
		}
		for (size_t i = 0; i < n; i++) {
			const char *value = value_to_set(from, path_key(paths[i]));
			if (value != NULL && labels_set(&next, path_key(paths[i]), value, err) < 0)
				return -1;
		}
	}

	struct labels old = *l;
	*l = next;
	next = old; /* freed on the way out */
	return 0;
}

static int encode_one(const struct label *one, struct buf *to, struct stow_err *err)
{
	size_t key_len = strlen(one->key), value_len = strlen(one->value);
	struct row_label head = { htole32((uint32_t)key_len), htole32((uint32_t)value_len) };

	if (buf_append(to, &head, sizeof(head), err) < 0 || buf_append(to, one->key, key_len, err) < 0)
		return -1;
	return buf_append(to, one->value, value_len, err);
}

int labels_encode(const struct labels *l, struct buf *to, struct stow_err *err)
{
	size_t before = to->len;
	uint32_t count = htole32((uint32_t)l->n);
	int rc = buf_append(to, &count, sizeof(count), err);

	for (size_t i = 0; i < l->n && rc == 0; i++)
		rc = encode_one(&l->v[i], to, err);
	if (rc < 0)
		to->len = before; /* no half of a row stays behind */
	return rc;
}

struct cursor {
	const char *p;
	size_t left;
};

static bool take(struct cursor *c, void *to, size_t n)
{
	if (c->left < n)
		return false;
	memcpy(to, c->p, n);
	c->p += n;
	c->left -= n;
	return true;
}

/* The next `n` bytes as a string of our own; NULL if a NUL byte is among them. */
static char *take_text(struct cursor *c, size_t n)
{
	assert(n <= c->left);
	if (memchr(c->p, '\0', n) != NULL)
		return NULL;

	char *text = x_strndup(c->p, n);
	c->p += n;
	c->left -= n;
	return text;
}

/* Takes the next label; it must come after the last one of `l`. */
static bool decode_one(struct cursor *c, struct labels *l)
{
	struct row_label head;
	if (!take(c, &head, sizeof(head)))
		return false;

	size_t key_len = le32toh(head.key_len), value_len = le32toh(head.value_len);
	if (key_len == 0 || key_len > LIMIT_LABEL || value_len > LIMIT_LABEL - key_len ||
	    key_len + value_len > c->left)
		return false;

	CLEANUP(freep) char *key = take_text(c, key_len);
	if (key == NULL || (l->n > 0 && strcmp(l->v[l->n - 1].key, key) >= 0))
		return false;
	CLEANUP(freep) char *value = take_text(c, value_len);
	if (value == NULL)
		return false;
	l->v[l->n++] = (struct label){ .key = TAKE(key), .value = TAKE(value) };
	return true;
}

int labels_decode(const void *p, size_t n, struct labels *ret_l, struct stow_err *err)
{
	CLEANUP(labels_free) struct labels l = { 0 };
	struct cursor c = { .p = p, .left = n };
	uint32_t count;

	if (!take(&c, &count, sizeof(count)))
		return stow_fail(err, STOW_DATA_LOSS, "labels: %zu bytes are too few for a count", n);
	count = le32toh(count);
	if (count > LIMIT_LABELS)
		return stow_fail(err, STOW_DATA_LOSS, "labels: a count of %u, at most %d can be", count,
				 LIMIT_LABELS);
	if (count > 0)
		l.v = x_calloc(count, sizeof(*l.v));
	for (uint32_t i = 0; i < count; i++) {
		if (!decode_one(&c, &l))
			return stow_fail(err, STOW_DATA_LOSS,
					 "labels: label %u of %u is damaged, near byte %zu", i + 1, count,
					 n - c.left);
	}
	if (c.left > 0)
		return stow_fail(err, STOW_DATA_LOSS, "labels: %zu bytes too many", c.left);
	*ret_l = l;
	l = (struct labels){ 0 };
	return 0;
}
