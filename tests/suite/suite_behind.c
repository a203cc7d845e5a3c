/* Each promise of content/behind.h: looks and sendings. suite_notes.c has the notes. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/suite.h"

#include <stdio.h>

/* Of several parts, for a backend that sends them one by one. */
enum { SENT_SIZE = 17 << 20, SENT_PART = 11 << 20, SMALL_SIZE = 100 * 1000 };

/* Where a sending reads; nothing but what it has told of may be read, and nothing where it is shut. */
struct source {
	uint8_t *bytes;
	_Atomic size_t have;
	atomic_bool shut;
	atomic_bool broken;
	atomic_uint wrong; /* reads that must not have been */
};

static int read_source(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	struct source *src = arg;

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

static void source_make(struct source *src, size_t n, unsigned seed)
{
	*src = (struct source){ .bytes = x_malloc(n) };
	fill(src->bytes, n, seed);
}

/* No read comes after this. */
static void source_shut(struct source *src)
{
	atomic_store(&src->shut, true);
}

static void source_free(struct source *src)
{
	assert_int_equal(atomic_load(&src->wrong), 0);
	free(src->bytes);
}

struct record {
	char s[SENDING_RECORD_MAX];
};

static struct record record_of(const struct digest *d)
{
	struct record r;
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	(void)snprintf(r.s, sizeof(r.s), "%s-%s", digest_alg_name((enum digest_alg)d->alg), hex);
	return r;
}

static struct sending *open_sending(struct backend *b, const char *record, const struct digest *d,
				    uint64_t total, uint64_t have, struct source *src)
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

static void advance(struct sending *s, struct source *src, size_t to)
{
	for (size_t have = atomic_load(&src->have); have < to;) {
		have = to - have < 1 << 20 ? to : have + (1 << 20);
		atomic_store(&src->have, have);
		s->backend->ops->behind->send_advance(s, have);
	}
}

static void finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags)
{
	struct stow_err err;

	expect_ok(s->backend->ops->behind->send_finish(s, d, size, flags, &err), &err);
}

static void close_sending(struct sending *s, bool forget)
{
	s->backend->ops->behind->send_close(s, forget);
}

static int count_record(void *arg, const char *name, struct stow_err *err UNUSED)
{
	assert_true(sending_record_ok(name));
	++*(size_t *)arg;
	return 0;
}

static size_t count_records(struct backend *b)
{
	struct stow_err err;
	size_t n = 0;

	expect_ok(b->ops->behind->send_scan(b, count_record, &n, &err), &err);
	return n;
}

/* `n` bytes of fill(seed) become the blob `d`, with no hint and all at once. */
static void send_bytes(struct backend *b, const struct digest *d, size_t n, unsigned seed, unsigned flags)
{
	struct sending *s;
	struct source src;

	source_make(&src, n, seed);
	s = open_sending(b, new_name().s, NULL, 0, 0, &src);
	advance(s, &src, n);
	finish(s, d, n, flags);
	close_sending(s, false);
	source_shut(&src);
	source_free(&src);
}

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

static void sent_bytes_are_a_blob_at_the_end(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct source src;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, new_name().s, &d, SENT_SIZE, 0, &src);
	advance(s, &src, SENT_SIZE);
	check_no_blob(b, &d);
	finish(s, &d, SENT_SIZE, 0);
	check_blob(b, &d, SENT_SIZE, 1);
	close_sending(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(count_blobs(b), 1);
	assert_int_equal(count_records(b), 0);
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
	assert_int_equal(count_records(b), 0);
}

static void the_hint_may_be_wrong(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1), other = some_digest(DIGEST_SHA256, 2);
	struct sending *s;
	struct source src;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, new_name().s, &other, 2 * SENT_SIZE, 0, &src);
	advance(s, &src, SENT_SIZE);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	check_no_blob(b, &other);
	assert_int_equal(count_records(b), 0);
	source_free(&src);
}

static void a_source_may_be_cut_after_a_rewind(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 2);
	s = open_sending(b, new_name().s, &d, SENT_SIZE, 0, &src);
	advance(s, &src, SENT_PART);
	expect_ok(b->ops->behind->send_rewind(s, &err), &err);
	atomic_store(&src.have, 0);
	fill(src.bytes, SENT_SIZE, 1);
	advance(s, &src, SENT_SIZE);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&src);
}

static void a_failed_finish_can_be_repeated(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct sending *s;
	struct source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, new_name().s, NULL, 0, 0, &src);
	advance(s, &src, SENT_SIZE);
	atomic_store(&src.broken, true);
	assert_int_equal(b->ops->behind->send_finish(s, &d, SENT_SIZE, 0, &err), -1);
	check_no_blob(b, &d);
	atomic_store(&src.broken, false);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
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
		assert_int_equal(count_records(b), 0);
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

/* --- records --- */

static void a_record_has_one_sending(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_hint hint = { .digest = d, .total = SENT_SIZE };
	struct sending *s, *other = NULL;
	struct record r = record_of(&d);
	struct source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, r.s, &d, SENT_SIZE, 0, &src);
	expect_fail(b->ops->behind->send_open(b, r.s, &hint, 0, read_source, &src, &other, &err), &err,
		    STOW_ALREADY_EXISTS);
	assert_null(other);
	expect_fail(b->ops->behind->send_discard(b, r.s, &err), &err, STOW_ALREADY_EXISTS);
	close_sending(s, false);
	s = open_sending(b, r.s, &d, SENT_SIZE, 0, &src);
	close_sending(s, true);
	source_shut(&src);
	source_free(&src);
}

static void a_sending_is_taken_up_again(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct source first, second;
	struct sending *s;

	source_make(&first, SENT_SIZE, 1);
	source_make(&second, SENT_SIZE, 1);
	s = open_sending(b, name.s, &d, SENT_SIZE, 0, &first);
	advance(s, &first, SENT_PART);
	close_sending(s, false);
	source_shut(&first);
	s = open_sending(b, name.s, &d, SENT_SIZE, SENT_PART, &second);
	advance(s, &second, SENT_SIZE);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&second);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(count_records(b), 0);
	source_free(&first);
	source_free(&second);
}

/* As after a crash that took what was not durable. */
static void what_was_sent_beyond_the_source_is_void(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct source first, second;
	struct sending *s;

	source_make(&first, SENT_SIZE, 2);
	source_make(&second, SENT_SIZE, 1);
	fill(first.bytes, 3 << 20, 1);
	s = open_sending(b, name.s, &d, SENT_SIZE, 0, &first);
	advance(s, &first, SENT_PART);
	close_sending(s, false);
	source_shut(&first);
	s = open_sending(b, name.s, &d, SENT_SIZE, 3 << 20, &second);
	advance(s, &second, SENT_SIZE);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&second);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&first);
	source_free(&second);
}

static void no_record_means_that_nothing_was_sent(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct record r = record_of(&d);
	struct sending *s;
	struct source src;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, r.s, &d, SENT_SIZE, SENT_SIZE, &src);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&src);
}

/* A sending of which there may be a record: it is closed, after all that was sent has been acknowledged or
 * cancelled. */
static void leave_record(struct backend *b, const char *record, const struct digest *d)
{
	struct sending *s;
	struct source src;

	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, record, d, SENT_SIZE, 0, &src);
	advance(s, &src, SENT_PART);
	close_sending(s, false);
	source_shut(&src);
	source_free(&src);
}

static void what_is_forgotten_has_no_record(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct sending *s;
	struct source src;
	struct stow_err err;

	leave_record(b, name.s, &d);
	source_make(&src, SENT_SIZE, 1);
	s = open_sending(b, name.s, &d, SENT_SIZE, SENT_PART, &src);
	advance(s, &src, SENT_SIZE);
	close_sending(s, true);
	source_shut(&src);
	assert_int_equal(count_records(b), 0);
	expect_fail(b->ops->behind->send_discard(b, name.s, &err), &err, STOW_NOT_FOUND);
	check_no_blob(b, &d);
	source_free(&src);
}

static void a_record_can_be_discarded(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct record names[2] = { record_of(&d) };
	struct stow_err err;

	(void)snprintf(names[1].s, sizeof(names[1].s), "%s", new_name().s);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r;

		leave_record(b, names[i].s, &d);
		r = b->ops->behind->send_discard(b, names[i].s, &err);
		/* Where nothing had been sent yet, there is none. */
		if (r < 0)
			expect_fail(r, &err, STOW_NOT_FOUND);
		assert_int_equal(count_records(b), 0);
		expect_fail(b->ops->behind->send_discard(b, names[i].s, &err), &err, STOW_NOT_FOUND);
	}
}

static int refuse(void *arg, const char *name UNUSED, struct stow_err *err)
{
	++*(int *)arg;
	return stow_fail(err, STOW_ABORTED, "enough");
}

static void records_are_visited(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stow_err err;
	int n = 0;

	leave_record(b, new_name().s, &d);
	leave_record(b, record_of(&d).s, &d);
	assert_true(count_records(b) <= 2);
	if (count_records(b) == 0)
		return;
	expect_fail(b->ops->behind->send_scan(b, refuse, &n, &err), &err, STOW_ABORTED);
	assert_int_equal(n, 1);
}

/* --- moving --- */

static void check_move(struct backend *b, const struct digest *hint, bool kept)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct record r = record_of(&d);
	struct source from, to;
	struct sending *s, *again;
	struct stow_err err;

	source_make(&from, SENT_SIZE, 1);
	source_make(&to, SENT_SIZE, 1);
	atomic_store(&to.have, SENT_SIZE);
	if (kept)
		leave_record(b, r.s, &d);
	s = open_sending(b, name.s, hint, SENT_SIZE, 0, &from);
	advance(s, &from, SENT_SIZE);
	expect_ok(b->ops->behind->send_move(s, r.s, read_source, &to, &err), &err);
	source_shut(&from);
	assert_true(count_records(b) <= 1);
	/* The old name is free. */
	again = open_sending(b, name.s, hint, SENT_SIZE, 0, &from);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	source_shut(&to);
	close_sending(again, true);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(count_records(b), 0);
	source_free(&from);
	source_free(&to);
}

static void a_sending_can_move(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);

	check_move(b, &d, false);
}

static void a_sending_without_hint_can_move(struct backend *b)
{
	check_move(b, NULL, false);
}

static void a_move_takes_the_place_of_what_was_kept(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);

	check_move(b, &d, true);
}

static void a_move_onto_an_open_record_fails(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct record r = record_of(&d);
	struct source from, to, other;
	struct sending *s, *holder;
	struct stow_err err;

	source_make(&from, SENT_SIZE, 1);
	source_make(&to, 1, 1);
	source_make(&other, 1, 1);
	source_shut(&to);
	holder = open_sending(b, r.s, &d, SENT_SIZE, 0, &other);
	s = open_sending(b, new_name().s, &d, SENT_SIZE, 0, &from);
	advance(s, &from, SENT_SIZE);
	expect_fail(b->ops->behind->send_move(s, r.s, read_source, &to, &err), &err, STOW_ALREADY_EXISTS);
	finish(s, &d, SENT_SIZE, 0);
	close_sending(s, false);
	close_sending(holder, true);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&from);
	source_free(&to);
	source_free(&other);
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
	struct source src = { .bytes = x_malloc(SENT_SIZE) };
	struct sending *s;
	struct stow_err err;
	bool open;

	fill(src.bytes, SENT_SIZE, all->same ? 0 : (unsigned)i);
	open = ops->send_open(all->b, all->names[i].s, &hint, 0, read_source, &src, &s, &err) == 0;

	thread_check(open);
	if (open) {
		advance(s, &src, SENT_SIZE);
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
	assert_int_equal(count_records(b), 0);
}

static void threads_send_at_once(struct backend *b)
{
	check_senders(b, 4, false);
}

static void threads_send_the_same_at_once(struct backend *b)
{
	check_senders(b, 4, true);
}

#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f                                                                                        \
	}
const struct suite_case suite_behind[] = {
	CASE(look_tells_what_is_there),
	CASE(a_probe_is_answered),
	CASE(a_blob_tells_when_it_was_made),
	CASE(sent_bytes_are_a_blob_at_the_end),
	CASE(sending_may_have_no_hint),
	CASE(the_hint_may_be_wrong),
	CASE(a_source_may_be_cut_after_a_rewind),
	CASE(a_failed_finish_can_be_repeated),
	CASE(what_is_there_counts),
	CASE(what_is_known_to_be_wrong_is_replaced),
	CASE(what_has_another_size_is_replaced),
	CASE(a_record_has_one_sending),
	CASE(a_sending_is_taken_up_again),
	CASE(what_was_sent_beyond_the_source_is_void),
	CASE(no_record_means_that_nothing_was_sent),
	CASE(what_is_forgotten_has_no_record),
	CASE(a_record_can_be_discarded),
	CASE(records_are_visited),
	CASE(a_sending_can_move),
	CASE(a_sending_without_hint_can_move),
	CASE(a_move_takes_the_place_of_what_was_kept),
	CASE(a_move_onto_an_open_record_fails),
	CASE(threads_send_at_once),
	CASE(threads_send_the_same_at_once),
	{ 0 },
};
