/* What people have brought here ahead of time. It is not evicted while they go on asking: else a cache that
 * is too small for all of it would bring and evict it in turn. */
#include "backends/tiered/tiered_internal.h"
#include "backends/tiered/tree.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* --- leases --- */

/* The lease of that number: the one there is, or one in the place of an ended one; of the one that ends
 * first, where all are in use. */
static struct tiered_lease *lease_get_locked(struct tiered *t, int64_t id, int64_t now)
{
	struct tiered_lease *first = &t->leases[0];

	LOCK_ASSERT(&t->lock);
	for (size_t i = 0; i < TIERED_LEASES; i++) {
		struct tiered_lease *l = &t->leases[i];

		if (l->id == id && l->until_ns >= now)
			return l;
		if (l->until_ns < first->until_ns)
			first = l;
	}
	keyset_free(&first->keys);
	first->id = id;
	return first;
}

/* Also for who only looks: the blob may have been adopted for him, and be coming. */
static void lease_renew(struct tiered *t, int64_t id, const struct digest *d)
{
	int64_t now = clock_mono_ns();
	struct tiered_lease *l;

	LOCK_SCOPE(&t->lock);
	l = lease_get_locked(t, id, now);
	l->until_ns = now + FLEET_LEASE_NS;
	keyset_add(&l->keys, keyset_key(d));
}

bool tiered_is_leased(struct tiered *t, const struct digest *d)
{
	int64_t now = clock_mono_ns();

	LOCK_SCOPE(&t->lock);
	for (size_t i = 0; i < TIERED_LEASES; i++)
		if (t->leases[i].until_ns >= now && keyset_has(&t->leases[i].keys, keyset_key(d)))
			return true;
	return false;
}

/* --- one blob --- */

static void ask_for(struct tiered *t, const struct digest *d, struct fleet_brought *b)
{
	struct stow_err err;

	if (fetch_want(t->fetches, d, &err) == 0)
		b->place = FLEET_COMING;
	else if (err.code == STOW_UNAVAILABLE)
		b->place = FLEET_ABSENT; /* another time */
	else {
		b->place = FLEET_FAILED;
		b->why = err;
	}
}

int tiered_bring(struct backend *backend, const struct digest *d, uint64_t size, int64_t lease, bool begin,
		 struct fleet_brought *ret_b, struct stow_err *err)
{
	struct tiered *t = tiered_from(backend);
	struct fleet_brought b = { .place = FLEET_ABSENT, .size = size };
	/* In this order: what comes meanwhile is seen by the second look. */
	bool coming = fetch_is_coming(t->fetches, d);
	struct blob_stat st;

	lease_renew(t, lease, d);
	if (backend_stat(t->fast, d, &st, err) == 0) {
		if (begin)
			backend_touch(t->fast, d);
		b.place = FLEET_HERE;
		if (tree_children(t->fast, d, &b.children, &b.n_children, err) < 0 &&
		    err->code != STOW_NOT_FOUND) /* gone just now */
			return -1;
	} else if (err->code != STOW_NOT_FOUND) {
		return -1;
	} else if (coming) {
		b.place = FLEET_COMING;
	} else if (begin) {
		ask_for(t, d, &b);
	} else if (fetch_failed(t->fetches, d, &b.why)) {
		b.place = FLEET_FAILED;
	}
	*ret_b = b;
	return 0;
}
