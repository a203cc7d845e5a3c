#include "content/base/buf.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static void append_grows_up_to_the_limit(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err = { 0 };

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 1000; i++) {
		uint8_t byte = (uint8_t)i;

		assert_int_equal(buf_append(&b, &byte, 1, &err), 0);
		assert_true(b.cap <= b.max);
	}
	assert_int_equal(b.len, 1000);
	assert_int_equal(buf_append(&b, "x", 1, &err), -1);
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(buf_append(&b, NULL, 0, &err), 0);
	assert_int_equal(buf_append(&b, "x", SIZE_MAX, &err), -1);
	assert_int_equal(b.len, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(b.p[i], (uint8_t)i);
}

static void append_takes_a_large_piece(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	char piece[300];

	(void)state;
	memset(piece, 'p', sizeof(piece));
	buf_init(&b, 601);
	assert_int_equal(buf_append(&b, "a", 1, &err), 0);
	assert_int_equal(buf_append(&b, piece, sizeof(piece), &err), 0);
	assert_int_equal(buf_append(&b, piece, sizeof(piece), &err), 0);
	assert_int_equal(b.len, 601);
	assert_int_equal(b.cap, 601);
}

static void reset_keeps_memory_and_free_is_init(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	size_t cap;

	(void)state;
	buf_init(&b, 100);
	assert_null(b.p);
	assert_int_equal(buf_append(&b, "abc", 3, &err), 0);
	cap = b.cap;
	buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.cap, cap);
	assert_int_equal(buf_append(&b, "d", 1, &err), 0);
	assert_int_equal(b.p[0], 'd');
	buf_free(&b);
	assert_null(b.p);
	assert_int_equal(buf_append(&b, "e", 1, &err), 0);
	assert_int_equal(b.max, 100);
}

static void printf_appends_without_nul(void **state)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	char want[2000], text[1001];
	int n;

	(void)state;
	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	buf_init(&b, 1010);
	assert_int_equal(buf_printf(&b, &err, "%d-%s;", 42, "x"), 0);
	assert_int_equal(buf_printf(&b, &err, "%s%d", text, 7), 0);
	n = snprintf(want, sizeof(want), "42-x;%s7", text);
	assert_int_equal(b.len, n);
	assert_memory_equal(b.p, want, (size_t)n);

	assert_int_equal(buf_printf(&b, &err, "%s", "12345"), -1);
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(buf_printf(&b, &err, "%s", text), -1);
	assert_int_equal(err.code, STOW_RESOURCE_EXHAUSTED);
	assert_int_equal(b.len, n);
	assert_int_equal(buf_printf(&b, &err, "%s", "1234"), 0);
}

static void x_functions_never_return_null(void **state)
{
	CLEANUP(freep) char *a = x_malloc(0);
	CLEANUP(freep) char *b = x_calloc(0, 8);
	CLEANUP(freep) char *c = x_reallocarray(NULL, 0, 4);
	CLEANUP(freep) char *d = x_asprintf("%d/%s", 7, "x");
	CLEANUP(freep) char *e = x_strndup("abcdef", 3);
	CLEANUP(freep) char *f = TAKE(e);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	c = x_reallocarray(c, 0, 4);
	assert_non_null(c);
	assert_string_equal(d, "7/x");
	assert_null(e);
	assert_string_equal(f, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(append_grows_up_to_the_limit),
		cmocka_unit_test(append_takes_a_large_piece),
		cmocka_unit_test(reset_keeps_memory_and_free_is_init),
		cmocka_unit_test(printf_appends_without_nul),
		cmocka_unit_test(x_functions_never_return_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
