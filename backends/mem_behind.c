/* What stands behind a tiered backend, in memory. A sending keeps nothing before its end: it reads its source
 * then. Its record is remembered all the same, as one of a real upload would be. */
#include "backends/mem_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"

#define MEM_SENDING_MAGIC 0x3e3004u

enum { SENDING_CHUNK = 1 << 20 };

struct record {
	struct record *next;
	char name[SENDING_RECORD_MAX];
	bool open;
};

struct note {
	struct note *next;
	char *name;
	void *data;
	size_t n;
	int64_t modified_ns;
};

struct mem_sending {
	unsigned magic;
	struct mem *m;
	char record[SENDING_RECORD_MAX];
	sending_read *read;
	void *arg;
};

static struct mem_sending *sending_from(struct sending *s)
{
	struct mem_sending *ms = (struct mem_sending *)(void *)s;

	CHECK_OBJ(ms, MEM_SENDING_MAGIC);
	return ms;
}

static int mem_look(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err)
{
	return backend_stat(b, d, ret_st, err);
}

/* --- records --- */

static struct record **record_find_locked(struct mem *m, const char *name)
{
	struct record **at = &m->records;

	LOCK_ASSERT(&m->lock);
	while (*at != NULL && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

static void record_set_name(char to[SENDING_RECORD_MAX], const char *name)
{
	assert(strlen(name) < SENDING_RECORD_MAX);
	memset(to, 0, SENDING_RECORD_MAX);
	memcpy(to, name, strlen(name));
}

static void record_drop(struct record **at)
{
	struct record *r = *at;

	if (r == NULL)
		return;
	*at = r->next;
	free(r);
}

/* Makes it, or takes up one that no sending has; false if one has. */
static bool record_take(struct mem *m, const char *name)
{
	LOCK_SCOPE(&m->lock);
	struct record **at = record_find_locked(m, name);

	if (*at == NULL) {
		*at = x_calloc(1, sizeof(**at));
		record_set_name((*at)->name, name);
	}
	if ((*at)->open)
		return false;
	(*at)->open = true;
	return true;
}

static void record_leave(struct mem *m, const char *name, bool forget)
{
	LOCK_SCOPE(&m->lock);
	struct record **at = record_find_locked(m, name);

	if (forget)
		record_drop(at);
	else if (*at != NULL)
		(*at)->open = false;
}

static int fail_in_use(const char *record, struct stow_err *err)
{
	return stow_fail(err, STOW_ALREADY_EXISTS, "sending %s: is open", record);
}

/* --- sending --- */

static int mem_send_open(struct backend *b, const char *record, const struct stage_hint *hint UNUSED,
			 uint64_t have UNUSED, sending_read *read, void *arg, struct sending **ret_s,
			 struct stow_err *err)
{
	struct mem_sending *ms;

	if (!record_take(mem_from(b), record))
		return fail_in_use(record, err);
	ms = x_calloc(1, sizeof(*ms));
	ms->magic = MEM_SENDING_MAGIC;
	ms->m = mem_from(b);
	record_set_name(ms->record, record);
	ms->read = read;
	ms->arg = arg;
	*ret_s = (struct sending *)(void *)ms;
	return 0;
}

static void mem_send_advance(struct sending *s, uint64_t have UNUSED)
{
	(void)sending_from(s);
}

static int mem_send_rewind(struct sending *s, struct stow_err *err UNUSED)
{
	(void)sending_from(s);
	return 0;
}

static int mem_send_move(struct sending *s, const char *record, sending_read *read, void *arg,
			 struct stow_err *err)
{
	struct mem_sending *ms = sending_from(s);

	if (!record_take(ms->m, record))
		return fail_in_use(record, err);
	record_leave(ms->m, ms->record, true);
	record_set_name(ms->record, record);
	ms->read = read;
	ms->arg = arg;
	return 0;
}

static int mem_send_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags,
			   struct stow_err *err)
{
	struct mem_sending *ms = sending_from(s);
	CLEANUP(freep) uint8_t *bytes = x_malloc((size_t)size);

	for (uint64_t off = 0; off < size;) {
		size_t n = size - off < SENDING_CHUNK ? (size_t)(size - off) : SENDING_CHUNK;

		if (ms->read(ms->arg, off, bytes + off, n, err) < 0)
			return -1;
		off += n;
	}
	mem_put(ms->m, d, TAKE(bytes), (size_t)size, (flags & SENDING_REPLACE) != 0);
	record_leave(ms->m, ms->record, true);
	return 0;
}

static void mem_send_close(struct sending *s, bool forget)
{
	struct mem_sending *ms = sending_from(s);

	record_leave(ms->m, ms->record, forget);
	FREE_OBJ(ms);
}

static int mem_send_discard(struct backend *b, const char *record, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->lock);
	struct record **at = record_find_locked(m, record);

	if (*at == NULL)
		return stow_fail(err, STOW_NOT_FOUND, "sending %s: not found", record);
	if ((*at)->open)
		return fail_in_use(record, err);
	record_drop(at);
	return 0;
}

static int mem_send_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	CLEANUP(freep) char(*seen)[SENDING_RECORD_MAX] = NULL;
	size_t n = 0;

	lock_take(&m->lock);
	for (const struct record *r = m->records; r != NULL; r = r->next) {
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		memcpy(seen[n++], r->name, sizeof(*seen));
	}
	lock_release(&m->lock);
	for (size_t i = 0; i < n; i++) {
		if (visit(arg, seen[i], err) < 0)
			return -1;
	}
	return 0;
}

/* --- notes --- */

/* Where it hangs, or would hang, in the order of the names. */
static struct note **note_find_locked(struct mem *m, const char *name, bool *ret_there)
{
	struct note **at = &m->notes;

	LOCK_ASSERT(&m->lock);
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
	free(note->data);
	free(note);
}

static int mem_note_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
			struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->lock);
	struct note **at, *note;
	bool there;

	at = note_find_locked(m, name, &there);
	if (there && (flags & NOTE_IF_ABSENT) != 0)
		return stow_fail(err, STOW_ALREADY_EXISTS, "note %s: already exists", name);
	if (there)
		note_drop(at);
	note = x_calloc(1, sizeof(*note));
	note->name = x_strdup(name);
	note->data = x_malloc(n);
	if (n > 0)
		memcpy(note->data, data, n);
	note->n = n;
	note->modified_ns = clock_wall_ns();
	note->next = *at;
	*at = note;
	return 0;
}

static int mem_note_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->lock);
	struct note **at;
	bool there;

	at = note_find_locked(m, name, &there);
	if (!there)
		return stow_fail(err, STOW_NOT_FOUND, "note %s: not found", name);
	return buf_append(to, (*at)->data, (*at)->n, err);
}

static int mem_note_remove(struct backend *b, const char *name, struct stow_err *err UNUSED)
{
	struct mem *m = mem_from(b);
	LOCK_SCOPE(&m->lock);
	struct note **at;
	bool there;

	at = note_find_locked(m, name, &there);
	if (there)
		note_drop(at);
	return 0;
}

/* Visitors may do as they like, so they are called on a copy, with no lock held. */
static int mem_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg,
			 struct stow_err *err)
{
	struct mem *m = mem_from(b);
	struct note *seen = NULL;
	size_t n = 0;
	int result = 0;

	lock_take(&m->lock);
	for (const struct note *note = m->notes; note != NULL; note = note->next) {
		if (strncmp(note->name, prefix, strlen(prefix)) != 0)
			continue;
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		seen[n] = *note;
		seen[n++].name = x_strdup(note->name);
	}
	lock_release(&m->lock);
	for (size_t i = 0; i < n; i++) {
		if (result == 0)
			result = visit(arg, seen[i].name, seen[i].n, seen[i].modified_ns, err);
		free(seen[i].name);
	}
	free(seen);
	return result < 0 ? -1 : 0;
}

void mem_behind_free(struct mem *m)
{
	while (m->notes != NULL)
		note_drop(&m->notes);
	while (m->records != NULL)
		record_drop(&m->records);
}

const struct behind_ops mem_behind_ops = {
	.look = mem_look,
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
