/* The children of an image's manifest or index (OCI image spec 1.1, Docker image manifest v2 schema 2). */
#ifndef STOWAGE_BACKENDS_TIERED_MANIFEST_H
#define STOWAGE_BACKENDS_TIERED_MANIFEST_H

#include "content/fleet.h"

#include <stddef.h>

#define MANIFEST_MAX ((size_t)4 << 20) /* bytes; larger ones are refused by registries, too */
enum { MANIFEST_CHILDREN = 256 };      /* that are looked at */

/* The children of the JSON document in `text`: 0 of them where it is no manifest and no index. Children whose
 * digest does not parse are left out. */
size_t manifest_children(const char *text, size_t n, struct fleet_child ret_v[MANIFEST_CHILDREN]);
/* Those of a blob, which is read where it is no larger than MANIFEST_MAX. *ret_v is to be freed; NULL where
 * there are none. */
int manifest_read(struct backend *b, const struct digest *d, struct fleet_child **ret_v, size_t *ret_n,
		  struct stow_err *err) MUST_CHECK;

#endif
