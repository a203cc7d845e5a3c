#include "cmd/quarantine.h"

#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* Makes and opens a directory below `parent` (AT_FDCWD: a path), and makes its name durable. */
static int open_directory(int parent, const char *name, struct stow_err *err)
{
	CLEANUP(fd_closep) int up = -1;
	int fd;

	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return stow_fail_errno(err, errno, "make directory %s", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return stow_fail_errno(err, errno, "open directory %s", name);
	up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (up < 0 || fsync(up) < 0) {
		stow_fail_errno(err, errno, "sync the directory that holds %s", name);
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int move(const struct conf *c, const struct digest *d, char **ret_path, struct stow_err *err)
{
	const char *alg = digest_alg_name((enum digest_alg)d->alg);
	CLEANUP(freep) char *from = access_blob_path(c, d);
	CLEANUP(freep) char *top = x_asprintf("%s/quarantine", c->local.path);
	CLEANUP(fd_closep) int top_fd = open_directory(AT_FDCWD, top, err);
	CLEANUP(fd_closep) int alg_fd = top_fd < 0 ? -1 : open_directory(top_fd, alg, err);
	char hex[DIGEST_HEX_MAX], name[DIGEST_HEX_MAX + 24];

	if (alg_fd < 0)
		return stow_wrap(err, "quarantine");
	digest_format_hex(d, hex);
	snprintf(name, sizeof(name), "%s.%lld", hex, (long long)(clock_wall_ns() / NSEC_PER_SEC));
	if (renameat(AT_FDCWD, from, alg_fd, name) < 0) {
		if (errno == ENOENT)
			return 0; /* nothing to move */
		return stow_fail_errno(err, errno, "move %s to %s/%s/%s", from, top, alg, name);
	}
	*ret_path = x_asprintf("%s/%s/%s", top, alg, name);
	if (fsync(alg_fd) < 0)
		return stow_fail_errno(err, errno, "sync directory %s/%s", top, alg);
	return 0;
}

/* The bytes first: the owner, when it forgets, removes what it finds under the blob's name. A crash in
 * between leaves a record without bytes, which the daemon drops when it starts. */
int quarantine_blob(const struct conf *c, struct owner *o, const struct digest *d, char **ret_path,
		    struct stow_err *err)
{
	CLEANUP(freep) char *path = NULL;

	if (move(c, d, &path, err) < 0)
		return -1;
	if (owner_forget(o, d, err) < 0)
		return path ? stow_wrap(err, "moved to %s, but the record remains", path) : -1;
	*ret_path = TAKE(path);
	return 0;
}
