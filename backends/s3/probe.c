#include "backends/s3/creds.h"
#include "backends/s3/probe_internal.h"
#include "content/base/clock.h"
#include "content/base/hash.h"
#include "content/base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

/* Credentials from a slow provider. */
static const int64_t CREDS_WAIT_NS = 30 * NSEC_PER_SEC;
/* Clocks that differ by more than this deserve a word; S3 refuses requests at 15 minutes. */
static const int64_t CLOCK_NOTE_NS = 30 * NSEC_PER_SEC;

static const char TEXT[] = "stowage check\n";
static_assert(sizeof(TEXT) == PROBE_TEXT_SIZE + 1, "its size is known to probe_shared.c");

/* --- reporting --- */

void probe_tell(struct probe *p, const char *name, enum probe_verdict v, const char *advice, const char *fmt,
		...)
{
	char detail[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	if (v == PROBE_FAILED)
		p->failed = true;
	p->report(p->arg,
		  &(struct probe_step){ .name = name, .verdict = v, .detail = detail, .advice = advice });
}

void probe_ask(struct probe *p, const char *name)
{
	probe_tell(p, name, PROBE_ASKING, "", "%s", "");
}

void probe_tell_failure(struct probe *p, const char *name, const char *action, const struct stow_err *err)
{
	char advice[400] = "";

	if (err->code == STOW_PERMISSION_DENIED)
		snprintf(advice, sizeof(advice), "the credentials need %s on the bucket %s", action,
			 p->o->bucket);
	else if (strstr(err->msg, "NoSuchBucket") != NULL)
		snprintf(advice, sizeof(advice),
			 "make the bucket %s there, or correct %s.bucket or %s.endpoint; a server that is "
			 "addressed in another way than it expects says this, too: see %s.addressing",
			 p->o->bucket, p->table, p->table, p->table);
	else if (err->code == STOW_UNIMPLEMENTED)
		snprintf(advice, sizeof(advice), "the server does not know this operation");
	else if (err->code == STOW_RESOURCE_EXHAUSTED)
		snprintf(advice, sizeof(advice), "the bucket, or its owner's quota, is full");
	else if (err->code == STOW_UNAVAILABLE)
		snprintf(advice, sizeof(advice),
			 "the server cannot be reached, or is overloaded: see %s.endpoint and %s.proxy",
			 p->table, p->table);
	else
		snprintf(advice, sizeof(advice),
			 "that is not what an S3 server answers: see %s.endpoint and %s.addressing", p->table,
			 p->table);
	probe_tell(p, name, PROBE_FAILED, advice, "%s", err->msg);
}

/* --- the steps --- */

static bool probe_credentials(struct probe *p)
{
	CLEANUP(buf_free) struct buf text;
	struct stow_err err, ignored;
	bool good;

	buf_init(&text, 8 << 10);
	probe_ask(p, "credentials");
	good = creds_wait(p->session->creds, clock_mono_ns() + CREDS_WAIT_NS, &err) == 0;
	if (creds_explain(p->session->creds, &text, &ignored) < 0)
		buf_reset(&text);
	while (text.len > 0 && text.p[text.len - 1] == '\n')
		text.len--;
	if (good)
		probe_tell(p, "credentials", PROBE_OK, "", "%.*s", (int)text.len, (const char *)text.p);
	else
		probe_tell(p, "credentials", PROBE_FAILED,
			   "the provider that is configured must answer: no other one is tried, since it "
			   "could be "
			   "a wider "
			   "identity",
			   "%s\n%.*s", err.msg, (int)text.len, (const char *)text.p);
	return good;
}

static int see_key(void *arg, const char *key, const struct s3_object *o, struct stow_err *err UNUSED)
{
	struct probe *p = arg;

	p->seen = x_strdup(key);
	p->seen_size = o->size;
	return 0;
}

/* What no permission would help. */
static bool keys_are_wrong(const struct stow_err *err)
{
	return strstr(err->msg, "SignatureDoesNotMatch") != NULL ||
	       strstr(err->msg, "InvalidAccessKeyId") != NULL;
}

/* By a list, since an answer to HEAD has no body that would say what is wrong. */
static bool probe_bucket(struct probe *p)
{
	CLEANUP(freep) char *prefix = s3_layout_blobs(p->prefix, p->o->layout);
	struct stow_err err;

	probe_ask(p, "bucket");
	if (s3_list(p->client, prefix, NULL, 1, see_key, p, &err) == 0) {
		probe_tell(p, "bucket", PROBE_OK, "", "%s answers", p->o->bucket);
		probe_tell(p, "list", PROBE_OK, "", "%s can be listed", prefix);
		return true;
	}
	if (err.code == STOW_PERMISSION_DENIED && !keys_are_wrong(&err)) {
		probe_tell(p, "bucket", PROBE_OK, "", "%s answers", p->o->bucket);
		probe_tell(p, "list", PROBE_FAILED,
			   "the credentials need s3:ListBucket on the bucket: without it S3 says "
			   "\"forbidden\" of "
			   "every blob "
			   "that is not there",
			   "%s", err.msg);
		return true;
	}
	if (keys_are_wrong(&err))
		probe_tell(p, "bucket", PROBE_FAILED,
			   "the server does not know the access key, or the secret key is another one's",
			   "%s", err.msg);
	else
		probe_tell_failure(p, "bucket", "s3:ListBucket", &err);
	return false;
}

/* A key that is not there. */
static void probe_absent(struct probe *p)
{
	struct s3_object o;
	struct stow_err err;

	probe_ask(p, "head");
	if (s3_head(p->client, p->key, &o, &err) == 0 || err.code == STOW_NOT_FOUND)
		return;
	probe_tell_failure(p, "head", "s3:GetObject and s3:ListBucket", &err);
}

void probe_learnt(struct probe *p)
{
	struct s3_learnt l;
	int64_t offset;

	s3_client_learnt(p->client, &l);
	offset = l.clock_offset_ns < 0 ? -l.clock_offset_ns : l.clock_offset_ns;
	if (l.any && offset > CLOCK_NOTE_NS)
		probe_tell(
			p, "clock", PROBE_NOTE,
			"requests are signed by the server's clock; set this machine's, by NTP for instance",
			"this machine's clock is %" PRId64 " s %s", offset / NSEC_PER_SEC,
			l.clock_offset_ns < 0 ? "fast" : "slow");
	else if (l.any)
		probe_tell(p, "clock", PROBE_OK, "", "agrees with the server's");
	if (l.region_changed)
		probe_tell(p, "region", PROBE_NOTE, "set the region: every start costs a redirected request",
			   "the bucket is in %s", l.region);
	else
		probe_tell(p, "region", PROBE_OK, "", "%s", l.region);
}

static int read_text(void *arg UNUSED, uint64_t off, void *to, size_t n, struct stow_err *err UNUSED)
{
	memcpy(to, TEXT + off, n);
	return 0;
}

struct s3_body probe_body(void)
{
	struct s3_body body = { .size = PROBE_TEXT_SIZE, .read = read_text };
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);

	hash_update(h, TEXT, PROBE_TEXT_SIZE);
	hash_digest(h, &body.sha256);
	return body;
}

static bool probe_put(struct probe *p)
{
	struct s3_body body = probe_body();
	struct s3_object o;
	struct stow_err err;

	probe_ask(p, "put");
	if (s3_put(p->client, p->key, &body, 0, &o, &err) == 0) {
		probe_tell(p, "put", PROBE_OK, "", "%s", p->key);
		return true;
	}
	probe_tell_failure(
		p, "put",
		"s3:PutObject (and the KMS key's kms:GenerateDataKey, where objects are encrypted by one)",
		&err);
	return false;
}

static void probe_get(struct probe *p)
{
	char text[PROBE_TEXT_SIZE];
	struct stow_err err;

	probe_ask(p, "get");
	if (s3_get(p->client, p->key, NULL, 8, PROBE_TEXT_SIZE - 8, text, &err) < 0)
		probe_tell_failure(
			p, "get",
			"s3:GetObject (and the KMS key's kms:Decrypt, where objects are encrypted by one)",
			&err);
	else if (memcmp(text, TEXT + 8, PROBE_TEXT_SIZE - 8) != 0)
		probe_tell(p, "get", PROBE_FAILED, "the server, or a proxy before it, is out of order",
			   "%s: other bytes were read than were written", p->key);
	else
		probe_tell(p, "get", PROBE_OK, "", "a range of it was read");
}

/* The outcome of writing, under a condition, over what is there. */
static void tell_condition(struct probe *p, const char *name, int result, const struct stow_err *err)
{
	if (result < 0 && err->code == STOW_ALREADY_EXISTS)
		probe_tell(p, name, PROBE_OK, "",
			   "If-None-Match is respected: what is there is not sent twice");
	else if (result < 0 && err->code == STOW_UNIMPLEMENTED)
		probe_tell(p, name, PROBE_NOTE, "",
			   "the server refuses If-None-Match: Stowage looks before it writes");
	else if (result < 0)
		probe_tell_failure(p, name, "s3:PutObject", err);
	else
		probe_tell(p, name, PROBE_NOTE, "",
			   "the server ignores If-None-Match: two that write the same blob at once both send "
			   "it, "
			   "which does no "
			   "harm");
}

static void probe_condition(struct probe *p)
{
	struct s3_body body = probe_body();
	struct s3_object o;
	struct stow_err err;
	int result;

	probe_ask(p, "conditional put");
	result = s3_put(p->client, p->key, &body, S3_IF_ABSENT, &o, &err);
	tell_condition(p, "conditional put", result, &err);
}

static int see_part(void *arg, const struct s3_part *part UNUSED, struct stow_err *err UNUSED)
{
	++*(unsigned *)arg;
	return 0;
}

/* One upload of one part, ended by `flags`. False where a step before the end failed, which is told. */
static bool upload(struct probe *p, unsigned flags, int *ret_result, struct stow_err *err)
{
	struct s3_upload u = { .key = p->multipart, .id = p->id };
	struct s3_body body = probe_body();
	struct s3_part part;
	struct s3_object o;
	unsigned parts = 0;

	if (s3_upload_create(p->client, p->multipart, p->id, err) < 0 ||
	    s3_upload_part(p->client, &u, 1, &body, &part, err) < 0) {
		probe_tell_failure(p, "multipart", "s3:PutObject", err);
		return false;
	}
	if (s3_upload_parts(p->client, &u, see_part, &parts, err) < 0)
		probe_tell_failure(p, "list parts", "s3:ListMultipartUploadParts", err);
	*ret_result = s3_upload_complete(p->client, &u, &part, 1, flags, &o, err);
	return true;
}

static void probe_abort(struct probe *p)
{
	struct s3_upload u = { .key = p->multipart, .id = p->id };
	struct stow_err err;

	probe_ask(p, "abort");
	if (s3_upload_create(p->client, p->multipart, p->id, &err) < 0)
		probe_tell_failure(p, "abort", "s3:PutObject", &err);
	else if (s3_upload_abort(p->client, &u, &err) < 0)
		probe_tell_failure(p, "abort", "s3:AbortMultipartUpload", &err);
	else
		probe_tell(p, "abort", PROBE_OK, "", "an unfinished upload can be given up");
}

static void probe_multipart(struct probe *p)
{
	struct stow_err err, ignored;
	int result;

	probe_ask(p, "multipart");
	if (!upload(p, 0, &result, &err))
		return;
	if (result < 0) {
		probe_tell_failure(p, "multipart", "s3:PutObject", &err);
		return;
	}
	probe_tell(p, "multipart", PROBE_OK, "", "%s", p->multipart);
	probe_ask(p, "conditional complete");
	if (upload(p, S3_IF_ABSENT, &result, &err)) {
		tell_condition(p, "conditional complete", result, &err);
		if (result < 0)
			(void)!s3_upload_abort(
				p->client, &(struct s3_upload){ .key = p->multipart, .id = p->id }, &ignored);
	}
	probe_abort(p);
}

/* Both objects go, however the rest went. */
static void probe_delete(struct probe *p)
{
	struct stow_err err, other = { 0 };
	int result;

	probe_ask(p, "delete");
	result = s3_delete(p->client, p->key, &err);
	if (s3_delete(p->client, p->multipart, &other) < 0 && result == 0) {
		result = -1;
		err = other;
	}
	if (result == 0 || err.code == STOW_NOT_FOUND)
		probe_tell(p, "delete", PROBE_OK, "", "what was written is removed");
	else
		probe_tell_failure(p, "delete", "s3:DeleteObject", &err);
}

static void make_keys(struct probe *p)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		x_abort("the system has no random numbers");
	p->key = x_asprintf("%sstowage-check/%016" PRIx64, p->prefix, random);
	p->multipart = x_asprintf("%s-parts", p->key);
}

bool probe_begin(struct probe *p, const struct s3_options *o)
{
	struct stow_err err;

	p->o = o;
	p->prefix = x_asprintf("%s%s", o->prefix, *o->prefix != '\0' ? "/" : "");
	if (s3_session_new(o, &p->session, &err) < 0) {
		probe_tell(p, "configuration", PROBE_FAILED, "", "%s", err.msg);
		return false;
	}
	p->client = p->session->client;
	return probe_credentials(p) && probe_bucket(p);
}

void probe_end(struct probe *p)
{
	free(p->seen);
	free(p->key);
	free(p->multipart);
	free(p->prefix);
	s3_session_free(p->session);
}

bool s3_probe(const struct s3_options *o, const struct s3_probe_fleet *fleet, s3_probe_report *report,
	      void *arg)
{
	CLEANUP(probe_end) struct probe p = { .table = "remote.s3", .report = report, .arg = arg };

	if (!probe_begin(&p, o))
		return false;
	make_keys(&p);
	probe_learnt(&p);
	probe_absent(&p);
	if (probe_put(&p)) {
		probe_get(&p);
		probe_condition(&p);
	}
	probe_multipart(&p);
	probe_delete(&p);
	if (fleet != NULL)
		probe_fleet(&p, fleet);
	return !p.failed;
}
