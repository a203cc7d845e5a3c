/* What a ref tells about the ingest that it names. Pure. */
#ifndef STOWAGE_CONTENT_REF_H
#define STOWAGE_CONTENT_REF_H

#include "content/base/digest.h"

#include <stdbool.h>
#include <stddef.h>

/* INVALID_ARGUMENT for an empty ref, one longer than LIMIT_REF, one that holds a NUL byte or is no
 * valid UTF-8 (Go clients could not read it back). */
int ref_check(const char *ref, size_t n, struct stow_err *err) MUST_CHECK;

/* containerd's metadata layer withholds the expected digest until COMMIT, but opens the backend's
 * writer with the ref "<namespace>/<sequence>/<kind>-<algorithm>:<hex>" when it pulls, for instance
 * "default/12/layer-sha256:6c3c...". True, with the digest, for a ref of exactly that shape (the
 * kind is one of containerd's remotes.MakeRefKey: manifest, index, layer, config, attestation,
 * unknown, ... any run of letters, digits and dashes). It is a guess: COMMIT has the last word. */
bool ref_guess_digest(const char *ref, struct digest *ret_d);

#endif
