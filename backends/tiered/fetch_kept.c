#include "backends/tiered/fetch_internal.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

#include <stdio.h>

enum {
	KEPT_MAX = 65536, /* stages of an earlier process that are looked at; the others wait for a reader */
	ROWS = 1000,      /* looked at in one transaction */
	LENGTHS = 256,    /* that are tried */
};

/* Two fetches must not share a stage. The name is short; so it is made of what nobody outside can choose
 * digests for, the node's id. */
void fetch_stage_name(const struct fetches *fs, const struct digest *d, char ret_name[STAGE_NAME_LEN + 1])
{
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	struct digest mixed;
	const uint8_t *b = mixed.b;

	if (fs->meta != NULL)
		hash_update(h, meta_node_id(fs->meta), strlen(meta_node_id(fs->meta)));
	hash_update(h, d->b, d->len);
	hash_digest(h, &mixed);
	(void)snprintf(ret_name, STAGE_NAME_LEN + 1, "fe7c%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
		       b[4], b[5]);
	assert(stage_name_ok(ret_name) && fetch_is_stage(ret_name));
}

/* A stage does not say how many bytes it has, only whether it has fewer than it should: so it is cut to the
 * first of some lengths, which all end with a piece. */
static int resume(const struct fetch *f, const struct stage_hint *hint, struct stage **ret_st,
		  uint64_t *ret_have, struct stow_err *err)
{
	uint64_t pieces = f->size / FETCH_PIECE;
	uint64_t by = pieces / LENGTHS + 1;
	uint64_t have = f->size;

	for (;;) {
		if (backend_stage_resume(f->home->o.fast, f->name, have, hint, ret_st, err) == 0) {
			*ret_have = have;
			return 0;
		}
		if (err->code != STOW_DATA_LOSS || have == 0)
			return -1;
		have = pieces * FETCH_PIECE;
		pieces = pieces > by ? pieces - by : 0;
	}
}

int fetch_stage_open(const struct fetch *f, struct stage **ret_st, uint64_t *ret_have, struct stow_err *err)
{
	struct backend *fast = f->home->o.fast;
	const struct stage_hint hint = { .digest = f->digest, .total = f->size };
	struct stow_err ignored;

	if (resume(f, &hint, ret_st, ret_have, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND)
		(void)!backend_stage_discard(fast, f->name, &ignored);
	if (backend_stage_create(fast, f->name, &hint, ret_st, err) < 0)
		return -1;
	*ret_have = 0;
	return 0;
}

/* --- after a restart --- */

struct kept {
	const struct fetches *fetches;
	char (*names)[STAGE_NAME_LEN + 1];
	bool *wanted;
	size_t n, room;
	struct digest found[ROWS];
	size_t n_found;
};

static int note_stage(void *arg, const char *name, struct stow_err *err UNUSED)
{
	struct kept *k = arg;

	if (!fetch_is_stage(name) || k->n == KEPT_MAX)
		return 0;
	if (k->n == k->room) {
		k->room = k->room > 0 ? 2 * k->room : 16;
		k->names = x_reallocarray(k->names, k->room, sizeof(*k->names));
	}
	(void)snprintf(k->names[k->n++], sizeof(*k->names), "%s", name);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int note_wanted(void *arg, const struct digest *d, int64_t seen_ns UNUSED, struct stow_err *err UNUSED)
{
	struct kept *k = arg;
	char name[STAGE_NAME_LEN + 1];
	char(*at)[STAGE_NAME_LEN + 1];

	fetch_stage_name(k->fetches, d, name);
	at = bsearch(name, k->names, k->n, sizeof(*k->names), compare_names);
	if (at != NULL) {
		k->wanted[at - k->names] = true;
		k->found[k->n_found++] = *d;
	}
	return 0;
}

/* Whether a fetch has it, which somebody has begun meanwhile. */
static bool in_use(struct fetches *fs, const char *name)
{
	LOCK_SCOPE(&fs->lock);
	for (const struct fetch *f = fs->active.first; f != NULL; f = f->after) {
		if (strcmp(f->name, name) == 0)
			return true;
	}
	return false;
}

static bool stopping(struct fetches *fs)
{
	LOCK_SCOPE(&fs->lock);
	return fs->stopping;
}

/* Marks what the node's view has, and wants it. False if not all of the view could be looked at. */
static bool want_all(struct fetches *fs, struct kept *k)
{
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t looked;

	do {
		k->n_found = 0;
		if (stopping(fs) ||
		    meta_remote_next(fs->meta, &cursor, ROWS, note_wanted, k, &looked, &err) < 0)
			return false;
		for (size_t i = 0; i < k->n_found; i++)
			fetch_prefetch(fs, &k->found[i]);
	} while (looked == ROWS);
	return true;
}

void fetch_recover(struct fetches *fs)
{
	CLEANUP(freep) struct kept *k = x_calloc(1, sizeof(*k));
	struct stow_err err;

	k->fetches = fs;
	if (backend_stage_scan(fs->o.fast, note_stage, k, &err) == 0 && k->n > 0) {
		qsort(k->names, k->n, sizeof(*k->names), compare_names);
		k->wanted = x_calloc(k->n, sizeof(*k->wanted));
		if (want_all(fs, k)) {
			for (size_t i = 0; i < k->n; i++) {
				if (!k->wanted[i] && !in_use(fs, k->names[i]))
					(void)!backend_stage_discard(fs->o.fast, k->names[i], &err);
			}
		}
	}
	free(k->names);
	free(k->wanted);
}
