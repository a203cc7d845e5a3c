#include "backends/tiered/fetch_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* Bytes that were written that long ago at most are in the page cache, so that reading them does not wait. */
#define HOT (UINT64_C(64) << 20)

enum place {
	PLACE_NONE, /* nowhere yet */
	PLACE_STAGE,
	PLACE_BEHIND, /* directly */
	PLACE_PROOF,  /* behind, but first it has to be proven that they are right */
};

struct request {
	size_t n;
	uint64_t off;
	bool now;   /* must not wait */
	bool queue; /* no way around the fetch: a direct read has failed */
};

/* Where bytes are at that moment. */
static enum place place_locked(const struct fetch *f, const struct request *q)
{
	uint64_t end = q->off + q->n, free_end = f->size > FETCH_HELD ? f->size - FETCH_HELD : 0;

	if (f->state == FETCH_STREAMED) {
		if (q->now || f->source == NULL)
			return PLACE_NONE; /* it hashes what passes: a worker's business */
		return end > free_end && !f->proven ? PLACE_PROOF : PLACE_BEHIND;
	}
	if (end > free_end)
		return PLACE_NONE;
	if (f->stage != NULL && end <= f->done)
		return q->now && f->done - q->off > HOT ? PLACE_NONE : PLACE_STAGE;
	/* Not where the proof will be of other bytes than that object's; nor where it may come to be so,
	 * since it is not known yet what of it was kept. */
	if (f->source != NULL && f->stage != NULL && !f->mixed && !q->queue && q->off > f->done + FETCH_AHEAD)
		return PLACE_BEHIND;
	return PLACE_NONE;
}

static int read_stage(struct fetch *f, struct held *stage, const struct request *q, void *to,
		      struct stow_err *err)
{
	size_t got;
	int result = stage_pread(stage->stage, to, q->n, q->off, &got, err);

	if (result == 0 && got < q->n)
		result = stow_fail(err, STOW_UNAVAILABLE, "%s: has been cut", f->name);
	return result;
}

/* Hashes `n` bytes at `off` that were read from behind, if they are the next ones. */
static void absorb(struct fetch *f, const struct held *source, const uint8_t *p, size_t n, uint64_t off)
{
	struct fetches *fs = f->home;
	size_t skip;

	lock_take(&fs->lock);
	if (f->state == FETCH_STREAMED && f->source == source && !f->proving && off <= f->done &&
	    off + n > f->done) {
		f->proving = true;
		skip = (size_t)(f->done - off);
		lock_release(&fs->lock);
		hash_update(f->hash, p + skip, n - skip);
		lock_take(&fs->lock);
		f->done = off + n;
		f->proving = false;
		pthread_cond_broadcast(&f->change);
	}
	lock_release(&fs->lock);
}

/* Hashes the next bytes behind that nobody has read in order, or sees what the hash of all is. */
static int prove_some(struct fetch *f, struct held *source, struct stow_err *err)
{
	struct fetches *fs = f->home;
	uint64_t rest = f->size - f->done; /* nobody else changes it */
	size_t n = rest < FETCH_PIECE ? (size_t)rest : FETCH_PIECE;
	CLEANUP(freep) uint8_t *piece = x_malloc(n);
	struct digest is;
	int result = 0;

	if (n > 0)
		result = fetch_from_behind(fs, source, piece, n, f->done, 0, err);
	if (n > 0 && result == 0)
		hash_update(f->hash, piece, n);
	lock_take(&fs->lock);
	f->proving = false;
	if (result == 0) {
		f->done += n;
		f->progress_ns = clock_mono_ns();
		f->tries = 0;
	}
	if (result == 0 && f->done == f->size) {
		hash_digest(f->hash, &is);
		f->proven = digest_equal(&is, &f->digest);
		if (!f->proven)
			fetch_wrong_locked(f);
	}
	pthread_cond_broadcast(&f->change);
	lock_release(&fs->lock);
	return result;
}

/* A read from behind has failed. */
static void failed_locked(struct fetch *f, struct request *q, struct held *source, const struct stow_err *err)
{
	if (q->now)
		return;
	if (err->code == STOW_DATA_LOSS && f->source == source)
		fetch_wrong_locked(f);
	else if (f->state == FETCH_STREAMED)
		fetch_break_locked(f, source, err);
	q->queue = true;
}

/* One try without the lock, which it gives up meanwhile. True: it was the last one. */
static bool try_locked(struct fetch *f, enum place place, struct request *q, void *to, int *ret_result,
		       struct stow_err *err)
{
	struct fetches *fs = f->home;
	struct held *h = place == PLACE_STAGE ? f->stage : f->source;
	bool done;

	h->users++;
	f->proving = f->proving || place == PLACE_PROOF;
	lock_release(&fs->lock);
	if (place == PLACE_STAGE)
		*ret_result = read_stage(f, h, q, to, err);
	else if (place == PLACE_PROOF)
		*ret_result = prove_some(f, h, err);
	else
		*ret_result = fetch_from_behind(fs, h, to, q->n, q->off, q->now ? BACKEND_READ_NOWAIT : 0,
						err);
	if (place == PLACE_BEHIND && *ret_result == 0)
		absorb(f, h, to, q->n, q->off);
	lock_take(&fs->lock);
	if (place != PLACE_STAGE && *ret_result < 0)
		failed_locked(f, q, h, err);
	done = place == PLACE_STAGE || (place == PLACE_BEHIND && (*ret_result == 0 || q->now));
	if (place == PLACE_BEHIND && *ret_result == 0) {
		/* By now the fetch may have another origin, which these bytes are not of. */
		done = f->source == h || fetch_is_same_origin(f, h);
		f->direct = f->direct || done;
	}
	lock_release(&fs->lock);
	held_put(fs, h);
	lock_take(&fs->lock);
	return done;
}

/* How it has ended. */
static int ended(const struct fetch *f, struct stow_err *err)
{
	if (f->state == FETCH_GOOD)
		return stow_fail(err, STOW_ALREADY_EXISTS, "it is here now");
	if (f->state == FETCH_FAILED) {
		*err = f->err;
		return -1;
	}
	return stow_fail(err, STOW_UNAVAILABLE, "the store is stopping");
}

/* How long a reader waits that began at `start`. Our own disk may take its time, to publish for instance. */
static int64_t patient_until(const struct fetch *f, int64_t start)
{
	if (f->staging)
		return INT64_MAX;
	return (f->progress_ns > start ? f->progress_ns : start) + f->home->patience_ns;
}

static int read_locked(struct fetch *f, struct request *q, void *to, struct stow_err *err)
{
	struct fetches *fs = f->home;
	int64_t start = clock_mono_ns();
	int result;

	for (;;) {
		enum place place;

		if (fetch_ended(f) || fs->stopping)
			return ended(f, err);
		place = place_locked(f, q);
		if (place == PLACE_PROOF && f->proving)
			place = PLACE_NONE; /* another reader is at it */
		if (place != PLACE_NONE) {
			if (try_locked(f, place, q, to, &result, err))
				return result;
			continue;
		}
		if (q->now)
			return stow_fail(err, STOW_UNAVAILABLE, "not here yet");
		f->waiting++;
		if (f->state == FETCH_BROKEN) /* it is tried again for us */
			pthread_cond_signal(&fs->work);
		(void)fetch_wait_locked(f, patient_until(f, start));
		f->waiting--;
		if (clock_mono_ns() >= patient_until(f, start)) {
			if (f->state == FETCH_COMING && !f->running) /* nobody has asked for a byte yet */
				return stow_fail(err, STOW_UNAVAILABLE, "too many blobs are on their way");
			tier_stuck(&fs->o.tiers->v[f->at]);
			return stow_fail(err, STOW_UNAVAILABLE, "no byte has come for %lld s: %s",
					 (long long)(fs->patience_ns / NSEC_PER_SEC),
					 f->state == FETCH_BROKEN ? f->err.msg
								  : "the storage does not answer");
		}
	}
}

int fetch_read(struct fetch_reader *r, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
	       struct stow_err *err)
{
	struct fetch *f = r->fetch;
	struct request q = { .off = off, .now = (flags & BACKEND_READ_NOWAIT) != 0 };
	int result = 0;

	CHECK_OBJ(r, FETCH_READER_MAGIC);
	LOCK_SCOPE(&f->home->lock);
	if (off < f->size)
		q.n = n < f->size - off ? n : (size_t)(f->size - off);
	if (q.n > 0)
		result = read_locked(f, &q, to, err);
	if (result == 0)
		*ret_n = q.n;
	return result;
}
