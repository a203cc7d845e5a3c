#include "proto/listener.h"

#include "content/base/log.h"
#include "content/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	BACKLOG = 512,
	SYSTEMD_FIRST_FD = 3,  /* sd_listen_fds(3) */
	SEND_BUFFER = 1 << 20, /* several messages of LIMIT_READ_CHUNK fit: the writer need not wait */
	RETRY_MS = 100,        /* when there are no descriptors left */
};

struct listener {
	int fd;
	int stop_fd; /* readable: stop */
	char *path;  /* NULL: the socket is systemd's */
	bool running;
	pthread_t thread;
	void (*accepted)(void *arg, int fd);
	void *arg;
};

/* --- opening --- */

static int make_directory(const char *path, struct stow_err *err)
{
	CLEANUP(freep) char *copy = x_strdup(path);
	const char *dir = dirname(copy);

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return stow_fail_errno(err, errno, "make directory %s", dir);
	return 0;
}

static int make_address(const struct listener_options *o, struct sockaddr_un *ret_addr, struct stow_err *err)
{
	*ret_addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(o->address) >= sizeof(ret_addr->sun_path))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "socket path %s is longer than %zu bytes",
				 o->address, sizeof(ret_addr->sun_path) - 1);
	(void)snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s", o->address);
	return 0;
}

/* *ret_stale: something is in the way, and nobody listens on it. */
static int look_at_path(const struct sockaddr_un *addr, bool *ret_stale, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return stow_fail_errno(err, errno, "socket");
	*ret_stale = false;
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : stow_fail_errno(err, errno, "%s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s exists and is no socket", addr->sun_path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is in use: a server is listening on it",
				 addr->sun_path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return stow_fail_errno(err, errno, "connect to %s", addr->sun_path);
	*ret_stale = true;
	return 0;
}

static int clear_path(const struct sockaddr_un *addr, struct stow_err *err)
{
	bool stale;

	if (look_at_path(addr, &stale, err) < 0)
		return -1;
	if (stale && unlink(addr->sun_path) < 0 && errno != ENOENT)
		return stow_fail_errno(err, errno, "remove the stale socket %s", addr->sun_path);
	return 0;
}

static int bind_path(const struct listener_options *o, int *ret_fd, struct stow_err *err)
{
	struct sockaddr_un addr;
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int rc;

	if (fd < 0)
		return stow_fail_errno(err, errno, "socket");
	if (make_address(o, &addr, err) < 0 || make_directory(o->address, err) < 0 ||
	    clear_path(&addr, err) < 0)
		return -1;
	old = umask(0177); /* nobody else gets in before owner and mode are set */
	rc = bind(fd, (const struct sockaddr *)&addr, sizeof(addr));
	umask(old);
	if (rc < 0)
		return stow_fail_errno(err, errno, "bind %s", o->address);
	/* In this order: who has given a file away needs one capability more to change its mode. */
	if (chmod(o->address, o->mode) < 0)
		return stow_fail_errno(err, errno, "set the mode of %s", o->address);
	if (chown(o->address, o->uid, o->gid) < 0)
		return stow_fail_errno(err, errno, "set the owner of %s", o->address);
	if (listen(fd, BACKLOG) < 0)
		return stow_fail_errno(err, errno, "listen on %s", o->address);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* The one socket that systemd passes: sd_listen_fds(3). */
static int systemd_socket(int *ret_fd, struct stow_err *err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int accepting = 0;
	socklen_t len = sizeof(accepting);

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid())
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "address fd:// needs a socket from systemd, and none was passed "
				 "(LISTEN_PID, LISTEN_FDS)");
	if (strtol(fds, NULL, 10) != 1)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "systemd passed %s sockets, expected 1", fds);
	if (getsockopt(SYSTEMD_FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &len) < 0 || !accepting)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "the descriptor from systemd is no listening socket");
	/* As our own: another process that shares the socket may have taken the connection. */
	if (fcntl(SYSTEMD_FIRST_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(SYSTEMD_FIRST_FD, F_SETFL, O_NONBLOCK) < 0)
		return stow_fail_errno(err, errno, "set up the socket from systemd");
	*ret_fd = SYSTEMD_FIRST_FD;
	return 0;
}

int listener_check(const struct listener_options *o, struct stow_err *err)
{
	struct sockaddr_un addr;
	bool stale;

	if (!strcmp(o->address, "fd://"))
		return 0;
	return make_address(o, &addr, err) < 0 ? -1 : look_at_path(&addr, &stale, err);
}

int listener_open(const struct listener_options *o, struct listener **ret_l, struct stow_err *err)
{
	CLEANUP(listener_freep) struct listener *l = x_calloc(1, sizeof(*l));
	bool passed = !strcmp(o->address, "fd://");

	l->fd = l->stop_fd = -1;
	if ((passed ? systemd_socket(&l->fd, err) : bind_path(o, &l->fd, err)) < 0)
		return -1;
	l->path = passed ? NULL : x_strdup(o->address);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->stop_fd < 0)
		return stow_fail_errno(err, errno, "eventfd");
	*ret_l = TAKE(l);
	return 0;
}

/* --- accepting --- */

static void accept_one(struct listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int size = SEND_BUFFER;

	if (fd >= 0) {
		/* Refused by the kernel's limit, we are slower and not wrong. */
		(void)!setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		l->accepted(l->arg, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_warn("cannot accept a connection", LOG_S("error", strerrordesc_np(errno)));
		poll(&(struct pollfd){ .fd = l->stop_fd, .events = POLLIN }, 1, RETRY_MS);
	}
	/* All else is the client's: it has gone again. */
}

static void *accept_loop(void *arg)
{
	struct listener *l = arg;
	struct pollfd fds[2] = {
		{ .fd = l->stop_fd, .events = POLLIN },
		{ .fd = l->fd, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR: there is no other reason */
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents)
			accept_one(l);
	}
}

void listener_start(struct listener *l, void (*accepted)(void *arg, int fd), void *arg)
{
	sigset_t all, old;

	l->accepted = accepted;
	l->arg = arg;
	sigfillset(&all); /* signals are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&l->thread, NULL, accept_loop, l) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_setname_np(l->thread, "accept");
	l->running = true;
}

void listener_stop(struct listener *l)
{
	uint64_t one = 1;

	if (l->running) {
		(void)!write(l->stop_fd, &one, sizeof(one));
		pthread_join(l->thread, NULL);
		l->running = false;
	}
	if (l->path)
		unlink(l->path);
	freep(&l->path);
	l->path = NULL;
	fd_closep(&l->fd);
	l->fd = -1;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	listener_stop(l);
	fd_closep(&l->stop_fd);
	free(l);
}

void listener_freep(struct listener **l)
{
	listener_free(*l);
}
