#include "backends/tiered/tree.h"

#include "content/base/mem.h"
#include "content/meta.h"

void tree_free(struct tree *t)
{
	free(t->v);
	*t = (struct tree){ 0 };
}

bool tree_has(const struct tree *t, const struct digest *d)
{
	for (size_t i = 0; i < t->n; i++)
		if (digest_equal(&t->v[i], d))
			return true;
	return false;
}

void tree_subtract(struct tree *t, const struct tree *other)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (!tree_has(other, &t->v[i]))
			t->v[n++] = t->v[i];
	t->n = n;
}

int tree_children(struct backend *b, const struct digest *d, struct fleet_child **ret_v, size_t *ret_n,
		  struct stow_err *err)
{
	CLEANUP(freep) struct fleet_child *v = NULL;
	char text[DIGEST_STR_MAX];
	size_t n;

	digest_format(d, text);
	if (manifest_read(b, d, &v, &n, err) < 0)
		return stow_wrap(err, "what %s refers to cannot be read", text);
	if (n == MANIFEST_CHILDREN)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
				 "%s refers to %d blobs or more: name its parts instead", text,
				 MANIFEST_CHILDREN);
	*ret_v = TAKE(v);
	*ret_n = n;
	return 0;
}

/* --- collecting --- */

/* A tree in the making. */
struct growth {
	struct meta *meta;
	struct backend *backend;
	struct tree tree;
	bool *leaf; /* of each: it refers to nothing; owned */
};

static void growth_free(struct growth *g)
{
	tree_free(&g->tree);
	free(g->leaf);
}

/* Adds a blob that has a row, if it is not there yet. */
static int add(struct growth *g, const struct digest *d, bool leaf, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };

	if (tree_has(&g->tree, d))
		return 0;
	if (meta_blob_get(g->meta, d, &info, err) < 0)
		return -1;
	if (g->tree.n == TREE_MAX)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "it refers to more than %d blobs", TREE_MAX);
	g->tree.v[g->tree.n] = *d;
	g->leaf[g->tree.n++] = leaf || info.size > MANIFEST_MAX;
	return 0;
}

static int add_children(struct growth *g, const struct digest *d, struct stow_err *err)
{
	CLEANUP(freep) struct fleet_child *child = NULL;
	size_t n;

	if (tree_children(g->backend, d, &child, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (add(g, &child[i].digest, !child[i].of_an_index, err) < 0 && err->code != STOW_NOT_FOUND)
			return -1;
	return 0;
}

static bool is_lost(const struct stow_err *err)
{
	return err->code == STOW_NOT_FOUND || err->code == STOW_DATA_LOSS;
}

int tree_collect(struct meta *m, struct backend *b, const struct digest *root, bool whole, struct tree *ret_t,
		 struct stow_err *err)
{
	CLEANUP(growth_free) struct growth g = { .meta = m, .backend = b };

	g.tree.v = x_calloc(TREE_MAX, sizeof(*g.tree.v));
	g.leaf = x_calloc(TREE_MAX, sizeof(*g.leaf));
	if (add(&g, root, false, err) < 0)
		return -1;
	for (size_t i = 0; i < g.tree.n; i++)
		if (!g.leaf[i] && add_children(&g, &g.tree.v[i], err) < 0 && (whole || !is_lost(err)))
			return -1;
	*ret_t = g.tree;
	g.tree = (struct tree){ 0 };
	return 0;
}
