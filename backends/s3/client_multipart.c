/* Multipart uploads: create, parts, complete, abort. */
#include "backends/s3/client_internal.h"
#include "content/base/encode.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

enum { COMPLETE_BODY = 4 << 20 }; /* 10,000 parts of less than 400 bytes each */

static int check_create(struct request *r, struct stow_err *err)
{
	const struct buf *b = &r->t.resp.body;

	if (xml_upload_id(b->p, b->len, r->arg, err) == 0)
		return 0;
	r->bad_answer = true;
	return -1;
}

int s3_upload_create(struct s3_client *c, const char *key, char ret_id[S3_UPLOAD_ID_MAX + 1],
		     struct stow_err *err)
{
	char id[S3_UPLOAD_ID_MAX + 1];
	struct request r;

	client_request(c, &r, "CreateMultipartUpload", "POST", key);
	request_query(&r, "uploads", "%s", "");
	client_object_headers(c, &r);
	if (c->core->o.checksums == S3_CHECKSUMS_WHEN_SUPPORTED)
		request_header(&r, "x-amz-checksum-algorithm", "SHA256");
	r.flags |= REQUEST_LATE_ERROR | REQUEST_NAMES_ITS_WORK;
	r.check = check_create;
	r.arg = id;
	if (client_perform(&r, err) < 0)
		return -1;
	memcpy(ret_id, id, strlen(id) + 1);
	return 0;
}

/* --- parts --- */

struct part {
	struct request r;
	struct s3_op *op; /* NULL: somebody waits */
	struct s3_part part;
};

static int check_part(struct request *r, struct stow_err *err)
{
	struct part *p = r->arg;

	if (client_check_sent(r, &p->part.sha256, p->part.etag, err) < 0)
		return -1;
	if (p->part.etag[0] != '\0')
		return 0;
	r->bad_answer = true;
	return stow_fail(err, STOW_DATA_LOSS, "part %u was taken, but has no ETag", p->part.number);
}

static struct part *part_new(struct s3_client *c, const struct s3_upload *u, unsigned number,
			     const struct s3_body *body)
{
	struct part *p = x_calloc(1, sizeof(*p));

	assert(number >= 1 && number <= S3_PARTS_MAX && body->size <= S3_PUT_MAX);
	client_request(c, &p->r, "UploadPart", "PUT", u->key);
	request_query(&p->r, "partNumber", "%u", number);
	request_query(&p->r, "uploadId", "%s", u->id);
	client_body(c, &p->r, body, &p->part.sha256);
	p->part.number = number;
	p->part.size = body->size;
	p->r.check = check_part;
	p->r.arg = p;
	return p;
}

int s3_upload_part(struct s3_client *c, const struct s3_upload *u, unsigned number,
		   const struct s3_body *body, struct s3_part *ret_part, struct stow_err *err)
{
	CLEANUP(freep) struct part *p = part_new(c, u, number, body);

	if (client_perform(&p->r, err) < 0)
		return -1;
	*ret_part = p->part;
	return 0;
}

static void part_done(struct request *r)
{
	struct part *p = r->arg;
	struct s3_op *op = p->op;

	if (r->result == 0)
		op->part = p->part;
	client_op_end(op, r);
	request_destroy(r);
	free(p);
	op->done(op);
}

void s3_upload_part_start(struct s3_client *c, struct s3_op *op, const struct s3_upload *u, unsigned number,
			  const struct s3_body *body)
{
	struct part *p = part_new(c, u, number, body);

	p->op = op;
	p->r.done = part_done;
	client_op_begin(op, &p->r);
}

/* --- the end of an upload --- */

static int add_part(struct buf *b, const struct s3_part *part, struct stow_err *err)
{
	char sum[BASE64_SIZE(32)];

	if (buf_printf(b, err, "<Part><PartNumber>%u</PartNumber><ETag>", part->number) < 0 ||
	    xml_escape(b, part->etag, err) < 0 || buf_printf(b, err, "</ETag>") < 0)
		return -1;
	if (digest_is_set(&part->sha256)) {
		base64_encode(sum, part->sha256.b, part->sha256.len);
		if (buf_printf(b, err, "<ChecksumSHA256>%s</ChecksumSHA256>", sum) < 0)
			return -1;
	}
	return buf_printf(b, err, "</Part>");
}

static int list_of_parts(struct buf *b, const struct s3_part *parts, size_t n, struct stow_err *err)
{
	if (buf_printf(b, err,
		       "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">") < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		assert(i == 0 || parts[i].number > parts[i - 1].number);
		if (add_part(b, &parts[i], err) < 0)
			return -1;
	}
	return buf_printf(b, err, "</CompleteMultipartUpload>");
}

static int read_buf(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	const struct buf *b = arg;

	(void)err;
	assert(off <= b->len && n <= b->len - off);
	memcpy(to, b->p + off, n);
	return 0;
}

struct complete {
	struct buf list;
	char etag[S3_ETAG_MAX];
};

static int check_complete(struct request *r, struct stow_err *err)
{
	struct complete *m = r->arg;
	const struct buf *b = &r->t.resp.body;

	if (xml_completed(b->p, b->len, m->etag, err) == 0)
		return 0;
	r->bad_answer = true;
	return -1;
}

/* The upload is gone. It was completed, by an attempt whose answer was lost, if the object is there with the
 * right size; a key says which bytes it holds. */
static int completed_before(struct s3_client *c, const struct s3_upload *u, uint64_t size, unsigned flags,
			    struct s3_object *ret_o, struct stow_err *err)
{
	struct stow_err why = *err;
	struct s3_object o;

	if (s3_head(c, u->key, &o, err) < 0 || o.size != size) {
		*err = why;
		return -1;
	}
	if (flags & S3_IF_ABSENT)
		return stow_fail(err, STOW_ALREADY_EXISTS,
				 "s3: CompleteMultipartUpload %s/%s: it is there already", c->core->o.bucket,
				 u->key);
	if (ret_o != NULL)
		*ret_o = o;
	return 0;
}

static int complete(struct s3_client *c, const struct s3_upload *u, unsigned flags, struct complete *m,
		    struct stow_err *err)
{
	struct s3_body body = { .size = m->list.len, .read = read_buf, .arg = &m->list };
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	struct request r;

	hash_update(h, m->list.p, m->list.len);
	hash_digest(h, &body.sha256);
	client_request(c, &r, "CompleteMultipartUpload", "POST", u->key);
	request_query(&r, "uploadId", "%s", u->id);
	r.flags |= REQUEST_LATE_ERROR | REQUEST_TAKES_TIME;
	if (flags & S3_IF_ABSENT) {
		request_header(&r, "If-None-Match", "*");
		r.flags |= REQUEST_IF_ABSENT;
	}
	r.body = body;
	digest_format_hex(&body.sha256, r.payload);
	r.check = check_complete;
	r.arg = m;
	if (client_perform(&r, err) == 0)
		return 0;
	/* A gateway that died while it completed this upload leaves it locked, for ten minutes with Ceph, and
	 * the next one says InternalError all that time. It lives, and a new upload is not locked. */
	if (err->code == STOW_UNAVAILABLE && strcmp(r.error.code, "InternalError") == 0)
		err->code = STOW_ABORTED;
	return -1;
}

int s3_upload_complete(struct s3_client *c, const struct s3_upload *u, const struct s3_part *parts, size_t n,
		       unsigned flags, struct s3_object *ret_o, struct stow_err *err)
{
	struct complete m = { 0 };
	uint64_t size = 0;
	int result;

	for (size_t i = 0; i < n; i++)
		size += parts[i].size;
	buf_init(&m.list, COMPLETE_BODY);
	result = list_of_parts(&m.list, parts, n, err);
	if (result == 0)
		result = complete(c, u, flags, &m, err);
	buf_free(&m.list);
	if (result < 0)
		return err->code == STOW_NOT_FOUND ? completed_before(c, u, size, flags, ret_o, err) : -1;
	if (ret_o != NULL) {
		*ret_o = (struct s3_object){ .size = size };
		memcpy(ret_o->etag, m.etag, sizeof(m.etag));
	}
	return 0;
}

int s3_upload_abort(struct s3_client *c, const struct s3_upload *u, struct stow_err *err)
{
	struct request r;

	client_request(c, &r, "AbortMultipartUpload", "DELETE", u->key);
	request_query(&r, "uploadId", "%s", u->id);
	return client_perform(&r, err);
}
