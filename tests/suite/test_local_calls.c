/* The local backend and the system calls it stands on: their order, their failures, their number.
 * The linker leads the calls here (--wrap), and most go on to the system from here. */
#include "backends/backends.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

/* --- what is planned, and what has happened --- */

static struct {
	/* errno of every such call; 0: the system answers */
	atomic_int fdatasync_errno, fsync_errno, ftruncate_errno;
	unsigned fsync_ms; /* how long one takes at least */
	long fs_type;      /* what the file system claims to be; 0: what it is */

	size_t write_max;   /* bytes that a call writes at most, and every other call meets a signal */
	size_t write_space; /* bytes until the disk is full; SIZE_MAX: never */
	unsigned writes;

	int nowait_errno; /* of reads that may not wait, after nowait_bytes */
	bool nowait;      /* whether that is planned */
	size_t nowait_bytes;

	char log[1024]; /* D fdatasync, R rename, S fsync: in the order of their ends */
	atomic_uint logged;
	/* Fsyncs and renames are numbered together. */
	atomic_uint clock, last_synced; /* the start of the latest-started fsync that is done */
} plan;
static _Thread_local unsigned my_rename; /* number of this thread's last one */

static void note(char what)
{
	unsigned at = atomic_fetch_add(&plan.logged, 1);

	if (at < sizeof(plan.log) - 1)
		plan.log[at] = what;
}

static void log_clear(void)
{
	memset(plan.log, 0, sizeof(plan.log));
	atomic_store(&plan.logged, 0);
}

static unsigned log_count(char what)
{
	unsigned n = 0;

	for (const char *c = plan.log; *c != '\0'; c++)
		n += *c == what;
	return n;
}

static int planned(int e)
{
	errno = e;
	return -1;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	int e = atomic_load(&plan.fdatasync_errno);
	int rc = e != 0 ? planned(e) : __real_fdatasync(fd);

	note('D');
	return rc;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct timespec ts = { .tv_nsec = plan.fsync_ms * 1000000L };
	unsigned start = atomic_fetch_add(&plan.clock, 1) + 1;
	unsigned last = atomic_load(&plan.last_synced);
	int e = atomic_load(&plan.fsync_errno);
	int rc = e != 0 ? planned(e) : __real_fsync(fd);

	if (plan.fsync_ms > 0)
		(void)nanosleep(&ts, NULL);
	note('S');
	while (rc == 0 && last < start && !atomic_compare_exchange_weak(&plan.last_synced, &last, start))
		;
	if (e != 0)
		errno = e;
	return rc;
}

int __real_renameat(int from, const char *name, int to, const char *as);
int __wrap_renameat(int from, const char *name, int to, const char *as);
int __wrap_renameat(int from, const char *name, int to, const char *as)
{
	int rc = __real_renameat(from, name, to, as);

	note('R');
	my_rename = atomic_fetch_add(&plan.clock, 1) + 1;
	return rc;
}

int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size)
{
	int e = atomic_load(&plan.ftruncate_errno);

	return e != 0 ? planned(e) : __real_ftruncate64(fd, size);
}
int __wrap_ftruncate(int fd, off_t size) __attribute__((alias("__wrap_ftruncate64")));

int __real_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs)
{
	int rc = __real_fstatfs64(fd, fs);

	if (plan.fs_type != 0)
		fs->f_type = plan.fs_type;
	return rc;
}
int __wrap_fstatfs(int fd, struct statfs *fs) __attribute__((alias("__wrap_fstatfs64")));

ssize_t __real_pwritev64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t off)
{
	size_t max = plan.write_max < plan.write_space ? plan.write_max : plan.write_space;
	ssize_t r;

	if (plan.write_max == SIZE_MAX && plan.write_space == SIZE_MAX)
		return __real_pwritev64(fd, v, n, off);
	if (plan.write_space == 0)
		return planned(ENOSPC);
	if (plan.write_max != SIZE_MAX && plan.writes++ % 2 == 1)
		return planned(EINTR);
	/* As many bytes as may be, of the first vector that has any. */
	while (n > 1 && v->iov_len == 0) {
		v++;
		n--;
	}
	r = pwrite(fd, v->iov_base, v->iov_len < max ? v->iov_len : max, off);
	if (r > 0 && plan.write_space != SIZE_MAX)
		plan.write_space -= (size_t)r;
	return r;
}
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t off)
	__attribute__((alias("__wrap_pwritev64")));

ssize_t __real_preadv64v2(int fd, const struct iovec *v, int n, off_t off, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off_t off, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	ssize_t r;

	if (!plan.nowait)
		return __real_preadv64v2(fd, v, n, off, flags);
	if (plan.nowait_bytes == 0)
		return plan.nowait_errno == 0 ? 0 : planned(plan.nowait_errno);
	r = pread(fd, v->iov_base, v->iov_len < plan.nowait_bytes ? v->iov_len : plan.nowait_bytes, off);
	plan.nowait_bytes -= (size_t)r;
	return r;
}
ssize_t __wrap_preadv2(int fd, const struct iovec *v, int n, off_t off, int flags)
	__attribute__((alias("__wrap_preadv64v2")));

/* --- the store under test --- */

static struct {
	char dir[TEMP_DIR_MAX];
	struct backend *b;
	struct stage_name name;
	struct stage *st; /* new and empty */
	struct digest d;
	uint8_t bytes[1000]; /* fill(1) */
} env;

static void reopen(long fs_type)
{
	struct stow_err err;

	backend_free(TAKE(env.b));
	plan.fs_type = fs_type;
	expect_ok(local_new(env.dir, &env.b, &err), &err);
	env.name = new_name();
	expect_ok(backend_stage_create(env.b, env.name.s, NULL, &env.st, &err), &err);
	log_clear();
}

static int setup(void **state)
{
	(void)state;
	memset(&plan, 0, sizeof(plan));
	plan.write_max = plan.write_space = SIZE_MAX;
	env.d = some_digest(DIGEST_SHA256, 1);
	fill(env.bytes, sizeof(env.bytes), 1);
	temp_dir_make(env.dir);
	reopen(EXT4_SUPER_MAGIC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memset(&plan, 0, sizeof(plan));
	stage_close(TAKE(env.st));
	backend_free(TAKE(env.b));
	temp_dir_remove(env.dir);
	return 0;
}

static void write_all_bytes(void)
{
	struct stow_err err;

	expect_ok(write_bytes(env.st, env.bytes, sizeof(env.bytes), 0, &err), &err);
}

/* --- durability --- */

static void publish_syncs_bytes_renames_syncs_name(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DRS");
}

static void publish_of_an_existing_blob_syncs_too(void **state)
{
	struct stow_err err;

	(void)state;
	put_blob(env.b, &env.d, sizeof(env.bytes), 1);
	log_clear();
	write_all_bytes();
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DRS");
}

static void publish_after_sync_has_nothing_to_sync_but_the_name(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DRS");
}

static void any_change_after_sync_is_synced_by_publish(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(write_bytes(env.st, "x", 1, sizeof(env.bytes), &err), &err);
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(stage_truncate(env.st, sizeof(env.bytes), &err), &err);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DDDRS");
}

static void a_resumed_stage_is_synced_by_publish(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	stage_close(TAKE(env.st));
	expect_ok(backend_stage_resume(env.b, env.name.s, sizeof(env.bytes), NULL, &env.st, &err), &err);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DRS");
}

static void sync_makes_the_name_durable_where_the_file_system_does_not(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	expect_ok(stage_sync(env.st, &err), &err);
	assert_string_equal(plan.log, "D");
	stage_close(TAKE(env.st));

	reopen(0x12345678);
	write_all_bytes();
	expect_ok(stage_sync(env.st, &err), &err);
	assert_string_equal(plan.log, "DS");
	expect_ok(write_bytes(env.st, "x", 1, sizeof(env.bytes), &err), &err);
	expect_ok(stage_sync(env.st, &err), &err);
	assert_string_equal(plan.log, "DSD");
}

static void new_directories_are_synced(void **state)
{
	char path[TEMP_DIR_MAX + 8];
	struct backend *b;
	struct stow_err err;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/new", env.dir);
	expect_ok(local_new(path, &b, &err), &err);
	backend_free(b);
	assert_string_equal(plan.log, "SSSSSS"); /* itself, blobs, ingest, three algorithms */
	log_clear();
	expect_ok(local_new(path, &b, &err), &err);
	backend_free(b);
	assert_string_equal(plan.log, "");
}

/* --- syncs that fail --- */

static void a_failed_sync_is_final(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	atomic_store(&plan.fdatasync_errno, EIO);
	expect_fail(stage_sync(env.st, &err), &err, STOW_INTERNAL);
	expect_named(&err, env.name.s);
	atomic_store(&plan.fdatasync_errno, 0);
	expect_fail(stage_sync(env.st, &err), &err, STOW_INTERNAL);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_INTERNAL);
	check_no_blob(env.b, &env.d);
	assert_string_equal(plan.log, "D");
}

static void a_failed_sync_keeps_what_was_durable_before(void **state)
{
	struct stow_err err;

	(void)state;
	expect_ok(write_bytes(env.st, env.bytes, 400, 0, &err), &err);
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(write_bytes(env.st, env.bytes + 400, 600, 400, &err), &err);
	atomic_store(&plan.fdatasync_errno, ENOSPC);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_RESOURCE_EXHAUSTED);
	atomic_store(&plan.fdatasync_errno, 0);
	stage_close(TAKE(env.st));
	expect_fail(backend_stage_resume(env.b, env.name.s, 401, NULL, &env.st, &err), &err, STOW_DATA_LOSS);
	expect_ok(backend_stage_resume(env.b, env.name.s, 400, NULL, &env.st, &err), &err);
	expect_ok(write_bytes(env.st, env.bytes + 400, 600, 400, &err), &err);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	check_blob(env.b, &env.d, sizeof(env.bytes), 1);
}

static void bytes_cut_after_a_sync_are_not_durable(void **state)
{
	struct stow_err err;

	(void)state;
	expect_ok(write_bytes(env.st, env.bytes, 400, 0, &err), &err);
	expect_ok(stage_sync(env.st, &err), &err);
	expect_ok(stage_truncate(env.st, 100, &err), &err);
	expect_ok(write_bytes(env.st, env.bytes + 100, 300, 100, &err), &err);
	atomic_store(&plan.fdatasync_errno, EIO);
	expect_fail(stage_sync(env.st, &err), &err, STOW_INTERNAL);
	stage_close(TAKE(env.st));
	expect_fail(backend_stage_resume(env.b, env.name.s, 101, NULL, &env.st, &err), &err, STOW_DATA_LOSS);
	expect_ok(backend_stage_resume(env.b, env.name.s, 100, NULL, &env.st, &err), &err);
}

static void a_name_that_may_not_be_durable_is_no_success(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	atomic_store(&plan.fsync_errno, EIO);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_INTERNAL);
	expect_named(&err, "blobs/sha256");
	/* It is a blob by now: no call may bend it, and only the sync is left to do. */
	expect_fail(write_bytes(env.st, "x", 1, sizeof(env.bytes), &err), &err, STOW_INTERNAL);
	expect_fail(stage_truncate(env.st, 0, &err), &err, STOW_INTERNAL);
	log_clear();
	atomic_store(&plan.fsync_errno, 0);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "S");
	check_blob(env.b, &env.d, sizeof(env.bytes), 1);
}

static void closing_after_a_failed_publish_bends_nothing(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	atomic_store(&plan.fsync_errno, EIO);
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_INTERNAL);
	atomic_store(&plan.fsync_errno, 0);
	stage_close(TAKE(env.st));
	check_blob(env.b, &env.d, sizeof(env.bytes), 1);
	assert_int_equal(count_stages(env.b), 0);
}

/* --- shared directory syncs --- */

static void publish_and_look(void *arg, int i)
{
	struct digest d = some_digest(DIGEST_SHA256, 100 + (unsigned)i);
	struct stow_err err;

	(void)arg;
	thread_check(try_put_blob(env.b, &d, 100, (unsigned)i, &err) == 0);
	/* The sync that it relied on began after its rename. */
	thread_check(atomic_load(&plan.last_synced) > my_rename);
}

static void publishers_share_the_directorys_sync(void **state)
{
	(void)state;
	plan.fsync_ms = 200;
	run_threads(16, publish_and_look, NULL);
	assert_int_equal(log_count('R'), 16);
	assert_in_range(log_count('S'), 1, 8);
}

static void fail_to_publish(void *arg, int i)
{
	struct digest d = some_digest(DIGEST_SHA256, 100 + (unsigned)i);
	struct stow_err err;

	(void)arg;
	thread_check(try_put_blob(env.b, &d, 100, (unsigned)i, &err) == -1);
}

static void all_that_share_a_failed_sync_hear_of_it(void **state)
{
	(void)state;
	plan.fsync_ms = 20;
	atomic_store(&plan.fsync_errno, EIO);
	run_threads(16, fail_to_publish, NULL);
	assert_int_equal(log_count('R'), 16);
}

/* --- writes --- */

static void short_and_interrupted_writes_are_continued(void **state)
{
	struct iovec v[] = {
		{ .iov_base = env.bytes, .iov_len = 10 },
		{ 0 },
		{ .iov_base = env.bytes + 10, .iov_len = 1 },
		{ .iov_base = env.bytes + 11, .iov_len = 489 },
		{ .iov_base = env.bytes + 500, .iov_len = 500 },
		{ 0 },
	};
	struct stow_err err;

	(void)state;
	plan.write_max = 7;
	expect_ok(stage_write(env.st, v, ARRAY_LEN(v), 0, &err), &err);
	assert_true(plan.writes > 2 * 1000 / 7);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	check_blob(env.b, &env.d, sizeof(env.bytes), 1);
}

static void a_write_that_fails_halfway_never_was(void **state)
{
	struct stow_err err;
	uint8_t to[1000];
	size_t n;

	(void)state;
	expect_ok(write_bytes(env.st, env.bytes, 100, 0, &err), &err);
	/* Not even cutting the file helps. */
	atomic_store(&plan.ftruncate_errno, EIO);
	plan.write_space = 500;
	expect_fail(write_bytes(env.st, env.bytes + 100, 900, 100, &err), &err, STOW_RESOURCE_EXHAUSTED);
	expect_ok(stage_pread(env.st, to, sizeof(to), 0, &n, &err), &err);
	assert_int_equal(n, 100);
	/* Publishing would have to cut it, so it fails, too. */
	expect_fail(stage_publish(env.st, &env.d, &err), &err, STOW_INTERNAL);
	check_no_blob(env.b, &env.d);

	plan.write_space = SIZE_MAX;
	expect_ok(write_bytes(env.st, env.bytes + 100, 50, 100, &err), &err);
	atomic_store(&plan.ftruncate_errno, 0);
	log_clear();
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	assert_string_equal(plan.log, "DRS");
	check_blob(env.b, &env.d, 150, 1);
}

static void a_failed_truncate_changes_nothing(void **state)
{
	struct stow_err err;

	(void)state;
	write_all_bytes();
	atomic_store(&plan.ftruncate_errno, EIO);
	expect_fail(stage_truncate(env.st, 10, &err), &err, STOW_INTERNAL);
	expect_named(&err, env.name.s);
	atomic_store(&plan.ftruncate_errno, 0);
	expect_ok(stage_publish(env.st, &env.d, &err), &err);
	check_blob(env.b, &env.d, sizeof(env.bytes), 1);
}

/* --- reads that may not wait --- */

static int read_nowait(uint8_t *to, size_t *ret_n, struct stow_err *err)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err open_err;

	expect_ok(backend_open(env.b, &env.d, 0, &blob, &open_err), &open_err);
	return blob_pread(blob, to, sizeof(env.bytes), 0, BACKEND_READ_NOWAIT, ret_n, err);
}

static void nowait_that_is_not_all_there_is_unavailable(void **state)
{
	static const int errnos[] = { EAGAIN, EIO, EOPNOTSUPP, 0 };
	struct stow_err err;
	uint8_t to[1000];
	size_t n;

	(void)state;
	put_blob(env.b, &env.d, sizeof(env.bytes), 1);
	plan.nowait = true;
	for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
		plan.nowait_errno = errnos[i];
		for (size_t there = 0; there < sizeof(env.bytes); there += 333) {
			plan.nowait_bytes = there;
			expect_fail(read_nowait(to, &n, &err), &err, STOW_UNAVAILABLE);
		}
	}
}

static void nowait_in_pieces_is_joined(void **state)
{
	struct stow_err err;
	uint8_t to[1000];
	size_t n;

	(void)state;
	put_blob(env.b, &env.d, sizeof(env.bytes), 1);
	plan.nowait = true;
	plan.nowait_bytes = sizeof(env.bytes);
	expect_ok(read_nowait(to, &n, &err), &err);
	assert_int_equal(n, sizeof(env.bytes));
	assert_true(filled(to, n, 1));
}

static void memory_needs_no_nowait(void **state)
{
	struct stow_err err;
	uint8_t to[1000];
	size_t n;

	(void)state;
	put_blob(env.b, &env.d, sizeof(env.bytes), 1);
	stage_close(TAKE(env.st));
	reopen(TMPFS_MAGIC);
	plan.nowait = true;
	plan.nowait_errno = EOPNOTSUPP;
	expect_ok(read_nowait(to, &n, &err), &err);
	assert_int_equal(n, sizeof(env.bytes));
	assert_true(filled(to, n, 1));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(publish_syncs_bytes_renames_syncs_name),
		CASE(publish_of_an_existing_blob_syncs_too),
		CASE(publish_after_sync_has_nothing_to_sync_but_the_name),
		CASE(any_change_after_sync_is_synced_by_publish),
		CASE(a_resumed_stage_is_synced_by_publish),
		CASE(sync_makes_the_name_durable_where_the_file_system_does_not),
		CASE(new_directories_are_synced),
		CASE(a_failed_sync_is_final),
		CASE(a_failed_sync_keeps_what_was_durable_before),
		CASE(bytes_cut_after_a_sync_are_not_durable),
		CASE(a_name_that_may_not_be_durable_is_no_success),
		CASE(closing_after_a_failed_publish_bends_nothing),
		CASE(publishers_share_the_directorys_sync),
		CASE(all_that_share_a_failed_sync_hear_of_it),
		CASE(short_and_interrupted_writes_are_continued),
		CASE(a_write_that_fails_halfway_never_was),
		CASE(a_failed_truncate_changes_nothing),
		CASE(nowait_that_is_not_all_there_is_unavailable),
		CASE(nowait_in_pieces_is_joined),
		CASE(memory_needs_no_nowait),
	};
	return cmocka_run_group_tests_name("local and its system calls", tests, NULL, NULL);
}
