/* Mutexes with a rank, an owner and an assertion.
 *
 * A thread takes locks in rising rank only; lock_take() stops the process where it does not, so
 * that a deadlock shows on the first run of the path and not on the unlucky one. No lock is held
 * across a call into a backend or into gRPC. */
#ifndef STOWAGE_BASE_LOCK_H
#define STOWAGE_BASE_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Outermost first. */
enum lock_rank {
	RANK_UPKEEP = 1, /* cmd/upkeep.c: its sleep */
	RANK_GC,         /* backends/tiered/gc_remove.c: what is removed */
	RANK_SERVER,     /* proto/rpc.c: whether the server has ended */
	RANK_WATCHERS,   /* proto/service_health.c: who watches */
	RANK_REFS,       /* content/refs.c: which refs are open */
	RANK_CLAIMS,     /* content/claims.c: which digests are being changed */
	RANK_INGEST,     /* content/ingest.c: what others may see of an open ingest */
	RANK_BLOBS,      /* content/blobs.c: table of open blobs */
	RANK_TIERED,     /* backends/tiered/: the table of handles */
	RANK_HANDLE,     /* what one of them reads from */
	RANK_PINS,       /* its parts, as they call each other */
	RANK_FETCH,
	RANK_QUEUE,
	RANK_CACHE,
	RANK_HOLDINGS,
	RANK_LOOKUP,
	RANK_CIRCUIT,
	RANK_BACKEND, /* a backend's own state */
	RANK_S3,      /* backends/s3/request.c: what a session has learnt */
	RANK_CREDS,   /* backends/s3/creds.c: the credentials of the moment */
	RANK_HTTP,    /* backends/s3/http.c: transfers that wait, timers */
	RANK_META,    /* content/meta.c: queue of waiting transactions */
	RANK_STRAND,  /* content/base/pool.c */
	RANK_POOL,    /* content/base/pool.c */
	RANK_LOG,     /* content/base/log.c */
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	_Atomic(pthread_t) owner;
	atomic_bool held;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_destroy(struct lock *l);
void lock_take(struct lock *l);
void lock_release(struct lock *l);
/* Whether the calling thread holds it; for assertions. */
bool lock_held(const struct lock *l);
#define LOCK_ASSERT(l) assert(lock_held(l))

/* pthread_cond_wait on a held lock. The lock must be the last one that the thread took. */
void lock_wait(struct lock *l, pthread_cond_t *cond);
/* The same until `mono_ns` of clock.h at the latest; false when that time has come. The condition
 * must be made by lock_cond_init, which puts it on the monotonic clock. */
bool lock_wait_until(struct lock *l, pthread_cond_t *cond, long long mono_ns);
void lock_cond_init(pthread_cond_t *cond);

/* For a scope: `LOCK_SCOPE(&s->lock);` */
static inline void lock_releasep(struct lock **l)
{
	lock_release(*l);
}
#define LOCK_CONCAT2(a, b) a##b
#define LOCK_CONCAT(a, b) LOCK_CONCAT2(a, b)
#define LOCK_SCOPE(l)                                                                                        \
	__attribute__((cleanup(lock_releasep), unused)) struct lock *LOCK_CONCAT(scope_lock_, __LINE__) = ({ \
		struct lock *scope_take_ = (l);                                                              \
		lock_take(scope_take_);                                                                      \
		scope_take_;                                                                                 \
	})

#endif
