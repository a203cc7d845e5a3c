#include "backends/s3/file.h"

#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>

enum { WORD_MAX = 64 * 1024 }; /* web identity tokens have some KiB */

int file_read(const char *path, struct buf *b, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char piece[4096];
	ssize_t n;

	if (fd < 0)
		return stow_fail_errno(err, errno, "%s", path);
	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return stow_fail_errno(err, errno, "%s", path);
		if (buf_append(b, piece, (size_t)n, err) < 0)
			return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "%s is larger than %zu bytes", path,
					 b->max);
	}
	return 0;
}

int file_read_word(const char *path, char **ret_word, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf b;
	size_t from = 0, to;

	buf_init(&b, WORD_MAX);
	if (file_read(path, &b, err) < 0)
		return -1;
	to = b.len;
	while (to > 0 && strchr(" \t\r\n", b.p[to - 1]))
		to--;
	while (from < to && strchr(" \t\r\n", b.p[from]))
		from++;
	if (from == to)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%s is empty", path);
	for (size_t i = from; i < to; i++)
		if (b.p[i] <= 0x20 || b.p[i] > 0x7e)
			return stow_fail(err, STOW_INVALID_ARGUMENT,
					 "%s has a blank, a control character or a letter beyond ASCII in it",
					 path);
	*ret_word = x_strndup((const char *)b.p + from, to - from);
	return 0;
}
