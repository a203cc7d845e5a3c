/* What is to be imported: the files blobs/<alg>/<hex> of a directory, which is only read. */
#ifndef STOWAGE_CMD_IMPORT_SOURCE_H
#define STOWAGE_CMD_IMPORT_SOURCE_H

#include "content/base/digest.h"
#include "content/base/err.h"

#include <sys/stat.h>

struct source {
	char *path;                /* of the directory; owned */
	int alg[DIGEST_ALG_COUNT]; /* blobs/<alg>, open; -1 where there is none */
};

/* INVALID_ARGUMENT, with a hint, if `path` has no blobs in that form. */
int source_open(struct source *s, const char *path, struct stow_err *err) MUST_CHECK;
/* Also fit for one that is all zero. */
void source_close(struct source *s);

/* Visits every name that is a digest; others are no blobs. `st` is what lstat(2) says: not every one
 * needs to be a regular file. A visitor that fails ends it. */
typedef int source_visit(void *arg, const struct digest *d, const struct stat *st, struct stow_err *err);
int source_each(const struct source *s, source_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;

/* Opens a blob's file for reading; *ret_st is of what was opened, a regular file. */
int source_file(const struct source *s, const struct digest *d, int *ret_fd, struct stat *ret_st,
		struct stow_err *err) MUST_CHECK;

#endif
