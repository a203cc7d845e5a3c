#include "cmd/check.h"

#include "content/base/hash.h"
#include "content/base/mem.h"

enum { CHUNK = 1 << 20 };

const char *verdict_name(enum verdict v)
{
	static const char *const names[VERDICT_COUNT] = {
		[VERDICT_OK] = "ok",
		[VERDICT_GONE] = "gone",
		[VERDICT_ELSEWHERE] = "elsewhere",
		[VERDICT_STOPPED] = "stopped",
		[VERDICT_DAMAGED] = "damaged",
		[VERDICT_TRUNCATED] = "truncated",
		[VERDICT_MISSING] = "missing",
		[VERDICT_UNREADABLE] = "unreadable",
		[VERDICT_FORBIDDEN] = "forbidden",
	};

	return names[v];
}

static enum verdict of_failure(const struct stow_err *err, char *detail)
{
	snprintf(detail, CHECK_DETAIL_MAX, "%s", err->msg);
	if (err->code == STOW_PERMISSION_DENIED)
		return VERDICT_FORBIDDEN;
	/* A backend's word for a file that has become shorter since it was opened. */
	return err->code == STOW_DATA_LOSS ? VERDICT_TRUNCATED : VERDICT_UNREADABLE;
}

/* Hashes all bytes. */
static enum verdict check_hash(struct check *c, const struct digest *d, struct blob *blob, char *detail)
{
	CLEANUP(freep) uint8_t *chunk = x_malloc(CHUNK);
	CLEANUP(hash_freep) struct hash *hash = hash_new((enum digest_alg)d->alg);
	char text[DIGEST_STR_MAX];
	struct digest found;
	struct stow_err err;
	size_t n;

	for (uint64_t off = 0; off < blob->size; off += n) {
		if (atomic_load(c->stop))
			return VERDICT_STOPPED;
		if (blob_pread(blob, chunk, CHUNK, off, 0, &n, &err) < 0)
			return of_failure(&err, detail);
		assert(n > 0);
		hash_update(hash, chunk, n);
		if (!c->again) {
			c->bytes += n;
			progress_add(c->progress, n, clock_mono_ns());
		}
		brake_apply(c->brake, n, c->stop);
	}
	hash_digest(hash, &found);
	if (digest_equal(&found, d))
		return VERDICT_OK;
	digest_format(&found, text);
	snprintf(detail, CHECK_DETAIL_MAX, "%llu bytes, their digest is %s", (unsigned long long)blob->size,
		 text);
	return VERDICT_DAMAGED;
}

static int check_once(struct check *c, const struct digest *d, enum verdict *ret_v, char *detail,
		      struct stow_err *err)
{
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err why;
	uint64_t size = 0;
	bool recorded = c->lookup(c->arg, d, &size, err) == 0;

	if (!recorded && err->code != STOW_NOT_FOUND)
		return -1;
	if (backend_open(c->backend, d, 0, &blob, &why) < 0) {
		if (why.code != STOW_NOT_FOUND) {
			*ret_v = of_failure(&why, detail);
			return 0;
		}
		if (recorded && c->elsewhere && c->elsewhere(c->arg, d)) {
			*ret_v = VERDICT_ELSEWHERE;
			return 0;
		}
		snprintf(detail, CHECK_DETAIL_MAX, "%llu bytes are recorded, there are none",
			 (unsigned long long)size);
		*ret_v = recorded ? VERDICT_MISSING : VERDICT_GONE;
		return 0;
	}
	if (recorded && blob->size != size) {
		snprintf(detail, CHECK_DETAIL_MAX, "%llu bytes are recorded, there are %llu",
			 (unsigned long long)size, (unsigned long long)blob->size);
		*ret_v = VERDICT_TRUNCATED;
		return 0;
	}
	*ret_v = check_hash(c, d, blob, detail);
	return 0;
}

int check_blob(struct check *c, const struct digest *d, enum verdict *ret_v, char detail[CHECK_DETAIL_MAX],
	       struct stow_err *err)
{
	bool again = c->again;
	int result;

	*detail = 0;
	if (check_once(c, d, ret_v, detail, err) < 0)
		return -1;
	if (!verdict_is_bad(*ret_v))
		return 0;
	c->again = true;
	result = check_once(c, d, ret_v, detail, err);
	c->again = again;
	return result;
}
