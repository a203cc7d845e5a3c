#include "backends/s3/reader.h"

#include "backends/s3/s3_internal.h"
#include "content/backend.h"
#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"

#define READER_MAGIC 0x53330005u
#define OBJECT_MAGIC 0x53330006u

enum {
	STREAMS = 8,              /* readers in order that are told apart, an object */
	SEGMENT_MIN = 256 << 10,  /* of a read at any place */
	SEGMENT_MAX = 4 << 20,    /* one GET */
	WINDOW_START = 2 << 20,   /* ahead of a reader that begins at the beginning, or has just gone on */
	WINDOW_MAX = 32 << 20,    /* ahead of one reader */
	STREAM_BACK = 512 << 10,  /* a read that much before, or after, where one is expected still belongs */
	STREAM_FORWARD = 1 << 20, /* to it: several calls of one client overtake each other */
	REOPENS = 3,              /* of one read, when the object changes under it */
};

enum segment_state { SEGMENT_LOADING, SEGMENT_READY, SEGMENT_FAILED };

/* In the list of its object, by offset, while LOADING or READY; never two of one byte. */
struct segment {
	struct s3_op op;
	struct object *object;
	struct segment *next;          /* of the object */
	struct segment *newer, *older; /* of all READY ones, by use */
	enum segment_state state;
	bool listed;
	unsigned users; /* who wait for it or copy from it, and its GET */
	uint64_t offset;
	size_t n;
	uint64_t generation; /* of the object, when it was asked for */
	struct stow_err err; /* FAILED */
	uint8_t *bytes;
};

/* A reader in order. */
struct stream {
	uint64_t next;   /* where its next read is expected */
	uint64_t ahead;  /* fetched, or asked for, up to here */
	uint64_t window; /* bytes ahead that it may have; 0: no stream */
	int64_t used_ns; /* its last read */
};

struct object {
	unsigned magic;
	struct reader *reader;
	unsigned users; /* the handle, and each segment */
	bool closed;
	char *key;
	uint64_t size;
	char etag[S3_ETAG_MAX];
	uint64_t generation; /* counts the ETags that it has had */
	struct segment *segments;
	struct stream streams[STREAMS];
};

struct reader {
	unsigned magic;
	struct s3_client *client;
	struct lock lock; /* for everything here, objects and segments included */
	pthread_cond_t change;
	uint64_t max;
	unsigned objects; /* open ones, and closed ones that have something under way */
	unsigned open;
	unsigned starved;     /* who wait for memory */
	int64_t epoch;        /* whole seconds */
	unsigned active;      /* streams that have read in this second */
	unsigned active_last; /* in the one before */
	struct segment *newest, *oldest;
	struct reader_stats stats;
};

/* --- life --- */

struct reader *reader_new(struct s3_client *client, uint64_t memory)
{
	struct reader *r = x_calloc(1, sizeof(*r));

	r->magic = READER_MAGIC;
	r->client = client;
	r->max = memory > READER_MEMORY_MIN ? memory : READER_MEMORY_MIN;
	lock_init(&r->lock, RANK_BACKEND);
	lock_cond_init(&r->change);
	return r;
}

void reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	CHECK_OBJ(r, READER_MAGIC);
	lock_take(&r->lock);
	assert(r->open == 0);
	while (r->objects > 0)
		lock_wait(&r->lock, &r->change);
	lock_release(&r->lock);
	pthread_cond_destroy(&r->change);
	lock_destroy(&r->lock);
	FREE_OBJ(r);
}

void reader_stats(struct reader *r, struct reader_stats *ret_st)
{
	LOCK_SCOPE(&r->lock);
	*ret_st = r->stats;
}

struct object *object_open(struct reader *r, const char *key, const struct s3_object *so)
{
	struct object *o = x_calloc(1, sizeof(*o));
	LOCK_SCOPE(&r->lock);

	o->magic = OBJECT_MAGIC;
	o->reader = r;
	o->users = 1;
	o->key = x_strdup(key);
	o->size = so->size;
	memcpy(o->etag, so->etag, sizeof(o->etag));
	r->objects++;
	r->open++;
	return o;
}

static void object_unuse_locked(struct object *o)
{
	struct reader *r = o->reader;

	if (--o->users > 0)
		return;
	assert(o->segments == NULL);
	r->objects--;
	pthread_cond_broadcast(&r->change);
	free(o->key);
	FREE_OBJ(o);
}

/* --- segments --- */

static void age_push_locked(struct reader *r, struct segment *s)
{
	s->newer = NULL;
	s->older = r->newest;
	*(r->newest != NULL ? &r->newest->newer : &r->oldest) = s;
	r->newest = s;
}

/* To the cold end: first to go. */
static void age_append_locked(struct reader *r, struct segment *s)
{
	s->older = NULL;
	s->newer = r->oldest;
	*(r->oldest != NULL ? &r->oldest->older : &r->newest) = s;
	r->oldest = s;
}

static void age_unlink_locked(struct reader *r, struct segment *s)
{
	*(s->newer != NULL ? &s->newer->older : &r->newest) = s->older;
	*(s->older != NULL ? &s->older->newer : &r->oldest) = s->newer;
}

static void segment_unuse_locked(struct segment *s)
{
	struct object *o = s->object;

	if (--s->users > 0)
		return;
	if (s->listed) {
		if (o->reader->starved > 0) /* it can go now */
			pthread_cond_broadcast(&o->reader->change);
		return;
	}
	o->reader->stats.memory -= s->n;
	if (o->reader->starved > 0)
		pthread_cond_broadcast(&o->reader->change);
	free(s->bytes);
	free(s);
	object_unuse_locked(o);
}

/* Off its object: nobody finds it any more. */
static void segment_unlist_locked(struct segment *s)
{
	struct segment **at = &s->object->segments;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->state == SEGMENT_READY)
		age_unlink_locked(s->object->reader, s);
	s->listed = false;
	s->users++;
	segment_unuse_locked(s);
}

/* The segment of the byte at `off`; NULL if there is none. *ret_until: where the next one begins, or the
 * object ends. */
static struct segment *segment_find_locked(struct object *o, uint64_t off, uint64_t *ret_until)
{
	*ret_until = o->size;
	for (struct segment *s = o->segments; s != NULL; s = s->next) {
		if (off < s->offset) {
			*ret_until = s->offset;
			return NULL;
		}
		if (off < s->offset + s->n)
			return s;
	}
	return NULL;
}

/* Makes room by forgetting what nobody uses. False if there is not enough of that. */
static bool make_room_locked(struct reader *r, size_t n)
{
	struct segment *s = r->oldest;

	while (r->stats.memory + n > r->max && s != NULL) {
		struct segment *newer = s->newer;

		if (s->users == 0)
			segment_unlist_locked(s);
		s = newer;
	}
	return r->stats.memory + n <= r->max;
}

static void segment_done(struct s3_op *op)
{
	struct segment *s = CONTAINER_OF(op, struct segment, op);
	struct reader *r = s->object->reader;
	LOCK_SCOPE(&r->lock);

	if (op->result == 0) {
		s->state = SEGMENT_READY;
		if (s->listed)
			age_push_locked(r, s);
	} else {
		if (s->listed)
			segment_unlist_locked(s);
		s->state = SEGMENT_FAILED;
		s->err = op->err;
	}
	pthread_cond_broadcast(&r->change);
	segment_unuse_locked(s);
}

/* Lists a segment of `n` bytes, for which there is room, and asks for its bytes. */
static struct segment *segment_fetch_locked(struct object *o, uint64_t off, size_t n)
{
	struct reader *r = o->reader;
	struct segment *s = x_calloc(1, sizeof(*s)), **at = &o->segments;

	*s = (struct segment){
		.op.done = segment_done,
		.object = o,
		.listed = true,
		.users = 1,
		.offset = off,
		.n = n,
		.generation = o->generation,
		.bytes = x_malloc(n),
	};
	while (*at != NULL && (*at)->offset < off)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	o->users++;
	r->stats.fetches++;
	r->stats.fetched += n;
	r->stats.memory += n;
	if (r->stats.memory > r->stats.memory_peak)
		r->stats.memory_peak = r->stats.memory;
	s3_get_start(r->client, &s->op, o->key, o->etag, off, n, s->bytes);
	return s;
}

void object_close(struct object *o)
{
	struct reader *r = o->reader;
	struct segment *next;

	CHECK_OBJ(o, OBJECT_MAGIC);
	LOCK_SCOPE(&r->lock);
	r->open--;
	o->closed = true;
	for (struct segment *s = o->segments; s != NULL; s = next) {
		next = s->next;
		if (s->state == SEGMENT_LOADING)
			s3_op_cancel(r->client, &s->op);
		segment_unlist_locked(s);
	}
	object_unuse_locked(o);
}

/* --- streams --- */

/* A read that is made again begins where the last one did, not where it ended. */
static bool belongs(const struct stream *st, uint64_t off, size_t n)
{
	return st->window > 0 && off + n + STREAM_BACK >= st->next && off <= st->next + STREAM_FORWARD;
}

/* The stream that a read at `off` goes on with, or a new one for it in place of the one that was not used for
 * longest. A new one has no window yet, unless it begins at the beginning. */
static struct stream *stream_locked(struct object *o, uint64_t off, size_t n, bool *ret_fresh)
{
	struct stream *oldest = &o->streams[0];

	*ret_fresh = false;
	for (struct stream *st = o->streams; st < o->streams + STREAMS; st++) {
		if (belongs(st, off, n))
			return st;
		if (st->used_ns < oldest->used_ns)
			oldest = st;
	}
	*ret_fresh = true;
	*oldest = (struct stream){ .next = off, .ahead = off, .window = 1 };
	return oldest;
}

/* Counts who reads at the same time, in whole seconds. */
static void stream_used_locked(struct reader *r, struct stream *st)
{
	int64_t now = clock_mono_ns(), epoch = now / NSEC_PER_SEC;

	if (epoch != r->epoch) {
		r->active_last = epoch == r->epoch + 1 ? r->active : 0;
		r->active = 0;
		r->epoch = epoch;
	}
	if (st->used_ns / NSEC_PER_SEC != epoch)
		r->active++;
	st->used_ns = now;
}

/* What one reader may have ahead: they share a half of the memory. */
static uint64_t window_max(const struct reader *r)
{
	unsigned active = r->active > r->active_last ? r->active : r->active_last;
	uint64_t share = r->max / 2 / (active > 0 ? active : 1);

	if (share > WINDOW_MAX)
		return WINDOW_MAX;
	return share > SEGMENT_MAX ? share : SEGMENT_MAX;
}

/* Fetches what the stream's window has room for. Stops where memory is short. */
static void fetch_ahead_locked(struct object *o, struct stream *st)
{
	uint64_t until = st->next + st->window;

	if (until > o->size)
		until = o->size;
	while (st->ahead < until) {
		uint64_t free_until, n;
		struct segment *s = segment_find_locked(o, st->ahead, &free_until);

		if (s != NULL) {
			st->ahead = s->offset + s->n;
			continue;
		}
		/* Whole segments, so that a window that moves by small reads is not filled by small GETs; and
		 * four at least fit into a window. */
		n = st->window / 4 < SEGMENT_MIN ? SEGMENT_MIN : st->window / 4;
		if (n > SEGMENT_MAX)
			n = SEGMENT_MAX;
		if (until < o->size && until - st->ahead < n)
			return;
		if (n > free_until - st->ahead)
			n = free_until - st->ahead;
		if (!make_room_locked(o->reader, (size_t)n))
			return;
		(void)segment_fetch_locked(o, st->ahead, (size_t)n);
		st->ahead += n;
	}
}

/* Notes a read that is about to be made, and has fetched what will be read next. */
static void stream_advance_locked(struct object *o, uint64_t off, size_t n)
{
	struct reader *r = o->reader;
	bool fresh;
	struct stream *st = stream_locked(o, off, n, &fresh);

	stream_used_locked(r, st);
	/* A read that is made again, since it had no leave to wait, is no progress. */
	if (off + n > st->next) {
		st->next = off + n;
		if (fresh && off > 0)
			st->window = 1;
		else if (st->window < WINDOW_START)
			st->window = WINDOW_START;
		else if (st->ahead <= st->next + st->window - st->window / 4)
			st->window *= 2; /* a segment has been of use */
	}
	if (st->window > window_max(r))
		st->window = window_max(r);
	if (st->ahead < off)
		st->ahead = off;
	if (st->window > 1)
		fetch_ahead_locked(o, st);
}

/* --- reading --- */

/* The one who reads last of a segment, in order, makes it the first to go. */
static void segment_used_locked(struct segment *s, uint64_t until)
{
	struct reader *r = s->object->reader;

	if (!s->listed || s->state != SEGMENT_READY)
		return;
	age_unlink_locked(r, s);
	if (until == s->offset + s->n)
		age_append_locked(r, s);
	else
		age_push_locked(r, s);
}

/* Copies without the lock. */
static size_t segment_copy(struct segment *s, void *to, size_t n, uint64_t off)
{
	struct reader *r = s->object->reader;
	size_t rest = (size_t)(s->offset + s->n - off);

	LOCK_ASSERT(&r->lock);
	if (n > rest)
		n = rest;
	s->users++;
	lock_release(&r->lock);
	memcpy(to, s->bytes + (off - s->offset), n);
	lock_take(&r->lock);
	segment_used_locked(s, off + n);
	segment_unuse_locked(s);
	return n;
}

/* What a read at this place fetches, where nothing was fetched ahead for it. */
static struct segment *fetch_now_locked(struct object *o, size_t n, uint64_t off, uint64_t until)
{
	size_t want = n < SEGMENT_MIN ? SEGMENT_MIN : n;

	if (want > SEGMENT_MAX)
		want = SEGMENT_MAX;
	if (want > until - off)
		want = (size_t)(until - off);
	return make_room_locked(o->reader, want) ? segment_fetch_locked(o, off, want) : NULL;
}

/* The READY segment of the byte at `off`, in use; waits for it. NULL: the GET has failed, *err says why, and
 * *ret_generation which ETag it was of. */
static struct segment *segment_wait_locked(struct object *o, size_t n, uint64_t off, uint64_t *ret_generation,
					   struct stow_err *err)
{
	struct reader *r = o->reader;

	for (;;) {
		uint64_t until;
		struct segment *s = segment_find_locked(o, off, &until);

		if (s == NULL)
			s = fetch_now_locked(o, n, off, until);
		if (s == NULL) {
			/* All memory is of bytes that are on their way, or being copied. */
			r->starved++;
			lock_wait(&r->lock, &r->change);
			r->starved--;
			continue;
		}
		s->users++;
		while (s->state == SEGMENT_LOADING)
			lock_wait(&r->lock, &r->change);
		if (s->state == SEGMENT_READY)
			return s;
		*err = s->err;
		*ret_generation = s->generation;
		segment_unuse_locked(s);
		return NULL;
	}
}

/* The object has changed: looks at it again, unless another reader has done so. Bytes of the old ETag stay
 * good, since the key names them. */
static int object_reopen(struct object *o, uint64_t generation, struct stow_err *err)
{
	struct s3_object now;

	if (s3_head_sure(o->reader->client, o->key, 1, &now, err) < 0)
		return -1;
	if (now.size != o->size)
		return stow_fail(err, STOW_DATA_LOSS, "s3: %s has %llu bytes now, but it had %llu", o->key,
				 (unsigned long long)now.size, (unsigned long long)o->size);
	LOCK_SCOPE(&o->reader->lock);
	if (o->generation == generation) {
		o->generation++;
		memcpy(o->etag, now.etag, sizeof(o->etag));
	}
	return 0;
}

/* Whether another reader of the handle has gone on with another version than the one that this one wants. */
static bool is_other_locked(const struct object *o, unsigned flags)
{
	return (flags & BACKEND_READ_SAME) != 0 && o->generation > 0;
}

static int fail_changed(const struct object *o, struct stow_err *err)
{
	return stow_fail(err, STOW_ABORTED, "s3: %s has changed since it was opened", o->key);
}

/* A GET has failed: 0 if it is worth another one. */
static int after_failure(struct object *o, uint64_t generation, unsigned flags, unsigned reopens,
			 struct stow_err *err)
{
	if (err->code != STOW_FAILED_PRECONDITION)
		return -1;
	if ((flags & BACKEND_READ_SAME) != 0)
		return fail_changed(o, err);
	return reopens < REOPENS ? object_reopen(o, generation, err) : -1;
}

static int read_waiting(struct object *o, uint8_t *to, size_t n, uint64_t off, unsigned flags,
			struct stow_err *err)
{
	struct reader *r = o->reader;
	unsigned reopens = 0;

	while (n > 0) {
		uint64_t generation;
		struct segment *s;
		size_t got = 0;

		lock_take(&r->lock);
		s = segment_wait_locked(o, n, off, &generation, err);
		if (s != NULL) {
			got = segment_copy(s, to, n, off);
			segment_unuse_locked(s);
		}
		lock_release(&r->lock);
		if (s == NULL && after_failure(o, generation, flags, reopens++, err) < 0)
			return -1;
		to += got;
		off += got;
		n -= got;
	}
	return 0;
}

/* All of it from memory; it is used before anything can make it go. */
static int read_now(struct object *o, uint8_t *to, size_t n, uint64_t off, unsigned flags,
		    struct stow_err *err)
{
	LOCK_SCOPE(&o->reader->lock);

	if (is_other_locked(o, flags))
		return fail_changed(o, err);
	stream_advance_locked(o, off, n);
	while (n > 0) {
		uint64_t until;
		struct segment *s = segment_find_locked(o, off, &until);
		size_t got;

		if (s == NULL || s->state != SEGMENT_READY)
			return stow_fail(err, STOW_UNAVAILABLE, "not in memory");
		got = segment_copy(s, to, n, off);
		to += got;
		off += got;
		n -= got;
	}
	return 0;
}

int object_read(struct object *o, void *to, size_t n, uint64_t off, unsigned flags, struct stow_err *err)
{
	bool changed;

	CHECK_OBJ(o, OBJECT_MAGIC);
	assert(n > 0 && off < o->size && n <= o->size - off);
	if ((flags & (BACKEND_READ_NOWAIT | BACKEND_READ_NEAR)) != 0)
		return read_now(o, to, n, off, flags, err);
	lock_take(&o->reader->lock);
	changed = is_other_locked(o, flags);
	if (!changed)
		stream_advance_locked(o, off, n);
	lock_release(&o->reader->lock);
	return changed ? fail_changed(o, err) : read_waiting(o, to, n, off, flags, err);
}
