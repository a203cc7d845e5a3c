#include "backends/tiered/manifest.h"

#include "content/base/mem.h"

#include <jansson.h>

/* A descriptor: { "digest": "sha256:...", "size": 1234 }. */
static bool read_child(const json_t *o, struct manifest_child *ret_c)
{
	const json_t *text = json_object_get(o, "digest");
	json_int_t size = json_integer_value(json_object_get(o, "size"));
	struct stow_err ignored;

	if (!json_is_string(text) ||
	    digest_parse(&ret_c->digest, json_string_value(text), json_string_length(text), &ignored) < 0)
		return false;
	ret_c->size = size > 0 ? (uint64_t)size : 0;
	return true;
}

static size_t add_list(const json_t *list, struct manifest_child *v, size_t n)
{
	for (size_t i = 0; i < json_array_size(list) && n < MANIFEST_CHILDREN; i++)
		n += read_child(json_array_get(list, i), &v[n]);
	return n;
}

/* What an image needs and what an index lists have keys of their own, so the media type, which may be
 * missing, is not looked at. A document that has both is neither (OCI image spec, "mediaType" confusion). */
size_t manifest_children(const char *text, size_t n, struct manifest_child ret_v[MANIFEST_CHILDREN])
{
	CLEANUP(json_decrefp) json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *layers = json_object_get(root, "layers"), *list = json_object_get(root, "manifests");
	size_t found = 0;

	if (!json_is_object(root) || (json_is_array(layers) && json_is_array(list)))
		return 0;
	if (json_is_array(list))
		return add_list(list, ret_v, 0);
	if (!json_is_array(layers))
		return 0;
	found = read_child(json_object_get(root, "config"), &ret_v[0]);
	return add_list(layers, ret_v, found);
}
