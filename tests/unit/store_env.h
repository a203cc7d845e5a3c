/* What the tests of the store share: a store in a fresh folder that can be closed and opened again, as
 * by a restart of the daemon, over either backend, with the fault backend in front.
 *
 * Outcomes, threads and folders are the suite's (tests/suite/suite.h). */
#ifndef STOWAGE_TESTS_STORE_ENV_H
#define STOWAGE_TESTS_STORE_ENV_H

#include "backends/backends.h"
#include "content/store.h"
#include "tests/suite/suite.h"

enum env_kind { ENV_MEM, ENV_LOCAL };

struct env {
	char dir[TEMP_DIR_MAX]; /* the root, and what the local backend has */
	enum env_kind kind;
	struct fault_plan plan; /* all zero at the start */
	struct backend *mem;    /* outlives the store, as a disk would */
	struct pool *pool;
	struct store *store;
	struct store_opened opened;
	unsigned threads; /* of the pool */
};

/* The one of the program, for those that need one at a time. */
extern struct env env;

/* A case over memory and over files, with `env` open. The state is the kind, for a setup of one's own, too.
 */
extern enum env_kind env_kinds[2];
int env_setup(void **state);
int env_teardown(void **state);
#define ENV_BOTH_WITH(f, setup)                                                                              \
	{ #f " (mem)", f, setup, env_teardown, &env_kinds[ENV_MEM] },                                        \
	{                                                                                                    \
#f " (local)", f, setup, env_teardown, &env_kinds[ENV_LOCAL]                                 \
	}
#define ENV_BOTH(f) ENV_BOTH_WITH(f, env_setup)

/* Makes the folder, on a memory file system if there is one. */
void env_make(struct env *e, enum env_kind kind);
/* Opens the store with its pool, and closes them. Ingests and blobs have been given back. */
int env_try_open(struct env *e, struct stow_err *err) MUST_CHECK;
void env_open(struct env *e);
void env_close(struct env *e);
void env_reopen(struct env *e);
/* Closes the store if it is open, and removes the folder. */
void env_remove(struct env *e);
/* The n-th call of `op` from now on fails once with `code`; 0: none does. */
void env_fault(struct env *e, enum fault_op op, int n, enum stow_code code);
/* How many stages the backend has, and blobs, and ingests and blobs that the store shows. The first
 * two are called without faults. */
size_t env_stages(struct env *e);
size_t env_backend_blobs(struct env *e);
size_t env_ingests(struct env *e);
size_t env_blobs(struct env *e);

/* --- content --- */

struct content {
	uint8_t *p; /* owned */
	size_t n;
	struct digest d;
};
/* `n` bytes that no other seed has, and their digest. */
struct content content_make(size_t n, unsigned seed, enum digest_alg alg);
void content_free(struct content *c); /* fit for CLEANUP */
/* The digest of the first `n` bytes, by SHA-256: what a STAT on the way answers. */
struct digest content_prefix(const struct content *c, size_t n);

/* Opens `ref` without declaring anything. */
struct ingest *ingest_of(struct env *e, const char *ref);
struct ingest *ingest_declared(struct env *e, const char *ref, uint64_t total, const struct digest *expected);
/* Writes the bytes from `from` up to `to`, in two vectors. */
int content_write(struct ingest *in, const struct content *c, size_t from, size_t to, struct stow_err *err);
/* The same, and its failure is the test's. */
void write_ok(struct ingest *in, const struct content *c, size_t from, size_t to);
void close_ok(struct ingest *in);
/* The handle has exactly the first `n` bytes of `c`. */
void check_at(struct ingest *in, const struct content *c, size_t n);
/* Open, write, commit; the digest is the expected one. Threads: any. */
int content_put(struct store *s, const char *ref, const struct content *c, struct stow_err *err);
/* Commits with size and digest expected. Consumes `in`. */
int content_commit(struct ingest *in, const struct content *c, struct stow_err *err);

/* It is listed, with this size, and its bytes are these. False, with *err set, if not; NOT_FOUND if it is
 * not there, DATA_LOSS if the bytes are others. Threads: any. */
bool content_good(struct store *s, const struct content *c, struct stow_err *err);
void check_content(struct env *e, const struct content *c);
void check_absent(struct env *e, const struct digest *d);
/* The ref is parked or open, with `offset` bytes. */
void check_ingest(struct env *e, const char *ref, uint64_t offset);
void check_no_ingest(struct env *e, const char *ref);

#endif
