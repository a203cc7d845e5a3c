/* A directory that others fill and that we only read: the storage of a registry's cache, or another store's
 * blobs. */
#include "backends/dir.h"

#include "backends/backends.h"
#include "backends/read_only.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define SOURCE_MAGIC 0x50cce001u
#define SOURCE_BLOB_MAGIC 0x50cce002u

struct source {
	struct backend base;
	unsigned magic;
	int fd;
	char *path; /* for messages */
	enum source_layout layout;
};

struct source_blob {
	struct blob base;
	unsigned magic;
	int fd;
	struct digest digest; /* for messages */
};

static struct source *source_from(struct backend *b)
{
	struct source *s = CONTAINER_OF(b, struct source, base);

	CHECK_OBJ(s, SOURCE_MAGIC);
	return s;
}

static struct source_blob *blob_from(struct blob *blob)
{
	struct source_blob *sb = CONTAINER_OF(blob, struct source_blob, base);

	CHECK_OBJ(sb, SOURCE_BLOB_MAGIC);
	return sb;
}

/* --- names --- */

const char *source_dir_top(enum source_layout layout)
{
	return layout == SOURCE_REGISTRY ? "docker/registry/v2/blobs" : "blobs";
}

static const char *top_of(const struct source *s)
{
	return source_dir_top(s->layout);
}

enum { NAME_MAX_LEN = sizeof("docker/registry/v2/blobs/sha512/ab//data") + DIGEST_HEX_MAX };

static void name_of(const struct source *s, const struct digest *d, char ret_name[NAME_MAX_LEN])
{
	const char *alg = digest_alg_name((enum digest_alg)d->alg);
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	if (s->layout == SOURCE_REGISTRY)
		snprintf(ret_name, NAME_MAX_LEN, "%s/%s/%.2s/%s/data", top_of(s), alg, hex, hex);
	else
		snprintf(ret_name, NAME_MAX_LEN, "%s/%s/%s", top_of(s), alg, hex);
}

static int fail_at(const struct source *s, const struct digest *d, int e, const char *what,
		   struct stow_err *err)
{
	char text[DIGEST_STR_MAX], name[NAME_MAX_LEN];

	if (e == ENOENT || e == ENOTDIR) {
		digest_format(d, text);
		return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found in %s", text, s->path);
	}
	name_of(s, d, name);
	return stow_fail_errno(err, e, "%s %s/%s", what, s->path, name);
}

static struct blob_stat stat_of(const struct stat *sb)
{
	return (struct blob_stat){
		.size = (uint64_t)sb->st_size,
		.modified_ns = sb->st_mtim.tv_sec * NSEC_PER_SEC + sb->st_mtim.tv_nsec,
	};
}

/* --- blobs --- */

static int source_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		       struct stow_err *err)
{
	struct source *s = source_from(b);
	char name[NAME_MAX_LEN];
	struct stat sb;

	name_of(s, d, name);
	if (fstatat(s->fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_at(s, d, errno, "stat", err);
	if (!S_ISREG(sb.st_mode))
		return stow_fail(err, STOW_INTERNAL, "%s/%s: not a regular file", s->path, name);
	*ret_st = stat_of(&sb);
	return 0;
}

/* The directory may be on another machine: there is no telling what waits for it. */
static int fail_far(struct stow_err *err)
{
	return stow_fail(err, STOW_UNAVAILABLE, "not in memory");
}

/* A file that is written again has another time; one that is put in its place is another one. */
static uint64_t version_of(const struct stat *sb)
{
	const uint64_t tag[] = { sb->st_dev, sb->st_ino, (uint64_t)sb->st_mtim.tv_sec,
				 (uint64_t)sb->st_mtim.tv_nsec };

	return blob_version(tag, sizeof(tag));
}

/* By a name that is new, so that the cache of a filesystem on the network does not know it. */
static int source_probe(struct backend *b, struct stow_err *err)
{
	struct source *s = source_from(b);
	char name[NAME_MAX_LEN];
	struct stat sb;

	snprintf(name, sizeof(name), "%s/probe-%llx", top_of(s), (unsigned long long)clock_wall_ns());
	if (fstatat(s->fd, name, &sb, 0) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return stow_fail_errno(err, errno, "stat %s/%s", s->path, name);
}

static int source_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		       struct stow_err *err)
{
	struct source *s = source_from(b);
	CLEANUP(fd_closep) int fd = -1;
	char name[NAME_MAX_LEN];
	struct source_blob *blob;
	struct stat sb;

	if ((flags & (BACKEND_READ_NOWAIT | BACKEND_READ_NEAR)) != 0)
		return fail_far(err);
	name_of(s, d, name);
	/* O_NONBLOCK, so that a FIFO of that name cannot stop us; it means nothing for files. */
	fd = openat(s->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &sb) < 0)
		return fail_at(s, d, errno, "open", err);
	if (!S_ISREG(sb.st_mode))
		return stow_fail(err, STOW_INTERNAL, "%s/%s: not a regular file", s->path, name);
	blob = x_calloc(1, sizeof(*blob));
	blob->base = (struct blob){ .backend = b, .size = (uint64_t)sb.st_size, .version = version_of(&sb) };
	blob->magic = SOURCE_BLOB_MAGIC;
	blob->digest = *d;
	blob->fd = fd;
	fd = -1;
	*ret_blob = &blob->base;
	return 0;
}

static void source_close(struct blob *b)
{
	struct source_blob *blob = blob_from(b);

	fd_closep(&blob->fd);
	FREE_OBJ(blob);
}

static int source_pread(struct blob *b, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
			struct stow_err *err)
{
	struct source_blob *blob = blob_from(b);
	ssize_t r;

	if ((flags & (BACKEND_READ_NOWAIT | BACKEND_READ_NEAR)) != 0)
		return fail_far(err);
	if (off >= b->size)
		n = 0;
	else if (n > b->size - off)
		n = (size_t)(b->size - off);
	r = pread_full(blob->fd, to, n, off);
	if (r < 0)
		return fail_at(source_from(b->backend), &blob->digest, errno, "read", err);
	if ((size_t)r < n)
		return stow_fail(err, STOW_DATA_LOSS, "%s: a file ends at %llu bytes, but it had %llu",
				 source_from(b->backend)->path, (unsigned long long)off + (size_t)r,
				 (unsigned long long)b->size);
	*ret_n = n;
	return 0;
}

/* --- all of them --- */

struct scan {
	struct source *source;
	enum digest_alg alg;
	backend_blob_visit *visit;
	void *arg;
};

/* Visits what is called so, if it is a digest and is there. */
static int see(struct scan *scan, const char *hex, struct stow_err *err)
{
	struct stow_err ignored;
	struct blob_stat st;
	struct digest d;

	if (digest_parse_hex(&d, scan->alg, hex, strlen(hex), &ignored) < 0 ||
	    source_stat(&scan->source->base, &d, &st, &ignored) < 0)
		return 0;
	return scan->visit(scan->arg, &d, &st, err);
}

static int see_name(void *arg, struct dir *dir UNUSED, const char *name, struct stow_err *err)
{
	return see(arg, name, err);
}

/* dir_each() on a directory below that of the source; 0 where there is none. It is looked for first, since
 * dir_open() would make it. */
static int each_below(struct source *s, const char *name, dir_visit *visit, void *arg, struct stow_err *err)
{
	struct dir dir = { 0 };
	struct stat sb;
	int result;

	if (fstatat(s->fd, name, &sb, 0) < 0 || !S_ISDIR(sb.st_mode))
		return 0;
	result = dir_open(&dir, s->fd, name, x_asprintf("%s/%s", s->path, name), err);
	if (result == 0)
		result = dir_each(&dir, visit, arg, err);
	dir_close(&dir);
	return result;
}

/* One of the directories that a registry divides its blobs among: "ab". */
static int see_part(void *arg, struct dir *dir UNUSED, const char *part, struct stow_err *err)
{
	struct scan *scan = arg;
	char name[NAME_MAX_LEN];

	if (strlen(part) != 2)
		return 0;
	snprintf(name, sizeof(name), "%s/%s/%s", top_of(scan->source), digest_alg_name(scan->alg), part);
	return each_below(scan->source, name, see_name, scan, err);
}

static int source_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	struct source *s = source_from(b);
	char name[NAME_MAX_LEN];

	for (int alg = DIGEST_NONE + 1; alg < DIGEST_ALG_COUNT; alg++) {
		struct scan scan = { .source = s, .alg = (enum digest_alg)alg, .visit = visit, .arg = arg };

		snprintf(name, sizeof(name), "%s/%s", top_of(s), digest_alg_name(scan.alg));
		if (each_below(s, name, s->layout == SOURCE_REGISTRY ? see_part : see_name, &scan, err) < 0)
			return -1;
	}
	return 0;
}

/* --- start and end --- */

static void source_free(struct backend *b)
{
	struct source *s = source_from(b);

	fd_closep(&s->fd);
	free(s->path);
	FREE_OBJ(s);
}

static const struct behind_ops source_behind = { .look = source_stat, .probe = source_probe };

/* The slots of a stage are missing: none is ever made. */
static const struct backend_ops source_ops = {
	.name = "directory",
	.free = source_free,
	.stat = source_stat,
	.open = source_open,
	.close = source_close,
	.pread = source_pread,
	.remove = read_only_remove,
	.scan = source_scan,
	.stage_create = read_only_stage_create,
	.stage_resume = read_only_stage_resume,
	.stage_discard = read_only_stage_discard,
	.stage_scan = read_only_stage_scan,
	.behind = &source_behind,
};

int source_dir_new(const char *path, enum source_layout layout, struct backend **ret_b, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct source *s;

	if (fd < 0)
		return stow_fail_errno(err, errno, "source %s", path);
	s = x_calloc(1, sizeof(*s));
	s->base = (struct backend){ .ops = &source_ops, .remote = true, .far = BACKEND_FAR_ALL };
	s->magic = SOURCE_MAGIC;
	s->fd = fd;
	fd = -1;
	s->path = x_strdup(path);
	s->layout = layout;
	*ret_b = &s->base;
	return 0;
}
