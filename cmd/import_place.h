/* Putting one blob of a source into a store's directory: as a second name of the same file where that
 * is possible and safe, else as a copy. The bytes are hashed on the way, always. */
#ifndef STOWAGE_CMD_IMPORT_PLACE_H
#define STOWAGE_CMD_IMPORT_PLACE_H

#include "cmd/import_source.h"
#include "cmd/progress.h"
#include "conf/conf.h"
#include "content/backend.h"

struct place {
	int alg[DIGEST_ALG_COUNT];        /* <local.path>/blobs/<alg>, open; -1 where there is none */
	struct stat st[DIGEST_ALG_COUNT]; /* of these; of what is missing, as it would be made */
	bool unsynced[DIGEST_ALG_COUNT];  /* has names that are not durable yet */
	bool copy_only;
	/* Set by the user; all borrowed. */
	struct backend *backend;
	struct progress *progress;
	const atomic_bool *stop;
	uint64_t bytes; /* that were placed */
};

/* Opens the store's directories; those that are missing stay so: then nothing can be placed there. */
int place_open(struct place *p, const struct conf *c, struct stow_err *err) MUST_CHECK;
void place_close(struct place *p);

/* The size of what has the blob's name in the store's directory already; NOT_FOUND if nothing has. */
int place_lookup(const struct place *p, const struct digest *d, uint64_t *ret_size,
		 struct stow_err *err) MUST_CHECK;

/* Whether a file like this would be linked, as far as can be told before trying: on the same
 * filesystem, and nobody but root and the store's owner can write to it, while the latter can read it. */
bool place_can_link(const struct place *p, const struct digest *d, const struct stat *st);

enum placed { PLACED_LINK, PLACED_COPY, PLACED_ALREADY };
/* Places one. What was linked is durable after place_sync(); what was copied, at once. DATA_LOSS if the
 * bytes are not what their name says, CANCELLED if told to stop; then nothing was placed. */
int place_blob(struct place *p, const struct source *s, const struct digest *d, enum placed *ret_how,
	       struct stow_err *err) MUST_CHECK;
/* All names made so far are durable. */
int place_sync(struct place *p, struct stow_err *err) MUST_CHECK;

#endif
