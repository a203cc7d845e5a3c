#include "content/backend.h"

#include <string.h>

/* What a caller passes is our own code's doing, so it is asserted, and so is what a backend gives
 * back: a table that breaks its promise stops here and not three layers up. */

static void check_digest(const struct digest *d)
{
	assert(d != NULL);
	assert(digest_is_set(d) && d->alg < DIGEST_ALG_COUNT);
	assert(d->len == digest_alg_len((enum digest_alg)d->alg));
}

bool stage_name_ok(const char *name)
{
	return strlen(name) == STAGE_NAME_LEN && strspn(name, "0123456789abcdef") == STAGE_NAME_LEN;
}

void backend_free(struct backend *b)
{
	if (b != NULL)
		b->ops->free(b);
}

void backend_freep(struct backend **b)
{
	backend_free(*b);
}

int backend_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err)
{
	check_digest(d);
	assert(ret_st != NULL && err != NULL);
	return b->ops->stat(b, d, ret_st, err);
}

int backend_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		 struct stow_err *err)
{
	check_digest(d);
	assert((flags & ~(unsigned)BACKEND_READ_NEAR) == 0);
	assert(ret_blob != NULL && err != NULL);
	if (b->ops->open(b, d, flags, ret_blob, err) < 0)
		return -1;
	assert((*ret_blob)->backend == b);
	return 0;
}

int backend_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	check_digest(d);
	assert(err != NULL);
	return b->ops->remove(b, d, err);
}

int backend_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	assert(visit != NULL && err != NULL);
	return b->ops->scan(b, visit, arg, err);
}

static const struct stage_hint NO_HINT;

int backend_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			 struct stage **ret_st, struct stow_err *err)
{
	assert(stage_name_ok(name));
	assert(ret_st != NULL && err != NULL);
	if (b->ops->stage_create(b, name, hint != NULL ? hint : &NO_HINT, ret_st, err) < 0)
		return -1;
	assert((*ret_st)->backend == b);
	return 0;
}

int backend_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			 struct stage **ret_st, struct stow_err *err)
{
	assert(stage_name_ok(name));
	assert(ret_st != NULL && err != NULL);
	if (b->ops->stage_resume(b, name, size, hint != NULL ? hint : &NO_HINT, ret_st, err) < 0)
		return -1;
	assert((*ret_st)->backend == b);
	return 0;
}

int backend_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	assert(stage_name_ok(name));
	assert(err != NULL);
	return b->ops->stage_discard(b, name, err);
}

int backend_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	assert(visit != NULL && err != NULL);
	return b->ops->stage_scan(b, visit, arg, err);
}

void backend_start(struct backend *b, struct meta *m)
{
	if (b->ops->start != NULL)
		b->ops->start(b, m);
}

void backend_stop(struct backend *b)
{
	if (b->ops->stop != NULL)
		b->ops->stop(b);
}

void backend_recorded(struct backend *b, const struct digest *d, bool commit)
{
	check_digest(d);
	if (b->ops->recorded != NULL)
		b->ops->recorded(b, d, commit);
}

void backend_touch(struct backend *b, const struct digest *d)
{
	check_digest(d);
	if (b->ops->touch != NULL)
		b->ops->touch(b, d);
}

int blob_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
	       struct stow_err *err)
{
	assert(to != NULL || n == 0);
	assert((flags & ~(unsigned)(BACKEND_READ_NOWAIT | BACKEND_READ_NEAR | BACKEND_READ_SAME)) == 0);
	assert(ret_n != NULL && err != NULL);
	if (blob->backend->ops->pread(blob, to, n, off, flags, ret_n, err) < 0)
		return -1;
	assert(*ret_n <= n);
	return 0;
}

void blob_close(struct blob *blob)
{
	if (blob != NULL)
		blob->backend->ops->close(blob);
}

void blob_closep(struct blob **blob)
{
	blob_close(*blob);
}

/* FNV-1a. */
uint64_t blob_version(const void *tag, size_t n)
{
	const uint8_t *p = tag;
	uint64_t version = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		version = (version ^ p[i]) * UINT64_C(0x100000001b3);
	return version + (version == 0);
}

int stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off, struct stow_err *err)
{
	assert(n >= 0 && (iov != NULL || n == 0));
	assert(err != NULL);
	return st->backend->ops->stage_write(st, iov, n, off, err);
}

int stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	assert(err != NULL);
	return st->backend->ops->stage_truncate(st, size, err);
}

int stage_sync(struct stage *st, struct stow_err *err)
{
	assert(err != NULL);
	return st->backend->ops->stage_sync(st, err);
}

int stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n, struct stow_err *err)
{
	assert(to != NULL || n == 0);
	assert(ret_n != NULL && err != NULL);
	if (st->backend->ops->stage_pread(st, to, n, off, ret_n, err) < 0)
		return -1;
	assert(*ret_n <= n);
	return 0;
}

int stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	check_digest(d);
	assert(err != NULL);
	return st->backend->ops->stage_publish(st, d, err);
}

void stage_close(struct stage *st)
{
	if (st != NULL)
		st->backend->ops->stage_close(st);
}

void stage_closep(struct stage **st)
{
	stage_close(*st);
}
