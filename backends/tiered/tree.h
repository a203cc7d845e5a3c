/* A blob and what it refers to: an image's manifest its config and layers, an index its manifests and theirs.
 */
#ifndef STOWAGE_BACKENDS_TIERED_TREE_H
#define STOWAGE_BACKENDS_TIERED_TREE_H

#include "backends/tiered/manifest.h"

#include <stdbool.h>

struct meta;

enum { TREE_MAX = 4096 }; /* blobs of one */

/* Each once, the root first. All zero is an empty one. */
struct tree {
	struct digest *v; /* owned */
	size_t n;
};
void tree_free(struct tree *t); /* what it holds; fit for CLEANUP */
bool tree_has(const struct tree *t, const struct digest *d);
/* Drops what `other` has, too. */
void tree_subtract(struct tree *t, const struct tree *other);

/* What a blob of `b` refers to, as manifest_read(). RESOURCE_EXHAUSTED where it may be more than can be told.
 */
int tree_children(struct backend *b, const struct digest *d, struct fleet_child **ret_v, size_t *ret_n,
		  struct stow_err *err) MUST_CHECK;
/* The root's tree, as far as `m` has rows for it; manifests are read from `b`. Where one has lost its bytes,
 * NOT_FOUND or DATA_LOSS if the tree is to be `whole`; else it is one that refers to nothing. NOT_FOUND if
 * the root has no row; RESOURCE_EXHAUSTED past TREE_MAX. *ret_t is to be freed. */
int tree_collect(struct meta *m, struct backend *b, const struct digest *root, bool whole, struct tree *ret_t,
		 struct stow_err *err) MUST_CHECK;

#endif
