/* A store in front of another storage, with a cache that is too small, all in memory. */
#ifndef STOWAGE_TESTS_PIN_ENV_H
#define STOWAGE_TESTS_PIN_ENV_H

#include "backends/backends.h"
#include "backends/tiered/tiered_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/store_internal.h"
#include "tests/suite/suite.h"

enum { SIZE = 100000, MAX_SIZE = 6 * SIZE }; /* of each blob that is no manifest; of the cache */

struct pin_env {
	char dir[TEMP_DIR_MAX];
	struct fault_plan fast_plan, behind_plan;
	struct backend *fast, *behind;
	struct store *store;
	struct tiered *tiered; /* its backend */
};
extern struct pin_env env;

int pin_env_setup(void **state);
int pin_env_teardown(void **state);
/* The store ends, and begins again on its database and with empty storages, with `prefetch` fetches at once.
 */
void restart(unsigned prefetch);

/* The blob gets a row, as one that was found behind. */
void adopt(const struct digest *d, uint64_t size);
/* A blob that is behind; in the second case it has a row, too. */
struct digest blob_behind(unsigned seed);
struct digest blob_in_view(unsigned seed);
struct digest text_behind(const char *text);
/* A manifest of these "layers", or an index of these "manifests". */
struct digest document(const char *key, const struct digest *v, size_t n, bool in_view);

bool is_here(const struct digest *d);
struct fleet_status status(void);
/* Asks for a blob, or looks how it is, by the lease 1. To be freed, where it may be here. */
struct fleet_brought ask(const struct digest *d, bool begin);
/* Asks for it until it is here. */
void bring(const struct digest *d);
/* As a node that nobody has asked for anything for a while. */
void end_leases(void);

#define wait_for(cond)                                                                                       \
	do {                                                                                                 \
		int64_t until_ = clock_mono_ns() + 60 * NSEC_PER_SEC;                                        \
                                                                                                             \
		while (!(cond)) {                                                                            \
			if (clock_mono_ns() > until_)                                                        \
				fail_msg("line %d: not so: %s", __LINE__, #cond);                            \
			(void)usleep(1000);                                                                  \
		}                                                                                            \
	} while (0)

#endif
