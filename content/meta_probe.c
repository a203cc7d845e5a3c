/* Whether the database can be read at all. */
#include "content/meta_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int ignore_blob(void *arg UNUSED, const struct blob_info *i UNUSED, struct stow_err *err UNUSED)
{
	return 0;
}

static int ignore_ingest(void *arg UNUSED, const struct ingest_row *r UNUSED, struct stow_err *err UNUSED)
{
	return 0;
}

/* Walks the list of free pages, which only a writer would look at. */
static int walk_free_pages(struct meta *m, struct stow_err *err)
{
	MDB_txn *txn;
	MDB_cursor *cursor = NULL;
	MDB_val k, v;
	int rc;

	if (meta_read_begin(m, &txn, err) < 0)
		return -1;
	rc = mdb_cursor_open(txn, 0, &cursor); /* table 0 is LMDB's own list of free pages */
	while (rc == 0)
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	if (cursor)
		mdb_cursor_close(cursor);
	meta_read_end(m, txn);
	return rc == MDB_NOTFOUND ? 0 : meta_fail(err, rc, "free pages");
}

static int walk_all(const char *path, struct stow_err *err)
{
	CLEANUP(meta_closep) struct meta *m = NULL;
	struct digest cursor = { 0 };
	size_t n;

	if (meta_open(path, META_READ_ONLY, 0, &m, NULL, err) < 0)
		return -1;
	do {
		if (meta_blobs_next(m, &cursor, 10000, ignore_blob, NULL, &n, err) < 0)
			return -1;
	} while (n == 10000);
	if (meta_ingests(m, ignore_ingest, NULL, err) < 0)
		return -1;
	return walk_free_pages(m, err);
}

/* The exit status of the child: what walk_all() said. */
enum { PROBE_SOUND, PROBE_DAMAGED, PROBE_OTHER };

static NORETURN void probe_child(const char *path)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	struct stow_err err;
	struct rlimit no_core = { 0, 0 };
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	/* A handler of the parent's could go on with the parent's business. */
	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		signal(fatal[i], SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	if (null >= 0)
		dup2(null, STDERR_FILENO); /* LMDB's assertions */
	if (walk_all(path, &err) == 0)
		_exit(PROBE_SOUND);
	_exit(err.code == STOW_DATA_LOSS ? PROBE_DAMAGED : PROBE_OTHER);
}

int meta_probe(const char *path, struct stow_err *err)
{
	pid_t child;
	int status;

	if (access(path, F_OK) < 0)
		return 0;
	child = fork();
	if (child < 0)
		return stow_fail_errno(err, errno, "fork");
	if (child == 0)
		probe_child(path);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return stow_fail_errno(err, errno, "waitpid");
	/* Anything but damage (no permission, a newer schema) is said better by meta_open(). */
	if (WIFEXITED(status) && WEXITSTATUS(status) != PROBE_DAMAGED)
		return 0;
	return stow_fail(err, STOW_DATA_LOSS, "%s is damaged", path);
}
