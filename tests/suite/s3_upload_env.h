/* What the tests of uploads share: an S3 backend on the bucket in memory (s3_fake.h), and one stage of it at
 * a time, whose bytes come and go. Outcomes are judged here: a step that fails ends the test. */
#ifndef STOWAGE_TESTS_S3_UPLOAD_ENV_H
#define STOWAGE_TESTS_S3_UPLOAD_ENV_H

#include "backends/s3/s3.h"
#include "content/base/mem.h"
#include "tests/suite/s3_fake.h"
#include "tests/suite/suite.h"

/* Four parts of the fake's 5 MiB, the last one shorter. */
enum { MIB = 1 << 20, SIZE = 17 * MIB, PARTS = 4 };

struct upload_env {
	char dir[TEMP_DIR_MAX];
	struct backend *b;
	uint8_t *bytes; /* SIZE of fill(1) */
	struct digest d;
	struct stage_hint hint; /* the right one */
	struct stage_name name;
	struct stage *st; /* NULL: closed */
};
extern struct upload_env env;

/* For cmocka: an empty bucket, an empty directory, a backend on them. */
int env_setup(void **state);
int env_teardown(void **state);
/* The backend is closed and opened, as by a restart. */
void env_reopen(void);

/* The stage: made, taken up, closed; bytes from..to of env.bytes written and synced. */
void env_create(const struct stage_hint *hint);
void env_resume(uint64_t size, const struct stage_hint *hint);
void env_park(void);
void env_write(size_t from, size_t to);
/* It becomes the blob env.d, and is closed; or does not, and no blob is there. */
void env_publish_ok(void);
void env_publish_fails(enum stow_code code);

/* Until the bucket has been asked for `op` so many times, or has so many unfinished uploads, which happens on
 * other threads; some seconds at most. */
void env_wait_for(enum fake_op op, unsigned n);
void env_wait_for_uploads(unsigned n);
/* The blob is there, and nothing else is left: neither in the bucket nor on the disk. */
void env_check_whole(void);

/* Of another blob of the same size. */
struct stage_hint env_other_hint(void);
/* Of a blob's object. To be freed. */
char *env_key(const struct digest *d);

#define ENV_CASE(f)                                                                                          \
	{                                                                                                    \
#f, f, env_setup, env_teardown, NULL                                                         \
	}

#endif
