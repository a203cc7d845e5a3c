#include "backends/s3/request_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* Appends a header line, with its NUL, to r->text. */
static int add_line(struct request *r, size_t at[], size_t *n, const char *name, const char *value)
{
	at[(*n)++] = r->text.len;
	return buf_printf(&r->text, &r->err, "%s: %s%c", name, value, '\0');
}

static int add_authorization(struct request *r, const struct sigv4_request *q, size_t at[], size_t *n)
{
	at[(*n)++] = r->text.len;
	if (buf_printf(&r->text, &r->err, "Authorization: ") < 0 ||
	    sigv4_authorization(q, &r->creds.key, &r->text, &r->err) < 0)
		return -1;
	return buf_append(&r->text, "", 1, &r->err);
}

static int build_url(struct request *r, const struct s3_endpoint *e, char **ret_path)
{
	CLEANUP(buf_free) struct buf path;

	buf_init(&path, REQUEST_TEXT_MAX);
	if (buf_printf(&path, &r->err, "%s%s", e->path, r->key != NULL || e->path[0] == '\0' ? "/" : "") <
		    0 ||
	    (r->key != NULL && sigv4_encode(&path, r->key, true, &r->err) < 0) ||
	    buf_append(&path, "", 1, &r->err) < 0)
		return -1;
	buf_reset(&r->url);
	if (buf_printf(&r->url, &r->err, "%s://%s%s%s", e->tls ? "https" : "http", e->host, (char *)path.p,
		       r->query_n > 0 ? "?" : "") < 0 ||
	    sigv4_query(&r->url, r->query, r->query_n, &r->err) < 0 ||
	    buf_append(&r->url, "", 1, &r->err) < 0)
		return -1;
	*ret_path = x_strdup((char *)path.p);
	return 0;
}

int request_sign(struct request *r)
{
	struct request_env *s = r->env;
	struct sigv4_pair headers[REQUEST_PAIRS + 2];
	struct sigv4_request q = { .method = r->method,
				   .query = r->query,
				   .query_n = r->query_n,
				   .headers = headers,
				   .payload = r->payload,
				   .region = r->region,
				   .service = "s3" };
	CLEANUP(freep) char *path = NULL;
	size_t at[ARRAY_LEN(r->lines)], n = 0;
	char date[SIGV4_DATE_MAX];
	struct s3_endpoint e;

	lock_take(&s->lock);
	if (!r->skew_suspected)
		r->sign_offset_ns = s->sign_offset_ns;
	e = s->endpoint;
	memcpy(r->region, s->learnt.region, sizeof(r->region));
	s->learnt.requests++;
	if (r->attempts > 1)
		s->learnt.retries++;
	lock_release(&s->lock);
	if (build_url(r, &e, &path) < 0)
		return -1;
	q.time_ns = clock_wall_ns() + r->sign_offset_ns;
	q.path = path;
	headers[q.headers_n++] = (struct sigv4_pair){ "Host", e.host };
	headers[q.headers_n++] = (struct sigv4_pair){ "x-amz-content-sha256", r->payload };
	for (size_t i = 0; i < r->headers_n; i++)
		headers[q.headers_n++] = r->headers[i];
	buf_reset(&r->text);
	for (size_t i = 0; i < q.headers_n; i++)
		if (add_line(r, at, &n, headers[i].name, headers[i].value) < 0)
			return -1;
	sigv4_date(q.time_ns, date);
	if (add_line(r, at, &n, "x-amz-date", date) < 0 ||
	    (r->creds.key.session_token != NULL &&
	     add_line(r, at, &n, "x-amz-security-token", r->creds.key.session_token) < 0) ||
	    add_authorization(r, &q, at, &n) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		r->lines[i] = (char *)r->text.p + at[i];
	r->lines[n] = NULL;
	return 0;
}
