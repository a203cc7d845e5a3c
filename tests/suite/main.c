/* The suite, for the backend that the argument names. */
#include "backends/backends.h"
#include "tests/suite/suite.h"

#include <stdio.h>
#include <string.h>

static int make_mem(const char *dir, struct backend **ret, struct stow_err *err)
{
	(void)dir;
	return mem_new(ret, err);
}

static int make_fault(const char *dir, struct backend **ret, struct stow_err *err)
{
	static struct fault_plan none;
	struct backend *inner;

	if (local_new(dir, &inner, err) < 0)
		return -1;
	return fault_new(inner, &none, ret, err);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		backend_make *make;
	} backends[] = { { "mem", make_mem }, { "local", local_new }, { "fault", make_fault } };

	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(backends); i++) {
		if (strcmp(argv[1], backends[i].name) == 0)
			return backend_suite(backends[i].name, backends[i].make) == 0 ? 0 : 1;
	}
	fprintf(stderr, "usage: suite mem|local|fault\n");
	return 2;
}
