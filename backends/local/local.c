#include "backends/backends.h"
#include "backends/local/local_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define LOCAL_MAGIC 0x10ca1001u
#define LOCAL_BLOB_MAGIC 0x10ca1002u

struct local_blob {
	struct blob base;
	unsigned magic;
	int fd;
	struct digest digest; /* for messages */
};

struct local *local_from(struct backend *b)
{
	struct local *l = CONTAINER_OF(b, struct local, base);

	CHECK_OBJ(l, LOCAL_MAGIC);
	return l;
}

static struct local_blob *local_blob_from(struct blob *blob)
{
	struct local_blob *lb = CONTAINER_OF(blob, struct local_blob, base);

	CHECK_OBJ(lb, LOCAL_BLOB_MAGIC);
	return lb;
}

static int fail_blob(const struct dir *dir, const struct digest *d, int e, const char *what,
		     struct stow_err *err)
{
	char text[DIGEST_STR_MAX], hex[DIGEST_HEX_MAX];

	if (e == ENOENT) {
		digest_format(d, text);
		return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found", text);
	}
	digest_format_hex(d, hex);
	return stow_fail_errno(err, e, "%s %s/%s", what, dir->path, hex);
}

/* Something else than a file has a blob's name: a person has put it there and should hear of it. */
static int fail_foreign(const struct dir *dir, const char *hex, struct stow_err *err)
{
	return stow_fail(err, STOW_INTERNAL, "%s/%s: not a regular file", dir->path, hex);
}

static int64_t time_ns(const struct timespec *t)
{
	return t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

static struct blob_stat stat_of_file(const struct stat *sb)
{
	return (struct blob_stat){
		.size = (uint64_t)sb->st_size,
		.modified_ns = time_ns(&sb->st_mtim),
		.used_ns = time_ns(&sb->st_atim),
	};
}

static int local_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		      struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->alg[d->alg];
	char hex[DIGEST_HEX_MAX];
	struct stat sb;

	digest_format_hex(d, hex);
	if (fstatat(dir->fd, hex, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_blob(dir, d, errno, "stat", err);
	if (!S_ISREG(sb.st_mode))
		return fail_foreign(dir, hex, err);
	*ret_st = stat_of_file(&sb);
	return 0;
}

static int local_open(struct backend *b, const struct digest *d, unsigned flags UNUSED,
		      struct blob **ret_blob, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->alg[d->alg];
	CLEANUP(fd_closep) int fd = -1;
	char hex[DIGEST_HEX_MAX];
	struct local_blob *lb;
	struct stat sb;

	digest_format_hex(d, hex);
	/* O_NONBLOCK, so that a FIFO of that name cannot stop us; it means nothing for files. */
	fd = openat(dir->fd, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ELOOP)
		return fail_foreign(dir, hex, err);
	if (fd < 0 || fstat(fd, &sb) < 0)
		return fail_blob(dir, d, errno, "open", err);
	if (!S_ISREG(sb.st_mode))
		return fail_foreign(dir, hex, err);

	lb = x_calloc(1, sizeof(*lb));
	lb->base = (struct blob){ .backend = b, .size = (uint64_t)sb.st_size };
	lb->magic = LOCAL_BLOB_MAGIC;
	lb->digest = *d;
	lb->fd = fd;
	fd = -1;
	*ret_blob = &lb->base;
	return 0;
}

static void local_close(struct blob *blob)
{
	struct local_blob *lb = local_blob_from(blob);

	fd_closep(&lb->fd);
	FREE_OBJ(lb);
}

/* True if all `n` bytes were in the page cache. Anything short of that, an error and the file's end
 * included, is left to the read that may wait: it has the time to say what is wrong. */
static bool read_nowait(const struct local *l, int fd, void *to, size_t n, uint64_t off)
{
	size_t done = 0;

	if (l->ingest.in_ram) /* which has no RWF_NOWAIT, and no need of it */
		return pread_full(fd, to, n, off) == (ssize_t)n;
	while (done < n) {
		struct iovec v = { .iov_base = (char *)to + done, .iov_len = n - done };
		ssize_t r = preadv2(fd, &v, 1, (off_t)(off + done), RWF_NOWAIT);

		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

static int local_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		       struct stow_err *err)
{
	const struct local *l = local_from(blob->backend);
	struct local_blob *lb = local_blob_from(blob);
	char text[DIGEST_STR_MAX];
	ssize_t r;

	/* The size that the handle was opened with is the blob's, whatever was done to the file. */
	if (off >= blob->size)
		n = 0;
	else if (n > blob->size - off)
		n = (size_t)(blob->size - off);

	if ((flags & BACKEND_READ_NOWAIT) != 0) {
		if (!read_nowait(l, lb->fd, to, n, off))
			return stow_fail(err, STOW_UNAVAILABLE, "not in memory");
		*ret_n = n;
		return 0;
	}
	r = pread_full(lb->fd, to, n, off);
	if (r < 0)
		return fail_blob(&l->alg[lb->digest.alg], &lb->digest, errno, "read", err);
	if ((size_t)r < n) {
		digest_format(&lb->digest, text);
		return stow_fail(err, STOW_DATA_LOSS,
				 "blob %s: its file ends at %" PRIu64 " bytes, but it had %" PRIu64, text,
				 off + (uint64_t)r, blob->size);
	}
	*ret_n = n;
	return 0;
}

/* The directory is not synced: a blob that comes back after a power loss is one without a row, which
 * the store deals with at start as with any other. */
static int local_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->alg[d->alg];
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	if (unlinkat(dir->fd, hex, 0) < 0)
		return fail_blob(dir, d, errno, "remove", err);
	return 0;
}

struct scan {
	enum digest_alg alg;
	backend_blob_visit *visit;
	void *arg;
};

static int scan_name(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	const struct scan *scan = arg;
	struct stow_err ignored;
	struct digest d;
	struct stat sb;

	if (digest_parse_hex(&d, scan->alg, name, strlen(name), &ignored) < 0)
		return 0;
	if (fstatat(dir->fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail_blob(dir, &d, errno, "stat", err);
	if (!S_ISREG(sb.st_mode))
		return 0;
	struct blob_stat st = stat_of_file(&sb);
	return scan->visit(scan->arg, &d, &st, err);
}

static int local_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	struct local *l = local_from(b);

	for (int alg = DIGEST_NONE + 1; alg < DIGEST_ALG_COUNT; alg++) {
		struct scan scan = { .alg = (enum digest_alg)alg, .visit = visit, .arg = arg };

		if (dir_each(&l->alg[alg], scan_name, &scan, err) < 0)
			return -1;
	}
	return 0;
}

/* --- for a cache --- */

/* Recent enough: a time for each read would be a write for each. */
static const int64_t TOUCH_NS = 60 * NSEC_PER_SEC;

/* The time of use is the file's atime, set by us, since mounts with noatime do not, and relatime does so
 * once a day. Nothing is lost if it cannot be set: then the blob seems older than it is. */
static void local_touch(struct backend *b, const struct digest *d)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
	const struct dir *dir = &local_from(b)->alg[d->alg];
	char hex[DIGEST_HEX_MAX];
	struct stat sb;

	digest_format_hex(d, hex);
	if (fstatat(dir->fd, hex, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode) &&
	    clock_wall_ns() - time_ns(&sb.st_atim) > TOUCH_NS)
		(void)utimensat(dir->fd, hex, times, AT_SYMLINK_NOFOLLOW);
}

static int local_space(struct backend *b, uint64_t *ret_free, uint64_t *ret_total, struct stow_err *err)
{
	const struct dir *dir = &local_from(b)->blobs;
	struct statvfs v;

	if (fstatvfs(dir->fd, &v) < 0)
		return stow_fail_errno(err, errno, "space of %s", dir->path);
	*ret_free = (uint64_t)v.f_bavail * v.f_frsize;
	*ret_total = (uint64_t)v.f_blocks * v.f_frsize;
	return 0;
}

static void local_free(struct backend *b)
{
	struct local *l = local_from(b);

	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++)
		dir_close(&l->alg[alg]);
	dir_close(&l->blobs);
	spool_dir_close(&l->ingest);
	dir_close(&l->root);
	FREE_OBJ(l);
}

static const struct backend_ops local_ops = {
	.name = "local",
	.free = local_free,
	.stat = local_stat,
	.open = local_open,
	.close = local_close,
	.pread = local_pread,
	.remove = local_remove,
	.scan = local_scan,
	.stage_create = local_stage_create,
	.stage_resume = local_stage_resume,
	.stage_write = local_stage_write,
	.stage_truncate = local_stage_truncate,
	.stage_sync = local_stage_sync,
	.stage_pread = local_stage_pread,
	.stage_publish = local_stage_publish,
	.stage_close = local_stage_close,
	.stage_discard = local_stage_discard,
	.stage_scan = local_stage_scan,
	.touch = local_touch,
	.space = local_space,
};

static int open_below(struct dir *dir, const struct dir *parent, const char *name, struct stow_err *err)
{
	return dir_open(dir, parent->fd, name, x_asprintf("%s/%s", parent->path, name), err);
}

int local_new(const char *path, struct backend **ret_b, struct stow_err *err)
{
	struct local *l = x_calloc(1, sizeof(*l));
	CLEANUP(backend_freep) struct backend *b = &l->base;

	l->base.ops = &local_ops;
	l->magic = LOCAL_MAGIC;
	if (dir_open(&l->root, AT_FDCWD, path, x_strdup(path), err) < 0 ||
	    open_below(&l->blobs, &l->root, "blobs", err) < 0 ||
	    spool_dir_open(&l->ingest, &l->root, err) < 0)
		return -1;
	for (int alg = DIGEST_NONE + 1; alg < DIGEST_ALG_COUNT; alg++) {
		if (open_below(&l->alg[alg], &l->blobs, digest_alg_name((enum digest_alg)alg), err) < 0)
			return -1;
	}
	*ret_b = TAKE(b);
	return 0;
}
