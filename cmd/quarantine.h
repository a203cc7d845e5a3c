/* Taking a bad blob out of the store: its bytes are moved aside, for who wants to look at them, and
 * its record goes, so that it can be written again. */
#ifndef STOWAGE_CMD_QUARANTINE_H
#define STOWAGE_CMD_QUARANTINE_H

#include "cmd/access.h"

/* Moves the blob's file to <local.path>/quarantine/<alg>/<hex>.<unix time>, durably, then makes the
 * owner forget the blob. *ret_path is where the file is now, to be freed; NULL if there was none. */
int quarantine_blob(const struct conf *c, struct owner *o, const struct digest *d, char **ret_path,
		    struct stow_err *err) MUST_CHECK;

#endif
