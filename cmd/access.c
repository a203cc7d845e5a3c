#include "cmd/access.h"

#include "cmd/output.h"
#include "cmd/storage.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static int check_address(const struct conf *c, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };

	if (access_daemon(c, NULL, &st, err) == 0 && access_same_root(c, &st, err) == 0)
		return 0;
	return stow_fail(
		err, STOW_FAILED_PRECONDITION,
		"this command reads the database itself: beside --address it needs --root or --config (%s)",
		err->msg);
}

int access_read(const struct common_flags *common, const struct conf *c, struct meta **ret_m,
		struct stow_err *err)
{
	CLEANUP(freep) char *path = store_meta_path(c->root);

	if (common && flags_only_address(common) && check_address(c, err) < 0)
		return -1;
	if (meta_open(path, META_READ_ONLY, 0, ret_m, NULL, err) == 0)
		return 0;
	if (err->code == STOW_NOT_FOUND)
		return stow_fail(err, STOW_NOT_FOUND, "there is no store in %s (root)", c->root);
	return -1;
}

int access_lookup(struct meta *m, const struct digest *d, uint64_t *ret_size, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };

	if (meta_blob_get(m, d, &info, err) < 0)
		return -1;
	*ret_size = info.size;
	return 0;
}

char *access_blob_path(const struct conf *c, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	return x_asprintf("%s/blobs/%s/%s", c->local.path, digest_alg_name((enum digest_alg)d->alg), hex);
}

/* gRPC explains at length what connect(2) says in a word. */
static int knock(const char *path, struct stow_err *err)
{
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int e;

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path); /* conf/ refuses longer ones */
	if (fd < 0)
		return stow_fail_errno(err, errno, "socket");
	/* EAGAIN: many are waiting to be let in. */
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN)
		return 0;
	e = errno;
	if (e == EACCES || e == EPERM)
		return stow_fail(err, STOW_PERMISSION_DENIED,
				 "the daemon at %s may not be asked: permission denied", path);
	if (e == ENOENT)
		return stow_fail(err, STOW_UNAVAILABLE, "no daemon at %s: there is no such socket", path);
	return stow_fail(err, STOW_UNAVAILABLE, "no daemon answers at %s: %s", path,
			 e == ECONNREFUSED ? "nobody listens on that socket" : strerrordesc_np(e));
}

static int fail_silent(const char *path, struct stow_err *err)
{
	if (err->code == STOW_DEADLINE_EXCEEDED)
		return stow_fail(err, STOW_UNAVAILABLE,
				 "no daemon answers at %s: it has taken more than %d s", path,
				 (int)(ACCESS_TIMEOUT_NS / NSEC_PER_SEC));
	if (err->code == STOW_UNAVAILABLE)
		return stow_fail(err, STOW_UNAVAILABLE, "no daemon answers at %s: it hangs up", path);
	return stow_wrap(err, "no daemon answers at %s", path);
}

char *access_existing(const char *path)
{
	char *at = x_strdup(path), *slash;

	while (access(at, F_OK) < 0 && errno == ENOENT && (slash = strrchr(at, '/')) != NULL)
		slash[slash == at] = '\0';
	return at;
}

int access_daemon(const struct conf *c, struct client **ret_c, struct daemon_status *ret_st,
		  struct stow_err *err)
{
	CLEANUP(client_freep) struct client *client = NULL;

	if (c->grpc.address[0] != '/')
		return stow_fail(err, STOW_UNAVAILABLE,
				 "the daemon's address is %s: name the socket's path by --address",
				 c->grpc.address);
	if (knock(c->grpc.address, err) < 0)
		return -1;
	client = client_new(c->grpc.address, ACCESS_TIMEOUT_NS);
	if (client_status(client, ret_st, err) < 0)
		return fail_silent(c->grpc.address, err);
	if (ret_c)
		*ret_c = TAKE(client);
	return 0;
}

static bool same_directory(const char *a, const char *b)
{
	char real_a[PATH_MAX], real_b[PATH_MAX];

	return realpath(a, real_a) && realpath(b, real_b) && !strcmp(real_a, real_b);
}

int access_same_root(const struct conf *c, const struct daemon_status *st, struct stow_err *err)
{
	if (same_directory(st->root, c->root))
		return 0;
	return stow_fail(err, STOW_FAILED_PRECONDITION, "the daemon at %s has the root %s", c->grpc.address,
			 st->root);
}

/* --- the owner --- */

struct owner {
	struct store *store; /* we are the owner; else: */
	struct client *client;
	struct meta *meta;
	bool adopted; /* owner_finish() has something to do */
};

/* Opens the store itself. FAILED_PRECONDITION if another process has it. */
static int open_store(struct owner *o, const struct conf *c, const char *command, struct stow_err *err)
{
	struct store_opened opened;
	struct store_options so = { .root = c->root, .bytes = c->local.path };

	if (storage_open(c, &so.backend, err) < 0 || store_open(&so, &o->store, &opened, err) < 0)
		return -1;
	if (*opened.set_aside)
		output_message(command,
			       "the database was damaged: it is now %s, and made again from the blobs",
			       opened.set_aside);
	return 0;
}

/* Reaches the daemon that has the root. */
static int open_client(struct owner *o, const struct conf *c, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };

	if (access_daemon(c, &o->client, &st, err) < 0 || access_same_root(c, &st, err) < 0)
		return -1;
	return access_read(NULL, c, &o->meta, err);
}

int owner_open(const struct conf *c, const char *command, struct owner **ret_o, struct stow_err *err)
{
	CLEANUP(owner_closep) struct owner *o = x_calloc(1, sizeof(*o));
	struct stow_err other;

	/* The lock first, the daemon then: only the lock tells for sure who has the root. */
	if (open_store(o, c, command, err) < 0) {
		if (err->code != STOW_FAILED_PRECONDITION)
			return -1;
		if (open_client(o, c, &other) < 0)
			return stow_fail(err, STOW_FAILED_PRECONDITION, "%s; %s", err->msg, other.msg);
	}
	*ret_o = TAKE(o);
	return 0;
}

void owner_close(struct owner *o)
{
	if (!o)
		return;
	store_close(o->store);
	client_free(o->client);
	meta_close(o->meta);
	free(o);
}

void owner_closep(struct owner **o)
{
	owner_close(*o);
}

int owner_lookup(struct owner *o, const struct digest *d, uint64_t *ret_size, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };

	if (!o->store)
		return access_lookup(o->meta, d, ret_size, err);
	if (store_info_now(o->store, d, &info, err) < 0)
		return -1;
	*ret_size = info.size;
	return 0;
}

int owner_adopt(struct owner *o, const struct digest *d, struct stow_err *err)
{
	if (o->client)
		return client_touch(o->client, d, err);
	o->adopted = true;
	return 0;
}

int owner_finish(struct owner *o, struct stow_err *err)
{
	atomic_bool never = false;
	struct reconciled r;

	if (!o->adopted)
		return 0;
	o->adopted = false;
	return store_reconcile(o->store, &never, &r, err);
}

int owner_forget(struct owner *o, const struct digest *d, struct stow_err *err)
{
	int result = o->client ? client_delete(o->client, d, err) : store_delete(o->store, d, err);

	return result < 0 && err->code != STOW_NOT_FOUND ? -1 : 0;
}
