/* Fetches between storages in memory, of which the tests can hold up single reads. */
#ifndef STOWAGE_TESTS_FETCH_ENV_H
#define STOWAGE_TESTS_FETCH_ENV_H

#include "backends/backends.h"
#include "backends/tiered/fetch_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <sched.h>

#define MIB ((size_t)1 << 20)
enum { FETCH_ENV_TIERS = 2, FETCH_ENV_PREFETCH = 2, FETCH_ENV_SEEDS = 32 };

/* A storage behind. */
struct held_tier {
	struct backend *backend; /* fault over mem, with a pread of our own */
	struct fault_plan plan;
	struct backend_ops ops;
	_Atomic uint64_t held;  /* reads of the byte there wait; UINT64_MAX: none do */
	_Atomic uint64_t bytes; /* read so far */
	atomic_uint opens;
	atomic_uint now, most; /* reads under way, and the most of them that there were */
};

struct fetch_env {
	char dir[TEMP_DIR_MAX];
	struct meta *meta;
	struct backend *fast; /* fault over mem */
	struct fault_plan plan;
	struct held_tier tier[FETCH_ENV_TIERS];
	struct tiers tiers;
	struct lookup *lookup;
	struct cache *cache;
	struct fetches *fetches;
	atomic_uint done; /* blobs that the fetches have published */
	bool stopped;
	uint8_t *right[FETCH_ENV_SEEDS]; /* the bytes of the blobs, by seed */
};
extern struct fetch_env env;

int fetch_env_setup(void **state);
int fetch_env_teardown(void **state);
/* The same storages, another process: `prefetch` at once. */
void again(unsigned prefetch);
/* The same with room for `max_size` bytes. */
void again_with_room(uint64_t max_size, unsigned prefetch);
void stop_all(void);

/* `n` bytes of fill(seed), in the storage `at` behind; the second under a digest that is that of seed, but
 * with other bytes. */
struct digest blob_behind(size_t at, size_t n, unsigned seed);
struct digest wrong_behind(size_t at, size_t n, unsigned seed);

void hold(struct held_tier *t, uint64_t off);
void release(struct held_tier *t);
/* Its circuit opens. */
void tier_goes_away(size_t at);

struct fetch_reader *open_reader(const struct digest *d, uint64_t size);
/* The bytes are those that blob_behind() or wrong_behind() were told. */
bool same(const uint8_t *p, size_t n, uint64_t off, unsigned seed);
void read_part(struct fetch_reader *r, uint64_t off, size_t n, unsigned flags, unsigned seed);
/* In order up to the end; from `fast`, once it is there. */
void read_rest(struct fetch_reader *r, uint64_t off, uint64_t size, unsigned seed);
void read_fails(struct fetch_reader *r, uint64_t off, size_t n, enum stow_code code);
void read_now_fails(struct fetch_reader *r, uint64_t off, size_t n);
bool has_ended(struct fetch_reader *r);
bool has_waiting(struct fetch_reader *r);

/* Fails after some seconds. */
#define wait_for(cond)                                                                                       \
	do {                                                                                                 \
		int64_t until_ = clock_mono_ns() + 20 * NSEC_PER_SEC;                                        \
		while (!(cond) && clock_mono_ns() < until_)                                                  \
			sched_yield();                                                                       \
		assert_true(cond);                                                                           \
	} while (0)

#endif
