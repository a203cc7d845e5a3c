/* Replays corpora: every file of the directories that are named goes through the fuzzer once. So what
 * was found in hours of fuzzing stays found in every build, with any compiler. */
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

/* False if it cannot be read. */
static bool replay_file(int dir, const char *name)
{
	CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	CLEANUP(freep) uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;

	/* Exactly as long as the input, so that a sanitizer sees one byte too many being read. */
	size_t size = (size_t)st.st_size;
	data = x_malloc(size);
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, data + done, size - done);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return LLVMFuzzerTestOneInput(data, size) == 0;
}

static int wanted(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Adds to *count; false if something could not be replayed. */
static bool replay_dir(const char *path, size_t *count)
{
	CLEANUP(fd_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries;
	int n = dir < 0 ? -1 : scandirat(dir, ".", &entries, wanted, alphasort);
	bool good = true;

	if (n < 0) {
		perror(path);
		return false;
	}
	for (int i = 0; i < n; i++) {
		if (!replay_file(dir, entries[i]->d_name)) {
			fprintf(stderr, "%s/%s: cannot be replayed\n", path, entries[i]->d_name);
			good = false;
		}
		free(entries[i]);
		++*count;
	}
	free(entries);
	return good;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	bool good = true;

	for (int i = 1; i < argc; i++)
		good = replay_dir(argv[i], &count) && good;
	printf("%zu inputs replayed\n", count);
	if (count == 0)
		fprintf(stderr, "no inputs: nothing has been tested\n");
	return good && count > 0 ? 0 : 1;
}
