/* One scan: the sum, and the blobs that were not used for longest. */
#include "backends/tiered/cache_internal.h"
#include "content/base/log.h"
#include "content/meta.h"

/* While the scan runs the candidates are a heap: the one that was used last is on top. */

static void swap(struct candidate *x, struct candidate *y)
{
	struct candidate t = *x;

	*x = *y;
	*y = t;
}

static void heap_push(struct pick *p, const struct candidate *new)
{
	size_t i = p->n++;

	for (p->v[i] = *new; i > 0 && p->v[i].used_ns > p->v[(i - 1) / 2].used_ns; i = (i - 1) / 2)
		swap(&p->v[i], &p->v[(i - 1) / 2]);
}

static void heap_replace_top(struct pick *p, const struct candidate *new)
{
	size_t i = 0;

	p->v[0] = *new;
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < p->n && p->v[child + 1].used_ns > p->v[child].used_ns)
			child++;
		if (child >= p->n || p->v[child].used_ns <= p->v[i].used_ns)
			return;
		swap(&p->v[i], &p->v[child]);
		i = child;
	}
}

static int see(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	struct pick *p = arg;
	struct candidate new = { .digest = *d, .size = st->size, .used_ns = st->used_ns };
	struct stow_err not_behind;
	struct cache *c = p->c;
	bool stopping;

	lock_take(&c->lock);
	stopping = c->stopping;
	lock_release(&c->lock);
	if (stopping)
		return stow_fail(err, STOW_CANCELLED, "stopped");
	p->sum += st->size;
	if (p->v == NULL || meta_remote_get(c->meta, d, NULL, &not_behind) < 0)
		return 0;
	p->more |= p->n == CACHE_CANDIDATES;
	if (p->n == CACHE_CANDIDATES && new.used_ns >= p->v[0].used_ns)
		return 0;
	if (c->o.keep(c->o.arg, d))
		return 0;
	if (p->n < CACHE_CANDIDATES)
		heap_push(p, &new);
	else
		heap_replace_top(p, &new);
	return 0;
}

static int compare_use(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

/* What is added or removed meanwhile counts on top: it may have been seen or not, which the next scan puts
 * right. */
bool cache_scan(struct pick *p)
{
	struct cache *c = p->c;
	struct stow_err err;
	int64_t before;

	lock_take(&c->lock);
	before = c->bytes;
	lock_release(&c->lock);
	if (backend_scan(c->o.fast, see, p, &err) < 0) {
		if (err.code != STOW_CANCELLED)
			log_error("looking for what may be removed here failed", LOG_S("error", err.msg));
		return false;
	}
	if (p->n > 0)
		qsort(p->v, p->n, sizeof(*p->v), compare_use);
	lock_take(&c->lock);
	c->bytes += (int64_t)p->sum - before;
	lock_release(&c->lock);
	return true;
}
