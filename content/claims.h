/* Exclusive claims on digests.
 *
 * Whoever changes both a blob's bytes and its row (commit, delete, adopt) claims the digest first, so
 * that the two never disagree: without it, a delete could unlink the bytes that a commit of the same
 * content has just recorded. A claim is a flag in a table, not a held lock, since its holder waits for
 * disks and transactions.
 *
 * A thread that holds a claim does not wait for another one; store_reconcile() alone holds several,
 * and takes them in the order of their digests.
 *
 * Threads: any. */
#ifndef STOWAGE_CONTENT_CLAIMS_H
#define STOWAGE_CONTENT_CLAIMS_H

#include "content/base/digest.h"
#include "content/base/lock.h"

enum { CLAIM_BUCKETS = 64 };

/* One claim, on its holder's stack. */
struct claim {
	struct claims *table;
	struct digest digest;
	struct claim *next;
};

struct claims {
	struct lock lock;
	pthread_cond_t changed;
	struct claim *buckets[CLAIM_BUCKETS];
};

void claims_init(struct claims *c);
/* No claim may be held. */
void claims_destroy(struct claims *c);

/* Waits until nobody else holds a claim on `d`, then holds it until claim_release(). */
void claim_take(struct claims *table, struct claim *c, const struct digest *d);
/* A claim that is not held (all zero) is a no-op; fit for CLEANUP. */
void claim_release(struct claim *c);

#endif
