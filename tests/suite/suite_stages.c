#include "content/base/mem.h"
#include "tests/suite/suite.h"

static struct stage *create(struct backend *b, const struct stage_name *name)
{
	struct stage *st;
	struct stow_err err;

	expect_ok(backend_stage_create(b, name->s, NULL, &st, &err), &err);
	return st;
}

/* A kept stage of `n` bytes of fill(seed). */
static struct stage_name keep(struct backend *b, size_t n, unsigned seed)
{
	CLEANUP(freep) uint8_t *bytes = x_malloc(n);
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	struct stow_err err;

	fill(bytes, n, seed);
	expect_ok(write_bytes(st, bytes, n, 0, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	stage_close(st);
	return name;
}

static void check_stage(struct stage *st, size_t n, unsigned seed)
{
	CLEANUP(freep) uint8_t *to = x_malloc(n + 1);
	struct stow_err err;
	size_t got;

	expect_ok(stage_pread(st, to, n + 1, 0, &got, &err), &err);
	assert_int_equal(got, n);
	assert_true(filled(to, n, seed));
}

static void create_refuses_a_taken_name(struct backend *b)
{
	struct stage_name name = new_name();
	struct stage *st = create(b, &name), *other = NULL;
	struct stow_err err;

	expect_fail(backend_stage_create(b, name.s, NULL, &other, &err), &err, STOW_ALREADY_EXISTS);
	stage_close(st);
	expect_fail(backend_stage_create(b, name.s, NULL, &other, &err), &err, STOW_ALREADY_EXISTS);
	assert_null(other);
}

static void new_stage_is_empty(struct backend *b)
{
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);

	check_stage(st, 0, 0);
	stage_close(st);
}

static void write_takes_any_number_of_vectors(struct backend *b)
{
	enum { VECTORS = 2500, SIZE = VECTORS * (VECTORS - 1) / 2 }; /* past IOV_MAX; i bytes each */
	CLEANUP(freep) uint8_t *bytes = x_malloc(SIZE);
	CLEANUP(freep) struct iovec *v = x_calloc(VECTORS, sizeof(*v));
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	struct stow_err err;
	size_t at = 0;

	fill(bytes, SIZE, 1);
	for (size_t i = 0; i < VECTORS; i++) {
		v[i] = (struct iovec){ .iov_base = bytes + at, .iov_len = i };
		at += i;
	}
	expect_ok(stage_write(st, v, VECTORS, 0, &err), &err);
	check_stage(st, SIZE, 1);
	stage_close(st);
}

static void empty_writes_are_legal(struct backend *b)
{
	struct iovec v[3] = { { 0 } };
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	struct stow_err err;

	expect_ok(stage_write(st, NULL, 0, 0, &err), &err);
	expect_ok(stage_write(st, v, 3, 0, &err), &err);
	check_stage(st, 0, 0);
	stage_close(st);
}

static void writes_follow_one_another(struct backend *b)
{
	enum { CHUNK = 1 << 20, CHUNKS = 20 };
	CLEANUP(freep) uint8_t *bytes = x_malloc((size_t)CHUNK * CHUNKS);
	struct digest d = blob_digest(DIGEST_SHA256, (size_t)CHUNK * CHUNKS, 9);
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	struct stow_err err;

	fill(bytes, (size_t)CHUNK * CHUNKS, 9);
	for (size_t at = 0; at < (size_t)CHUNK * CHUNKS; at += CHUNK)
		expect_ok(write_bytes(st, bytes + at, CHUNK, at, &err), &err);
	check_stage(st, (size_t)CHUNK * CHUNKS, 9);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, (size_t)CHUNK * CHUNKS, 9);
}

static void stage_pread_is_short_only_at_the_end(struct backend *b)
{
	static const uint64_t beyond[] = { 100, 101, UINT32_MAX, INT64_MAX, UINT64_MAX };
	struct stage_name name = keep(b, 100, 1);
	uint8_t all[100], to[100];
	struct stow_err err;
	struct stage *st;
	size_t got;

	fill(all, sizeof(all), 1);
	expect_ok(backend_stage_resume(b, name.s, 100, NULL, &st, &err), &err);
	expect_ok(stage_pread(st, to, 30, 20, &got, &err), &err);
	assert_int_equal(got, 30);
	assert_memory_equal(to, all + 20, 30);
	expect_ok(stage_pread(st, to, 30, 90, &got, &err), &err);
	assert_int_equal(got, 10);
	assert_memory_equal(to, all + 90, 10);
	for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
		expect_ok(stage_pread(st, to, 30, beyond[i], &got, &err), &err);
		assert_int_equal(got, 0);
	}
	stage_close(st);
}

static void truncated_bytes_do_not_come_back(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 60, 2);
	struct stage_name name = keep(b, 100, 1);
	uint8_t bytes[60];
	struct stow_err err;
	struct stage *st;

	expect_ok(backend_stage_resume(b, name.s, 100, NULL, &st, &err), &err);
	expect_ok(stage_truncate(st, 40, &err), &err);
	check_stage(st, 40, 1);
	expect_ok(stage_truncate(st, 40, &err), &err);
	expect_ok(stage_truncate(st, 0, &err), &err);
	check_stage(st, 0, 0);
	fill(bytes, sizeof(bytes), 2);
	expect_ok(write_bytes(st, bytes, sizeof(bytes), 0, &err), &err);
	check_stage(st, sizeof(bytes), 2);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, sizeof(bytes), 2);
}

static void sync_can_be_repeated(struct backend *b)
{
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	struct stow_err err;

	expect_ok(stage_sync(st, &err), &err);
	expect_ok(write_bytes(st, "abc", 3, 0, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	stage_close(st);
	expect_ok(backend_stage_resume(b, name.s, 3, NULL, &st, &err), &err);
	stage_close(st);
}

static void close_keeps_the_bytes(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 150, 1);
	struct stage_name name = keep(b, 100, 1);
	uint8_t bytes[150];
	struct stow_err err;
	struct stage *st;

	expect_ok(backend_stage_resume(b, name.s, 100, NULL, &st, &err), &err);
	check_stage(st, 100, 1);
	fill(bytes, sizeof(bytes), 1);
	expect_ok(write_bytes(st, bytes + 100, 50, 100, &err), &err);
	check_stage(st, 150, 1);
	expect_ok(stage_publish(st, &d, &err), &err);
	stage_close(st);
	check_blob(b, &d, 150, 1);
}

static void close_keeps_an_empty_stage(struct backend *b)
{
	struct stage_name name = keep(b, 0, 0);
	struct stow_err err;
	struct stage *st;

	assert_int_equal(count_stages(b), 1);
	expect_ok(backend_stage_resume(b, name.s, 0, NULL, &st, &err), &err);
	check_stage(st, 0, 0);
	stage_close(st);
}

static void resume_forgets_what_follows(struct backend *b)
{
	struct stage_name name = keep(b, 100, 1);
	struct stow_err err;
	struct stage *st;

	expect_ok(backend_stage_resume(b, name.s, 60, NULL, &st, &err), &err);
	check_stage(st, 60, 1);
	stage_close(st);
	expect_fail(backend_stage_resume(b, name.s, 100, NULL, &st, &err), &err, STOW_DATA_LOSS);
}

static void resume_of_an_absent_stage_is_not_found(struct backend *b)
{
	struct stage_name name = new_name();
	struct stage *st = NULL;
	struct stow_err err;

	expect_fail(backend_stage_resume(b, name.s, 0, NULL, &st, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, name.s);
	assert_null(st);
}

static void resume_with_fewer_bytes_is_data_loss(struct backend *b)
{
	struct stage_name name = keep(b, 100, 1);
	struct stage *st = NULL;
	struct stow_err err;

	expect_fail(backend_stage_resume(b, name.s, 101, NULL, &st, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, name.s);
	assert_null(st);
	expect_ok(backend_stage_resume(b, name.s, 100, NULL, &st, &err), &err);
	check_stage(st, 100, 1);
	stage_close(st);
}

static void blob_is_there_from_publish_on(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 100, 1);
	struct stage_name name = new_name();
	struct stage *st = create(b, &name), *again = NULL;
	uint8_t bytes[100];
	struct stow_err err;

	fill(bytes, sizeof(bytes), 1);
	expect_ok(write_bytes(st, bytes, sizeof(bytes), 0, &err), &err);
	expect_ok(stage_sync(st, &err), &err);
	check_no_blob(b, &d);
	assert_int_equal(count_blobs(b), 0);
	expect_ok(stage_publish(st, &d, &err), &err);
	check_blob(b, &d, sizeof(bytes), 1);
	stage_close(st);
	check_blob(b, &d, sizeof(bytes), 1);

	assert_int_equal(count_stages(b), 0);
	expect_fail(backend_stage_resume(b, name.s, 0, NULL, &again, &err), &err, STOW_NOT_FOUND);
	expect_fail(backend_stage_discard(b, name.s, &err), &err, STOW_NOT_FOUND);
}

static void publish_of_an_existing_blob_succeeds(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 100, 1);

	put_blob(b, &d, 100, 1);
	put_blob(b, &d, 100, 1);
	check_blob(b, &d, 100, 1);
	assert_int_equal(count_blobs(b), 1);
	assert_int_equal(count_stages(b), 0);
}

static void discard_removes_a_kept_stage(struct backend *b)
{
	struct stage_name name = keep(b, 100, 1), other = keep(b, 100, 2);
	struct stage *st = NULL;
	struct stow_err err;

	expect_ok(backend_stage_discard(b, name.s, &err), &err);
	expect_fail(backend_stage_resume(b, name.s, 0, NULL, &st, &err), &err, STOW_NOT_FOUND);
	expect_fail(backend_stage_discard(b, name.s, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(count_stages(b), 1);
	expect_ok(backend_stage_resume(b, other.s, 100, NULL, &st, &err), &err);
	check_stage(st, 100, 2);
	stage_close(st);
}

static void discard_of_an_absent_stage_is_not_found(struct backend *b)
{
	struct stage_name name = new_name();
	struct stow_err err;

	expect_fail(backend_stage_discard(b, name.s, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, name.s);
}

static void discard_takes_the_name_of_an_open_stage(struct backend *b)
{
	struct stage_name name = new_name();
	struct stage *st = create(b, &name), *again = NULL;
	struct stow_err err;
	uint64_t size = 0;

	expect_ok(write_bytes(st, "abc", 3, 0, &err), &err);
	expect_ok(backend_stage_discard(b, name.s, &err), &err);
	assert_int_equal(count_stages(b), 0);
	/* The user, who knows nothing of it yet, may fail or not, but does no harm. */
	if (write_bytes(st, "def", 3, 3, &err) == 0)
		size = 6;
	if (size == 6)
		(void)!stage_truncate(st, 0, &err);
	(void)!stage_sync(st, &err);
	stage_close(st);
	assert_int_equal(count_stages(b), 0);
	expect_fail(backend_stage_resume(b, name.s, 0, NULL, &again, &err), &err, STOW_NOT_FOUND);
}

static void publish_after_discard_is_all_or_nothing(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 100, 1);
	struct stage_name name = new_name();
	struct stage *st = create(b, &name);
	uint8_t bytes[100];
	struct stow_err err;

	fill(bytes, sizeof(bytes), 1);
	expect_ok(write_bytes(st, bytes, sizeof(bytes), 0, &err), &err);
	expect_ok(backend_stage_discard(b, name.s, &err), &err);
	if (stage_publish(st, &d, &err) == 0)
		check_blob(b, &d, sizeof(bytes), 1);
	else
		check_no_blob(b, &d);
	stage_close(st);
	assert_int_equal(count_stages(b), 0);
}

struct names {
	struct stage_name open, kept;
	int open_seen, kept_seen, other_seen;
};

static int see_stage(void *arg, const char *name, struct stow_err *err)
{
	struct names *n = arg;

	(void)err;
	assert_true(stage_name_ok(name));
	if (strcmp(name, n->open.s) == 0)
		n->open_seen++;
	else if (strcmp(name, n->kept.s) == 0)
		n->kept_seen++;
	else
		n->other_seen++;
	return 0;
}

static void stage_scan_visits_open_and_kept(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, 10, 1);
	struct names n = { .open = new_name(), .kept = keep(b, 10, 1) };
	struct stage *st = create(b, &n.open);
	struct stow_err err;

	put_blob(b, &d, 10, 1);
	expect_ok(backend_stage_scan(b, see_stage, &n, &err), &err);
	stage_close(st);
	assert_int_equal(n.open_seen, 1);
	assert_int_equal(n.kept_seen, 1);
	assert_int_equal(n.other_seen, 0);
}

static int refuse_stage(void *arg, const char *name, struct stow_err *err)
{
	++*(int *)arg;
	return stow_fail(err, STOW_ABORTED, "enough after %s", name);
}

static void stage_scan_ends_with_the_visitors_failure(struct backend *b)
{
	struct stow_err err;
	int visits = 0;

	(void)keep(b, 1, 1);
	(void)keep(b, 1, 1);
	expect_fail(backend_stage_scan(b, refuse_stage, &visits, &err), &err, STOW_ABORTED);
	assert_int_equal(visits, 1);
}

static void stages_do_not_disturb_one_another(struct backend *b)
{
	struct stage_name names[2] = { new_name(), new_name() };
	struct stage *st[2] = { create(b, &names[0]), create(b, &names[1]) };
	uint8_t bytes[2][64];
	struct stow_err err;

	for (unsigned i = 0; i < 2; i++)
		fill(bytes[i], sizeof(bytes[i]), i);
	for (size_t at = 0; at < 64; at += 16) {
		for (int i = 0; i < 2; i++)
			expect_ok(write_bytes(st[i], bytes[i] + at, 16, at, &err), &err);
	}
	for (unsigned i = 0; i < 2; i++) {
		check_stage(st[i], 64, i);
		stage_close(st[i]);
	}
}

static void stage_names_have_one_form(struct backend *b)
{
	(void)b;
	assert_true(stage_name_ok("0123456789abcdef"));
	assert_false(stage_name_ok(""));
	assert_false(stage_name_ok("0123456789abcde"));
	assert_false(stage_name_ok("0123456789abcdef0"));
	assert_false(stage_name_ok("0123456789abcdeF"));
	assert_false(stage_name_ok("../../etc/passwd"));
}

const struct suite_case suite_stages[] = {
	{ "create_refuses_a_taken_name", create_refuses_a_taken_name },
	{ "new_stage_is_empty", new_stage_is_empty },
	{ "write_takes_any_number_of_vectors", write_takes_any_number_of_vectors },
	{ "empty_writes_are_legal", empty_writes_are_legal },
	{ "writes_follow_one_another", writes_follow_one_another },
	{ "stage_pread_is_short_only_at_the_end", stage_pread_is_short_only_at_the_end },
	{ "truncated_bytes_do_not_come_back", truncated_bytes_do_not_come_back },
	{ "sync_can_be_repeated", sync_can_be_repeated },
	{ "close_keeps_the_bytes", close_keeps_the_bytes },
	{ "close_keeps_an_empty_stage", close_keeps_an_empty_stage },
	{ "resume_forgets_what_follows", resume_forgets_what_follows },
	{ "resume_of_an_absent_stage_is_not_found", resume_of_an_absent_stage_is_not_found },
	{ "resume_with_fewer_bytes_is_data_loss", resume_with_fewer_bytes_is_data_loss },
	{ "blob_is_there_from_publish_on", blob_is_there_from_publish_on },
	{ "publish_of_an_existing_blob_succeeds", publish_of_an_existing_blob_succeeds },
	{ "discard_removes_a_kept_stage", discard_removes_a_kept_stage },
	{ "discard_of_an_absent_stage_is_not_found", discard_of_an_absent_stage_is_not_found },
	{ "discard_takes_the_name_of_an_open_stage", discard_takes_the_name_of_an_open_stage },
	{ "publish_after_discard_is_all_or_nothing", publish_after_discard_is_all_or_nothing },
	{ "stage_scan_visits_open_and_kept", stage_scan_visits_open_and_kept },
	{ "stage_scan_ends_with_the_visitors_failure", stage_scan_ends_with_the_visitors_failure },
	{ "stages_do_not_disturb_one_another", stages_do_not_disturb_one_another },
	{ "stage_names_have_one_form", stage_names_have_one_form },
	{ NULL, NULL },
};
