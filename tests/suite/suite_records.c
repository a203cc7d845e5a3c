/* Each promise of content/behind.h on the records of sendings: left, taken up, moved, forgotten. */
#include "content/base/mem.h"
#include "content/behind.h"
#include "tests/suite/sending_env.h"
#include "tests/suite/suite.h"

#include <stdio.h>

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

/* --- records --- */

static void a_record_has_one_sending(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_hint hint = { .digest = d, .total = SENT_SIZE };
	struct sending *s, *other = NULL;
	struct record r = record_of(&d);
	struct sending_source src;
	struct stow_err err;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, r.s, &d, SENT_SIZE, 0, &src);
	expect_fail(b->ops->behind->send_open(b, r.s, &hint, 0, read_source, &src, &other, &err), &err,
		    STOW_ALREADY_EXISTS);
	assert_null(other);
	expect_fail(b->ops->behind->send_discard(b, r.s, &err), &err, STOW_ALREADY_EXISTS);
	sending_close(s, false);
	s = sending_open(b, r.s, &d, SENT_SIZE, 0, &src);
	sending_close(s, true);
	source_shut(&src);
	source_free(&src);
}

static void a_sending_is_taken_up_again(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct sending_source first, second;
	struct sending *s;

	source_make(&first, SENT_SIZE, 1);
	source_make(&second, SENT_SIZE, 1);
	s = sending_open(b, name.s, &d, SENT_SIZE, 0, &first);
	sending_advance(s, &first, SENT_PART);
	sending_close(s, false);
	source_shut(&first);
	s = sending_open(b, name.s, &d, SENT_SIZE, SENT_PART, &second);
	sending_advance(s, &second, SENT_SIZE);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&second);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(sending_records(b), 0);
	source_free(&first);
	source_free(&second);
}

/* As after a crash that took what was not durable. */
static void what_was_sent_beyond_the_source_is_void(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct sending_source first, second;
	struct sending *s;

	source_make(&first, SENT_SIZE, 2);
	source_make(&second, SENT_SIZE, 1);
	fill(first.bytes, 3 << 20, 1);
	s = sending_open(b, name.s, &d, SENT_SIZE, 0, &first);
	sending_advance(s, &first, SENT_PART);
	sending_close(s, false);
	source_shut(&first);
	s = sending_open(b, name.s, &d, SENT_SIZE, 3 << 20, &second);
	sending_advance(s, &second, SENT_SIZE);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
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
	struct sending_source src;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, r.s, &d, SENT_SIZE, SENT_SIZE, &src);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&src);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&src);
}

/* A sending of which there may be a record: it is closed, after all that was sent has been acknowledged or
 * cancelled. */
static void leave_record(struct backend *b, const char *record, const struct digest *d)
{
	struct sending *s;
	struct sending_source src;

	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, record, d, SENT_SIZE, 0, &src);
	sending_advance(s, &src, SENT_PART);
	sending_close(s, false);
	source_shut(&src);
	source_free(&src);
}

static void what_is_forgotten_has_no_record(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SENT_SIZE, 1);
	struct stage_name name = new_name();
	struct sending *s;
	struct sending_source src;
	struct stow_err err;

	leave_record(b, name.s, &d);
	source_make(&src, SENT_SIZE, 1);
	s = sending_open(b, name.s, &d, SENT_SIZE, SENT_PART, &src);
	sending_advance(s, &src, SENT_SIZE);
	sending_close(s, true);
	source_shut(&src);
	assert_int_equal(sending_records(b), 0);
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
		assert_int_equal(sending_records(b), 0);
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
	assert_true(sending_records(b) <= 2);
	if (sending_records(b) == 0)
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
	struct sending_source from, to;
	struct sending *s, *again;
	struct stow_err err;

	source_make(&from, SENT_SIZE, 1);
	source_make(&to, SENT_SIZE, 1);
	atomic_store(&to.have, SENT_SIZE);
	if (kept)
		leave_record(b, r.s, &d);
	s = sending_open(b, name.s, hint, SENT_SIZE, 0, &from);
	sending_advance(s, &from, SENT_SIZE);
	expect_ok(b->ops->behind->send_move(s, r.s, read_source, &to, &err), &err);
	source_shut(&from);
	assert_true(sending_records(b) <= 1);
	/* The old name is free. */
	again = sending_open(b, name.s, hint, SENT_SIZE, 0, &from);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	source_shut(&to);
	sending_close(again, true);
	check_blob(b, &d, SENT_SIZE, 1);
	assert_int_equal(sending_records(b), 0);
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
	struct sending_source from, to, other;
	struct sending *s, *holder;
	struct stow_err err;

	source_make(&from, SENT_SIZE, 1);
	source_make(&to, 1, 1);
	source_make(&other, 1, 1);
	source_shut(&to);
	holder = sending_open(b, r.s, &d, SENT_SIZE, 0, &other);
	s = sending_open(b, new_name().s, &d, SENT_SIZE, 0, &from);
	sending_advance(s, &from, SENT_SIZE);
	expect_fail(b->ops->behind->send_move(s, r.s, read_source, &to, &err), &err, STOW_ALREADY_EXISTS);
	sending_finish(s, &d, SENT_SIZE, 0);
	sending_close(s, false);
	sending_close(holder, true);
	check_blob(b, &d, SENT_SIZE, 1);
	source_free(&from);
	source_free(&to);
	source_free(&other);
}

#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f                                                                                        \
	}
const struct suite_case suite_records[] = {
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
	{ 0 },
};
