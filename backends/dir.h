/* Directories that stay open, and how names in them become durable. For the backends that keep files.
 *
 * Threads: a directory may be used by any number of threads, once it is open and until it is closed. */
#ifndef STOWAGE_BACKENDS_DIR_H
#define STOWAGE_BACKENDS_DIR_H

#include "content/base/err.h"
#include "content/base/lock.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A directory that is kept open. */
struct dir {
	int fd;
	char *path; /* owned; for messages only, files are reached through fd */

	/* The shared sync, see dir_sync(). */
	struct lock lock;
	pthread_cond_t cond;
	uint64_t started, finished; /* syncs so far */
	uint64_t failed;            /* number of the last one that failed; 0: none */
	int failed_errno;
	bool running;
};

/* Opens `name` below the directory `parent` (AT_FDCWD for a path), making it first if it is
 * missing. `path` is its path for messages, owned by the result from then on, also on failure. After
 * a failure, as after success, dir_close() is due. */
int dir_open(struct dir *dir, int parent, const char *name, char *path, struct stow_err *err) MUST_CHECK;
/* Also fit for a directory that is all zero. */
void dir_close(struct dir *dir);

/* Names that were made in the directory before the call are durable after it. Calls at the same
 * time share one fsync: a call joins the next one to start, never one that runs already, since that
 * may have begun before its name was there. */
int dir_sync(struct dir *dir, struct stow_err *err) MUST_CHECK;

/* Visits every name but "." and "..", until `visit` fails. */
typedef int dir_visit(void *arg, struct dir *dir, const char *name, struct stow_err *err);
int dir_each(struct dir *dir, dir_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;

/* Reads up to `n` bytes of `fd` at `off`. Short only at the end of the file. -1 with errno set. */
ssize_t pread_full(int fd, void *to, size_t n, uint64_t off);

#endif
