/* A database row. The first byte says which: a blob's, an ingest's, or a key. What decodes is a row that
 * was written: encoding it gives the same bytes. All else is DATA_LOSS. */
#include "content/base/mem.h"
#include "content/meta_codec.h"
#include "tests/fuzz/fuzz.h"

static void check_refused(const struct stow_err *err)
{
	assert(err->code == STOW_DATA_LOSS && err->msg[0] != '\0');
}

static void check_same(const struct buf *b, const uint8_t *data, size_t size)
{
	assert(b->len == size && memcmp(b->p, data, size) == 0);
}

static void try_blob(const uint8_t *data, size_t size)
{
	CLEANUP(blob_info_free) struct blob_info i = { 0 };
	CLEANUP(buf_free) struct buf b;
	struct digest d = { .alg = DIGEST_SHA256, .len = 32 };
	struct stow_err err = { 0 };

	buf_init(&b, ROW_MAX);
	if (blob_row_decode(&d, data, size, &i, &err) < 0) {
		check_refused(&err);
		return;
	}
	assert(digest_equal(&i.digest, &d));
	assert(blob_row_encode(&i, &b, &err) == 0);
	check_same(&b, data, size);
}

static void try_ingest(const uint8_t *data, size_t size)
{
	CLEANUP(ingest_row_free) struct ingest_row r = { 0 };
	CLEANUP(buf_free) struct buf b;
	struct stow_err err = { 0 };

	buf_init(&b, ROW_MAX);
	if (ingest_row_decode(data, size, &r, &err) < 0) {
		check_refused(&err);
		assert(!r.ref);
		return;
	}
	assert(stage_name_ok(r.stage));
	assert(ingest_row_encode(&r, &b, &err) == 0);
	check_same(&b, data, size);
}

static void try_key(const uint8_t *data, size_t size)
{
	uint8_t key[DIGEST_ROW_KEY_MAX];
	struct stow_err err = { 0 };
	struct digest d;

	if (digest_from_key(data, size, &d, &err) < 0) {
		check_refused(&err);
		return;
	}
	assert(digest_to_key(&d, key) == size && memcmp(key, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_blob(data + 1, size - 1);
		break;
	case 1:
		try_ingest(data + 1, size - 1);
		break;
	default:
		try_key(data + 1, size - 1);
	}
	return 0;
}
