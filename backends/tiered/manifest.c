#include "backends/tiered/manifest.h"

#include "content/base/mem.h"

#include <jansson.h>

/* A descriptor: { "digest": "sha256:...", "size": 1234 }. */
static bool read_child(const json_t *o, struct fleet_child *ret_c)
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

static size_t add_list(const json_t *list, bool is_index, struct fleet_child *v, size_t n)
{
	for (size_t i = 0; i < json_array_size(list) && n < MANIFEST_CHILDREN; i++) {
		v[n].of_an_index = is_index;
		n += read_child(json_array_get(list, i), &v[n]);
	}
	return n;
}

/* What an image needs and what an index lists have keys of their own, so the media type, which may be
 * missing, is not looked at. A document that has both is neither (OCI image spec, "mediaType" confusion). */
size_t manifest_children(const char *text, size_t n, struct fleet_child ret_v[MANIFEST_CHILDREN])
{
	CLEANUP(json_decrefp) json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *layers = json_object_get(root, "layers"), *list = json_object_get(root, "manifests");
	size_t found = 0;

	if (!json_is_object(root) || (json_is_array(layers) && json_is_array(list)))
		return 0;
	if (json_is_array(list))
		return add_list(list, true, ret_v, 0);
	if (!json_is_array(layers))
		return 0;
	ret_v[0].of_an_index = false;
	found = read_child(json_object_get(root, "config"), &ret_v[0]);
	return add_list(layers, false, ret_v, found);
}

int manifest_read(struct backend *b, const struct digest *d, struct fleet_child **ret_v, size_t *ret_n,
		  struct stow_err *err)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;
	CLEANUP(freep) struct fleet_child *v = NULL;
	CLEANUP(freep) char *text = NULL;
	size_t got = 0, n;

	if (backend_open(b, d, 0, &blob, err) < 0)
		return -1;
	if (blob->size > 0 && blob->size <= MANIFEST_MAX) {
		text = x_malloc((size_t)blob->size);
		if (blob_pread(blob, text, (size_t)blob->size, 0, 0, &got, err) < 0)
			return -1;
	}
	v = x_calloc(MANIFEST_CHILDREN, sizeof(*v));
	n = manifest_children(text, got, v);
	*ret_v = n > 0 ? TAKE(v) : NULL;
	*ret_n = n;
	return 0;
}
