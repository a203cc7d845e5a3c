#include "backends/tiered/fetch_internal.h"
#include "content/base/mem.h"

int fetch_from_behind(struct fetches *fs, struct held *source, void *to, size_t n, uint64_t off,
		      unsigned flags, struct stow_err *err)
{
	struct tier *t = &fs->o.tiers->v[source->at];
	size_t got = 0;

	if (flags == 0)
		tier_ask(t);
	if (blob_pread(source->blob, to, n, off, flags | BACKEND_READ_SAME, &got, err) < 0) {
		if (flags == 0)
			tier_report(t, err);
		else
			err->code = STOW_UNAVAILABLE; /* who may wait finds out what it is */
		return -1;
	}
	if (flags == 0)
		tier_report(t, NULL);
	if (got != n)
		return stow_fail(err, STOW_UNAVAILABLE, "%s: bytes are missing at %llu", t->name,
				 (unsigned long long)(off + got));
	return 0;
}

bool fetch_is_same_origin(const struct fetch *f, const struct held *source)
{
	return source->at == f->at && source->blob->version == f->version && f->version != 0;
}

struct held *held_new(void)
{
	struct held *h = x_calloc(1, sizeof(*h));

	h->users = 1;
	return h;
}

/* Asks one storage. NULL: *err says why, NOT_FOUND and DATA_LOSS of the blob, UNAVAILABLE of the storage. */
static struct held *open_at(const struct fetch *f, size_t at, struct stow_err *err)
{
	struct fetches *fs = f->home;
	struct tier *t = &fs->o.tiers->v[at];
	struct held *h;
	struct blob *blob;

	if (lookup_is_bad(fs->o.lookup, &f->digest, at)) {
		(void)stow_fail(err, STOW_DATA_LOSS, "known to be wrong");
		return NULL;
	}
	if (!tier_usable(t)) {
		(void)stow_fail(err, STOW_UNAVAILABLE, "%s cannot be reached", t->name);
		return NULL;
	}
	tier_ask(t);
	if (backend_open(t->backend, &f->digest, 0, &blob, err) < 0) {
		tier_report(t, err);
		(void)stow_wrap(err, "%s", t->name);
		if (err->code != STOW_NOT_FOUND && err->code != STOW_DATA_LOSS)
			err->code = STOW_UNAVAILABLE;
		return NULL;
	}
	tier_report(t, NULL);
	if (f->opened && f->size != blob->size) {
		/* One of the two is wrong; the one that was there first is to be finished. */
		(void)stow_fail(err, STOW_DATA_LOSS, "%s: %llu bytes instead of %llu", t->name,
				(unsigned long long)blob->size, (unsigned long long)f->size);
		blob_close(blob);
		return NULL;
	}
	h = held_new();
	h->blob = blob;
	h->at = at;
	return h;
}

/* Asks the storages in their order, the one that is known to have it first. */
struct held *fetch_open_behind(const struct fetch *f, struct stow_err *err)
{
	struct fetches *fs = f->home;
	struct blob_stat st;
	char text[DIGEST_STR_MAX];
	bool unasked = false, bad = false;
	struct stow_err e;
	size_t first = 0;

	if (lookup_known(fs->o.lookup, &f->digest, &st, &first, &e) < 0)
		first = 0;
	for (size_t k = 0; k < fs->o.tiers->n; k++) {
		struct held *h = open_at(f, k == 0 ? first : k <= first ? k - 1 : k, &e);

		if (h != NULL)
			return h;
		bad = bad || e.code == STOW_DATA_LOSS;
		if (e.code == STOW_UNAVAILABLE) {
			unasked = true;
			*err = e;
		}
	}
	if (unasked)
		return NULL;
	lookup_forget(fs->o.lookup, &f->digest);
	digest_format(&f->digest, text);
	if (bad)
		(void)stow_fail(err, STOW_DATA_LOSS, "%s: where it is, its bytes are wrong", text);
	else
		(void)stow_fail(err, STOW_NOT_FOUND, "%s: no storage has it", text);
	return NULL;
}
