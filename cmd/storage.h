/* The backend that the configuration asks for: the one place, beside `stowage check`, that knows which there
 * are. */
#ifndef STOWAGE_CMD_STORAGE_H
#define STOWAGE_CMD_STORAGE_H

#include "conf/conf.h"
#include "content/backend.h"

/* "local", "tiered" or "s3"; static storage. */
const char *storage_name(const struct conf *c);
/* Whether blobs are files below local.path, which can be linked and moved; some may be in a bucket alone. */
bool storage_is_local(const struct conf *c);
/* Whether there is a bucket that is the store's, behind local bytes or alone. */
bool storage_has_bucket(const struct conf *c);

/* "s3://bucket/prefix"; to be freed. NULL: there is none. */
char *storage_bucket_name(const struct conf *c);

/* For a store, which has local.path for itself. The configuration is borrowed for the backend's life. */
int storage_open(const struct conf *c, struct backend **ret_b, struct stow_err *err) MUST_CHECK;
/* For looking and reading beside a daemon that may be running; makes nothing. Of a tiered store, the local
 * bytes alone. NOT_FOUND if there are no blobs below local.path, where they should be. */
int storage_open_beside(const struct conf *c, struct backend **ret_b, struct stow_err *err) MUST_CHECK;
/* The bucket that this store shares with others, as it is; FAILED_PRECONDITION where it shares none. */
int storage_open_fleet(const struct conf *c, struct backend **ret_b, struct stow_err *err) MUST_CHECK;

#endif
