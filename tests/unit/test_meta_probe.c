/* A database that is damaged, foreign, of a newer program, or another process's. */
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/meta_codec.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { ROWS = 500, PAGE = 4096 };

static char dir[TEMP_DIR_MAX], path[TEMP_DIR_MAX + 16];

static struct blob_info nth_blob(unsigned i)
{
	struct blob_info info = { .digest = some_digest(DIGEST_SHA256, i), .size = i };

	return info;
}

static void make_database(void)
{
	CLEANUP(meta_closep) struct meta *m = NULL;
	struct labels labels = { 0 };
	struct stow_err err;
	bool created = false;

	expect_ok(labels_set(&labels, "containerd.io/distribution.source.docker.io", "library/alpine", &err),
		  &err);
	expect_ok(meta_open(path, 0, 0, &m, &created, &err), &err);
	assert_true(created);
	for (unsigned i = 0; i < ROWS; i += 50) {
		struct blob_info v[50];

		for (unsigned k = 0; k < ARRAY_LEN(v); k++) {
			v[k] = nth_blob(i + k);
			v[k].labels = labels;
		}
		expect_ok(meta_blobs_adopt(m, v, ARRAY_LEN(v), false, &err), &err);
	}
	labels_free(&labels);
}

static int setup(void **state UNUSED)
{
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	temp_dir_make(dir);
	snprintf(path, sizeof(path), "%s/meta.mdb", dir);
	return 0;
}

static int teardown(void **state UNUSED)
{
	temp_dir_remove(dir);
	return 0;
}

static off_t size_of_file(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void overwrite(off_t at, size_t n, int how)
{
	CLEANUP(freep) uint8_t *bytes = x_calloc(1, n);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (how)
		fill(bytes, n, (unsigned)how);
	assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

/* --- meta_probe --- */

static void missing_is_sound(void **state UNUSED)
{
	struct stow_err err;

	expect_ok(meta_probe(path, &err), &err);
	assert_int_equal(access(path, F_OK), -1); /* and is not made */
}

static void sound_is_sound(void **state UNUSED)
{
	struct stow_err err;

	make_database();
	expect_ok(meta_probe(path, &err), &err);
}

static void empty_file_is_a_new_one(void **state UNUSED)
{
	CLEANUP(meta_closep) struct meta *m = NULL;
	bool created = false;
	struct stow_err err;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	expect_ok(meta_probe(path, &err), &err);
	expect_ok(meta_open(path, 0, 0, &m, &created, &err), &err);
	assert_true(created);
}

static void check_damaged(void)
{
	struct stow_err err;

	expect_fail(meta_probe(path, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, path);
}

static void truncated(void **state UNUSED)
{
	off_t size;

	make_database();
	size = size_of_file();
	assert_true(size > 20 * PAGE);
	/* Shorter each time, and not by whole pages. */
	for (off_t to = size * 3 / 4; to > 0; to = to * 2 / 3 - 100) {
		assert_int_equal(truncate(path, to), 0);
		check_damaged();
	}
}

static void header_of_zeros(void **state UNUSED)
{
	make_database();
	overwrite(0, 2 * PAGE, 0);
	check_damaged();
}

static void header_of_garbage(void **state UNUSED)
{
	make_database();
	overwrite(0, 2 * PAGE, 7);
	check_damaged();
}

static void no_database_at_all(void **state UNUSED)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "hello\n", 6), 6);
	close(fd);
	check_damaged();
}

/* Every page in turn: damage is found, or the page was a free one and all rows are still right. */
static void garbage_in_the_middle(void **state UNUSED)
{
	unsigned found = 0, pages;

	make_database();
	pages = (unsigned)(size_of_file() / PAGE);
	for (unsigned page = 2; page < pages; page++) {
		CLEANUP(freep) uint8_t *was = x_malloc(PAGE);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		struct stow_err err;

		assert_int_equal(pread(fd, was, PAGE, (off_t)page * PAGE), PAGE);
		overwrite((off_t)page * PAGE, PAGE, (int)page);
		if (meta_probe(path, &err) < 0) {
			assert_int_equal(err.code, STOW_DATA_LOSS);
			found++;
		} else {
			CLEANUP(meta_closep) struct meta *m = NULL;

			expect_ok(meta_open(path, META_READ_ONLY, 0, &m, NULL, &err), &err);
			for (unsigned i = 0; i < ROWS; i++) {
				struct blob_info want = nth_blob(i), got;

				expect_ok(meta_blob_get(m, &want.digest, &got, &err), &err);
				assert_int_equal(got.size, i);
				blob_info_free(&got);
			}
		}
		assert_int_equal(pwrite(fd, was, PAGE, (off_t)page * PAGE), PAGE);
		close(fd);
	}
	assert_true(found > 10);
}

/* One row among many does not read as one. */
static void a_damaged_row(void **state UNUSED)
{
	MDB_env *mdb;
	MDB_txn *txn;
	MDB_dbi dbi;
	struct digest d = some_digest(DIGEST_SHA256, 7);
	uint8_t key[DIGEST_ROW_KEY_MAX];
	struct meta *m;
	struct blob_info got;
	struct stow_err err;

	make_database();
	assert_int_equal(mdb_env_create(&mdb), 0);
	assert_int_equal(mdb_env_set_maxdbs(mdb, 8), 0);
	assert_int_equal(mdb_env_open(mdb, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(mdb, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "blobs", 0, &dbi), 0);
	MDB_val k = { .mv_size = digest_to_key(&d, key), .mv_data = key };
	MDB_val v = { .mv_size = 3, .mv_data = (char[]){ 1, 2, 3 } };
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(mdb);

	check_damaged();
	expect_ok(meta_open(path, 0, 0, &m, NULL, &err), &err);
	expect_fail(meta_blob_get(m, &d, &got, &err), &err, STOW_DATA_LOSS);
	expect_fail(meta_blob_delete(m, &d, &err), &err, STOW_DATA_LOSS);
	meta_close(m);
}

/* --- who wrote it --- */

static void set_schema(uint64_t version)
{
	MDB_env *mdb;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val k = { .mv_size = 6, .mv_data = (char[]){ "schema" } };
	MDB_val v = { .mv_size = sizeof(version), .mv_data = &version };

	assert_int_equal(mdb_env_create(&mdb), 0);
	assert_int_equal(mdb_env_set_maxdbs(mdb, 8), 0);
	assert_int_equal(mdb_env_open(mdb, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(mdb, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(mdb);
}

static void a_newer_schema_is_refused(void **state UNUSED)
{
	struct store_options o = { .root = dir };
	struct store_opened opened;
	struct store *s = NULL;
	struct meta *m = NULL;
	struct stow_err err;

	make_database();
	set_schema(4);
	expect_ok(meta_probe(path, &err), &err); /* no damage: it is not to be set aside */
	for (unsigned flags = 0; flags <= META_READ_ONLY; flags++) {
		expect_fail(meta_open(path, flags, 0, &m, NULL, &err), &err, STOW_FAILED_PRECONDITION);
		expect_named(&err, "schema version 4");
		expect_named(&err, "newer stowage");
		expect_named(&err, path);
	}
	expect_ok(mem_new(&o.backend, &err), &err);
	expect_fail(store_open(&o, &s, &opened, &err), &err, STOW_FAILED_PRECONDITION);
	assert_string_equal(opened.set_aside, "");
	set_schema(1);
	expect_ok(meta_open(path, 0, 0, &m, NULL, &err), &err);
	meta_close(m);
}

static void the_node_id_stays(void **state UNUSED)
{
	struct meta *m;
	struct stow_err err;
	char id[64];

	make_database();
	expect_ok(meta_open(path, 0, 0, &m, NULL, &err), &err);
	snprintf(id, sizeof(id), "%s", meta_node_id(m));
	meta_close(m);
	assert_int_equal(strlen(id), 32);
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	expect_ok(meta_open(path, META_READ_ONLY, 0, &m, NULL, &err), &err);
	assert_string_equal(meta_node_id(m), id);
	meta_close(m);
	assert_int_equal(unlink(path), 0);
	make_database();
	expect_ok(meta_open(path, 0, 0, &m, NULL, &err), &err);
	assert_string_not_equal(meta_node_id(m), id);
	meta_close(m);
}

/* --- reading beside a writer --- */

static void read_only_needs_a_database(void **state UNUSED)
{
	struct meta *m = NULL;
	struct stow_err err;

	expect_fail(meta_open(path, META_READ_ONLY, 0, &m, NULL, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(access(path, F_OK), -1);
	assert_null(m);
}

static void say(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(9);
}

static void hear(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		_exit(9);
}

/* In the child: writes 100 rows in a small map, waits, then grows it with thousands more. */
static NORETURN void writer(int from, int to)
{
	struct meta *m;
	struct stow_err err;

	if (meta_open(path, 0, 64 << 10, &m, NULL, &err) < 0)
		_exit(1);
	for (unsigned i = 0; i < 4000; i++) {
		struct blob_info info = nth_blob(i);

		memcpy(info.digest.b, &i, sizeof(i));
		if (meta_blobs_adopt(m, &info, 1, false, &err) < 0)
			_exit(2);
		if (i == 99) {
			say(to);
			hear(from);
		}
	}
	say(to);
	hear(from);
	_exit(0);
}

static uint64_t count(struct meta *m)
{
	struct stow_err err;
	uint64_t n, bytes;

	expect_ok(meta_blob_count(m, &n, &bytes, &err), &err);
	return n;
}

static void read_only_beside_a_writer(void **state UNUSED)
{
	int to_child[2], to_us[2], status;
	struct meta *m;
	struct stow_err err;
	pid_t child;

	assert_int_equal(pipe(to_child), 0);
	assert_int_equal(pipe(to_us), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		writer(to_child[0], to_us[1]);
	hear(to_us[0]);
	expect_ok(meta_open(path, META_READ_ONLY, 64 << 10, &m, NULL, &err), &err);
	assert_int_equal(count(m), 100);
	say(to_child[1]);
	hear(to_us[0]);
	assert_int_equal(count(m), 4000); /* the map has been grown by the other one */
	say(to_child[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(count(m), 4000);
	meta_close(m);
	close(to_child[0]);
	close(to_child[1]);
	close(to_us[0]);
	close(to_us[1]);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(missing_is_sound),
		CASE(sound_is_sound),
		CASE(empty_file_is_a_new_one),
		CASE(truncated),
		CASE(header_of_zeros),
		CASE(header_of_garbage),
		CASE(no_database_at_all),
		CASE(garbage_in_the_middle),
		CASE(a_damaged_row),
		CASE(a_newer_schema_is_refused),
		CASE(the_node_id_stays),
		CASE(read_only_needs_a_database),
		CASE(read_only_beside_a_writer),
	};

	return cmocka_run_group_tests_name("meta probe", tests, NULL, NULL);
}
