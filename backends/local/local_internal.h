/* What the files of this folder share: the directories and how they are synced.
 *
 *   dir.c     one directory: making, opening, the shared sync, listing
 *   stage.c   stages and how they become blobs
 *   local.c   finished blobs, the table, start and end */
#ifndef STOWAGE_LOCAL_INTERNAL_H
#define STOWAGE_LOCAL_INTERNAL_H

#include "content/backend.h"
#include "content/base/lock.h"

#include <stdbool.h>
#include <stdint.h>

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

struct local {
	struct backend base;
	unsigned magic;
	struct dir root, blobs, ingest;
	struct dir alg[DIGEST_ALG_COUNT]; /* blobs/<alg>; [DIGEST_NONE] is all zero */
	bool in_ram;                      /* tmpfs or ramfs: reading never waits for a disk */
	bool sync_names;                  /* syncing a new file does not make its name durable */
};
struct local *local_from(struct backend *b);

/* Reads up to `n` bytes of `fd` at `off`. Short only at the end of the file. -1 with errno set. */
ssize_t local_read(int fd, void *to, size_t n, uint64_t off);

int local_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
		       struct stage **ret_st, struct stow_err *err);
int local_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
		       struct stage **ret_st, struct stow_err *err);
int local_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err);
int local_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err);
int local_stage_sync(struct stage *st, struct stow_err *err);
int local_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
		      struct stow_err *err);
int local_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err);
void local_stage_close(struct stage *st);
int local_stage_discard(struct backend *b, const char *name, struct stow_err *err);
int local_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

#endif
