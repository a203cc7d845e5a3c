/* Notes: objects "<prefix>/<name>", beside "<prefix>/blobs/". */
#include "backends/s3/s3_internal.h"
#include "content/base/mem.h"

enum {
	GET_STEP = 4 << 20, /* bytes of a request */
	GET_TRIES = 5,      /* of a note that is replaced meanwhile */
};

static char *note_key(const struct s3 *s, const char *name)
{
	assert(note_name_ok(name) && strncmp(name, "blobs/", 6) != 0);
	return x_asprintf("%s%s", s->prefix, name);
}

static int fail_note(const char *name, struct stow_err *err)
{
	if (err->code == STOW_NOT_FOUND)
		return stow_fail(err, STOW_NOT_FOUND, "note %s: not found", name);
	if (err->code == STOW_ABORTED)
		err->code = STOW_UNAVAILABLE; /* somebody else wrote it at the same time: try again */
	return s3_fail(err);
}

struct text {
	const uint8_t *p;
	size_t n;
};

static int read_text(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	const struct text *text = arg;

	assert(off <= text->n && n <= text->n - off);
	memcpy(to, text->p + off, n);
	return 0;
}

int s3_note_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
		struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = note_key(s, name);
	struct text text = { .p = data, .n = n };
	struct s3_body body = { .size = n, .read = read_text, .arg = &text };
	struct s3_object o;

	if (s3_put(s->client, key, &body, (flags & NOTE_IF_ABSENT) != 0 ? S3_IF_ABSENT : 0, &o, err) == 0)
		return 0;
	if ((flags & NOTE_IF_ABSENT) != 0 &&
	    (err->code == STOW_ALREADY_EXISTS || err->code == STOW_UNIMPLEMENTED))
		return -1;
	return fail_note(name, err);
}

/* One version of it, of which *to has nothing after a failure. *ret_changed: there is another one now. */
static int get_once(struct s3 *s, const char *key, struct buf *to, bool *ret_changed, struct stow_err *err)
{
	size_t before = to->len;
	struct s3_object o;
	uint8_t *p;

	if (s3_head_sure(s->client, key, 1, &o, err) < 0)
		return -1;
	if (o.size > to->max - before)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "%s has %llu bytes: at most %zu are expected",
				 key, (unsigned long long)o.size, to->max - before);
	if (o.size == 0)
		return 0;
	if (buf_extend(to, (size_t)o.size, &p, err) < 0)
		return -1;
	for (uint64_t off = 0; off < o.size;) {
		size_t n = o.size - off < GET_STEP ? (size_t)(o.size - off) : GET_STEP;

		if (s3_get(s->client, key, o.etag, off, n, p + off, err) < 0) {
			to->len = before;
			*ret_changed = err->code == STOW_FAILED_PRECONDITION ||
				       err->code == STOW_OUT_OF_RANGE;
			return -1;
		}
		off += n;
	}
	return 0;
}

int s3_note_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = note_key(s, name);

	for (int i = 1;; i++) {
		bool changed = false;

		if (get_once(s, key, to, &changed, err) == 0)
			return 0;
		if (changed && i < GET_TRIES)
			continue;
		if (changed)
			err->code = STOW_UNAVAILABLE;
		return fail_note(name, err);
	}
}

int s3_note_remove(struct backend *b, const char *name, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = note_key(s, name);

	if (s3_delete(s->client, key, err) == 0 || err->code == STOW_NOT_FOUND)
		return 0;
	return fail_note(name, err);
}

struct scan {
	size_t skip; /* the backend's prefix */
	note_visit *visit;
	void *arg;
};

/* Other names are somebody else's. */
static int see_key(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	const struct scan *scan = arg;

	if (!note_name_ok(key + scan->skip))
		return 0;
	return scan->visit(scan->arg, key + scan->skip, o->size, o->modified_ns, err);
}

int s3_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct scan scan = { .skip = strlen(s->prefix), .visit = visit, .arg = arg };
	CLEANUP(freep) char *all = x_asprintf("%s%s", s->prefix, prefix);

	assert(*prefix != '\0');
	return s3_list(s->client, all, NULL, 0, see_key, &scan, err);
}
