#include "content/blobs.h"

#include "content/base/mem.h"

void blobs_init(struct blobs *t, unsigned max)
{
	*t = (struct blobs){ .max = max };
	lock_init(&t->lock, RANK_BLOBS);
}

static struct open_blob **bucket(struct blobs *t, const struct digest *d)
{
	return &t->buckets[digest_key(d) % OPEN_BLOB_BUCKETS];
}

static struct open_blob *find_locked(struct blobs *t, const struct digest *d)
{
	struct open_blob *b = *bucket(t, d);

	LOCK_ASSERT(&t->lock);
	while (b && !digest_equal(&b->digest, d))
		b = b->next;
	return b;
}

static void age_unlink_locked(struct blobs *t, struct open_blob *b)
{
	*(b->newer ? &b->newer->older : &t->newest) = b->older;
	*(b->older ? &b->older->newer : &t->oldest) = b->newer;
}

static void age_push_locked(struct blobs *t, struct open_blob *b)
{
	b->newer = NULL;
	b->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = b;
	t->newest = b;
}

/* Gives up one use; the last one leaves the entry to the caller, who frees it without the lock. */
static struct open_blob *unuse_locked(struct open_blob *b)
{
	return --b->users == 0 ? b : NULL;
}

static struct open_blob *unlist_locked(struct blobs *t, struct open_blob *b)
{
	struct open_blob **p = bucket(t, &b->digest);

	LOCK_ASSERT(&t->lock);
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	age_unlink_locked(t, b);
	t->n--;
	return unuse_locked(b);
}

static void open_blob_free(struct open_blob *b)
{
	if (!b)
		return;
	blob_close(b->blob);
	free(b);
}

void blobs_destroy(struct blobs *t)
{
	while (t->oldest) {
		struct open_blob *b;

		lock_take(&t->lock);
		b = unlist_locked(t, t->oldest);
		lock_release(&t->lock);
		assert(b); /* somebody still reads */
		open_blob_free(b);
	}
	lock_destroy(&t->lock);
}

static struct open_blob *use_locked(struct blobs *t, struct open_blob *b)
{
	b->users++;
	age_unlink_locked(t, b);
	age_push_locked(t, b);
	return b;
}

struct open_blob *blobs_get(struct blobs *t, const struct digest *d)
{
	struct open_blob *b;

	LOCK_SCOPE(&t->lock);
	b = find_locked(t, d);
	return b ? use_locked(t, b) : NULL;
}

struct open_blob *blobs_add(struct blobs *t, const struct digest *d, struct blob *blob)
{
	struct open_blob *b, *pushed_out = NULL;

	lock_take(&t->lock);
	b = find_locked(t, d);
	if (b) {
		use_locked(t, b);
	} else {
		b = x_calloc(1, sizeof(*b));
		*b = (struct open_blob){ .digest = *d, .blob = TAKE(blob), .users = 2 };
		b->next = *bucket(t, d);
		*bucket(t, d) = b;
		age_push_locked(t, b);
		if (++t->n > t->max)
			pushed_out = unlist_locked(t, t->oldest);
	}
	lock_release(&t->lock);
	open_blob_free(pushed_out);
	blob_close(blob);
	return b;
}

void blobs_put(struct blobs *t, struct open_blob *b)
{
	struct open_blob *gone;

	lock_take(&t->lock);
	gone = unuse_locked(b);
	lock_release(&t->lock);
	open_blob_free(gone);
}

void blobs_drop(struct blobs *t, const struct digest *d)
{
	struct open_blob *b, *gone = NULL;

	lock_take(&t->lock);
	b = find_locked(t, d);
	if (b)
		gone = unlist_locked(t, b);
	lock_release(&t->lock);
	open_blob_free(gone);
}

bool blobs_drop_this(struct blobs *t, struct open_blob *b)
{
	struct open_blob *gone = NULL;
	bool listed;

	lock_take(&t->lock);
	listed = find_locked(t, &b->digest) == b;
	if (listed)
		gone = unlist_locked(t, b);
	lock_release(&t->lock);
	assert(!gone); /* its caller uses it */
	return listed;
}
