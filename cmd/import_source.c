#include "cmd/import_source.h"

#include "content/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

static const char CONTAINERD_STORE[] = "io.containerd.content.v1.content";

/* A containerd root is named more easily than the directory in it. */
static int fail_form(const char *path, struct stow_err *err)
{
	CLEANUP(freep) char *inner = x_asprintf("%s/%s", path, CONTAINERD_STORE);
	CLEANUP(freep) char *blobs = x_asprintf("%s/blobs", inner);

	if (access(path, F_OK) < 0)
		return stow_fail_errno(err, errno, "%s", path);
	if (access(blobs, F_OK) == 0)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%s has no blobs/<algorithm>, but %s has", path,
				 inner);
	return stow_fail(
		err, STOW_INVALID_ARGUMENT,
		"%s has no blobs/<algorithm>: it is no containerd content directory, and no OCI image "
		"layout",
		path);
}

int source_open(struct source *s, const char *path, struct stow_err *err)
{
	bool any = false;

	s->path = x_strdup(path);
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++) {
		const char *name = digest_alg_name((enum digest_alg)alg);
		CLEANUP(freep) char *dir = x_asprintf("%s/blobs/%s", path, name ? name : "");

		s->alg[alg] = name ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (name && s->alg[alg] < 0 && errno != ENOENT && errno != ENOTDIR) {
			int e = errno;

			while (++alg < DIGEST_ALG_COUNT)
				s->alg[alg] = -1;
			return stow_fail_errno(err, e, "open directory %s", dir);
		}
		any = any || s->alg[alg] >= 0;
	}
	return any ? 0 : fail_form(path, err);
}

void source_close(struct source *s)
{
	if (!s->path)
		return;
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++)
		fd_closep(&s->alg[alg]);
	free(s->path);
	*s = (struct source){ 0 };
}

static void stream_closep(DIR **stream)
{
	if (*stream)
		(void)closedir(*stream);
}

static int each_of(const struct source *s, enum digest_alg alg, source_visit *visit, void *arg,
		   struct stow_err *err)
{
	CLEANUP(stream_closep) DIR *stream = NULL;
	const struct dirent *entry;
	/* Opened anew, for a position of its own. */
	int fd = openat(s->alg[alg], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		stream = fdopendir(fd);
	if (!stream) {
		stow_fail_errno(err, errno, "list %s/blobs/%s", s->path, digest_alg_name(alg));
		fd_closep(&fd);
		return -1;
	}
	while (errno = 0, (entry = readdir(stream)) != NULL) {
		struct stow_err ignored;
		struct digest d;
		struct stat st;

		if (digest_parse_hex(&d, alg, entry->d_name, strlen(entry->d_name), &ignored) < 0)
			continue;
		if (fstatat(s->alg[alg], entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* gone meanwhile */
		if (visit(arg, &d, &st, err) < 0)
			return -1;
	}
	if (errno)
		return stow_fail_errno(err, errno, "list %s/blobs/%s", s->path, digest_alg_name(alg));
	return 0;
}

int source_each(const struct source *s, source_visit *visit, void *arg, struct stow_err *err)
{
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++)
		if (s->alg[alg] >= 0 && each_of(s, (enum digest_alg)alg, visit, arg, err) < 0)
			return -1;
	return 0;
}

int source_file(const struct source *s, const struct digest *d, int *ret_fd, struct stat *ret_st,
		struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = -1;
	char hex[DIGEST_HEX_MAX];
	struct stat st;

	digest_format_hex(d, hex);
	/* O_NONBLOCK, so that a FIFO of that name cannot stop us; it means nothing for files. */
	fd = openat(s->alg[d->alg], hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ELOOP)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "a symbolic link, not a regular file");
	if (fd < 0 || fstat(fd, &st) < 0)
		return stow_fail_errno(err, errno, "open");
	if (!S_ISREG(st.st_mode))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "not a regular file");
	*ret_fd = fd;
	*ret_st = st;
	fd = -1;
	return 0;
}
