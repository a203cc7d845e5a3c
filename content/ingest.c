#include "content/ingest.h"

#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"
#include "content/ref.h"
#include "content/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

static const int64_t CHECKPOINT_NS = NSEC_PER_SEC;

/* --- life --- */

void ingest_status_free(struct ingest_status *s)
{
	free(s->ref);
	s->ref = NULL;
}

void ingest_ref(struct ingest *in)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	atomic_fetch_add(&in->users, 1);
}

void ingest_unref(struct ingest *in)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	if (atomic_fetch_sub(&in->users, 1) != 1)
		return;
	assert(!in->hold.held && !in->stage);
	hash_free(in->hash);
	pthread_cond_destroy(&in->idle);
	lock_destroy(&in->lock);
	free(in->ref);
	FREE_OBJ(in);
}

static struct ingest *ingest_new(struct store *s, const struct ingest_spec *spec)
{
	struct ingest *in = x_calloc(1, sizeof(*in));

	in->magic = INGEST_MAGIC;
	in->users = 1;
	in->store = s;
	in->ref = x_strdup(spec->ref);
	in->hash = hash_new(DIGEST_SHA256);
	lock_init(&in->lock, RANK_INGEST);
	lock_cond_init(&in->idle);
	in->status.started_ns = in->status.updated_ns = clock_wall_ns();
	in->status.total = spec->total;
	in->status.expected = spec->expected;
	in->checkpoint_mono_ns = clock_mono_ns();
	return in;
}

/* Waits until nobody else changes what is durable of it, and keeps others from doing so. */
static void busy_begin(struct ingest *in)
{
	LOCK_SCOPE(&in->lock);
	while (in->busy)
		lock_wait(&in->lock, &in->idle);
	in->busy = true;
}

static void busy_end(struct ingest *in)
{
	LOCK_SCOPE(&in->lock);
	in->busy = false;
	pthread_cond_broadcast(&in->idle);
}

/* The handle's user is done with it: what is left is the disk's time. */
static void end_begin(struct ingest *in)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	refs_end(&in->store->refs, &in->hold);
	busy_begin(in);
}

/* The handle's end: the caller is busy, and has dealt with bytes and row. */
static void ingest_end(struct ingest *in)
{
	stage_close(TAKE(in->stage));
	refs_release(&in->store->refs, &in->hold);
	lock_take(&in->lock);
	in->over = true;
	lock_release(&in->lock);
	busy_end(in);
	ingest_unref(in);
}

/* --- opening --- */

/* What the backend may go by: the expected digest where it was declared, else what the ref tells. */
static struct stage_hint hint_of(const struct ingest *in, const struct digest *expected, uint64_t total)
{
	struct stage_hint hint = { .digest = *expected, .total = total };

	if (!digest_is_set(expected))
		(void)ref_guess_digest(in->ref, &hint.digest);
	return hint;
}

static int stage_new(struct ingest *in, struct stow_err *err)
{
	struct stage_hint hint = hint_of(in, &in->status.expected, in->status.total);
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return stow_fail_errno(err, errno, "getrandom");
	snprintf(in->stage_name, sizeof(in->stage_name), "%016llx", (unsigned long long)random);
	return backend_stage_create(in->store->backend, in->stage_name, &hint, &in->stage, err);
}

/* Takes up the parked row's bytes. A failure leaves `in` as it was, but for its hash. */
static int ingest_resume(struct ingest *in, const struct ingest_row *row, struct stow_err *err)
{
	const struct digest *expected = digest_is_set(&in->status.expected) ? &in->status.expected
									    : &row->expected;
	uint64_t total = in->status.total > 0 ? in->status.total : row->total;
	struct stage_hint hint = hint_of(in, expected, total);

	if (hash_restore(in->hash, &row->hash, err) < 0)
		return -1;
	if (hash_state_count(&row->hash) != row->offset)
		return stow_fail(err, STOW_DATA_LOSS, "ref %s: the saved hash state is of other bytes",
				 in->ref);
	if (backend_stage_resume(in->store->backend, row->stage, row->offset, &hint, &in->stage, err) < 0)
		return -1;
	memcpy(in->stage_name, row->stage, sizeof(in->stage_name));
	in->status.offset = in->synced = in->checkpoint_offset = row->offset;
	in->status.started_ns = row->started_ns;
	in->status.updated_ns = row->updated_ns;
	in->status.total = total;
	in->status.expected = *expected;
	in->has_row = true;
	return 0;
}

/* Opens the stage of a ref that is held. */
static int ingest_start(struct ingest *in, const struct ingest_spec *spec, struct stow_err *err)
{
	struct ingest_row row;
	int result;

	if (meta_ingest_get(in->store->meta, in->ref, &row, err) < 0)
		return err->code == STOW_NOT_FOUND ? stage_new(in, err) : -1;
	result = ingest_resume(in, &row, err);
	if (result < 0 && (err->code == STOW_NOT_FOUND || err->code == STOW_DATA_LOSS)) {
		/* Its bytes are gone or too few: nothing is there to resume. */
		hash_reset(in->hash);
		result = parked_drop(in->store, &row, err);
		if (result == 0)
			result = stage_new(in, err);
	} else if (result == 0 && spec->total > 0 && row.total > 0 && spec->total != row.total) {
		result = ingest_restart(in, err);
		in->status.total = spec->total;
	}
	ingest_row_free(&row);
	return result;
}

static int fail_exists(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_ALREADY_EXISTS, "content %s: already exists", text);
}

int ingest_open(struct store *s, const struct ingest_spec *spec, struct ingest **ret_in, struct stow_err *err)
{
	struct ingest *in;
	struct stow_err ignored;

	CHECK_OBJ(s, STORE_MAGIC);
	if (digest_is_set(&spec->expected) && store_has(s, &spec->expected)) {
		if (store_abort(s, spec->ref, &ignored) < 0 && ignored.code == STOW_INTERNAL)
			return stow_fail(err, ignored.code, "%s", ignored.msg);
		return fail_exists(&spec->expected, err);
	}
	in = ingest_new(s, spec);
	if (!refs_take(&s->refs, &in->hold, in->ref, REF_WAIT_NS)) {
		ingest_unref(in);
		return stow_fail(err, STOW_UNAVAILABLE, "ref %s is locked: another stream is writing it",
				 spec->ref);
	}
	if (ingest_start(in, spec, err) < 0) {
		stage_close(TAKE(in->stage));
		refs_release(&s->refs, &in->hold);
		ingest_unref(in);
		return -1;
	}
	refs_show(&s->refs, &in->hold, in);
	*ret_in = in;
	return 0;
}

/* --- looking --- */

void ingest_status(struct ingest *in, struct ingest_status *ret_s)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	LOCK_SCOPE(&in->lock);
	*ret_s = in->status;
	ret_s->ref = x_strdup(in->ref);
}

void ingest_digest(const struct ingest *in, struct digest *ret_d)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	hash_digest(in->hash, ret_d);
}

uint64_t ingest_offset(const struct ingest *in)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	return in->status.offset; /* only the handle's user changes it */
}

int ingest_check(struct ingest *in, struct stow_err *err)
{
	CHECK_OBJ(in, INGEST_MAGIC);
	LOCK_SCOPE(&in->lock);
	return in->aborted ? stow_fail(err, STOW_NOT_FOUND, "ref %s was aborted", in->ref) : 0;
}

/* --- durability of an open ingest --- */

/* Syncs the stage and notes how far; the caller is busy. A failed sync is remembered: the kernel
 * forgets the pages that it could not write, so that the next sync would succeed and say nothing. */
static int sync_to(struct ingest *in, uint64_t offset, struct stow_err *err)
{
	if (in->sync_err.code != STOW_OK) {
		*err = in->sync_err;
		return -1;
	}
	if (in->synced == offset)
		return 0;
	if (stage_sync(in->stage, err) < 0) {
		in->sync_err = *err;
		return -1;
	}
	in->synced = offset;
	return 0;
}

static int row_put(struct ingest *in, uint64_t offset, const struct hash_state *hash, struct stow_err *err)
{
	struct ingest_row row = { .ref = in->ref, .offset = offset, .hash = *hash };

	memcpy(row.stage, in->stage_name, sizeof(row.stage));
	lock_take(&in->lock);
	row.started_ns = in->status.started_ns;
	row.updated_ns = in->status.updated_ns;
	row.total = in->status.total;
	row.expected = in->status.expected;
	lock_release(&in->lock);
	if (meta_ingest_put(in->store->meta, &row, err) < 0)
		return -1;
	in->has_row = true;
	return 0;
}

static void checkpoint_run(struct job *j)
{
	struct ingest *in = CONTAINER_OF(j, struct ingest, checkpoint_job);
	struct stow_err err; /* a failed sync is kept in sync_err; a row that is not written is no harm */
	uint64_t offset = hash_state_count(&in->checkpoint_hash);

	if (sync_to(in, offset, &err) == 0)
		(void)!row_put(in, offset, &in->checkpoint_hash, &err);
	busy_end(in);
}

/* Begins a checkpoint beside the writing, if it is time for one and none is under way. */
static void checkpoint_begin(struct ingest *in)
{
	uint64_t offset = in->status.offset;
	int64_t now = clock_mono_ns();

	if (offset - in->checkpoint_offset < LIMIT_CHECKPOINT && now - in->checkpoint_mono_ns < CHECKPOINT_NS)
		return;
	lock_take(&in->lock);
	if (in->busy || in->aborted) {
		lock_release(&in->lock);
		return;
	}
	in->busy = true;
	lock_release(&in->lock);
	in->checkpoint_offset = offset;
	in->checkpoint_mono_ns = now;
	hash_save(in->hash, &in->checkpoint_hash);
	in->checkpoint_job.run = checkpoint_run;
	pool_submit(in->store->pool, &in->checkpoint_job);
}

/* All that was declared is there. containerd holds its metadata lock during COMMIT, so the disk's time is
 * spent here. There is no row: the commit is about to come. */
static void sync_complete(struct ingest *in)
{
	struct stow_err err; /* kept in sync_err: it is the commit that fails */

	busy_begin(in);
	if (!in->aborted)
		(void)!sync_to(in, in->status.offset, &err);
	busy_end(in);
}

/* --- writing --- */

int ingest_write(struct ingest *in, const struct iovec *iov, int n, int64_t when_ns, struct stow_err *err)
{
	uint64_t bytes = 0;

	CHECK_OBJ(in, INGEST_MAGIC);
	if (ingest_check(in, err) < 0)
		return -1;
	if (stage_write(in->stage, iov, n, in->status.offset, err) < 0)
		return stow_wrap(err, "ref %s: write at %llu", in->ref,
				 (unsigned long long)in->status.offset);
	for (int i = 0; i < n; i++) {
		hash_update(in->hash, iov[i].iov_base, iov[i].iov_len);
		bytes += iov[i].iov_len;
	}
	lock_take(&in->lock);
	in->status.offset += bytes;
	in->status.updated_ns = when_ns;
	lock_release(&in->lock);
	if (in->status.offset == in->status.total)
		sync_complete(in);
	else
		checkpoint_begin(in);
	return 0;
}

int ingest_restart(struct ingest *in, struct stow_err *err)
{
	int result;

	CHECK_OBJ(in, INGEST_MAGIC);
	busy_begin(in);
	/* Once it is aborted, the row of that ref is another ingest's. */
	if (ingest_check(in, err) < 0) {
		busy_end(in);
		return -1;
	}
	/* The row, if there is one, tells of bytes that are about to go. */
	result = in->has_row ? meta_ingest_delete(in->store->meta, in->ref, err) : 0;
	if (result == 0) {
		in->has_row = false;
		result = stage_truncate(in->stage, 0, err);
	}
	if (result == 0) {
		in->synced = 0;
		in->sync_err = (struct stow_err){ 0 };
		in->checkpoint_offset = 0;
		hash_reset(in->hash);
		lock_take(&in->lock);
		in->status.offset = 0;
		in->status.updated_ns = clock_wall_ns();
		lock_release(&in->lock);
	}
	busy_end(in);
	return result < 0 ? stow_wrap(err, "ref %s: restart", in->ref) : 0;
}

/* --- the end --- */

int parked_drop(struct store *s, const struct ingest_row *row, struct stow_err *err)
{
	/* Row first: a stage without a row is swept at the next start, a row without its stage would
	 * promise bytes that are gone. */
	if (meta_ingest_delete(s->meta, row->ref, err) < 0)
		return -1;
	if (backend_stage_discard(s->backend, row->stage, err) < 0 && err->code != STOW_NOT_FOUND)
		return -1;
	return 0;
}

/* Removes bytes and row of an open ingest; the caller is busy. */
static int ingest_discard(struct ingest *in, struct stow_err *err)
{
	struct ingest_row row = { .ref = in->ref };

	memcpy(row.stage, in->stage_name, sizeof(row.stage));
	if (in->has_row)
		return parked_drop(in->store, &row, err);
	if (backend_stage_discard(in->store->backend, in->stage_name, err) < 0 && err->code != STOW_NOT_FOUND)
		return -1;
	return 0;
}

/* Keeps what can be kept; the caller is busy. */
static int ingest_park(struct ingest *in, struct stow_err *err)
{
	struct stow_err ignored;
	struct hash_state hash;

	if (in->aborted)
		return 0;
	hash_save(in->hash, &hash);
	if (sync_to(in, in->status.offset, err) == 0 && row_put(in, in->status.offset, &hash, err) == 0)
		return 0;
	/* The last checkpoint is what stays; without one, nothing of it can be resumed. */
	if (!in->has_row)
		(void)!ingest_discard(in, &ignored);
	return stow_wrap(err, "ref %s: park", in->ref);
}

int ingest_close(struct ingest *in, struct stow_err *err)
{
	int result;

	if (!in)
		return 0;
	end_begin(in);
	result = ingest_park(in, err);
	ingest_end(in);
	return result;
}

int ingest_drop(struct ingest *in, struct stow_err *err)
{
	int result;

	end_begin(in);
	result = in->aborted ? 0 : ingest_discard(in, err);
	ingest_end(in);
	return result;
}

bool ingest_abort(struct ingest *in, int *ret_result, struct stow_err *err)
{
	bool over;

	busy_begin(in);
	lock_take(&in->lock);
	over = in->over || in->aborted; /* the row of that ref may be another ingest's by now */
	in->aborted = true;
	lock_release(&in->lock);
	if (!over) {
		*ret_result = ingest_discard(in, err);
		refs_release(&in->store->refs, &in->hold);
	}
	busy_end(in);
	return !over;
}

/* --- committing --- */

/* Hashes the staged bytes once more, by another algorithm than the running one. */
static int rehash(struct ingest *in, enum digest_alg alg, struct digest *ret_d, struct stow_err *err)
{
	enum { CHUNK = 1 << 20 };
	CLEANUP(hash_freep) struct hash *h = hash_new(alg);
	CLEANUP(freep) uint8_t *chunk = x_malloc(CHUNK);

	for (uint64_t off = 0; off < in->status.offset;) {
		size_t n;

		if (stage_pread(in->stage, chunk, CHUNK, off, &n, err) < 0)
			return -1;
		if (n == 0)
			return stow_fail(err, STOW_DATA_LOSS, "staged bytes end at %llu of %llu",
					 (unsigned long long)off, (unsigned long long)in->status.offset);
		hash_update(h, chunk, n);
		off += n;
	}
	hash_digest(h, ret_d);
	return 0;
}

/* Checks size and digest, and gives the blob's name. */
static int commit_check(struct ingest *in, const struct ingest_commit *c, struct digest *ret_d,
			struct stow_err *err)
{
	char got[DIGEST_STR_MAX], want[DIGEST_STR_MAX];

	if (c->total > 0 && c->total != in->status.offset)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "ref %s: unexpected size %llu, expected %llu",
				 in->ref, (unsigned long long)in->status.offset,
				 (unsigned long long)c->total);
	hash_digest(in->hash, ret_d);
	if (!digest_is_set(&c->expected))
		return 0;
	if (c->expected.alg != ret_d->alg && rehash(in, c->expected.alg, ret_d, err) < 0)
		return stow_wrap(err, "ref %s", in->ref);
	if (digest_equal(ret_d, &c->expected))
		return 0;
	digest_format(ret_d, got);
	digest_format(&c->expected, want);
	return stow_fail(err, STOW_FAILED_PRECONDITION, "ref %s: unexpected digest %s, expected %s", in->ref,
			 got, want);
}

/* The order of durability, for every commit; `d` is claimed and proven.
 *
 *   1 the stage is synced        its bytes are durable (sync_to, before COMMIT where a size was declared)
 *   2 the backend publishes      the bytes have their name, durably (local: rename, then the
 *                                directory is synced); a blob that is there already is the same
 *   3 one transaction            +blob row, -ingest row: the point where it is committed. Info, List
 *                                and Read see it from here on, and COMMIT is acknowledged
 *
 * A crash before 2 leaves a stage: parked if it had a checkpoint, else a stray, swept at the start.
 * A crash between 2 and 3 leaves a blob without a row. It was proven, so it is adopted when somebody
 * asks for it, or by store_reconcile(); its ingest's row, if any, finds no stage and starts anew.
 * Never 3 before 2: a row would promise bytes that a power loss takes away.
 *
 * A row without labels says nothing that the blob does not say itself, but for the time. So it is no
 * loss if a power loss undoes 3, and the transaction is spared one of its two syncs: the blob is
 * adopted as one that a crash between 2 and 3 left. (Not so over a remote backend: nobody looks there
 * for blobs without a row, so that List would not show it again.) */
static int publish_and_record(struct ingest *in, const struct ingest_commit *c, const struct digest *d,
			      struct stow_err *err)
{
	int64_t now = clock_wall_ns();
	struct blob_info info = {
		.digest = *d,
		.size = in->status.offset,
		.created_ns = now,
		.updated_ns = now,
		.labels = c->labels,
	};
	bool may_be_undone = c->labels.n == 0 && !in->store->backend->remote;

	if (sync_to(in, in->status.offset, err) < 0 || stage_publish(in->stage, d, err) < 0)
		return -1;
	return meta_blob_add(in->store->meta, &info, in->has_row ? in->ref : NULL, may_be_undone, err);
}

static int commit_busy(struct ingest *in, const struct ingest_commit *c, struct digest *ret_d,
		       struct stow_err *err)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct store *s = in->store;

	if (ingest_check(in, err) < 0)
		return -1;
	if (digest_is_set(&c->expected) && store_has(s, &c->expected))
		return fail_exists(&c->expected, err);
	if (commit_check(in, c, ret_d, err) < 0)
		return -1;
	claim_take(&s->claims, &claim, ret_d);
	if (store_has(s, ret_d))
		return fail_exists(ret_d, err);
	/* An open handle can only be of bytes that are about to be replaced (damaged, or gone). */
	blobs_drop(&s->blobs, ret_d);
	return publish_and_record(in, c, ret_d, err);
}

int ingest_commit(struct ingest *in, const struct ingest_commit *c, struct digest *ret_d,
		  struct stow_err *err)
{
	struct stow_err ignored;
	struct digest d;
	int result;

	CHECK_OBJ(in, INGEST_MAGIC);
	/* What is left may be another machine's time: who wants the ref meanwhile is told to come again. */
	if ((in->store->backend->far & BACKEND_FAR_COMMIT) != 0)
		busy_begin(in);
	else
		end_begin(in);
	result = commit_busy(in, c, &d, err);
	if (result == 0) {
		*ret_d = d;
		backend_recorded(in->store->backend, &d, true);
	} else if (err->code == STOW_ALREADY_EXISTS) {
		(void)!ingest_discard(in, &ignored); /* a stray at worst, and the answer stays */
	} else {
		(void)!ingest_park(in, &ignored); /* what the client is told is why the commit failed */
	}
	ingest_end(in);
	return result;
}
