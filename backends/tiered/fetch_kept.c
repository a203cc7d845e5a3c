#include "backends/tiered/fetch_internal.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

#include <stdio.h>

enum {
	ROWS = 1000,   /* looked at in one transaction */
	LENGTHS = 256, /* that are tried */
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
static int resume(struct backend *fast, const char *name, const struct stage_hint *hint,
		  struct stage **ret_st, uint64_t *ret_have, struct stow_err *err)
{
	uint64_t pieces = hint->total / FETCH_PIECE;
	uint64_t by = pieces / LENGTHS + 1;
	uint64_t have = hint->total;

	for (;;) {
		if (backend_stage_resume(fast, name, have, hint, ret_st, err) == 0) {
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

	if (resume(fast, f->name, &hint, ret_st, ret_have, err) == 0)
		return 0;
	if (err->code != STOW_NOT_FOUND)
		(void)!backend_stage_discard(fast, f->name, &ignored);
	if (backend_stage_create(fast, f->name, &hint, ret_st, err) < 0)
		return -1;
	*ret_have = 0;
	return 0;
}

/* --- stages that no fetch has --- */

/* Where the stage of that name is in the list, or the list's end. */
static struct kept_stage **find_kept_locked(struct fetches *fs, const char *name)
{
	struct kept_stage **at = &fs->kept;

	LOCK_ASSERT(&fs->lock);
	while (*at != NULL && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

/* The same, when nobody is at it. */
static struct kept_stage **await_kept_locked(struct fetches *fs, const char *name)
{
	struct kept_stage **at;

	while (*(at = find_kept_locked(fs, name)) != NULL && (*at)->busy)
		lock_wait(&fs->lock, &fs->kept_change);
	return at;
}

static struct kept_stage *add_kept_locked(struct fetches *fs, const char *name)
{
	struct kept_stage *k = x_calloc(1, sizeof(*k)), **at = find_kept_locked(fs, name);

	assert(*at == NULL);
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	fs->n_kept++;
	return *at = k;
}

static void free_kept_locked(struct fetches *fs, struct kept_stage *k)
{
	struct kept_stage **at = find_kept_locked(fs, k->name);

	*at = k->next;
	fs->n_kept--;
	free(k);
	pthread_cond_broadcast(&fs->kept_change);
}

void fetch_keep_locked(struct fetches *fs, const char *name, struct cache_room *room)
{
	struct kept_stage *k = add_kept_locked(fs, name);

	k->room = *room;
	*room = (struct cache_room){ 0 };
}

struct cache_room fetch_unkeep_locked(struct fetches *fs, const char *name)
{
	struct kept_stage *k = *await_kept_locked(fs, name);
	struct cache_room room = { 0 };

	if (k != NULL) {
		room = k->room;
		free_kept_locked(fs, k);
	}
	return room;
}

uint64_t fetch_drop_locked(struct fetches *fs, const char *name)
{
	struct kept_stage *k = *await_kept_locked(fs, name);
	struct stow_err ignored;
	uint64_t bytes;

	if (k == NULL)
		k = add_kept_locked(fs, name);
	k->busy = true;
	bytes = k->room.bytes;
	lock_release(&fs->lock);
	(void)!backend_stage_discard(fs->o.fast, name, &ignored);
	cache_room_drop(&k->room);
	lock_take(&fs->lock);
	free_kept_locked(fs, k);
	return bytes;
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

	if (!fetch_is_stage(name) || k->n == FETCH_KEPT_MAX) /* the others wait for a reader */
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

/* Whether a fetch has it, or has left it, since somebody has begun one meanwhile. */
static bool is_known_locked(struct fetches *fs, const char *name)
{
	for (const struct fetch *f = fs->active.first; f != NULL; f = f->after) {
		if (strcmp(f->name, name) == 0)
			return true;
	}
	return *find_kept_locked(fs, name) != NULL;
}

static void drop_unwanted(struct fetches *fs, const char *name)
{
	LOCK_SCOPE(&fs->lock);
	if (!is_known_locked(fs, name))
		(void)fetch_drop_locked(fs, name);
}

/* How many bytes the stage has. */
static uint64_t measure(struct fetches *fs, const char *name, const struct digest *d)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct stage_hint hint = { .digest = *d };
	struct stow_err ignored;
	uint64_t have = 0;
	struct stage *st;

	if (meta_blob_get(fs->meta, d, &info, &ignored) < 0)
		return 0;
	hint.total = info.size;
	if (resume(fs->o.fast, name, &hint, &st, &have, &ignored) == 0)
		stage_close(st);
	return have;
}

/* The stage counts from now on. It goes where it is of no use. */
static void count_kept(struct fetches *fs, const char *name, const struct digest *d)
{
	struct kept_stage *k;
	uint64_t have;
	LOCK_SCOPE(&fs->lock);

	if (is_known_locked(fs, name))
		return;
	k = add_kept_locked(fs, name);
	k->busy = true;
	lock_release(&fs->lock);
	have = measure(fs, name, d);
	cache_room_found(fs->o.cache, have, &k->room);
	lock_take(&fs->lock);
	k->busy = false;
	pthread_cond_broadcast(&fs->kept_change);
	if (have == 0)
		(void)fetch_drop_locked(fs, name);
}

static bool stopping(struct fetches *fs)
{
	LOCK_SCOPE(&fs->lock);
	return fs->stopping;
}

/* Marks what the node's view has, counts it, and wants it. False if not all of the view could be looked at.
 */
static bool want_all(struct fetches *fs, struct kept *k)
{
	char name[STAGE_NAME_LEN + 1];
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t looked;

	do {
		k->n_found = 0;
		if (stopping(fs) ||
		    meta_remote_next(fs->meta, &cursor, ROWS, note_wanted, k, &looked, &err) < 0)
			return false;
		for (size_t i = 0; i < k->n_found; i++) {
			fetch_stage_name(fs, &k->found[i], name);
			count_kept(fs, name, &k->found[i]);
			fetch_prefetch(fs, &k->found[i]);
		}
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
				if (!k->wanted[i])
					drop_unwanted(fs, k->names[i]);
			}
		}
	}
	free(k->names);
	free(k->wanted);
}
