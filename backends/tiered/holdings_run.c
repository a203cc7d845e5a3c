#include "backends/tiered/holdings_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <stdio.h>

/* --- one that is under way --- */

/* *ret_run is "" where there is none. */
static int read_run(struct holdings *h, char ret_run[NOTE_RUN_MAX], struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	struct note_run run = { 0 };

	buf_init(&text, NOTE_SMALL_LIMIT);
	if (holdings_get_note(h, NOTE_RUN, &text, err) < 0) {
		if (err->code != STOW_NOT_FOUND)
			return stow_wrap(err, "read " NOTE_RUN);
	} else if (note_run_read(&text, &run, err) < 0) {
		return stow_wrap(err, "read " NOTE_RUN);
	}
	memcpy(ret_run, run.run, sizeof(run.run));
	return 0;
}

static void add_mark(void *arg, const struct note_mark *m)
{
	keyset_add(arg, keyset_key(&m->digest));
}

static int read_marks(struct holdings *h, const char *run, struct keyset *to, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	char name[NOTE_NAME_SIZE];

	note_name(name, NOTE_MARKS, run);
	buf_init(&text, NOTE_LIMIT);
	if (holdings_get_note(h, name, &text, err) < 0 || note_marks_read(&text, run, add_mark, to, err) < 0)
		return stow_wrap(err, "read %s", name);
	return 0;
}

int holdings_check_run(struct holdings *h, const char *run, bool *ret_same, struct stow_err *err)
{
	char now[NOTE_RUN_MAX];

	if (read_run(h, now, err) < 0)
		return -1;
	*ret_same = strcmp(now, run) == 0;
	return 0;
}

/* The run that was under way has ended. */
static void end_run_locked(struct holdings *h)
{
	struct marks *m = holdings_run_locked(h);

	if (m == NULL)
		return;
	m->until_mono_ns = clock_mono_ns() + h->options.linger_ns;
	h->dirty = true; /* what was told for its sake alone */
}

static bool is_known_run(struct holdings *h, const char *run)
{
	LOCK_SCOPE(&h->lock);
	const struct marks *m = holdings_run_locked(h);

	if (m == NULL)
		return *run == '\0';
	if (*run == '\0') {
		end_run_locked(h);
		return true;
	}
	return strcmp(m->run, run) == 0;
}

static size_t count_runs(struct holdings *h)
{
	LOCK_SCOPE(&h->lock);
	size_t n = 0;

	for (const struct marks *m = h->marks; m != NULL; m = m->next)
		n++;
	return n;
}

static int begin_run(struct holdings *h, const char *run, struct stow_err *err)
{
	struct keyset marked = { 0 };
	struct marks *m;

	if (count_runs(h) >= LINGERING_MAX)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
				 "gc has run %d times of late: wait some minutes", LINGERING_MAX);
	if (read_marks(h, run, &marked, err) < 0) {
		keyset_free(&marked);
		return -1;
	}
	m = x_calloc(1, sizeof(*m));
	memcpy(m->run, run, sizeof(m->run));
	m->marked = marked;
	m->until_mono_ns = INT64_MAX;
	lock_take(&h->lock);
	end_run_locked(h);
	m->next = h->marks;
	h->marks = m;
	lock_release(&h->lock);
	if (h->options.marked != NULL)
		h->options.marked(h->options.arg);
	return 0;
}

/* --- one that has ended --- */

static int see_any(void *arg, const char *name UNUSED, uint64_t size UNUSED, int64_t modified_ns UNUSED,
		   struct stow_err *err UNUSED)
{
	*(bool *)arg = true;
	return 0;
}

static bool is_lingering(struct holdings *h, const struct marks *m)
{
	LOCK_SCOPE(&h->lock);
	return m->until_mono_ns != INT64_MAX && m->until_mono_ns > clock_mono_ns();
}

/* gc/run was seen to be gone before: who is not at work by now finds that, too, and removes nothing. */
static int settle_run(struct holdings *h, struct marks *m, struct stow_err *err)
{
	char run[NOTE_RUN_MAX + 1], name[NOTE_NAME_SIZE];
	bool any = false;

	(void)snprintf(run, sizeof(run), "%s-", m->run);
	note_name(name, NOTE_WORK, run);
	if (holdings_scan_notes(h, name, see_any, &any, err) < 0)
		return stow_wrap(err, "list %s", name);
	if (any)
		return 0;
	LOCK_SCOPE(&h->lock);
	m->until_mono_ns = clock_mono_ns();
	return 0;
}

int holdings_learn_run(struct holdings *h, struct stow_err *err)
{
	char run[NOTE_RUN_MAX];

	if (read_run(h, run, err) < 0 || (!is_known_run(h, run) && begin_run(h, run, err) < 0))
		return -1;
	for (struct marks *m = h->marks; m != NULL; m = m->next) /* only this thread changes the list */
		if (is_lingering(h, m) && settle_run(h, m, err) < 0)
			return -1;
	return 0;
}
