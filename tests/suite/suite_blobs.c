#include "content/base/mem.h"
#include "tests/suite/suite.h"

static const enum digest_alg sha256 = DIGEST_SHA256;

static void absent_blob_is_not_found(struct backend *b)
{
	struct digest d = blob_digest(sha256, 10, 1);
	struct stow_err err;

	check_no_blob(b, &d);
	expect_fail(backend_remove(b, &d, &err), &err, STOW_NOT_FOUND);
}

static void not_found_names_the_digest(struct backend *b)
{
	struct digest d = blob_digest(sha256, 10, 1);
	char text[DIGEST_STR_MAX];
	struct stow_err err;
	struct blob_stat st;

	digest_format(&d, text);
	expect_fail(backend_stat(b, &d, &st, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, text);
}

static void blob_has_its_bytes_and_size(struct backend *b)
{
	struct digest d = blob_digest(sha256, 100000, 7);

	put_blob(b, &d, 100000, 7);
	check_blob(b, &d, 100000, 7);
}

static void empty_blob_is_legal(struct backend *b)
{
	struct digest d = blob_digest(sha256, 0, 1);

	put_blob(b, &d, 0, 0);
	check_blob(b, &d, 0, 0);
	assert_int_equal(count_blobs(b), 1);
}

static void every_algorithm_has_its_own_blobs(struct backend *b)
{
	for (int alg = DIGEST_SHA256; alg < DIGEST_ALG_COUNT; alg++) {
		struct digest d = blob_digest((enum digest_alg)alg, 10, (unsigned)alg);

		check_no_blob(b, &d);
		put_blob(b, &d, 10, (unsigned)alg);
	}
	for (int alg = DIGEST_SHA256; alg < DIGEST_ALG_COUNT; alg++) {
		struct digest d = blob_digest((enum digest_alg)alg, 10, (unsigned)alg);

		check_blob(b, &d, 10, (unsigned)alg);
	}
	assert_int_equal(count_blobs(b), 3);
}

/* Bytes of the blob that pread_gives_any_range() reads, and where reads begin and how long they are:
 * every pair is tried. */
enum { RANGE_SIZE = 70001 };
static const uint64_t range_edges[] = {
	0,         1,          4095,          4096,      RANGE_SIZE - 1, RANGE_SIZE, RANGE_SIZE + 1,
	INT32_MAX, UINT32_MAX, INT64_MAX - 1, INT64_MAX, UINT64_MAX - 1, UINT64_MAX,
};

static void check_range(struct blob *blob, const uint8_t *all, uint8_t *to, uint64_t off, uint64_t n,
			unsigned flags)
{
	uint64_t rest = off < RANGE_SIZE ? RANGE_SIZE - off : 0;
	struct stow_err err;
	size_t got = 99;

	if (blob_pread(blob, to, n, off, flags, &got, &err) < 0) {
		/* Other machines' bytes are near only by chance. */
		assert_true(flags == BACKEND_READ_NOWAIT ||
			    (flags == BACKEND_READ_NEAR && blob->backend->remote));
		assert_int_equal(err.code, STOW_UNAVAILABLE);
		assert_int_equal(got, 99);
		return;
	}
	assert_int_equal(got, n < rest ? n : rest);
	if (got > 0)
		assert_memory_equal(to, all + off, got);
}

static void check_ranges(struct backend *b, unsigned flags)
{
	CLEANUP(freep) uint8_t *all = x_malloc(RANGE_SIZE);
	CLEANUP(freep) uint8_t *to = x_malloc(RANGE_SIZE + 1);
	struct digest d = blob_digest(sha256, RANGE_SIZE, 3);
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err err;

	fill(all, RANGE_SIZE, 3);
	put_blob(b, &d, RANGE_SIZE, 3);
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	for (size_t i = 0; i < ARRAY_LEN(range_edges); i++) {
		for (size_t j = 0; j < ARRAY_LEN(range_edges) && range_edges[j] <= RANGE_SIZE + 1; j++)
			check_range(blob, all, to, range_edges[i], range_edges[j], flags);
	}
}

static void pread_is_short_only_at_the_end(struct backend *b)
{
	check_ranges(b, 0);
}

static void nowait_gives_all_or_unavailable(struct backend *b)
{
	check_ranges(b, BACKEND_READ_NOWAIT);
}

static void near_waits_for_this_machine_alone(struct backend *b)
{
	struct digest d = blob_digest(sha256, 10, 1), none = some_digest(sha256, 2);
	struct blob *blob = NULL;
	struct stow_err err;
	uint8_t to[10];
	size_t got;

	check_ranges(b, BACKEND_READ_NEAR);
	put_blob(b, &d, 10, 1);
	if (backend_open(b, &d, BACKEND_READ_NEAR, &blob, &err) == 0) {
		expect_ok(blob_pread(blob, to, 10, 0, 0, &got, &err), &err);
		assert_int_equal(got, 10);
		assert_true(filled(to, 10, 1));
		blob_close(blob);
	} else {
		assert_true(b->remote);
		expect_fail(-1, &err, STOW_UNAVAILABLE);
		assert_null(blob);
	}
	assert_int_equal(backend_open(b, &none, BACKEND_READ_NEAR, &blob, &err), -1);
	assert_true(err.code == STOW_UNAVAILABLE || err.code == STOW_NOT_FOUND);
}

static void removed_blob_is_gone(struct backend *b)
{
	struct digest d = blob_digest(sha256, 10, 1), other = blob_digest(sha256, 10, 2);
	struct stow_err err;

	put_blob(b, &d, 10, 1);
	put_blob(b, &other, 10, 2);
	expect_ok(backend_remove(b, &d, &err), &err);
	check_no_blob(b, &d);
	expect_fail(backend_remove(b, &d, &err), &err, STOW_NOT_FOUND);
	check_blob(b, &other, 10, 2);
	assert_int_equal(count_blobs(b), 1);
}

static void removed_blob_can_come_back(struct backend *b)
{
	struct digest d = blob_digest(sha256, 10, 1);
	struct stow_err err;

	put_blob(b, &d, 10, 1);
	expect_ok(backend_remove(b, &d, &err), &err);
	put_blob(b, &d, 10, 1);
	check_blob(b, &d, 10, 1);
}

/* `removed`: the blob, or what it was when the handle was opened, has been removed since. */
static void check_handle(struct blob *blob, size_t n, unsigned seed, bool removed)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n);
	struct stow_err err;
	size_t got;

	assert_int_equal(blob->size, n);
	if (blob_pread(blob, to, n, 0, 0, &got, &err) < 0) {
		assert_true(removed && blob->backend->remote);
		expect_fail(-1, &err, STOW_NOT_FOUND);
		return;
	}
	assert_int_equal(got, n);
	assert_true(filled(to, n, seed));
}

static void handle_survives_remove(struct backend *b)
{
	struct digest d = blob_digest(sha256, 50000, 1);
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err err;

	put_blob(b, &d, 50000, 1);
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	expect_ok(backend_remove(b, &d, &err), &err);
	check_handle(blob, 50000, 1, true);
}

static void handle_survives_another_publish(struct backend *b)
{
	struct digest d = blob_digest(sha256, 50000, 1);
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err err;

	put_blob(b, &d, 50000, 1);
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	put_blob(b, &d, 50000, 1);
	check_handle(blob, 50000, 1, false);
	expect_ok(backend_remove(b, &d, &err), &err);
	put_blob(b, &d, 50000, 1);
	check_handle(blob, 50000, 1, false);
}

enum { SCAN_BLOBS = 300 };
struct seen {
	unsigned times[SCAN_BLOBS];
	unsigned left; /* visits until the visitor fails; 0: never */
};

static int see_blob(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	struct seen *seen = arg;
	struct digest expect;

	uint64_t size = st->size;

	assert_in_range(size, 0, SCAN_BLOBS - 1);
	expect = blob_digest(size % 2 == 0 ? DIGEST_SHA256 : DIGEST_SHA512, size, (unsigned)size);
	assert_true(digest_equal(d, &expect));
	seen->times[size]++;
	if (seen->left > 0 && --seen->left == 0)
		return stow_fail(err, STOW_ABORTED, "seen enough");
	return 0;
}

static void put_many(struct backend *b)
{
	for (unsigned i = 0; i < SCAN_BLOBS; i++) {
		struct digest d = blob_digest(i % 2 == 0 ? DIGEST_SHA256 : DIGEST_SHA512, i, i);

		put_blob(b, &d, i, i);
	}
}

static void scan_visits_every_blob_once(struct backend *b)
{
	struct seen seen = { 0 };
	struct stow_err err;

	assert_int_equal(count_blobs(b), 0);
	put_many(b);
	expect_ok(backend_scan(b, see_blob, &seen, &err), &err);
	for (unsigned i = 0; i < SCAN_BLOBS; i++)
		assert_int_equal(seen.times[i], 1);
}

static void scan_ends_with_the_visitors_failure(struct backend *b)
{
	struct seen seen = { .left = 5 };
	struct stow_err err;
	unsigned visits = 0;

	put_many(b);
	expect_fail(backend_scan(b, see_blob, &seen, &err), &err, STOW_ABORTED);
	expect_named(&err, "seen enough");
	for (unsigned i = 0; i < SCAN_BLOBS; i++)
		visits += seen.times[i];
	assert_int_equal(visits, 5);
}

static void null_is_no_handle(struct backend *b)
{
	(void)b;
	backend_free(NULL);
	blob_close(NULL);
	stage_close(NULL);
}

const struct suite_case suite_blobs[] = {
	{ "absent_blob_is_not_found", absent_blob_is_not_found },
	{ "not_found_names_the_digest", not_found_names_the_digest },
	{ "blob_has_its_bytes_and_size", blob_has_its_bytes_and_size },
	{ "empty_blob_is_legal", empty_blob_is_legal },
	{ "every_algorithm_has_its_own_blobs", every_algorithm_has_its_own_blobs },
	{ "pread_is_short_only_at_the_end", pread_is_short_only_at_the_end },
	{ "nowait_gives_all_or_unavailable", nowait_gives_all_or_unavailable },
	{ "near_waits_for_this_machine_alone", near_waits_for_this_machine_alone },
	{ "removed_blob_is_gone", removed_blob_is_gone },
	{ "removed_blob_can_come_back", removed_blob_can_come_back },
	{ "handle_survives_remove", handle_survives_remove },
	{ "handle_survives_another_publish", handle_survives_another_publish },
	{ "scan_visits_every_blob_once", scan_visits_every_blob_once },
	{ "scan_ends_with_the_visitors_failure", scan_ends_with_the_visitors_failure },
	{ "null_is_no_handle", null_is_no_handle },
	{ NULL, NULL },
};
