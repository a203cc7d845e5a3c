/* Blobs in an S3-compatible bucket:
 *
 *   <prefix>/blobs/<alg>/<hex>     finished blobs
 *   <path>/ingest/<stage>          stages: spools on the local disk, with what is known of their uploads
 *
 * No byte of a finished blob stays on this machine. What a stage is known to become is uploaded while it is
 * written, in parts, under the name that it will have; the object comes into being when the store publishes,
 * which is after the hash was proven, and not before. Where the name is not known, or was guessed
 * wrong, the stage is uploaded from its spool then. So nothing in the bucket ever has a temporary name, no
 * right to copy objects is needed, and what is visible is whole.
 *
 * Behind a tiered backend (content/behind.h), nobody uses its stages: what is sent has its bytes elsewhere,
 * and <path>/ingest has records of uploads alone. <path> may be that of a local store, whose spools are there
 * too. Notes are objects <prefix>/<name>, beside blobs/. With `read_only`, `path` is NULL and nothing is
 * changed.
 *
 * The bucket below the prefix belongs to this store: what is removed here is removed there. It is not
 * searched when the store opens, since it may hold millions: a blob that the database does not know is
 * adopted when somebody asks for it. */
#ifndef STOWAGE_BACKENDS_S3_H
#define STOWAGE_BACKENDS_S3_H

#include "backends/s3/s3_options.h"
#include "content/backend.h"

/* `path` is a directory for the stages, made if it is missing (mode 0700); NULL: for looking, reading and
 * removing alone, beside a daemon that may be running. What the options point to
 * is borrowed for the backend's life. Does not wait for the network: a bucket that cannot be reached now
 * makes calls fail, not the start. */
int s3_new(const struct s3_options *o, const char *path, struct backend **ret_b,
	   struct stow_err *err) MUST_CHECK;

#endif
