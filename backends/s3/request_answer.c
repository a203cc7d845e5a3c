/* What an answer means, and what is learnt from it. */
#include "backends/s3/request_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

/* S3 refuses what is 15 minutes off; an answer without a body says 403 only. */
#define SKEW_SUSPECT (5 * 60 * NSEC_PER_SEC)

/* --- failures --- */

static const struct {
	const char *code;
	enum stow_code as;
} meanings[] = {
	{ "NoSuchBucket", STOW_FAILED_PRECONDITION },
	{ "NoSuchKey", STOW_NOT_FOUND },
	{ "NoSuchUpload", STOW_NOT_FOUND },
	{ "AuthorizationHeaderMalformed", STOW_FAILED_PRECONDITION },
	{ "AccessDenied", STOW_PERMISSION_DENIED },
	{ "ExpiredToken", STOW_PERMISSION_DENIED },
	{ "ExpiredTokenException", STOW_PERMISSION_DENIED },
	{ "TokenRefreshRequired", STOW_PERMISSION_DENIED },
	{ "InvalidToken", STOW_PERMISSION_DENIED },
	{ "QuotaExceeded", STOW_RESOURCE_EXHAUSTED },
	{ "XMinioStorageFull", STOW_RESOURCE_EXHAUSTED },
	{ "XMinioAdminBucketQuotaExceeded", STOW_RESOURCE_EXHAUSTED },
	{ "BadDigest", STOW_DATA_LOSS },
	{ "XAmzContentSHA256Mismatch", STOW_DATA_LOSS },
	{ "XAmzContentChecksumMismatch", STOW_DATA_LOSS },
	{ "NotImplemented", STOW_UNIMPLEMENTED },
	{ "MethodNotAllowed", STOW_UNIMPLEMENTED },
	{ "RequestTimeout", STOW_UNAVAILABLE },
};

static enum stow_code code_of(const struct request *r, int status)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (strcmp(r->error.code, meanings[i].code) == 0)
			return meanings[i].as;
	if (status == 412 || strcmp(r->error.code, "PreconditionFailed") == 0)
		return r->flags & REQUEST_IF_ABSENT ? STOW_ALREADY_EXISTS : STOW_FAILED_PRECONDITION;
	switch (status) {
	case 401:
	case 403:
		return STOW_PERMISSION_DENIED;
	case 404: /* what is missing is in the body, which HEAD has not: see s3_head() */
		return strcmp(r->method, "HEAD") == 0 ? STOW_NOT_FOUND : STOW_FAILED_PRECONDITION;
	case 405:
	case 501:
		return STOW_UNIMPLEMENTED;
	case 408:
	case 429:
		return STOW_UNAVAILABLE;
	case 409:
		return STOW_ABORTED;
	case 416:
		return STOW_OUT_OF_RANGE;
	case 507:
		return STOW_RESOURCE_EXHAUSTED;
	default:
		break;
	}
	if (status >= 300 && status < 400)
		return STOW_FAILED_PRECONDITION;
	return status >= 400 && status < 500 ? STOW_INVALID_ARGUMENT : STOW_UNAVAILABLE;
}

/* "403 AccessDenied (request 4X): what the server has to say" */
static void explain_answer(struct request *r)
{
	const struct s3_error *e = &r->error;
	const char *id = http_header(&r->t.resp, "x-amz-request-id");
	char request[128] = "", clean[97];

	if (id == NULL)
		id = e->request_id;
	if (*id != '\0') {
		text_clean(clean, sizeof(clean), id);
		(void)snprintf(request, sizeof(request), " (request %s)", clean);
	}
	(void)stow_fail(&r->err, code_of(r, r->t.resp.status), "%d%s%s%s%s%s", r->t.resp.status,
			e->code[0] != '\0' ? " " : "", e->code, request, e->message[0] != '\0' ? ": " : "",
			e->message);
	if (retry_judge(&(struct retry_outcome){ HTTP_ANSWERED, r->t.resp.status, e->code, false }) ==
	    RETRY_REGION)
		(void)stow_fail(&r->err, r->err.code, "%s (asked in region %s)", r->err.msg, r->region);
}

/* --- what is learnt from it --- */

bool request_learn_clock(struct request *r, int64_t *ret_off_ns)
{
	struct request_env *s = r->env;
	const char *date = http_header(&r->t.resp, "date");
	int64_t at;

	if (date == NULL || !http_date(date, &at))
		return false;
	*ret_off_ns = at - clock_wall_ns();
	LOCK_SCOPE(&s->lock);
	s->learnt.any = true;
	s->learnt.clock_offset_ns = *ret_off_ns;
	return true;
}

/* The bucket's region, if the answer says it and the request was for another one: all requests' from now
 * on. Whether to try again. */
static bool learn_region(struct request *r)
{
	struct request_env *s = r->env;
	const char *region = http_header(&r->t.resp, "x-amz-bucket-region");
	struct s3_endpoint e;
	struct stow_err err;

	if (region == NULL)
		region = r->error.region;
	if (r->region_used || !s3_region_ok(region) || strcmp(region, r->region) == 0)
		return false;
	if (s3_endpoint_make(s->o, region, strcmp(region, s->home) != 0, &e, &err) < 0)
		return false;
	r->region_used = true;
	LOCK_SCOPE(&s->lock);
	s->endpoint = e;
	(void)snprintf(s->learnt.region, sizeof(s->learnt.region), "%s", region);
	s->learnt.region_changed = strcmp(region, s->home) != 0;
	return true;
}

static bool learn_skew(struct request *r, bool dated, int64_t off_ns)
{
	struct request_env *s = r->env;

	if (r->skew_used || !dated)
		return false;
	r->skew_used = true;
	LOCK_SCOPE(&s->lock);
	s->sign_offset_ns = off_ns;
	return true;
}

/* A 403 that does not say why, from a server whose clock is another: that may be the reason, or the date a
 * proxy's. So only this request is signed by it, until it has succeeded. */
static bool suspect_skew(struct request *r, int64_t off_ns)
{
	if (r->skew_used || llabs(off_ns - r->sign_offset_ns) <= SKEW_SUSPECT)
		return false;
	r->skew_used = r->skew_suspected = true;
	r->sign_offset_ns = off_ns;
	return true;
}

static void prove_skew(struct request *r)
{
	struct request_env *s = r->env;

	if (!r->skew_suspected)
		return;
	LOCK_SCOPE(&s->lock);
	s->sign_offset_ns = r->sign_offset_ns;
}

static bool refresh_creds(struct request *r)
{
	const struct s3_creds_source *c = r->env->creds;

	if (r->refresh_used || c->refresh == NULL || r->creds.key.session_token == NULL)
		return false;
	r->refresh_used = true;
	c->refresh(c->arg, &r->creds);
	return true;
}

bool request_repair(struct request *r, enum retry_verdict v, bool dated, int64_t off_ns)
{
	switch (v) {
	case RETRY_SKEW:
		return learn_skew(r, dated, off_ns);
	case RETRY_EXPIRED:
		return refresh_creds(r);
	case RETRY_REGION:
		/* HEAD has no body that could say more than 400. */
		return learn_region(r) ||
		       (r->t.resp.status == 400 && r->error.code[0] == '\0' && refresh_creds(r));
	case RETRY_NONE:
		/* Nor 403. */
		return r->t.failure == HTTP_ANSWERED && r->t.resp.status == 403 && r->error.code[0] == '\0' &&
		       dated && suspect_skew(r, off_ns);
	case RETRY_SOON:
	case RETRY_THROTTLED:
		break;
	}
	return false;
}

/* --- what it is --- */

int request_judge(struct request *r, struct retry_outcome *o)
{
	struct http_transfer *t = &r->t;
	const struct buf *body = &t->resp.body;
	bool good = t->resp.status >= 200 && t->resp.status < 300;

	r->error = (struct s3_error){ 0 };
	*o = (struct retry_outcome){ t->failure, t->resp.status, r->error.code, r->bad_answer };
	if (r->bad_answer || t->failure != HTTP_ANSWERED) {
		r->err = t->err;
		/* Its sink refused it, but the fault is the answer's. */
		if (r->bad_answer)
			o->failure = HTTP_ANSWERED;
		return -1;
	}
	if (!good || (r->flags & REQUEST_LATE_ERROR))
		(void)xml_error(body->p, body->len, &r->error);
	if (!good || r->error.code[0] != '\0') {
		explain_answer(r);
		return -1;
	}
	prove_skew(r);
	if (r->check == NULL || r->check(r, &r->err) == 0)
		return 0;
	o->bad_answer = r->bad_answer;
	return -1;
}
