#include "backends/tiered/gc.h"
#include "backends/tiered/gc_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <inttypes.h>

struct holder {
	uint64_t key;
	bool holds;
};

static void look_for(void *arg, uint64_t key)
{
	struct holder *h = arg;

	h->holds |= key == h->key;
}

/* *ret_held: by a living one. */
static int explain_nodes(struct gc *g, const struct digest *d, bool *ret_held, struct stow_err *err)
{
	char text[GC_NODE_TEXT], when[CLOCK_TEXT_MAX];

	*ret_held = false;
	if (gc_list_nodes(g, "", err) < 0)
		return -1;
	for (size_t i = 0; i < g->fleet.n; i++) {
		struct holder h = { .key = keyset_key(d) };
		struct gc_node *n = &g->fleet.v[i];

		if (gc_go_on(g, err) < 0)
			return -1;
		if (gc_read_node(g, n, look_for, &h, err) < 0) {
			if (err->code != STOW_NOT_FOUND)
				return -1;
			continue;
		}
		gc_node_text(n, text);
		clock_format(n->modified_ns, when);
		if (n->dead)
			gc_say(g, "node %s is taken for gone: it was last heard of at %s", text, when);
		else if (h.holds)
			gc_say(g, "node %s holds it, as it told at %s%s", text, when,
			       n->note.stopped ? " when it stopped" : "");
		*ret_held |= h.holds;
	}
	return 0;
}

static int explain_marks(struct gc *g, const struct digest *d, bool *ret_marked, struct stow_err *err)
{
	CLEANUP(freep) struct note_mark *v = NULL;
	char since[CLOCK_TEXT_MAX];
	struct note_run run;
	size_t n = 0;

	*ret_marked = false;
	if (gc_read_run(g, &run, err) < 0)
		return -1;
	if (*run.run == '\0')
		return 0;
	if (gc_read_marks(g, run.run, &v, &n, err) < 0 && err->code != STOW_NOT_FOUND)
		return -1;
	for (size_t i = 0; i < n; i++)
		*ret_marked |= digest_equal(&v[i].digest, d);
	clock_format(run.time_ns, since);
	if (*ret_marked)
		gc_say(g, "it was marked by a collection that was begun at %s and has not ended", since);
	return 0;
}

static void explain_fate(struct gc *g, bool held, bool marked, bool old)
{
	if (held && marked)
		gc_say(g, "it stays, if a node that holds it has told so before the collection removes");
	else if (held)
		gc_say(g, "it stays, while a node holds it");
	else if (marked)
		gc_say(g,
		       "no node holds it: the next `stowage gc` removes it when all nodes have taken note");
	else if (old)
		gc_say(g, "no node holds it: the next `stowage gc` removes it");
	else
		gc_say(g, "no node holds it, but it is younger than the grace period: it stays for now");
}

static int explain(struct gc *g, const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX], when[CLOCK_TEXT_MAX];
	struct blob_stat st = { 0 };
	bool held, marked, there;

	there = backend_stat(g->o->bucket, d, &st, err) == 0;
	if (!there && err->code != STOW_NOT_FOUND)
		return -1;
	digest_format(d, text);
	clock_format(st.modified_ns, when);
	if (there)
		gc_say(g, "%s is in the bucket: %" PRIu64 " bytes, since %s", text, st.size, when);
	else
		gc_say(g, "%s is not in the bucket", text);
	if (explain_nodes(g, d, &held, err) < 0 || explain_marks(g, d, &marked, err) < 0)
		return -1;
	if (there)
		explain_fate(g, held, marked,
			     st.modified_ns > 0 && g->now_ns - st.modified_ns >= g->o->grace_ns);
	else if (held)
		gc_say(g, "a node that holds it has it, or has yet to upload it");
	return 0;
}

int gc_explain(const struct gc_options *o, const struct digest *d, struct stow_err *err)
{
	struct gc_options look = *o;
	CLEANUP(gc_end) struct gc g = { 0 };

	look.dry_run = true;
	if (gc_begin(&g, &look, err) < 0)
		return -1;
	return explain(&g, d, err);
}
