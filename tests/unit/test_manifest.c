/* The children of manifests and indexes. */
#include "backends/tiered/manifest.h"
#include "content/base/mem.h"
#include "tests/unit/store_env.h"

#include <stdio.h>

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CHILD(hex, size) "{\"digest\":\"sha256:" hex "\",\"size\":" size "}"

static struct fleet_child v[MANIFEST_CHILDREN];

static size_t children(const char *text)
{
	return manifest_children(text, strlen(text), v);
}

static void expect_child(size_t i, uint8_t byte, uint64_t size)
{
	assert_int_equal(v[i].digest.alg, DIGEST_SHA256);
	assert_int_equal(v[i].digest.b[0], byte);
	assert_int_equal(v[i].digest.b[31], byte);
	assert_int_equal(v[i].size, size);
}

static void a_manifest_has_its_config_first(void **state UNUSED)
{
	assert_int_equal(children("{\"layers\":[" CHILD(HEX_B, "20") "],\"config\":" CHILD(HEX_A, "10") "}"),
			 2);
	expect_child(0, 0xaa, 10);
	expect_child(1, 0xbb, 20);
	assert_int_equal(children("{\"layers\":[" CHILD(HEX_B, "20") "]}"), 1);
	expect_child(0, 0xbb, 20);
}

static void an_index_has_manifests(void **state UNUSED)
{
	assert_int_equal(children("{\"manifests\":[" CHILD(HEX_A, "1") "," CHILD(HEX_B, "-5") "]}"), 2);
	expect_child(0, 0xaa, 1);
	expect_child(1, 0xbb, 0);
}

static void other_documents_have_none(void **state UNUSED)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"7",
		"{}",
		"{\"layers\":{}}",
		"{\"manifests\":null}",
		"{\"config\":" CHILD(HEX_A, "1") "}",
		"[" CHILD(HEX_A, "1") "]",
		"{\"layers\":[" CHILD(HEX_A, "1") "],\"manifests\":[" CHILD(HEX_B, "1") "]}",
		"{\"layers\":[],\"layers\":[" CHILD(HEX_A, "1") "]}",
		"\x1f\x8b\x08 a layer",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(children(texts[i]), 0);
}

static void bad_children_are_left_out(void **state UNUSED)
{
	assert_int_equal(
		children("{\"layers\":[null,{},{\"digest\":7},{\"digest\":\"sha256:abc\"},\"x\"," CHILD(
			HEX_A, "\"7\"") "]}"),
		1);
	expect_child(0, 0xaa, 0);
}

static void there_is_a_cap(void **state UNUSED)
{
	char text[64 + (MANIFEST_CHILDREN + 10) * 100] = "{\"manifests\":[";
	size_t n = strlen(text);

	for (int i = 0; i < MANIFEST_CHILDREN + 9; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s,", CHILD(HEX_B, "1"));
	snprintf(text + n, sizeof(text) - n, "%s]}", CHILD(HEX_A, "1"));
	assert_int_equal(children(text), MANIFEST_CHILDREN);
	expect_child(MANIFEST_CHILDREN - 1, 0xbb, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_has_its_config_first),
		cmocka_unit_test(an_index_has_manifests),
		cmocka_unit_test(other_documents_have_none),
		cmocka_unit_test(bad_children_are_left_out),
		cmocka_unit_test(there_is_a_cap),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
