#include "content/base/mem.h"
#include "tests/suite/suite.h"

/* Of several parts, for a backend that sends them one by one. */
enum { HINTED_SIZE = 17 << 20, HINTED_HALF = 9 << 20 };

static struct stage *create_hinted(struct backend *b, const struct stage_name *name,
				   const struct digest *digest, uint64_t total)
{
	struct stage_hint hint = { .total = total };
	struct stow_err err;
	struct stage *st;

	if (digest != NULL)
		hint.digest = *digest;
	expect_ok(backend_stage_create(b, name->s, &hint, &st, &err), &err);
	return st;
}

static void write_range(struct stage *st, const uint8_t *all, size_t from, size_t to)
{
	struct stow_err err;

	for (size_t at = from; at < to; at += 1 << 20) {
		size_t n = to - at < 1 << 20 ? to - at : 1 << 20;

		expect_ok(write_bytes(st, all + at, n, at, &err), &err);
	}
	expect_ok(stage_sync(st, &err), &err);
}

static void check_hint(struct backend *b, const struct digest *digest, uint64_t total)
{
	CLEANUP(freep) uint8_t *all = x_malloc(HINTED_SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stage_name name = new_name();
	struct stage *st = create_hinted(b, &name, digest, total);
	struct stow_err err;

	fill(all, HINTED_SIZE, 1);
	write_range(st, all, 0, HINTED_SIZE);
	check_no_blob(b, &d);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, HINTED_SIZE, 1);
	assert_int_equal(count_blobs(b), 1);
	assert_int_equal(count_stages(b), 0);
}

static void hint_may_be_right(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);

	check_hint(b, &d, HINTED_SIZE);
}

static void hint_may_lack_the_digest(struct backend *b)
{
	check_hint(b, NULL, HINTED_SIZE);
}

static void hint_may_have_another_digest(struct backend *b)
{
	struct digest other = blob_digest(DIGEST_SHA256, HINTED_SIZE, 2);

	check_hint(b, &other, HINTED_SIZE);
	check_no_blob(b, &other);
}

static void hint_may_have_another_total(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);

	check_hint(b, &d, HINTED_HALF);
}

/* The second half of a stage, resumed with a hint of its own. */
static void check_resume(struct backend *b, const struct stage_name *name, const struct stage_hint *hint)
{
	CLEANUP(freep) uint8_t *all = x_malloc(HINTED_SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stow_err err;
	struct stage *st;

	fill(all, HINTED_SIZE, 1);
	expect_ok(backend_stage_resume(b, name->s, HINTED_HALF, hint, &st, &err), &err);
	write_range(st, all, HINTED_HALF, HINTED_SIZE);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, HINTED_SIZE, 1);
	assert_int_equal(count_stages(b), 0);
}

/* A kept stage whose bytes from `good` on are not those of the blob. */
static struct stage_name keep_hinted(struct backend *b, size_t good)
{
	CLEANUP(freep) uint8_t *all = x_malloc(HINTED_SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stage_name name = new_name();
	struct stage *st = create_hinted(b, &name, &d, HINTED_SIZE);

	fill(all, good, 1);
	fill(all + good, HINTED_SIZE - good, 2);
	write_range(st, all, 0, HINTED_SIZE);
	stage_close(st);
	return name;
}

static void hinted_stage_can_be_resumed(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stage_name name = keep_hinted(b, HINTED_HALF);

	check_resume(b, &name, &(struct stage_hint){ .digest = d, .total = HINTED_SIZE });
}

static void hinted_stage_can_be_resumed_with_another_hint(struct backend *b)
{
	struct digest other = blob_digest(DIGEST_SHA256, HINTED_SIZE, 2);
	struct stage_name name = keep_hinted(b, HINTED_HALF);

	check_resume(b, &name, &(struct stage_hint){ .digest = other });
}

static void hinted_stage_can_be_resumed_without_hint(struct backend *b)
{
	struct stage_name name = keep_hinted(b, HINTED_HALF);

	check_resume(b, &name, NULL);
}

static void hinted_stage_can_be_cut(struct backend *b)
{
	CLEANUP(freep) uint8_t *all = x_malloc(HINTED_SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stage_name name = keep_hinted(b, 3);
	struct stage_hint hint = { .digest = d, .total = HINTED_SIZE };
	struct stow_err err;
	struct stage *st;

	fill(all, HINTED_SIZE, 1);
	expect_ok(backend_stage_resume(b, name.s, HINTED_SIZE, &hint, &st, &err), &err);
	expect_ok(stage_truncate(st, 3, &err), &err);
	write_range(st, all, 3, HINTED_SIZE);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, HINTED_SIZE, 1);
}

static void hinted_stage_can_be_discarded(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, HINTED_SIZE, 1);
	struct stage_name name = keep_hinted(b, HINTED_SIZE);
	struct stow_err err;

	expect_ok(backend_stage_discard(b, name.s, &err), &err);
	assert_int_equal(count_stages(b), 0);
	check_no_blob(b, &d);
}

const struct suite_case suite_hints[] = {
	{ "hint_may_be_right", hint_may_be_right },
	{ "hint_may_lack_the_digest", hint_may_lack_the_digest },
	{ "hint_may_have_another_digest", hint_may_have_another_digest },
	{ "hint_may_have_another_total", hint_may_have_another_total },
	{ "hinted_stage_can_be_resumed", hinted_stage_can_be_resumed },
	{ "hinted_stage_can_be_resumed_with_another_hint", hinted_stage_can_be_resumed_with_another_hint },
	{ "hinted_stage_can_be_resumed_without_hint", hinted_stage_can_be_resumed_without_hint },
	{ "hinted_stage_can_be_cut", hinted_stage_can_be_cut },
	{ "hinted_stage_can_be_discarded", hinted_stage_can_be_discarded },
	{ NULL, NULL },
};
