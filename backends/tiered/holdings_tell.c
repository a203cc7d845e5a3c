#include "backends/tiered/holdings_internal.h"
#include "content/base/clock.h"
#include "content/base/hash.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "content/behind.h"

#include <fcntl.h>
#include <stdio.h>

/* Rows in one transaction. */
enum { ROWS_AT_ONCE = 1000 };
/* Notes of more than this are told less often: after as many intervals as they have of these. */
enum { NOTE_OFTEN = 1 << 20 };
/* An unchanged note is written again so many times in a grace. */
enum { RENEWALS = 8 };

/* --- the note's name --- */

/* Of the machine's id, or of nothing where it has none. */
static void machine_hash(char out[DIGEST_HEX_MAX])
{
	CLEANUP(hash_freep) struct hash *hash = hash_new(DIGEST_SHA256);
	CLEANUP(fd_closep) int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char id[128];
	struct digest d;
	ssize_t n = fd >= 0 ? read(fd, id, sizeof(id)) : 0;

	hash_update(hash, "stowage", strlen("stowage"));
	if (n > 0)
		hash_update(hash, id, (size_t)n);
	hash_digest(hash, &d);
	digest_format_hex(&d, out);
}

void holdings_set_name(struct holdings *h)
{
	char machine[DIGEST_HEX_MAX];
	int n;

	machine_hash(machine);
	n = snprintf(h->name, sizeof(h->name), NOTE_NODES "%s-%.8s", meta_node_id(h->meta), machine);
	assert(n > 0 && (size_t)n < sizeof(h->name));
}

/* For people: what a note cannot hold, or a terminal, is left out. */
static void host_name(char out[NOTE_HOST_MAX])
{
	if (gethostname(out, NOTE_HOST_MAX) < 0)
		*out = '\0';
	out[NOTE_HOST_MAX - 1] = '\0';
	for (char *p = out; *p != '\0'; p++)
		if (!(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
		    *p != '-' && *p != '.')
			*p = '_';
}

/* --- exchanges --- */

static const struct behind_ops *behind(const struct holdings *h)
{
	return h->options.tier->backend->ops->behind;
}

/* Passes on what an exchange gave that tier_ask() has begun, and reports it. */
static int reported(struct holdings *h, int rc, const struct stow_err *err)
{
	tier_report(h->options.tier, rc < 0 ? err : NULL);
	return rc;
}

int holdings_get_note(struct holdings *h, const char *name, struct buf *to, struct stow_err *err)
{
	tier_ask(h->options.tier);
	return reported(h, behind(h)->note_get(h->options.tier->backend, name, to, err), err);
}

int holdings_scan_notes(struct holdings *h, const char *prefix, note_visit *visit, void *arg,
			struct stow_err *err)
{
	tier_ask(h->options.tier);
	return reported(h, behind(h)->note_scan(h->options.tier->backend, prefix, visit, arg, err), err);
}

struct own_note {
	const char *name;
	bool found;
	int64_t modified_ns;
};

static int own_note_seen(void *arg, const char *name, uint64_t size UNUSED, int64_t modified_ns,
			 struct stow_err *err UNUSED)
{
	struct own_note *own = arg;

	if (strcmp(name, own->name) == 0) {
		own->found = true;
		own->modified_ns = modified_ns;
	}
	return 0;
}

static int find_own(struct holdings *h, struct own_note *ret_own, struct stow_err *err)
{
	*ret_own = (struct own_note){ .name = h->name };
	return holdings_scan_notes(h, h->name, own_note_seen, ret_own, err);
}

/* --- taken for dead --- */

static int any_remote(void *arg, const struct digest *d UNUSED, int64_t seen_ns UNUSED,
		      struct stow_err *err UNUSED)
{
	*(bool *)arg = true;
	return 1;
}

/* A node that knows nothing to be behind has nothing to forget: most often it is a new one. */
static int knows_any(struct holdings *h, bool *ret_any, struct stow_err *err)
{
	struct digest cursor = { 0 };
	size_t n;

	*ret_any = false;
	return meta_remote_next(h->meta, &cursor, 1, any_remote, ret_any, &n, err);
}

/* Nothing of what this node has told counts any more. */
static void forget(struct holdings *h)
{
	lock_take(&h->lock);
	h->ready = false;
	for (struct marks *m = h->marks; m != NULL; m = m->next)
		keyset_free(&m->kept);
	lock_release(&h->lock);
	h->registered = false;
	log_warn(
		"the fleet has taken this node for gone, or may have: all that is behind is looked for again",
		LOG_S("storage", h->options.tier->name), LOG_S("note", h->name));
	h->options.forgotten(h->options.arg);
}

/* Whether the note is there, and as new as it must be. Before it is written again: so an end of the process
 * in between changes nothing. */
static int look_at_own(struct holdings *h, struct stow_err *err)
{
	struct own_note own;
	bool late, any;

	if (find_own(h, &own, err) < 0 || knows_any(h, &any, err) < 0)
		return -1;
	lock_take(&h->lock);
	late = h->registered ? holdings_is_late_locked(h)
			     : own.modified_ns > 0 &&
				       clock_wall_ns() - own.modified_ns > h->options.grace_ns / 4 * 3;
	lock_release(&h->lock);
	if ((!own.found || late) && (h->registered || any))
		forget(h);
	return 0;
}

/* --- telling --- */

/* A note in the making. */
struct telling {
	struct buf text;
	uint64_t n;
	struct keyset asked[2];      /* what was asked for before it */
	struct keyset rowed;         /* of these, what has a row by now */
	const struct keyset *marked; /* the run's, or NULL; only this thread changes or frees it */
	char run[NOTE_RUN_MAX];
	struct keyset told;       /* of these, what the note has */
	int64_t wall_ns, mono_ns; /* when it was begun */
};

static void telling_free(struct telling *t)
{
	buf_free(&t->text);
	keyset_free(&t->asked[0]);
	keyset_free(&t->asked[1]);
	keyset_free(&t->rowed);
	keyset_free(&t->told);
}

static int tell_key(struct telling *t, uint64_t key, struct stow_err *err)
{
	if (t->marked != NULL && keyset_has(t->marked, key))
		keyset_add(&t->told, key);
	t->n++;
	return note_node_key(&t->text, key, err);
}

static int tell_all(struct telling *t, const struct keyset *s, struct stow_err *err)
{
	uint64_t key;

	for (size_t at = 0; keyset_next(s, &at, &key);)
		if (tell_key(t, key, err) < 0)
			return -1;
	return 0;
}

static int tell_row(void *arg, const struct blob_info *i, struct stow_err *err)
{
	struct telling *t = arg;
	uint64_t key = keyset_key(&i->digest);

	if (keyset_has(&t->asked[0], key) || keyset_has(&t->asked[1], key))
		keyset_add(&t->rowed, key);
	return tell_key(t, key, err);
}

static int tell_rows(struct holdings *h, struct telling *t, struct stow_err *err)
{
	struct digest cursor = { 0 };
	size_t n;

	do {
		if (meta_blobs_next(h->meta, &cursor, ROWS_AT_ONCE, tell_row, t, &n, err) < 0)
			return -1;
	} while (n == ROWS_AT_ONCE);
	return 0;
}

static struct keyset take_set(struct keyset *s)
{
	struct keyset taken = *s;

	*s = (struct keyset){ 0 };
	return taken;
}

/* What was asked for is taken before the rows are read: what gets its row meanwhile is in one of them. */
static int make_note(struct holdings *h, struct telling *t, bool last, struct stow_err *err)
{
	struct note_node note = { .grace_ns = h->options.grace_ns, .stopped = last };
	const struct marks *run;

	t->wall_ns = note.time_ns = clock_wall_ns();
	t->mono_ns = clock_mono_ns();
	host_name(note.host);
	lock_take(&h->lock);
	h->dirty = false;
	h->telling = true;
	run = holdings_run_locked(h);
	for (int i = 0; i < 2; i++)
		t->asked[i] = take_set(&h->asked[i]);
	lock_release(&h->lock);
	if (run != NULL) {
		t->marked = &run->marked;
		memcpy(t->run, run->run, sizeof(t->run));
		memcpy(note.run, run->run, sizeof(note.run));
	}
	if (note_node_begin(&t->text, &note, err) < 0 || tell_all(t, &t->asked[0], err) < 0 ||
	    tell_all(t, &t->asked[1], err) < 0 || (run != NULL && tell_all(t, &run->kept, err) < 0) ||
	    tell_rows(h, t, err) < 0)
		return -1;
	return note_node_end(&t->text, t->n, err);
}

/* What has no row yet goes on being told. */
static void give_back_asked(struct holdings *h, struct telling *t)
{
	LOCK_SCOPE(&h->lock);

	keyset_add_all(&t->rowed, &h->gone, NULL);
	keyset_free(&h->gone);
	h->telling = false;
	for (int i = 0; i < 2; i++)
		keyset_add_all(&h->asked[i], &t->asked[i], &t->rowed);
	if (clock_mono_ns() - h->asked_mono_ns < ASKED_NS)
		return;
	keyset_free(&h->asked[1]);
	h->asked[1] = take_set(&h->asked[0]);
	h->asked_mono_ns = clock_mono_ns();
}

/* *ret_swept: gc may not read again what was told before. gc/sweep is looked for first: while gc/run is there
 * afterwards, it had not been made. Else it may have been, and have gone with the run. */
static int is_swept(struct holdings *h, const char *run, bool *ret_swept, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	char name[NOTE_NAME_SIZE];
	bool same;

	note_name(name, NOTE_SWEEP, run);
	buf_init(&text, NOTE_SMALL_LIMIT);
	*ret_swept = holdings_get_note(h, name, &text, err) == 0;
	if (*ret_swept)
		return 0;
	if (err->code != STOW_NOT_FOUND)
		return stow_wrap(err, "read %s", name);
	if (holdings_check_run(h, run, &same, err) < 0)
		return -1;
	*ret_swept = !same;
	return 0;
}

/* What is marked, and was told before gc began to remove, stays; gc has yet to read it. */
static int keep_told(struct holdings *h, const struct telling *t, struct stow_err *err)
{
	struct marks *run;
	size_t before;
	bool swept, more;

	if (keyset_count(&t->told) == 0)
		return 0;
	if (is_swept(h, t->run, &swept, err) < 0)
		return -1;
	lock_take(&h->lock);
	run = holdings_run_locked(h);
	assert(run != NULL && strcmp(run->run, t->run) == 0);
	before = keyset_count(&run->kept);
	if (swept) {
		run->swept = true;
		holdings_look_soon_locked(h); /* only the run's end helps whoever wants it */
	} else if (!run->swept) {
		keyset_add_all(&run->kept, &t->told, NULL);
	}
	more = keyset_count(&run->kept) > before;
	lock_release(&h->lock);
	if (more && h->options.returned != NULL)
		h->options.returned(h->options.arg);
	return 0;
}

static int put_note(struct holdings *h, const struct telling *t, struct stow_err *err)
{
	struct backend *b = h->options.tier->backend;

	/* Not reported: a storage that takes nothing can be looked at still. */
	if (behind(h)->note_put(b, h->name, t->text.p, t->text.len, 0, err) < 0)
		return stow_wrap(err, "write %s", h->name);
	lock_take(&h->lock);
	h->told_wall_ns = t->wall_ns;
	h->told_mono_ns = t->mono_ns;
	lock_release(&h->lock);
	memcpy(h->told_run, t->run, sizeof(h->told_run));
	h->next_mono_ns = t->mono_ns + (int64_t)(1 + t->text.len / NOTE_OFTEN) * h->options.interval_ns;
	h->registered = true;
	return 0;
}

static int tell(struct holdings *h, bool last, struct stow_err *err)
{
	CLEANUP(telling_free) struct telling t = { 0 };
	int rc;

	buf_init(&t.text, NOTE_LIMIT);
	rc = make_note(h, &t, last, err);
	if (rc == 0)
		rc = put_note(h, &t, err);
	give_back_asked(h, &t);
	if (rc == 0 && !last)
		rc = keep_told(h, &t, err);
	if (rc == 0)
		return 0;
	lock_take(&h->lock);
	h->dirty = true;
	lock_release(&h->lock);
	return -1;
}

static bool must_tell(struct holdings *h)
{
	int64_t now = clock_mono_ns();
	LOCK_SCOPE(&h->lock);
	const struct marks *run = holdings_run_locked(h);
	bool urgent = h->urgent;

	h->urgent = false;
	return urgent || (run != NULL && strcmp(run->run, h->told_run) != 0) ||
	       (h->dirty && now >= h->next_mono_ns) ||
	       now - h->told_mono_ns > h->options.grace_ns / RENEWALS ||
	       clock_wall_ns() - h->told_wall_ns > h->options.grace_ns / RENEWALS;
}

/* Tells, if there is no note of this process; looks for a run; and tells, if there is something new. */
static int tell_and_learn(struct holdings *h, bool *ret_due, struct stow_err *err)
{
	if ((!h->registered && tell(h, false, err) < 0) || holdings_learn_run(h, err) < 0)
		return -1;
	*ret_due = must_tell(h);
	return 0;
}

int holdings_round(struct holdings *h, struct stow_err *err)
{
	bool due;

	if ((!h->registered && look_at_own(h, err) < 0) || tell_and_learn(h, &due, err) < 0)
		return -1;
	if (!due)
		return 0;
	/* It may have been removed since: then all begins anew. */
	if (look_at_own(h, err) < 0)
		return -1;
	if (!h->registered && tell_and_learn(h, &due, err) < 0)
		return -1;
	return due ? tell(h, false, err) : 0;
}

int holdings_tell_end(struct holdings *h, struct stow_err *err)
{
	return tell(h, true, err);
}
