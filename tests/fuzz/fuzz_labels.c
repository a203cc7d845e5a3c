/* A row of labels that decodes is one that was encoded: encoding gives the same bytes. And the set
 * is sound: taken apart and put together again it is the same. */
#include "content/base/mem.h"
#include "content/labels.h"
#include "tests/fuzz/fuzz.h"

static void check_row(const struct labels *l, const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;

	buf_init(&b, size);
	assert(labels_encode(l, &b, &err) == 0);
	assert(b.len == size && memcmp(b.p, data, size) == 0);

	/* One byte less than it needs: refused, and nothing half-written. */
	buf_free(&b);
	buf_init(&b, size - 1);
	assert(labels_encode(l, &b, &err) < 0 && err.code == STOW_RESOURCE_EXHAUSTED && b.len == 0);
}

static void check_set(const struct labels *l)
{
	CLEANUP(labels_free) struct labels other = { 0 };
	CLEANUP(labels_free) struct labels copy;
	struct stow_err err;

	labels_copy(&copy, l);
	assert(labels_equal(l, &copy));
	for (size_t i = l->n; i-- > 0;) {
		assert(labels_get(l, l->v[i].key) == l->v[i].value);
		assert(i == 0 || strcmp(l->v[i - 1].key, l->v[i].key) < 0);
		assert(labels_set(&other, l->v[i].key, l->v[i].value, &err) == 0);
		labels_remove(&copy, l->v[i].key);
		assert(copy.n == i && labels_get(&copy, l->v[i].key) == NULL);
	}
	assert(labels_equal(l, &other));
}

/* Naming every key of a set is the same as replacing by it, but for the empty values. */
static void check_apply(const struct labels *l)
{
	CLEANUP(labels_free) struct labels by_path = { 0 };
	CLEANUP(labels_free) struct labels whole = { 0 };
	struct stow_err err;
	size_t filled = 0;

	assert(labels_apply(&whole, l, NULL, 0, &err) == 0);
	assert(labels_equal(&whole, l));
	for (size_t i = 0; i < l->n; i++) {
		CLEANUP(freep) char *path = x_asprintf("labels.%s", l->v[i].key);
		const char *const paths[] = { path };
		assert(labels_apply(&by_path, l, paths, 1, &err) == 0);
		filled += l->v[i].value[0] != '\0';
	}
	assert(by_path.n == filled);
	for (size_t i = 0; i < by_path.n; i++)
		assert(strcmp(by_path.v[i].value, labels_get(l, by_path.v[i].key)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(labels_free) struct labels l = { 0 };
	struct stow_err err = { 0 };

	if (labels_decode(data, size, &l, &err) < 0) {
		assert(err.code == STOW_DATA_LOSS && err.msg[0] != '\0' && l.n == 0);
		return 0;
	}
	check_row(&l, data, size);
	check_set(&l);
	check_apply(&l);
	return 0;
}
