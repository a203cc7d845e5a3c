/* Labels of a blob, and the update masks that change them. Pure. */
#ifndef STOWAGE_CONTENT_LABELS_H
#define STOWAGE_CONTENT_LABELS_H

#include "content/base/buf.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct label {
	char *key;   /* owned, NUL-terminated */
	char *value; /* owned */
};

/* Sorted by key, each key once. All zero is the empty set. */
struct labels {
	struct label *v;
	size_t n;
};

void labels_free(struct labels *l);                             /* leaves the empty set; fit for CLEANUP */
void labels_copy(struct labels *dst, const struct labels *src); /* dst is overwritten, not freed */
bool labels_equal(const struct labels *a, const struct labels *b);
/* NULL if there is no such key; borrowed until the set changes. */
const char *labels_get(const struct labels *l, const char *key);

/* Sets or replaces one label. INVALID_ARGUMENT, and no change, for an empty key, for key + value
 * longer than LIMIT_LABEL (containerd's labels.Validate), or when there would be more than
 * LIMIT_LABELS. */
int labels_set(struct labels *l, const char *key, const char *value, struct stow_err *err) MUST_CHECK;
/* Removes one; an absent key is no error. */
void labels_remove(struct labels *l, const char *key);

/* Applies containerd's update rule to `l`: with no paths, or with the path "labels" among them,
 * `from` replaces everything; else each path is "labels.<key>" (the key is all that follows, dots
 * included), and sets that key from `from`, or removes it where `from` has no value or an empty
 * one. Any other path is INVALID_ARGUMENT and changes nothing. */
int labels_apply(struct labels *l, const struct labels *from, const char *const *paths, size_t n,
		 struct stow_err *err) MUST_CHECK;

/* The form they have in a database row: count, then lengths and bytes, little endian. */
int labels_encode(const struct labels *l, struct buf *to, struct stow_err *err) MUST_CHECK;
/* Reads exactly `n` bytes. DATA_LOSS for anything that labels_encode did not write. *ret_l is to be
 * freed. */
int labels_decode(const void *p, size_t n, struct labels *ret_l, struct stow_err *err) MUST_CHECK;

#endif
