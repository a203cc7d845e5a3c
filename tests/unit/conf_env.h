/* Configuration files in a fresh directory, for the tests that load them. */
#ifndef STOWAGE_TESTS_CONF_ENV_H
#define STOWAGE_TESTS_CONF_ENV_H

#include "conf/conf.h"
#include "tests/unit/unit.h"

/* A directory for the files of one test, made and removed by the two functions. */
extern char conf_env_dir[];
int conf_env_setup(void **state);
int conf_env_teardown(void **state);
#define CONF_TEST(name) cmocka_unit_test_setup_teardown(name, conf_env_setup, conf_env_teardown)

/* Writes a file; a directory before its name is made. */
void conf_env_put(const char *name, const char *text);
void conf_env_put_bytes(const char *name, const char *text, size_t n);
/* config.toml in the directory; static storage. */
const char *conf_env_file(void);

/* Loads what must be right. */
struct conf *conf_env_load(const struct conf_sources *src);
/* Loads what must be wrong. */
void conf_env_refuse(const struct conf_sources *src, struct conf_errors *ret_errors);
/* The errors must be these lines, in this order; the directory before them is left out. */
void conf_env_expect(const struct conf_errors *errors, const char *const *lines, size_t n);
/* One document as config.toml that has this one error. */
void conf_env_expect_error(const char *text, const char *line);

#endif
