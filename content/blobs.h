/* The table of open blobs: a Read costs one look-up here and one pread, no open, no stat.
 *
 * An entry is shared by its readers and stays, unused, until others push it out (least recently used
 * first) or its blob is deleted. Nothing here asks the database: who opens has looked.
 *
 * Threads: any. */
#ifndef STOWAGE_CONTENT_BLOBS_H
#define STOWAGE_CONTENT_BLOBS_H

#include "content/backend.h"
#include "content/base/lock.h"

enum { OPEN_BLOB_BUCKETS = 512 };

struct open_blob {
	struct digest digest;
	struct blob *blob;
	unsigned users;                  /* readers, and 1 while it is in the table */
	struct open_blob *next;          /* of its bucket */
	struct open_blob *newer, *older; /* by last use */
};

struct blobs {
	struct lock lock;
	unsigned n, max;
	struct open_blob *buckets[OPEN_BLOB_BUCKETS];
	struct open_blob *newest, *oldest;
};

/* Keeps `max` blobs open at most, not counting those in use beyond it. */
void blobs_init(struct blobs *t, unsigned max);
/* Nobody may be reading. */
void blobs_destroy(struct blobs *t);

/* The open blob, to be given back by blobs_put(), or NULL if it is not in the table. */
struct open_blob *blobs_get(struct blobs *t, const struct digest *d);
/* Lists a freshly opened handle, which the table owns from then on, and gets it as blobs_get()
 * does. If another thread was faster, its entry is given and `blob` is closed. The caller holds the
 * claim on `d`, so that a deletion does not fall between opening and listing. */
struct open_blob *blobs_add(struct blobs *t, const struct digest *d, struct blob *blob);
void blobs_put(struct blobs *t, struct open_blob *b);
/* Takes the blob out of the table: later readers open it anew, those that have it go on. */
void blobs_drop(struct blobs *t, const struct digest *d);
/* The same for this very entry, which the caller uses: false if it was not in the table any more. */
bool blobs_drop_this(struct blobs *t, struct open_blob *b);

#endif
