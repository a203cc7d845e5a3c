#include "cmd/storage.h"

#include "backends/backends.h"
#include "backends/s3/s3.h"
#include "cmd/remote_options.h"
#include "content/base/mem.h"

#include <errno.h>
#include <sys/stat.h>

bool storage_is_local(const struct conf *c)
{
	return c->remote.type == CONF_REMOTE_NONE;
}

const char *storage_name(const struct conf *c)
{
	return storage_is_local(c) ? "local" : "s3";
}

static int open_bucket(const struct conf *c, const char *path, struct backend **ret_b, struct stow_err *err)
{
	struct s3_options o;

	remote_s3_options(&c->remote.s3, &o);
	return s3_new(&o, path, ret_b, err);
}

int storage_open(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	return storage_is_local(c) ? local_new(c->local.path, ret_b, err)
				   : open_bucket(c, c->local.path, ret_b, err);
}

int storage_open_beside(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	CLEANUP(freep) char *blobs = x_asprintf("%s/blobs", c->local.path);
	struct stat st;

	if (!storage_is_local(c))
		return open_bucket(c, NULL, ret_b, err);
	/* A wrong path must not become a new, empty store in which everything is missing. */
	if (stat(blobs, &st) < 0)
		return stow_fail_errno(err, errno, "no blobs below local.path: %s", blobs);
	return local_new(c->local.path, ret_b, err);
}
