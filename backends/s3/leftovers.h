/* Uploads that are to be aborted. They are files (sidecar.h), so that none is forgotten where the bucket
 * cannot be reached or the process ends: what is left is tried again now and then, and at the next start.
 *
 * Threads: any. */
#ifndef STOWAGE_BACKENDS_S3_LEFTOVERS_H
#define STOWAGE_BACKENDS_S3_LEFTOVERS_H

#include "backends/dir.h"
#include "backends/s3/client.h"
#include "backends/s3/http.h"
#include "content/base/pool.h"

#include <stdatomic.h>

struct leftovers {
	struct dir *dir;
	struct s3_client *client;
	struct http *http;
	struct pool *pool;
	struct lock lock;
	struct job job;
	struct http_timer again;
	bool queued; /* the job is, or runs */
	bool asked;  /* since it has begun */
	atomic_bool ended;
};

/* All borrowed. Looks at once for what an earlier process has left. */
void leftovers_begin(struct leftovers *l, struct dir *dir, struct s3_client *client, struct http *http,
		     struct pool *pool);
/* There may be some: soon, on the pool, they are aborted. */
void leftovers_poke(struct leftovers *l);
/* Nothing new is begun, and no timer set. The client has been stopped, so what runs on the pool ends soon;
 * then leftovers_free(). */
void leftovers_end(struct leftovers *l);
void leftovers_free(struct leftovers *l);

#endif
