/* Having the daemon bring blobs here, a window of them at a time, until all are here or cannot come.
 *
 * The daemon keeps no list of what is wanted: it is asked for each blob, again and again, and does not evict
 * what it has brought so while it is asked. Threads: one user. */
#ifndef STOWAGE_CMD_PREFETCH_H
#define STOWAGE_CMD_PREFETCH_H

#include "backends/tiered/keyset.h"
#include "cmd/progress.h"
#include "proto/client.h"

enum { PREFETCH_WINDOW = 128 };

/* A blob that is to come here. */
struct wanted {
	struct digest digest;
	uint64_t size;
	bool optional; /* need not be anywhere: another platform's manifest, in an index */
	bool begun;    /* it was not here, and has been asked for */
	bool settled;  /* it is here, or cannot come */
};

struct wanted_list {
	struct wanted *v; /* owned */
	size_t n, room;
	bool documents; /* manifests, maybe: what they refer to is wanted, too */
};

struct prefetch {
	const char *command; /* for messages */
	struct client *client;
	int64_t lease; /* another number for each use of this */
	const atomic_bool *interrupted;
	int64_t until_ns; /* monotonic */
	bool spare;       /* nothing else has to go for it */
	struct progress progress;
	struct keyset seen; /* is in a list */
	struct wanted_list documents, others;
	uint64_t here;                   /* were here */
	uint64_t brought, brought_bytes; /* have come */
	uint64_t failed;                 /* cannot come: each has its message */
};
void prefetch_free(struct prefetch *p); /* what it holds; fit for CLEANUP */

/* Wants a blob, once. Named ones may be manifests. */
void prefetch_add(struct prefetch *p, const struct digest *d, uint64_t size);
int prefetch_add_named(struct prefetch *p, const struct digest *d, struct stow_err *err) MUST_CHECK;
/* Until all are settled, or the time is over, or it was interrupted. -1: the daemon cannot be asked, or they
 * have no room together. */
int prefetch_run(struct prefetch *p, struct stow_err *err) MUST_CHECK;
/* What is not settled. */
void prefetch_left(const struct prefetch *p, uint64_t *ret_n, uint64_t *ret_bytes);

#endif
