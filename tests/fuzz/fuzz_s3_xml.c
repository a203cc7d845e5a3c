/* A body of an answer, read as each of the documents that S3 sends. What is read is within its limits; what
 * is refused is DATA_LOSS; and what we write ourselves is read as it was. */
#include "backends/s3/xml.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

enum { VISITS_MAX = 1000 };

struct seen {
	unsigned n;
};

static int count(struct seen *s, struct stow_err *err)
{
	return ++s->n > VISITS_MAX ? stow_fail(err, STOW_ABORTED, "enough") : 0;
}

static int see_object(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	assert(strlen(key) <= S3_KEY_MAX && o->size <= INT64_MAX && strlen(o->etag) < S3_ETAG_MAX);
	return count(arg, err);
}

static int see_part(void *arg, const struct s3_part *p, struct stow_err *err)
{
	assert(p->number >= 1 && p->number <= S3_PARTS_MAX && p->etag[0] != '\0' && p->size <= INT64_MAX);
	assert(p->sha256.alg == DIGEST_NONE || p->sha256.len == 32);
	return count(arg, err);
}

static int see_upload(void *arg, const struct s3_upload *u, struct stow_err *err)
{
	assert(strlen(u->key) <= S3_KEY_MAX && u->id[0] != '\0' && strlen(u->id) <= S3_UPLOAD_ID_MAX);
	return count(arg, err);
}

static void check_failure(int result, const struct stow_err *err)
{
	if (result < 0)
		assert((err->code == STOW_DATA_LOSS || err->code == STOW_ABORTED) && err->msg[0] != '\0');
}

static void check_page(int result, const struct xml_page *page, const struct stow_err *err)
{
	check_failure(result, err);
	if (result == 0)
		assert(!page->truncated || page->next[0] != '\0');
}

static void check_error(const uint8_t *data, size_t size)
{
	struct s3_error e;
	bool is = xml_error(data, size, &e);

	assert(is == (e.code[0] != '\0'));
	for (const char *c = e.message; *c != '\0'; c++)
		assert((unsigned char)*c >= ' ' && *c != 0x7f);
}

static int compare(void *arg, const char *path, const char *text, struct stow_err *err)
{
	(void)path, (void)err;
	assert(strcmp(text, arg) == 0);
	return 0;
}

/* Printable ASCII, escaped between tags. */
static void check_escape(const uint8_t *data, size_t size)
{
	CLEANUP(buf_free) struct buf b;
	struct stow_err err;
	char text[256];
	size_t n = 0;

	for (size_t i = 0; i < size && n < sizeof(text) - 1; i++)
		if (data[i] >= ' ' && data[i] < 0x7f)
			text[n++] = (char)data[i];
	text[n] = '\0';
	buf_init(&b, 4096);
	if (buf_append(&b, "<a>", 3, &err) < 0 || xml_escape(&b, text, &err) < 0 ||
	    buf_append(&b, "</a>", 4, &err) < 0 || xml_walk(b.p, b.len, compare, text, &err) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[S3_UPLOAD_ID_MAX + 1], etag[S3_ETAG_MAX];
	struct xml_page page = { 0 };
	struct seen seen = { 0 };
	struct stow_err err;

	check_error(data, size);
	check_escape(data, size);
	check_failure(xml_upload_id(data, size, id, &err), &err);
	check_failure(xml_completed(data, size, etag, &err), &err);
	check_page(xml_objects(data, size, see_object, &seen, &page, &err), &page, &err);
	check_page(xml_parts(data, size, see_part, &seen, &page, &err), &page, &err);
	check_page(xml_uploads(data, size, see_upload, &seen, &page, &err), &page, &err);
	return 0;
}
