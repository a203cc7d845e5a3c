/* What the files of this folder share.
 *
 *   stage.c   stages, which are spools (backends/spool.h), and how they become blobs
 *   local.c   finished blobs, the table, start and end */
#ifndef STOWAGE_LOCAL_INTERNAL_H
#define STOWAGE_LOCAL_INTERNAL_H

#include "backends/spool.h"
#include "content/backend.h"

#include <stdbool.h>
#include <stdint.h>

/* The backend: three layers of directories, opened at the start and never closed before the end.
 * `alg` is where finished blobs are; a stage becomes one by a rename from `ingest` to there, so
 * that both have to be on one file system, which being below one root does not prove: a person may
 * mount something over one of them, and publishing says so then. */
struct local {
	struct backend base;
	unsigned magic;
	struct dir root, blobs;
	struct dir alg[DIGEST_ALG_COUNT]; /* blobs/<alg>; [DIGEST_NONE] is all zero */
	struct spool_dir ingest;
};
struct local *local_from(struct backend *b);

/* The slots of the table that stage.c fills; their promises are those of struct backend_ops. */
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
