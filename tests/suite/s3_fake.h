/* A bucket in memory behind backends/s3/client.h, with its own session and timers, so that the backend above
 * the client can be tested without a network: every answer of a bucket that matters to it can be had at
 * will. What is sent to whom, and in which form, is for the tests with real servers.
 *
 * It keeps to S3's rules: parts of 5 MiB at least but the last, ETags that must match, If-None-Match. The
 * operations that run beside each other end on a thread of their own. */
#ifndef STOWAGE_TESTS_S3_FAKE_H
#define STOWAGE_TESTS_S3_FAKE_H

#include "backends/s3/s3_options.h"
#include "content/backend.h"

enum fake_op {
	FAKE_HEAD,
	FAKE_GET,
	FAKE_PUT,
	FAKE_DELETE,
	FAKE_LIST,
	FAKE_CREATE,
	FAKE_PART,
	FAKE_COMPLETE,
	FAKE_ABORT,
	FAKE_PARTS,
	FAKE_OP_COUNT,
};

/* Empties the bucket and forgets all plans; no backend is open. */
void fake_reset(void);
/* Options for s3_new(): parts of 5 MiB, small blobs below 6 MiB, 16 MiB for reading. */
struct s3_options fake_options(void);

/* The calls of `op` from the n-th on (1: the next), `times` of them, fail with `code`; times 0: no more. */
void fake_fail(enum fake_op op, unsigned nth, unsigned times, enum stow_code code);
/* The `done` of parts and ranges waits until this is false again. */
void fake_hold(bool hold);
/* Such operations that are under way, and have not ended: waits until there are `n` of them. */
void fake_wait_held(unsigned n);
/* Complete and PUT do as they are told, but their answer is lost: it is a failure with `code`. */
void fake_lose_answer(enum stow_code code);

/* What the bucket has been asked, and what it has. */
unsigned fake_count(enum fake_op op);
unsigned fake_uploads(void); /* neither completed nor aborted */
unsigned fake_objects(void);
/* Replaces an object's bytes, as another writer would; its ETag changes. `n` bytes of fill(seed). */
void fake_put(const char *key, size_t n, unsigned seed);
void fake_delete(const char *key);

#endif
