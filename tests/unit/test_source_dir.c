/* A directory that others fill: what is found there, what is refused, and what is left alone. */
#include "backends/backends.h"
#include "content/base/hash.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/unit/store_env.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char dir[TEMP_DIR_MAX];
static struct backend *b;

/* Makes the file, and the directories above it. */
static void put(const char *name, const char *text)
{
	char path[TEMP_DIR_MAX + 300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		(void)mkdir(path, 0700);
		*p = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0400);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static struct digest put_text(enum source_layout layout, const char *text)
{
	char name[300], hex[DIGEST_HEX_MAX];
	struct digest d;

	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	hash_update(h, text, strlen(text));
	hash_digest(h, &d);
	digest_format_hex(&d, hex);
	if (layout == SOURCE_REGISTRY)
		snprintf(name, sizeof(name), "docker/registry/v2/blobs/sha256/%.2s/%s/data", hex, hex);
	else
		snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	put(name, text);
	return d;
}

static void begin(enum source_layout layout)
{
	struct stow_err err;

	temp_dir_make(dir);
	expect_ok(source_dir_new(dir, layout, &b, &err), &err);
}

static int teardown(void **state UNUSED)
{
	backend_free(TAKE(b));
	temp_dir_remove(dir);
	return 0;
}

static int count(void *arg, const struct digest *d UNUSED, const struct blob_stat *st UNUSED,
		 struct stow_err *err UNUSED)
{
	++*(unsigned *)arg;
	return 0;
}

static void check_layout(enum source_layout layout)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct digest d, missing = some_digest(DIGEST_SHA512, 1);
	struct blob_stat st;
	struct stow_err err;
	unsigned seen = 0;
	char to[16];
	size_t n;

	begin(layout);
	expect_ok(backend_scan(b, count, &seen, &err), &err); /* nothing is there yet */
	assert_int_equal(seen, 0);
	expect_fail(backend_stat(b, &missing, &st, &err), &err, STOW_NOT_FOUND);
	d = put_text(layout, "hello");
	put("docker/registry/v2/blobs/sha256/ab/nothing/data", "x");
	put("blobs/sha256/other", "x");
	expect_ok(b->ops->behind->look(b, &d, &st, &err), &err);
	assert_int_equal(st.size, 5);
	assert_true(st.modified_ns > 0);
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	assert_int_equal(blob->size, 5);
	expect_ok(blob_pread(blob, to, sizeof(to), 1, 0, &n, &err), &err);
	assert_int_equal(n, 4);
	assert_memory_equal(to, "ello", 4);
	expect_ok(blob_pread(blob, to, sizeof(to), UINT64_MAX, 0, &n, &err), &err);
	assert_int_equal(n, 0);
	expect_fail(blob_pread(blob, to, 1, 0, BACKEND_READ_NOWAIT, &n, &err), &err, STOW_UNAVAILABLE);
	expect_ok(backend_scan(b, count, &seen, &err), &err);
	assert_int_equal(seen, 1);
}

static void a_registry_is_read(void **state UNUSED)
{
	check_layout(SOURCE_REGISTRY);
}

static void a_store_is_read(void **state UNUSED)
{
	check_layout(SOURCE_STOWAGE);
}

static void what_would_change_it_is_refused(void **state UNUSED)
{
	struct stage *st = NULL;
	struct stow_err err;
	struct digest d;

	begin(SOURCE_STOWAGE);
	d = put_text(SOURCE_STOWAGE, "mine");
	expect_fail(backend_remove(b, &d, &err), &err, STOW_UNIMPLEMENTED);
	expect_named(&err, "directory");
	expect_fail(backend_stage_create(b, "0123456789abcdef", NULL, &st, &err), &err, STOW_UNIMPLEMENTED);
	expect_fail(backend_stage_resume(b, "0123456789abcdef", 0, NULL, &st, &err), &err,
		    STOW_UNIMPLEMENTED);
	expect_fail(backend_stage_discard(b, "0123456789abcdef", &err), &err, STOW_UNIMPLEMENTED);
	assert_null(b->ops->behind->send_open);
}

static void a_file_that_shrinks_is_data_loss(void **state UNUSED)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;
	char to[16], path[TEMP_DIR_MAX + 200], hex[DIGEST_HEX_MAX];
	struct stow_err err;
	struct digest d;
	size_t n;

	begin(SOURCE_STOWAGE);
	d = put_text(SOURCE_STOWAGE, "long enough");
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	digest_format_hex(&d, hex);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%s", dir, hex);
	assert_int_equal(truncate(path, 3), 0);
	expect_fail(blob_pread(blob, to, 11, 0, 0, &n, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, "3 bytes");
}

static void what_is_no_file_is_named(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 4);
	char name[200], hex[DIGEST_HEX_MAX];
	struct blob *blob = NULL;
	struct blob_stat st;
	struct stow_err err;

	begin(SOURCE_STOWAGE);
	digest_format_hex(&d, hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s/x", hex);
	put(name, "");
	expect_fail(backend_stat(b, &d, &st, &err), &err, STOW_INTERNAL);
	expect_fail(backend_open(b, &d, 0, &blob, &err), &err, STOW_INTERNAL);
	expect_named(&err, hex);
}

static void it_must_be_there(void **state UNUSED)
{
	struct stow_err err;

	temp_dir_make(dir);
	expect_fail(source_dir_new("/nonexistent/here", SOURCE_REGISTRY, &b, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "/nonexistent/here");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_registry_is_read),
		CASE(a_store_is_read),
		CASE(what_would_change_it_is_refused),
		CASE(a_file_that_shrinks_is_data_loss),
		CASE(what_is_no_file_is_named),
		CASE(it_must_be_there),
	};

	return cmocka_run_group_tests_name("source directory", tests, NULL, NULL);
}
