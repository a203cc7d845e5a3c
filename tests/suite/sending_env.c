#include "tests/suite/sending_env.h"

#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/suite.h"

int read_source(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	struct sending_source *src = arg;

	if (atomic_load(&src->shut) || off > atomic_load(&src->have) || n > atomic_load(&src->have) - off) {
		atomic_fetch_add(&src->wrong, 1);
		return stow_fail(err, STOW_INTERNAL, "a read of %zu bytes at %llu", n,
				 (unsigned long long)off);
	}
	if (atomic_load(&src->broken))
		return stow_fail(err, STOW_DATA_LOSS, "the source is broken");
	memcpy(to, src->bytes + off, n);
	return 0;
}

void source_make(struct sending_source *src, size_t n, unsigned seed)
{
	*src = (struct sending_source){ .bytes = x_malloc(n) };
	fill(src->bytes, n, seed);
}

void source_shut(struct sending_source *src)
{
	atomic_store(&src->shut, true);
}

void source_free(struct sending_source *src)
{
	assert_int_equal(atomic_load(&src->wrong), 0);
	free(src->bytes);
}

struct sending *sending_open(struct backend *b, const char *record, const struct digest *d, uint64_t total,
			     uint64_t have, struct sending_source *src)
{
	struct stage_hint hint = { .total = total };
	struct sending *s = NULL;
	struct stow_err err;

	if (d != NULL)
		hint.digest = *d;
	atomic_store(&src->have, have);
	expect_ok(b->ops->behind->send_open(b, record, &hint, have, read_source, src, &s, &err), &err);
	assert_ptr_equal(s->backend, b);
	return s;
}

void sending_advance(struct sending *s, struct sending_source *src, size_t to)
{
	for (size_t have = atomic_load(&src->have); have < to;) {
		have = to - have < 1 << 20 ? to : have + (1 << 20);
		atomic_store(&src->have, have);
		s->backend->ops->behind->send_advance(s, have);
	}
}

void sending_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags)
{
	struct stow_err err;

	expect_ok(s->backend->ops->behind->send_finish(s, d, size, flags, &err), &err);
}

void sending_close(struct sending *s, bool forget)
{
	s->backend->ops->behind->send_close(s, forget);
}

static int count_record(void *arg, const char *name, struct stow_err *err UNUSED)
{
	assert_true(sending_record_ok(name));
	++*(size_t *)arg;
	return 0;
}

size_t sending_records(struct backend *b)
{
	struct stow_err err;
	size_t n = 0;

	expect_ok(b->ops->behind->send_scan(b, count_record, &n, &err), &err);
	return n;
}
