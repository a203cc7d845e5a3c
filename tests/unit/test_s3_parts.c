/* How a blob is cut into parts, at the sizes where that changes. */
#include "backends/s3/parts.h"
#include "tests/unit/unit.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void parts_follow_one_another(void **state)
{
	static const uint64_t firsts[] = { S3_PART_MIN, 16 * MIB, 1 * GIB, S3_PUT_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++) {
		uint64_t offset = 0;

		for (unsigned number = 1; number <= S3_PARTS_MAX; number++) {
			assert_int_equal(part_offset(firsts[i], number), offset);
			assert_in_range(part_length(firsts[i], number), S3_PART_MIN, S3_PUT_MAX);
			offset += part_length(firsts[i], number);
		}
		assert_true(offset >= S3_OBJECT_MAX);
	}
}

static void they_grow_by_and_by(void **state)
{
	(void)state;
	assert_int_equal(part_length(16 * MIB, 1), 16 * MIB);
	assert_int_equal(part_length(16 * MIB, 900), 16 * MIB);
	assert_int_equal(part_length(16 * MIB, 901), 32 * MIB);
	assert_int_equal(part_length(16 * MIB, 1801), 64 * MIB);
	assert_int_equal(part_offset(16 * MIB, 901), 900 * 16 * MIB);
	assert_int_equal(part_length(3 * GIB, 901), S3_PUT_MAX);
}

static void count_is_that_of_the_last_byte(void **state)
{
	const uint64_t step = 900 * 5 * MIB; /* that do not grow */

	(void)state;
	assert_int_equal(part_count(5 * MIB, 0), 1);
	assert_int_equal(part_count(5 * MIB, 1), 1);
	assert_int_equal(part_count(5 * MIB, 5 * MIB), 1);
	assert_int_equal(part_count(5 * MIB, 5 * MIB + 1), 2);
	assert_int_equal(part_count(5 * MIB, step), 900);
	assert_int_equal(part_count(5 * MIB, step + 1), 901);
	assert_int_equal(part_count(5 * MIB, step + 10 * MIB), 901);
	assert_int_equal(part_count(5 * MIB, step + 10 * MIB + 1), 902);
	assert_in_range(part_count(5 * MIB, S3_OBJECT_MAX), 8101, S3_PARTS_MAX);
	assert_int_equal(part_count(5 * MIB, UINT64_MAX), S3_PARTS_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_follow_one_another),
		cmocka_unit_test(they_grow_by_and_by),
		cmocka_unit_test(count_is_that_of_the_last_byte),
	};

	return cmocka_run_group_tests_name("s3 parts", tests, NULL, NULL);
}
