/* The circuit of a storage behind: what opens it, what closes it, what is told. */
#include "content/base/mem.h"
#include "tests/unit/queue_env.h"

static struct queue_env env;

static int setup(void **state UNUSED)
{
	queue_env_make(&env);
	return 0;
}

static int teardown(void **state UNUSED)
{
	queue_env_remove(&env);
	return 0;
}

static void report(enum stow_code code, int times)
{
	struct stow_err err;

	stow_fail(&err, code, "it is down");
	for (int i = 0; i < times; i++)
		tier_report(&env.tiers.v[0], &err);
}

static void failures_in_a_row_open_it(void **state UNUSED)
{
	struct tier *t = &env.tiers.v[0];
	struct fleet_behind st;

	report(STOW_UNAVAILABLE, TIER_FAILURES - 1);
	assert_true(tier_usable(t));
	tier_report(t, NULL);
	report(STOW_UNAVAILABLE, TIER_FAILURES - 1);
	assert_true(tier_usable(t));
	report(STOW_NOT_FOUND, 1); /* an answer, too */
	report(STOW_PERMISSION_DENIED, TIER_FAILURES - 1);
	assert_true(tier_usable(t));
	tier_status(t, &st);
	assert_false(st.away);
	assert_string_equal(st.name, "bucket");
	assert_string_equal(st.error, "");
	report(STOW_DEADLINE_EXCEEDED, 1);
	assert_false(tier_usable(t));
	tier_status(t, &st);
	assert_true(st.away);
	assert_true(st.since_ns > 0);
	assert_string_equal(st.error, "it is down");
	tier_report(t, NULL); /* of what was asked before */
	assert_false(tier_usable(t));
}

static void what_concerns_one_blob_does_not(void **state UNUSED)
{
	report(STOW_NOT_FOUND, 20);
	report(STOW_DATA_LOSS, 20);
	report(STOW_ALREADY_EXISTS, 20);
	report(STOW_CANCELLED, 20);
	assert_true(tier_usable(&env.tiers.v[0]));
}

static void a_stuck_one_is_not_trusted_for_a_while(void **state UNUSED)
{
	struct tier *t = &env.tiers.v[0];

	assert_true(tier_trusted(t));
	tier_stuck(t);
	assert_false(tier_trusted(t));
	assert_true(tier_usable(t));
	tier_report(t, NULL); /* a look that was answered proves nothing */
	assert_false(tier_trusted(t));
	report(STOW_UNAVAILABLE, TIER_FAILURES);
	assert_false(tier_usable(t));
}

static atomic_int returns;

static void count_return(void *arg UNUSED)
{
	atomic_fetch_add(&returns, 1);
}

/* Nothing is known until something has answered; the first that asks is the probe. */
static void the_start_is_probed(void **state UNUSED)
{
	struct fleet_behind st;

	tier_status(&env.tiers.v[0], &st);
	assert_false(st.away);
	assert_false(st.answered);
	tiers_start(&env.tiers);
	do {
		tier_status(&env.tiers.v[0], &st);
		(void)usleep(500);
	} while (!st.answered);
	assert_false(st.away);
}

static void a_start_without_it_opens_it(void **state UNUSED)
{
	struct fleet_behind st;

	atomic_store(&returns, 0);
	tiers_on_return(&env.tiers, count_return, NULL);
	queue_env_fault(&env, FAULT_PROBE, 1, true, STOW_PERMISSION_DENIED);
	tiers_start(&env.tiers);
	WAIT_FOR(!tier_usable(&env.tiers.v[0]));
	tier_status(&env.tiers.v[0], &st);
	assert_true(st.away);
	assert_false(st.answered);
	assert_string_equal(st.error, "planned fault in probe");
	queue_env_fault(&env, FAULT_PROBE, 0, false, STOW_OK);
	tier_probe(&env.tiers.v[0]);
	WAIT_FOR(tier_usable(&env.tiers.v[0]));
	WAIT_FOR(atomic_load(&returns) == 1);
}

/* Who asks waits for minutes perhaps; the probe does not. */
static void silence_is_probed(void **state UNUSED)
{
	struct tier *t = &env.tiers.v[0];
	struct fleet_behind st;

	env.tiers.patience_ns = 10 * NSEC_PER_MSEC;
	tiers_start(&env.tiers);
	do {
		tier_status(t, &st);
		(void)usleep(500);
	} while (!st.answered);
	queue_env_fault(&env, FAULT_PROBE, 1, true, STOW_UNAVAILABLE);
	/* Nobody waits: nobody is asked. */
	tier_ask(t);
	tier_report(t, NULL);
	(void)usleep(50 * 1000);
	assert_true(tier_usable(t));
	tier_ask(t);
	report(STOW_CANCELLED, 1); /* no answer */
	report(STOW_UNAVAILABLE, 1);
	WAIT_FOR(!tier_usable(t));
	tier_status(t, &st);
	assert_string_equal(st.error, "planned fault in probe");
}

static void a_probe_closes_it(void **state UNUSED)
{
	struct tier *t = &env.tiers.v[0];
	struct fleet_behind st;

	atomic_store(&returns, 0);
	tiers_on_return(&env.tiers, count_return, NULL);
	queue_env_fault(&env, FAULT_PROBE, 1, true, STOW_PERMISSION_DENIED);
	report(STOW_UNAVAILABLE, TIER_FAILURES);
	tiers_start(&env.tiers);
	tier_probe(t);
	/* One that fails says why now. */
	do {
		tier_status(t, &st);
		(void)usleep(500);
	} while (strcmp(st.error, "planned fault in probe") != 0);
	assert_false(tier_usable(t));
	assert_int_equal(returns, 0);
	queue_env_fault(&env, FAULT_PROBE, 0, false, STOW_OK);
	tier_probe(t);
	WAIT_FOR(atomic_load(&returns) == 1);
	assert_true(tier_usable(t));
	tier_probe(t); /* nothing to be done */
	report(STOW_UNAVAILABLE, TIER_FAILURES - 1);
	assert_true(tier_usable(t)); /* counted anew */
}

static void it_stops_while_it_is_open(void **state UNUSED)
{
	queue_env_fault(&env, FAULT_PROBE, 1, true, STOW_UNAVAILABLE);
	tiers_start(&env.tiers);
	report(STOW_UNAVAILABLE, TIER_FAILURES);
	assert_false(tier_usable(&env.tiers.v[0]));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(failures_in_a_row_open_it),
		CASE(what_concerns_one_blob_does_not),
		CASE(a_stuck_one_is_not_trusted_for_a_while),
		CASE(the_start_is_probed),
		CASE(a_start_without_it_opens_it),
		CASE(silence_is_probed),
		CASE(a_probe_closes_it),
		CASE(it_stops_while_it_is_open),
	};

	return cmocka_run_group_tests_name("tiered tier", tests, NULL, NULL);
}
