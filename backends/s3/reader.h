/* Reading objects with read-ahead, from a cache that all readers share.
 *
 * An object's bytes are kept in segments, fetched by ranged GETs with If-Match, several at once. A reader
 * that goes through an object in order (there may be several, each at a place of its own) has segments
 * fetched ahead of it: the window doubles with each segment that was of use, up to what memory and the
 * other readers leave. A read at any other place fetches little more than it asks for.
 *
 * Memory: never more than `memory` bytes in segments, those under way among them. Segments that a reader
 * has passed go first, then the ones that were not used for longest.
 *
 * Threads: any. object_read() with a flag, and object_close(), do not block. */
#ifndef STOWAGE_BACKENDS_S3_READER_H
#define STOWAGE_BACKENDS_S3_READER_H

#include "backends/s3/client.h"

#include <stdbool.h>

struct reader;
struct object;

/* `memory` is READER_MEMORY_MIN bytes at least; the client is borrowed. */
#define READER_MEMORY_MIN (UINT64_C(16) << 20)
struct reader *reader_new(struct s3_client *client, uint64_t memory);
/* Waits for what is under way, which has been cancelled. No object may be open. NULL is a no-op. */
void reader_free(struct reader *r);

/* An object that s3_head() has just described. */
struct object *object_open(struct reader *r, const char *key, const struct s3_object *o);
void object_close(struct object *o);

/* As pread of backend.h, for one byte at least, all of them within the object. An object that was written
 * anew meanwhile with the same size is the same, since its name says what its bytes are; NOT_FOUND once it is
 * gone, DATA_LOSS if it has another size. With BACKEND_READ_SAME it is another one: ABORTED. */
int object_read(struct object *o, void *to, size_t n, uint64_t off, unsigned flags,
		struct stow_err *err) MUST_CHECK;

/* For tests. */
struct reader_stats {
	uint64_t memory;      /* in segments now */
	uint64_t memory_peak; /* at most so far */
	uint64_t fetches;     /* GETs begun */
	uint64_t fetched;     /* bytes of them */
};
void reader_stats(struct reader *r, struct reader_stats *ret_st);

#endif
