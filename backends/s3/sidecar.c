#include "backends/s3/sidecar.h"

#include "content/base/buf.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define HEAD "stowage-upload 1"

enum {
	FILE_NAME_MAX = SENDING_RECORD_MAX + 40, /* a record's name, a time, an ending */
	/* A head, and all parts with the longest ETags, each line some 30 bytes more. */
	FILE_MAX = 4096 + S3_PARTS_MAX * (S3_ETAG_MAX + 40),
};

struct file_name {
	char s[FILE_NAME_MAX];
};

static struct file_name upload_file(const char *owner, const char *more)
{
	struct file_name name;

	snprintf(name.s, sizeof(name.s), "%s.upload%s", owner, more);
	return name;
}

static struct file_name abort_file(const char *owner)
{
	struct file_name name;

	snprintf(name.s, sizeof(name.s), "%s.%016" PRIx64 ".abort", owner, (uint64_t)clock_wall_ns());
	return name;
}

void sidecar_init(struct sidecar *sc)
{
	*sc = (struct sidecar){ .fd = -1 };
}

void sidecar_reset(struct sidecar *sc)
{
	free(sc->key);
	free(sc->parts);
	fd_closep(&sc->fd);
	sidecar_init(sc);
}

void sidecar_note(struct sidecar *sc, const struct s3_part *part)
{
	sc->parts = x_reallocarray(sc->parts, sc->n_parts + 1, sizeof(*sc->parts));
	sc->parts[sc->n_parts++] = *part;
}

/* --- reading --- */

/* The next line without its end; NULL if there is none that is whole. */
static char *next_line(char **at)
{
	char *line = *at, *end = strchr(line, '\n');

	if (end == NULL)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return line;
}

static const char *value_of(const char *line, const char *name)
{
	size_t n = strlen(name);

	return line != NULL && strncmp(line, name, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static bool parse_part(const char *text, struct s3_part *ret_part)
{
	struct s3_part part = { 0 };
	int at = 0;

	if (sscanf(text, "%u %" SCNu64 " %n", &part.number, &part.size, &at) != 2 || at == 0)
		return false;
	if (part.number == 0 || part.number > S3_PARTS_MAX || text[at] == '\0' ||
	    strlen(text + at) >= sizeof(part.etag))
		return false;
	memcpy(part.etag, text + at, strlen(text + at) + 1);
	*ret_part = part;
	return true;
}

static bool parse(struct sidecar *sc, char *text)
{
	const char *head = next_line(&text), *part;
	const char *key = value_of(next_line(&text), "key");
	const char *id = key != NULL ? value_of(next_line(&text), "id") : NULL;
	const char *size = id != NULL ? value_of(next_line(&text), "part-size") : NULL;
	struct s3_part found;

	if (size == NULL || strcmp(head, HEAD) != 0 || *key == '\0' || *id == '\0' ||
	    strlen(id) > S3_UPLOAD_ID_MAX || sscanf(size, "%" SCNu64, &sc->part_size) != 1 ||
	    sc->part_size < S3_PART_MIN || sc->part_size > S3_PUT_MAX)
		return false;
	sc->key = x_strdup(key);
	memcpy(sc->id, id, strlen(id) + 1);
	while ((part = value_of(next_line(&text), "part")) != NULL && parse_part(part, &found))
		sidecar_note(sc, &found);
	return true;
}

int sidecar_load_file(struct sidecar *sc, struct dir *dir, const char *file, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = openat(dir->fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	CLEANUP(freep) char *text = NULL;
	ssize_t n = -1;

	if (fd >= 0) {
		text = x_malloc(FILE_MAX + 1);
		n = pread_full(fd, text, FILE_MAX, 0);
	}
	if (n < 0 && errno == ENOENT)
		return stow_fail(err, STOW_NOT_FOUND, "%s/%s: not found", dir->path, file);
	if (n < 0)
		return stow_fail_errno(err, errno, "read %s/%s", dir->path, file);
	text[n] = '\0';
	if (parse(sc, text))
		return 0;
	sidecar_reset(sc);
	return stow_fail(err, STOW_DATA_LOSS, "%s/%s: not the record of an upload", dir->path, file);
}

int sidecar_load(struct sidecar *sc, struct dir *dir, const char *owner, struct stow_err *err)
{
	return sidecar_load_file(sc, dir, upload_file(owner, "").s, err);
}

/* --- writing --- */

/* What comes from a server must not be able to forge lines. */
static bool one_line(const char *s)
{
	return *s != '\0' && strpbrk(s, "\r\n") == NULL;
}

static int part_line(struct buf *b, const struct s3_part *part, struct stow_err *err)
{
	if (!one_line(part->etag))
		return 0;
	return buf_printf(b, err, "part %u %" PRIu64 " %s\n", part->number, part->size, part->etag);
}

static int write_text(int fd, const struct buf *b)
{
	for (size_t done = 0; done < b->len;) {
		ssize_t r = write(fd, b->p + done, b->len - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		done += (size_t)r;
	}
	return 0;
}

static int format(const struct sidecar *sc, struct buf *b, struct stow_err *err)
{
	if (!one_line(sc->key) || !one_line(sc->id))
		return stow_fail(err, STOW_INTERNAL, "the upload of %s has an id that is no line of text",
				 sc->key);
	if (buf_printf(b, err, HEAD "\nkey %s\nid %s\npart-size %" PRIu64 "\n", sc->key, sc->id,
		       sc->part_size) < 0)
		return -1;
	for (size_t i = 0; i < sc->n_parts; i++)
		if (part_line(b, &sc->parts[i], err) < 0)
			return -1;
	return 0;
}

int sidecar_save(struct sidecar *sc, struct dir *dir, const char *owner, struct stow_err *err)
{
	struct file_name name = upload_file(owner, ""), temp = upload_file(owner, ".new");
	CLEANUP(buf_free) struct buf b;
	CLEANUP(fd_closep) int fd = -1;

	buf_init(&b, FILE_MAX);
	if (format(sc, &b, err) < 0)
		return -1;
	fd = openat(dir->fd, temp.s, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write_text(fd, &b) < 0 || fdatasync(fd) < 0 ||
	    renameat(dir->fd, temp.s, dir->fd, name.s) < 0)
		return stow_fail_errno(err, errno, "write %s/%s", dir->path, name.s);
	if (dir_sync(dir, err) < 0)
		return -1;
	fd_closep(&sc->fd);
	sc->fd = fd;
	fd = -1;
	return 0;
}

void sidecar_add(struct sidecar *sc, const struct s3_part *part)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err ignored;

	sidecar_note(sc, part);
	buf_init(&b, S3_ETAG_MAX + 64);
	if (sc->fd >= 0 && part_line(&b, part, &ignored) == 0)
		(void)!write_text(sc->fd, &b);
}

void sidecar_remove(struct dir *dir, const char *owner)
{
	(void)unlinkat(dir->fd, upload_file(owner, "").s, 0);
	(void)unlinkat(dir->fd, upload_file(owner, ".new").s, 0);
}

static int rename_to(struct dir *dir, const char *from, struct file_name to, struct stow_err *err)
{
	if (renameat(dir->fd, from, dir->fd, to.s) < 0) {
		if (errno == ENOENT)
			return stow_fail(err, STOW_NOT_FOUND, "%s/%s: not found", dir->path, from);
		return stow_fail_errno(err, errno, "rename %s/%s", dir->path, from);
	}
	return dir_sync(dir, err);
}

int sidecar_condemn(struct dir *dir, const char *owner, struct stow_err *err)
{
	(void)unlinkat(dir->fd, upload_file(owner, ".new").s, 0);
	return rename_to(dir, upload_file(owner, "").s, abort_file(owner), err);
}

int sidecar_move(struct dir *dir, const char *owner, const char *to, struct stow_err *err)
{
	struct file_name from = upload_file(owner, ""), file = upload_file(to, "");

	if (renameat(dir->fd, from.s, dir->fd, file.s) == 0 || errno == ENOENT)
		return 0;
	return stow_fail_errno(err, errno, "rename %s/%s", dir->path, from.s);
}

/* --- names --- */

/* "<owner><suffix>" */
static bool name_of(const char *name, const char *suffix, char ret_owner[SENDING_RECORD_MAX])
{
	char owner[SENDING_RECORD_MAX] = { 0 };
	size_t n = strcspn(name, ".");

	if (n >= sizeof(owner) || strcmp(name + n, suffix) != 0)
		return false;
	memcpy(owner, name, n);
	if (!sending_record_ok(owner))
		return false;
	memcpy(ret_owner, owner, sizeof(owner));
	return true;
}

bool sidecar_name(const char *name, char ret_owner[SENDING_RECORD_MAX])
{
	return name_of(name, ".upload", ret_owner);
}

bool sidecar_name_condemned(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL && strcmp(dot, ".abort") == 0;
}

/* --- after a crash --- */

/* True if they are of two uploads, of which the record knows one alone. */
static bool is_another(const struct sidecar *saved, const struct sidecar *record)
{
	return strcmp(saved->key, record->key) != 0 || strcmp(saved->id, record->id) != 0;
}

static int recover_one(void *arg UNUSED, struct dir *dir, const char *name, struct stow_err *err)
{
	CLEANUP(sidecar_reset) struct sidecar saved = { .fd = -1 };
	CLEANUP(sidecar_reset) struct sidecar record = { .fd = -1 };
	char owner[SENDING_RECORD_MAX];

	if (!name_of(name, ".upload.new", owner))
		return 0;
	if (sidecar_load_file(&saved, dir, name, err) == 0) {
		if (sidecar_load(&record, dir, owner, err) < 0) {
			if (err->code == STOW_NOT_FOUND || err->code == STOW_DATA_LOSS)
				return rename_to(dir, name, upload_file(owner, ""), err);
			return -1;
		}
		if (is_another(&saved, &record))
			return rename_to(dir, name, abort_file(owner), err);
	} else if (err->code != STOW_DATA_LOSS) {
		return -1;
	}
	(void)unlinkat(dir->fd, name, 0);
	return 0;
}

int sidecar_recover(struct dir *dir, struct stow_err *err)
{
	return dir_each(dir, recover_one, NULL, err);
}
