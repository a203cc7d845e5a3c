#include "backends/tiered/gc_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { LEFTOVERS_MAX = 4096 }; /* at a time */
/* What a killed run has left is removed when it is older: nobody works with it any more. */
static const int64_t LEFTOVER_NS = 24 * 3600 * NSEC_PER_SEC;
/* How long a run without an atomic beginning waits for another one that began with it. */
static const int64_t SETTLE_NS = 5 * NSEC_PER_SEC;
/* A note that was older than this when it was listed, and has the same time now, has not changed since: times
 * may be whole seconds, and clocks of several servers. */
static const int64_t STEADY_NS = 10 * NSEC_PER_SEC;
/* How soon a stop is noticed. */
static const int64_t STOP_NS = 100 * NSEC_PER_MSEC;

int gc_begin(struct gc *g, const struct gc_options *o, struct stow_err *err)
{
	*g = (struct gc){ .o = o, .behind = o->bucket->ops->behind };
	if (g->behind == NULL || g->behind->note_put == NULL)
		return stow_fail(err, STOW_UNIMPLEMENTED,
				 "a %s storage keeps no notes, by which nodes tell what they hold",
				 o->bucket->ops->name);
	return gc_read_clock(g, err);
}

void gc_end(struct gc *g)
{
	free(TAKE(g->fleet.v));
	free(TAKE(g->found.v));
}

void gc_say(const struct gc *g, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (g->o->say == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	g->o->say(g->o->arg, line);
}

int gc_go_on(const struct gc *g, struct stow_err *err)
{
	if (g->o->stop != NULL && atomic_load(g->o->stop))
		return stow_fail(err, STOW_CANCELLED, "interrupted; the next one carries on");
	return 0;
}

int gc_sleep(const struct gc *g, int64_t ns, struct stow_err *err)
{
	int64_t until = clock_mono_ns() + ns;

	for (;;) {
		int64_t left = until - clock_mono_ns();
		struct timespec pause = { 0 };

		if (gc_go_on(g, err) < 0)
			return -1;
		if (left <= 0)
			return 0;
		pause.tv_nsec = left < STOP_NS ? left : STOP_NS;
		(void)nanosleep(&pause, NULL);
	}
}

static int note_time(void *arg, const char *name, uint64_t size UNUSED, int64_t modified_ns,
		     struct stow_err *err UNUSED)
{
	if (strcmp(name, NOTE_CLOCK) == 0)
		*(int64_t *)arg = modified_ns;
	return 0;
}

/* Whoever may not write can only look, and uses his own. */
int gc_read_clock(struct gc *g, struct stow_err *err)
{
	static const char text[] = "its time of change is what time it is\n";
	int64_t now = 0;

	if (g->behind->note_put(g->o->bucket, NOTE_CLOCK, text, strlen(text), 0, err) < 0) {
		if (!g->o->dry_run || err->code != STOW_PERMISSION_DENIED)
			return stow_wrap(err, "write " NOTE_CLOCK);
		g->now_ns = clock_wall_ns();
		return 0;
	}
	if (g->behind->note_scan(g->o->bucket, NOTE_CLOCK, note_time, &now, err) < 0)
		return stow_wrap(err, "list " NOTE_CLOCK);
	if (now == 0)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "the storage does not tell when " NOTE_CLOCK
				 " was changed, without which nothing can be removed safely");
	g->now_ns = now;
	return 0;
}

/* --- nodes --- */

void gc_node_text(const struct gc_node *n, char out[GC_NODE_TEXT])
{
	const char *id = n->name + strlen(NOTE_NODES);

	if (n->read)
		(void)snprintf(out, GC_NODE_TEXT, "%s (%s)", id, n->note.host);
	else
		(void)snprintf(out, GC_NODE_TEXT, "%s", id);
}

struct listing {
	const char *run;
	struct gc_fleet old, new;
	size_t at; /* in the old one, whose names are in the same order */
	size_t cap;
};

/* Whether what was read of the node, when it was listed before, is all that there is to know. */
static bool is_known(const struct listing *l, const struct gc_node *n, int64_t modified_ns)
{
	if (!n->read || *l->run == '\0')
		return false;
	return strcmp(n->note.run, l->run) == 0 ||
	       (n->modified_ns == modified_ns && l->old.listed_ns - modified_ns > STEADY_NS);
}

static bool is_dead(const struct gc_node *n, int64_t now_ns)
{
	return now_ns - n->modified_ns > n->note.grace_ns;
}

static int node_listed(void *arg, const char *name, uint64_t size UNUSED, int64_t modified_ns,
		       struct stow_err *err)
{
	struct listing *l = arg;
	struct gc_node *n;

	if (strlen(name) >= NOTE_NAME_SIZE || l->new.n == GC_NODES_MAX)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
				 "below " NOTE_NODES
				 " are more than %d notes, or longer names than a node has",
				 GC_NODES_MAX);
	if (l->new.n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->new.v = x_reallocarray(l->new.v, l->cap, sizeof(*l->new.v));
	}
	while (l->at < l->old.n && strcmp(l->old.v[l->at].name, name) < 0)
		l->at++;
	n = &l->new.v[l->new.n++];
	if (l->at < l->old.n && strcmp(l->old.v[l->at].name, name) == 0 &&
	    is_known(l, &l->old.v[l->at], modified_ns)) {
		*n = l->old.v[l->at];
		n->modified_ns = modified_ns;
		n->dead = is_dead(n, l->new.listed_ns);
		return 0;
	}
	*n = (struct gc_node){ .modified_ns = modified_ns };
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	return 0;
}

int gc_list_nodes(struct gc *g, const char *run, struct stow_err *err)
{
	struct listing l = { .run = run, .old = g->fleet, .new.listed_ns = g->now_ns };
	int rc = g->behind->note_scan(g->o->bucket, NOTE_NODES, node_listed, &l, err);

	free(g->fleet.v);
	g->fleet = l.new;
	return rc < 0 ? stow_wrap(err, "list " NOTE_NODES) : 0;
}

int gc_read_node(struct gc *g, struct gc_node *n, void (*visit)(void *arg, uint64_t key), void *arg,
		 struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };

	buf_init(&text, NOTE_LIMIT);
	if (g->behind->note_get(g->o->bucket, n->name, &text, err) < 0 ||
	    note_node_read(&text, &n->note, NULL, NULL, err) < 0)
		return stow_wrap(err, "read %s", n->name);
	n->read = true;
	n->dead = is_dead(n, g->now_ns);
	if (n->dead || visit == NULL)
		return 0;
	return note_node_read(&text, &n->note, visit, arg, err) < 0 ? stow_wrap(err, "read %s", n->name) : 0;
}

/* --- the run --- */

int gc_read_run(struct gc *g, struct note_run *ret_r, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	struct note_run run = { 0 };

	buf_init(&text, NOTE_SMALL_LIMIT);
	if (g->behind->note_get(g->o->bucket, NOTE_RUN, &text, err) < 0) {
		if (err->code != STOW_NOT_FOUND)
			return stow_wrap(err, "read " NOTE_RUN);
	} else if (note_run_read(&text, &run, err) < 0) {
		return stow_wrap(err, "read " NOTE_RUN);
	}
	*ret_r = run;
	return 0;
}

int gc_check_run(struct gc *g, const struct note_run *run, bool *ret_same, struct stow_err *err)
{
	struct note_run now;

	if (gc_read_run(g, &now, err) < 0)
		return -1;
	*ret_same = strcmp(now.run, run->run) == 0;
	return 0;
}

struct marks {
	struct note_mark *v;
	size_t n, cap;
};

static void take_mark(void *arg, const struct note_mark *m)
{
	struct marks *marks = arg;

	if (marks->n == marks->cap) {
		marks->cap = marks->cap ? 2 * marks->cap : 64;
		marks->v = x_reallocarray(marks->v, marks->cap, sizeof(*marks->v));
	}
	marks->v[marks->n++] = *m;
}

int gc_read_marks(struct gc *g, const char *run, struct note_mark **ret_v, size_t *ret_n,
		  struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	char name[NOTE_NAME_SIZE];
	struct marks marks = { 0 };

	note_name(name, NOTE_MARKS, run);
	buf_init(&text, NOTE_LIMIT);
	if (g->behind->note_get(g->o->bucket, name, &text, err) < 0 ||
	    note_marks_read(&text, run, take_mark, &marks, err) < 0) {
		free(marks.v);
		return stow_wrap(err, "read %s", name);
	}
	*ret_v = marks.v;
	*ret_n = marks.n;
	return 0;
}

static int put_text(struct gc *g, const char *name, const struct buf *text, unsigned flags,
		    struct stow_err *err)
{
	if (g->behind->note_put(g->o->bucket, name, text->p, text->len, flags, err) < 0)
		return stow_wrap(err, "write %s", name);
	return 0;
}

static int remove_note(struct gc *g, const char *name, struct stow_err *err)
{
	if (g->behind->note_remove(g->o->bucket, name, err) < 0)
		return stow_wrap(err, "remove %s", name);
	return 0;
}

/* One of a storage that cannot tell whether there is one: the last who has written is the one. */
static int put_run_plainly(struct gc *g, const struct buf *text, struct stow_err *err)
{
	struct note_run now;

	if (gc_read_run(g, &now, err) < 0)
		return -1;
	if (*now.run != '\0')
		return 0;
	return put_text(g, NOTE_RUN, text, 0, err) < 0 ? -1 : gc_sleep(g, SETTLE_NS, err);
}

/* One that exists may be ours: its answer was lost, and it was sent again. */
static int put_run(struct gc *g, const struct note_run *run, const struct buf *text, struct stow_err *err)
{
	struct note_run now;
	int rc = put_text(g, NOTE_RUN, text, NOTE_IF_ABSENT, err);

	if (rc == 0)
		return 0;
	if (err->code == STOW_UNIMPLEMENTED)
		rc = put_run_plainly(g, text, err);
	else if (err->code == STOW_ALREADY_EXISTS)
		rc = 0;
	if (rc < 0 || gc_read_run(g, &now, err) < 0)
		return -1;
	if (strcmp(now.run, run->run) != 0)
		return stow_fail(err, STOW_ALREADY_EXISTS, "another collection has begun");
	return 0;
}

/* The marks first: whoever sees the run finds them. */
int gc_make_run(struct gc *g, const struct note_mark *v, size_t n, struct stow_err *err)
{
	struct note_run run = { .time_ns = g->now_ns };
	CLEANUP(buf_free) struct buf marks = { 0 }, text = { 0 };
	char name[NOTE_NAME_SIZE];
	struct stow_err other;

	buf_init(&marks, NOTE_LIMIT);
	buf_init(&text, NOTE_SMALL_LIMIT);
	if (note_new_run(run.run, err) < 0 || note_marks_write(&marks, &run, v, n, err) < 0 ||
	    note_run_write(&text, &run, err) < 0)
		return -1;
	note_name(name, NOTE_MARKS, run.run);
	if (put_text(g, name, &marks, 0, err) < 0)
		return -1;
	if (put_run(g, &run, &text, err) == 0)
		return 0;
	if (err->code == STOW_ALREADY_EXISTS)
		(void)remove_note(g, name, &other); /* or gc_tidy() does, another day */
	return -1;
}

/* A note that says no more than its name does. */
static int put_sign(struct gc *g, const char *name, const struct note_run *run, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf text = { 0 };

	buf_init(&text, NOTE_SMALL_LIMIT);
	if (note_run_write(&text, run, err) < 0)
		return -1;
	return put_text(g, name, &text, 0, err);
}

int gc_make_sweep(struct gc *g, const struct note_run *run, struct stow_err *err)
{
	char name[NOTE_NAME_SIZE];

	note_name(name, NOTE_SWEEP, run->run);
	return put_sign(g, name, run, err);
}

static void work_name(char ret_name[NOTE_NAME_SIZE], const struct note_run *run, const char *id)
{
	char both[2 * NOTE_RUN_MAX];

	(void)snprintf(both, sizeof(both), "%s-%s", run->run, id);
	note_name(ret_name, NOTE_WORK, both);
}

int gc_make_work(struct gc *g, const struct note_run *run, const char *id, struct stow_err *err)
{
	char name[NOTE_NAME_SIZE];

	work_name(name, run, id);
	return put_sign(g, name, run, err);
}

int gc_remove_work(struct gc *g, const struct note_run *run, const char *id, struct stow_err *err)
{
	char name[NOTE_NAME_SIZE];

	work_name(name, run, id);
	return remove_note(g, name, err);
}

/* In this order: while gc/run is there, so is all that belongs to it. */
int gc_remove_run(struct gc *g, const struct note_run *run, struct stow_err *err)
{
	char marks[NOTE_NAME_SIZE], sweep[NOTE_NAME_SIZE];

	note_name(marks, NOTE_MARKS, run->run);
	note_name(sweep, NOTE_SWEEP, run->run);
	if (remove_note(g, NOTE_RUN, err) < 0 || remove_note(g, marks, err) < 0)
		return -1;
	return remove_note(g, sweep, err);
}

/* --- tidying --- */

struct leftovers {
	int64_t before_ns;
	char (*names)[NOTE_NAME_SIZE];
	size_t n;
};

static int leftover_listed(void *arg, const char *name, uint64_t size UNUSED, int64_t modified_ns,
			   struct stow_err *err UNUSED)
{
	struct leftovers *l = arg;

	if (modified_ns >= l->before_ns || strlen(name) >= NOTE_NAME_SIZE || l->n == LEFTOVERS_MAX)
		return 0;
	l->names = x_reallocarray(l->names, l->n + 1, sizeof(*l->names));
	(void)snprintf(l->names[l->n++], NOTE_NAME_SIZE, "%s", name);
	return 0;
}

/* `name` is that of a note of a run, behind its prefix: how the run is called, and perhaps more. */
static bool is_of_run(const char *name, const struct note_run *run)
{
	return *run->run != '\0' && strncmp(name, run->run, strlen(run->run)) == 0;
}

static int tidy_runs(struct gc *g, const char *prefix, struct stow_err *err)
{
	int64_t age = g->o->leftover_ns > 0 ? g->o->leftover_ns : LEFTOVER_NS;
	struct leftovers l = { .before_ns = g->now_ns - age };
	struct note_run run;
	int rc = g->behind->note_scan(g->o->bucket, prefix, leftover_listed, &l, err);

	if (rc == 0)
		rc = gc_read_run(g, &run, err);
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		if (!is_of_run(l.names[i] + strlen(prefix), &run))
			rc = remove_note(g, l.names[i], err);
	free(l.names);
	return rc;
}

/* It has not come back in the meantime. */
static int is_unchanged(struct gc *g, const struct gc_node *n, bool *ret_same, struct stow_err *err)
{
	struct leftovers l = { .before_ns = n->modified_ns + 1 };
	int rc = g->behind->note_scan(g->o->bucket, n->name, leftover_listed, &l, err);

	*ret_same = l.n == 1 && strcmp(l.names[0], n->name) == 0;
	free(l.names);
	return rc;
}

int gc_tidy(struct gc *g, struct stow_err *err)
{
	char text[GC_NODE_TEXT];
	bool same;

	for (size_t i = 0; i < g->fleet.n; i++) {
		struct gc_node *n = &g->fleet.v[i];

		if (!n->read || !n->dead)
			continue;
		if (is_unchanged(g, n, &same, err) < 0 || (same && remove_note(g, n->name, err) < 0))
			return -1;
		gc_node_text(n, text);
		if (same)
			gc_say(g, "node %s was not heard of for its grace: forgotten", text);
	}
	if (tidy_runs(g, NOTE_MARKS, err) < 0 || tidy_runs(g, NOTE_SWEEP, err) < 0)
		return -1;
	return tidy_runs(g, NOTE_WORK, err);
}
