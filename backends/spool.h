/* A spool: the file that a stage's bytes are written to, in a directory of spools. It knows how to write,
 * cut, sync and resume; what becomes of the bytes is its backend's business.
 *
 * The promises are those of a stage (content/backend.h), and the errors too. Threads as there, and one
 * more: spool_read() may run on other threads beside spool_write(), for bytes that were there before. */
#ifndef STOWAGE_BACKENDS_SPOOL_H
#define STOWAGE_BACKENDS_SPOOL_H

#include "backends/dir.h"
#include "content/backend.h"

#include <stdatomic.h>

struct spool_dir {
	struct dir dir;
	bool in_ram;     /* tmpfs or ramfs: reading never waits for a disk */
	bool sync_names; /* syncing a new file does not make its name durable */
};
/* `<parent>/ingest`, made if it is missing. spool_dir_close() is due after a failure, too. */
int spool_dir_open(struct spool_dir *d, const struct dir *parent, struct stow_err *err) MUST_CHECK;
void spool_dir_close(struct spool_dir *d); /* also of one that is all zero */
/* Visits the names of all spools. */
int spool_dir_each(struct spool_dir *d, backend_stage_visit *visit, void *arg,
		   struct stow_err *err) MUST_CHECK;
int spool_dir_remove(struct spool_dir *d, const char *name, struct stow_err *err) MUST_CHECK;

/* `size` and what concerns syncing is atomic, since a sync may run beside a write. */
struct spool {
	struct spool_dir *home;
	int fd;
	char name[STAGE_NAME_LEN + 1];
	bool moved;            /* renamed by its backend: the file is a blob now, durable or not yet */
	uint64_t pushed;       /* write-back has been started up to here */
	_Atomic uint64_t size; /* the file may have more: what a failed write left behind */

	_Atomic uint64_t changes; /* counted up after each change of the file */
	_Atomic uint64_t synced;  /* `changes` at the start of the last good sync */
	_Atomic uint64_t durable; /* `size` then, or less if it has been cut since */
	atomic_int sync_errno;    /* of the sync that failed; there is no other after it */
	bool name_synced;         /* only syncs use it */
};

int spool_create(struct spool *sp, struct spool_dir *d, const char *name, struct stow_err *err) MUST_CHECK;
int spool_resume(struct spool *sp, struct spool_dir *d, const char *name, uint64_t size,
		 struct stow_err *err) MUST_CHECK;
int spool_write(struct spool *sp, const struct iovec *iov, int n, uint64_t off,
		struct stow_err *err) MUST_CHECK;
int spool_truncate(struct spool *sp, uint64_t size, struct stow_err *err) MUST_CHECK;
/* The bytes and the name. */
int spool_sync(struct spool *sp, struct stow_err *err) MUST_CHECK;
int spool_read(struct spool *sp, void *to, size_t n, uint64_t off, size_t *ret_n,
	       struct stow_err *err) MUST_CHECK;
/* The file has the spool's bytes and no others, neither what a failed write left behind nor what somebody
 * else did to it, and they are durable. */
int spool_settle(struct spool *sp, struct stow_err *err) MUST_CHECK;
/* Keeps the bytes under the name, unless the file was moved. After a failed sync only what was durable
 * before it can be trusted, so only that is kept: who resumes it with more is told that it is lost. */
void spool_close(struct spool *sp);

#endif
