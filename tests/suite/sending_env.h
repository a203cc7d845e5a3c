/* Sendings of content/behind.h from bytes in memory, for the test's own thread: what fails, fails the test.
 */
#ifndef STOWAGE_TESTS_SENDING_ENV_H
#define STOWAGE_TESTS_SENDING_ENV_H

#include "content/behind.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Of several parts, for a backend that sends them one by one. */
enum { SENT_SIZE = 17 << 20, SENT_PART = 11 << 20, SMALL_SIZE = 100 * 1000 };

/* Where a sending reads; nothing but what it has told of may be read, and nothing where it is shut. */
struct sending_source {
	uint8_t *bytes; /* owned */
	_Atomic size_t have;
	atomic_bool shut;
	atomic_bool broken;
	atomic_uint wrong; /* reads that must not have been */
};

/* `n` bytes of fill(seed), of which none has been told of yet. */
void source_make(struct sending_source *src, size_t n, unsigned seed);
/* No read comes after this. */
void source_shut(struct sending_source *src);
/* Nothing has been read that must not be. */
void source_free(struct sending_source *src);
/* The `read` of a sending, whose `arg` is a source. Threads: any. */
sending_read read_source;

/* The calls of the table; `have` bytes of the source are there from the start, `d` may be NULL. */
struct sending *sending_open(struct backend *b, const char *record, const struct digest *d, uint64_t total,
			     uint64_t have, struct sending_source *src);
/* In steps of a megabyte, up to `to`. Threads: any. */
void sending_advance(struct sending *s, struct sending_source *src, size_t to);
void sending_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags);
void sending_close(struct sending *s, bool forget);

/* How many there are, all of them with good names. */
size_t sending_records(struct backend *b);

#endif
