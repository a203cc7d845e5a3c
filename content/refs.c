#include "content/refs.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/ingest_internal.h"

void refs_init(struct refs *t)
{
	*t = (struct refs){ 0 };
	lock_init(&t->lock, RANK_REFS);
	lock_cond_init(&t->released);
}

void refs_destroy(struct refs *t)
{
	for (size_t i = 0; i < REF_BUCKETS; i++)
		assert(!t->buckets[i]);
	pthread_cond_destroy(&t->released);
	lock_destroy(&t->lock);
}

static struct ref_hold **bucket(struct refs *t, const char *name)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(1099511628211);
	return &t->buckets[h % REF_BUCKETS];
}

static struct ref_hold *find_locked(struct refs *t, const char *name)
{
	struct ref_hold *h = *bucket(t, name);

	LOCK_ASSERT(&t->lock);
	while (h && strcmp(h->name, name) != 0)
		h = h->next;
	return h;
}

/* Waits for the holder of `name` to go. False if it stays. */
static bool wait_locked(struct refs *t, const char *name, int64_t wait_ns)
{
	int64_t until = clock_mono_ns() + wait_ns;
	struct ref_hold *other;
	bool in_time = wait_ns > 0;

	while ((other = find_locked(t, name))) {
		if (other->ending && wait_ns > 0)
			lock_wait(&t->lock, &t->released);
		else if (in_time)
			in_time = lock_wait_until(&t->lock, &t->released, until);
		else
			return false;
	}
	return true;
}

bool refs_take(struct refs *t, struct ref_hold *h, const char *name, int64_t wait_ns)
{
	struct ref_hold **b = bucket(t, name);

	LOCK_SCOPE(&t->lock);
	if (!wait_locked(t, name, wait_ns))
		return false;
	*h = (struct ref_hold){ .name = name, .next = *b, .held = true };
	*b = h;
	return true;
}

void refs_end(struct refs *t, struct ref_hold *h)
{
	LOCK_SCOPE(&t->lock);
	h->ending = true;
	pthread_cond_broadcast(&t->released);
}

void refs_release(struct refs *t, struct ref_hold *h)
{
	LOCK_SCOPE(&t->lock);
	if (!h->held)
		return;
	for (struct ref_hold **p = bucket(t, h->name); *p; p = &(*p)->next) {
		if (*p == h) {
			*p = h->next;
			break;
		}
	}
	h->held = false;
	pthread_cond_broadcast(&t->released);
}

void refs_show(struct refs *t, struct ref_hold *h, struct ingest *in)
{
	LOCK_SCOPE(&t->lock);
	h->ingest = in;
}

struct ingest *refs_get(struct refs *t, const char *name)
{
	struct ref_hold *h;

	LOCK_SCOPE(&t->lock);
	h = find_locked(t, name);
	if (!h || !h->ingest)
		return NULL;
	ingest_ref(h->ingest);
	return h->ingest;
}

struct ingest **refs_all(struct refs *t, size_t *ret_n)
{
	struct ingest **all = NULL;
	size_t n = 0, room = 0;

	LOCK_SCOPE(&t->lock);
	for (size_t i = 0; i < REF_BUCKETS; i++) {
		for (struct ref_hold *h = t->buckets[i]; h; h = h->next) {
			if (!h->ingest)
				continue;
			if (n == room) {
				room = room ? 2 * room : 16;
				all = x_reallocarray(all, room, sizeof(*all));
			}
			ingest_ref(h->ingest);
			all[n++] = h->ingest;
		}
	}
	*ret_n = n;
	return all;
}
