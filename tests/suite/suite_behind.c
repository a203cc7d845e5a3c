/* Each promise of content/behind.h on looks, and on sendings that come to their end. suite_records.c has
 * those that are left and taken up again, suite_notes.c the notes. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/sending_env.h"
#include "tests/suite/suite.h"

/* --- looks --- */

static void look_tells_what_is_there(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 1);
	struct blob_stat st = { .size = 42 };
	struct stow_err err;

	expect_fail(b->ops->behind->look(b, &d, &st, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(st.size, 42);
	put_blob(b, &d, 1000, 1);
	expect_ok(b->ops->behind->look(b, &d, &st, &err), &err);
	assert_int_equal(st.size, 1000);
}

/* By the storage's clock, which is not far from ours. */
static void a_blob_tells_when_it_was_made(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 1);
	struct blob_stat st;
	struct stow_err err;

	put_blob(b, &d, 1000, 1);
	expect_ok(b->ops->behind->look(b, &d, &st, &err), &err);
	assert_true(llabs(st.modified_ns - clock_wall_ns()) < 300 * NSEC_PER_SEC);
	st = (struct blob_stat){ 0 };
	expect_ok(backend_stat(b, &d, &st, &err), &err);
	assert_true(llabs(st.modified_ns - clock_wall_ns()) < 300 * NSEC_PER_SEC);
}

static void a_probe_is_answered(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 1000, 1);
	struct stow_err err;

	expect_ok(b->ops->behind->probe(b, &err), &err);
	assert_int_equal(count_blobs(b), 0);
	put_blob(b, &d, 1000, 1);
	expect_ok(b->ops->behind->probe(b, &err), &err);
	assert_int_equal(count_blobs(b), 1);
}

/* --- sending --- */

/* `n` bytes of fill(seed) become the blob `d`, with no hint and all at once. */
static void send_bytes(struct backend *b, const struct digest *d, size_t n, unsigned seed, unsigned flags)
{
	struct sending *s;
	struct sending_source src;

	source_make(&src, n, seed);
	s = sending_open(b, new_name().s, NULL, 0, 0, &src);
	sending_advance(s, &src, n);
	sending_finish(s, d, n, flags);
	sending_close(s, false);
	source_shut(&src);
	source_free(&src);
}

static void sent_bytes_are_a_blob_at_the_end(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct sending_source src;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, new_name().s, &d, SENT_SIZE, 0, &src);
	sending_advance(s, &src, SENT_SIZE);
	check_no_blob(b, &d);
	sending_finish(s, &d, SENT_SIZE, 0);
	check_blob(b, &d, SENT_SIZE, 1);
	sending_close(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(count_blobs(b), 1);
	assert_int_equal(sending_records(b), 0);
	source_free(&src);
}

static void sending_may_have_no_hint(struct backend *b)
{
	struct digest large = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct digest small = blob_digest(DIGEST_SHA512, SMALL_SIZE, 2);
	struct digest empty = blob_digest(DIGEST_SHA256, 0, 3);

	send_bytes(b, &large, SENT_SIZE, 1, 0);
	send_bytes(b, &small, SMALL_SIZE, 2, 0);
	send_bytes(b, &empty, 0, 3, 0);
	check_blob(b, &large, SENT_SIZE, 1);
	check_blob(b, &small, SMALL_SIZE, 2);
	check_blob(b, &empty, 0, 3);
	assert_int_equal(sending_records(b), 0);
}

static void the_hint_may_be_wrong(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1), other = some_digest(DIGEST_SHA256, 2);
	struct sending *s;
	struct sending_source src;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, new_name().s, &other, 2 * SENT_SIZE, 0, &src);
	sending_advance(s, &src, SENT_SIZE);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	check_no_blob(b, &other);
	assert_int_equal(sending_records(b), 0);
	source_free(&src);
}

static void a_source_may_be_cut_after_a_rewind(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct sending_source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 2);
	s = sending_open(b, new_name().s, &d, SENT_SIZE, 0, &src);
	sending_advance(s, &src, SENT_PART);
	expect_ok(b->ops->behind->send_rewind(s, &err), &err);
	atomic_store(&src.have, 0);
	fill(src.bytes, SENT_SIZE, 1);
	sending_advance(s, &src, SENT_SIZE);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&src);
}

static void a_failed_finish_can_be_repeated(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct sending_source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, new_name().s, NULL, 0, 0, &src);
	sending_advance(s, &src, SENT_SIZE);
	atomic_store(&src.broken, true);
	assert_int_equal(b->ops->behind->send_finish(s, &d, SENT_SIZE, 0, &err), -1);
	check_no_blob(b, &d);
	atomic_store(&src.broken, false);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&src);
}

/* --- what is there already --- */

static void what_is_there_counts(struct backend *b)
{
	static const size_t sizes[] = { SMALL_SIZE, SENT_SIZE };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct digest d = blob_digest(DIGEST_SHA256, sizes[i], 1);

		put_blob(b, &d, sizes[i], 1);
		send_bytes(b, &d, sizes[i], 1, 0);
		check_blob(b, &d, sizes[i], 1);
		assert_int_equal(sending_records(b), 0);
	}
}

/* SHA-512: a storage may be told a SHA-256 with the bytes, and refuse others. */
static void what_is_known_to_be_wrong_is_replaced(struct backend *b)
{
	static const size_t sizes[] = { SMALL_SIZE, SENT_SIZE };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct digest d = blob_digest(DIGEST_SHA512, sizes[i], 1);

		put_blob(b, &d, sizes[i], 2);
		send_bytes(b, &d, sizes[i], 1, SENDING_REPLACE);
		check_blob(b, &d, sizes[i], 1);
	}
}

static void what_has_another_size_is_replaced(struct backend *b)
{
	static const size_t sizes[] = { SMALL_SIZE, SENT_SIZE };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct digest d = blob_digest(DIGEST_SHA512, sizes[i], 1);

		put_blob(b, &d, sizes[i] - 1, 1);
		send_bytes(b, &d, sizes[i], 1, 0);
		check_blob(b, &d, sizes[i], 1);
	}
}

/* --- threads --- */

struct senders {
	struct backend *b;
	struct stage_name names[8];
	bool same; /* all send one blob */
	struct digest d[8];
};

static void send_on_a_thread(void *arg, int i)
{
	const struct senders *all = arg;
	const struct behind_ops *ops = all->b->ops->behind;
	struct stage_hint hint = { .digest = all->d[i], .total = SENT_SIZE };
	struct sending_source src = { .bytes = x_malloc(SENT_SIZE) };
	struct sending *s;
	struct stow_err err;
	bool open;

	fill(src.bytes, SENT_SIZE, all->same ? 0 : (unsigned)i);
	open = ops->send_open(all->b, all->names[i].s, &hint, 0, read_source, &src, &s, &err) == 0;

	thread_check(open);
	if (open) {
		sending_advance(s, &src, SENT_SIZE);
		thread_check(ops->send_finish(s, &all->d[i], SENT_SIZE, 0, &err) == 0);
		ops->send_close(s, false);
	}
	thread_check(atomic_load(&src.wrong) == 0);
	free(src.bytes);
}

static void check_senders(struct backend *b, int n, bool same)
{
	struct senders all = { .b = b, .same = same };

	for (int i = 0; i < n; i++) {
		all.names[i] = new_name();
		all.d[i] = blob_digest(DIGEST_SHA256, SENT_SIZE, same ? 0 : (unsigned)i);
	}
	run_threads(n, send_on_a_thread, &all);
	for (int i = 0; i < n; i++)
		check_blob(b, &all.d[i], SENT_SIZE, same ? 0 : (unsigned)i);
	assert_int_equal(count_blobs(b), same ? 1 : n);
	assert_int_equal(sending_records(b), 0);
}

static void threads_send_at_once(struct backend *b)
{
	check_senders(b, 4, false);
}

static void threads_send_the_same_at_once(struct backend *b)
{
	check_senders(b, 4, true);
}

static void a_drop_has_its_time(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 10, 1), other = blob_digest(DIGEST_SHA256, 10, 2);
	int64_t soon = clock_mono_ns() + 60 * NSEC_PER_SEC;
	struct stow_err err;

	put_blob(b, &d, 10, 1);
	put_blob(b, &other, 10, 2);
	expect_ok(b->ops->behind->drop(b, &d, soon, &err), &err);
	check_no_blob(b, &d);
	expect_fail(b->ops->behind->drop(b, &d, soon, &err), &err, STOW_NOT_FOUND);
	/* Too late: it may have been done all the same. */
	put_blob(b, &d, 10, 1);
	if (b->ops->behind->drop(b, &d, 0, &err) < 0)
		expect_fail(-1, &err, STOW_UNAVAILABLE);
	else
		check_no_blob(b, &d);
	check_blob(b, &other, 10, 2);
}

#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f                                                                                        \
	}
const struct suite_case suite_behind[] = {
	CASE(look_tells_what_is_there),
	CASE(a_probe_is_answered),
	CASE(a_blob_tells_when_it_was_made),
	CASE(a_drop_has_its_time),
	CASE(sent_bytes_are_a_blob_at_the_end),
	CASE(sending_may_have_no_hint),
	CASE(the_hint_may_be_wrong),
	CASE(a_source_may_be_cut_after_a_rewind),
	CASE(a_failed_finish_can_be_repeated),
	CASE(what_is_there_counts),
	CASE(what_is_known_to_be_wrong_is_replaced),
	CASE(what_has_another_size_is_replaced),
	CASE(threads_send_at_once),
	CASE(threads_send_the_same_at_once),
	{ 0 },
};
