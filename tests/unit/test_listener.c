/* The socket: made, replaced where nobody listens, refused where somebody does, or passed in. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "proto/listener.h"
#include "tests/suite/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static char dir[TEMP_DIR_MAX], path[TEMP_DIR_MAX + 16];

static int setup(void **state UNUSED)
{
	const char *base = getenv("TMPDIR");

	/* A socket's path is short: never below a TMPDIR that is not. */
	snprintf(dir, sizeof(dir), "%s/listener-XXXXXX", base && strlen(base) < 50 ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	return 0;
}

static int teardown(void **state UNUSED)
{
	temp_dir_remove(dir);
	return 0;
}

static int open_at(const char *address, struct listener **ret_l, struct stow_err *err)
{
	struct listener_options o = {
		.address = address,
		.mode = 0660,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};

	return listener_open(&o, ret_l, err);
}

static struct sockaddr_un address_of(const char *to)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", to) < sizeof(addr.sun_path));
	return addr;
}

/* A connected socket, or -1. */
static int connect_to(const char *to)
{
	struct sockaddr_un addr = address_of(to);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int bind_at(const char *to, bool listening)
{
	struct sockaddr_un addr = address_of(to);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* --- accepting --- */

struct accepted {
	atomic_int n;
	atomic_int blocking;
};

/* Answers with one byte, and hangs up. */
static void greet(void *arg, int fd)
{
	struct accepted *a = arg;

	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK) || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
		atomic_fetch_add(&a->blocking, 1);
	(void)!write(fd, "!", 1);
	close(fd);
	atomic_fetch_add(&a->n, 1);
}

static bool greeted(int fd)
{
	char c = 0;
	bool good = read(fd, &c, 1) == 1 && c == '!';

	close(fd);
	return good;
}

static void accepts_until_stopped(void **state UNUSED)
{
	struct accepted a = { 0 };
	struct listener *l;
	struct stow_err err;
	int fd, early;

	expect_ok(open_at(path, &l, &err), &err);
	early = connect_to(path); /* clients may come from now on */
	assert_true(early >= 0);
	listener_start(l, greet, &a);
	assert_true(greeted(early));
	for (int i = 0; i < 50; i++) {
		fd = connect_to(path);
		assert_true(fd >= 0);
		assert_true(greeted(fd));
	}
	listener_stop(l);
	assert_int_equal(a.n, 51);
	assert_int_equal(a.blocking, 0);
	assert_int_equal(access(path, F_OK), -1); /* what we made, we removed */
	assert_int_equal(connect_to(path), -1);
	listener_stop(l);
	listener_free(l);
	listener_free(NULL);
}

static void freed_without_a_start(void **state UNUSED)
{
	CLEANUP(listener_freep) struct listener *l = NULL;
	struct stow_err err;

	expect_ok(open_at(path, &l, &err), &err);
	listener_free(TAKE(l));
	assert_int_equal(access(path, F_OK), -1);
}

/* --- what is in the way --- */

static void a_stale_socket_is_replaced(void **state UNUSED)
{
	struct listener *l;
	struct stow_err err;

	close(bind_at(path, true));
	assert_int_equal(access(path, F_OK), 0);
	expect_ok(open_at(path, &l, &err), &err);
	listener_free(l);
	close(bind_at(path, false)); /* one that never listened */
	expect_ok(open_at(path, &l, &err), &err);
	listener_free(l);
}

static void a_live_socket_is_refused(void **state UNUSED)
{
	int theirs = bind_at(path, true);
	struct sockaddr_un addr = address_of(path);
	struct listener *l = NULL;
	struct stow_err err;
	int fds[100], n;

	expect_fail(open_at(path, &l, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, path);
	expect_named(&err, "a server is listening");
	assert_null(l);
	/* Also when it is too busy to accept one more. */
	for (n = 0; n < (int)ARRAY_LEN(fds); n++) {
		fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(fds[n], (const struct sockaddr *)&addr, sizeof(addr)) < 0)
			break;
	}
	assert_true(n < (int)ARRAY_LEN(fds));
	expect_fail(open_at(path, &l, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, "a server is listening");
	assert_int_equal(access(path, F_OK), 0); /* it is still there */
	for (; n >= 0; n--)
		close(fds[n]);
	close(theirs);
}

static void what_is_no_socket_is_refused(void **state UNUSED)
{
	struct listener *l = NULL;
	struct stow_err err;
	struct stat st;

	close(open(path, O_CREAT | O_CLOEXEC, 0600));
	expect_fail(open_at(path, &l, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, "is no socket");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_fail(open_at(path, &l, &err), &err, STOW_FAILED_PRECONDITION);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/nowhere", path), 0);
	expect_fail(open_at(path, &l, &err), &err, STOW_FAILED_PRECONDITION);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_null(l);
}

/* --- mode, owner, directory, length --- */

static void mode_and_owner(void **state UNUSED)
{
	static const mode_t modes[] = { 0600, 0660, 0666 };
	mode_t old = umask(077); /* does not count */
	bool root = geteuid() == 0;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct listener_options o = {
			.address = path,
			.mode = modes[i],
			.uid = root ? 1234 : geteuid(),
			.gid = root ? 5678 : getegid(),
		};
		struct listener *l;
		struct stow_err err;
		struct stat st;

		expect_ok(listener_open(&o, &l, &err), &err);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i]);
		assert_int_equal(st.st_uid, o.uid);
		assert_int_equal(st.st_gid, o.gid);
		listener_free(l);
	}
	assert_int_equal(umask(old), 077); /* and is put back */
}

static void a_missing_directory_is_made(void **state UNUSED)
{
	char deep[TEMP_DIR_MAX + 32];
	struct listener *l = NULL;
	struct stow_err err;
	struct stat st;
	mode_t old = umask(022);

	snprintf(deep, sizeof(deep), "%s/run/sock", dir);
	expect_ok(open_at(deep, &l, &err), &err);
	listener_free(TAKE(l));
	snprintf(deep, sizeof(deep), "%s/run", dir);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	umask(old);
	/* One, not a whole path: that is a mistake in the configuration. */
	snprintf(deep, sizeof(deep), "%s/no/such/sock", dir);
	expect_fail(open_at(deep, &l, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "/no/such");
}

static void a_path_has_a_limit(void **state UNUSED)
{
	enum { MOST = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 };
	char longest[MOST + 2];
	struct listener *l = NULL;
	struct stow_err err;
	size_t at = (size_t)snprintf(longest, sizeof(longest), "%s/", dir);

	memset(longest + at, 's', sizeof(longest) - at);
	longest[MOST + 1] = '\0';
	expect_fail(open_at(longest, &l, &err), &err, STOW_INVALID_ARGUMENT);
	expect_named(&err, "longer than 107 bytes");
	longest[MOST] = '\0';
	expect_ok(open_at(longest, &l, &err), &err);
	listener_free(l);
}

/* --- fd:// --- */

enum { PASSED_OK = 10, PASSED_REFUSED = 11 };

/* In the child, as systemd starts it: with `theirs` as descriptor 3, and what the environment says. */
static NORETURN void child_of_systemd(int theirs, bool right_pid, const char *fds)
{
	struct accepted a = { 0 };
	struct listener *l = NULL;
	struct stow_err err;
	char pid[32];
	int64_t end = clock_mono_ns() + 20 * NSEC_PER_SEC;

	snprintf(pid, sizeof(pid), "%d", (int)getpid() + !right_pid);
	setenv("LISTEN_PID", pid, 1);
	if (fds)
		setenv("LISTEN_FDS", fds, 1);
	if (theirs != 3 && dup2(theirs, 3) < 0)
		_exit(1);
	if (open_at("fd://", &l, &err) < 0)
		_exit(err.code == STOW_FAILED_PRECONDITION && err.msg[0] ? PASSED_REFUSED : 2);
	listener_start(l, greet, &a);
	while (atomic_load(&a.n) == 0 && clock_mono_ns() < end)
		usleep(1000);
	listener_free(l);
	_exit(atomic_load(&a.n) == 1 ? PASSED_OK : 3);
}

static int status_of(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static pid_t start(int theirs, bool right_pid, const char *fds)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		child_of_systemd(theirs, right_pid, fds);
	return child;
}

static void passed_by_systemd(void **state UNUSED)
{
	int theirs = bind_at(path, true);
	pid_t child = start(theirs, true, "1");
	int fd = connect_to(path);

	assert_true(fd >= 0);
	assert_true(greeted(fd));
	assert_int_equal(status_of(child), PASSED_OK);
	assert_int_equal(access(path, F_OK), 0); /* it is systemd's, and stays */
	fd = connect_to(path);
	assert_true(fd >= 0);
	close(fd);
	close(theirs);
}

static void not_passed(void **state UNUSED)
{
	CLEANUP(fd_closep) int theirs = bind_at(path, true);
	CLEANUP(fd_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct listener *l = NULL;
	struct stow_err err;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	expect_fail(open_at("fd://", &l, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, "LISTEN_FDS");
	assert_int_equal(status_of(start(theirs, false, "1")), PASSED_REFUSED); /* for another process */
	assert_int_equal(status_of(start(theirs, true, "2")), PASSED_REFUSED);
	assert_int_equal(status_of(start(theirs, true, "0")), PASSED_REFUSED);
	assert_int_equal(status_of(start(theirs, true, NULL)), PASSED_REFUSED);
	assert_int_equal(status_of(start(null, true, "1")), PASSED_REFUSED); /* no socket */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(accepts_until_stopped),
		CASE(freed_without_a_start),
		CASE(a_stale_socket_is_replaced),
		CASE(a_live_socket_is_refused),
		CASE(what_is_no_socket_is_refused),
		CASE(mode_and_owner),
		CASE(a_missing_directory_is_made),
		CASE(a_path_has_a_limit),
		CASE(passed_by_systemd),
		CASE(not_passed),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
