/* The local backend on a disk: its layout, and disks that are full, bent or not as they should be. */
#include "backends/backends.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PATH_SIZE = TEMP_DIR_MAX + 256 };

static struct {
	char dir[TEMP_DIR_MAX];
	char store[PATH_SIZE];
	struct backend *b;
} env;

static int setup(void **state)
{
	struct stow_err err;

	(void)state;
	temp_dir_make(env.dir);
	(void)snprintf(env.store, sizeof(env.store), "%s/store", env.dir);
	expect_ok(local_new(env.store, &env.b, &err), &err);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	backend_free(TAKE(env.b));
	(void)umount2(env.store, MNT_DETACH); /* a test that failed may have left it */
	temp_dir_remove(env.dir);
	return 0;
}

/* A path below the store. */
struct path {
	char s[PATH_SIZE + 256];
};
static struct path below(const char *name)
{
	struct path p;

	(void)snprintf(p.s, sizeof(p.s), "%s/%s", env.store, name);
	return p;
}

static struct path blob_path(const struct digest *d)
{
	char hex[DIGEST_HEX_MAX], name[DIGEST_STR_MAX + 8];

	digest_format_hex(d, hex);
	(void)snprintf(name, sizeof(name), "blobs/%s/%s", digest_alg_name((enum digest_alg)d->alg), hex);
	return below(name);
}

static struct path stage_path(const struct stage_name *name)
{
	char rel[STAGE_NAME_LEN + 8];

	(void)snprintf(rel, sizeof(rel), "ingest/%s", name->s);
	return below(rel);
}

static void write_file(struct path p, const void *bytes, size_t n)
{
	CLEANUP(fd_closep) int fd = open(p.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
}

static mode_t mode_of(struct path p)
{
	struct stat sb;

	assert_int_equal(lstat(p.s, &sb), 0);
	return sb.st_mode;
}

static void reopen(void)
{
	struct stow_err err;

	backend_free(TAKE(env.b));
	expect_ok(local_new(env.store, &env.b, &err), &err);
}

/* --- layout --- */

static void directories_are_made_at_start(void **state)
{
	static const char *const names[] = { "",      "blobs", "blobs/sha256", "blobs/sha384", "blobs/sha512",
					     "ingest" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(mode_of(below(names[i])), S_IFDIR | 0700);
}

static void blob_is_a_read_only_file_of_its_hex(void **state)
{
	for (int alg = DIGEST_SHA256; alg < DIGEST_ALG_COUNT; alg++) {
		struct digest d = some_digest((enum digest_alg)alg, 1);
		CLEANUP(fd_closep) int fd = -1;
		uint8_t to[101];

		put_blob(env.b, &d, 100, 1);
		assert_int_equal(mode_of(blob_path(&d)), S_IFREG | 0444);
		fd = open(blob_path(&d).s, O_RDONLY | O_CLOEXEC);
		assert_int_equal(read(fd, to, sizeof(to)), 100);
		assert_true(filled(to, 100, 1));
	}
	(void)state;
}

static void stage_is_a_file_of_its_name(void **state)
{
	struct stage_name name = new_name();
	struct stow_err err;
	struct stage *st;

	(void)state;
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	assert_int_equal(mode_of(stage_path(&name)), S_IFREG | 0600);
	stage_close(st);
}

static void everything_survives_a_restart(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stage_name name = new_name();
	struct stow_err err;
	struct stage *st;
	char to[4];
	size_t n;

	(void)state;
	put_blob(env.b, &d, 100, 1);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, "abc", 3, 0, &err), &err);
	stage_close(st);
	reopen();
	check_blob(env.b, &d, 100, 1);
	assert_int_equal(count_stages(env.b), 1);
	expect_ok(backend_stage_resume(env.b, name.s, 3, NULL, &st, &err), &err);
	expect_ok(stage_pread(st, to, sizeof(to), 0, &n, &err), &err);
	stage_close(st);
	assert_int_equal(n, 3);
	assert_memory_equal(to, "abc", 3);
}

static void a_blob_put_there_by_hand_counts(void **state)
{
	struct digest d = some_digest(DIGEST_SHA512, 1);
	uint8_t bytes[100];

	(void)state;
	fill(bytes, sizeof(bytes), 1);
	write_file(blob_path(&d), bytes, sizeof(bytes));
	check_blob(env.b, &d, sizeof(bytes), 1);
	assert_int_equal(count_blobs(env.b), 1);
}

static void foreign_files_are_ignored(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1), link = some_digest(DIGEST_SHA256, 2);
	struct digest sha512 = some_digest(DIGEST_SHA512, 1);
	char hex[DIGEST_HEX_MAX], name[DIGEST_STR_MAX + 8];

	(void)state;
	write_file(below("blobs/README"), "x", 1);
	write_file(below("blobs/sha256/README"), "x", 1);
	write_file(below("blobs/sha256/.hidden"), "x", 1);
	digest_format_hex(&sha512, hex); /* the right form in the wrong place */
	(void)snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	write_file(below(name), "x", 1);
	digest_format_hex(&d, hex);
	(void)snprintf(name, sizeof(name), "blobs/sha256/%.63sA", hex);
	write_file(below(name), "x", 1);
	assert_int_equal(mkdir(blob_path(&d).s, 0700), 0);
	assert_int_equal(symlink("README", blob_path(&link).s), 0);
	assert_int_equal(count_blobs(env.b), 0);

	write_file(below("ingest/README"), "x", 1);
	write_file(below("ingest/0123456789ABCDEF"), "x", 1);
	assert_int_equal(mkdir(below("ingest/0123456789abcdef").s, 0700), 0);
	assert_int_equal(count_stages(env.b), 0);
}

static void what_is_no_file_is_refused_by_name(void **state)
{
	struct digest dirs = some_digest(DIGEST_SHA256, 1), link = some_digest(DIGEST_SHA256, 2);
	struct digest fifo = some_digest(DIGEST_SHA256, 3);
	const struct digest *all[] = { &dirs, &link, &fifo };
	struct stow_err err;
	struct blob *blob;
	struct blob_stat st;

	(void)state;
	assert_int_equal(mkdir(blob_path(&dirs).s, 0700), 0);
	assert_int_equal(symlink("/etc/passwd", blob_path(&link).s), 0);
	assert_int_equal(mkfifo(blob_path(&fifo).s, 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		expect_fail(backend_stat(env.b, all[i], &st, &err), &err, STOW_INTERNAL);
		expect_named(&err, blob_path(all[i]).s);
		expect_fail(backend_open(env.b, all[i], 0, &blob, &err), &err, STOW_INTERNAL);
		expect_named(&err, blob_path(all[i]).s);
	}
}

/* --- places that will not do --- */

static void a_file_in_place_of_a_directory_is_named(void **state)
{
	static const char *const names[] = { "blobs/sha384", "ingest", "blobs", "" };

	(void)state;
	backend_free(TAKE(env.b));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct path p = below(names[i]);
		struct stow_err err;

		if (names[i][0] == '\0')
			p.s[strlen(p.s) - 1] = '\0'; /* the store itself, without the slash */
		temp_dir_remove(p.s);
		write_file(p, "x", 1);
		expect_fail(local_new(env.store, &env.b, &err), &err, STOW_INTERNAL);
		expect_named(&err, p.s);
		assert_null(env.b);
		assert_int_equal(unlink(p.s), 0);
		assert_int_equal(mkdir(p.s, 0700), 0);
	}
}

static void a_missing_parent_is_named(void **state)
{
	struct path p = below("not/there");
	struct backend *b = NULL;
	struct stow_err err;

	(void)state;
	expect_fail(local_new(p.s, &b, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, p.s);
	assert_null(b);
}

/* Root may do everything, so a child becomes nobody first. */
static void a_forbidden_place_is_named(void **state)
{
	struct path p = below("mine");
	int status;
	pid_t child;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: becoming another user needs root\n");
		skip();
	}
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct backend *b;
		struct stow_err err;

		if (setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		if (local_new(p.s, &b, &err) == 0)
			_exit(3);
		_exit(err.code != STOW_PERMISSION_DENIED ? 4 : strstr(err.msg, p.s) == NULL ? 5 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_full_disk_loses_nothing(void **state)
{
	enum { CHUNK = 64 << 10 };
	struct digest ballast = some_digest(DIGEST_SHA256, 1), d = some_digest(DIGEST_SHA256, 2);
	CLEANUP(freep) uint8_t *bytes = x_malloc(2 << 20);
	struct stage_name name = new_name();
	struct stow_err err;
	struct stage *st;
	uint64_t at = 0;
	size_t n;
	char to;

	(void)state;
	backend_free(TAKE(env.b));
	if (mount("tmpfs", env.store, "tmpfs", 0, "size=1m") < 0) {
		print_message("skipped: mounting a small tmpfs: %s\n", strerrordesc_np(errno));
		skip();
	}
	reopen();
	put_blob(env.b, &ballast, 4 * CHUNK, 1);
	fill(bytes, 2 << 20, 2);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	while (write_bytes(st, bytes + at, CHUNK + 1, at, &err) == 0)
		at += CHUNK + 1;
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	expect_named(&err, stage_path(&name).s);
	assert_in_range(at, CHUNK, 1 << 20);

	/* The write that failed has left no trace, and goes well once there is room. */
	expect_ok(stage_pread(st, &to, 1, at, &n, &err), &err);
	assert_int_equal(n, 0);
	expect_ok(backend_remove(env.b, &ballast, &err), &err);
	expect_ok(write_bytes(st, bytes + at, CHUNK + 1, at, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(env.b, &d, at + CHUNK + 1, 2);
	backend_free(TAKE(env.b));
	assert_int_equal(umount(env.store), 0);
}

/* --- bent files --- */

static void a_shortened_blob_is_data_loss(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	char text[DIGEST_STR_MAX];
	CLEANUP(blob_closep) struct blob *blob = NULL;
	uint8_t to[100];
	struct stow_err err;
	size_t n;

	(void)state;
	put_blob(env.b, &d, 100, 1);
	expect_ok(backend_open(env.b, &d, 0, &blob, &err), &err);
	assert_int_equal(truncate(blob_path(&d).s, 60), 0);
	expect_fail(blob_pread(blob, to, 100, 0, 0, &n, &err), &err, STOW_DATA_LOSS);
	digest_format(&d, text);
	expect_named(&err, text);
	expect_named(&err, "60");
	expect_named(&err, "100");
	/* A reader that may not wait is sent to one that may. */
	expect_fail(blob_pread(blob, to, 100, 0, BACKEND_READ_NOWAIT, &n, &err), &err, STOW_UNAVAILABLE);
	expect_ok(blob_pread(blob, to, 60, 0, 0, &n, &err), &err);
	assert_int_equal(n, 60);
}

static void a_lengthened_blob_keeps_its_size_for_open_handles(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	CLEANUP(blob_closep) struct blob *blob = NULL;
	uint8_t to[200];
	struct stow_err err;
	size_t n;

	(void)state;
	put_blob(env.b, &d, 100, 1);
	expect_ok(backend_open(env.b, &d, 0, &blob, &err), &err);
	assert_int_equal(truncate(blob_path(&d).s, 150), 0);
	expect_ok(blob_pread(blob, to, 200, 0, 0, &n, &err), &err);
	assert_int_equal(n, 100);
	assert_true(filled(to, 100, 1));
}

static void publish_heals_a_damaged_blob(void **state)
{
	static const struct {
		size_t n;
		unsigned seed;
	} damages[] = { { 40, 1 }, { 160, 1 }, { 0, 0 }, { 100, 9 } };
	struct digest d = some_digest(DIGEST_SHA256, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		uint8_t bytes[160];

		fill(bytes, damages[i].n, damages[i].seed);
		write_file(blob_path(&d), bytes, damages[i].n);
		put_blob(env.b, &d, 100, 1);
		check_blob(env.b, &d, 100, 1);
		assert_int_equal(mode_of(blob_path(&d)), S_IFREG | 0444);
	}
}

static void a_publish_that_fails_can_be_tried_again(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stage_name name = new_name();
	uint8_t bytes[100];
	struct stow_err err;
	struct stage *st;

	(void)state;
	fill(bytes, sizeof(bytes), 1);
	assert_int_equal(mkdir(blob_path(&d).s, 0700), 0);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, bytes, 50, 0, &err), &err);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_INTERNAL);
	expect_named(&err, blob_path(&d).s);
	/* Still open, and still kept when closed. */
	stage_close(st);
	expect_ok(backend_stage_resume(env.b, name.s, 50, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, bytes + 50, 50, 50, &err), &err);
	assert_int_equal(rmdir(blob_path(&d).s), 0);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(env.b, &d, 100, 1);
}

static void a_shortened_stage_is_not_published(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stage_name name = new_name();
	struct stow_err err;
	struct stage *st;
	char to[6];
	size_t n;

	(void)state;
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, "abcdef", 6, 0, &err), &err);
	assert_int_equal(truncate(stage_path(&name).s, 2), 0);
	expect_fail(stage_pread(st, to, 6, 0, &n, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, name.s);
	expect_fail(stage_publish(st, &d, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, name.s);
	stage_close(st);
	check_no_blob(env.b, &d);
}

static void what_is_behind_a_stages_end_is_not_published(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stage_name name = new_name();
	uint8_t bytes[100];
	struct stow_err err;
	struct stage *st;

	(void)state;
	fill(bytes, sizeof(bytes), 1);
	expect_ok(backend_stage_create(env.b, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, bytes, sizeof(bytes), 0, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	assert_int_equal(truncate(stage_path(&name).s, 5000), 0);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(env.b, &d, 100, 1);
}

static void a_stage_that_is_a_blobs_second_name_is_gone(void **state)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stage_name name = new_name();
	struct stow_err err;
	struct stage *st;

	(void)state;
	put_blob(env.b, &d, 100, 1);
	assert_int_equal(link(blob_path(&d).s, stage_path(&name).s), 0);
	expect_fail(backend_stage_resume(env.b, name.s, 10, NULL, &st, &err), &err, STOW_NOT_FOUND);
	check_blob(env.b, &d, 100, 1);
	assert_int_equal(count_stages(env.b), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(directories_are_made_at_start),
		CASE(blob_is_a_read_only_file_of_its_hex),
		CASE(stage_is_a_file_of_its_name),
		CASE(everything_survives_a_restart),
		CASE(a_blob_put_there_by_hand_counts),
		CASE(foreign_files_are_ignored),
		CASE(what_is_no_file_is_refused_by_name),
		CASE(a_file_in_place_of_a_directory_is_named),
		CASE(a_missing_parent_is_named),
		CASE(a_forbidden_place_is_named),
		CASE(a_full_disk_loses_nothing),
		CASE(a_shortened_blob_is_data_loss),
		CASE(a_lengthened_blob_keeps_its_size_for_open_handles),
		CASE(publish_heals_a_damaged_blob),
		CASE(a_publish_that_fails_can_be_tried_again),
		CASE(a_shortened_stage_is_not_published),
		CASE(a_stage_that_is_a_blobs_second_name_is_gone),
		CASE(what_is_behind_a_stages_end_is_not_published),
	};
	return cmocka_run_group_tests_name("local on a disk", tests, NULL, NULL);
}
