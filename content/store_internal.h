/* The store, as its own files see it. */
#ifndef STOWAGE_CONTENT_STORE_INTERNAL_H
#define STOWAGE_CONTENT_STORE_INTERNAL_H

#include "content/base/clock.h"
#include "content/blobs.h"
#include "content/claims.h"
#include "content/refs.h"
#include "content/store.h"

#define STORE_MAGIC 0x53544f52u

struct store {
	uint32_t magic;
	int lock_fd;       /* the root's lock, held for the store's life */
	int bytes_lock_fd; /* the same of the backend's directory, if that is another one; -1 */
	struct backend *backend;
	struct meta *meta;
	struct pool *pool;
	struct claims claims;
	struct refs refs;
	struct blobs blobs;
};

/* How long an operation on a ref waits for its holder: a client that closes a stream and opens the
 * next at once overtakes itself, since the two streams run on different threads. containerd's local
 * store retries for about as long. */
static const int64_t REF_WAIT_NS = 100 * NSEC_PER_MSEC;

#endif
