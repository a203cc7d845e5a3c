#include "content/base/hash.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

/* FIPS 180-4's examples: nothing, "abc", a million times "a". */
static const struct {
	enum digest_alg alg;
	const char *empty, *abc, *million;
} vectors[] = {
	{
		DIGEST_SHA256,
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	},
	{
		DIGEST_SHA384,
		"sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da"
		"274edebfe76f65fbd51ad2f14898b95b",
		"sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		"8086072ba1e7cc2358baeca134c825a7",
		"sha384:9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b"
		"07b8b3dc38ecc4ebae97ddd87f3d8985",
	},
	{
		DIGEST_SHA512,
		"sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
		"sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"sha512:e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
		"de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
	},
};

static void expect_digest(const struct hash *h, const char *want)
{
	char text[DIGEST_STR_MAX];
	struct digest d;

	hash_digest(h, &d);
	digest_format(&d, text);
	assert_string_equal(text, want);
}

static void published_vectors(void **state)
{
	char piece[1000];

	(void)state;
	memset(piece, 'a', sizeof(piece));
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		CLEANUP(hash_freep) struct hash *h = hash_new(vectors[v].alg);

		expect_digest(h, vectors[v].empty);
		hash_update(h, "ab", 2);
		hash_update(h, "", 0);
		hash_update(h, "c", 1);
		expect_digest(h, vectors[v].abc);
		expect_digest(h, vectors[v].abc); /* looking changes nothing */
		hash_reset(h);
		for (int i = 0; i < 1000; i++) {
			struct digest d;

			hash_update(h, piece, sizeof(piece));
			hash_digest(h, &d); /* and the hash goes on */
		}
		expect_digest(h, vectors[v].million);
	}
}

/* Saved at every offset across several blocks, taken up by another hash, and gone on with. */
static void save_and_restore_at_every_offset(void **state)
{
	enum { OFFSETS = 301, TOTAL = 700 };
	uint8_t data[TOTAL];

	(void)state;
	for (size_t i = 0; i < TOTAL; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		CLEANUP(hash_freep) struct hash *whole = hash_new(vectors[v].alg);
		struct digest want;

		hash_update(whole, data, TOTAL);
		hash_digest(whole, &want);
		for (size_t at = 0; at < OFFSETS; at++) {
			CLEANUP(hash_freep) struct hash *a = hash_new(vectors[v].alg);
			CLEANUP(hash_freep) struct hash *b = hash_new(vectors[v].alg);
			struct hash_state st, again;
			struct stow_err err;
			struct digest da, db;

			hash_update(a, data, at);
			hash_save(a, &st);
			assert_int_equal(hash_state_count(&st), at);
			hash_update(b, "something else", 14);
			assert_int_equal(hash_restore(b, &st, &err), 0);
			hash_digest(a, &da);
			hash_digest(b, &db);
			assert_true(digest_equal(&da, &db));
			hash_save(b, &again);
			assert_memory_equal(&again, &st, sizeof(st));
			hash_update(a, data + at, TOTAL - at);
			hash_update(b, data + at, TOTAL - at);
			hash_digest(a, &da);
			hash_digest(b, &db);
			assert_true(digest_equal(&da, &want));
			assert_true(digest_equal(&db, &want));
		}
	}
}

/* The form on disk: a change would make every parked ingest of an older version start again. */
static void saved_form_is_fixed(void **state)
{
	static const uint8_t want[] = {
		1,                                              /* sha256 */
		0,    0,    0,    0,    0,    0,    0,    3,    /* bytes */
		0x6a, 0x09, 0xe6, 0x67, 0xbb, 0x67, 0xae, 0x85, /* the initial words */
		0x3c, 0x6e, 0xf3, 0x72, 0xa5, 0x4f, 0xf5, 0x3a, 0x51, 0x0e, 0x52, 0x7f, 0x9b, 0x05,
		0x68, 0x8c, 0x1f, 0x83, 0xd9, 0xab, 0x5b, 0xe0, 0xcd, 0x19, 'a',  'b',  'c', /* the open block
											      */
	};
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	struct hash_state st;

	(void)state;
	hash_update(h, "abc", 3);
	hash_save(h, &st);
	assert_int_equal(st.len, sizeof(want));
	assert_memory_equal(st.b, want, sizeof(want));
}

/* Counts over 2^32 bits and bytes, which no test can afford to hash: restore says them, save must
 * say the same, and the digest must depend on them (padding holds the length). */
static void large_counts_survive(void **state)
{
	static const uint64_t counts[] = { UINT64_C(1) << 29, UINT64_C(1) << 32, (UINT64_C(1) << 40) + 128,
					   (UINT64_C(1) << 59) };

	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		CLEANUP(hash_freep) struct hash *h = hash_new(vectors[v].alg);
		uint8_t block[128] = { 0 };
		struct digest last = { 0 };

		for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
			struct hash_state st, again;
			struct stow_err err;
			struct digest d;

			hash_reset(h);
			hash_update(h, block, sizeof(block));
			hash_save(h, &st);
			for (int byte = 0; byte < 8; byte++)
				st.b[1 + byte] = (uint8_t)(counts[i] >> (56 - 8 * byte));
			assert_int_equal(hash_restore(h, &st, &err), 0);
			hash_save(h, &again);
			assert_memory_equal(&again, &st, sizeof(st));
			hash_digest(h, &d);
			assert_false(digest_equal(&d, &last));
			last = d;
		}
	}
}

static void expect_no_state(struct hash *h, const struct hash_state *st)
{
	struct stow_err err = { 0 };
	struct digest before, after;

	hash_digest(h, &before);
	assert_int_equal(hash_restore(h, st, &err), -1);
	assert_int_equal(err.code, STOW_DATA_LOSS);
	hash_digest(h, &after);
	assert_true(digest_equal(&before, &after));
}

static void what_is_no_state_is_refused(void **state)
{
	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(vectors); v++) {
		CLEANUP(hash_freep) struct hash *h = hash_new(vectors[v].alg);
		struct hash_state good, bad;
		struct stow_err err;

		hash_update(h, "0123456789", 10);
		hash_save(h, &good);

		for (int len = 0; len < 256; len++) { /* every length but the one */
			bad = good;
			bad.len = (uint8_t)len;
			if (len != good.len)
				expect_no_state(h, &bad);
		}
		for (int alg = 0; alg < 256; alg++) { /* every other algorithm */
			bad = good;
			bad.b[0] = (uint8_t)alg;
			if (alg != good.b[0])
				expect_no_state(h, &bad);
		}
		bad = good;
		bad.b[8]++; /* a count that the length does not go with */
		expect_no_state(h, &bad);
		bad = good;
		bad.b[1] = 0xff; /* more than there can be */
		expect_no_state(h, &bad);
		bad = good;
		bad.b[9] ^= 1; /* words that no hash of 10 bytes can have */
		expect_no_state(h, &bad);
		assert_int_equal(hash_restore(h, &good, &err), 0);
	}
	assert_int_equal(hash_state_count(&(struct hash_state){ 0 }), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(save_and_restore_at_every_offset),
		cmocka_unit_test(saved_form_is_fixed),
		cmocka_unit_test(large_counts_survive),
		cmocka_unit_test(what_is_no_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
