/* Manifests come from a bucket: whatever is in them, the children are digests, and not too many. */
#include "backends/tiered/manifest.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct fleet_child v[MANIFEST_CHILDREN];
	size_t found = manifest_children((const char *)data, n, v);

	assert(found <= MANIFEST_CHILDREN);
	for (size_t i = 0; i < found; i++)
		assert(digest_is_set(&v[i].digest) &&
		       v[i].digest.len == digest_alg_len((enum digest_alg)v[i].digest.alg));
	return 0;
}
