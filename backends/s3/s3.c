#include "backends/s3/s3.h"

#include "backends/read_only.h"
#include "backends/s3/s3_internal.h"
#include "backends/s3/sidecar.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#define BLOB_MAGIC 0x53330003u

/* Uploads that begin, hash or abort at once; the transfers themselves need no thread. */
enum { POOL_THREADS = 4 };

/* At an object that is recorded, before it is believed to be gone: some 150 ms. */
enum { OPEN_LOOKS = 3 };

struct s3_blob {
	struct blob base;
	unsigned magic;
	struct object *object;
};

struct s3 *s3_from(struct backend *b)
{
	struct s3 *s = CONTAINER_OF(b, struct s3, base);

	CHECK_OBJ(s, S3_MAGIC);
	return s;
}

static struct s3_blob *blob_from(struct blob *blob)
{
	struct s3_blob *sb = CONTAINER_OF(blob, struct s3_blob, base);

	CHECK_OBJ(sb, BLOB_MAGIC);
	return sb;
}

/* --- finished blobs --- */

int s3_fail(struct stow_err *err)
{
	if (err->code == STOW_OUT_OF_RANGE)
		err->code = STOW_DATA_LOSS; /* the object is shorter than it was */
	else if (err->code != STOW_NOT_FOUND && err->code != STOW_RESOURCE_EXHAUSTED &&
		 err->code != STOW_DATA_LOSS && err->code != STOW_UNAVAILABLE &&
		 err->code != STOW_PERMISSION_DENIED)
		err->code = STOW_INTERNAL;
	return -1;
}

int s3_fail_upload(struct stow_err *err)
{
	if (err->code == STOW_NOT_FOUND)
		err->code = STOW_UNAVAILABLE;
	return s3_fail(err);
}

/* An answer to HEAD has no body: its 404 may be the bucket's, or that of a server which knows no S3, and a
 * 403 or 400 does not say what is wrong. One to GET says it; if that finds the object after all, HEAD's word
 * counts.
 */
static int ask_why(struct s3_client *c, const char *key, struct s3_object *ret_o, struct stow_err *err)
{
	uint8_t byte;

	if (s3_get(c, key, NULL, 0, 1, &byte, err) < 0 && err->code != STOW_OUT_OF_RANGE)
		return -1;
	return s3_head(c, key, ret_o, err);
}

int s3_head_told(struct s3_client *c, const char *key, struct s3_object *ret_o, struct stow_err *err)
{
	if (s3_head(c, key, ret_o, err) == 0)
		return 0;
	if (err->code != STOW_PERMISSION_DENIED && err->code != STOW_INVALID_ARGUMENT)
		return -1;
	return ask_why(c, key, ret_o, err);
}

int s3_head_sure(struct s3_client *c, const char *key, unsigned looks, struct s3_object *ret_o,
		 struct stow_err *err)
{
	struct timespec pause = { .tv_nsec = 50 * NSEC_PER_MSEC };

	for (unsigned look = 1;; look++) {
		if (s3_head_told(c, key, ret_o, err) == 0)
			return 0;
		if (err->code != STOW_NOT_FOUND)
			return -1;
		if (look >= looks)
			return ask_why(c, key, ret_o, err);
		(void)nanosleep(&pause, NULL);
		pause.tv_nsec *= 2;
	}
}

static int head_blob(struct s3_client *c, const struct digest *d, const char *key, unsigned looks,
		     struct s3_object *ret_o, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	if (s3_head_sure(c, key, looks, ret_o, err) == 0)
		return 0;
	digest_format(d, text);
	if (err->code == STOW_NOT_FOUND)
		return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found", text);
	return s3_fail(err);
}

static int s3_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = s3_blob_key(s, d);
	struct s3_object o;

	if (head_blob(s->client, d, key, 1, &o, err) < 0)
		return -1;
	*ret_st = (struct blob_stat){ .size = o.size, .modified_ns = o.modified_ns };
	return 0;
}

static int s3_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		   struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = s3_blob_key(s, d);
	struct s3_object o;
	struct s3_blob *sb;

	if (flags != 0)
		return stow_fail(err, STOW_UNAVAILABLE, "the bucket would have to be asked");
	/* Who opens a blob has a record of it. */
	if (head_blob(s->client, d, key, OPEN_LOOKS, &o, err) < 0)
		return -1;
	sb = x_calloc(1, sizeof(*sb));
	sb->base = (struct blob){ .backend = b, .size = o.size };
	if (o.etag[0] != '\0')
		sb->base.version = blob_version(o.etag, strlen(o.etag));
	sb->magic = BLOB_MAGIC;
	sb->object = object_open(s->reader, key, &o);
	*ret_blob = &sb->base;
	return 0;
}

static void s3_close(struct blob *blob)
{
	struct s3_blob *sb = blob_from(blob);

	object_close(sb->object);
	FREE_OBJ(sb);
}

static int s3_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		    struct stow_err *err)
{
	struct s3_blob *sb = blob_from(blob);

	if (off >= blob->size)
		n = 0;
	else if (n > blob->size - off)
		n = (size_t)(blob->size - off);
	if (n > 0 && object_read(sb->object, to, n, off, flags, err) < 0)
		return err->code == STOW_ABORTED && (flags & BACKEND_READ_SAME) != 0 ? -1 : s3_fail(err);
	*ret_n = n;
	return 0;
}

/* S3 does not say whether there was an object; so we look first. */
int s3_remove_by(struct s3 *s, struct s3_client *c, const struct digest *d, struct stow_err *err)
{
	CLEANUP(freep) char *key = s3_blob_key(s, d);
	struct s3_object o;

	if (head_blob(c, d, key, 1, &o, err) < 0)
		return -1;
	return s3_delete(c, key, err) < 0 ? s3_fail(err) : 0;
}

static int s3_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	struct s3 *s = s3_from(b);

	return s3_remove_by(s, s->client, d, err);
}

struct scan {
	struct s3 *s;
	backend_blob_visit *visit;
	void *arg;
};

static int see_key(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	const struct scan *scan = arg;
	struct blob_stat st = { .size = o->size, .modified_ns = o->modified_ns };
	struct digest d;

	return s3_key_digest(scan->s, key, &d) ? scan->visit(scan->arg, &d, &st, err) : 0;
}

static int s3_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	struct scan scan = { .s = s3_from(b), .visit = visit, .arg = arg };
	CLEANUP(freep) char *prefix = s3_blobs_prefix(scan.s);

	return s3_list(scan.s->client, prefix, NULL, 0, see_key, &scan, err);
}

/* --- start and end --- */

void s3_stop(struct backend *b)
{
	s3_client_stop(s3_from(b)->client);
}

static void s3_free(struct backend *b)
{
	struct s3 *s = s3_from(b);

	assert(s->open == NULL && s->sendings == NULL);
	if (s->client != NULL)
		s3_stop(b);
	if (s->pool != NULL) {
		leftovers_end(&s->leftovers);
		pool_free(s->pool);
		leftovers_free(&s->leftovers);
	}
	reader_free(s->reader);
	s3_session_free(s->session);
	spool_dir_close(&s->ingest);
	dir_close(&s->root);
	lock_destroy(&s->lock);
	free(s->prefix);
	FREE_OBJ(s);
}

static const struct backend_ops s3_ops = {
	.name = "s3",
	.free = s3_free,
	.stat = s3_stat,
	.open = s3_open,
	.close = s3_close,
	.pread = s3_pread,
	.remove = s3_remove,
	.scan = s3_scan,
	.stage_create = s3_stage_create,
	.stage_resume = s3_stage_resume,
	.stage_write = s3_stage_write,
	.stage_truncate = s3_stage_truncate,
	.stage_sync = s3_stage_sync,
	.stage_pread = s3_stage_pread,
	.stage_publish = s3_stage_publish,
	.stage_close = s3_stage_close,
	.stage_discard = s3_stage_discard,
	.stage_scan = s3_stage_scan,
	.stop = s3_stop,
	.behind = &s3_behind_ops,
};

static const struct behind_ops source_behind_ops = { .look = s3_look, .probe = s3_answers };

/* The slots of a stage are missing: none is ever made. */
static const struct backend_ops source_ops = {
	.name = "s3",
	.free = s3_free,
	.stat = s3_stat,
	.open = s3_open,
	.close = s3_close,
	.pread = s3_pread,
	.remove = read_only_remove,
	.scan = s3_scan,
	.stage_create = read_only_stage_create,
	.stage_resume = read_only_stage_resume,
	.stage_discard = read_only_stage_discard,
	.stage_scan = read_only_stage_scan,
	.stop = s3_stop,
	.behind = &source_behind_ops,
};

int s3_new(const struct s3_options *o, const char *path, struct backend **ret_b, struct stow_err *err)
{
	struct s3 *s = x_calloc(1, sizeof(*s));
	CLEANUP(backend_freep) struct backend *b = &s->base;

	assert(!o->read_only || path == NULL);
	s->base = (struct backend){
		.ops = o->read_only ? &source_ops : &s3_ops,
		.remote = true,
		.far = BACKEND_FAR_ALL,
	};
	s->magic = S3_MAGIC;
	lock_init(&s->lock, RANK_BACKEND);
	s->prefix = *o->prefix != '\0' ? x_asprintf("%s/", o->prefix) : x_strdup("");
	s->layout = o->layout;
	s->small_blob = (uint64_t)o->small_blob;
	s->part_size = (uint64_t)o->part_size;
	s->upload_concurrency = o->upload_concurrency;
	if (path != NULL &&
	    (dir_open(&s->root, AT_FDCWD, path, x_strdup(path), err) < 0 ||
	     spool_dir_open(&s->ingest, &s->root, err) < 0 || sidecar_recover(&s->ingest.dir, err) < 0))
		return -1;
	if (s3_session_new(o, &s->session, err) < 0)
		return -1;
	s->client = s->session->client;
	s->reader = reader_new(s->client, (uint64_t)o->read_memory);
	if (path != NULL) {
		s->pool = pool_new("s3", POOL_THREADS);
		leftovers_begin(&s->leftovers, &s->ingest.dir, s->client, s->session->http, s->pool);
	}
	*ret_b = TAKE(b);
	return 0;
}
