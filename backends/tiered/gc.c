#include "backends/tiered/gc.h"

#include "backends/tiered/gc_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <inttypes.h>

static const int64_t POLL_NS = 2 * NSEC_PER_SEC;

/* --- what is to go --- */

static void hold(void *arg, uint64_t key)
{
	keyset_add(arg, key);
}

static int read_holdings(struct gc *g, struct keyset *to, struct stow_err *err)
{
	if (gc_list_nodes(g, "", err) < 0)
		return -1;
	g->r.nodes = g->r.dead = 0;
	for (size_t i = 0; i < g->fleet.n; i++) {
		struct gc_node *n = &g->fleet.v[i];

		if (gc_go_on(g, err) < 0)
			return -1;
		if (gc_read_node(g, n, hold, to, err) < 0) {
			if (err->code != STOW_NOT_FOUND)
				return -1;
			continue; /* another gc has taken it for dead */
		}
		g->r.nodes++;
		g->r.dead += n->dead;
	}
	/* Else all would be removed, of a bucket that is not a fleet's most likely. */
	if (g->r.nodes == g->r.dead)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "no living node tells what it holds in this bucket (%u are taken for gone)",
				 g->r.dead);
	return 0;
}

/* A look at all objects. */
struct picking {
	struct gc *g;
	const struct keyset *held;
	uint64_t objects, bytes, n_held, young, old, old_bytes;
};

static void find(struct gc_found *f, const struct digest *d, uint64_t size)
{
	if (f->n == GC_FOUND_MAX) {
		f->cut_off = true;
		return;
	}
	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 64;
		f->v = x_reallocarray(f->v, f->cap, sizeof(*f->v));
	}
	f->v[f->n++] = (struct note_mark){ .digest = *d, .size = size };
}

static int pick(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	struct picking *p = arg;
	struct gc *g = p->g;
	char text[DIGEST_STR_MAX];

	if (gc_go_on(g, err) < 0)
		return -1;
	p->objects++;
	p->bytes += st->size;
	if (keyset_has(p->held, keyset_key(d))) {
		p->n_held++;
		return 0;
	}
	if (st->modified_ns == 0 || g->now_ns - st->modified_ns < g->o->grace_ns) {
		p->young++;
		return 0;
	}
	p->old++;
	p->old_bytes += st->size;
	if (!g->o->dry_run) {
		find(&g->found, d, st->size);
		return 0;
	}
	if (g->o->would_remove != NULL) {
		g->o->would_remove(g->o->arg, d, st->size);
		return 0;
	}
	digest_format(d, text);
	gc_say(g, "would remove %s (%" PRIu64 " byte%s)", text, st->size, st->size == 1 ? "" : "s");
	return 0;
}

/* Lists the bucket. The report is of the first time: later it has less. */
static int look(struct gc *g, const struct keyset *held, struct stow_err *err)
{
	struct picking p = { .g = g, .held = held };

	g->found.n = g->found.at = 0;
	g->found.cut_off = false;
	if (backend_scan(g->o->bucket, pick, &p, err) < 0)
		return err->code == STOW_CANCELLED ? -1 : stow_wrap(err, "list the objects");
	if (g->r.objects == 0) {
		g->r.objects = p.objects;
		g->r.bytes = p.bytes;
		g->r.held = p.n_held;
		g->r.young = p.young;
	}
	if (g->o->dry_run) {
		g->r.marked = p.old;
		g->r.marked_bytes = p.old_bytes;
	}
	return 0;
}

/* The next ones for a run, which begin at *ret_v: those that are held by now are left out. */
static size_t choose(struct gc_found *f, size_t max, const struct keyset *held,
		     const struct note_mark **ret_v)
{
	size_t begin = f->at, n = 0;

	for (; f->at < f->n && n < max; f->at++)
		if (!keyset_has(held, keyset_key(&f->v[f->at].digest)))
			f->v[begin + n++] = f->v[f->at];
	*ret_v = n > 0 ? &f->v[begin] : NULL;
	return n;
}

/* What nobody holds is marked, unless there is nothing, or that is all that is wanted: then *ret_any is
 * false. *ret_rest: there is more than one run may mark. */
static int mark(struct gc *g, bool *ret_any, bool *ret_rest, struct stow_err *err)
{
	CLEANUP(keyset_free) struct keyset held = { 0 };
	size_t n, max = g->o->at_a_time > 0 ? g->o->at_a_time : NOTE_MARKS_LIMIT;
	const struct note_mark *v;

	if (gc_read_clock(g, err) < 0 || read_holdings(g, &held, err) < 0 ||
	    (g->found.at == g->found.n && look(g, &held, err) < 0))
		return -1;
	n = choose(&g->found, max, &held, &v);
	*ret_any = n > 0;
	*ret_rest = g->found.at < g->found.n || g->found.cut_off;
	if (n == 0)
		return 0;
	if (gc_make_run(g, v, n, err) < 0) {
		/* Another one's comes first, and changes what is there. */
		g->found.n = g->found.at = 0;
		return -1;
	}
	gc_say(g, "%zu object%s that no node holds %s marked", n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
	return 0;
}

/* --- waiting for the nodes --- */

static bool has_noted(const struct gc_node *n, const char *run)
{
	return !n->read || n->dead || n->note.stopped || strcmp(n->note.run, run) == 0;
}

/* Counts the living nodes that have not yet told that they respect the marks. Once that is none, it stays so:
 * who comes up later sees the run before it adopts anything. */
static int count_silent(struct gc *g, const char *run, unsigned *ret_n, struct stow_err *err)
{
	unsigned n = 0;

	if (gc_read_clock(g, err) < 0 || gc_list_nodes(g, run, err) < 0)
		return -1;
	for (size_t i = 0; i < g->fleet.n; i++) {
		struct gc_node *node = &g->fleet.v[i];

		if (gc_go_on(g, err) < 0)
			return -1;
		if (!node->read && gc_read_node(g, node, NULL, NULL, err) < 0 && err->code != STOW_NOT_FOUND)
			return -1;
		n += !has_noted(node, run);
	}
	*ret_n = n;
	return 0;
}

static void say_silent(const struct gc *g, const char *run)
{
	char text[GC_NODE_TEXT];

	for (size_t i = 0; i < g->fleet.n; i++) {
		const struct gc_node *n = &g->fleet.v[i];

		if (has_noted(n, run))
			continue;
		gc_node_text(n, text);
		gc_say(g,
		       "node %s has not taken note of the marks; it was heard of %" PRId64
		       " s ago, and is taken for gone after %" PRId64 " s",
		       text, (g->now_ns - n->modified_ns) / NSEC_PER_SEC, n->note.grace_ns / NSEC_PER_SEC);
	}
}

/* *ret_same: all have, and the run is still the one. Where the time is over first, g->r.silent counts. */
static int wait_for_nodes(struct gc *g, const struct note_run *run, int64_t until_mono_ns, bool *ret_same,
			  struct stow_err *err)
{
	int64_t most = g->o->poll_ns > 0 ? g->o->poll_ns : POLL_NS, poll = most / 8;
	bool said = false;

	for (;;) {
		if (gc_check_run(g, run, ret_same, err) < 0)
			return -1;
		if (!*ret_same) {
			g->r.silent = 0;
			return 0;
		}
		if (count_silent(g, run->run, &g->r.silent, err) < 0)
			return -1;
		if (g->r.silent == 0)
			return 0;
		if (clock_mono_ns() >= until_mono_ns) {
			say_silent(g, run->run);
			return 0;
		}
		if (!said)
			gc_say(g, "waiting for %u node%s to take note of the marks", g->r.silent,
			       g->r.silent == 1 ? "" : "s");
		said = true;
		if (gc_sleep(g, poll, err) < 0)
			return -1;
		poll = 2 * poll < most ? 2 * poll : most;
	}
}

/* --- from marks to the end --- */

struct sweep {
	struct gc *g;
	struct note_mark *v; /* owned */
	size_t n;
	struct keyset held; /* by any node, of what is marked */
	struct keyset marked;
};

static void sweep_free(struct sweep *s)
{
	free(s->v);
	keyset_free(&s->held);
	keyset_free(&s->marked);
}

static void hold_marked(void *arg, uint64_t key)
{
	struct sweep *s = arg;

	if (keyset_has(&s->marked, key))
		keyset_add(&s->held, key);
}

/* *ret_whole is false where a node has come up meanwhile that has not told yet. */
static int read_last(struct sweep *s, const struct note_run *run, bool *ret_whole, struct stow_err *err)
{
	struct gc *g = s->g;

	keyset_free(&s->held);
	g->r.nodes = g->r.dead = 0;
	*ret_whole = true;
	if (gc_read_clock(g, err) < 0 || gc_list_nodes(g, "", err) < 0)
		return -1;
	for (size_t i = 0; i < g->fleet.n; i++) {
		if (gc_go_on(g, err) < 0)
			return -1;
		if (gc_read_node(g, &g->fleet.v[i], hold_marked, s, err) < 0 && err->code != STOW_NOT_FOUND)
			return -1;
		g->r.nodes += g->fleet.v[i].read;
		g->r.dead += g->fleet.v[i].dead;
		*ret_whole &= has_noted(&g->fleet.v[i], run->run);
	}
	return 0;
}

static int read_marks(struct sweep *s, const struct note_run *run, struct stow_err *err)
{
	struct gc *g = s->g;

	if (gc_read_marks(g, run->run, &s->v, &s->n, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n; i++) {
		keyset_add(&s->marked, keyset_key(&s->v[i].digest));
		g->r.marked_bytes += s->v[i].size;
	}
	g->r.marked += s->n;
	return 0;
}

/* The run's marks are nowhere: a person has removed them, or another gc has ended the run at this moment.
 * Without marks no node has taken note of the run, and so nothing can depend on it. */
static int give_up_run(struct gc *g, const struct note_run *run, struct stow_err *err)
{
	bool same;

	if (gc_check_run(g, run, &same, err) < 0)
		return -1;
	if (!same)
		return 0;
	gc_say(g, "the marks of the collection %s are gone: it is given up", run->run);
	return gc_remove_run(g, run, err);
}

/* From marks to the end. Whatever ends the run early, it is carried on with by whoever comes next. */
static int carry_out(struct gc *g, const struct note_run *run, struct stow_err *err)
{
	CLEANUP(sweep_free) struct sweep s = { .g = g };
	int64_t until = clock_mono_ns() + g->o->wait_ns;
	bool same, whole;

	if (read_marks(&s, run, err) < 0)
		return err->code == STOW_NOT_FOUND ? give_up_run(g, run, err) : -1;
	do {
		if (wait_for_nodes(g, run, until, &same, err) < 0)
			return -1;
		if (!same || g->r.silent > 0)
			return 0;
		if (gc_make_sweep(g, run, err) < 0 || read_last(&s, run, &whole, err) < 0)
			return -1;
	} while (!whole);
	if (gc_remove_objects(g, run, s.v, s.n, &s.held, &same, err) < 0)
		return -1;
	return same ? gc_remove_run(g, run, err) : 0;
}

/* One run, or what is left of one. *ret_more: there may be more to do. */
static int run_once(struct gc *g, bool *ret_more, struct stow_err *err)
{
	char since[CLOCK_TEXT_MAX];
	struct note_run run;
	bool any;

	if (gc_read_run(g, &run, err) < 0)
		return -1;
	*ret_more = *run.run != '\0';
	if (*ret_more) {
		clock_format(run.time_ns, since);
		gc_say(g, "carrying on with the collection that was begun at %s", since);
	} else {
		if (mark(g, &any, ret_more, err) < 0) {
			*ret_more = true;
			return err->code == STOW_ALREADY_EXISTS ? 0 : -1;
		}
		if (!any)
			return 0;
		if (gc_read_run(g, &run, err) < 0)
			return -1;
		if (*run.run == '\0')
			return 0;
	}
	return carry_out(g, &run, err);
}

static int run_all(struct gc *g, struct stow_err *err)
{
	bool any, rest, more = true;

	if (g->o->dry_run)
		return mark(g, &any, &rest, err);
	while (more && g->r.silent == 0)
		if (run_once(g, &more, err) < 0)
			return -1;
	return g->r.silent > 0 ? 0 : gc_tidy(g, err);
}

int gc_run(const struct gc_options *o, struct gc_result *ret_r, struct stow_err *err)
{
	CLEANUP(gc_end) struct gc g = { 0 };

	if (gc_begin(&g, o, err) < 0 || run_all(&g, err) < 0)
		return -1;
	*ret_r = g.r;
	return 0;
}
