#include "backends/s3/xml.h"

#include "backends/s3/rfc3339.h"
#include "content/base/encode.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <expat.h>

enum { DEPTH_MAX = 16, PATH_MAX_LEN = 512, TEXT_MAX = 8192 };

struct walk {
	XML_Parser parser;
	xml_visit *visit;
	void *arg;
	struct stow_err *err;
	char path[PATH_MAX_LEN];
	size_t ends[DEPTH_MAX]; /* length of the path at each depth */
	unsigned depth;
	char text[TEXT_MAX];
	size_t text_n;
	bool failed;
};

static void stop(struct walk *w)
{
	w->failed = true;
	(void)XML_StopParser(w->parser, XML_FALSE);
}

static void on_start(void *arg, const char *name, const char **attributes)
{
	struct walk *w = arg;
	const char *colon = strrchr(name, ':');
	size_t at = w->depth > 0 ? w->ends[w->depth - 1] : 0;
	int n;

	(void)attributes;
	if (w->failed)
		return;
	name = colon != NULL ? colon + 1 : name;
	n = snprintf(w->path + at, sizeof(w->path) - at, "%s%s", at > 0 ? "/" : "", name);
	if (w->depth == DEPTH_MAX || n < 0 || (size_t)n >= sizeof(w->path) - at) {
		(void)stow_fail(w->err, STOW_DATA_LOSS, "XML is too deep");
		stop(w);
		return;
	}
	w->ends[w->depth++] = at + (size_t)n;
	w->text_n = 0;
}

static void on_end(void *arg, const char *name)
{
	struct walk *w = arg;

	(void)name;
	if (w->failed)
		return;
	assert(w->depth > 0);
	w->text[w->text_n] = '\0';
	if (w->visit(w->arg, w->path, w->text, w->err) < 0) {
		stop(w);
		return;
	}
	w->text_n = 0;
	w->depth--;
	w->path[w->depth > 0 ? w->ends[w->depth - 1] : 0] = '\0';
}

static void on_text(void *arg, const char *s, int n)
{
	struct walk *w = arg;
	char path[128];

	if (w->failed)
		return;
	if ((size_t)n >= sizeof(w->text) - w->text_n) {
		text_clean(path, sizeof(path), w->path);
		(void)stow_fail(w->err, STOW_DATA_LOSS, "XML has too long a text in %s", path);
		stop(w);
		return;
	}
	memcpy(w->text + w->text_n, s, (size_t)n);
	w->text_n += (size_t)n;
}

static void on_doctype(void *arg, const char *name, const char *system, const char *public, int internal)
{
	struct walk *w = arg;

	(void)name, (void)system, (void)public, (void)internal;
	(void)stow_fail(w->err, STOW_DATA_LOSS, "XML has a document type declaration");
	stop(w);
}

int xml_walk(const void *p, size_t n, xml_visit *visit, void *arg, struct stow_err *err)
{
	CLEANUP(freep) struct walk *w = x_calloc(1, sizeof(*w));
	bool good;

	w->parser = XML_ParserCreate(NULL);
	if (w->parser == NULL)
		x_abort("out of memory: an XML parser");
	w->visit = visit;
	w->arg = arg;
	w->err = err;
	XML_SetUserData(w->parser, w);
	XML_SetElementHandler(w->parser, on_start, on_end);
	XML_SetCharacterDataHandler(w->parser, on_text);
	XML_SetStartDoctypeDeclHandler(w->parser, on_doctype);
	good = n <= INT32_MAX && XML_Parse(w->parser, p, (int)n, 1) == XML_STATUS_OK;
	if (!good && !w->failed)
		(void)stow_fail(err, STOW_DATA_LOSS, "the answer is no XML: %s",
				XML_ErrorString(XML_GetErrorCode(w->parser)));
	XML_ParserFree(w->parser);
	return good && !w->failed ? 0 : -1;
}

/* --- fields --- */

/* For machines: whole or not at all. */
static int copy_whole(char *to, size_t size, const char *from, const char *path, struct stow_err *err)
{
	size_t n = strlen(from);

	if (n >= size)
		return stow_fail(err, STOW_DATA_LOSS, "%s has %zu bytes: at most %zu are expected", path, n,
				 size - 1);
	memcpy(to, from, n + 1);
	return 0;
}

static int copy_number(uint64_t *to, uint64_t most, const char *from, const char *path, struct stow_err *err)
{
	uint64_t v = 0;
	const char *c = from;

	for (; *c >= '0' && *c <= '9' && v <= (UINT64_MAX - 9) / 10; c++)
		v = v * 10 + (uint64_t)(*c - '0');
	if (c == from || *c != '\0' || v > most)
		return stow_fail(err, STOW_DATA_LOSS, "%s is no number up to %llu", path,
				 (unsigned long long)most);
	*to = v;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As a URL's query has it: "%2F", and "+" for a blank. `to` has room for all of `from`. False where that
 * is no such text, or has a NUL. */
static bool url_decode(char *to, const char *from)
{
	for (; *from != '\0'; from++, to++) {
		int high, low;

		*to = *from == '+' ? ' ' : *from;
		if (*from != '%')
			continue;
		high = hex_digit(from[1]);
		low = high >= 0 ? hex_digit(from[2]) : -1;
		if (low < 0 || high + low == 0)
			return false;
		*to = (char)(high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return true;
}

static bool is(const char *path, const char *what)
{
	return strcmp(path, what) == 0;
}

/* --- single answers --- */

static int visit_error(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct s3_error *e = arg;

	(void)err;
	if (is(path, "Error/Code"))
		text_clean(e->code, sizeof(e->code), text);
	else if (is(path, "Error/Message"))
		text_clean(e->message, sizeof(e->message), text);
	else if (is(path, "Error/RequestId"))
		text_clean(e->request_id, sizeof(e->request_id), text);
	else if (is(path, "Error/Region"))
		text_clean(e->region, sizeof(e->region), text);
	return 0;
}

bool xml_error(const void *p, size_t n, struct s3_error *ret_e)
{
	struct s3_error e = { 0 };
	struct stow_err err;

	*ret_e = (struct s3_error){ 0 };
	/* What has been read before a cut counts: an error's body is kept up to a cap. */
	if (n == 0 || (xml_walk(p, n, visit_error, &e, &err) < 0 && e.code[0] == '\0') || e.code[0] == '\0')
		return false;
	*ret_e = e;
	return true;
}

struct single {
	const char *path, *root;
	char *to;
	size_t size;
	bool seen, rooted;
};

static int visit_single(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct single *s = arg;

	if (is(path, s->root))
		s->rooted = true;
	if (!is(path, s->path))
		return 0;
	s->seen = true;
	return copy_whole(s->to, s->size, text, path, err);
}

static int read_single(const void *p, size_t n, struct single *s, struct stow_err *err)
{
	if (xml_walk(p, n, visit_single, s, err) < 0)
		return -1;
	if (!s->rooted)
		return stow_fail(err, STOW_DATA_LOSS, "the answer is no %s", s->root);
	return 0;
}

int xml_upload_id(const void *p, size_t n, char ret_id[S3_UPLOAD_ID_MAX + 1], struct stow_err *err)
{
	char id[S3_UPLOAD_ID_MAX + 1] = "";
	struct single s = { "InitiateMultipartUploadResult/UploadId",
			    "InitiateMultipartUploadResult",
			    id,
			    sizeof(id),
			    false,
			    false };

	if (read_single(p, n, &s, err) < 0)
		return -1;
	if (id[0] == '\0')
		return stow_fail(err, STOW_DATA_LOSS, "the answer has no UploadId");
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

int xml_completed(const void *p, size_t n, char ret_etag[S3_ETAG_MAX], struct stow_err *err)
{
	char etag[S3_ETAG_MAX] = "";
	struct single s = { "CompleteMultipartUploadResult/ETag",
			    "CompleteMultipartUploadResult",
			    etag,
			    sizeof(etag),
			    false,
			    false };

	if (read_single(p, n, &s, err) < 0)
		return -1;
	memcpy(ret_etag, etag, sizeof(etag));
	return 0;
}

/* --- lists --- */

/* One entry at a time, and what the page says of itself. */
struct list {
	const char *root, *entry; /* "ListBucketResult", "ListBucketResult/Contents" */
	union {
		s3_list_visit *object;
		s3_part_visit *part;
		s3_upload_visit *upload;
	} visit;
	void *arg;
	struct xml_page page;
	bool rooted, has_key, has_size;
	bool encoded; /* keys, as the page says */
	char key[S3_KEY_MAX + 1], id[S3_UPLOAD_ID_MAX + 1];
	struct s3_object object;
	struct s3_part part;
};

static int missing(const char *entry, struct stow_err *err)
{
	return stow_fail(err, STOW_DATA_LOSS, "%s lacks what it must have", entry);
}

static void next_entry(struct list *l)
{
	l->has_key = l->has_size = false;
	l->id[0] = '\0';
	l->object = (struct s3_object){ 0 };
	l->part = (struct s3_part){ 0 };
}

/* The path below `base`; NULL where it is not. */
static const char *below(const char *path, const char *base)
{
	size_t n = strlen(base);

	return strncmp(path, base, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static int visit_page(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct list *l = arg;
	const char *name = below(path, l->root);

	if (is(path, l->root))
		l->rooted = true;
	if (name == NULL)
		return 0;
	if (is(name, "IsTruncated"))
		l->page.truncated = is(text, "true");
	else if (is(name, "EncodingType"))
		l->encoded = is(text, "url");
	else if (is(name, "NextContinuationToken") || is(name, "NextPartNumberMarker") ||
		 is(name, "NextKeyMarker"))
		return copy_whole(l->page.next, sizeof(l->page.next), text, path, err);
	else if (is(name, "NextUploadIdMarker"))
		return copy_whole(l->page.next_id, sizeof(l->page.next_id), text, path, err);
	return 0;
}

/* A key that may be encoded, into l->key. */
static int take_key(struct list *l, const char *text, const char *path, struct stow_err *err)
{
	char key[TEXT_MAX + 1], shown[128];

	l->has_key = true;
	if (!l->encoded)
		return copy_whole(l->key, sizeof(l->key), text, path, err);
	if (!url_decode(key, text)) {
		text_clean(shown, sizeof(shown), text);
		return stow_fail(err, STOW_DATA_LOSS, "%s is not encoded as the answer says: %s", path,
				 shown);
	}
	return copy_whole(l->key, sizeof(l->key), key, path, err);
}

static int visit_objects(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct stow_err ignored;
	struct list *l = arg;
	const char *name = below(path, l->entry);

	if (is(path, l->entry)) {
		int r = l->has_key && l->has_size ? l->visit.object(l->arg, l->key, &l->object, err)
						  : missing(path, err);

		next_entry(l);
		return r;
	}
	if (name == NULL)
		return 0;
	if (is(name, "Key"))
		return take_key(l, text, path, err);
	if (is(name, "Size")) {
		l->has_size = true;
		return copy_number(&l->object.size, INT64_MAX, text, path, err);
	}
	if (is(name, "LastModified") && rfc3339_read(text, &l->object.modified_ns, &ignored) < 0)
		l->object.modified_ns = 0;
	if (is(name, "ETag"))
		return copy_whole(l->object.etag, sizeof(l->object.etag), text, path, err);
	return 0;
}

static int visit_parts(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct list *l = arg;
	const char *name = below(path, l->entry);
	uint64_t number = 0;

	if (is(path, l->entry)) {
		int r = l->part.number > 0 && l->has_size && l->part.etag[0] != '\0'
				? l->visit.part(l->arg, &l->part, err)
				: missing(path, err);

		next_entry(l);
		return r;
	}
	if (name == NULL)
		return 0;
	if (is(name, "PartNumber")) {
		if (copy_number(&number, S3_PARTS_MAX, text, path, err) < 0)
			return -1;
		l->part.number = (unsigned)number;
	} else if (is(name, "Size")) {
		l->has_size = true;
		return copy_number(&l->part.size, INT64_MAX, text, path, err);
	} else if (is(name, "ETag")) {
		return copy_whole(l->part.etag, sizeof(l->part.etag), text, path, err);
	} else if (is(name, "ChecksumSHA256")) {
		struct digest d = { .alg = DIGEST_SHA256, .len = 32 };

		if (base64_decode(text, strlen(text), d.b, d.len))
			l->part.sha256 = d;
	}
	return 0;
}

static int visit_uploads(void *arg, const char *path, const char *text, struct stow_err *err)
{
	struct list *l = arg;
	const char *name = below(path, l->entry);

	if (is(path, l->entry)) {
		const struct s3_upload u = { l->key, l->id };
		int r = l->has_key && l->id[0] != '\0' ? l->visit.upload(l->arg, &u, err)
						       : missing(path, err);

		next_entry(l);
		return r;
	}
	if (name == NULL)
		return 0;
	if (is(name, "Key"))
		return take_key(l, text, path, err);
	if (is(name, "UploadId"))
		return copy_whole(l->id, sizeof(l->id), text, path, err);
	return 0;
}

/* Twice, since what the page says of its keys may come after them. */
static int read_list(const void *p, size_t n, struct list *l, xml_visit *visit, struct xml_page *ret_page,
		     struct stow_err *err)
{
	if (xml_walk(p, n, visit_page, l, err) < 0)
		return -1;
	if (!l->rooted)
		return stow_fail(err, STOW_DATA_LOSS, "the answer is no %s", l->root);
	if (l->page.truncated && l->page.next[0] == '\0')
		return stow_fail(err, STOW_DATA_LOSS, "%s is not all, and does not say where it goes on",
				 l->root);
	if (xml_walk(p, n, visit, l, err) < 0)
		return -1;
	*ret_page = l->page;
	return 0;
}

int xml_objects(const void *p, size_t n, s3_list_visit *visit, void *arg, struct xml_page *ret_page,
		struct stow_err *err)
{
	struct list l = { .root = "ListBucketResult", .entry = "ListBucketResult/Contents", .arg = arg };

	l.visit.object = visit;
	return read_list(p, n, &l, visit_objects, ret_page, err);
}

int xml_parts(const void *p, size_t n, s3_part_visit *visit, void *arg, struct xml_page *ret_page,
	      struct stow_err *err)
{
	struct list l = { .root = "ListPartsResult", .entry = "ListPartsResult/Part", .arg = arg };

	l.visit.part = visit;
	return read_list(p, n, &l, visit_parts, ret_page, err);
}

int xml_uploads(const void *p, size_t n, s3_upload_visit *visit, void *arg, struct xml_page *ret_page,
		struct stow_err *err)
{
	struct list l = { .root = "ListMultipartUploadsResult",
			  .entry = "ListMultipartUploadsResult/Upload",
			  .arg = arg };

	l.visit.upload = visit;
	if (read_list(p, n, &l, visit_uploads, ret_page, err) < 0)
		return -1;
	/* The marker is a key. */
	if (l.encoded && !url_decode(ret_page->next, l.page.next))
		return stow_fail(err, STOW_DATA_LOSS, "NextKeyMarker is not encoded as the answer says");
	return 0;
}

int xml_escape(struct buf *b, const char *s, struct stow_err *err)
{
	for (; *s != '\0'; s++) {
		const char *as = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : NULL;

		if (*s == '"')
			as = "&quot;";
		if (as != NULL ? buf_append(b, as, strlen(as), err) < 0 : buf_append(b, s, 1, err) < 0)
			return -1;
	}
	return 0;
}
