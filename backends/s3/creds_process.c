/* credential_process: a command of the user's whose output is the credentials. */
#include "backends/s3/creds_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

/* The command may ask a person's browser or a slow vault; a minute is what AWS's own tools give it. */
#define TIMEOUT_NS (60 * NSEC_PER_SEC)
enum { OUTPUT_MAX = 64 * 1024, COMPLAINT_MAX = 4 * 1024 };

struct process {
	struct creds_provider base;
	char *command;
};

/* --- running a command --- */

struct child {
	pid_t pid;
	int out, complaint; /* our ends of its standard output and error; -1: closed */
};

static void child_closep(struct child *c)
{
	fd_closep(&c->out);
	fd_closep(&c->complaint);
}

/* A group of its own, so that what it starts can be killed with it; no signal blocked or ignored. */
static int set_attributes(posix_spawnattr_t *a)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	return posix_spawnattr_setflags(a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						   POSIX_SPAWN_SETSIGDEF) ||
	       posix_spawnattr_setpgroup(a, 0) || posix_spawnattr_setsigmask(a, &none) ||
	       posix_spawnattr_setsigdefault(a, &all);
}

static int set_files(posix_spawn_file_actions_t *f, int out, int complaint)
{
	return posix_spawn_file_actions_addopen(f, 0, "/dev/null", O_RDONLY, 0) ||
	       posix_spawn_file_actions_adddup2(f, out, 1) ||
	       posix_spawn_file_actions_adddup2(f, complaint, 2) ||
	       posix_spawn_file_actions_addclosefrom_np(f, 3);
}

static int start(const struct creds_context *cx, const char *command, struct child *ret_c,
		 struct stow_err *err)
{
	static char *const nothing[] = { NULL };
	char sh[] = "sh", flag[] = "-c";
	CLEANUP(freep) char *text = x_strdup(command);
	char *const argv[] = { sh, flag, text, NULL };
	char *const *envp = cx->environment ? (char *const *)(uintptr_t)cx->environment : nothing;
	int out[2] = { -1, -1 }, complaint[2] = { -1, -1 };
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_t files;

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(complaint, O_CLOEXEC) < 0) {
		int e = errno;
		fd_closep(&out[0]);
		fd_closep(&out[1]);
		return stow_fail_errno(err, e, "a pipe for credential_process");
	}
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_init(&files);
	int e = set_attributes(&attributes) || set_files(&files, out[1], complaint[1]) ? ENOMEM : 0;
	if (e == 0)
		e = posix_spawn(&ret_c->pid, "/bin/sh", &files, &attributes, argv, envp);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	close(out[1]);
	close(complaint[1]);
	ret_c->out = out[0];
	ret_c->complaint = complaint[0];
	return e == 0 ? 0 : stow_fail_errno(err, e, "credential_process: /bin/sh");
}

/* Reads what is there. The descriptor is closed at its end, and where there is too much. */
static int drain(int *fd, struct buf *b, struct stow_err *err)
{
	char piece[4096];
	ssize_t n = read(*fd, piece, sizeof(piece));

	if (n > 0)
		return buf_append(b, piece, (size_t)n, err);
	if (n < 0 && errno == EINTR)
		return 0;
	close(*fd);
	*fd = -1;
	return 0;
}

/* Collects the output until both ends are closed. */
static int collect(const struct creds_context *cx, struct child *c, int64_t until_ns, struct buf *out,
		   struct buf *complaint, struct stow_err *err)
{
	while (c->out >= 0 || c->complaint >= 0) {
		struct pollfd fds[] = { { .fd = c->out, .events = POLLIN },
					{ .fd = c->complaint, .events = POLLIN },
					{ .fd = cx->stop_fd, .events = POLLIN } };
		int64_t left = until_ns - clock_mono_ns();
		if (left <= 0)
			return stow_fail(err, STOW_UNAVAILABLE, "credential_process has not ended in time");
		if (poll(fds, ARRAY_LEN(fds), (int)(left / NSEC_PER_MSEC) + 1) < 0 && errno != EINTR)
			return stow_fail_errno(err, errno, "poll");
		if (fds[2].revents)
			return stow_fail(err, STOW_CANCELLED, "credential_process was ended with us");
		if (fds[0].revents && drain(&c->out, out, err) < 0)
			return stow_fail(err, STOW_RESOURCE_EXHAUSTED,
					 "credential_process writes more than %zu bytes", out->max);
		/* Complaints beyond the cap are read too, so that it can go on, and left out. */
		if (fds[1].revents)
			(void)drain(&c->complaint, complaint, &(struct stow_err){ 0 });
	}
	return 0;
}

/* Waits for the end of a child that has closed its output, and takes its status. */
static int reap(const struct creds_context *cx, pid_t pid, int64_t until_ns, int *ret_status,
		struct stow_err *err)
{
	for (;;) {
		pid_t got = waitpid(pid, ret_status, WNOHANG);
		if (got == pid)
			return 0;
		if (got < 0 && errno != EINTR)
			return stow_fail_errno(err, errno, "credential_process");
		if (clock_mono_ns() >= until_ns || !creds_pause(cx, 5 * NSEC_PER_MSEC))
			return stow_fail(err, STOW_UNAVAILABLE, "credential_process has not ended in time");
	}
}

static int judge(int status, const struct buf *complaint, struct stow_err *err)
{
	char quoted[300];
	size_t n = complaint->len;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	while (n > 0 && complaint->p[n - 1] == '\n')
		n--;
	text_quote(quoted, sizeof(quoted), n > 0 ? (const char *)complaint->p : "", n);
	if (WIFSIGNALED(status))
		return stow_fail(err, STOW_FAILED_PRECONDITION, "credential_process was killed by SIG%s: %s",
				 sigabbrev_np(WTERMSIG(status)), quoted);
	return stow_fail(err, STOW_FAILED_PRECONDITION, "credential_process ended with status %d: %s",
			 WEXITSTATUS(status), quoted);
}

int creds_process_run(const struct creds_context *cx, const char *command, int64_t timeout_ns,
		      struct buf *ret_out, struct stow_err *err)
{
	CLEANUP(child_closep) struct child c = { .out = -1, .complaint = -1 };
	CLEANUP(buf_free) struct buf complaint;
	int64_t until_ns = clock_mono_ns() + timeout_ns;
	int status;

	buf_init(&complaint, COMPLAINT_MAX);
	if (start(cx, command, &c, err) < 0)
		return -1;
	if (collect(cx, &c, until_ns, ret_out, &complaint, err) < 0 ||
	    reap(cx, c.pid, until_ns, &status, err) < 0) {
		/* Not reaped yet, so the number is still its own. */
		kill(-c.pid, SIGKILL);
		while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
			continue;
		return -1;
	}
	return judge(status, &complaint, err);
}

/* --- the provider --- */

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct process *ps = CONTAINER_OF(p, struct process, base);
	CLEANUP(buf_free) struct buf out;

	buf_init(&out, OUTPUT_MAX);
	if (creds_process_run(p->cx, ps->command, TIMEOUT_NS, &out, err) < 0)
		return -1;
	if (creds_document_read(CREDS_FORM_PROCESS, out.p ? (const char *)out.p : "", out.len, ret_v, err) <
	    0)
		return stow_wrap(err, "credential_process");
	return 0;
}

static void process_free(struct creds_provider *p)
{
	struct process *ps = CONTAINER_OF(p, struct process, base);
	free(ps->command);
	free(ps);
}

struct creds_provider *creds_process_new(const char *command)
{
	struct process *ps = x_calloc(1, sizeof(*ps));
	ps->base = (struct creds_provider){ .name = "profile", .fetch = fetch, .free = process_free };
	ps->base.detail = x_strdup("credential_process");
	ps->command = x_strdup(command);
	return &ps->base;
}
