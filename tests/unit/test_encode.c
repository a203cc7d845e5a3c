#include "content/base/compiler.h"
#include "content/base/encode.h"
#include "content/base/hmac.h"
#include "tests/unit/unit.h"

#include <string.h>

/* RFC 4648, section 10. */
static void base64_matches_the_rfc(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = { { "", "" },
		      { "f", "Zg==" },
		      { "fo", "Zm8=" },
		      { "foo", "Zm9v" },
		      { "foob", "Zm9vYg==" },
		      { "fooba", "Zm9vYmE=" },
		      { "foobar", "Zm9vYmFy" } };
	char out[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		base64_encode(out, (const uint8_t *)cases[i].in, strlen(cases[i].in));
		assert_string_equal(out, cases[i].out);
		assert_int_equal(BASE64_SIZE(strlen(cases[i].in)), strlen(out) + 1);
	}
}

static void base64_is_read_strictly(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		bool good;
	} cases[] = { { "", 0, true },      { "Zg==", 1, true },    { "Zm8=", 2, true },
		      { "Zm9v", 3, true },  { "Zm9v", 2, false },   { "Zm8=", 3, false },
		      { "Zh==", 1, false }, { "Zm9=", 2, false },   { "Z===", 1, false },
		      { "Zg=", 1, false },  { "Zg==\n", 1, false }, { "Z-8=", 2, false },
		      { "Zg=A", 1, false }, { "=m9v", 3, false },   { "Zm8=Zm8=", 4, false } };
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool good = base64_decode(cases[i].in, strlen(cases[i].in), out, cases[i].n);

		assert_int_equal(good, cases[i].good);
		if (good)
			assert_memory_equal(out, "foo", cases[i].n);
	}
}

static void hex_is_lower_case(void **state)
{
	char out[9];

	(void)state;
	hex_encode(out, (const uint8_t[]){ 0x00, 0x7f, 0xab, 0xff }, 4);
	assert_string_equal(out, "007fabff");
}

/* RFC 4231, test cases 1, 2 and 6 (a key longer than a block). */
static void hmac_matches_the_rfc(void **state)
{
	uint8_t key[131], mac[HMAC_SHA256_LEN];
	char hex[2 * sizeof(mac) + 1];

	(void)state;
	memset(key, 0x0b, 20);
	hmac_sha256(key, 20, "Hi There", 8, mac);
	hex_encode(hex, mac, sizeof(mac));
	assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	hex_encode(hex, mac, sizeof(mac));
	assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
	hex_encode(hex, mac, sizeof(mac));
	assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_may_overwrite_its_key(void **state)
{
	uint8_t key[HMAC_SHA256_LEN] = { 1, 2, 3 }, mac[HMAC_SHA256_LEN];

	(void)state;
	hmac_sha256(key, sizeof(key), "x", 1, mac);
	hmac_sha256(key, sizeof(key), "x", 1, key);
	assert_memory_equal(key, mac, sizeof(mac));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_matches_the_rfc),     cmocka_unit_test(base64_is_read_strictly),
		cmocka_unit_test(hex_is_lower_case),          cmocka_unit_test(hmac_matches_the_rfc),
		cmocka_unit_test(hmac_may_overwrite_its_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
