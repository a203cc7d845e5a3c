/* The texts that a fleet exchanges, and the sets of what they say. */
#include "backends/tiered/notes.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <inttypes.h>
#include <stdio.h>

static struct buf text_of(const char *s)
{
	struct stow_err err;
	struct buf b;

	buf_init(&b, NOTE_LIMIT);
	expect_ok(buf_append(&b, s, strlen(s), &err), &err);
	return b;
}

/* --- sets --- */

static void a_set_has_what_was_added(void **state UNUSED)
{
	CLEANUP(keyset_free) struct keyset s = { 0 };
	enum { N = 5000 };

	assert_false(keyset_has(&s, 0));
	assert_false(keyset_has(&s, 1));
	for (uint64_t i = 0; i < N; i++) {
		keyset_add(&s, i << 40);
		keyset_add(&s, i << 40);
	}
	assert_int_equal(keyset_count(&s), N);
	for (uint64_t i = 0; i < N; i++) {
		assert_true(keyset_has(&s, i << 40));
		assert_false(keyset_has(&s, (i << 40) + 1));
	}
}

static void a_set_shows_each_once(void **state UNUSED)
{
	CLEANUP(keyset_free) struct keyset s = { 0 };
	uint64_t key, sum = 0;
	size_t at = 0, n = 0;

	assert_false(keyset_next(&s, &at, &key));
	for (uint64_t i = 0; i < 100; i++)
		keyset_add(&s, i);
	for (at = 0; keyset_next(&s, &at, &key); n++)
		sum += key;
	assert_int_equal(n, 100);
	assert_int_equal(sum, 4950);
	assert_false(keyset_next(&s, &at, &key));
	keyset_free(&s);
	keyset_add(&s, 0);
	at = 0;
	assert_true(keyset_next(&s, &at, &key));
	assert_int_equal(key, 0);
	assert_false(keyset_next(&s, &at, &key));
}

static void a_set_takes_what_another_has(void **state UNUSED)
{
	CLEANUP(keyset_free) struct keyset s = { 0 }, from = { 0 }, but = { 0 };

	keyset_add(&s, 1);
	keyset_add(&from, 0);
	keyset_add(&from, 2);
	keyset_add(&from, 3);
	keyset_add(&but, 3);
	keyset_add_all(&s, &from, &but);
	assert_int_equal(keyset_count(&s), 3);
	assert_false(keyset_has(&s, 3));
	keyset_add_all(&s, &from, NULL);
	assert_int_equal(keyset_count(&s), 4);
}

/* Whatever the order, the others are found still. */
static void a_set_lets_go_of_what_it_had(void **state UNUSED)
{
	CLEANUP(keyset_free) struct keyset s = { 0 };
	enum { N = 3000 };

	keyset_remove(&s, 0);
	keyset_remove(&s, 1);
	for (uint64_t i = 0; i < N; i++)
		keyset_add(&s, i);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t key = i * 7 % N;

		keyset_remove(&s, key);
		assert_false(keyset_has(&s, key));
		assert_int_equal(keyset_count(&s), N - i - 1);
		for (uint64_t j = i + 1; j < N; j += 97)
			assert_true(keyset_has(&s, j * 7 % N));
	}
}

static void a_key_is_how_the_digest_begins(void **state UNUSED)
{
	struct digest d = { .alg = DIGEST_SHA256,
			    .len = 32,
			    .b = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1 } };

	assert_true(keyset_key(&d) == UINT64_C(0x0123456789abcdef));
}

/* --- what a node holds --- */

static void collect(void *arg, uint64_t key)
{
	keyset_add(arg, key);
}

#define NODE                                                                                                 \
	"stowage-holdings 1\nhost worker-7\ntime 5\ngrace 6\nstate running\nrun 0123456789abcdef\n"          \
	"0123456789abcdef\nffffffffffffffff\nend 2\n"

static void a_node_reads_as_it_was_written(void **state UNUSED)
{
	struct note_node n = { .host = "worker-7", .time_ns = 5, .grace_ns = 6, .run = "0123456789abcdef" },
			 got;
	CLEANUP(keyset_free) struct keyset keys = { 0 };
	CLEANUP(buf_free) struct buf b = { 0 };
	struct stow_err err;

	buf_init(&b, NOTE_LIMIT);
	expect_ok(note_node_begin(&b, &n, &err), &err);
	expect_ok(note_node_key(&b, UINT64_C(0x0123456789abcdef), &err), &err);
	expect_ok(note_node_key(&b, UINT64_MAX, &err), &err);
	expect_ok(note_node_end(&b, 2, &err), &err);
	assert_int_equal(b.len, strlen(NODE));
	assert_memory_equal(b.p, NODE, b.len);
	expect_ok(note_node_read(&b, &got, collect, &keys, &err), &err);
	assert_string_equal(got.host, "worker-7");
	assert_int_equal(got.time_ns, 5);
	assert_int_equal(got.grace_ns, 6);
	assert_false(got.stopped);
	assert_string_equal(got.run, "0123456789abcdef");
	assert_int_equal(keyset_count(&keys), 2);
	assert_true(keyset_has(&keys, UINT64_C(0x0123456789abcdef)));
}

static void a_stopped_node_without_a_run_does_too(void **state UNUSED)
{
	struct note_node n = { .stopped = true }, got;
	CLEANUP(buf_free) struct buf b = { 0 };
	struct stow_err err;

	buf_init(&b, NOTE_LIMIT);
	expect_ok(note_node_begin(&b, &n, &err), &err);
	expect_ok(note_node_end(&b, 0, &err), &err);
	expect_ok(note_node_read(&b, &got, collect, NULL, &err), &err);
	assert_true(got.stopped);
	assert_string_equal(got.run, "");
}

/* A note that is cut off anywhere must not count as one of a node that holds less. */
static void a_cut_node_is_none(void **state UNUSED)
{
	CLEANUP(keyset_free) struct keyset keys = { 0 };
	CLEANUP(buf_free) struct buf b = text_of(NODE);
	struct note_node got;
	struct stow_err err;

	for (b.len = 0; b.len < strlen(NODE); b.len++)
		expect_fail(note_node_read(&b, &got, collect, &keys, &err), &err, STOW_DATA_LOSS);
	expect_ok(note_node_read(&b, &got, collect, &keys, &err), &err);
}

static void expect_bad_node(const char *s, enum stow_code code)
{
	CLEANUP(keyset_free) struct keyset keys = { 0 };
	CLEANUP(buf_free) struct buf b = text_of(s);
	struct note_node got;
	struct stow_err err;

	expect_fail(note_node_read(&b, &got, collect, &keys, &err), &err, code);
}

static void what_is_no_node_is_refused(void **state UNUSED)
{
	expect_bad_node("stowage-holdings 2\nhost a\n", STOW_FAILED_PRECONDITION);
	expect_bad_node("stowage-holdings 99999999999999999999\n", STOW_DATA_LOSS);
	expect_bad_node("stowage-marks 1\n", STOW_DATA_LOSS);
#define BEGIN "stowage-holdings 1\nhost a\ntime 5\ngrace 6\n"
	expect_bad_node(BEGIN "state asleep\nrun -\nend 0\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun ../x\nend 0\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun 0123456789abcdef0123456789abcdef\nend 0\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun -\n0123\nend 1\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun -\n0123456789abcdeF\nend 1\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun -\n0123456789abcdef0\nend 1\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun -\n0123456789abcdef\nend 2\n", STOW_DATA_LOSS);
	expect_bad_node(BEGIN "state running\nrun -\nend 0\nmore\n", STOW_DATA_LOSS);
	expect_bad_node("stowage-holdings 1\nhost a\ntime -5\ngrace 6\nstate running\nrun -\nend 0\n",
			STOW_DATA_LOSS);
	expect_bad_node("stowage-holdings 1\nhost a\ntime 5\ngrace 9223372036854775808\nstate running\nrun "
			"-\nend 0\n",
			STOW_DATA_LOSS);
}

static void a_long_host_is_cut(void **state UNUSED)
{
	char s[400], host[200];
	CLEANUP(buf_free) struct buf b = { 0 };
	struct note_node got;
	struct stow_err err;

	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	(void)snprintf(s, sizeof(s),
		       "stowage-holdings 1\nhost %s\ntime 5\ngrace 6\nstate running\nrun -\nend 0\n", host);
	b = text_of(s);
	expect_ok(note_node_read(&b, &got, NULL, NULL, &err), &err);
	assert_int_equal(strlen(got.host), NOTE_HOST_MAX - 1);
}

/* --- runs and marks --- */

static void a_run_reads_as_it_was_written(void **state UNUSED)
{
	struct note_run r = { .time_ns = 7 }, got;
	CLEANUP(buf_free) struct buf b = { 0 };
	struct stow_err err;

	buf_init(&b, NOTE_SMALL_LIMIT);
	expect_ok(note_new_run(r.run, &err), &err);
	expect_ok(note_run_write(&b, &r, &err), &err);
	expect_ok(note_run_read(&b, &got, &err), &err);
	assert_string_equal(got.run, r.run);
	assert_int_equal(got.time_ns, 7);
	for (size_t whole = b.len; b.len > 0;) {
		b.len--;
		assert_true(b.len < whole);
		expect_fail(note_run_read(&b, &got, &err), &err, STOW_DATA_LOSS);
	}
}

struct marks_got {
	struct note_mark v[8];
	size_t n;
};

static void take_mark(void *arg, const struct note_mark *m)
{
	struct marks_got *got = arg;

	assert_true(got->n < ARRAY_LEN(got->v));
	got->v[got->n++] = *m;
}

static void marks_read_as_they_were_written(void **state UNUSED)
{
	struct note_run r = { .run = "ab", .time_ns = 7 };
	struct note_mark v[] = {
		{ .digest = some_digest(DIGEST_SHA256, 1), .size = 0 },
		{ .digest = some_digest(DIGEST_SHA512, 2), .size = UINT64_MAX },
	};
	CLEANUP(buf_free) struct buf b = { 0 };
	struct marks_got got = { .n = 0 };
	struct stow_err err;

	buf_init(&b, NOTE_LIMIT);
	expect_ok(note_marks_write(&b, &r, v, ARRAY_LEN(v), &err), &err);
	expect_ok(note_marks_read(&b, "ab", take_mark, &got, &err), &err);
	assert_int_equal(got.n, ARRAY_LEN(v));
	for (size_t i = 0; i < got.n; i++) {
		assert_true(digest_equal(&got.v[i].digest, &v[i].digest));
		assert_true(got.v[i].size == v[i].size);
	}
	got.n = 0;
	expect_fail(note_marks_read(&b, "cd", take_mark, &got, &err), &err, STOW_DATA_LOSS);
	assert_int_equal(got.n, 0);
	while (b.len-- > 0) {
		got.n = 0;
		expect_fail(note_marks_read(&b, "ab", take_mark, &got, &err), &err, STOW_DATA_LOSS);
	}
}

static void what_are_no_marks_is_refused(void **state UNUSED)
{
	static const char *const bad[] = {
		"stowage-marks 1\nrun ab\ntime 7\nsha256:12 5\nend 1\n",
		"stowage-marks 1\nrun ab\ntime "
		"7\nsha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nend 1\n",
		"stowage-marks 1\nrun ab\ntime "
		"7\nsha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 5x\nend 1\n",
		"stowage-marks 1\nrun ab\ntime 7\n\nend 1\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(buf_free) struct buf b = text_of(bad[i]);
		struct marks_got got = { .n = 0 };
		struct stow_err err;

		expect_fail(note_marks_read(&b, "ab", take_mark, &got, &err), &err, STOW_DATA_LOSS);
		assert_int_equal(got.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_has_what_was_added),
		cmocka_unit_test(a_set_shows_each_once),
		cmocka_unit_test(a_set_takes_what_another_has),
		cmocka_unit_test(a_set_lets_go_of_what_it_had),
		cmocka_unit_test(a_key_is_how_the_digest_begins),
		cmocka_unit_test(a_node_reads_as_it_was_written),
		cmocka_unit_test(a_stopped_node_without_a_run_does_too),
		cmocka_unit_test(a_cut_node_is_none),
		cmocka_unit_test(what_is_no_node_is_refused),
		cmocka_unit_test(a_long_host_is_cut),
		cmocka_unit_test(a_run_reads_as_it_was_written),
		cmocka_unit_test(marks_read_as_they_were_written),
		cmocka_unit_test(what_are_no_marks_is_refused),
	};

	return cmocka_run_group_tests_name("tiered notes", tests, NULL, NULL);
}
