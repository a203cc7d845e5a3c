#include "backends/local/local_internal.h"
#include "content/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define STAGE_MAGIC 0x10ca1003u

enum { BLOB_MODE = 0444 }; /* nothing writes a finished blob by accident */

struct local_stage {
	struct stage base;
	unsigned magic;
	struct spool spool;
	bool sealed; /* published */
};

static struct local_stage *stage_from(struct stage *st)
{
	struct local_stage *ls = CONTAINER_OF(st, struct local_stage, base);

	CHECK_OBJ(ls, STAGE_MAGIC);
	return ls;
}

/* Spools are opened where they stay. */
static struct local_stage *stage_new(struct backend *b)
{
	struct local_stage *ls = x_calloc(1, sizeof(*ls));

	ls->base = (struct stage){ .backend = b };
	ls->magic = STAGE_MAGIC;
	return ls;
}

/* Hands the stage over if its spool could be opened. */
static int stage_give(struct local_stage *ls, int opened, struct stage **ret_st)
{
	if (opened < 0) {
		FREE_OBJ(ls);
		return -1;
	}
	*ret_st = &ls->base;
	return 0;
}

int local_stage_create(struct backend *b, const char *name, const struct stage_hint *hint UNUSED,
		       struct stage **ret_st, struct stow_err *err)
{
	struct local_stage *ls = stage_new(b);

	return stage_give(ls, spool_create(&ls->spool, &local_from(b)->ingest, name, err), ret_st);
}

int local_stage_resume(struct backend *b, const char *name, uint64_t size,
		       const struct stage_hint *hint UNUSED, struct stage **ret_st, struct stow_err *err)
{
	struct local_stage *ls = stage_new(b);

	return stage_give(ls, spool_resume(&ls->spool, &local_from(b)->ingest, name, size, err), ret_st);
}

int local_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	return spool_write(&stage_from(st)->spool, iov, n, off, err);
}

int local_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	return spool_truncate(&stage_from(st)->spool, size, err);
}

int local_stage_sync(struct stage *st, struct stow_err *err)
{
	assert(!stage_from(st)->sealed);
	return spool_sync(&stage_from(st)->spool, err);
}

int local_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err)
{
	return spool_read(&stage_from(st)->spool, to, n, off, ret_n, err);
}

/* The order of durability:
 *
 *   1 fdatasync(stage)     the bytes are durable; nothing to do if a stage_sync() saw the last change
 *   2 renameat to its name the blob is there, whole, from one moment to the next
 *   3 fsync(blobs/<alg>)   the name is durable, and with it the blob
 *
 * Never 2 before 1: after a power loss the name could be there without the bytes.
 *
 * A blob that is there already is replaced, not spared (no RENAME_NOREPLACE): its bytes ought to be
 * the same, and if a disk or a hand has bent them, these here have just been proven. Either way the
 * name leads to whole, durable bytes at every moment, and readers keep the file that they have open.
 * And it needs nothing that some file systems lack.
 *
 * ingest/ needs no sync: a rename is one change to a journal, so that 3 covers both directories. On a
 * file system that splits it, a power loss may bring the old name back beside the new one: the store
 * discards it as unknown, or resumes it, which finds the second name and takes it away.
 *
 * If 3 fails, the blob has its name and nobody can tell whether that is durable. Moving it back could
 * take it from another who has published the same bytes and been told that they are safe. So it
 * stays, the call fails, and calling again repeats the sync alone. */
int local_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	struct local_stage *ls = stage_from(st);
	struct spool *sp = &ls->spool;
	struct local *l = local_from(st->backend);
	struct dir *to = &l->alg[d->alg];
	char hex[DIGEST_HEX_MAX];

	assert(!ls->sealed);
	if (!sp->moved) {
		if (spool_settle(sp, err) < 0)
			return -1;
		digest_format_hex(d, hex);
		if (renameat(l->ingest.dir.fd, sp->name, to->fd, hex) < 0) {
			if (errno == ENOENT)
				return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", sp->name);
			return stow_fail_errno(err, errno, "publish stage %s as %s/%s", sp->name, to->path,
					       hex);
		}
		sp->moved = true;
		/* Afterwards, so that a stage whose publishing failed can be opened for writing again. */
		(void)fchmod(sp->fd, BLOB_MODE);
	}
	if (dir_sync(to, err) < 0)
		return -1;
	ls->sealed = true;
	return 0;
}

void local_stage_close(struct stage *st)
{
	struct local_stage *ls = stage_from(st);

	spool_close(&ls->spool);
	FREE_OBJ(ls);
}

int local_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	return spool_dir_remove(&local_from(b)->ingest, name, err);
}

int local_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	return spool_dir_each(&local_from(b)->ingest, visit, arg, err);
}
