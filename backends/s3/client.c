#include "backends/s3/client.h"

#include "backends/s3/client_internal.h"
#include "content/base/encode.h"
#include "content/base/hash.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#define CLIENT_MAGIC 0x53c10001u

enum { HASH_CHUNK = 256 * 1024 };

/* --- the client --- */

/* What requests need, as copies of its own. */
static void copy_options(struct s3_options *to, const struct s3_options *from)
{
	*to = *from;
	to->endpoint = x_strdup(from->endpoint);
	to->bucket = x_strdup(from->bucket);
	to->sse_kms_key = x_strdup(from->sse_kms_key);
	to->storage_class = x_strdup(from->storage_class);
	to->expected_owner = x_strdup(from->expected_owner);
	to->region = to->prefix = to->ca_file = to->proxy = to->user_agent = "";
	to->sse_kms_context = to->tags = ""; /* see tagging and kms_context */
	to->credentials = (struct s3_credential_options){ 0 };
}

static void free_text(const char *s)
{
	free((void *)(uintptr_t)s);
}

static void core_free(struct client_core *core)
{
	free_text(core->o.endpoint);
	free_text(core->o.bucket);
	free_text(core->o.sse_kms_key);
	free_text(core->o.storage_class);
	free_text(core->o.expected_owner);
	free(core->tagging);
	free(core->kms_context);
	free(core->region);
	free(core);
}

static struct s3_client *client_new(struct client_core *core, bool is_fork)
{
	struct s3_client *c = x_calloc(1, sizeof(*c));

	*c = (struct s3_client){ .magic = CLIENT_MAGIC, .core = core, .is_fork = is_fork };
	return c;
}

int s3_client_new(const struct s3_options *o, struct http *http, const struct s3_creds_source *creds,
		  struct s3_client **ret_c, struct stow_err *err)
{
	struct client_core *core;
	char *region;

	if (s3_options_region(o, &region, err) < 0)
		return -1;
	core = x_calloc(1, sizeof(*core));
	copy_options(&core->o, o);
	core->region = region;
	core->creds = *creds;
	core->tagging = s3_tagging_header(o->tags);
	core->kms_context = s3_kms_context_header(o->sse_kms_context);
	if (request_env_init(&core->env, &core->o, core->region, http, &core->creds, err) < 0) {
		core_free(core);
		return -1;
	}
	*ret_c = client_new(core, false);
	return 0;
}

void s3_client_free(struct s3_client *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, CLIENT_MAGIC);
	if (!c->is_fork) {
		request_env_destroy(&c->core->env);
		core_free(c->core);
	}
	FREE_OBJ(c);
}

void s3_client_freep(struct s3_client **c)
{
	s3_client_free(*c);
}

struct s3_client *s3_client_fork(struct s3_client *c)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	assert(!c->is_fork);
	return client_new(c->core, true);
}

void s3_client_stop(struct s3_client *c)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	request_env_stop(&c->core->env, c->is_fork ? &c->group : NULL);
}

void s3_client_learnt(struct s3_client *c, struct s3_learnt *ret_l)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	LOCK_SCOPE(&c->core->env.lock);
	*ret_l = c->core->env.learnt;
}

/* --- what requests have in common --- */

void client_request(struct s3_client *c, struct request *r, const char *op, const char *method,
		    const char *key)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	request_init(r, &c->core->env, &c->group, op, method, key);
	if (key != NULL && (key[0] == '\0' || strlen(key) > S3_KEY_MAX)) {
		(void)stow_fail(&r->err, STOW_INVALID_ARGUMENT, "a key has 1 to %d bytes, this one %zu",
				S3_KEY_MAX, strlen(key));
		r->failed = true;
	}
	r->max_body = CLIENT_ERROR_BODY;
	if (c->core->o.expected_owner[0] != '\0')
		request_header(r, "x-amz-expected-bucket-owner", "%s", c->core->o.expected_owner);
	if (c->core->o.request_payer)
		request_header(r, "x-amz-request-payer", "requester");
}

int client_perform(struct request *r, struct stow_err *err)
{
	int result = request_perform(r, err);

	request_destroy(r);
	return result;
}

static const char *sse_name(enum s3_sse sse)
{
	switch (sse) {
	case S3_SSE_BUCKET:
		break;
	case S3_SSE_S3:
		return "AES256";
	case S3_SSE_KMS:
		return "aws:kms";
	case S3_SSE_KMS_DSSE:
		return "aws:kms:dsse";
	}
	return NULL;
}

void client_object_headers(const struct s3_client *c, struct request *r)
{
	const struct s3_options *o = &c->core->o;
	const char *sse = sse_name(o->sse);

	if (sse != NULL)
		request_header(r, "x-amz-server-side-encryption", "%s", sse);
	if (o->sse == S3_SSE_KMS || o->sse == S3_SSE_KMS_DSSE) {
		if (o->sse_kms_key[0] != '\0')
			request_header(r, "x-amz-server-side-encryption-aws-kms-key-id", "%s",
				       o->sse_kms_key);
		if (c->core->kms_context != NULL)
			request_header(r, "x-amz-server-side-encryption-context", "%s", c->core->kms_context);
	}
	if (o->storage_class[0] != '\0')
		request_header(r, "x-amz-storage-class", "%s", o->storage_class);
	if (c->core->tagging != NULL)
		request_header(r, "x-amz-tagging", "%s", c->core->tagging);
}

/* A part may have gigabytes; so this ends, too, when the client is stopped. */
static int hash_body(struct s3_client *c, const struct s3_body *body, struct digest *ret_d,
		     struct stow_err *err)
{
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	CLEANUP(freep) uint8_t *chunk = x_malloc(HASH_CHUNK);

	for (uint64_t off = 0; off < body->size;) {
		size_t n = body->size - off < HASH_CHUNK ? (size_t)(body->size - off) : HASH_CHUNK;

		if (request_env_stopped(&c->core->env, &c->group))
			return stow_fail(err, STOW_CANCELLED, "cancelled");
		if (body->read(body->arg, off, chunk, n, err) < 0)
			return -1;
		hash_update(h, chunk, n);
		off += n;
	}
	hash_digest(h, ret_d);
	return 0;
}

void client_body(struct s3_client *c, struct request *r, const struct s3_body *body, struct digest *ret_d)
{
	bool checksum = c->core->o.checksums == S3_CHECKSUMS_WHEN_SUPPORTED;
	struct digest d = { 0 };
	char text[BASE64_SIZE(32)];

	if (body->sha256.alg == DIGEST_SHA256)
		d = body->sha256;
	else if ((checksum || !c->core->env.tls) && !r->failed && hash_body(c, body, &d, &r->err) < 0)
		r->failed = true;
	r->body = *body;
	if (digest_is_set(&d))
		digest_format_hex(&d, r->payload);
	else
		memcpy(r->payload, SIGV4_UNSIGNED, sizeof(SIGV4_UNSIGNED));
	*ret_d = (struct digest){ 0 };
	if (checksum && !r->failed) {
		base64_encode(text, d.b, d.len);
		request_header(r, "x-amz-checksum-sha256", "%s", text);
		*ret_d = d;
	}
}

static int copy_etag(struct request *r, char ret_etag[S3_ETAG_MAX], struct stow_err *err)
{
	const char *etag = http_header(&r->t.resp, "etag");

	if (etag != NULL && strlen(etag) >= S3_ETAG_MAX) {
		r->bad_answer = true;
		return stow_fail(err, STOW_DATA_LOSS, "an ETag of %zu bytes: at most %d are expected",
				 strlen(etag), S3_ETAG_MAX - 1);
	}
	(void)snprintf(ret_etag, S3_ETAG_MAX, "%s", etag != NULL ? etag : "");
	return 0;
}

int client_check_sent(struct request *r, const struct digest *sent, char ret_etag[S3_ETAG_MAX],
		      struct stow_err *err)
{
	const char *got = http_header(&r->t.resp, "x-amz-checksum-sha256");
	char text[BASE64_SIZE(32)], shown[65];

	if (got != NULL && digest_is_set(sent)) {
		base64_encode(text, sent->b, sent->len);
		if (strcmp(got, text) != 0) {
			r->bad_answer = true;
			text_clean(shown, sizeof(shown), got);
			return stow_fail(err, STOW_DATA_LOSS,
					 "the server has bytes with the checksum %s, sent were such with %s",
					 shown, text);
		}
	}
	return copy_etag(r, ret_etag, err);
}

/* --- whole objects --- */

static int check_head(struct request *r, struct stow_err *err)
{
	const char *length = http_header(&r->t.resp, "content-length");
	const char *modified = http_header(&r->t.resp, "last-modified");
	struct s3_object *o = r->arg;
	char *end;

	if (modified == NULL || !http_date(modified, &o->modified_ns))
		o->modified_ns = 0;
	if (length != NULL && length[0] >= '0' && length[0] <= '9') {
		o->size = strtoull(length, &end, 10);
		if (*end == '\0' && o->size <= INT64_MAX)
			return copy_etag(r, o->etag, err);
	}
	r->bad_answer = true;
	return stow_fail(err, STOW_DATA_LOSS, "an answer without the object's size");
}

int s3_head(struct s3_client *c, const char *key, struct s3_object *ret_o, struct stow_err *err)
{
	struct s3_object o = { 0 };
	struct request r;

	client_request(c, &r, "HeadObject", "HEAD", key);
	r.check = check_head;
	r.arg = &o;
	if (client_perform(&r, err) < 0)
		return -1;
	*ret_o = o;
	return 0;
}

int s3_ask(struct s3_client *c, const char *key, int64_t limit_ns, struct stow_err *err)
{
	struct request r;

	client_request(c, &r, "GetObject", "GET", key);
	r.once_ns = limit_ns;
	return client_perform(&r, err) < 0 && err->code != STOW_NOT_FOUND ? -1 : 0;
}

struct put {
	struct digest sent;
	struct s3_object o;
};

static int check_put(struct request *r, struct stow_err *err)
{
	struct put *p = r->arg;

	return client_check_sent(r, &p->sent, p->o.etag, err);
}

int s3_put(struct s3_client *c, const char *key, const struct s3_body *body, unsigned flags,
	   struct s3_object *ret_o, struct stow_err *err)
{
	struct put p = { .o.size = body->size };
	struct request r;

	assert(body->size <= S3_PUT_MAX);
	client_request(c, &r, "PutObject", "PUT", key);
	client_object_headers(c, &r);
	if (flags & S3_IF_ABSENT) {
		request_header(&r, "If-None-Match", "*");
		r.flags |= REQUEST_IF_ABSENT;
	}
	r.check = check_put;
	r.arg = &p;
	client_body(c, &r, body, &p.sent);
	if (client_perform(&r, err) < 0)
		return -1;
	if (ret_o != NULL)
		*ret_o = p.o;
	return 0;
}

int s3_delete(struct s3_client *c, const char *key, struct stow_err *err)
{
	struct request r;

	client_request(c, &r, "DeleteObject", "DELETE", key);
	return client_perform(&r, err);
}

/* --- operations that run beside each other --- */

void client_op_begin(struct s3_op *op, struct request *r)
{
	lock_take(&r->env->lock);
	op->request = r;
	lock_release(&r->env->lock);
	request_start(r);
}

void client_op_end(struct s3_op *op, struct request *r)
{
	LOCK_SCOPE(&r->env->lock);
	op->request = NULL;
	op->result = r->result;
	if (r->result < 0)
		op->err = r->err;
}

void s3_op_cancel(struct s3_client *c, struct s3_op *op)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	LOCK_SCOPE(&c->core->env.lock);
	if (op->request != NULL)
		request_cancel_locked(op->request);
}

/* --- for `stowage check` --- */

static int presign(struct s3_client *c, const char *key, unsigned expires_s, const struct s3_creds *creds,
		   struct buf *b, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf path;
	char region[S3_REGION_MAX];
	struct s3_endpoint e;
	struct sigv4_pair host = { "host", e.host };
	struct sigv4_request q = { .method = "GET",
				   .headers = &host,
				   .headers_n = 1,
				   .payload = SIGV4_UNSIGNED,
				   .region = region,
				   .service = "s3",
				   .time_ns = request_env_now(&c->core->env) };

	lock_take(&c->core->env.lock);
	e = c->core->env.endpoint;
	memcpy(region, c->core->env.learnt.region, sizeof(region));
	lock_release(&c->core->env.lock);
	buf_init(&path, REQUEST_TEXT_MAX);
	if (buf_printf(&path, err, "%s/", e.path) < 0 || sigv4_encode(&path, key, true, err) < 0 ||
	    buf_append(&path, "", 1, err) < 0)
		return -1;
	q.path = (char *)path.p;
	if (buf_printf(b, err, "%s://%s%s?", e.tls ? "https" : "http", e.host, q.path) < 0 ||
	    sigv4_presign(&q, &creds->key, expires_s, b, err) < 0)
		return -1;
	return buf_append(b, "", 1, err);
}

int s3_presign(struct s3_client *c, const char *key, unsigned expires_s, char *out, size_t size,
	       struct stow_err *err)
{
	CLEANUP(buf_free) struct buf b;
	struct s3_creds creds;
	int result;

	CHECK_OBJ(c, CLIENT_MAGIC);
	if (c->core->creds.get(c->core->creds.arg, &creds, err) != 0)
		return -1;
	buf_init(&b, size);
	result = presign(c, key, expires_s, &creds, &b, err);
	if (c->core->creds.release != NULL)
		c->core->creds.release(c->core->creds.arg, &creds);
	if (result == 0)
		memcpy(out, b.p, b.len);
	return result;
}
