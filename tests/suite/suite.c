#include "tests/suite/suite.h"

#include "content/base/mem.h"
#include "content/behind.h"

/* cmocka hands its cases one pointer, which is the case; the rest is here. */
static struct {
	backend_make *make;
	char dir[TEMP_DIR_MAX];
	struct backend *b;
} env;

static int case_setup(void **state)
{
	struct stow_err err;

	(void)state;
	temp_dir_make(env.dir);
	expect_ok(env.make(env.dir, &env.b, &err), &err);
	return 0;
}

static int case_teardown(void **state)
{
	(void)state;
	backend_free(TAKE(env.b));
	temp_dir_remove(env.dir);
	return 0;
}

static void case_run(void **state)
{
	const struct suite_case *c = *state;

	c->run(env.b);
}

/* Whether the backend can stand behind a tiered one, and is not only read. */
static bool stands_behind(void)
{
	bool behind;

	(void)case_setup(NULL);
	behind = env.b->ops->behind != NULL && env.b->ops->behind->send_open != NULL;
	(void)case_teardown(NULL);
	return behind;
}

int backend_suite(const char *name, backend_make *make)
{
	static const struct suite_case *const lists[] = { suite_blobs,   suite_stages, suite_hints,
							  suite_threads, suite_behind, suite_records,
							  suite_notes };
	CLEANUP(freep) struct CMUnitTest *tests = NULL;
	size_t n = 0, n_lists;

	env.make = make;
	n_lists = stands_behind() ? ARRAY_LEN(lists) : ARRAY_LEN(lists) - 3;
	for (size_t i = 0; i < n_lists; i++) {
		for (const struct suite_case *c = lists[i]; c->name != NULL; c++) {
			tests = x_reallocarray(tests, n + 1, sizeof(*tests));
			tests[n++] = (struct CMUnitTest){
				.name = c->name,
				.test_func = case_run,
				.setup_func = case_setup,
				.teardown_func = case_teardown,
				.initial_state = (void *)(uintptr_t)c,
			};
		}
	}
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}
