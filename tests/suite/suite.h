/* One suite for every backend: each promise of content/backend.h is a case here, and of content/behind.h for
 * those that can stand behind a tiered one.
 *
 * A backend passes if backend_suite() returns 0 for its maker. The rest of this header is what the
 * cases, and the tests of single backends, share. */
#ifndef STOWAGE_TESTS_SUITE_H
#define STOWAGE_TESTS_SUITE_H

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* clang-format off */
#include <cmocka.h>
/* clang-format on */

#include "content/backend.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Makes an empty backend that may keep what it likes in the existing, empty directory `dir`. */
typedef int backend_make(const char *dir, struct backend **ret, struct stow_err *err);
/* Runs all cases, each on a new backend; returns how many failed. */
int backend_suite(const char *name, backend_make *make);

struct suite_case {
	const char *name; /* the promise; NULL ends a list */
	void (*run)(struct backend *b);
};
extern const struct suite_case suite_blobs[], suite_stages[], suite_hints[], suite_threads[], suite_behind[],
	suite_records[], suite_notes[];

/* --- outcomes --- */

/* On the test's own thread only: cmocka leaves the test by longjmp. */
void expect_ok_at(int rc, const struct stow_err *err, const char *file, int line);
void expect_fail_at(int rc, const struct stow_err *err, enum stow_code code, const char *file, int line);
#define expect_ok(rc, err) expect_ok_at(rc, err, __FILE__, __LINE__)
#define expect_fail(rc, err, code) expect_fail_at(rc, err, code, __FILE__, __LINE__)
/* The message of a failure names what it is about. */
void expect_named_at(const struct stow_err *err, const char *part, const char *file, int line);
#define expect_named(err, part) expect_named_at(err, part, __FILE__, __LINE__)

/* On other threads: counts, and says where. */
extern atomic_int thread_failures;
void thread_check_at(bool good, const char *what, const char *file, int line);
#define thread_check(cond) thread_check_at(cond, #cond, __FILE__, __LINE__)
/* Runs `fn(arg, i)` on `n` threads that start at once, and fails the test if one of them had a
 * failure. */
void run_threads(int n, void (*fn)(void *arg, int i), void *arg);

/* --- material --- */

/* A digest that no bytes were hashed for, where nobody looks. */
struct digest some_digest(enum digest_alg alg, unsigned seed);
/* The digest of `n` bytes of fill(seed). */
struct digest blob_digest(enum digest_alg alg, size_t n, unsigned seed);
/* Bytes that differ from place to place and from seed to seed. */
void fill(void *p, size_t n, unsigned seed);
bool filled(const void *p, size_t n, unsigned seed);
struct stage_name {
	char s[STAGE_NAME_LEN + 1];
};
struct stage_name new_name(void); /* another one each time */

/* `n` bytes of fill(seed) become the blob `d`. The second form is for threads. */
void put_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed);
int try_put_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed, struct stow_err *err);
/* The blob `d` is there and holds `n` bytes of fill(seed). */
void check_blob(struct backend *b, const struct digest *d, size_t n, unsigned seed);
void check_no_blob(struct backend *b, const struct digest *d);
int write_bytes(struct stage *st, const void *p, size_t n, uint64_t off, struct stow_err *err);

size_t count_blobs(struct backend *b);
size_t count_stages(struct backend *b);

/* --- directories --- */

enum { TEMP_DIR_MAX = 4096 };
void temp_dir_make(char out[TEMP_DIR_MAX]);
void temp_dir_remove(const char *path); /* with all that is in it */

#endif
