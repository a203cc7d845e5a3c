#include "content/base/mem.h"

#include "backends/mem_internal.h"
#include "content/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/sysinfo.h>

#define MEM_BLOB_MAGIC 0x3e3002u
#define MEM_STAGE_MAGIC 0x3e3003u

struct mem_blob {
	struct blob base;
	unsigned magic;
	struct bytes *bytes;
};
struct mem_stage {
	struct stage base;
	unsigned magic;
	char name[STAGE_NAME_LEN + 1];
	struct bytes *bytes;
	bool sealed;
};

struct mem *mem_from(struct backend *b)
{
	struct mem *m = CONTAINER_OF(b, struct mem, base);

	CHECK_OBJ(m, MEM_MAGIC);
	return m;
}

static struct mem_stage *mem_stage_from(struct stage *st)
{
	struct mem_stage *ms = CONTAINER_OF(st, struct mem_stage, base);

	CHECK_OBJ(ms, MEM_STAGE_MAGIC);
	return ms;
}

struct bytes *bytes_ref(struct bytes *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void bytes_unref(struct bytes *b)
{
	if (atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	free(b->p);
	free(b);
}

static size_t bytes_read(const struct bytes *b, void *to, size_t n, uint64_t off)
{
	if (off >= b->len)
		return 0;
	if (n > b->len - off)
		n = (size_t)(b->len - off);
	if (n > 0)
		memcpy(to, b->p + off, n);
	return n;
}

struct entry **mem_find_blob_locked(struct mem *m, const struct digest *d)
{
	struct entry **at = &m->store->blobs[digest_key(d) % MEM_BUCKETS];

	LOCK_ASSERT(&m->store->lock);
	while (*at != NULL && !digest_equal(&(*at)->digest, d))
		at = &(*at)->next;
	return at;
}

void mem_add_blob_locked(struct mem *m, const struct digest *d, struct bytes *bytes)
{
	struct entry **at = mem_find_blob_locked(m, d);

	assert(*at == NULL);
	*at = x_calloc(1, sizeof(**at));
	(*at)->digest = *d;
	(*at)->bytes = bytes_ref(bytes);
	(*at)->modified_ns = (*at)->used_ns = clock_wall_ns();
	(*at)->version = ++m->store->versions;
}

static struct entry **stage_find_locked(struct mem *m, const char *name)
{
	struct entry **at = &m->stages;

	LOCK_ASSERT(&m->store->lock);
	while (*at != NULL && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

void mem_entry_drop(struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	bytes_unref(e->bytes);
	free(e);
}

static int fail_no_blob(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found", text);
}

static int fail_no_stage(const char *name, struct stow_err *err)
{
	return stow_fail(err, STOW_NOT_FOUND, "stage %s: not found", name);
}

static void store_unref(struct mem_store *s)
{
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (int i = 0; i < MEM_BUCKETS; i++) {
		while (s->blobs[i] != NULL)
			mem_entry_drop(&s->blobs[i]);
	}
	mem_notes_free(s);
	lock_destroy(&s->lock);
	free(s);
}

static void mem_free(struct backend *b)
{
	struct mem *m = mem_from(b);

	while (m->stages != NULL)
		mem_entry_drop(&m->stages);
	mem_records_free(m);
	store_unref(m->store);
	FREE_OBJ(m);
}

static struct blob_stat stat_of(const struct entry *e)
{
	return (struct blob_stat){ .size = e->bytes->len,
				   .modified_ns = e->modified_ns,
				   .used_ns = e->used_ns };
}

int mem_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry *e = *mem_find_blob_locked(m, d);

	if (e == NULL)
		return fail_no_blob(d, err);
	*ret_st = stat_of(e);
	return 0;
}

static int mem_open(struct backend *b, const struct digest *d, unsigned flags UNUSED, struct blob **ret_blob,
		    struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry *e = *mem_find_blob_locked(m, d);
	struct mem_blob *mb;

	if (e == NULL)
		return fail_no_blob(d, err);
	mb = x_calloc(1, sizeof(*mb));
	mb->base = (struct blob){ .backend = b, .size = e->bytes->len, .version = e->version };
	mb->magic = MEM_BLOB_MAGIC;
	mb->bytes = bytes_ref(e->bytes);
	*ret_blob = &mb->base;
	return 0;
}

static void mem_close(struct blob *blob)
{
	struct mem_blob *mb = CONTAINER_OF(blob, struct mem_blob, base);

	CHECK_OBJ(mb, MEM_BLOB_MAGIC);
	bytes_unref(mb->bytes);
	FREE_OBJ(mb);
}

static int mem_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		     struct stow_err *err)
{
	struct mem_blob *mb = CONTAINER_OF(blob, struct mem_blob, base);

	(void)flags; /* it never waits */
	(void)err;
	CHECK_OBJ(mb, MEM_BLOB_MAGIC);
	*ret_n = bytes_read(mb->bytes, to, n, off);
	return 0;
}

static int mem_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry **at = mem_find_blob_locked(m, d);

	if (*at == NULL)
		return fail_no_blob(d, err);
	mem_entry_drop(at);
	return 0;
}

/* Visitors may do as they like, so they are called on a copy, with no lock held. */
static int mem_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	CLEANUP(freep) struct seen {
		struct digest digest;
		struct blob_stat st;
	} *seen = NULL;
	size_t n = 0;

	lock_take(&m->store->lock);
	for (int i = 0; i < MEM_BUCKETS; i++) {
		for (const struct entry *e = m->store->blobs[i]; e != NULL; e = e->next) {
			seen = x_reallocarray(seen, n + 1, sizeof(*seen));
			seen[n++] = (struct seen){ .digest = e->digest, .st = stat_of(e) };
		}
	}
	lock_release(&m->store->lock);
	for (size_t i = 0; i < n; i++) {
		if (visit(arg, &seen[i].digest, &seen[i].st, err) < 0)
			return -1;
	}
	return 0;
}

static struct stage *mem_stage_new(struct backend *b, const char *name, struct bytes *bytes)
{
	struct mem_stage *ms = x_calloc(1, sizeof(*ms));

	ms->base = (struct stage){ .backend = b };
	ms->magic = MEM_STAGE_MAGIC;
	memcpy(ms->name, name, sizeof(ms->name));
	ms->bytes = bytes_ref(bytes);
	return &ms->base;
}

static int mem_stage_create(struct backend *b, const char *name, const struct stage_hint *hint UNUSED,
			    struct stage **ret_st, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry **at = stage_find_locked(m, name);

	if (*at != NULL)
		return stow_fail(err, STOW_ALREADY_EXISTS, "stage %s: already exists", name);
	*at = x_calloc(1, sizeof(**at));
	memcpy((*at)->name, name, sizeof((*at)->name));
	(*at)->bytes = x_calloc(1, sizeof(*(*at)->bytes));
	(*at)->bytes->refs = 1;
	*ret_st = mem_stage_new(b, name, (*at)->bytes);
	return 0;
}

static int mem_stage_resume(struct backend *b, const char *name, uint64_t size,
			    const struct stage_hint *hint UNUSED, struct stage **ret_st, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry *e = *stage_find_locked(m, name);

	if (e == NULL)
		return fail_no_stage(name, err);
	if (e->bytes->len < size)
		return stow_fail(err, STOW_DATA_LOSS, "stage %s: has %zu bytes of %" PRIu64, name,
				 e->bytes->len, size);
	e->bytes->len = (size_t)size;
	*ret_st = mem_stage_new(b, name, e->bytes);
	return 0;
}

static int mem_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off,
			   struct stow_err *err)
{
	struct mem_stage *ms = mem_stage_from(st);
	struct bytes *b = ms->bytes;
	LOCK_SCOPE(&mem_from(st->backend)->store->lock); /* a stage_pread may run beside it */

	(void)err; /* memory does not run out: content/base/mem.h */
	assert(!ms->sealed && off == b->len);
	for (int i = 0; i < n; i++) {
		size_t add = iov[i].iov_len;

		if (add == 0)
			continue;
		if (b->cap - b->len < add) {
			b->cap = b->len + add > 2 * b->cap ? b->len + add : 2 * b->cap;
			b->p = x_reallocarray(b->p, b->cap, 1);
		}
		memcpy(b->p + b->len, iov[i].iov_base, add);
		b->len += add;
	}
	return 0;
}

static int mem_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	struct mem_stage *ms = mem_stage_from(st);

	(void)err;
	assert(!ms->sealed && size <= ms->bytes->len);
	ms->bytes->len = (size_t)size;
	return 0;
}

static int mem_stage_sync(struct stage *st, struct stow_err *err)
{
	(void)mem_stage_from(st); /* as durable as it will ever be */
	(void)err;
	return 0;
}

static int mem_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
			   struct stow_err *err)
{
	LOCK_SCOPE(&mem_from(st->backend)->store->lock);

	(void)err;
	*ret_n = bytes_read(mem_stage_from(st)->bytes, to, n, off);
	return 0;
}

static int mem_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	struct mem *m = mem_from(st->backend);
	struct mem_stage *ms = mem_stage_from(st);
	LOCK_SCOPE(&m->store->lock);
	struct entry **stage = stage_find_locked(m, ms->name);
	struct entry **blob = mem_find_blob_locked(m, d);

	assert(!ms->sealed);
	if (*stage == NULL)
		return fail_no_stage(ms->name, err);
	if (*blob == NULL)
		mem_add_blob_locked(m, d, ms->bytes);
	mem_entry_drop(stage);
	ms->sealed = true;
	return 0;
}

static void mem_stage_close(struct stage *st)
{
	struct mem_stage *ms = mem_stage_from(st);

	bytes_unref(ms->bytes);
	FREE_OBJ(ms);
}

static int mem_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry **at = stage_find_locked(m, name);

	if (*at == NULL)
		return fail_no_stage(name, err);
	mem_entry_drop(at);
	return 0;
}

static int mem_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	CLEANUP(freep) char(*seen)[STAGE_NAME_LEN + 1] = NULL;
	size_t n = 0;

	lock_take(&m->store->lock);
	for (const struct entry *e = m->stages; e != NULL; e = e->next) {
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		memcpy(seen[n++], e->name, sizeof(*seen));
	}
	lock_release(&m->store->lock);
	for (size_t i = 0; i < n; i++) {
		if (visit(arg, seen[i], err) < 0)
			return -1;
	}
	return 0;
}

/* --- what a cache asks --- */

static void mem_touch(struct backend *b, const struct digest *d)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct entry *e = *mem_find_blob_locked(m, d);

	if (e != NULL)
		e->used_ns = clock_wall_ns();
}

static int mem_space(struct backend *b, uint64_t *ret_free, uint64_t *ret_total, struct stow_err *err)
{
	struct sysinfo si;

	(void)mem_from(b);
	if (sysinfo(&si) < 0)
		return stow_fail_errno(err, errno, "ask how much memory there is");
	*ret_free = (uint64_t)si.freeram * si.mem_unit;
	*ret_total = (uint64_t)si.totalram * si.mem_unit;
	return 0;
}

static const struct backend_ops mem_ops = {
	.name = "mem",
	.free = mem_free,
	.stat = mem_stat,
	.open = mem_open,
	.close = mem_close,
	.pread = mem_pread,
	.remove = mem_remove,
	.scan = mem_scan,
	.stage_create = mem_stage_create,
	.stage_resume = mem_stage_resume,
	.stage_write = mem_stage_write,
	.stage_truncate = mem_stage_truncate,
	.stage_sync = mem_stage_sync,
	.stage_pread = mem_stage_pread,
	.stage_publish = mem_stage_publish,
	.stage_close = mem_stage_close,
	.stage_discard = mem_stage_discard,
	.stage_scan = mem_stage_scan,
	.touch = mem_touch,
	.space = mem_space,
	.behind = &mem_behind_ops,
};

static struct backend *mem_on(struct mem_store *store)
{
	struct mem *m = x_calloc(1, sizeof(*m));

	m->base.ops = &mem_ops;
	m->magic = MEM_MAGIC;
	m->store = store;
	return &m->base;
}

int mem_new(struct backend **ret_b, struct stow_err *err)
{
	struct mem_store *store = x_calloc(1, sizeof(*store));

	(void)err; /* nothing here can fail; the signature is that of every backend's maker */
	store->refs = 1;
	lock_init(&store->lock, RANK_BACKEND);
	*ret_b = mem_on(store);
	return 0;
}

struct backend *mem_share(struct backend *b)
{
	struct mem *m = mem_from(b);

	atomic_fetch_add(&m->store->refs, 1);
	return mem_on(m->store);
}
