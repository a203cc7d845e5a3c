/* The children of an image's manifest or index (OCI image spec 1.1, Docker image manifest v2 schema 2). */
#ifndef STOWAGE_BACKENDS_TIERED_MANIFEST_H
#define STOWAGE_BACKENDS_TIERED_MANIFEST_H

#include "content/base/digest.h"

#include <stddef.h>

#define MANIFEST_MAX ((size_t)4 << 20) /* bytes; larger ones are refused by registries, too */
enum { MANIFEST_CHILDREN = 256 };      /* that are looked at */

struct manifest_child {
	struct digest digest;
	uint64_t size; /* 0 if it is not said */
};
/* The children of the JSON document in `text`: 0 of them where it is no manifest and no index. Children whose
 * digest does not parse are left out. */
size_t manifest_children(const char *text, size_t n, struct manifest_child ret_v[MANIFEST_CHILDREN]);

#endif
