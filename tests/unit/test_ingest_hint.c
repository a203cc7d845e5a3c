/* What the store tells its backend of the bytes that are to come. */
#include "content/base/mem.h"
#include "tests/unit/store_env.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct backend_ops spied;
static const struct backend_ops *real;
static struct stage_hint created, resumed; /* of the last call */

static int spy_create(struct backend *b, const char *name, const struct stage_hint *hint,
		      struct stage **ret_st, struct stow_err *err)
{
	created = *hint;
	return real->stage_create(b, name, hint, ret_st, err);
}

static int spy_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
		      struct stage **ret_st, struct stow_err *err)
{
	resumed = *hint;
	return real->stage_resume(b, name, size, hint, ret_st, err);
}

static int setup(void **state UNUSED)
{
	env_make(&env, ENV_MEM);
	real = env.mem->ops;
	spied = *real;
	spied.stage_create = spy_create;
	spied.stage_resume = spy_resume;
	env.mem->ops = &spied;
	created = resumed = (struct stage_hint){ 0 };
	env_open(&env);
	return 0;
}

static void check_hint(const struct stage_hint *hint, const struct digest *d, uint64_t total)
{
	assert_int_equal(hint->total, total);
	assert_true(digest_equal(&hint->digest, d));
}

static void nothing_declared_is_no_hint(void **state UNUSED)
{
	static const struct digest none;

	close_ok(ingest_of(&env, "ref"));
	check_hint(&created, &none, 0);
	close_ok(ingest_of(&env, "ref"));
	check_hint(&resumed, &none, 0);
}

static void the_declaration_is_the_hint(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA512, 1);

	close_ok(ingest_declared(&env, "ref", 4000, &d));
	check_hint(&created, &d, 4000);
}

static void a_pull_tells_by_its_ref(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 1), other = some_digest(DIGEST_SHA256, 2);
	char text[DIGEST_STR_MAX], ref[200];

	digest_format(&d, text);
	snprintf(ref, sizeof(ref), "default/12/layer-%s", text);
	close_ok(ingest_declared(&env, ref, 4000, NULL));
	check_hint(&created, &d, 4000);
	/* What was declared goes before what was guessed. */
	close_ok(ingest_declared(&env, ref, 0, &other));
	check_hint(&resumed, &other, 4000);
}

static void what_was_parked_is_remembered(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 1), other = some_digest(DIGEST_SHA256, 2);

	close_ok(ingest_declared(&env, "ref", 4000, &d));
	close_ok(ingest_of(&env, "ref"));
	check_hint(&resumed, &d, 4000);
	close_ok(ingest_declared(&env, "ref", 4001, &other));
	check_hint(&resumed, &other, 4001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_declared_is_no_hint, setup, env_teardown),
		cmocka_unit_test_setup_teardown(the_declaration_is_the_hint, setup, env_teardown),
		cmocka_unit_test_setup_teardown(a_pull_tells_by_its_ref, setup, env_teardown),
		cmocka_unit_test_setup_teardown(what_was_parked_is_remembered, setup, env_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
