/* The queue of uploads over storages in memory that fail as planned. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

enum { N = 20000 }; /* bytes of a blob */
/* Bytes a second: no limit, but what is sent is paced, so that something is sent before the end. */
static const uint64_t PACED = UINT64_C(1) << 40;

static struct queue_env env;

static int setup(void **state UNUSED)
{
	queue_env_make(&env);
	queue_env_listen(&env);
	return 0;
}

static int teardown(void **state UNUSED)
{
	queue_env_remove(&env);
	return 0;
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
	d = queue_env_commit(&env, N, 1, NULL);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	assert_true(queue_env_is_behind(&env, &d));
	check_blob(env.behind, &d, N, 1);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	assert_false(queue_wait(env.queue, &none, queue_env_soon()));
}

static void an_empty_blob_is_one(void **state UNUSED)
{
	struct digest d;

	queue_env_start(&env);
	d = queue_env_commit(&env, 0, 1, NULL);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	check_blob(env.behind, &d, 0, 1);
	WAIT_FOR(queue_env_status(&env).uploaded == 1);
}

static void waiting_ends_in_time(void **state UNUSED)
{
	struct digest d;

	queue_env_queue(&env); /* and is not started */
	d = queue_env_commit(&env, N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, clock_mono_ns() + NSEC_PER_MSEC));
	queue_env_start(&env);
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
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
	d = queue_env_commit(&env, N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, queue_env_soon()));
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
	assert_true(queue_wait(env.queue, &d, queue_env_soon()));
	check_blob(env.behind, &d, N, 1);
	WAIT_FOR(queue_env_records(&env) == 0);
	assert_string_equal(queue_env_status(&env).upload_error, "");
}

static void it_is_tried_again_by_itself(void **state UNUSED)
{
	struct digest d;

	queue_env_start(&env);
	queue_env_fault(&env, FAULT_SEND_FINISH, 1, false, STOW_UNAVAILABLE);
	d = queue_env_commit(&env, N, 1, NULL);
	assert_false(queue_wait(env.queue, &d, queue_env_soon()));
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
	assert_false(queue_wait(env.queue, &d[0], queue_env_soon()));
	assert_int_equal(queue_env_pending(&env), BLOBS);
	queue_env_fault(&env, FAULT_LOOK, 0, false, STOW_OK);
	queue_flush(env.queue); /* which probes */
	WAIT_FOR(queue_env_pending(&env) == 0);
	for (unsigned i = 0; i < BLOBS; i++)
		check_blob(env.behind, &d[i], N, i);
}

/* Consecutive failures of sendings. */
static unsigned failures(void)
{
	LOCK_SCOPE(&env.queue->lock);

	return env.queue->failures;
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
	assert_false(queue_wait(env.queue, &d[BLOBS - 1], queue_env_soon()));
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
	bad = queue_env_commit(&env, N, 1, NULL);
	assert_false(queue_wait(env.queue, &bad, queue_env_soon()));
	assert_non_null(strstr(queue_env_status(&env).upload_error, "read it here: planned fault in pread"));
	good = queue_env_commit(&env, N, 2, NULL);
	assert_true(queue_wait(env.queue, &good, queue_env_soon()));
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
	};

	return cmocka_run_group_tests_name("tiered queue", tests, NULL, NULL);
}
