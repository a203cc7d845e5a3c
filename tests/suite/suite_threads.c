#include "content/base/mem.h"
#include "tests/suite/suite.h"

enum { THREADS = 8, ROUNDS = 40, SIZE = 30000 };

/* --- many publishers --- */

static void publish_same(void *arg, int i)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct stow_err err;

	(void)i;
	for (int round = 0; round < 5; round++)
		thread_check(try_put_blob(arg, &d, SIZE, 1, &err) == 0);
}

static void one_digest_from_many_threads(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);

	run_threads(THREADS, publish_same, b);
	check_blob(b, &d, SIZE, 1);
	assert_int_equal(count_blobs(b), 1);
	assert_int_equal(count_stages(b), 0);
}

static void publish_own(void *arg, int i)
{
	struct stow_err err;

	for (int round = 0; round < ROUNDS; round++) {
		unsigned seed = (unsigned)(i * ROUNDS + round);
		struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);

		thread_check(try_put_blob(arg, &d, SIZE, seed, &err) == 0);
	}
}

static void many_digests_from_many_threads(struct backend *b)
{
	run_threads(THREADS, publish_own, b);
	for (unsigned seed = 0; seed < THREADS * ROUNDS; seed++) {
		struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);

		check_blob(b, &d, SIZE, seed);
	}
	assert_int_equal(count_blobs(b), THREADS * ROUNDS);
	assert_int_equal(count_stages(b), 0);
}

/* --- readers beside removers --- */

struct traffic {
	struct backend *b;
	atomic_int writers; /* that still work */
	atomic_int reads;   /* that found the blob */
};

/* Goes on until `reads` of the readers have found the blob. */
static void publish_and_remove(struct traffic *t, unsigned seed, int reads)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);
	struct stow_err err;

	for (int round = 0; round < ROUNDS || atomic_load(&t->reads) < reads; round++) {
		thread_check(try_put_blob(t->b, &d, SIZE, seed, &err) == 0);
		thread_check(backend_remove(t->b, &d, &err) == 0 || err.code == STOW_NOT_FOUND);
	}
	atomic_fetch_sub(&t->writers, 1);
}

static void read_if_there(struct traffic *t, const struct digest *d, uint8_t *to)
{
	struct stow_err err;
	struct blob *blob;
	size_t got;

	if (backend_open(t->b, d, 0, &blob, &err) < 0) {
		thread_check(err.code == STOW_NOT_FOUND);
		return;
	}
	thread_check(blob->size == SIZE);
	if (blob_pread(blob, to, SIZE, 0, 0, &got, &err) == 0) {
		thread_check(got == SIZE && filled(to, SIZE, 1));
		atomic_fetch_add(&t->reads, 1);
	} else {
		thread_check((t->b->remote || t->b->tiered) && err.code == STOW_NOT_FOUND);
	}
	blob_close(blob);
}

static void read_or_write(void *arg, int i)
{
	CLEANUP(freep) uint8_t *to = x_malloc(SIZE);
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct traffic *t = arg;

	if (i % 2 == 0) {
		publish_and_remove(t, 1, 20);
		return;
	}
	while (atomic_load(&t->writers) > 0)
		read_if_there(t, &d, to);
}

static void readers_beside_removers(struct backend *b)
{
	struct traffic t = { .b = b, .writers = THREADS / 2 };

	run_threads(THREADS, read_or_write, &t);
	assert_int_equal(count_stages(b), 0);
}

/* --- one handle, many readers --- */

static void read_handle(void *arg, int i)
{
	CLEANUP(freep) uint8_t *all = x_malloc(SIZE);
	struct blob *blob = arg;
	struct stow_err err;
	uint8_t to[512];
	size_t got;

	fill(all, SIZE, 1);
	for (size_t at = (size_t)i * 100; at + sizeof(to) <= SIZE; at += 300) {
		thread_check(blob_pread(blob, to, sizeof(to), at, 0, &got, &err) == 0);
		thread_check(got == sizeof(to) && memcmp(to, all + at, sizeof(to)) == 0);
	}
}

static void one_handle_for_many_readers(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	CLEANUP(blob_closep) struct blob *blob = NULL;
	struct stow_err err;

	put_blob(b, &d, SIZE, 1);
	expect_ok(backend_open(b, &d, 0, &blob, &err), &err);
	run_threads(THREADS, read_handle, blob);
}

/* --- scans beside changes --- */

enum { STAYING = 50 }; /* blobs that are there all the time, of the sizes 1 to STAYING */

static int see_staying(void *arg, const struct digest *d, const struct blob_stat *st, struct stow_err *err)
{
	unsigned *times = arg;

	(void)d;
	(void)err;
	uint64_t size = st->size;

	thread_check(size == SIZE || (size > 0 && size <= STAYING));
	if (size <= STAYING)
		times[size]++;
	return 0;
}

static int see_any_stage(void *arg, const char *name, struct stow_err *err)
{
	(void)arg;
	(void)err;
	thread_check(stage_name_ok(name));
	return 0;
}

static void scan_or_write(void *arg, int i)
{
	struct traffic *t = arg;
	struct stow_err err;

	if (i % 2 == 0) {
		publish_and_remove(t, 1000 + (unsigned)i, 0);
		return;
	}
	do {
		unsigned times[STAYING + 1] = { 0 };

		thread_check(backend_scan(t->b, see_staying, times, &err) == 0);
		thread_check(backend_stage_scan(t->b, see_any_stage, NULL, &err) == 0);
		for (int size = 1; size <= STAYING; size++)
			thread_check(times[size] == 1);
	} while (atomic_load(&t->writers) > 0);
}

static void scans_beside_changes(struct backend *b)
{
	struct traffic t = { .b = b, .writers = THREADS / 2 };

	for (unsigned i = 1; i <= STAYING; i++) {
		struct digest d = blob_digest(DIGEST_SHA256, i, i);

		put_blob(b, &d, i, i);
	}
	run_threads(THREADS, scan_or_write, &t);
}

/* --- one stage: sync beside write, discard beside all --- */

struct shared_stage {
	struct backend *b;
	struct stage *st;
	struct stage_name name;
	atomic_bool done;
	int syncs;
	_Atomic size_t there; /* bytes that have been written */
};

static void sync_or_write(void *arg, int i)
{
	enum { CHUNK = 10000, CHUNKS = 300 };
	CLEANUP(freep) uint8_t *bytes = x_malloc((size_t)CHUNK * CHUNKS);
	struct shared_stage *s = arg;
	struct stow_err err;

	if (i == 0) {
		do {
			thread_check(stage_sync(s->st, &err) == 0);
			s->syncs++;
		} while (!atomic_load(&s->done));
		return;
	}
	fill(bytes, (size_t)CHUNK * CHUNKS, 5);
	for (size_t at = 0; at < (size_t)CHUNK * CHUNKS; at += CHUNK)
		thread_check(write_bytes(s->st, bytes + at, CHUNK, at, &err) == 0);
	atomic_store(&s->done, true);
}

static void sync_beside_write(struct backend *b)
{
	struct shared_stage s = { .b = b, .name = new_name() };
	struct digest d = blob_digest(DIGEST_SHA256, 10000 * 300, 5);
	struct stow_err err;

	expect_ok(backend_stage_create(b, s.name.s, NULL, &s.st, &err), &err);
	run_threads(2, sync_or_write, &s);
	assert_true(s.syncs > 0);
	expect_ok(stage_publish(s.st, &d, &err), &err);
	stage_close(s.st);
	check_blob(b, &d, 10000 * 300, 5);
}

static void write_or_read_stage(void *arg, int i)
{
	enum { CHUNK = 10000, CHUNKS = 100 };
	CLEANUP(freep) uint8_t *bytes = x_malloc((size_t)CHUNK * CHUNKS), *to = x_malloc(CHUNK);
	struct digest d = blob_digest(DIGEST_SHA256, (size_t)CHUNK * CHUNKS, 5);
	struct shared_stage *s = arg;
	struct stow_err err;
	size_t got;

	fill(bytes, (size_t)CHUNK * CHUNKS, 5);
	if (i == 0) {
		for (size_t at = 0; at < (size_t)CHUNK * CHUNKS; at += CHUNK) {
			thread_check(write_bytes(s->st, bytes + at, CHUNK, at, &err) == 0);
			atomic_store(&s->there, at + CHUNK);
		}
		thread_check(stage_publish(s->st, &d, &err) == 0);
		atomic_store(&s->done, true);
		return;
	}
	for (bool last = false; !last;) {
		size_t there = atomic_load(&s->there);

		last = atomic_load(&s->done); /* once more when it is sealed */
		if (there == 0)
			continue;
		thread_check(stage_pread(s->st, to, CHUNK, there - CHUNK, &got, &err) == 0 && got == CHUNK);
		thread_check(memcmp(to, bytes + there - CHUNK, CHUNK) == 0);
	}
}

static void read_beside_write_and_publish(struct backend *b)
{
	struct shared_stage s = { .b = b, .name = new_name() };
	struct stow_err err;

	expect_ok(backend_stage_create(b, s.name.s, NULL, &s.st, &err), &err);
	run_threads(3, write_or_read_stage, &s);
	stage_close(s.st);
}

/* The user fails somewhere or not at all; the other takes the name if it comes before publish. */
static void discard_or_publish(void *arg, int i)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	CLEANUP(freep) uint8_t *bytes = x_malloc(SIZE);
	struct shared_stage *s = arg;
	struct stow_err err;

	if (i == 0) {
		if (backend_stage_discard(s->b, s->name.s, &err) < 0)
			thread_check(err.code == STOW_NOT_FOUND);
		return;
	}
	fill(bytes, SIZE, 1);
	if (write_bytes(s->st, bytes, SIZE, 0, &err) == 0 && stage_publish(s->st, &d, &err) == 0)
		atomic_store(&s->done, true);
	stage_close(s->st);
}

static void discard_beside_publish(struct backend *b)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct blob_stat st;
	struct stow_err err;

	for (int round = 0; round < ROUNDS; round++) {
		struct shared_stage s = { .b = b, .name = new_name() };

		expect_ok(backend_stage_create(b, s.name.s, NULL, &s.st, &err), &err);
		run_threads(2, discard_or_publish, &s);
		assert_int_equal(count_stages(b), 0);
		if (atomic_load(&s.done)) {
			check_blob(b, &d, SIZE, 1);
			expect_ok(backend_remove(b, &d, &err), &err);
		}
		/* Opening it would say so, too, but a storage may look twice for what somebody opens. */
		expect_fail(backend_stat(b, &d, &st, &err), &err, STOW_NOT_FOUND);
	}
	check_no_blob(b, &d);
}

const struct suite_case suite_threads[] = {
	{ "one_digest_from_many_threads", one_digest_from_many_threads },
	{ "many_digests_from_many_threads", many_digests_from_many_threads },
	{ "readers_beside_removers", readers_beside_removers },
	{ "one_handle_for_many_readers", one_handle_for_many_readers },
	{ "scans_beside_changes", scans_beside_changes },
	{ "sync_beside_write", sync_beside_write },
	{ "read_beside_write_and_publish", read_beside_write_and_publish },
	{ "discard_beside_publish", discard_beside_publish },
	{ NULL, NULL },
};
