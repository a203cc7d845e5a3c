/* Stages: a spool, which is a stage in full, and an upload beside it. The spool keeps all bytes until the
 * blob is in the bucket, so that nothing that the bucket does or does not do can lose any. */
#include "backends/s3/s3_internal.h"
#include "backends/s3/sidecar.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define STAGE_MAGIC 0x53330002u

struct s3_stage {
	struct stage base;
	unsigned magic;
	struct spool spool;
	struct upload *upload;
	bool sealed;

	/* Of the backend's list, under its lock. */
	struct s3_stage *next;
	bool discarded;
};

static struct s3_stage *stage_from(struct stage *st)
{
	struct s3_stage *ss = CONTAINER_OF(st, struct s3_stage, base);

	CHECK_OBJ(ss, STAGE_MAGIC);
	return ss;
}

static int read_spool(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	struct s3_stage *ss = arg;
	size_t got;

	if (spool_read(&ss->spool, to, n, off, &got, err) < 0)
		return -1;
	if (got < n)
		return stow_fail(err, STOW_DATA_LOSS, "stage %s: ends before the part that is sent",
				 ss->spool.name);
	return 0;
}

static struct s3_stage *stage_new(struct backend *b)
{
	struct s3_stage *ss = x_calloc(1, sizeof(*ss));

	assert(s3_from(b)->pool != NULL); /* made without a place for stages */
	ss->base = (struct stage){ .backend = b };
	ss->magic = STAGE_MAGIC;
	return ss;
}

static void list_stage(struct s3 *s, struct s3_stage *ss)
{
	LOCK_SCOPE(&s->lock);
	ss->next = s->open;
	s->open = ss;
}

int s3_stage_create(struct backend *b, const char *name, const struct stage_hint *hint, struct stage **ret_st,
		    struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct s3_stage *ss = stage_new(b);

	if (spool_create(&ss->spool, &s->ingest, name, err) < 0) {
		FREE_OBJ(ss);
		return -1;
	}
	ss->upload = upload_new(s, name, hint, read_spool, ss);
	list_stage(s, ss);
	*ret_st = &ss->base;
	return 0;
}

int s3_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
		    struct stage **ret_st, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct s3_stage *ss = stage_new(b);

	if (spool_resume(&ss->spool, &s->ingest, name, size, err) < 0) {
		FREE_OBJ(ss);
		return -1;
	}
	if (upload_resume(s, name, size, hint, read_spool, ss, &ss->upload, err) < 0) {
		spool_close(&ss->spool);
		FREE_OBJ(ss);
		return -1;
	}
	list_stage(s, ss);
	*ret_st = &ss->base;
	return 0;
}

int s3_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	struct s3_stage *ss = stage_from(st);

	if (spool_write(&ss->spool, iov, n, off, err) < 0)
		return -1;
	upload_advance(ss->upload, atomic_load(&ss->spool.size));
	return 0;
}

int s3_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	struct s3_stage *ss = stage_from(st);

	assert(size <= atomic_load(&ss->spool.size));
	if (size == atomic_load(&ss->spool.size))
		return 0;
	if (upload_rewind(ss->upload, err) < 0 || spool_truncate(&ss->spool, size, err) < 0)
		return -1;
	upload_advance(ss->upload, size);
	return 0;
}

int s3_stage_sync(struct stage *st, struct stow_err *err)
{
	assert(!stage_from(st)->sealed);
	return spool_sync(&stage_from(st)->spool, err);
}

int s3_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err)
{
	return spool_read(&stage_from(st)->spool, to, n, off, ret_n, err);
}

static bool stage_is_discarded(struct s3_stage *ss)
{
	struct s3 *s = s3_from(ss->base.backend);
	LOCK_SCOPE(&s->lock);

	return ss->discarded;
}

/* The order of durability: the bucket has the object, whole and under its name, when upload_finish() has
 * returned; only then the spool goes. A crash in between leaves a stage whose blob is there already, which
 * the next publish finds. Neither removal is synced: what a power loss brings back is such a stage. */
int s3_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	struct s3_stage *ss = stage_from(st);
	struct stow_err ignored;

	assert(!ss->sealed);
	if (stage_is_discarded(ss))
		return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", ss->spool.name);
	if (upload_finish(ss->upload, d, atomic_load(&ss->spool.size), false, err) < 0)
		return s3_fail_upload(err);
	(void)!spool_dir_remove(&s3_from(st->backend)->ingest, ss->spool.name, &ignored);
	ss->sealed = true;
	return 0;
}

/* Takes it off the list, after which a discard finds its files alone. Whether there was one before. */
static bool unlist_stage(struct s3 *s, struct s3_stage *ss)
{
	LOCK_SCOPE(&s->lock);
	struct s3_stage **at = &s->open;

	while (*at != ss)
		at = &(*at)->next;
	*at = ss->next;
	return ss->discarded;
}

void s3_stage_close(struct stage *st)
{
	struct s3_stage *ss = stage_from(st);
	struct s3 *s = s3_from(st->backend);
	struct stow_err ignored;

	upload_stop(ss->upload);
	/* Where this fails, the record stays without its spool, and stage_scan shows it. */
	if (unlist_stage(s, ss))
		(void)!upload_abandon(ss->upload, &ignored);
	upload_free(ss->upload);
	spool_close(&ss->spool);
	FREE_OBJ(ss);
}

/* An open stage gives up its upload when it is closed, which its user is about to do. */
static bool discard_open(struct s3 *s, const char *name)
{
	LOCK_SCOPE(&s->lock);
	struct s3_stage *ss = s->open;

	while (ss != NULL && strcmp(ss->spool.name, name) != 0)
		ss = ss->next;
	if (ss != NULL)
		ss->discarded = true;
	return ss != NULL;
}

int s3_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	bool condemned = false;

	if (!discard_open(s, name)) {
		/* The record first: without its spool it would be harder to find. */
		if (sidecar_condemn(&s->ingest.dir, name, err) == 0) {
			condemned = true;
			leftovers_poke(&s->leftovers);
		} else if (err->code != STOW_NOT_FOUND) {
			return -1;
		}
	}
	if (spool_dir_remove(&s->ingest, name, err) == 0)
		return 0;
	return condemned && err->code == STOW_NOT_FOUND ? 0 : -1;
}

struct scan {
	struct s3 *s;
	backend_stage_visit *visit;
	void *arg;
};

static bool is_open(struct s3 *s, const char *name)
{
	LOCK_SCOPE(&s->lock);
	const struct s3_stage *ss = s->open;

	while (ss != NULL && strcmp(ss->spool.name, name) != 0)
		ss = ss->next;
	return ss != NULL;
}

/* A record whose spool is gone is a stage too, unless its user is about to give it up: discarding it gives
 * the upload up. */
static int see_record(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	const struct scan *scan = arg;
	char stage[SENDING_RECORD_MAX];
	struct stat sb;

	if (!sidecar_name(name, stage) || !stage_name_ok(stage) || is_open(scan->s, stage) ||
	    fstatat(dir->fd, stage, &sb, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return scan->visit(scan->arg, stage, err);
}

int s3_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct scan scan = { .s = s, .visit = visit, .arg = arg };

	if (spool_dir_each(&s->ingest, visit, arg, err) < 0)
		return -1;
	return dir_each(&s->ingest.dir, see_record, &scan, err);
}
