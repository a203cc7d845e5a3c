/* Opening a store: its lock, its database, its strays. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

char *store_meta_path(const char *root)
{
	return x_asprintf("%s/meta.mdb", root);
}

char *store_lock_path(const char *root)
{
	return x_asprintf("%s/lock", root);
}

const char *store_node_id(const struct store *s)
{
	return meta_node_id(s->meta);
}

/* --- the lock --- */

static int fail_locked(int fd, const char *root, struct stow_err *err)
{
	char pid[32] = { 0 };
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	if (n > 0 && pid[n - 1] == '\n')
		pid[n - 1] = 0;
	return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is in use by the stowage process %s", root,
			 n > 0 ? pid : "(unknown)");
}

/* One process has a directory. The kernel gives the lock back when the process ends, however it ends. */
static int directory_lock(const char *root, int *ret_fd, struct stow_err *err)
{
	CLEANUP(freep) char *path = store_lock_path(root);
	CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

	if (fd < 0)
		return stow_fail_errno(err, errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return fail_locked(fd, root, err);
		return stow_fail_errno(err, errno, "lock %s", path);
	}
	/* The pid is for people; on a full disk the lock alone must do. */
	if (ftruncate(fd, 0) == 0)
		(void)!pwrite(fd, pid, (size_t)n, 0);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static bool same_directory(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The bytes have a lock of their own: two roots may name the same ones, and the second would take the
 * first one's stages for strays. */
static int lock_all(struct store *s, const struct store_options *o, struct stow_err *err)
{
	if (directory_lock(o->root, &s->lock_fd, err) < 0)
		return -1;
	if (!o->bytes || same_directory(o->root, o->bytes))
		return 0;
	return directory_lock(o->bytes, &s->bytes_lock_fd, err);
}

static int root_make(const char *root, struct stow_err *err)
{
	struct stat st;

	if (mkdir(root, 0700) < 0 && errno != EEXIST)
		return stow_fail_errno(err, errno, "make directory %s", root);
	if (stat(root, &st) < 0)
		return stow_fail_errno(err, errno, "%s", root);
	if (!S_ISDIR(st.st_mode))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is no directory", root);
	return 0;
}

/* --- the database --- */

/* Moves a damaged database away: it is kept for who wants to look, and the blobs speak for
 * themselves. */
static int set_aside(const char *path, char *ret_to, size_t size, struct stow_err *err)
{
	CLEANUP(freep) char *lock = x_asprintf("%s-lock", path);

	if ((size_t)snprintf(ret_to, size, "%s.damaged-%lld", path,
			     (long long)(clock_wall_ns() / NSEC_PER_SEC)) >= size)
		return stow_fail(err, STOW_INTERNAL, "%s: path is too long", path);
	if (rename(path, ret_to) < 0)
		return stow_fail_errno(err, errno, "rename %s to %s", path, ret_to);
	if (unlink(lock) < 0 && errno != ENOENT)
		return stow_fail_errno(err, errno, "remove %s", lock);
	return 0;
}

static int database_open(struct store *s, const char *root, struct store_opened *ret_o, struct stow_err *err)
{
	CLEANUP(freep) char *path = store_meta_path(root);

	if (meta_probe(path, err) < 0) {
		if (err->code != STOW_DATA_LOSS ||
		    set_aside(path, ret_o->set_aside, sizeof(ret_o->set_aside), err) < 0)
			return -1;
	}
	return meta_open(path, 0, 0, &s->meta, &ret_o->created, err);
}

/* --- strays --- */

struct known_stage {
	char name[STAGE_NAME_LEN + 1];
	char *ref;
	bool there;
};

struct known_stages {
	struct known_stage *v; /* sorted by name */
	size_t n;
	struct backend *backend;
	uint64_t removed;
};

static void known_stages_free(struct known_stages *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->v[i].ref);
	free(k->v);
}

static int note_stage(void *arg, const struct ingest_row *row, struct stow_err *err UNUSED)
{
	struct known_stages *k = arg;
	struct known_stage *s;

	k->v = x_reallocarray(k->v, k->n + 1, sizeof(*k->v));
	s = &k->v[k->n++];
	*s = (struct known_stage){ .ref = x_strdup(row->ref) };
	memcpy(s->name, row->stage, sizeof(s->name));
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct known_stage *)a)->name, ((const struct known_stage *)b)->name);
}

static int check_stage(void *arg, const char *name, struct stow_err *err)
{
	struct known_stages *k = arg;
	struct known_stage key = { 0 }, *found;

	memcpy(key.name, name, STAGE_NAME_LEN);
	found = k->n ? bsearch(&key, k->v, k->n, sizeof(*k->v), compare_names) : NULL;
	if (found) {
		found->there = true;
		return 0;
	}
	if (backend_stage_discard(k->backend, name, err) < 0 && err->code != STOW_NOT_FOUND)
		return -1;
	k->removed++;
	return 0;
}

/* Stages that no ingest knows are of a process that ended between two checkpoints; an ingest whose
 * stage is gone, of one that ended while it committed. Neither can be resumed. */
static int remove_strays(struct store *s, uint64_t *ret_n, struct stow_err *err)
{
	CLEANUP(known_stages_free) struct known_stages k = { .backend = s->backend };

	if (meta_ingests(s->meta, note_stage, &k, err) < 0)
		return -1;
	if (k.n)
		qsort(k.v, k.n, sizeof(*k.v), compare_names);
	if (backend_stage_scan(s->backend, check_stage, &k, err) < 0)
		return -1;
	for (size_t i = 0; i < k.n; i++)
		if (!k.v[i].there && meta_ingest_delete(s->meta, k.v[i].ref, err) < 0)
			return -1;
	*ret_n = k.removed;
	return 0;
}

/* --- open and close --- */

int store_open(const struct store_options *o, struct store **ret_s, struct store_opened *ret_o,
	       struct stow_err *err)
{
	CLEANUP(store_closep) struct store *s = x_calloc(1, sizeof(*s));

	*ret_o = (struct store_opened){ 0 };
	s->magic = STORE_MAGIC;
	s->lock_fd = s->bytes_lock_fd = -1;
	s->backend = o->backend;
	claims_init(&s->claims);
	refs_init(&s->refs);
	blobs_init(&s->blobs, LIMIT_OPEN_BLOBS);
	if (root_make(o->root, err) < 0 || lock_all(s, o, err) < 0 ||
	    database_open(s, o->root, ret_o, err) < 0 || remove_strays(s, &ret_o->strays, err) < 0)
		return -1;
	*ret_s = TAKE(s);
	return 0;
}

void store_use_pool(struct store *s, struct pool *p)
{
	CHECK_OBJ(s, STORE_MAGIC);
	s->pool = p;
}

void store_start(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	backend_start(s->backend, s->meta);
}

void store_stop(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	backend_stop(s->backend);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	CHECK_OBJ(s, STORE_MAGIC);
	blobs_destroy(&s->blobs);
	refs_destroy(&s->refs);
	claims_destroy(&s->claims);
	backend_free(s->backend); /* whose threads may read the database until then */
	meta_close(s->meta);
	fd_closep(&s->bytes_lock_fd);
	fd_closep(&s->lock_fd);
	FREE_OBJ(s);
}

void store_closep(struct store **s)
{
	store_close(*s);
}
