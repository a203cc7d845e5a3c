#include "backends/mem_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <inttypes.h>

/* Nothing is sent while the source grows: a sending reads it when it is finished. So a record has nothing
 * to say but that there was one. */

#define MEM_SENDING_MAGIC 0x3e3004u

enum { READ_STEP = 1 << 20 };

struct record {
	struct record *next;
	char name[SENDING_RECORD_MAX];
	bool open;
	bool sent; /* another backend would have sent some of it: stays when it is closed */
};
struct note {
	struct note *next;
	char *name;
	uint8_t *p;
	size_t n;
	int64_t modified_ns;
};
struct mem_sending {
	struct sending base;
	unsigned magic;
	struct record *record;
	bool named; /* it is known what the blob will be called */
	sending_read *read;
	void *arg;
};

static struct mem_sending *sending_from(struct sending *s)
{
	struct mem_sending *ms = CONTAINER_OF(s, struct mem_sending, base);

	CHECK_OBJ(ms, MEM_SENDING_MAGIC);
	return ms;
}

/* --- records --- */

static struct record **record_find_locked(struct mem *m, const char *name)
{
	struct record **at = &m->records;

	LOCK_ASSERT(&m->store->lock);
	while (*at != NULL && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

static void record_drop(struct record **at)
{
	struct record *r = *at;

	*at = r->next;
	free(r);
}

void mem_records_free(struct mem *m)
{
	while (m->records != NULL) {
		assert(!m->records->open);
		record_drop(&m->records);
	}
}

static int fail_open(const char *record, struct stow_err *err)
{
	return stow_fail(err, STOW_ALREADY_EXISTS, "sending %s: is open", record);
}

/* The record of that name, for who will have it open. */
static int record_claim_locked(struct mem *m, const char *name, struct record **ret_r, struct stow_err *err)
{
	struct record **at = record_find_locked(m, name);

	assert(sending_record_ok(name));
	if (*at == NULL) {
		*at = x_calloc(1, sizeof(**at));
		memcpy((*at)->name, name, strlen(name) + 1);
	} else if ((*at)->open) {
		return fail_open(name, err);
	}
	(*at)->open = true;
	*ret_r = *at;
	return 0;
}

/* --- sending --- */

static int mem_send_open(struct backend *b, const char *record, const struct stage_hint *hint, uint64_t have,
			 sending_read *read, void *arg, struct sending **ret_s, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct mem_sending *ms;
	struct record *r;

	(void)have;
	if (record_claim_locked(m, record, &r, err) < 0)
		return -1;
	ms = x_calloc(1, sizeof(*ms));
	ms->base.backend = b;
	ms->magic = MEM_SENDING_MAGIC;
	ms->record = r;
	ms->named = digest_is_set(&hint->digest);
	ms->read = read;
	ms->arg = arg;
	*ret_s = &ms->base;
	return 0;
}

static void mem_send_advance(struct sending *s, uint64_t have)
{
	struct mem_sending *ms = sending_from(s);
	LOCK_SCOPE(&mem_from(s->backend)->store->lock);

	if (ms->named && have > 0)
		ms->record->sent = true;
}

static int mem_send_rewind(struct sending *s, struct stow_err *err)
{
	struct mem_sending *ms = sending_from(s);
	LOCK_SCOPE(&mem_from(s->backend)->store->lock);

	(void)err;
	ms->record->sent = false;
	return 0;
}

static int mem_send_move(struct sending *s, const char *record, sending_read *read, void *arg,
			 struct stow_err *err)
{
	struct mem_sending *ms = sending_from(s);
	struct mem *m = mem_from(s->backend);
	LOCK_SCOPE(&m->store->lock);
	struct record *r = ms->record;

	if (strcmp(r->name, record) != 0) {
		if (record_claim_locked(m, record, &r, err) < 0)
			return -1;
		r->sent = ms->record->sent;
		record_drop(record_find_locked(m, ms->record->name));
	}
	ms->record = r;
	ms->read = read;
	ms->arg = arg;
	return 0;
}

static int read_source(struct mem_sending *ms, uint64_t size, struct bytes **ret_b, struct stow_err *err)
{
	struct bytes *b = x_calloc(1, sizeof(*b));

	b->refs = 1;
	b->p = x_malloc(size);
	for (b->cap = size; b->len < size;) {
		size_t n = size - b->len < READ_STEP ? size - b->len : READ_STEP;

		if (ms->read(ms->arg, b->len, b->p + b->len, n, err) < 0) {
			bytes_unref(b);
			return -1;
		}
		b->len += n;
	}
	*ret_b = b;
	return 0;
}

/* A blob of another size is none, so ours takes its place, as one that is known to be wrong. */
static int mem_send_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags,
			   struct stow_err *err)
{
	struct mem_sending *ms = sending_from(s);
	struct mem *m = mem_from(s->backend);
	struct bytes *bytes;
	struct entry **at;

	if (read_source(ms, size, &bytes, err) < 0)
		return -1;
	lock_take(&m->store->lock);
	at = mem_find_blob_locked(m, d);
	if (*at != NULL && ((flags & SENDING_REPLACE) || (*at)->bytes->len != size))
		mem_entry_drop(at);
	if (*mem_find_blob_locked(m, d) == NULL)
		mem_add_blob_locked(m, d, bytes);
	ms->record->sent = false;
	lock_release(&m->store->lock);
	bytes_unref(bytes);
	return 0;
}

static void mem_send_close(struct sending *s, bool forget)
{
	struct mem_sending *ms = sending_from(s);
	struct mem *m = mem_from(s->backend);
	LOCK_SCOPE(&m->store->lock);

	ms->record->open = false;
	if (forget || !ms->record->sent)
		record_drop(record_find_locked(m, ms->record->name));
	FREE_OBJ(ms);
}

static int mem_send_discard(struct backend *b, const char *record, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	struct record **at = record_find_locked(m, record);

	if (*at == NULL)
		return stow_fail(err, STOW_NOT_FOUND, "sending %s: not found", record);
	if ((*at)->open)
		return fail_open(record, err);
	record_drop(at);
	return 0;
}

static int mem_send_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	CLEANUP(freep) char(*seen)[SENDING_RECORD_MAX] = NULL;
	size_t n = 0;

	lock_take(&m->store->lock);
	for (const struct record *r = m->records; r != NULL; r = r->next) {
		if (!r->sent)
			continue;
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		memcpy(seen[n++], r->name, sizeof(*seen));
	}
	lock_release(&m->store->lock);
	for (size_t i = 0; i < n; i++) {
		if (visit(arg, seen[i], err) < 0)
			return -1;
	}
	return 0;
}

/* --- notes --- */

/* The note of that name, or the place where it belongs: see *ret_there. */
static struct note **note_find_locked(struct mem *m, const char *name, bool *ret_there)
{
	struct note **at = &m->store->notes;

	LOCK_ASSERT(&m->store->lock);
	assert(note_name_ok(name));
	while (*at != NULL && strcmp((*at)->name, name) < 0)
		at = &(*at)->next;
	*ret_there = *at != NULL && strcmp((*at)->name, name) == 0;
	return at;
}

static void note_drop(struct note **at)
{
	struct note *note = *at;

	*at = note->next;
	free(note->name);
	free(note->p);
	free(note);
}

void mem_notes_free(struct mem_store *s)
{
	while (s->notes != NULL)
		note_drop(&s->notes);
}

static int mem_note_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
			struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	bool there;
	struct note **at = note_find_locked(m, name, &there);
	struct note *note;

	if (there && (flags & NOTE_IF_ABSENT))
		return stow_fail(err, STOW_ALREADY_EXISTS, "note %s: already exists", name);
	if (there)
		note_drop(at);
	note = x_calloc(1, sizeof(*note));
	note->name = x_strdup(name);
	note->p = x_malloc(n);
	note->n = n;
	if (n > 0)
		memcpy(note->p, data, n);
	note->modified_ns = clock_wall_ns();
	note->next = *at;
	*at = note;
	return 0;
}

static int mem_note_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	bool there;
	const struct note *note = *note_find_locked(m, name, &there);

	if (!there)
		return stow_fail(err, STOW_NOT_FOUND, "note %s: not found", name);
	if (buf_append(to, note->p, note->n, err) < 0)
		return stow_wrap(err, "note %s", name);
	return 0;
}

static int mem_note_remove(struct backend *b, const char *name, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->store->lock);
	bool there;
	struct note **at = note_find_locked(m, name, &there);

	(void)err;
	if (there)
		note_drop(at);
	return 0;
}

static int mem_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg,
			 struct stow_err *err)
{
	struct mem *m = mem_from(b);
	CLEANUP(freep) struct seen {
		char name[NOTE_NAME_MAX + 1];
		uint64_t size;
		int64_t modified_ns;
	} *seen = NULL;
	size_t n = 0;

	assert(*prefix != '\0');
	lock_take(&m->store->lock);
	for (const struct note *note = m->store->notes; note != NULL; note = note->next) {
		if (strncmp(note->name, prefix, strlen(prefix)) != 0)
			continue;
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		seen[n].size = note->n;
		seen[n].modified_ns = note->modified_ns;
		memcpy(seen[n++].name, note->name, strlen(note->name) + 1);
	}
	lock_release(&m->store->lock);
	for (size_t i = 0; i < n; i++) {
		if (visit(arg, seen[i].name, seen[i].size, seen[i].modified_ns, err) < 0)
			return -1;
	}
	return 0;
}

static int mem_drop(struct backend *b, const struct digest *d, int64_t until_mono_ns UNUSED,
		    struct stow_err *err)
{
	return backend_remove(b, d, err);
}

/* Memory is always there. */
static int mem_probe(struct backend *b, struct stow_err *err)
{
	(void)b, (void)err;
	return 0;
}

const struct behind_ops mem_behind_ops = {
	.look = mem_stat,
	.drop = mem_drop,
	.probe = mem_probe,
	.send_open = mem_send_open,
	.send_advance = mem_send_advance,
	.send_rewind = mem_send_rewind,
	.send_move = mem_send_move,
	.send_finish = mem_send_finish,
	.send_close = mem_send_close,
	.send_discard = mem_send_discard,
	.send_scan = mem_send_scan,
	.note_put = mem_note_put,
	.note_get = mem_note_get,
	.note_remove = mem_note_remove,
	.note_scan = mem_note_scan,
};
