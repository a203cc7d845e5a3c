#include "backends/local/local_internal.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define STAGE_MAGIC 0x10ca1003u

enum {
	WRITE_BATCH = 64,        /* vectors a system call, far below IOV_MAX */
	PUSH_INTERVAL = 8 << 20, /* bytes between two starts of write-back */
	BLOB_MODE = 0444,        /* nothing writes a finished blob by accident */
};

/* `size` and what concerns syncing is atomic, since a sync may run beside a write. */
struct local_stage {
	struct stage base;
	unsigned magic;
	int fd;
	char name[STAGE_NAME_LEN + 1];
	bool moved;            /* renamed: the file is a blob now, durable or not yet */
	bool sealed;           /* published */
	uint64_t pushed;       /* write-back has been started up to here */
	_Atomic uint64_t size; /* the file may have more: what a failed write left behind */

	_Atomic uint64_t changes; /* counted up after each change of the file */
	_Atomic uint64_t synced;  /* `changes` at the start of the last good sync */
	_Atomic uint64_t durable; /* `size` then, or less if it has been cut since */
	atomic_int sync_errno;    /* of the sync that failed; there is no other after it */
	bool name_synced;         /* only syncs use it */
};

static struct local_stage *stage_from(struct stage *st)
{
	struct local_stage *ls = CONTAINER_OF(st, struct local_stage, base);

	CHECK_OBJ(ls, STAGE_MAGIC);
	return ls;
}

static int fail_stage(const struct dir *dir, const char *name, int e, const char *what, struct stow_err *err)
{
	if (e == ENOENT)
		return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", name);
	return stow_fail_errno(err, e, "%s %s/%s", what, dir->path, name);
}

static struct local_stage *stage_new(struct backend *b, const char *name, int fd, uint64_t size)
{
	struct local_stage *ls = x_calloc(1, sizeof(*ls));

	ls->base = (struct stage){ .backend = b };
	ls->magic = STAGE_MAGIC;
	ls->fd = fd;
	memcpy(ls->name, name, sizeof(ls->name));
	ls->pushed = size;
	atomic_init(&ls->size, size);
	/* Whoever had it before may have left bytes that are not durable: the first sync is for them. */
	atomic_init(&ls->changes, 1);
	return ls;
}

int local_stage_create(struct backend *b, const char *name, const struct stage_hint *hint UNUSED,
		       struct stage **ret_st, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->ingest;
	int fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail_stage(dir, name, errno, "make stage", err);
	*ret_st = &stage_new(b, name, fd, 0)->base;
	return 0;
}

int local_stage_resume(struct backend *b, const char *name, uint64_t size,
		       const struct stage_hint *hint UNUSED, struct stage **ret_st, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->ingest;
	CLEANUP(fd_closep) int fd = openat(dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat sb;

	if (fd < 0 || fstat(fd, &sb) < 0)
		return fail_stage(dir, name, errno, "open stage", err);
	if (!S_ISREG(sb.st_mode))
		return stow_fail(err, STOW_INTERNAL, "%s/%s: not a regular file", dir->path, name);
	/* A name that a power loss brought back, see local_stage_publish(): the file is a blob. */
	if (sb.st_nlink > 1) {
		(void)unlinkat(dir->fd, name, 0);
		return stow_fail(err, STOW_NOT_FOUND, "stage %s: has become a blob", name);
	}
	if ((uint64_t)sb.st_size < size)
		return stow_fail(err, STOW_DATA_LOSS, "stage %s: has %jd bytes of %" PRIu64, name,
				 (intmax_t)sb.st_size, size);
	if ((uint64_t)sb.st_size > size && ftruncate(fd, (off_t)size) < 0)
		return fail_stage(dir, name, errno, "cut stage", err);
	*ret_st = &stage_new(b, name, fd, size)->base;
	fd = -1;
	return 0;
}

/* Fails with errno set; how much has been written is unknown then. */
static int write_all(int fd, const struct iovec *iov, int n, uint64_t off)
{
	size_t skip = 0; /* bytes of *iov that are written already */

	while (n > 0) {
		struct iovec batch[WRITE_BATCH];
		int count = n < WRITE_BATCH ? n : WRITE_BATCH;
		ssize_t r;

		memcpy(batch, iov, (size_t)count * sizeof(*iov));
		if (skip > 0) { /* the base of an empty vector may be NULL */
			batch[0].iov_base = (char *)batch[0].iov_base + skip;
			batch[0].iov_len -= skip;
		}
		r = pwritev(fd, batch, count, (off_t)off);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		off += (uint64_t)r;
		for (skip += (size_t)r; n > 0 && skip >= iov->iov_len; n--)
			skip -= iov++->iov_len;
	}
	return 0;
}

int local_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	struct local_stage *ls = stage_from(st);
	uint64_t size = off;

	assert(off == atomic_load(&ls->size));
	if (ls->moved)
		return stow_fail(err, STOW_INTERNAL, "write stage %s: it has become a blob", ls->name);
	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;

	if (write_all(ls->fd, iov, n, off) < 0) {
		int e = errno;

		/* Gives the space back where it can. Nothing depends on it: reads stop at `size`, the
		 * next write begins there, and publish and resume cut what is beyond. */
		(void)!ftruncate(ls->fd, (off_t)off);
		atomic_fetch_add(&ls->changes, 1);
		return fail_stage(&local_from(st->backend)->ingest, ls->name, e, "write stage", err);
	}
	atomic_store(&ls->size, size);
	atomic_fetch_add(&ls->changes, 1);

	/* Lets the disk begin, so that the sync at the end is short. Only a hint: where it fails, the
	 * sync does the work, or meets the same error and reports it. */
	if (size - ls->pushed >= PUSH_INTERVAL) {
		(void)sync_file_range(ls->fd, (off_t)ls->pushed, (off_t)(size - ls->pushed),
				      SYNC_FILE_RANGE_WRITE);
		ls->pushed = size;
	}
	return 0;
}

int local_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	struct local_stage *ls = stage_from(st);

	assert(size <= atomic_load(&ls->size));
	if (ls->moved)
		return stow_fail(err, STOW_INTERNAL, "cut stage %s: it has become a blob", ls->name);
	if (ftruncate(ls->fd, (off_t)size) < 0)
		return fail_stage(&local_from(st->backend)->ingest, ls->name, errno, "cut stage", err);
	atomic_store(&ls->size, size);
	atomic_fetch_add(&ls->changes, 1);
	if (atomic_load(&ls->durable) > size)
		atomic_store(&ls->durable, size);
	if (ls->pushed > size)
		ls->pushed = size;
	return 0;
}

/* A failed sync is final. The kernel reports a failed write-back once, and may have dropped the very
 * pages by then: a second sync would succeed without them. What was durable before stays so. */
static int sync_bytes(struct local_stage *ls, struct stow_err *err)
{
	uint64_t changes = atomic_load(&ls->changes);
	uint64_t size = atomic_load(&ls->size);
	int e = atomic_load(&ls->sync_errno);

	if (e == 0 && atomic_load(&ls->synced) == changes)
		return 0;
	while (e == 0 && fdatasync(ls->fd) < 0) {
		if (errno != EINTR)
			e = errno;
	}
	if (e != 0) {
		atomic_store(&ls->sync_errno, e);
		return fail_stage(&local_from(ls->base.backend)->ingest, ls->name, e, "sync stage", err);
	}
	atomic_store(&ls->durable, size);
	atomic_store(&ls->synced, changes);
	return 0;
}

int local_stage_sync(struct stage *st, struct stow_err *err)
{
	struct local_stage *ls = stage_from(st);
	struct local *l = local_from(st->backend);

	assert(!ls->sealed);
	if (sync_bytes(ls, err) < 0)
		return -1;
	if (!l->sync_names || ls->name_synced)
		return 0;
	if (dir_sync(&l->ingest, err) < 0)
		return -1;
	ls->name_synced = true;
	return 0;
}

int local_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err)
{
	struct local_stage *ls = stage_from(st);
	uint64_t size = atomic_load(&ls->size);
	ssize_t r;

	if (off >= size)
		n = 0;
	else if (n > size - off)
		n = (size_t)(size - off);
	r = local_read(ls->fd, to, n, off);
	if (r < 0)
		return fail_stage(&local_from(st->backend)->ingest, ls->name, errno, "read stage", err);
	if ((size_t)r < n)
		return stow_fail(err, STOW_DATA_LOSS,
				 "stage %s: its file ends at %" PRIu64 " bytes, but it had %" PRIu64,
				 ls->name, off + (uint64_t)r, size);
	*ret_n = n;
	return 0;
}

/* The file has the stage's bytes and no others, neither what a failed write left behind nor what
 * somebody else did to it. */
static int settle_size(struct local_stage *ls, struct stow_err *err)
{
	const struct dir *dir = &local_from(ls->base.backend)->ingest;
	uint64_t size = atomic_load(&ls->size);
	struct stat sb;

	if (fstat(ls->fd, &sb) < 0)
		return fail_stage(dir, ls->name, errno, "stat stage", err);
	if ((uint64_t)sb.st_size < size)
		return stow_fail(err, STOW_DATA_LOSS,
				 "stage %s: its file ends at %jd bytes, but it had %" PRIu64, ls->name,
				 (intmax_t)sb.st_size, size);
	if ((uint64_t)sb.st_size > size) {
		if (ftruncate(ls->fd, (off_t)size) < 0)
			return fail_stage(dir, ls->name, errno, "cut stage", err);
		atomic_fetch_add(&ls->changes, 1);
	}
	return 0;
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
	struct local *l = local_from(st->backend);
	struct dir *to = &l->alg[d->alg];
	char hex[DIGEST_HEX_MAX];

	assert(!ls->sealed);
	if (!ls->moved) {
		if (settle_size(ls, err) < 0 || sync_bytes(ls, err) < 0)
			return -1;
		digest_format_hex(d, hex);
		if (renameat(l->ingest.fd, ls->name, to->fd, hex) < 0) {
			if (errno == ENOENT)
				return fail_stage(&l->ingest, ls->name, ENOENT, "publish", err);
			return stow_fail_errno(err, errno, "publish stage %s as %s/%s", ls->name, to->path,
					       hex);
		}
		ls->moved = true;
		/* Afterwards, so that a stage whose publishing failed can be opened for writing again. */
		(void)fchmod(ls->fd, BLOB_MODE);
	}
	if (dir_sync(to, err) < 0)
		return -1;
	ls->sealed = true;
	return 0;
}

/* After a failed sync only what was durable before it can be trusted, so only that is kept: who
 * resumes the stage with more is told that it is lost. */
void local_stage_close(struct stage *st)
{
	struct local_stage *ls = stage_from(st);

	if (!ls->moved && atomic_load(&ls->sync_errno) != 0)
		(void)!ftruncate(ls->fd, (off_t)atomic_load(&ls->durable));
	fd_closep(&ls->fd);
	FREE_OBJ(ls);
}

int local_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->ingest;

	if (unlinkat(dir->fd, name, 0) < 0)
		return fail_stage(dir, name, errno, "discard stage", err);
	return 0;
}

struct stage_scan {
	backend_stage_visit *visit;
	void *arg;
};

static int scan_name(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	const struct stage_scan *scan = arg;
	struct stat sb;

	if (!stage_name_ok(name))
		return 0;
	if (fstatat(dir->fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail_stage(dir, name, errno, "stat stage", err);
	return S_ISREG(sb.st_mode) ? scan->visit(scan->arg, name, err) : 0;
}

int local_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct stage_scan scan = { .visit = visit, .arg = arg };

	return dir_each(&local_from(b)->ingest, scan_name, &scan, err);
}
