#include "cmd/prefetch.h"

#include "cmd/output.h"
#include "content/base/mem.h"

#include <time.h>

/* Larger ones are no manifests (backends/tiered/manifest.h), and come last. */
#define DOCUMENT_MAX ((uint64_t)4 << 20)

/* Between two looks. */
static const struct timespec PAUSE = { .tv_nsec = 100 * NSEC_PER_MSEC };

void prefetch_free(struct prefetch *p)
{
	keyset_free(&p->seen);
	free(p->documents.v);
	free(p->others.v);
}

/* --- the lists --- */

/* False if it is in a list already. */
static bool is_new(struct prefetch *p, const struct digest *d)
{
	uint64_t key = keyset_key(d);

	if (keyset_has(&p->seen, key))
		return false;
	keyset_add(&p->seen, key);
	return true;
}

static void add(struct prefetch *p, struct wanted_list *l, const struct wanted *w)
{
	if (l->n == l->room) {
		l->room = l->room > 0 ? 2 * l->room : 64;
		l->v = x_reallocarray(l->v, l->room, sizeof(*l->v));
	}
	l->v[l->n++] = *w;
	p->progress.total += w->size;
}

void prefetch_add(struct prefetch *p, const struct digest *d, uint64_t size)
{
	if (is_new(p, d))
		add(p, &p->others, &(struct wanted){ .digest = *d, .size = size });
}

/* --- one blob --- */

static void fail(struct prefetch *p, struct wanted *w, const struct stow_err *why)
{
	char text[DIGEST_STR_MAX];

	digest_format(&w->digest, text);
	w->settled = true;
	p->failed++;
	progress_clear(&p->progress);
	output_message(p->command, "%s cannot come here: %s", text, why->msg);
}

static void arrive(struct prefetch *p, struct wanted *w)
{
	w->settled = true;
	if (!w->begun) {
		p->here++;
		p->progress.total -= w->size;
		return;
	}
	p->brought++;
	p->brought_bytes += w->size;
	progress_add(&p->progress, w->size, clock_mono_ns());
}

static void add_children(struct prefetch *p, const struct fleet_brought *b)
{
	for (size_t i = 0; i < b->n_children; i++) {
		const struct fleet_child *child = &b->children[i];
		struct wanted w = { .digest = child->digest,
				    .size = child->size,
				    .optional = child->of_an_index };

		if (is_new(p, &child->digest))
			add(p, child->of_an_index ? &p->documents : &p->others, &w);
	}
}

/* Whether it speaks of this blob, and not of the daemon. */
static bool is_of_blob(const struct stow_err *err)
{
	return err->code != STOW_UNAVAILABLE && err->code != STOW_DEADLINE_EXCEEDED;
}

static void take_answer(struct prefetch *p, struct wanted_list *l, size_t i, const struct fleet_brought *b)
{
	struct wanted *w = &l->v[i];
	struct stow_err gone;

	p->progress.total += b->size - w->size; /* what a manifest says of it may be wrong */
	w->size = b->size;
	switch (b->place) {
	case FLEET_HERE:
		arrive(p, w);
		if (l->documents)
			add_children(p, b);
		break;
	case FLEET_COMING:
		w->begun = true;
		break;
	case FLEET_ABSENT:
		if (!w->begun)
			break; /* another time */
		stow_fail(&gone, STOW_UNAVAILABLE, "it came, and has gone again");
		fail(p, w, &gone);
		break;
	case FLEET_FAILED:
	default:
		fail(p, w, &b->why);
	}
}

/* Asks for it, or looks how it is. */
static int ask(struct prefetch *p, struct wanted_list *l, size_t i, struct stow_err *err)
{
	CLEANUP(fleet_brought_free) struct fleet_brought b = { 0 };
	struct wanted *w = &l->v[i];

	if (client_bring(p->client, &w->digest, p->lease, !w->begun, &b, err) == 0) {
		take_answer(p, l, i, &b);
		return 0;
	}
	if (!is_of_blob(err))
		return -1;
	if (err->code == STOW_NOT_FOUND && w->optional) {
		w->settled = true;
		p->progress.total -= w->size;
	} else {
		fail(p, w, err);
	}
	return 0;
}

int prefetch_add_named(struct prefetch *p, const struct digest *d, struct stow_err *err)
{
	CLEANUP(fleet_brought_free) struct fleet_brought b = { 0 };
	struct wanted w = { .digest = *d };

	if (!is_new(p, d))
		return 0;
	if (client_bring(p->client, d, p->lease, false, &b, err) < 0) {
		if (!is_of_blob(err))
			return -1;
		fail(p, &w, err);
		return 0;
	}
	w.size = b.size;
	w.begun = b.place == FLEET_COMING; /* it was adopted */
	add(p, b.size > DOCUMENT_MAX ? &p->others : &p->documents, &w);
	return 0;
}

/* --- all of a list --- */

/* Those that are being asked for. */
struct window {
	size_t v[PREFETCH_WINDOW];
	size_t n;
	size_t next;     /* of the list: the first that was not in it yet */
	uint64_t coming; /* bytes */
};

static void window_fill(struct window *win, const struct wanted_list *l)
{
	while (win->n < PREFETCH_WINDOW && win->next < l->n)
		win->v[win->n++] = win->next++;
	win->coming = 0;
	for (size_t i = 0; i < win->n; i++)
		if (l->v[win->v[i]].begun)
			win->coming += l->v[win->v[i]].size;
}

/* Whether it may be asked for now. What has no room, though nothing else is on its way, has failed. */
static bool has_room(struct prefetch *p, struct window *win, struct wanted *w, uint64_t room)
{
	struct stow_err why;

	if (w->begun || room - (win->coming < room ? win->coming : room) >= w->size) {
		win->coming += w->begun ? 0 : w->size;
		return true;
	}
	if (win->coming == 0) {
		stow_fail(&why, STOW_RESOURCE_EXHAUSTED,
			  "no room for its %llu bytes, and nothing else goes for it (max_size, min_free)",
			  (unsigned long long)w->size);
		fail(p, w, &why);
	}
	return false;
}

static int room_now(struct prefetch *p, uint64_t *ret_room, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };

	*ret_room = UINT64_MAX;
	if (!p->spare)
		return 0;
	if (client_status(p->client, &st, err) < 0)
		return -1;
	if (st.fleet)
		*ret_room = st.fleet->cache_room;
	return 0;
}

static bool is_over(const struct prefetch *p)
{
	return atomic_load(p->interrupted) || clock_mono_ns() >= p->until_ns;
}

/* Asks for each in the window once. */
static int round_once(struct prefetch *p, struct wanted_list *l, struct window *win, struct stow_err *err)
{
	size_t left = 0;
	uint64_t room;

	if (room_now(p, &room, err) < 0)
		return -1;
	for (size_t i = 0; i < win->n; i++) {
		size_t at = win->v[i];

		if (!atomic_load(p->interrupted) && has_room(p, win, &l->v[at], room) &&
		    ask(p, l, at, err) < 0)
			return -1;
		if (!l->v[at].settled)
			win->v[left++] = at;
	}
	win->n = left;
	return 0;
}

static int run_list(struct prefetch *p, struct wanted_list *l, struct stow_err *err)
{
	struct window win = { 0 };

	for (;;) {
		size_t before;

		window_fill(&win, l);
		before = win.n;
		if (before == 0)
			return 0;
		if (round_once(p, l, &win, err) < 0)
			return -1;
		if (is_over(p))
			return 0;
		if (win.n == before)
			(void)nanosleep(&PAUSE, NULL);
	}
}

static uint64_t sum(const struct wanted_list *l)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < l->n; i++)
		bytes += l->v[i].size;
	return bytes;
}

/* What cannot all be here is not begun: it would drive out all else to no end. */
static int check_limit(struct prefetch *p, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };
	char size[OUTPUT_TEXT_MAX], limit[OUTPUT_TEXT_MAX];
	uint64_t bytes = sum(&p->documents) + sum(&p->others);

	if (p->spare)
		return 0;
	if (client_status(p->client, &st, err) < 0)
		return -1;
	if (!st.fleet || st.fleet->cache_limit == 0 || bytes <= st.fleet->cache_limit)
		return 0;
	output_size(bytes, size);
	output_size(st.fleet->cache_limit, limit);
	return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
			 "no room: it would be %s, and %s may stay here (max_size)", size, limit);
}

int prefetch_run(struct prefetch *p, struct stow_err *err)
{
	p->documents.documents = true;
	if (check_limit(p, err) < 0 || run_list(p, &p->documents, err) < 0 || check_limit(p, err) < 0)
		return -1;
	return run_list(p, &p->others, err);
}

static void add_left(const struct wanted_list *l, uint64_t *n, uint64_t *bytes)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].settled)
			continue;
		++*n;
		*bytes += l->v[i].size;
	}
}

void prefetch_left(const struct prefetch *p, uint64_t *ret_n, uint64_t *ret_bytes)
{
	*ret_n = *ret_bytes = 0;
	add_left(&p->documents, ret_n, ret_bytes);
	add_left(&p->others, ret_n, ret_bytes);
}
