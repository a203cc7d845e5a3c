#include "backends/spool.h"

#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

enum {
	WRITE_BATCH = 64,        /* vectors a system call, far below IOV_MAX */
	PUSH_INTERVAL = 8 << 20, /* bytes between two starts of write-back */
};

/* --- the directory --- */

/* What the file system is known for. ext4, XFS and Btrfs log the making of a file together with the
 * file's own first sync, so that the name needs no sync of its own; of any other we assume the
 * least, which is POSIX. */
static int learn_file_system(struct spool_dir *d, struct stow_err *err)
{
	struct statfs fs;

	if (fstatfs(d->dir.fd, &fs) < 0)
		return stow_fail_errno(err, errno, "statfs %s", d->dir.path);
	d->in_ram = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
	d->sync_names = fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC &&
			fs.f_type != BTRFS_SUPER_MAGIC;
	return 0;
}

int spool_dir_open(struct spool_dir *d, const struct dir *parent, struct stow_err *err)
{
	*d = (struct spool_dir){ .sync_names = true };
	if (dir_open(&d->dir, parent->fd, "ingest", x_asprintf("%s/ingest", parent->path), err) < 0)
		return -1;
	return learn_file_system(d, err);
}

void spool_dir_close(struct spool_dir *d)
{
	dir_close(&d->dir);
}

static int fail_stage(const struct dir *dir, const char *name, int e, const char *what, struct stow_err *err)
{
	if (e == ENOENT)
		return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", name);
	return stow_fail_errno(err, e, "%s %s/%s", what, dir->path, name);
}

int spool_dir_remove(struct spool_dir *d, const char *name, struct stow_err *err)
{
	if (unlinkat(d->dir.fd, name, 0) < 0)
		return fail_stage(&d->dir, name, errno, "discard stage", err);
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

int spool_dir_each(struct spool_dir *d, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct stage_scan scan = { .visit = visit, .arg = arg };

	return dir_each(&d->dir, scan_name, &scan, err);
}

/* --- opening --- */

static void spool_init(struct spool *sp, struct spool_dir *d, const char *name, int fd, uint64_t size)
{
	*sp = (struct spool){ .home = d, .fd = fd, .pushed = size };
	memcpy(sp->name, name, sizeof(sp->name));
	atomic_init(&sp->size, size);
	/* Whoever had it before may have left bytes that are not durable: the first sync is for them. */
	atomic_init(&sp->changes, 1);
}

int spool_create(struct spool *sp, struct spool_dir *d, const char *name, struct stow_err *err)
{
	int fd = openat(d->dir.fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail_stage(&d->dir, name, errno, "make stage", err);
	spool_init(sp, d, name, fd, 0);
	return 0;
}

int spool_resume(struct spool *sp, struct spool_dir *d, const char *name, uint64_t size, struct stow_err *err)
{
	const struct dir *dir = &d->dir;
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
	spool_init(sp, d, name, fd, size);
	fd = -1;
	return 0;
}

/* --- writing --- */

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

int spool_write(struct spool *sp, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	uint64_t size = off;

	assert(off == atomic_load(&sp->size));
	if (sp->moved)
		return stow_fail(err, STOW_INTERNAL, "write stage %s: it has become a blob", sp->name);
	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;

	if (write_all(sp->fd, iov, n, off) < 0) {
		int e = errno;

		/* Gives the space back where it can. Nothing depends on it: reads stop at `size`, the
		 * next write begins there, and publish and resume cut what is beyond. */
		(void)!ftruncate(sp->fd, (off_t)off);
		atomic_fetch_add(&sp->changes, 1);
		return fail_stage(&sp->home->dir, sp->name, e, "write stage", err);
	}
	atomic_store(&sp->size, size);
	atomic_fetch_add(&sp->changes, 1);

	/* Lets the disk begin, so that the sync at the end is short. Only a hint: where it fails, the
	 * sync does the work, or meets the same error and reports it. */
	if (size - sp->pushed >= PUSH_INTERVAL) {
		(void)sync_file_range(sp->fd, (off_t)sp->pushed, (off_t)(size - sp->pushed),
				      SYNC_FILE_RANGE_WRITE);
		sp->pushed = size;
	}
	return 0;
}

int spool_truncate(struct spool *sp, uint64_t size, struct stow_err *err)
{
	assert(size <= atomic_load(&sp->size));
	if (sp->moved)
		return stow_fail(err, STOW_INTERNAL, "cut stage %s: it has become a blob", sp->name);
	if (ftruncate(sp->fd, (off_t)size) < 0)
		return fail_stage(&sp->home->dir, sp->name, errno, "cut stage", err);
	atomic_store(&sp->size, size);
	atomic_fetch_add(&sp->changes, 1);
	if (atomic_load(&sp->durable) > size)
		atomic_store(&sp->durable, size);
	if (sp->pushed > size)
		sp->pushed = size;
	return 0;
}

/* A failed sync is final. The kernel reports a failed write-back once, and may have dropped the very
 * pages by then: a second sync would succeed without them. What was durable before stays so. */
static int sync_bytes(struct spool *sp, struct stow_err *err)
{
	uint64_t changes = atomic_load(&sp->changes);
	uint64_t size = atomic_load(&sp->size);
	int e = atomic_load(&sp->sync_errno);

	if (e == 0 && atomic_load(&sp->synced) == changes)
		return 0;
	while (e == 0 && fdatasync(sp->fd) < 0) {
		if (errno != EINTR)
			e = errno;
	}
	if (e != 0) {
		atomic_store(&sp->sync_errno, e);
		return fail_stage(&sp->home->dir, sp->name, e, "sync stage", err);
	}
	atomic_store(&sp->durable, size);
	atomic_store(&sp->synced, changes);
	return 0;
}

int spool_sync(struct spool *sp, struct stow_err *err)
{
	if (sync_bytes(sp, err) < 0)
		return -1;
	if (!sp->home->sync_names || sp->name_synced)
		return 0;
	if (dir_sync(&sp->home->dir, err) < 0)
		return -1;
	sp->name_synced = true;
	return 0;
}

int spool_read(struct spool *sp, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err)
{
	uint64_t size = atomic_load(&sp->size);
	ssize_t r;

	if (off >= size)
		n = 0;
	else if (n > size - off)
		n = (size_t)(size - off);
	r = pread_full(sp->fd, to, n, off);
	if (r < 0)
		return fail_stage(&sp->home->dir, sp->name, errno, "read stage", err);
	if ((size_t)r < n)
		return stow_fail(err, STOW_DATA_LOSS,
				 "stage %s: its file ends at %" PRIu64 " bytes, but it had %" PRIu64,
				 sp->name, off + (uint64_t)r, size);
	*ret_n = n;
	return 0;
}

int spool_settle(struct spool *sp, struct stow_err *err)
{
	const struct dir *dir = &sp->home->dir;
	uint64_t size = atomic_load(&sp->size);
	struct stat sb;

	if (fstat(sp->fd, &sb) < 0)
		return fail_stage(dir, sp->name, errno, "stat stage", err);
	if ((uint64_t)sb.st_size < size)
		return stow_fail(err, STOW_DATA_LOSS,
				 "stage %s: its file ends at %jd bytes, but it had %" PRIu64, sp->name,
				 (intmax_t)sb.st_size, size);
	if ((uint64_t)sb.st_size > size) {
		if (ftruncate(sp->fd, (off_t)size) < 0)
			return fail_stage(dir, sp->name, errno, "cut stage", err);
		atomic_fetch_add(&sp->changes, 1);
	}
	return sync_bytes(sp, err);
}

void spool_close(struct spool *sp)
{
	if (!sp->moved && atomic_load(&sp->sync_errno) != 0)
		(void)!ftruncate(sp->fd, (off_t)atomic_load(&sp->durable));
	fd_closep(&sp->fd);
}
