#include "backends/dir.h"

#include "content/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int fsync_fd(int fd)
{
	while (fsync(fd) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return 0;
}

/* A new directory's name is as durable as a new file's: not before its parent has been synced. */
static int sync_parent(int fd)
{
	CLEANUP(fd_closep) int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return up < 0 ? -1 : fsync_fd(up);
}

int dir_open(struct dir *dir, int parent, const char *name, char *path, struct stow_err *err)
{
	bool made;

	*dir = (struct dir){ .fd = -1, .path = path };
	lock_init(&dir->lock, RANK_BACKEND);
	lock_cond_init(&dir->cond);

	made = mkdirat(parent, name, 0700) == 0;
	if (!made && errno != EEXIST)
		return stow_fail_errno(err, errno, "make directory %s", path);
	dir->fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return stow_fail_errno(err, errno, "open directory %s", path);
	if (made && sync_parent(dir->fd) < 0)
		return stow_fail_errno(err, errno, "sync the directory that holds %s", path);
	return 0;
}

void dir_close(struct dir *dir)
{
	if (dir->path == NULL)
		return;
	assert(!dir->running);
	fd_closep(&dir->fd);
	pthread_cond_destroy(&dir->cond);
	lock_destroy(&dir->lock);
	free(dir->path);
	*dir = (struct dir){ 0 };
}

/* A follower may learn of the failure of a later sync than its own; then it reports a failure for a
 * name that is durable, which is the harmless mistake of the two. */
int dir_sync(struct dir *dir, struct stow_err *err)
{
	LOCK_SCOPE(&dir->lock);
	uint64_t mine = dir->started + 1;

	while (dir->finished < mine) {
		int e = 0;

		if (dir->running) {
			lock_wait(&dir->lock, &dir->cond);
			continue;
		}
		/* Nobody leads, so this thread does, and its followers gather for the next one. */
		dir->running = true;
		dir->started++;
		lock_release(&dir->lock);
		if (fsync_fd(dir->fd) < 0)
			e = errno;
		lock_take(&dir->lock);
		dir->running = false;
		dir->finished = dir->started;
		if (e != 0) {
			dir->failed = dir->finished;
			dir->failed_errno = e;
		}
		pthread_cond_broadcast(&dir->cond);
	}
	if (dir->failed >= mine)
		return stow_fail_errno(err, dir->failed_errno, "sync directory %s", dir->path);
	return 0;
}

static void dir_stream_closep(DIR **stream)
{
	if (*stream != NULL)
		(void)closedir(*stream);
}

int dir_each(struct dir *dir, dir_visit *visit, void *arg, struct stow_err *err)
{
	CLEANUP(dir_stream_closep) DIR *stream = NULL;
	/* Opened anew: the position of dir->fd would be shared by all threads. */
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		stream = fdopendir(fd);
	if (stream == NULL) {
		int e = errno;

		fd_closep(&fd);
		return stow_fail_errno(err, e, "list directory %s", dir->path);
	}
	for (;;) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(stream);
		if (entry == NULL)
			break;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (visit(arg, dir, entry->d_name, err) < 0)
			return -1;
	}
	if (errno != 0)
		return stow_fail_errno(err, errno, "list directory %s", dir->path);
	return 0;
}

ssize_t pread_full(int fd, void *to, size_t n, uint64_t off)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)to + done, n - done, (off_t)(off + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}
