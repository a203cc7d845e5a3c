#include "cmd/import_place.h"

#include "cmd/access.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

enum { CHUNK = 1 << 20 };

/* What the directory would be like, if we made it. */
static int foresee(const char *dir, struct stat *ret_st, struct stow_err *err)
{
	CLEANUP(freep) char *at = access_existing(dir);

	if (stat(at, ret_st) < 0)
		return stow_fail_errno(err, errno, "stat directory %s", at);
	ret_st->st_uid = geteuid();
	return 0;
}

int place_open(struct place *p, const struct conf *c, struct stow_err *err)
{
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++) {
		const char *name = digest_alg_name((enum digest_alg)alg);
		CLEANUP(freep) char *dir = x_asprintf("%s/blobs/%s", c->local.path, name ? name : "");

		p->alg[alg] = name ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (name && p->alg[alg] < 0 && errno != ENOENT)
			return stow_fail_errno(err, errno, "open directory %s", dir);
		if (p->alg[alg] >= 0 && fstat(p->alg[alg], &p->st[alg]) < 0)
			return stow_fail_errno(err, errno, "stat directory %s", dir);
		if (name && p->alg[alg] < 0 && foresee(dir, &p->st[alg], err) < 0)
			return -1;
	}
	return 0;
}

void place_close(struct place *p)
{
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++)
		if (p->alg[alg] > 0)
			fd_closep(&p->alg[alg]);
}

int place_lookup(const struct place *p, const struct digest *d, uint64_t *ret_size, struct stow_err *err)
{
	char hex[DIGEST_HEX_MAX];
	struct stat st;

	digest_format_hex(d, hex);
	if (p->alg[d->alg] < 0)
		return stow_fail_errno(err, ENOENT, "open directory");
	if (fstatat(p->alg[d->alg], hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return stow_fail_errno(err, errno, "look into the store");
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

bool place_can_link(const struct place *p, const struct digest *d, const struct stat *st)
{
	const struct stat *to = &p->st[d->alg];

	if (p->copy_only || st->st_dev != to->st_dev)
		return false;
	/* Whoever can write to the file could change the blob. The store's directory tells who will
	 * have to read it. */
	if ((st->st_uid != 0 && st->st_uid != to->st_uid) || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return false;
	return to->st_uid == 0 || st->st_uid == to->st_uid || (st->st_mode & S_IROTH) != 0;
}

/* --- reading --- */

/* Reads all of `fd` and hashes it; if `to` is not NULL, it gets the bytes, too. */
static int drain(struct place *p, int fd, const struct digest *d, struct stage *to, uint64_t *ret_n,
		 struct stow_err *err)
{
	CLEANUP(freep) uint8_t *chunk = x_malloc(CHUNK);
	CLEANUP(hash_freep) struct hash *hash = hash_new((enum digest_alg)d->alg);
	char text[DIGEST_STR_MAX];
	struct digest found;
	uint64_t off = 0;

	for (;;) {
		ssize_t n = pread(fd, chunk, CHUNK, (off_t)off);
		struct iovec v = { .iov_base = chunk, .iov_len = n > 0 ? (size_t)n : 0 };

		if (atomic_load(p->stop))
			return stow_fail(err, STOW_CANCELLED, "interrupted");
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stow_fail_errno(err, errno, "read");
		if (n == 0)
			break;
		hash_update(hash, chunk, (size_t)n);
		if (to && stage_write(to, &v, 1, off, err) < 0)
			return -1;
		off += (size_t)n;
		progress_add(p->progress, (size_t)n, clock_mono_ns());
	}
	hash_digest(hash, &found);
	digest_format(&found, text);
	if (!digest_equal(&found, d))
		return stow_fail(err, STOW_DATA_LOSS, "left out: the digest of its bytes is %s", text);
	*ret_n = off;
	return 0;
}

/* --- copying --- */

static void make_stage_name(char out[STAGE_NAME_LEN + 1])
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		x_abort("the system has no random numbers");
	snprintf(out, STAGE_NAME_LEN + 1, "%016llx", (unsigned long long)random);
}

static int copy(struct place *p, int fd, const struct digest *d, struct stow_err *err)
{
	CLEANUP(stage_closep) struct stage *st = NULL;
	char name[STAGE_NAME_LEN + 1];
	struct stage_hint hint = { .digest = *d };
	struct stow_err ignored;
	uint64_t n;

	make_stage_name(name);
	if (backend_stage_create(p->backend, name, &hint, &st, err) < 0)
		return -1;
	if (drain(p, fd, d, st, &n, err) < 0 || stage_publish(st, d, err) < 0) {
		(void)!backend_stage_discard(p->backend, name, &ignored);
		return -1;
	}
	p->bytes += n;
	return 0;
}

/* --- linking --- */

/* Failures for which a copy is the way out; the rest (no space, an error of the disk) would hit the
 * copy as well. EPERM: protected_hardlinks, or a filesystem without hard links; ENOENT: no /proc. */
static bool copy_helps(int e)
{
	return e == EXDEV || e == EMLINK || e == EPERM || e == EACCES || e == EOPNOTSUPP || e == ENOENT;
}

/* The order: the bytes are proven and made durable, then they get their name, whole from the first
 * moment on; the name is made durable by place_sync(), before there is a record of it. It is the file
 * that was read which is linked, whatever its old name leads to by now. */
static int hash_and_link(struct place *p, int fd, const struct digest *d, enum placed *ret_how,
			 struct stow_err *err)
{
	CLEANUP(freep) char *self = x_asprintf("/proc/self/fd/%d", fd);
	uint64_t before = p->progress->done, n;
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	if (drain(p, fd, d, NULL, &n, err) < 0)
		return -1;
	if (fdatasync(fd) < 0)
		return stow_fail_errno(err, errno, "sync");
	if (linkat(AT_FDCWD, self, p->alg[d->alg], hex, AT_SYMLINK_FOLLOW) == 0) {
		p->unsynced[d->alg] = true;
		p->bytes += n;
		*ret_how = PLACED_LINK;
		return 0;
	}
	if (errno == EEXIST) {
		*ret_how = PLACED_ALREADY;
		return 0;
	}
	if (!copy_helps(errno))
		return stow_fail_errno(err, errno, "link");
	p->progress->done = before; /* once more */
	*ret_how = PLACED_COPY;
	return copy(p, fd, d, err);
}

int place_blob(struct place *p, const struct source *s, const struct digest *d, enum placed *ret_how,
	       struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;

	if (source_file(s, d, &fd, &st, err) < 0)
		return -1;
	if (place_can_link(p, d, &st))
		return hash_and_link(p, fd, d, ret_how, err);
	*ret_how = PLACED_COPY;
	return copy(p, fd, d, err);
}

int place_sync(struct place *p, struct stow_err *err)
{
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++) {
		if (!p->unsynced[alg])
			continue;
		if (fsync(p->alg[alg]) < 0)
			return stow_fail_errno(err, errno, "sync the store's directory blobs/%s",
					       digest_alg_name((enum digest_alg)alg));
		p->unsynced[alg] = false;
	}
	return 0;
}
