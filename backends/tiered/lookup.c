#include "backends/tiered/lookup.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "content/base/thread.h"
#include "content/behind.h"

#define LOOKUP_MAGIC 0x71e20003u

enum { BUCKETS = 4096, LOOKERS = 16, BAD_MARKS = 1024 };

/* state     entered by                   next
 * WAITS     lookup_find, _ahead          LOOKING, when a thread is free
 * LOOKING   that thread                  KNOWN, with its answer
 * KNOWN     it, or lookup_note           gone when it is old, forgotten or pushed out; WAITS when asked then
 */
enum answer_state { WAITS, LOOKING, KNOWN };

struct answer {
	struct digest digest;
	enum answer_state state;
	struct answer *next;          /* of its bucket */
	struct answer *older, *newer; /* KNOWN: by age; WAITS: in the queue, the next one is `older` */
	/* WAITS, LOOKING */
	size_t asking; /* the storage that is being asked */
	bool late;     /* somebody has given up waiting, and said so */
	bool doubtful; /* the answer will be none to be kept */
	/* KNOWN */
	bool found;
	size_t at;
	uint64_t size;
	int64_t modified_ns;
	int64_t until_ns; /* monotonic */
};

/* A list by age; also the queue. */
struct answers {
	struct answer *oldest, *newest;
};

struct bad_mark {
	struct digest digest;
	size_t at;
	int64_t until_ns;
};

struct lookup {
	unsigned magic;
	struct tiers *tiers;
	int64_t timeout_ns;
	bool (*refused)(void *arg, const struct digest *d);
	void *arg;

	struct lock lock;
	pthread_cond_t changed; /* an answer has come, or the end */
	pthread_cond_t work;    /* something waits to be looked for, or the end */
	struct answer *buckets[BUCKETS];
	size_t n;
	struct answers known, queue;
	struct bad_mark bad[BAD_MARKS]; /* a ring */
	size_t next_bad;
	pthread_t thread[LOOKERS];
	unsigned n_threads, n_idle;
	size_t n_waiting; /* in the queue */
	bool stopping;
};

/* --- lists --- */

static void push_newest(struct answers *l, struct answer *a)
{
	a->newer = NULL;
	a->older = l->newest;
	*(l->newest ? &l->newest->newer : &l->oldest) = a;
	l->newest = a;
}

static void push_oldest(struct answers *l, struct answer *a)
{
	a->older = NULL;
	a->newer = l->oldest;
	*(l->oldest ? &l->oldest->older : &l->newest) = a;
	l->oldest = a;
}

static void unlink_from(struct answers *l, struct answer *a)
{
	*(a->newer ? &a->newer->older : &l->newest) = a->older;
	*(a->older ? &a->older->newer : &l->oldest) = a->newer;
}

static struct answer **find_locked(struct lookup *l, const struct digest *d)
{
	struct answer **at = &l->buckets[digest_key(d) % BUCKETS];

	LOCK_ASSERT(&l->lock);
	while (*at != NULL && !digest_equal(&(*at)->digest, d))
		at = &(*at)->next;
	return at;
}

/* One that is KNOWN. */
static void drop_locked(struct lookup *l, struct answer *a)
{
	assert(a->state == KNOWN);
	unlink_from(&l->known, a);
	*find_locked(l, &a->digest) = a->next;
	l->n--;
	free(a);
}

/* A new one, in no list; NULL if there are too many that nobody has answered. */
static struct answer *add_locked(struct lookup *l, const struct digest *d)
{
	struct answer *a, **at;

	if (l->n >= LOOKUP_ENTRIES && l->known.oldest != NULL)
		drop_locked(l, l->known.oldest);
	if (l->n >= LOOKUP_ENTRIES)
		return NULL;
	at = find_locked(l, d);
	assert(*at == NULL);
	a = x_calloc(1, sizeof(*a));
	a->digest = *d;
	*at = a;
	l->n++;
	return a;
}

/* --- wrong bytes --- */

static struct bad_mark *bad_find_locked(struct lookup *l, const struct digest *d, size_t at)
{
	int64_t now = clock_mono_ns();

	LOCK_ASSERT(&l->lock);
	for (size_t i = 0; i < BAD_MARKS; i++) {
		struct bad_mark *m = &l->bad[i];

		if (m->until_ns > now && m->at == at && digest_equal(&m->digest, d))
			return m;
	}
	return NULL;
}

bool lookup_is_bad(struct lookup *l, const struct digest *d, size_t at)
{
	LOCK_SCOPE(&l->lock);
	return bad_find_locked(l, d, at) != NULL;
}

void lookup_mark_bad(struct lookup *l, const struct digest *d, size_t at)
{
	struct bad_mark *m;

	lookup_forget(l, d);
	LOCK_SCOPE(&l->lock);
	m = bad_find_locked(l, d, at);
	if (m == NULL)
		m = &l->bad[l->next_bad++ % BAD_MARKS];
	*m = (struct bad_mark){ .digest = *d, .at = at, .until_ns = clock_mono_ns() + LOOKUP_BAD_NS };
}

void lookup_mark_good(struct lookup *l, const struct digest *d, size_t at)
{
	struct bad_mark *m;

	lookup_forget(l, d);
	LOCK_SCOPE(&l->lock);
	m = bad_find_locked(l, d, at);
	if (m != NULL)
		m->until_ns = 0;
}

/* --- looking --- */

/* Of what may be asked for `d`. */
static bool is_bucket(const struct lookup *l, size_t i)
{
	return i == 0 && l->tiers->writable;
}

static bool may_ask(struct lookup *l, const struct digest *d, size_t i)
{
	return tier_trusted(&l->tiers->v[i]) && !lookup_is_bad(l, d, i) &&
	       !(is_bucket(l, i) && l->refused != NULL && l->refused(l->arg, d));
}

static bool anybody_may_be_asked(const struct lookup *l)
{
	for (size_t i = 0; i < l->tiers->n; i++)
		if (tier_trusted(&l->tiers->v[i]))
			return true;
	return false;
}

struct look {
	bool found;
	bool doubtful; /* not all could be asked */
	size_t at;
	struct blob_stat st;
};

static struct look look_everywhere(struct lookup *l, struct answer *a, const struct digest *d)
{
	struct look look = { 0 };

	for (size_t i = 0; i < l->tiers->n && !look.found; i++) {
		struct tier *t = &l->tiers->v[i];
		struct stow_err err;

		if (!may_ask(l, d, i)) {
			look.doubtful = true;
			continue;
		}
		lock_take(&l->lock);
		a->asking = i;
		a->late = false;
		lock_release(&l->lock);
		look.at = i;
		tier_ask(t);
		if (t->backend->ops->behind->look(t->backend, d, &look.st, &err) == 0) {
			tier_report(t, NULL);
			look.found = true;
		} else {
			tier_report(t, err.code == STOW_NOT_FOUND ? NULL : &err);
			look.doubtful |= err.code != STOW_NOT_FOUND;
		}
	}
	return look;
}

/* The answer stays for those who wait for it, and for others if there is no doubt about it. */
static void answer_locked(struct lookup *l, struct answer *a, const struct look *look)
{
	int64_t now = clock_mono_ns();

	a->state = KNOWN;
	a->found = look->found;
	a->at = look->at;
	a->size = look->st.size;
	a->modified_ns = look->st.modified_ns;
	if (a->doubtful || (!look->found && look->doubtful))
		a->until_ns = now;
	else
		a->until_ns = now + (look->found ? LOOKUP_FOUND_NS : LOOKUP_MISSED_NS);
	push_newest(&l->known, a);
	pthread_cond_broadcast(&l->changed);
}

static void *run(void *arg)
{
	struct lookup *l = arg;

	lock_take(&l->lock);
	for (;;) {
		struct answer *a;
		struct look look;

		l->n_idle++;
		while (!l->stopping && l->queue.oldest == NULL)
			lock_wait(&l->lock, &l->work);
		l->n_idle--;
		if (l->stopping)
			break;
		a = l->queue.oldest;
		unlink_from(&l->queue, a);
		l->n_waiting--;
		a->state = LOOKING;
		lock_release(&l->lock);
		/* One that is LOOKING is this thread's: nobody drops it. */
		look = look_everywhere(l, a, &a->digest);
		lock_take(&l->lock);
		answer_locked(l, a, &look);
	}
	lock_release(&l->lock);
	return NULL;
}

/* Who is waited for is looked for first. */
static void look_locked(struct lookup *l, struct answer *a, bool ahead)
{
	a->state = WAITS;
	a->asking = 0;
	a->late = a->doubtful = false;
	if (ahead)
		push_newest(&l->queue, a);
	else
		push_oldest(&l->queue, a);
	l->n_waiting++;
	if (l->n_idle > 0)
		pthread_cond_signal(&l->work);
	/* Those that were woken already count as idle until they run. */
	if (l->n_waiting > l->n_idle && l->n_threads < LOOKERS)
		thread_start(&l->thread[l->n_threads++], "lookup", run, l);
}

/* The digest's answer, which may be on its way then, or old; NULL if there will be none. */
static struct answer *ask_locked(struct lookup *l, const struct digest *d, bool ahead)
{
	struct answer *a = *find_locked(l, d);

	if (a != NULL && a->state == KNOWN && a->until_ns > clock_mono_ns())
		return a;
	if (a != NULL && a->state == WAITS && !ahead) {
		unlink_from(&l->queue, a);
		push_oldest(&l->queue, a);
	}
	if (a != NULL && a->state != KNOWN)
		return a;
	if (l->stopping || !anybody_may_be_asked(l))
		return NULL;
	if (a != NULL)
		drop_locked(l, a);
	a = add_locked(l, d);
	if (a != NULL)
		look_locked(l, a, ahead);
	return a;
}

/* --- asking --- */

static int fail_not_found(const struct digest *d, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	digest_format(d, text);
	return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found", text);
}

/* What a storage has that gives nothing now is not promised to anybody. */
static int give_locked(const struct lookup *l, const struct answer *a, struct blob_stat *ret_st,
		       size_t *ret_at, struct stow_err *err)
{
	if (!a->found || !tier_trusted(&l->tiers->v[a->at]))
		return fail_not_found(&a->digest, err);
	*ret_st = (struct blob_stat){ .size = a->size, .modified_ns = a->modified_ns, .behind = true };
	if (ret_at != NULL)
		*ret_at = a->at;
	return 0;
}

/* Waits for the answer to `d`; NULL if it has not come in time. *ret_late is the storage that was too slow,
 * to be told once for each look; NULL: none was. */
static struct answer *wait_locked(struct lookup *l, const struct digest *d, int64_t until_ns,
				  struct tier **ret_late)
{
	for (;;) {
		struct answer *a = *find_locked(l, d);

		if (a == NULL || a->state == KNOWN || l->stopping)
			return l->stopping ? NULL : a;
		if (lock_wait_until(&l->lock, &l->changed, until_ns))
			continue;
		a = *find_locked(l, d);
		if (a == NULL || a->state == KNOWN)
			return a;
		if (a->state == LOOKING && !a->late) {
			a->late = true;
			*ret_late = &l->tiers->v[a->asking];
		}
		return NULL;
	}
}

int lookup_find(struct lookup *l, const struct digest *d, struct blob_stat *ret_st, size_t *ret_at,
		struct stow_err *err)
{
	int64_t until_ns = clock_mono_ns() + l->timeout_ns;
	struct tier *late = NULL;
	struct answer *a;
	struct stow_err why;
	bool no_bucket;
	int result;

	CHECK_OBJ(l, LOOKUP_MAGIC);
	no_bucket = l->tiers->writable && l->refused != NULL && l->refused(l->arg, d);
	lock_take(&l->lock);
	a = *find_locked(l, d);
	if (a != NULL && a->state == KNOWN && a->found && is_bucket(l, a->at) && no_bucket)
		drop_locked(l, a);
	a = ask_locked(l, d, false);
	if (a != NULL)
		a = wait_locked(l, d, until_ns, &late);
	if (a == NULL || (a->found && is_bucket(l, a->at) && no_bucket))
		result = fail_not_found(d, err);
	else
		result = give_locked(l, a, ret_st, ret_at, err);
	lock_release(&l->lock);
	if (late != NULL) {
		stow_fail(&why, STOW_DEADLINE_EXCEEDED, "did not say within %lld ms whether it has a blob",
			  (long long)(l->timeout_ns / NSEC_PER_MSEC));
		tier_report(late, &why);
	}
	return result;
}

int lookup_known(struct lookup *l, const struct digest *d, struct blob_stat *ret_st, size_t *ret_at,
		 struct stow_err *err)
{
	struct answer *a;

	CHECK_OBJ(l, LOOKUP_MAGIC);
	LOCK_SCOPE(&l->lock);
	a = *find_locked(l, d);
	if (a == NULL || a->state != KNOWN || a->until_ns <= clock_mono_ns())
		return fail_not_found(d, err);
	return give_locked(l, a, ret_st, ret_at, err);
}

void lookup_ahead(struct lookup *l, const struct digest *d)
{
	CHECK_OBJ(l, LOOKUP_MAGIC);
	LOCK_SCOPE(&l->lock);
	(void)ask_locked(l, d, true);
}

/* --- learnt in another way --- */

static void forget_locked(struct lookup *l, struct answer *a)
{
	if (a->state == KNOWN)
		drop_locked(l, a);
	else
		a->doubtful = true;
}

void lookup_note(struct lookup *l, const struct digest *d, size_t at, uint64_t size)
{
	struct look look = { .found = true, .at = at, .st.size = size };
	struct answer *a;

	CHECK_OBJ(l, LOOKUP_MAGIC);
	LOCK_SCOPE(&l->lock);
	a = *find_locked(l, d);
	if (a != NULL)
		forget_locked(l, a);
	/* While somebody looks, the answer is his. */
	a = *find_locked(l, d) == NULL && bad_find_locked(l, d, at) == NULL ? add_locked(l, d) : NULL;
	if (a != NULL)
		answer_locked(l, a, &look);
}

void lookup_forget(struct lookup *l, const struct digest *d)
{
	struct answer *a;

	CHECK_OBJ(l, LOOKUP_MAGIC);
	LOCK_SCOPE(&l->lock);
	a = *find_locked(l, d);
	if (a != NULL)
		forget_locked(l, a);
}

void lookup_clear(struct lookup *l)
{
	CHECK_OBJ(l, LOOKUP_MAGIC);
	LOCK_SCOPE(&l->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct answer *a = l->buckets[i], *next; a != NULL; a = next) {
			next = a->next;
			forget_locked(l, a);
		}
	}
}

/* --- life --- */

struct lookup *lookup_new(struct tiers *t, int64_t timeout_ns,
			  bool (*refused)(void *arg, const struct digest *d), void *arg)
{
	struct lookup *l = x_calloc(1, sizeof(*l));

	l->magic = LOOKUP_MAGIC;
	l->tiers = t;
	l->timeout_ns = timeout_ns;
	l->refused = refused;
	l->arg = arg;
	lock_init(&l->lock, RANK_LOOKUP);
	lock_cond_init(&l->changed);
	lock_cond_init(&l->work);
	return l;
}

void lookup_stop(struct lookup *l)
{
	unsigned n;

	CHECK_OBJ(l, LOOKUP_MAGIC);
	lock_take(&l->lock);
	l->stopping = true; /* no thread is started from here on */
	n = l->n_threads;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	lock_release(&l->lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(l->thread[i], NULL);
}

void lookup_free(struct lookup *l)
{
	if (l == NULL)
		return;
	CHECK_OBJ(l, LOOKUP_MAGIC);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct answer *a = l->buckets[i], *next; a != NULL; a = next) {
			next = a->next;
			free(a);
		}
	}
	pthread_cond_destroy(&l->work);
	pthread_cond_destroy(&l->changed);
	lock_destroy(&l->lock);
	FREE_OBJ(l);
}
