#include "cmd/storage.h"

#include "backends/backends.h"
#include "backends/s3/s3.h"
#include "backends/tiered/tiered.h"
#include "cmd/remote_options.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

#include <errno.h>
#include <sys/stat.h>

#define SAME(x, y) static_assert((int)(x) == (int)(y), "conf/ and backends/ have the same numbers")
SAME(CONF_LAYOUT_REGISTRY, SOURCE_REGISTRY);
SAME(CONF_LAYOUT_STOWAGE, SOURCE_STOWAGE);
static_assert(CONF_WAIT_ALWAYS == INT64_MAX, "as commit_wait_ns has it");

bool storage_has_bucket(const struct conf *c)
{
	return c->remote.type == CONF_REMOTE_S3;
}

/* The bucket alone has the blobs. */
static bool is_direct(const struct conf *c)
{
	return storage_has_bucket(c) && c->remote.mode == CONF_MODE_DIRECT;
}

static bool is_tiered(const struct conf *c)
{
	return !is_direct(c) && (storage_has_bucket(c) || c->n_sources > 0);
}

bool storage_is_local(const struct conf *c)
{
	return !is_direct(c);
}

const char *storage_name(const struct conf *c)
{
	return is_direct(c) ? "s3" : is_tiered(c) ? "tiered" : "local";
}

static int open_bucket(const struct conf *c, const char *path, struct backend **ret_b, struct stow_err *err)
{
	struct s3_options o;

	remote_s3_options(&c->remote.s3, &o);
	return s3_new(&o, path, ret_b, err);
}

/* --- what stands behind the local bytes: no file that it wants may keep a node from what it has itself ---
 */

static char *name_of_bucket(const struct conf_s3 *s)
{
	return x_asprintf("s3://%s%s%s", s->bucket, *s->prefix ? "/" : "", s->prefix);
}

char *storage_bucket_name(const struct conf *c)
{
	return storage_has_bucket(c) ? name_of_bucket(&c->remote.s3) : NULL;
}

static int open_source(const struct conf_source *s, struct backend **ret_b, char **ret_name,
		       struct stow_err *err)
{
	struct s3_options o;

	if (s->type == CONF_SOURCE_DIR) {
		if (source_dir_new(s->path, (enum source_layout)s->layout, ret_b, err) < 0)
			return -1;
		*ret_name = x_strdup(s->path);
		return 0;
	}
	source_s3_options(s, &o);
	o.files_may_come = true;
	if (s3_new(&o, NULL, ret_b, err) < 0)
		return -1;
	*ret_name = name_of_bucket(&s->s3);
	return 0;
}

struct behind {
	struct backend *v[FLEET_BEHIND_MAX];
	char *names[FLEET_BEHIND_MAX];
	size_t n;
};

static void behind_free(struct behind *b)
{
	for (size_t i = 0; i < b->n; i++) {
		backend_free(b->v[i]);
		free(b->names[i]);
	}
}

static int open_behind(const struct conf *c, struct behind *b, struct stow_err *err)
{
	static_assert(CONF_SOURCES_MAX + 1 <= FLEET_BEHIND_MAX, "the bucket, and all sources");

	if (storage_has_bucket(c)) {
		struct s3_options o;

		remote_s3_options(&c->remote.s3, &o);
		o.files_may_come = true;
		if (s3_new(&o, c->local.path, &b->v[0], err) < 0)
			return -1;
		b->names[b->n++] = name_of_bucket(&c->remote.s3);
	}
	for (size_t i = 0; i < c->n_sources; i++) {
		if (open_source(&c->sources[i], &b->v[b->n], &b->names[b->n], err) < 0)
			return stow_wrap(err, "source[%zu]", i + 1);
		b->n++;
	}
	return 0;
}

/* One text for the same places behind: what is known of one bucket is not true of another. */
static void identity_of(const struct conf *c, const struct behind *b, char ret_text[DIGEST_STR_MAX])
{
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	const char *endpoint = storage_has_bucket(c) ? c->remote.s3.endpoint : "";
	struct digest d;

	hash_update(h, endpoint, strlen(endpoint) + 1);
	for (size_t i = 0; i < c->n_sources; i++)
		hash_update(h, c->sources[i].s3.endpoint, strlen(c->sources[i].s3.endpoint) + 1);
	for (size_t i = 0; i < b->n; i++)
		hash_update(h, b->names[i], strlen(b->names[i]) + 1);
	hash_digest(h, &d);
	digest_format(&d, ret_text);
}

static struct tiered_share share(const struct conf_share *s)
{
	return (struct tiered_share){ .bytes = (uint64_t)s->bytes, .percent = s->percent };
}

static int open_tiered(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	CLEANUP(backend_freep) struct backend *fast = NULL;
	CLEANUP(behind_free) struct behind b = { 0 };
	char identity[DIGEST_STR_MAX];
	struct tiered_options o = {
		.writable = storage_has_bucket(c),
		.identity = identity,
		.info_timeout_ns = c->remote.info_timeout,
		.commit_wait_ns = c->remote.commit_wait,
		.exclusive = c->remote.owner == CONF_OWNER_EXCLUSIVE,
		.uploads = c->remote.uploads,
		.upload_bandwidth = (uint64_t)c->remote.upload_bandwidth,
		.prefetch = c->remote.prefetch,
		.max_size = share(&c->local.max_size),
		.min_free = share(&c->local.min_free),
		.claim_interval_ns = c->remote.claim_interval,
		.claim_grace_ns = c->remote.claim_grace,
		.recheck_every_ns = c->remote.recheck_every,
	};

	if (local_new(c->local.path, &fast, err) < 0 || open_behind(c, &b, err) < 0)
		return -1;
	identity_of(c, &b, identity);
	o.fast = TAKE(fast);
	o.n_behind = b.n;
	for (size_t i = 0; i < b.n; i++) {
		o.behind[i] = TAKE(b.v[i]);
		o.names[i] = b.names[i];
	}
	return tiered_new(&o, ret_b, err);
}

/* --- the whole --- */

int storage_open(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	if (is_direct(c))
		return open_bucket(c, c->local.path, ret_b, err);
	return is_tiered(c) ? open_tiered(c, ret_b, err) : local_new(c->local.path, ret_b, err);
}

int storage_open_beside(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	CLEANUP(freep) char *blobs = x_asprintf("%s/blobs", c->local.path);
	struct stat st;

	if (is_direct(c))
		return open_bucket(c, NULL, ret_b, err);
	/* A wrong path must not become a new, empty store in which everything is missing. */
	if (stat(blobs, &st) < 0)
		return stow_fail_errno(err, errno, "no blobs below local.path: %s", blobs);
	return local_new(c->local.path, ret_b, err);
}

int storage_open_fleet(const struct conf *c, struct backend **ret_b, struct stow_err *err)
{
	if (!storage_has_bucket(c))
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "no bucket is configured (remote.type is empty)");
	if (c->remote.mode != CONF_MODE_TIERED)
		return stow_fail(
			err, STOW_FAILED_PRECONDITION,
			"remote.mode is \"direct\": such a store has its bucket for itself, and tells "
			"nobody what it holds");
	return open_bucket(c, NULL, ret_b, err);
}
