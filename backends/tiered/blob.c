/* Handles on blobs of a tiered backend.
 *
 * A handle reads from a source, which is a handle on the blob in `fast`, or a reader of its fetch. The source
 * changes under the handle: to `fast` when the fetch has brought the blob, to none when the blob is evicted,
 * and from none to either by the next read. So it is counted: who reads has it for that read, whatever the
 * handle has by then. */
#include "backends/tiered/tiered_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <stdatomic.h>

#define TIERED_BLOB_MAGIC 0x71e20002u

/* A blob that was read so short a time ago is still being read: a client asks again for each piece. */
static const int64_t READ_RECENTLY_NS = 30 * NSEC_PER_SEC;
/* `fast` is told so often that a blob is in use, which is a write to its file system. */
static const int64_t TOUCH_EVERY_NS = 60 * NSEC_PER_SEC;
/* A read ends with UNAVAILABLE where the blob was brought and evicted again so many times meanwhile. */
enum { SOURCES_A_READ = 8 };

/* One of the two is not NULL. */
struct source {
	atomic_uint users; /* the handle, and those who read just now */
	struct blob *fast;
	struct fetch_reader *fetch;
};

struct tiered_blob {
	struct blob base;
	unsigned magic;
	struct digest digest;
	struct tiered_blob *next;   /* of its bucket */
	_Atomic int64_t read_ns;    /* monotonic: the last read */
	_Atomic int64_t touched_ns; /* likewise */
	struct lock lock;           /* for what follows */
	struct source *source;      /* NULL: it was evicted since the last read */
};

static struct tiered_blob *tiered_blob_from(struct blob *blob)
{
	struct tiered_blob *tb = CONTAINER_OF(blob, struct tiered_blob, base);

	CHECK_OBJ(tb, TIERED_BLOB_MAGIC);
	return tb;
}

/* --- sources --- */

static void source_unref(struct source *s)
{
	if (s == NULL || atomic_fetch_sub(&s->users, 1) > 1)
		return;
	blob_close(s->fast);
	if (s->fetch != NULL)
		fetch_close(s->fetch);
	free(s);
}

/* From `fast` if the blob is there, else from behind. */
static int source_open(struct tiered *t, const struct digest *d, unsigned flags, struct source **ret_s,
		       uint64_t *ret_size, struct stow_err *err)
{
	struct source s = { .users = 1 };

	for (unsigned i = 0; s.fast == NULL && s.fetch == NULL; i++) {
		if (i == SOURCES_A_READ)
			return stow_fail(err, STOW_UNAVAILABLE, "it comes and goes");
		if (backend_open(t->fast, d, flags, &s.fast, err) == 0)
			*ret_size = s.fast->size;
		else if (err->code != STOW_NOT_FOUND)
			return -1;
		else if (fetch_open(t->fetches, d, flags, &s.fetch, ret_size, err) < 0 &&
			 err->code != STOW_ALREADY_EXISTS)
			return -1;
	}
	*ret_s = x_malloc(sizeof(s));
	**ret_s = s;
	return 0;
}

/* The handle's source, counted; NULL if it has none. */
static struct source *source_get(struct tiered_blob *tb)
{
	struct source *s;

	LOCK_SCOPE(&tb->lock);
	s = tb->source;
	if (s != NULL)
		atomic_fetch_add(&s->users, 1);
	return s;
}

/* Gives the handle a source, if no other reader did meanwhile, and gets what it has. */
static int source_renew(struct tiered_blob *tb, unsigned flags, struct source **ret_s, struct stow_err *err)
{
	struct source *s, *late = NULL;
	char text[DIGEST_STR_MAX];
	uint64_t size;

	if (source_open(tiered_from(tb->base.backend), &tb->digest, flags, &s, &size, err) < 0)
		return -1;
	if (size != tb->base.size) {
		source_unref(s);
		digest_format(&tb->digest, text);
		return stow_fail(err, STOW_DATA_LOSS,
				 "blob %s: had %llu bytes when it was opened, and has %llu now", text,
				 (unsigned long long)tb->base.size, (unsigned long long)size);
	}
	lock_take(&tb->lock);
	if (tb->source != NULL)
		late = s;
	else
		tb->source = s;
	s = tb->source;
	atomic_fetch_add(&s->users, 1);
	lock_release(&tb->lock);
	source_unref(late);
	*ret_s = s;
	return 0;
}

/* The handle is to have another source than `s`, which the caller has counted, and gives back. */
static void source_leave(struct tiered_blob *tb, struct source *s)
{
	bool had;

	lock_take(&tb->lock);
	had = tb->source == s;
	if (had)
		tb->source = NULL;
	lock_release(&tb->lock);
	if (had)
		source_unref(s);
	source_unref(s);
}

/* --- the table of handles --- */

static struct tiered_blob **bucket(struct tiered *t, const struct digest *d)
{
	return &t->open[digest_key(d) % TIERED_BUCKETS];
}

bool tiered_is_read(struct tiered *t, const struct digest *d)
{
	int64_t since = clock_mono_ns() - READ_RECENTLY_NS;

	LOCK_SCOPE(&t->lock);
	for (struct tiered_blob *tb = *bucket(t, d); tb != NULL; tb = tb->next)
		if (digest_equal(&tb->digest, d) && atomic_load(&tb->read_ns) > since)
			return true;
	return false;
}

/* Takes a source in `fast` from one of the blob's handles; NULL when none has one. */
static struct source *steal(struct tiered *t, const struct digest *d)
{
	LOCK_SCOPE(&t->lock);
	for (struct tiered_blob *tb = *bucket(t, d); tb != NULL; tb = tb->next) {
		if (!digest_equal(&tb->digest, d))
			continue;
		LOCK_SCOPE(&tb->lock);
		if (tb->source != NULL && tb->source->fast != NULL)
			return TAKE(tb->source);
	}
	return NULL;
}

void tiered_give_up(struct tiered *t, const struct digest *d)
{
	struct source *s;

	while ((s = steal(t, d)) != NULL)
		source_unref(s);
}

static struct tiered_blob *handle_new(struct tiered *t, const struct digest *d)
{
	struct tiered_blob *tb = x_calloc(1, sizeof(*tb));

	tb->base.backend = &t->base;
	tb->magic = TIERED_BLOB_MAGIC;
	tb->digest = *d;
	tb->read_ns = tb->touched_ns = clock_mono_ns();
	lock_init(&tb->lock, RANK_HANDLE);
	LOCK_SCOPE(&t->lock);
	tb->next = *bucket(t, d);
	*bucket(t, d) = tb;
	return tb;
}

static void handle_free(struct tiered *t, struct tiered_blob *tb)
{
	struct tiered_blob **at;

	lock_take(&t->lock);
	at = bucket(t, &tb->digest);
	while (*at != tb)
		at = &(*at)->next;
	*at = tb->next;
	lock_release(&t->lock);
	source_unref(tb->source);
	lock_destroy(&tb->lock);
	FREE_OBJ(tb);
}

/* The handle is in the table before it has its source: else who evicts the blob in between would not see it,
 * and it would hold bytes that nobody counts any more. */
int tiered_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		struct stow_err *err)
{
	struct tiered *t = tiered_from(b);
	struct tiered_blob *tb = handle_new(t, d);
	struct source *s;

	if (source_open(t, d, flags, &s, &tb->base.size, err) < 0) {
		handle_free(t, tb);
		return -1;
	}
	if (s->fast != NULL)
		backend_touch(t->fast, d);
	lock_take(&tb->lock);
	tb->source = s;
	lock_release(&tb->lock);
	*ret_blob = &tb->base;
	return 0;
}

void tiered_close(struct blob *blob)
{
	handle_free(tiered_from(blob->backend), tiered_blob_from(blob));
}

/* --- reading --- */

/* Notes that the blob is in use. True if `fast` is to be told of it, which may take a moment. */
static bool note_use(struct tiered_blob *tb)
{
	int64_t now = clock_mono_ns();

	atomic_store_explicit(&tb->read_ns, now, memory_order_relaxed);
	return now - atomic_load_explicit(&tb->touched_ns, memory_order_relaxed) > TOUCH_EVERY_NS;
}

static void touch(struct tiered_blob *tb)
{
	atomic_store(&tb->touched_ns, clock_mono_ns());
	backend_touch(tiered_from(tb->base.backend)->fast, &tb->digest);
}

/* The bytes in `fast` cannot be read, or cannot be right. Where there are others behind, these go and the
 * read goes on with those: true. What can be wrong no longer stays to be taken for the blob in any case. */
static bool fast_is_bad(struct tiered_blob *tb, const struct stow_err *why)
{
	CLEANUP(claim_release) struct claim claim = { 0 };
	struct tiered *t = tiered_from(tb->base.backend);
	struct stow_err ignored;
	struct blob_stat st;
	bool behind;

	claim_take(&t->claims, &claim, &tb->digest);
	/* This handle's file was too short. One that is not has been put there since. */
	if (why->code == STOW_DATA_LOSS && backend_stat(t->fast, &tb->digest, &st, &ignored) == 0 &&
	    st.size == tb->base.size)
		return true;
	behind = t->meta != NULL && meta_remote_get(t->meta, &tb->digest, NULL, &ignored) == 0;
	if (!behind && why->code != STOW_DATA_LOSS)
		return false;
	(void)!tiered_drop_fast(t, &tb->digest, &ignored);
	return behind;
}

/* One read from one source. *ret_again: that source is done with, and the next one may do. */
static int read_source(struct tiered_blob *tb, struct source *s, void *to, size_t n, uint64_t off,
		       unsigned flags, size_t *ret_n, bool *ret_again, struct stow_err *err)
{
	int result = s->fast != NULL ? blob_pread(s->fast, to, n, off, flags, ret_n, err)
				     : fetch_read(s->fetch, to, n, off, flags, ret_n, err);

	if (result == 0 || (s->fast != NULL && (flags & BACKEND_READ_NOWAIT) != 0)) {
		source_unref(s);
		*ret_again = false;
		return result;
	}
	*ret_again = s->fast != NULL ? fast_is_bad(tb, err) : err->code == STOW_ALREADY_EXISTS;
	/* A reader that has failed is done for, unless it was only told not to wait; the next read has
	 * another one. */
	if (*ret_again || (s->fetch != NULL && (flags & BACKEND_READ_NOWAIT) == 0 &&
			   (flags == 0 || err->code != STOW_UNAVAILABLE)))
		source_leave(tb, s);
	else
		source_unref(s);
	return -1;
}

static int fail_not_now(struct stow_err *err)
{
	return stow_fail(err, STOW_UNAVAILABLE, "not at hand");
}

int tiered_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		 struct stow_err *err)
{
	struct tiered_blob *tb = tiered_blob_from(blob);
	bool nowait = (flags & BACKEND_READ_NOWAIT) != 0, again;
	char text[DIGEST_STR_MAX];

	if (off >= blob->size)
		n = 0;
	else if (n > blob->size - off)
		n = (size_t)(blob->size - off);
	if (n == 0) {
		*ret_n = 0;
		return 0;
	}
	if (note_use(tb)) {
		if (nowait)
			return fail_not_now(err);
		touch(tb);
	}
	for (unsigned i = 0; i < SOURCES_A_READ; i++) {
		struct source *s = source_get(tb);

		if (s == NULL && nowait)
			return fail_not_now(err);
		if (s == NULL && source_renew(tb, flags, &s, err) < 0)
			return -1;
		if (read_source(tb, s, to, n, off, flags, ret_n, &again, err) == 0)
			return 0;
		if (nowait)
			return fail_not_now(err);
		if (!again)
			return -1;
	}
	digest_format(&tb->digest, text);
	return stow_fail(err, STOW_UNAVAILABLE, "blob %s: was evicted as often as it was brought", text);
}
