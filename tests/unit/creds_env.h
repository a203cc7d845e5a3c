/* What the tests of credentials need: a home directory with files in it, and an environment. */
#ifndef STOWAGE_TESTS_CREDS_ENV_H
#define STOWAGE_TESTS_CREDS_ENV_H

#include "backends/s3/s3_options.h"
#include "tests/unit/unit.h"

/* A fresh directory, and an environment with it as HOME and nothing else but PATH. */
int creds_env_setup(void **state);
int creds_env_teardown(void **state);
#define CREDS_TEST(name) cmocka_unit_test_setup_teardown(name, creds_env_setup, creds_env_teardown)

/* Writes a file below the home; a directory before its name is made. */
void creds_env_put(const char *name, const char *text);
void creds_env_path(const char *name, char *out, size_t size);

/* Adds "NAME=value" to the environment, or replaces the value. Not while credentials use it. */
void creds_env_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *const *creds_env_variables(void);

/* Options with nothing set but this environment. */
struct s3_options creds_env_options(void);

#endif
