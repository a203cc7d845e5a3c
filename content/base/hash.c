/* OpenSSL 3 calls the SHA functions with a public context deprecated, in favour of EVP, which cannot
 * export a running state. They are a part of its ABI for as long as it is libcrypto.so.3, and run
 * the same assembly. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "content/base/hash.h"

#include "content/base/mem.h"

#include <openssl/sha.h>

#define HASH_MAGIC 0x4a5b0001u

struct hash {
	uint32_t magic;
	enum digest_alg alg;
	union {
		SHA256_CTX sha256;
		SHA512_CTX sha512; /* sha384, too: it differs in the initial words and the result's length */
	} u;
};

/* The saved form: algorithm, count of bytes, chaining words, and the bytes of the open block, whose
 * number follows from the count. */
enum { STATE_COUNT = 1, STATE_WORDS = 1 + 8 };

static void put_be(uint8_t *to, uint64_t v, size_t bytes)
{
	for (size_t i = bytes; i > 0; i--, v >>= 8)
		to[i - 1] = (uint8_t)v;
}

static uint64_t get_be(const uint8_t *from, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | from[i];
	return v;
}

struct hash *hash_new(enum digest_alg alg)
{
	struct hash *h = x_calloc(1, sizeof(*h));

	assert(alg != DIGEST_NONE);
	h->magic = HASH_MAGIC;
	h->alg = alg;
	hash_reset(h);
	return h;
}

void hash_free(struct hash *h)
{
	if (h == NULL)
		return;
	CHECK_OBJ(h, HASH_MAGIC);
	FREE_OBJ(h);
}

void hash_freep(struct hash **h)
{
	hash_free(*h);
}

void hash_reset(struct hash *h)
{
	CHECK_OBJ(h, HASH_MAGIC);
	switch (h->alg) {
	case DIGEST_SHA256:
		SHA256_Init(&h->u.sha256);
		return;
	case DIGEST_SHA384:
		SHA384_Init(&h->u.sha512);
		return;
	case DIGEST_SHA512:
		SHA512_Init(&h->u.sha512);
		return;
	case DIGEST_NONE:
		break;
	}
	abort(); /* hash_new has refused it */
}

void hash_update(struct hash *h, const void *p, size_t n)
{
	CHECK_OBJ(h, HASH_MAGIC);
	if (h->alg == DIGEST_SHA256)
		SHA256_Update(&h->u.sha256, p, n);
	else
		SHA512_Update(&h->u.sha512, p, n);
}

void hash_digest(const struct hash *h, struct digest *ret_d)
{
	struct digest d = { .alg = (uint8_t)h->alg, .len = (uint8_t)digest_alg_len(h->alg) };

	CHECK_OBJ(h, HASH_MAGIC);
	if (h->alg == DIGEST_SHA256) {
		SHA256_CTX c = h->u.sha256;
		SHA256_Final(d.b, &c);
	} else {
		SHA512_CTX c = h->u.sha512;
		SHA512_Final(d.b, &c); /* writes md_len bytes, which is 48 for sha384 */
	}
	*ret_d = d;
}

static size_t save_sha256(const SHA256_CTX *c, uint8_t *b)
{
	uint64_t bits = (uint64_t)c->Nh << 32 | c->Nl;

	put_be(b + STATE_COUNT, bits >> 3, 8);
	for (size_t i = 0; i < 8; i++)
		put_be(b + STATE_WORDS + 4 * i, c->h[i], 4);
	memcpy(b + STATE_WORDS + 32, c->data, c->num);
	return STATE_WORDS + 32 + c->num;
}

static size_t save_sha512(const SHA512_CTX *c, uint8_t *b)
{
	put_be(b + STATE_COUNT, c->Nh << 61 | c->Nl >> 3, 8);
	for (size_t i = 0; i < 8; i++)
		put_be(b + STATE_WORDS + 8 * i, c->h[i], 8);
	memcpy(b + STATE_WORDS + 64, c->u.p, c->num);
	return STATE_WORDS + 64 + c->num;
}

void hash_save(const struct hash *h, struct hash_state *ret_st)
{
	struct hash_state st = { .b = { (uint8_t)h->alg } };

	CHECK_OBJ(h, HASH_MAGIC);
	if (h->alg == DIGEST_SHA256)
		st.len = (uint8_t)save_sha256(&h->u.sha256, st.b);
	else
		st.len = (uint8_t)save_sha512(&h->u.sha512, st.b);
	*ret_st = st;
}

/* Both expect a fresh context in *c, and a state whose form has been checked. */

static void restore_sha256(SHA256_CTX *c, const uint8_t *b)
{
	uint64_t count = get_be(b + STATE_COUNT, 8);

	c->Nh = (SHA_LONG)(count >> 29);
	c->Nl = (SHA_LONG)(count << 3);
	for (size_t i = 0; i < 8; i++)
		c->h[i] = (SHA_LONG)get_be(b + STATE_WORDS + 4 * i, 4);
	c->num = (unsigned)(count % SHA256_CBLOCK);
	memcpy(c->data, b + STATE_WORDS + 32, c->num);
}

static void restore_sha512(SHA512_CTX *c, const uint8_t *b)
{
	uint64_t count = get_be(b + STATE_COUNT, 8);

	c->Nh = count >> 61;
	c->Nl = count << 3;
	for (size_t i = 0; i < 8; i++)
		c->h[i] = get_be(b + STATE_WORDS + 8 * i, 8);
	c->num = (unsigned)(count % SHA512_CBLOCK);
	memcpy(c->u.p, b + STATE_WORDS + 64, c->num);
}

int hash_restore(struct hash *h, const struct hash_state *st, struct stow_err *err)
{
	size_t words = h->alg == DIGEST_SHA256 ? 32 : 64;
	size_t block = h->alg == DIGEST_SHA256 ? SHA256_CBLOCK : SHA512_CBLOCK;
	struct hash fresh = { .magic = HASH_MAGIC, .alg = h->alg };
	struct hash_state first;
	uint64_t count;

	CHECK_OBJ(h, HASH_MAGIC);
	if (st->len < STATE_WORDS + words || st->len > sizeof(st->b))
		return stow_fail(err, STOW_DATA_LOSS, "saved hash state: %u bytes are no %s state", st->len,
				 digest_alg_name(h->alg));
	if (st->b[0] != h->alg)
		return stow_fail(err, STOW_DATA_LOSS, "saved hash state: algorithm %u, expected %u (%s)",
				 st->b[0], (unsigned)h->alg, digest_alg_name(h->alg));
	count = hash_state_count(st);
	if (count > INT64_MAX >> 3) /* SHA-256's own limit, and more than any file is long */
		return stow_fail(err, STOW_DATA_LOSS, "saved hash state: impossible count");
	if (st->len != STATE_WORDS + words + count % block)
		return stow_fail(err, STOW_DATA_LOSS,
				 "saved hash state: %u bytes do not go with a count of %llu", st->len,
				 (unsigned long long)count);
	hash_reset(&fresh);
	if (count < block) { /* no block has been hashed yet: the words must be the initial ones */
		hash_save(&fresh, &first);
		if (memcmp(first.b + STATE_WORDS, st->b + STATE_WORDS, words) != 0)
			return stow_fail(err, STOW_DATA_LOSS, "saved hash state: not where %s begins",
					 digest_alg_name(h->alg));
	}
	if (h->alg == DIGEST_SHA256)
		restore_sha256(&fresh.u.sha256, st->b);
	else
		restore_sha512(&fresh.u.sha512, st->b);
	*h = fresh;
	return 0;
}

uint64_t hash_state_count(const struct hash_state *st)
{
	return st->len < STATE_WORDS ? 0 : get_be(st->b + STATE_COUNT, 8);
}
