#include "backends/s3/upload.h"

#include "backends/s3/parts.h"
#include "backends/s3/upload_internal.h"
#include "content/base/mem.h"

/* At an object that was just completed: some 750 ms. */
enum { COMPLETED_LOOKS = 5 };

/* --- life --- */

struct upload *upload_new(struct s3 *s, const char *owner, const struct stage_hint *guess, sending_read *read,
			  void *arg)
{
	struct upload *u = x_calloc(1, sizeof(*u));

	u->magic = UPLOAD_MAGIC;
	u->s = s;
	u->client = s3_client_fork(s->client);
	assert(sending_record_ok(owner));
	memcpy(u->owner, owner, strlen(owner) + 1);
	u->read = read;
	u->arg = arg;
	u->pump.run = upload_pump_run;
	sidecar_init(&u->record);
	lock_init(&u->lock, RANK_BACKEND);
	lock_cond_init(&u->change);
	u->slots = x_calloc(s->upload_concurrency, sizeof(*u->slots));
	u->total = guess->total;
	if (digest_is_set(&guess->digest))
		u->key = s3_blob_key(s, &guess->digest);
	u->eager = u->key != NULL;
	return u;
}

void upload_free(struct upload *u)
{
	if (u == NULL)
		return;
	CHECK_OBJ(u, UPLOAD_MAGIC);
	assert(u->active == 0 && !u->pumping && u->reading == 0);
	pthread_cond_destroy(&u->change);
	lock_destroy(&u->lock);
	sidecar_reset(&u->record);
	s3_client_free(u->client);
	free(u->parts);
	free(u->slots);
	free(u->key);
	FREE_OBJ(u);
}

/* Strikes what is beyond `size` from the record: those parts are of bytes that nobody has any more, and
 * others will take their place. *ret_struck: the file says more than that. */
static void strike(struct sidecar *record, uint64_t size, bool *ret_struck)
{
	size_t n = 0;

	for (size_t i = 0; i < record->n_parts; i++) {
		const struct s3_part *p = &record->parts[i];

		if (part_offset(record->part_size, p->number) + p->size <= size)
			record->parts[n++] = *p;
	}
	*ret_struck = n < record->n_parts;
	record->n_parts = n;
}

int upload_resume(struct s3 *s, const char *owner, uint64_t size, const struct stage_hint *guess,
		  sending_read *read, void *arg, struct upload **ret_u, struct stow_err *err)
{
	struct upload *u = upload_new(s, owner, guess, read, arg);
	struct dir *dir = &s->ingest.dir;
	bool struck;

	u->have = size;
	*ret_u = u;
	if (sidecar_load(&u->record, dir, owner, err) < 0) {
		if (err->code == STOW_DATA_LOSS)
			sidecar_remove(dir,
				       owner); /* nobody knows what it was: the bucket's own rules must do */
		else if (err->code != STOW_NOT_FOUND)
			goto fail;
		return 0;
	}
	u->state = UPLOAD_RESUMED;
	if (u->key != NULL && strcmp(u->key, u->record.key) != 0) {
		if (upload_abandon(u, err) < 0)
			goto fail;
		return 0;
	}
	if (u->key == NULL)
		u->key = x_strdup(u->record.key);
	u->eager = true;
	strike(&u->record, size, &struck);
	/* It is written anew in any case: from now on parts are added to it. */
	if (sidecar_save(&u->record, dir, owner, err) == 0)
		return 0;
fail:
	upload_free(u);
	return -1;
}

/* --- beside the writing --- */

void upload_advance(struct upload *u, uint64_t have)
{
	LOCK_SCOPE(&u->lock);
	u->have = have;
	upload_pump_locked(u);
}

void upload_stop(struct upload *u)
{
	CHECK_OBJ(u, UPLOAD_MAGIC);
	upload_quiesce(u);
}

int upload_abandon(struct upload *u, struct stow_err *err)
{
	CHECK_OBJ(u, UPLOAD_MAGIC);
	assert(u->active == 0 && !u->pumping);
	if (u->state == UPLOAD_OPEN || u->state == UPLOAD_RESUMED) {
		if (sidecar_condemn(&u->s->ingest.dir, u->owner, err) < 0 && err->code != STOW_NOT_FOUND)
			return -1;
		leftovers_poke(&u->s->leftovers);
	}
	sidecar_reset(&u->record);
	upload_parts_clear(u);
	u->state = UPLOAD_NONE;
	return 0;
}

int upload_rewind(struct upload *u, struct stow_err *err)
{
	upload_quiesce(u);
	if (upload_abandon(u, err) < 0)
		return -1;
	LOCK_SCOPE(&u->lock);
	u->have = 0;
	u->stopping = false;
	return 0;
}

/* --- the end --- */

/* From here on the pump rests, and all is the caller's. What is under way goes on. */
static void take_over(struct upload *u, uint64_t size)
{
	LOCK_SCOPE(&u->lock);
	u->eager = false;
	u->have = u->total = size;
	upload_withdraw_pump_locked(u);
	while (u->pumping)
		lock_wait(&u->lock, &u->change);
	u->stopping = false;
	u->round++;
	u->failure = (struct stow_err){ 0 };
	if (u->state == UPLOAD_THERE)
		u->state = UPLOAD_NONE;
}

/* Sends what has not been sent yet. Nothing is under way when it returns. */
static int send_all(struct upload *u, uint64_t size, struct stow_err *err)
{
	unsigned n = part_count(u->record.part_size, size);

	if (n > S3_PARTS_MAX)
		return stow_fail(err, STOW_OUT_OF_RANGE, "%s: %llu bytes are more than an object can have",
				 u->key, (unsigned long long)size);
	for (;;) {
		bool sent = upload_send(u, n, size);
		LOCK_SCOPE(&u->lock);

		if (sent)
			return 0;
		if (u->failure.code != STOW_OK && u->active == 0) {
			*err = u->failure;
			return -1;
		}
		if (u->active > 0)
			lock_wait(&u->lock, &u->change);
	}
}

/* The object's size is that of the source: it is ours, or somebody else's of the same bytes. */
static int check_size(struct upload *u, uint64_t size, struct stow_err *err)
{
	struct s3_object o;

	if (s3_head_sure(u->client, u->key, COMPLETED_LOOKS, &o, err) < 0)
		return -1;
	if (o.size == size)
		return 0;
	return stow_fail(err, STOW_DATA_LOSS, "s3: %s has %llu bytes in the bucket, but %llu were sent",
			 u->key, (unsigned long long)o.size, (unsigned long long)size);
}

static int complete_once(struct upload *u, unsigned n, unsigned flags, struct stow_err *err)
{
	struct s3_upload upload = { .key = u->key, .id = u->record.id };
	CLEANUP(freep) struct s3_part *parts = x_calloc(n, sizeof(*parts));
	struct s3_object o;

	for (unsigned i = 0; i < n; i++)
		parts[i] = u->parts[i].sent;
	return s3_upload_complete(u->client, &upload, parts, n, flags, &o, err);
}

/* Where an object of that name is in the way, it counts if it is whole; else it is replaced: our bytes have
 * been proven. */
static int complete(struct upload *u, uint64_t size, struct stow_err *err)
{
	unsigned n = part_count(u->record.part_size, size);
	unsigned flags = u->replace || atomic_load(&u->s->unconditional) ? 0 : S3_IF_ABSENT;

	if (complete_once(u, n, flags, err) == 0) {
		sidecar_remove(&u->s->ingest.dir, u->owner);
		u->state = UPLOAD_DONE;
		return check_size(u, size, err);
	}
	if (flags == 0 || (err->code != STOW_UNIMPLEMENTED && err->code != STOW_ALREADY_EXISTS))
		return -1;
	if (err->code == STOW_UNIMPLEMENTED)
		atomic_store(&u->s->unconditional, true);
	else if (check_size(u, size, err) == 0)
		return upload_abandon(u, err);
	else if (err->code != STOW_DATA_LOSS)
		return -1;
	if (complete_once(u, n, 0, err) < 0)
		return -1;
	sidecar_remove(&u->s->ingest.dir, u->owner);
	u->state = UPLOAD_DONE;
	return check_size(u, size, err);
}

static int finish_once(struct upload *u, uint64_t size, struct stow_err *err)
{
	if (upload_begin(u, size, err) < 0)
		return -1;
	if (u->state == UPLOAD_THERE)
		return 0;
	if (send_all(u, size, err) < 0)
		return -1;
	return complete(u, size, err);
}

/* Whether the bucket's answer may be different for a new upload: this one is gone, a part of it is not what
 * we think, or another operation came in between. */
static bool worth_beginning_again(const struct stow_err *err)
{
	return err->code == STOW_NOT_FOUND || err->code == STOW_INVALID_ARGUMENT ||
	       err->code == STOW_ABORTED || err->code == STOW_DATA_LOSS;
}

static int finish_large(struct upload *u, uint64_t size, struct stow_err *err)
{
	struct stow_err first;

	if (finish_once(u, size, err) == 0)
		return 0;
	if (!worth_beginning_again(err))
		return -1;
	first = *err;
	if (upload_abandon(u, err) < 0) {
		*err = first;
		return -1;
	}
	if (finish_once(u, size, err) == 0)
		return 0;
	if (err->code == STOW_ABORTED)
		err->code = STOW_UNAVAILABLE; /* for new uploads, too: later */
	return -1;
}

/* --- small ones --- */

static int read_source(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	return upload_read(arg, off, to, n, err);
}

/* As complete(). */
static int finish_small(struct upload *u, const struct digest *d, uint64_t size, struct stow_err *err)
{
	struct s3_body body = { .size = size, .read = read_source, .arg = u };
	struct s3_client *c = u->client;
	struct s3_object o;

	if (d->alg == DIGEST_SHA256)
		body.sha256 = *d;
	if (u->replace)
		return s3_put(c, u->key, &body, 0, &o, err);
	if (!atomic_load(&u->s->unconditional)) {
		if (s3_put(c, u->key, &body, S3_IF_ABSENT, &o, err) == 0)
			return 0;
		if (err->code == STOW_UNIMPLEMENTED)
			atomic_store(&u->s->unconditional, true);
		/* ABORTED: another one is writing the same object just now. */
		else if (err->code != STOW_ALREADY_EXISTS && err->code != STOW_ABORTED)
			return -1;
	}
	if (s3_head(c, u->key, &o, err) == 0 && o.size == size)
		return 0;
	return s3_put(c, u->key, &body, 0, &o, err);
}

int upload_finish(struct upload *u, const struct digest *d, uint64_t size, bool replace, struct stow_err *err)
{
	CLEANUP(freep) char *key = s3_blob_key(u->s, d);
	bool small = size < u->s->small_blob;

	CHECK_OBJ(u, UPLOAD_MAGIC);
	take_over(u, size);
	u->replace = replace;
	if (small || (u->key != NULL && strcmp(u->key, key) != 0)) {
		upload_quiesce(u);
		if (upload_abandon(u, err) < 0)
			return -1;
		take_over(u, size);
	}
	free(u->key);
	u->key = TAKE(key);
	return small ? finish_small(u, d, size, err) : finish_large(u, size, err);
}
