/* What the bucket in memory (s3_fake.c) and its clients (s3_fake_client.c) share. */
#ifndef STOWAGE_TESTS_S3_FAKE_INTERNAL_H
#define STOWAGE_TESTS_S3_FAKE_INTERNAL_H

#include "backends/s3/client.h"
#include "content/base/mem.h"
#include "tests/suite/s3_fake.h"

#include <pthread.h>

struct bytes {
	uint8_t *p;
	uint64_t n;
	char etag[S3_ETAG_MAX];
	int64_t modified_ns;
};
struct object_entry {
	struct object_entry *next;
	char *key;
	struct bytes bytes;
};
struct upload_entry {
	struct upload_entry *next;
	char *key;
	char id[32];
	struct bytes parts[64]; /* by number less 1 */
};

struct s3_client {
	bool is_fork, stopped; /* under the fake's lock */
};

/* The one that there is; all of it, and all that hangs on it, under its lock. */
struct fake {
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct object_entry *objects;
	struct upload_entry *uploads;
	unsigned serial;
	struct plan {
		unsigned nth, times;
		enum stow_code code;
	} plans[FAKE_OP_COUNT];
	unsigned counts[FAKE_OP_COUNT];
	enum stow_code lost;
	bool hold;
	unsigned held;
	struct pool *pool;
	struct s3_client client;
};
extern struct fake fake;

void fake_lock(void);
void fake_unlockp(const int *unused);
#define FAKE_SCOPE()                                                                                         \
	CLEANUP(fake_unlockp) UNUSED int fake_scope = 0;                                                     \
	fake_lock()

/* --- what it has; with the lock --- */

/* `p` becomes the bucket's. */
void fake_bytes_set(struct bytes *b, uint8_t *p, uint64_t n);
/* NULL where there is none of that key. */
struct object_entry *fake_object(const char *key);
struct object_entry *fake_object_set(const char *key, uint8_t *p, uint64_t n);
void fake_object_drop(const char *key);
/* Where the upload hangs; what is there is NULL where there is none. */
struct upload_entry **fake_upload_at(const struct s3_upload *u);
void fake_upload_drop(struct upload_entry **at);

#endif
