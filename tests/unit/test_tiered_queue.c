/* The queue of uploads over storages in memory that fail as planned. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

#include <stdio.h>

enum { N = 20000 }; /* bytes of a blob */
/* Bytes a second: no limit, but what is sent is paced, so that something is sent before the end. */
static const uint64_t PACED = UINT64_C(1) << 40;

static struct queue_env env;

static struct {
	struct digest done[8];
	atomic_int next; /* place in `done` */
	atomic_int n_done, n_lost;
	atomic_bool refuse;
} told;

static void on_done(void *arg UNUSED, const struct digest *d)
{
	int i = atomic_fetch_add(&told.next, 1);

	if (i < 8)
		told.done[i] = *d;
	atomic_fetch_add(&told.n_done, 1);
}

static void on_lost(void *arg UNUSED, const struct digest *d)
{
	struct stow_err err;

	thread_check(meta_blob_delete(env.meta, d, &err) == 0);
	atomic_fetch_add(&told.n_lost, 1);
}

static bool on_refused(void *arg UNUSED, const struct digest *d UNUSED)
{
	return atomic_load(&told.refuse);
}

static int setup(void **state UNUSED)
{
	queue_env_make(&env);
	memset(&told, 0, sizeof(told));
	env.options.done = on_done;
	env.options.lost = on_lost;
	env.options.refused = on_refused;
	return 0;
}

static int teardown(void **state UNUSED)
{
	queue_env_remove(&env);
	return 0;
}

static int64_t soon(void)
{
	return clock_mono_ns() + 20 * NSEC_PER_SEC;
}

/* As a COMMIT does; `s` may be NULL. */
static struct digest commit(size_t n, unsigned seed, struct sending *s)
{
	struct digest d = blob_digest(DIGEST_SHA256, n, seed);

	put_blob(env.fast, &d, n, seed);
	queue_offer(env.queue, &d, n, s);
	queue_env_row(&env, n, seed, 0);
	queue_recorded(env.queue, &d);
	return d;
}

/* --- what is brought behind --- */

static void what_is_pending_at_the_start_is_uploaded(void **state UNUSED)
{
	struct digest d[3];
	struct fleet_status st;

	for (unsigned i = 0; i < 3; i++)
		d[i] = queue_env_blob(&env, N + i, i, 0);
	queue_env_start(&env);
	WAIT_FOR(queue_env_pending(&env) == 0);
	for (unsigned i = 0; i < 3; i++)
		check_blob(env.behind, &d[i], N + i, i);
	WAIT_FOR(queue_env_status(&env).uploading == 0);
	st = queue_env_status(&env);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.pending_bytes, 0);
	assert_int_equal(st.oldest_ns, 0);
	assert_int_equal(st.uploaded, 3);
	assert_int_equal(st.uploaded_bytes, 3 * N + 3);
	assert_string_equal(st.upload_error, "");
	assert_int_equal(told.n_done, 3);
	assert_int_equal(parts.notes, 3);
	assert_int_equal(queue_env_records(&env), 0);
}

static void a_commit_waits_for_its_upload(void **state UNUSED)
{
	struct digest d, none = some_digest(DIGEST_SHA256, 1);

	queue_env_start(&env);
	d = commit(N, 1, NULL);
	assert_true(queue_wait(env.queue, &d, soon()));
	assert_true(queue_env_is_behind(&env, &d));
	check_blob(env.behind, &d, N, 1);
	assert_true(queue_wait(env.queue, &d, soon()));
	assert_false(queue_wait(env.queue, &none, soon()));
}

static void an_empty_blob_is_one(void **state UNUSED)
{
	struct digest d;

	queue_env_start(&env);
	d = commit(0, 1, NULL);
	assert_true(queue_wait(env.queue, &d, soon()));
	check_blob(env.behind, &d, 0, 1);
	WAIT_FOR(queue_env_status(&env).uploaded == 1);
}

static void waiting_ends_in_time(void **state UNUSED)
{
	struct digest d;

	queue_env_queue(&env); /* and is not started */
	d = commit(N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, clock_mono_ns() + NSEC_PER_MSEC));
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, soon()));
}

static void oldest_first(void **state UNUSED)
{
	static const unsigned age[] = { 3, 1, 5, 2, 4 };
	int64_t now = clock_wall_ns();
	struct digest by_age[6];

	for (unsigned i = 0; i < 5; i++)
		by_age[age[i]] = queue_env_blob(&env, N, i, now - age[i] * NSEC_PER_SEC);
	atomic_store(&told.refuse, true);
	queue_env_start(&env);
	WAIT_FOR(queue_env_status(&env).oldest_ns == now - 5 * NSEC_PER_SEC);
	queue_env_end(&env);
	atomic_store(&told.refuse, false);
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&told.n_done) == 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(digest_equal(&told.done[i], &by_age[5 - i]));
}

static void what_is_there_is_not_sent(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);

	put_blob(env.behind, &d, N, 1);
	queue_env_fault(&env, FAULT_SEND_OPEN, 1, true, STOW_INTERNAL);
	queue_env_start(&env);
	WAIT_FOR(queue_env_pending(&env) == 0);
	WAIT_FOR(queue_env_status(&env).uploading == 0);
	assert_int_equal(queue_env_status(&env).uploaded, 0);
	assert_int_equal(told.n_done, 1);
}

/* Other bytes, as many or not, under its name. */
static void put_other(const struct digest *d, size_t n)
{
	put_blob(env.behind, d, n, 99);
}

static void what_is_known_to_be_wrong_is_replaced(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);

	put_other(&d, N);
	atomic_store(&parts.bad, true);
	queue_env_start(&env);
	WAIT_FOR(queue_env_pending(&env) == 0);
	check_blob(env.behind, &d, N, 1);
	assert_int_equal(parts.made_good, 1);
}

static void what_has_a_wrong_size_is_replaced(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);

	put_other(&d, N - 1);
	queue_env_start(&env);
	WAIT_FOR(queue_env_pending(&env) == 0);
	check_blob(env.behind, &d, N, 1);
}

static void bandwidth_is_limited(void **state UNUSED)
{
	enum { MIB = 1 << 20 };
	int64_t begun = clock_mono_ns();
	struct digest d;

	env.options.bandwidth = 16 * MIB;
	d = queue_env_blob(&env, 5 * MIB, 1, 0);
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	/* The fifth is sent when four have been paid for. */
	assert_true(clock_mono_ns() - begun >= 4 * NSEC_PER_SEC / 16);
}

/* --- failures --- */

static void a_failure_puts_it_off(void **state UNUSED)
{
	char text[DIGEST_STR_MAX];
	struct fleet_status st;
	struct digest d;

	env.options.bandwidth = PACED;
	queue_env_start(&env);
	queue_env_fault(&env, FAULT_SEND_FINISH, 1, false, STOW_UNAVAILABLE);
	d = commit(N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, soon()));
	digest_format(&d, text);
	st = queue_env_status(&env);
	assert_non_null(strstr(st.upload_error, text));
	assert_non_null(strstr(st.upload_error, "planned fault in send_finish"));
	assert_true(st.upload_error_ns > 0);
	assert_int_equal(st.pending, 1);
	assert_true(st.oldest_ns > 0);
	WAIT_FOR(queue_env_records(&env) == 1); /* what was sent is not sent again */
	assert_true(tier_usable(&env.tiers.v[0]));
	queue_flush(env.queue);
	assert_true(queue_wait(env.queue, &d, soon()));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
	assert_string_equal(queue_env_status(&env).upload_error, "");
}

static void it_is_tried_again_by_itself(void **state UNUSED)
{
	struct digest d;

	queue_env_start(&env);
	queue_env_fault(&env, FAULT_SEND_FINISH, 1, false, STOW_UNAVAILABLE);
	d = commit(N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, soon()));
	WAIT_FOR(queue_env_is_behind(&env, &d));
}

static void an_open_circuit_stops_all(void **state UNUSED)
{
	enum { BLOBS = 2 * TIER_FAILURES };
	struct digest d[BLOBS];

	queue_env_fault(&env, FAULT_LOOK, 1, true, STOW_UNAVAILABLE);
	for (unsigned i = 0; i < BLOBS; i++)
		d[i] = queue_env_blob(&env, N, i, 0);
	queue_env_start(&env);
	WAIT_FOR(!tier_usable(&env.tiers.v[0]));
	assert_false(queue_wait(env.queue, &d[0], soon()));
	assert_int_equal(queue_env_pending(&env), BLOBS);
	queue_env_fault(&env, FAULT_LOOK, 0, false, STOW_OK);
	queue_flush(env.queue); /* which probes */
	WAIT_FOR(queue_env_pending(&env) == 0);
	for (unsigned i = 0; i < BLOBS; i++)
		check_blob(env.behind, &d[i], N, i);
}

/* Consecutive failures of sendings, and entries. */
static unsigned failures(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->failures;
}

static size_t entries(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->n;
}

/* And all wait: the one that failed last has its place again. */
static bool is_braked(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->braked && !env.queue->trying && env.queue->n_heap == env.queue->n;
}

static unsigned count_failed(void)
{
	LOCK_SCOPE(&env.queue->lock);
	unsigned n = 0;

	for (size_t i = 0; i < QUEUE_BUCKETS; i++)
		for (const struct entry *e = env.queue->table[i]; e != NULL; e = e->next)
			n += e->failed;
	return n;
}

/* A full bucket: it is still of use to who reads, and is not asked by each blob whether it is full. */
static void a_storage_that_takes_nothing_is_left_alone(void **state UNUSED)
{
	enum { BLOBS = 3 * TIER_FAILURES };
	struct digest d[BLOBS];

	queue_env_fault(&env, FAULT_SEND_FINISH, 1, true, STOW_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i < BLOBS; i++)
		d[i] = queue_env_blob(&env, N, i, 0);
	queue_env_start(&env);
	WAIT_FOR(is_braked());
	assert_int_equal(count_failed(), TIER_FAILURES);
	assert_true(tier_usable(&env.tiers.v[0]));
	assert_false(queue_wait(env.queue, &d[BLOBS - 1], soon()));
	assert_non_null(strstr(queue_env_status(&env).upload_error, "RESOURCE_EXHAUSTED"));
	queue_flush(env.queue);        /* one try, no more */
	WAIT_FOR(count_failed() == 1); /* all counts began anew */
	WAIT_FOR(is_braked());
	assert_int_equal(count_failed(), 1);
	queue_env_fault(&env, FAULT_SEND_FINISH, 0, false, STOW_OK);
	queue_flush(env.queue);
	WAIT_FOR(queue_env_pending(&env) == 0);
	for (unsigned i = 0; i < BLOBS; i++)
		check_blob(env.behind, &d[i], N, i);
	assert_false(is_braked());
}

/* The storage is not at fault, and the others go on. */
static void one_that_cannot_be_read_is_its_own_trouble(void **state UNUSED)
{
	struct digest bad, good;

	queue_env_start(&env);
	atomic_store(&env.fast_plan.code, STOW_INTERNAL);
	atomic_store(&env.fast_plan.after[FAULT_PREAD], 1);
	bad = commit(N, 1, NULL);
	assert_false(queue_wait(env.queue, &bad, soon()));
	assert_non_null(strstr(queue_env_status(&env).upload_error, "read it here: planned fault in pread"));
	good = commit(N, 2, NULL);
	assert_true(queue_wait(env.queue, &good, soon()));
	assert_int_equal(failures(), 0);
	queue_flush(env.queue);
	WAIT_FOR(queue_env_is_behind(&env, &bad));
}

static void short_bytes_are_not_sent(void **state UNUSED)
{
	struct digest d = blob_digest(DIGEST_SHA256, N, 1);

	put_blob(env.fast, &d, N - 1, 1);
	queue_env_row(&env, N, 1, 0);
	queue_env_start(&env);
	WAIT_FOR(strstr(queue_env_status(&env).upload_error, "DATA_LOSS") != NULL);
	assert_int_equal(count_blobs(env.behind), 0);
}

static void what_is_refused_waits(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);

	atomic_store(&told.refuse, true);
	queue_env_start(&env);
	WAIT_FOR(queue_env_status(&env).oldest_ns != 0 && queue_env_status(&env).uploading == 0);
	assert_false(queue_wait(env.queue, &d, clock_mono_ns() + 20 * NSEC_PER_MSEC));
	assert_int_equal(count_blobs(env.behind), 0);
	assert_string_equal(queue_env_status(&env).upload_error, "");
	atomic_store(&told.refuse, false);
	queue_flush(env.queue);
	WAIT_FOR(queue_env_is_behind(&env, &d));
}

/* --- bytes that are not here --- */

static void bytes_that_are_nowhere_are_lost(void **state UNUSED)
{
	queue_env_row(&env, N, 1, 0);
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&told.n_lost) == 1);
	assert_int_equal(queue_env_pending(&env), 0);
	assert_int_equal(parts.forgotten, 1);
}

static void bytes_that_are_only_behind_are_fine(void **state UNUSED)
{
	struct digest d = queue_env_row(&env, N, 1, 0);

	put_blob(env.behind, &d, N, 1);
	queue_env_fault(&env, FAULT_LOOK, 1, false, STOW_NOT_FOUND); /* a wrong answer */
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	assert_int_equal(told.n_lost, 0);
}

static void who_cannot_be_asked_loses_nothing(void **state UNUSED)
{
	queue_env_row(&env, N, 1, 0);
	queue_env_fault(&env, FAULT_STAT, 1, true, STOW_UNAVAILABLE);
	queue_env_start(&env);
	WAIT_FOR(strstr(queue_env_status(&env).upload_error, "planned fault in stat") != NULL);
	assert_int_equal(told.n_lost, 0);
	assert_int_equal(queue_env_pending(&env), 1);
}

/* --- looking again --- */

static void what_has_gone_is_uploaded_again(void **state UNUSED)
{
	struct digest here = queue_env_blob(&env, N, 1, 0), gone = queue_env_row(&env, N, 2, 0);
	struct stow_err err;

	put_blob(env.behind, &here, N, 1);
	put_blob(env.behind, &gone, N, 2);
	expect_ok(meta_remote_put(env.meta, &here, 1, &err), &err);
	expect_ok(meta_remote_put(env.meta, &gone, 1, &err), &err);
	expect_ok(backend_remove(env.behind, &here, &err), &err);
	expect_ok(backend_remove(env.behind, &gone, &err), &err);
	env.options.recheck_every_ns = NSEC_PER_MSEC;
	queue_env_start(&env);
	WAIT_FOR(atomic_load(&told.n_lost) == 1 && count_blobs(env.behind) == 1);
	check_blob(env.behind, &here, N, 1);
	WAIT_FOR(queue_env_is_behind(&env, &here));
	check_no_blob(env.behind, &gone);
	assert_true(atomic_load(&parts.forgotten) >= 2);
}

static void what_is_there_is_seen_again(void **state UNUSED)
{
	struct digest d = queue_env_blob(&env, N, 1, 0);
	struct stow_err err;
	int64_t seen = 1;

	put_blob(env.behind, &d, N, 1);
	expect_ok(meta_remote_put(env.meta, &d, 1, &err), &err);
	env.options.recheck_every_ns = NSEC_PER_MSEC;
	queue_env_start(&env);
	WAIT_FOR(meta_remote_get(env.meta, &d, &seen, &err) == 0 && seen > 1);
	assert_int_equal(told.n_lost, 0);
}

/* --- sendings --- */

struct source {
	size_t n;
	unsigned seed;
	atomic_int reads;
};

static int read_filled(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	struct source *s = arg;
	CLEANUP(freep) uint8_t *bytes = x_malloc(s->n);

	atomic_fetch_add(&s->reads, 1);
	fill(bytes, s->n, s->seed);
	memcpy(to, bytes + off, n);
	return 0;
}

/* One that is under way when the COMMIT comes. */
static struct sending *begin_sending(const char *record, struct source *source)
{
	struct stage_hint hint = { .digest = blob_digest(DIGEST_SHA256, source->n, source->seed) };
	struct sending *s;
	struct stow_err err;

	expect_ok(env.behind->ops->behind->send_open(env.behind, record, &hint, 0, read_filled, source, &s,
						     &err),
		  &err);
	env.behind->ops->behind->send_advance(s, source->n);
	return s;
}

static void a_sending_goes_on(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_queue(&env);
	d = commit(N, 1, begin_sending("00000000000000aa", &source));
	assert_int_equal(queue_env_records(&env), 1);
	queue_env_fault(&env, FAULT_SEND_OPEN, 1, true, STOW_INTERNAL); /* no other is begun */
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, soon()));
	check_blob(env.behind, &d, N, 1);
	assert_int_equal(source.reads, 0); /* from `fast` */
	WAIT_FOR(queue_env_records(&env) == 0);
}

static void one_that_cannot_be_moved_is_begun_anew(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_fault(&env, FAULT_SEND_MOVE, 1, true, STOW_INTERNAL);
	queue_env_start(&env);
	d = commit(N, 1, begin_sending("00000000000000aa", &source));
	assert_true(queue_wait(env.queue, &d, soon()));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
}

static void a_second_sending_of_a_blob_is_given_up(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d;

	queue_env_queue(&env);
	d = commit(N, 1, begin_sending("00000000000000aa", &source));
	queue_offer(env.queue, &d, N, begin_sending("00000000000000bb", &source));
	assert_int_equal(queue_env_records(&env), 1);
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, soon()));
}

static void what_was_sent_is_kept_over_a_restart(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d, other = blob_digest(DIGEST_SHA256, N, 2);

	queue_env_queue(&env);
	d = commit(N, 1, begin_sending("00000000000000aa", &source));
	source.seed = 2;
	queue_offer(env.queue, &other, N, begin_sending("00000000000000bb", &source)); /* gets no row */
	queue_env_end(&env);
	assert_int_equal(queue_env_records(&env), 2);
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
	check_no_blob(env.behind, &other);
}

static void what_has_no_row_is_not_uploaded(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d = blob_digest(DIGEST_SHA256, N, 1), next;

	put_blob(env.fast, &d, N, 1);
	queue_env_start(&env);
	queue_offer(env.queue, &d, N, begin_sending("00000000000000aa", &source));
	next = commit(N, 2, NULL);
	assert_true(queue_wait(env.queue, &next, soon()));
	check_no_blob(env.behind, &d);
	queue_cancel(env.queue, &d);
	assert_int_equal(queue_env_records(&env), 0);
}

/* --- removal --- */

static void what_is_removed_is_not_uploaded(void **state UNUSED)
{
	struct source source = { .n = N, .seed = 1 };
	struct digest d, none = some_digest(DIGEST_SHA256, 5);
	struct stow_err err;

	queue_env_queue(&env);
	d = commit(N, 1, begin_sending("00000000000000aa", &source));
	expect_ok(meta_blob_delete(env.meta, &d, &err), &err);
	queue_cancel(env.queue, &d);
	queue_cancel(env.queue, &none);
	assert_true(queue_settle(env.queue, &none, 0));
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(entries(), 0);
	queue_env_start(&env);
	d = commit(N, 2, NULL);
	assert_true(queue_wait(env.queue, &d, soon()));
	assert_int_equal(count_blobs(env.behind), 1);
}

/* Each piece that is read takes its time: it is removed in the middle of it. */
static void removing_does_not_wait_for_the_end(void **state UNUSED)
{
	enum { BIG = 32 << 20 };
	struct stow_err err;
	struct digest d;

	env.options.bandwidth = PACED;
	queue_env_start(&env);
	atomic_store(&env.fast_plan.delay_us, 50000);
	d = commit(BIG, 1, NULL);
	WAIT_FOR(queue_env_records(&env) == 1);
	expect_ok(meta_blob_delete(env.meta, &d, &err), &err);
	queue_cancel(env.queue, &d);
	atomic_store(&env.fast_plan.after[FAULT_PREAD], 1); /* stays: nothing is read any more */
	assert_true(queue_settle(env.queue, &d, soon()));
	assert_int_equal(count_blobs(env.behind), 0);
	assert_int_equal(queue_env_records(&env), 0);
	assert_int_equal(env.fast_plan.after[FAULT_PREAD], 1);
	/* The same content comes again. */
	atomic_store(&env.fast_plan.after[FAULT_PREAD], 0);
	atomic_store(&env.fast_plan.delay_us, 0);
	queue_env_row(&env, BIG, 1, 0);
	queue_recorded(env.queue, &d);
	assert_true(queue_wait(env.queue, &d, soon()));
	check_blob(env.behind, &d, BIG, 1);
}

static void the_end_comes_in_the_middle(void **state UNUSED)
{
	enum { BIG = 32 << 20 };
	struct digest d;

	env.options.bandwidth = PACED;
	queue_env_start(&env);
	atomic_store(&env.fast_plan.delay_us, 50000);
	d = commit(BIG, 1, NULL);
	WAIT_FOR(queue_env_records(&env) == 1);
	queue_env_end(&env);
	assert_int_equal(queue_env_records(&env), 1);
	assert_int_equal(queue_env_pending(&env), 1);
	atomic_store(&env.fast_plan.delay_us, 0);
	queue_env_start(&env);
	WAIT_FOR(queue_env_is_behind(&env, &d));
	WAIT_FOR(queue_env_records(&env) == 0);
}

/* --- all at once --- */

enum { THREADS = 8, EACH = 20 };

static void commit_and_remove(void *arg UNUSED, int i)
{
	for (int k = 0; k < EACH; k++) {
		unsigned seed = (unsigned)(1000 * i + k);
		struct blob_info info = { .digest = blob_digest(DIGEST_SHA256, 100, seed),
					  .size = 100,
					  .created_ns = clock_wall_ns() };
		const struct digest *d = &info.digest;
		struct stow_err err;

		thread_check(try_put_blob(env.fast, d, 100, seed, &err) == 0);
		queue_offer(env.queue, d, 100, NULL);
		thread_check(meta_blob_add(env.meta, &info, NULL, true, &err) == 0);
		queue_recorded(env.queue, d);
		if (k % 3 == 0)
			thread_check(queue_wait(env.queue, d, soon()));
		if (k % 2 != 0)
			continue;
		thread_check(meta_blob_delete(env.meta, d, &err) == 0);
		queue_cancel(env.queue, d);
		thread_check(queue_settle(env.queue, d, soon()));
		thread_check(backend_remove(env.fast, d, &err) == 0);
	}
}

static void everybody_at_once(void **state UNUSED)
{
	env.options.uploads = 4;
	queue_env_start(&env);
	run_threads(THREADS, commit_and_remove, NULL);
	WAIT_FOR(queue_env_pending(&env) == 0);
	WAIT_FOR(queue_env_records(&env) == 0);
	assert_true(count_blobs(env.behind) >= THREADS * EACH / 2);
	assert_int_equal(told.n_lost, 0);
	for (int i = 0; i < THREADS; i++) {
		struct digest d = blob_digest(DIGEST_SHA256, 100, (unsigned)(1000 * i + 1));

		check_blob(env.behind, &d, 100, (unsigned)(1000 * i + 1));
	}
}

/* More than the table holds: the database is walked again when there is room. */
static void more_than_there_is_room_for(void **state UNUSED)
{
	enum { MAX = 16, MORE = 5 * MAX + 3 };

	for (unsigned i = 0; i < MORE; i++)
		queue_env_blob(&env, 100, i, 0);
	atomic_store(&told.refuse, true);
	queue_env_queue(&env);
	env.queue->max = MAX;
	queue_env_start(&env);
	WAIT_FOR(entries() == MAX);
	atomic_store(&told.refuse, false);
	queue_flush(env.queue);
	WAIT_FOR(queue_env_pending(&env) == 0);
	WAIT_FOR(entries() == 0);
	assert_int_equal(told.n_done, MORE);
	assert_int_equal(count_blobs(env.behind), MORE);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(what_is_pending_at_the_start_is_uploaded),
		CASE(a_commit_waits_for_its_upload),
		CASE(an_empty_blob_is_one),
		CASE(waiting_ends_in_time),
		CASE(oldest_first),
		CASE(what_is_there_is_not_sent),
		CASE(what_is_known_to_be_wrong_is_replaced),
		CASE(what_has_a_wrong_size_is_replaced),
		CASE(bandwidth_is_limited),
		CASE(a_failure_puts_it_off),
		CASE(it_is_tried_again_by_itself),
		CASE(an_open_circuit_stops_all),
		CASE(a_storage_that_takes_nothing_is_left_alone),
		CASE(one_that_cannot_be_read_is_its_own_trouble),
		CASE(short_bytes_are_not_sent),
		CASE(what_is_refused_waits),
		CASE(bytes_that_are_nowhere_are_lost),
		CASE(bytes_that_are_only_behind_are_fine),
		CASE(who_cannot_be_asked_loses_nothing),
		CASE(what_has_gone_is_uploaded_again),
		CASE(what_is_there_is_seen_again),
		CASE(a_sending_goes_on),
		CASE(one_that_cannot_be_moved_is_begun_anew),
		CASE(a_second_sending_of_a_blob_is_given_up),
		CASE(what_was_sent_is_kept_over_a_restart),
		CASE(what_has_no_row_is_not_uploaded),
		CASE(what_is_removed_is_not_uploaded),
		CASE(removing_does_not_wait_for_the_end),
		CASE(the_end_comes_in_the_middle),
		CASE(everybody_at_once),
		CASE(more_than_there_is_room_for),
	};

	return cmocka_run_group_tests_name("tiered queue", tests, NULL, NULL);
}
