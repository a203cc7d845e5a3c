/* The suite for the tiered backend, on bytes in memory or in a directory, in front of a bucket in memory. No
 * store records anything, so nothing is uploaded: what it does beside the calls is test_tiered.c's. */
#include "backends/backends.h"
#include "backends/tiered/tiered.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <stdio.h>

static int make(struct backend *fast, struct backend **ret, struct stow_err *err)
{
	struct tiered_options o = {
		.fast = fast,
		.names = { "a bucket" },
		.n_behind = 1,
		.writable = true,
		.identity = "suite",
		.info_timeout_ns = 5 * NSEC_PER_SEC,
		.uploads = 2,
		.prefetch = 2,
		.claim_interval_ns = NSEC_PER_SEC,
		.claim_grace_ns = 3600 * NSEC_PER_SEC,
	};

	return mem_new(&o.behind[0], err) < 0 ? -1 : tiered_new(&o, ret, err);
}

static int make_mem(const char *dir UNUSED, struct backend **ret, struct stow_err *err)
{
	struct backend *fast;

	return mem_new(&fast, err) < 0 ? -1 : make(fast, ret, err);
}

static int make_local(const char *dir, struct backend **ret, struct stow_err *err)
{
	struct backend *fast;

	return local_new(dir, &fast, err) < 0 ? -1 : make(fast, ret, err);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "mem") == 0)
		return backend_suite("tiered on mem", make_mem) == 0 ? 0 : 1;
	if (argc == 2 && strcmp(argv[1], "local") == 0)
		return backend_suite("tiered on local", make_local) == 0 ? 0 : 1;
	fprintf(stderr, "usage: suite_tiered mem|local\n");
	return 2;
}
