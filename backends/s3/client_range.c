/* Ranges of objects: GetObject, one range a request. */
#include "backends/s3/client_internal.h"
#include "content/base/mem.h"
#include "content/base/text.h"

/* Freed by its own `done`, or by the one who waits. */
struct range {
	struct request r;
	struct s3_op *op; /* NULL: somebody waits */
	char etag[S3_ETAG_MAX];
	uint64_t off;
	size_t n, got;
	uint8_t *to;
};

static void range_begin(struct request *r)
{
	struct range *g = r->arg;

	g->got = 0;
}

static int range_sink(void *arg, const void *p, size_t n, struct stow_err *err)
{
	struct range *g = arg;

	if (n > g->n - g->got) {
		g->r.bad_answer = true;
		return stow_fail(err, STOW_DATA_LOSS, "more bytes than the %zu at %llu that were asked for",
				 g->n, (unsigned long long)g->off);
	}
	memcpy(g->to + g->got, p, n);
	g->got += n;
	return 0;
}

/* "bytes 0-9/100", the last one may be "*": false for anything else. */
static bool parse_range(const char *s, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total)
{
	uint64_t v[3] = { 0, 0, UINT64_MAX };
	const char *ends = "-/";

	if (strncmp(s, "bytes ", 6) != 0)
		return false;
	s += 6;
	for (int i = 0; i < 3; i++) {
		char *end;

		if (i == 2 && strcmp(s, "*") == 0)
			break;
		if (*s < '0' || *s > '9')
			return false;
		v[i] = strtoull(s, &end, 10);
		if (*end != ends[i])
			return false;
		s = end + 1;
	}
	*ret_first = v[0];
	*ret_last = v[1];
	*ret_total = v[2];
	return true;
}

/* Whether the answer is the range. A server that knows no ranges, or to whom the range was all there is,
 * may answer with the whole object. */
static int range_check(struct request *r, struct stow_err *err)
{
	struct range *g = r->arg;
	const char *range = http_header(&r->t.resp, "content-range");
	const char *etag = http_header(&r->t.resp, "etag");
	uint64_t first = 0, last = g->got - 1, total = UINT64_MAX;
	char shown[65];

	if (g->etag[0] != '\0' && etag != NULL && strcmp(etag, g->etag) != 0) {
		/* Another attempt would find the same: it is for the reader to look at the object again. */
		text_clean(shown, sizeof(shown), etag);
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "the object has changed: its ETag is %s, not %s", shown, g->etag);
	}
	if (r->t.resp.status == 206 && (range == NULL || !parse_range(range, &first, &last, &total))) {
		r->bad_answer = true;
		return stow_fail(err, STOW_DATA_LOSS, "206 without a Content-Range that can be read");
	}
	if (total != UINT64_MAX && (total < g->off || total - g->off < g->n))
		return stow_fail(err, STOW_OUT_OF_RANGE, "%zu bytes at %llu of an object that has %llu", g->n,
				 (unsigned long long)g->off, (unsigned long long)total);
	if (first == g->off && last - first == g->n - 1 && g->got == g->n)
		return 0;
	r->bad_answer = true;
	return stow_fail(err, STOW_DATA_LOSS, "%zu bytes at %llu came where %zu at %llu were asked for",
			 g->got, (unsigned long long)first, g->n, (unsigned long long)g->off);
}

static struct range *range_new(struct s3_client *c, const char *key, const char *etag, uint64_t off, size_t n,
			       void *to)
{
	struct range *g = x_calloc(1, sizeof(*g));

	assert(n > 0 && off <= INT64_MAX && n <= INT64_MAX - off);
	client_request(c, &g->r, "GetObject", "GET", key);
	g->off = off;
	g->n = n;
	g->to = to;
	(void)snprintf(g->etag, sizeof(g->etag), "%s", etag != NULL ? etag : "");
	request_header(&g->r, "Range", "bytes=%llu-%llu", (unsigned long long)off,
		       (unsigned long long)(off + n - 1));
	if (g->etag[0] != '\0')
		request_header(&g->r, "If-Match", "%s", g->etag);
	g->r.begin = range_begin;
	g->r.sink = range_sink;
	g->r.check = range_check;
	g->r.arg = g;
	return g;
}

int s3_get(struct s3_client *c, const char *key, const char *etag, uint64_t off, size_t n, void *to,
	   struct stow_err *err)
{
	CLEANUP(freep) struct range *g = range_new(c, key, etag, off, n, to);

	return client_perform(&g->r, err);
}

static void range_done(struct request *r)
{
	struct range *g = r->arg;
	struct s3_op *op = g->op;

	client_op_end(op, r);
	request_destroy(r);
	free(g);
	op->done(op);
}

void s3_get_start(struct s3_client *c, struct s3_op *op, const char *key, const char *etag, uint64_t off,
		  size_t n, void *to)
{
	struct range *g = range_new(c, key, etag, off, n, to);

	g->op = op;
	g->r.done = range_done;
	client_op_begin(op, &g->r);
}
