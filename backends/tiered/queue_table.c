/* The queue's entries: by digest in a table, and in the order of their time in a heap. */
#include "backends/tiered/queue_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* --- the table --- */

static struct entry **bucket_of(struct queue *q, const struct digest *d)
{
	return &q->table[digest_key(d) % QUEUE_BUCKETS];
}

struct entry *queue_find_locked(struct queue *q, const struct digest *d)
{
	struct entry *e = *bucket_of(q, d);

	LOCK_ASSERT(&q->lock);
	while (e != NULL && !digest_equal(&e->digest, d))
		e = e->next;
	return e;
}

struct entry *queue_table_add_locked(struct queue *q, const struct digest *d, int64_t created_ns)
{
	struct entry **at = bucket_of(q, d), *e;

	if (q->n >= q->max) {
		q->more = true;
		return NULL;
	}
	e = x_calloc(1, sizeof(*e));
	e->queue = q;
	e->digest = *d;
	e->state = ENTRY_BUSY;
	e->created_ns = created_ns;
	e->next = *at;
	*at = e;
	q->n++;
	return e;
}

void queue_table_remove_locked(struct queue *q, struct entry *e)
{
	struct entry **at = bucket_of(q, &e->digest);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	q->n--;
	if (q->more && q->n < q->max / 2) {
		q->more = false;
		q->walk_ns = 0;
		pthread_cond_signal(&q->work);
	}
	while (e->held > 0)
		lock_wait(&q->lock, &q->change);
	assert(e->sending == NULL && e->blob == NULL && e->readers == 0);
	free(e->source_err);
	free(e);
}

/* --- the order --- */

static void heap_set(struct queue *q, size_t at, struct entry *e)
{
	q->heap[at] = e;
	e->at = at;
}

static void heap_up(struct queue *q, size_t at)
{
	struct entry *e = q->heap[at];

	for (; at > 0 && q->heap[(at - 1) / 2]->due_ns > e->due_ns; at = (at - 1) / 2)
		heap_set(q, at, q->heap[(at - 1) / 2]);
	heap_set(q, at, e);
}

static void heap_down(struct queue *q, size_t at)
{
	struct entry *e = q->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < q->n_heap && q->heap[child + 1]->due_ns < q->heap[child]->due_ns)
			child++;
		if (child >= q->n_heap || q->heap[child]->due_ns >= e->due_ns)
			break;
		heap_set(q, at, q->heap[child]);
		at = child;
	}
	heap_set(q, at, e);
}

/* A thread sleeps until the first one is due. One that is woken for this one wakes the next for what is next.
 */
static void tell_locked(struct queue *q, const struct entry *e)
{
	if (e->at == 0)
		pthread_cond_signal(&q->work);
}

void queue_defer_locked(struct queue *q, struct entry *e, int64_t due_ns)
{
	assert(e->state == ENTRY_BUSY);
	if (q->n_heap == q->heap_cap) {
		q->heap_cap = q->heap_cap == 0 ? 64 : 2 * q->heap_cap;
		q->heap = x_reallocarray(q->heap, q->heap_cap, sizeof(struct entry *));
	}
	e->state = ENTRY_WAITING;
	e->due_ns = due_ns;
	q->n_sendings += e->sending != NULL;
	heap_set(q, q->n_heap++, e);
	heap_up(q, e->at);
	tell_locked(q, e);
}

void queue_take_locked(struct queue *q, struct entry *e)
{
	struct entry *last = q->heap[--q->n_heap];

	assert(e->state == ENTRY_WAITING);
	if (last != e) {
		heap_set(q, e->at, last);
		heap_up(q, last->at);
		heap_down(q, last->at);
	}
	e->state = ENTRY_BUSY;
	q->n_sendings -= e->sending != NULL;
}

void queue_hasten_locked(struct queue *q, struct entry *e, int64_t due_ns)
{
	if (due_ns >= e->due_ns)
		return;
	e->due_ns = due_ns;
	heap_up(q, e->at);
	tell_locked(q, e);
}

struct entry *queue_add_locked(struct queue *q, const struct digest *d, int64_t created_ns)
{
	struct entry *e = queue_find_locked(q, d);
	int64_t age = clock_wall_ns() - created_ns;

	LOCK_ASSERT(&q->lock);
	if (e != NULL)
		return e;
	e = queue_table_add_locked(q, d, created_ns);
	if (e != NULL) /* the wall clock may have been set back since */
		queue_defer_locked(q, e, clock_mono_ns() - (age > 0 ? age : 0));
	return e;
}

void queue_sort_locked(struct queue *q)
{
	LOCK_ASSERT(&q->lock);
	for (size_t i = q->n_heap / 2; i-- > 0;)
		heap_down(q, i);
}
