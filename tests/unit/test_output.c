#include "cmd/output.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <jansson.h>

static void sizes_read_well(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 1024 * 1024 - 1, "1.0 MiB" }, /* not "1024.0 KiB" */
		{ 1024 * 1024 - 60, "1023.9 KiB" },
		{ UINT64_C(1288490189), "1.2 GiB" },
		{ UINT64_C(5) << 40, "5.0 TiB" },
		{ UINT64_MAX, "16.0 EiB" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[OUTPUT_TEXT_MAX];

		output_size(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void ages_read_well(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ -5, "0s" },
		{ 0, "0s" },
		{ 59, "59s" },
		{ 60, "1m" },
		{ 3599, "59m" },
		{ 3600, "1h" },
		{ 86399, "23h" },
		{ 86400, "1d" },
		{ 29 * 86400, "29d" },
		{ 31 * 86400, "1mo" },
		{ 364 * 86400, "12mo" },
		{ INT64_C(800) * 86400, "2y" },
		{ INT64_MAX / NSEC_PER_SEC, "292y" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[OUTPUT_TEXT_MAX];

		output_age(cases[i].seconds * NSEC_PER_SEC, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void times_have_their_age(void **state)
{
	char text[OUTPUT_TEXT_MAX];

	(void)state;
	output_when(INT64_C(1000000000) * NSEC_PER_SEC + 7, INT64_C(1000007200) * NSEC_PER_SEC + 7, text);
	assert_string_equal(text, "2001-09-09T01:46:40Z (2h ago)");
}

static void texts_are_cleaned(void **state)
{
	CLEANUP(freep) char *clean = output_clean("a\"b \xc3\xa4\n\x1b[31m\xff");
	CLEANUP(freep) char *empty = output_clean("");

	(void)state;
	assert_string_equal(clean, "a\"b \xc3\xa4\\n\\x1b[31m\\xff");
	assert_string_equal(empty, "");
}

/* --- tables and JSON, into memory --- */

struct memory {
	FILE *to;
	char *text;
	size_t n;
};

static void memory_open(struct memory *m)
{
	m->to = open_memstream(&m->text, &m->n);
	assert_non_null(m->to);
}

static void memory_free(struct memory *m)
{
	free(m->text);
}

static const struct table_column COLUMNS[] = { { "NAME", false }, { "SIZE", true }, { "LAST", false } };

static void tables_are_aligned(void **state)
{
	CLEANUP(memory_free) struct memory m = { 0 };
	struct table *t;

	(void)state;
	memory_open(&m);
	t = table_new(m.to, COLUMNS, ARRAY_LEN(COLUMNS));
	table_row(t, (const char *[]){ "\xc3\xa4\xc3\xb6", "1", "x" });
	table_row(t, (const char *[]){ "long name", "12345", "y\n" });
	table_end(t);
	fclose(m.to);
	assert_string_equal(m.text, "NAME        SIZE  LAST\n"
				    "\xc3\xa4\xc3\xb6             1  x\n"
				    "long name  12345  y\\n\n");
}

static void empty_tables_have_titles(void **state)
{
	CLEANUP(memory_free) struct memory m = { 0 };

	(void)state;
	memory_open(&m);
	table_end(table_new(m.to, COLUMNS, ARRAY_LEN(COLUMNS)));
	fclose(m.to);
	assert_string_equal(m.text, "NAME  SIZE  LAST\n");
}

static void long_tables_are_not_held(void **state)
{
	CLEANUP(memory_free) struct memory m = { 0 };
	struct table *t;
	size_t lines = 0, held;

	(void)state;
	memory_open(&m);
	t = table_new(m.to, COLUMNS, ARRAY_LEN(COLUMNS));
	for (int i = 0; i < TABLE_ROWS_HELD; i++)
		table_row(t, (const char *[]){ "a", "1", "x" });
	fflush(m.to);
	assert_int_equal(m.n, 0);
	table_row(t, (const char *[]){ "wider", "2", "x" });
	fflush(m.to);
	held = m.n;
	assert_true(held > 0);
	table_row(t, (const char *[]){ "b", "3", "x" });
	fflush(m.to);
	assert_string_equal(m.text + held, "b        3  x\n");
	table_end(t);
	fclose(m.to);
	for (const char *s = m.text; *s; s++)
		lines += *s == '\n';
	assert_int_equal(lines, TABLE_ROWS_HELD + 3);
}

static json_t *parsed(const struct memory *m)
{
	json_error_t e;
	json_t *v = json_loads(m->text, JSON_REJECT_DUPLICATES, &e);

	assert_non_null(v);
	return v;
}

static struct record *full_record(void)
{
	struct record *r = record_new(), *item = record_new();
	struct labels labels = { 0 };
	struct digest none = { 0 };
	struct stow_err err;

	assert_int_equal(labels_set(&labels, "k\"\xfe", "v\n", &err), 0);
	record_text(r, "text", "\xff\x1b \xc3\xa4");
	record_text(r, "nothing", NULL);
	record_number(r, "number", UINT64_C(1) << 60);
	record_bool(r, "bool", true);
	record_null(r, "null");
	record_time(r, "time", 0);
	record_digest(r, "digest", &none);
	record_labels(r, "labels", &labels);
	record_append(r, "empty", NULL);
	record_text(item, "a", "b");
	record_append(r, "items", item);
	record_append(r, "items", NULL);
	labels_free(&labels);
	return r;
}

static void records_are_json(void **state)
{
	CLEANUP(memory_free) struct memory m = { 0 };
	json_t *v;

	(void)state;
	memory_open(&m);
	record_print(full_record(), m.to);
	fclose(m.to);
	assert_ptr_equal(strchr(m.text, '\n'), m.text + m.n - 1);
	v = parsed(&m);
	assert_string_equal(json_string_value(json_object_get(v, "text")), "\xef\xbf\xbd\x1b \xc3\xa4");
	assert_true(json_is_null(json_object_get(v, "nothing")));
	assert_true(json_integer_value(json_object_get(v, "number")) == (INT64_C(1) << 60));
	assert_true(json_is_true(json_object_get(v, "bool")));
	assert_true(json_is_null(json_object_get(v, "null")));
	assert_string_equal(json_string_value(json_object_get(v, "time")), "1970-01-01T00:00:00.000000000Z");
	assert_true(json_is_null(json_object_get(v, "digest")));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(v, "labels"), "k\"\xef\xbf\xbd")), "v\n");
	assert_int_equal(json_array_size(json_object_get(v, "items")), 1);
	assert_true(json_is_array(json_object_get(v, "empty")));
	json_decref(v);
}

static void lists_are_json(void **state)
{
	(void)state;
	for (size_t n = 0; n < 4; n++) {
		CLEANUP(memory_free) struct memory m = { 0 };
		struct records l;
		json_t *v;

		memory_open(&m);
		records_begin(&l, m.to);
		for (size_t i = 0; i < n; i++) {
			struct record *r = record_new();

			record_number(r, "i", i);
			records_add(&l, r);
		}
		records_end(&l);
		fclose(m.to);
		v = parsed(&m);
		assert_int_equal(json_array_size(v), n);
		json_decref(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_read_well),          cmocka_unit_test(ages_read_well),
		cmocka_unit_test(times_have_their_age),     cmocka_unit_test(texts_are_cleaned),
		cmocka_unit_test(tables_are_aligned),       cmocka_unit_test(empty_tables_have_titles),
		cmocka_unit_test(long_tables_are_not_held), cmocka_unit_test(records_are_json),
		cmocka_unit_test(lists_are_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
