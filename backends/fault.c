#include "backends/fault_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <time.h>

#define FAULT_BLOB_MAGIC 0xfa017002u
#define FAULT_STAGE_MAGIC 0xfa017003u

/* Every handle is wrapped, so that a fault can be planned for calls on handles, too. */

struct fault_blob {
	struct blob base;
	unsigned magic;
	struct blob *inner; /* owned */
};
struct fault_stage {
	struct stage base;
	unsigned magic;
	struct stage *inner; /* owned */
};

struct fault *fault_from(struct backend *b)
{
	struct fault *f = CONTAINER_OF(b, struct fault, base);

	CHECK_OBJ(f, FAULT_MAGIC);
	return f;
}

static struct fault_blob *fault_blob_from(struct blob *blob)
{
	struct fault_blob *fb = CONTAINER_OF(blob, struct fault_blob, base);

	CHECK_OBJ(fb, FAULT_BLOB_MAGIC);
	return fb;
}

static struct fault_stage *fault_stage_from(struct stage *st)
{
	struct fault_stage *fs = CONTAINER_OF(st, struct fault_stage, base);

	CHECK_OBJ(fs, FAULT_STAGE_MAGIC);
	return fs;
}

static void sleep_ns(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* Whether the call that is being made is one that is to fail. Threads may make calls at once: each
 * takes its own place in the count. */
static bool fault_due_until(struct fault *f, enum fault_op op, int64_t until_mono_ns)
{
	unsigned delay_us = atomic_load(&f->plan->delay_us);
	int left = atomic_load(&f->plan->after[op]);
	int next;

	if (delay_us > 0)
		sleep_ns(delay_us * INT64_C(1000));
	do {
		if (left <= 0)
			return false;
		next = left == 1 && atomic_load(&f->plan->forever) ? 1 : left - 1;
	} while (!atomic_compare_exchange_weak(&f->plan->after[op], &left, next));
	if (left != 1)
		return false;
	while (atomic_load(&f->plan->hang) && !atomic_load(&f->stopped) && clock_mono_ns() < until_mono_ns)
		sleep_ns(NSEC_PER_MSEC);
	return true;
}

static bool fault_due(struct fault *f, enum fault_op op)
{
	return fault_due_until(f, op, INT64_MAX);
}

static int fault_fail(struct fault *f, const char *what, struct stow_err *err)
{
	enum stow_code code = atomic_load(&f->plan->code);

	return stow_fail(err, code == STOW_OK ? STOW_INTERNAL : code, "planned fault in %s", what);
}

int fault_check_until(struct fault *f, enum fault_op op, const char *what, int64_t until_mono_ns,
		      struct stow_err *err)
{
	return fault_due_until(f, op, until_mono_ns) ? fault_fail(f, what, err) : 0;
}

int fault_check(struct fault *f, enum fault_op op, const char *what, struct stow_err *err)
{
	return fault_check_until(f, op, what, INT64_MAX, err);
}

static void fault_free(struct backend *b)
{
	struct fault *f = fault_from(b);

	backend_free(f->inner);
	FREE_OBJ(f);
}

static int fault_stat(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		      struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_STAT, "stat", err) < 0)
		return -1;
	return backend_stat(f->inner, d, ret_st, err);
}

static int fault_open(struct backend *b, const struct digest *d, unsigned flags, struct blob **ret_blob,
		      struct stow_err *err)
{
	struct fault *f = fault_from(b);
	struct blob *inner;
	struct fault_blob *fb;

	if (fault_check(f, FAULT_OPEN, "open", err) < 0)
		return -1;
	if (backend_open(f->inner, d, flags, &inner, err) < 0)
		return -1;
	fb = x_calloc(1, sizeof(*fb));
	fb->base = (struct blob){ .backend = b, .size = inner->size, .version = inner->version };
	fb->magic = FAULT_BLOB_MAGIC;
	fb->inner = inner;
	*ret_blob = &fb->base;
	return 0;
}

static void fault_close(struct blob *blob)
{
	struct fault_blob *fb = fault_blob_from(blob);

	blob_close(fb->inner);
	FREE_OBJ(fb);
}

static int fault_pread(struct blob *blob, void *to, size_t n, uint64_t off, unsigned flags, size_t *ret_n,
		       struct stow_err *err)
{
	struct fault *f = fault_from(blob->backend);
	bool due = fault_due(f, FAULT_PREAD);

	if (due && !atomic_load(&f->plan->shorten))
		return fault_fail(f, "pread", err);
	if (blob_pread(fault_blob_from(blob)->inner, to, n, off, flags, ret_n, err) < 0)
		return -1;
	if (due)
		*ret_n /= 2;
	return 0;
}

static int fault_remove(struct backend *b, const struct digest *d, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_REMOVE, "remove", err) < 0)
		return -1;
	return backend_remove(f->inner, d, err);
}

static int fault_scan(struct backend *b, backend_blob_visit *visit, void *arg, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_SCAN, "scan", err) < 0)
		return -1;
	return backend_scan(f->inner, visit, arg, err);
}

static struct stage *fault_stage_new(struct backend *b, struct stage *inner)
{
	struct fault_stage *fs = x_calloc(1, sizeof(*fs));

	fs->base = (struct stage){ .backend = b };
	fs->magic = FAULT_STAGE_MAGIC;
	fs->inner = inner;
	return &fs->base;
}

static int fault_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			      struct stage **ret_st, struct stow_err *err)
{
	struct fault *f = fault_from(b);
	struct stage *inner;

	if (fault_check(f, FAULT_STAGE_CREATE, "stage_create", err) < 0)
		return -1;
	if (backend_stage_create(f->inner, name, hint, &inner, err) < 0)
		return -1;
	*ret_st = fault_stage_new(b, inner);
	return 0;
}

static int fault_stage_resume(struct backend *b, const char *name, uint64_t size,
			      const struct stage_hint *hint, struct stage **ret_st, struct stow_err *err)
{
	struct fault *f = fault_from(b);
	struct stage *inner;

	if (fault_check(f, FAULT_STAGE_RESUME, "stage_resume", err) < 0)
		return -1;
	if (backend_stage_resume(f->inner, name, size, hint, &inner, err) < 0)
		return -1;
	*ret_st = fault_stage_new(b, inner);
	return 0;
}

static int fault_stage_write(struct stage *st, const struct iovec *iov, int n, uint64_t off,
			     struct stow_err *err)
{
	if (fault_check(fault_from(st->backend), FAULT_STAGE_WRITE, "stage_write", err) < 0)
		return -1;
	return stage_write(fault_stage_from(st)->inner, iov, n, off, err);
}

static int fault_stage_truncate(struct stage *st, uint64_t size, struct stow_err *err)
{
	if (fault_check(fault_from(st->backend), FAULT_STAGE_TRUNCATE, "stage_truncate", err) < 0)
		return -1;
	return stage_truncate(fault_stage_from(st)->inner, size, err);
}

static int fault_stage_sync(struct stage *st, struct stow_err *err)
{
	if (fault_check(fault_from(st->backend), FAULT_STAGE_SYNC, "stage_sync", err) < 0)
		return -1;
	return stage_sync(fault_stage_from(st)->inner, err);
}

static int fault_stage_pread(struct stage *st, void *to, size_t n, uint64_t off, size_t *ret_n,
			     struct stow_err *err)
{
	struct fault *f = fault_from(st->backend);
	bool due = fault_due(f, FAULT_STAGE_PREAD);

	if (due && !atomic_load(&f->plan->shorten))
		return fault_fail(f, "stage_pread", err);
	if (stage_pread(fault_stage_from(st)->inner, to, n, off, ret_n, err) < 0)
		return -1;
	if (due)
		*ret_n /= 2;
	return 0;
}

static int fault_stage_publish(struct stage *st, const struct digest *d, struct stow_err *err)
{
	if (fault_check(fault_from(st->backend), FAULT_STAGE_PUBLISH, "stage_publish", err) < 0)
		return -1;
	return stage_publish(fault_stage_from(st)->inner, d, err);
}

static void fault_stage_close(struct stage *st)
{
	struct fault_stage *fs = fault_stage_from(st);

	stage_close(fs->inner);
	FREE_OBJ(fs);
}

static int fault_stage_discard(struct backend *b, const char *name, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_STAGE_DISCARD, "stage_discard", err) < 0)
		return -1;
	return backend_stage_discard(f->inner, name, err);
}

static int fault_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_STAGE_SCAN, "stage_scan", err) < 0)
		return -1;
	return backend_stage_scan(f->inner, visit, arg, err);
}

/* --- what the inner one may have --- */

static void fault_start(struct backend *b, struct meta *m)
{
	backend_start(fault_from(b)->inner, m);
}

static void fault_stop(struct backend *b)
{
	struct fault *f = fault_from(b);

	atomic_store(&f->stopped, true);
	backend_stop(f->inner);
}

static void fault_recorded(struct backend *b, const struct digest *d, bool commit)
{
	backend_recorded(fault_from(b)->inner, d, commit);
}

static void fault_touch(struct backend *b, const struct digest *d)
{
	backend_touch(fault_from(b)->inner, d);
}

static int fault_space(struct backend *b, uint64_t *ret_free, uint64_t *ret_total, struct stow_err *err)
{
	struct fault *f = fault_from(b);
	uint64_t total = atomic_load(&f->plan->space_total);

	if (fault_check(f, FAULT_SPACE, "space", err) < 0)
		return -1;
	if (total == 0)
		return f->inner->ops->space(f->inner, ret_free, ret_total, err);
	*ret_free = atomic_load(&f->plan->space_free);
	*ret_total = total;
	return 0;
}

static const struct backend_ops fault_ops = {
	.name = "fault",
	.free = fault_free,
	.stat = fault_stat,
	.open = fault_open,
	.close = fault_close,
	.pread = fault_pread,
	.remove = fault_remove,
	.scan = fault_scan,
	.stage_create = fault_stage_create,
	.stage_resume = fault_stage_resume,
	.stage_write = fault_stage_write,
	.stage_truncate = fault_stage_truncate,
	.stage_sync = fault_stage_sync,
	.stage_pread = fault_stage_pread,
	.stage_publish = fault_stage_publish,
	.stage_close = fault_stage_close,
	.stage_discard = fault_stage_discard,
	.stage_scan = fault_stage_scan,
	.start = fault_start,
	.stop = fault_stop,
	.recorded = fault_recorded,
	.touch = fault_touch,
};

int fault_new(struct backend *inner, struct fault_plan *plan, struct backend **ret_b, struct stow_err *err)
{
	struct fault *f = x_calloc(1, sizeof(*f));

	(void)err; /* nothing here can fail; the signature is that of every backend's maker */
	assert(!inner->tiered);
	f->base = (struct backend){ .ops = &f->ops, .remote = inner->remote, .far = inner->far };
	f->magic = FAULT_MAGIC;
	f->ops = fault_ops;
	/* Callers look whether these are there. */
	if (inner->ops->space != NULL)
		f->ops.space = fault_space;
	if (inner->ops->behind != NULL)
		f->ops.behind = fault_behind(f, inner->ops->behind);
	f->inner = inner;
	f->plan = plan;
	*ret_b = &f->base;
	return 0;
}
