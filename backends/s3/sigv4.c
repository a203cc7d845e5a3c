#include "backends/s3/sigv4.h"

#include "content/base/clock.h"
#include "content/base/encode.h"
#include "content/base/hash.h"
#include "content/base/hmac.h"
#include "content/base/mem.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

enum { SIGV4_TEXT_MAX = 64 * 1024 }; /* of what is only built to be hashed */

int sigv4_encode(struct buf *b, const char *s, bool slash, struct stow_err *err)
{
	static const char digits[] = "0123456789ABCDEF";
	char out[256];
	size_t n = 0;

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (n > sizeof(out) - 3) {
			if (buf_append(b, out, n, err) < 0)
				return -1;
			n = 0;
		}
		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		    c == '.' || c == '_' || c == '~' || (c == '/' && slash)) {
			out[n++] = *s;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	return buf_append(b, out, n, err);
}

void sigv4_date(int64_t time_ns, char out[SIGV4_DATE_MAX])
{
	time_t t = (time_t)(time_ns / NSEC_PER_SEC);
	struct tm tm = { 0 };

	if (gmtime_r(&t, &tm) == NULL || strftime(out, SIGV4_DATE_MAX, "%Y%m%dT%H%M%SZ", &tm) == 0)
		memcpy(out, "00000000T000000Z", SIGV4_DATE_MAX);
}

/* --- lists in the signature's order --- */

struct item {
	char *name, *value; /* owned */
	size_t at;          /* where it was: equal names keep their order */
};
struct items {
	struct item *v;
	size_t n;
};

static void items_free(struct items *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].value);
	}
	free(l->v);
}

static char *buf_take_text(struct buf *b)
{
	return x_strndup(b->p != NULL ? (const char *)b->p : "", b->len);
}

static int compare_query(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	int names = strcmp(a->name, b->name);

	return names != 0 ? names : strcmp(a->value, b->value);
}

static int compare_headers(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	int names = strcmp(a->name, b->name);

	return names != 0 ? names : (a->at > b->at) - (a->at < b->at);
}

static int encoded(const char *s, char **ret_s, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf b;

	buf_init(&b, SIGV4_TEXT_MAX);
	if (sigv4_encode(&b, s, false, err) < 0)
		return -1;
	*ret_s = buf_take_text(&b);
	return 0;
}

int sigv4_query(struct buf *b, const struct sigv4_pair *query, size_t n, struct stow_err *err)
{
	CLEANUP(items_free) struct items l = { x_calloc(n, sizeof(*l.v)), 0 };

	for (size_t i = 0; i < n; i++) {
		struct item *it = &l.v[l.n++];

		if (encoded(query[i].name, &it->name, err) < 0 ||
		    encoded(query[i].value != NULL ? query[i].value : "", &it->value, err) < 0)
			return -1;
	}
	qsort(l.v, l.n, sizeof(*l.v), compare_query);
	for (size_t i = 0; i < l.n; i++)
		if (buf_printf(b, err, "%s%s=%s", i > 0 ? "&" : "", l.v[i].name, l.v[i].value) < 0)
			return -1;
	return 0;
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without blanks around, and with one space for each run of them within. */
static char *trimmed(const char *s)
{
	char *out = x_malloc(strlen(s) + 1), *to = out;

	for (; *s != '\0'; s++) {
		if (!blank(*s))
			*to++ = *s;
		else if (to > out && to[-1] != ' ')
			*to++ = ' ';
	}
	if (to > out && to[-1] == ' ')
		to--;
	*to = '\0';
	return out;
}

static void items_add(struct items *l, const char *name, const char *value)
{
	struct item *it = &l->v[l->n];

	*it = (struct item){ x_strdup(name), trimmed(value), l->n };
	for (char *c = it->name; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	l->n++;
}

/* --- the four steps --- */

/* A request as it is signed: by header, or, where `presigned`, by query. */
struct signing {
	const struct sigv4_request *r;
	const struct sigv4_key *k;
	struct items headers; /* sorted */
	struct sigv4_pair *query;
	size_t query_n;
	bool presigned;
	char date[SIGV4_DATE_MAX];
	char expires[16];
	struct buf scope, credential, names; /* texts, with NUL */
};

static void signing_free(struct signing *s)
{
	items_free(&s->headers);
	free(s->query);
	buf_free(&s->scope);
	buf_free(&s->credential);
	buf_free(&s->names);
}

static int text(struct buf *b, struct stow_err *err)
{
	return buf_append(b, "", 1, err);
}

static int signed_names(struct signing *s, struct stow_err *err)
{
	for (size_t i = 0; i < s->headers.n; i++) {
		const char *name = s->headers.v[i].name;

		if (i > 0 && strcmp(name, s->headers.v[i - 1].name) == 0)
			continue;
		if (buf_printf(&s->names, err, "%s%s", i > 0 ? ";" : "", name) < 0)
			return -1;
	}
	return text(&s->names, err);
}

static void add_query(struct signing *s, const char *name, const char *value)
{
	s->query[s->query_n++] = (struct sigv4_pair){ name, value };
}

/* `expires_s` 0: signed by header. */
static int signing_init(struct signing *s, const struct sigv4_request *r, const struct sigv4_key *k,
			unsigned expires_s, struct stow_err *err)
{
	*s = (struct signing){ .r = r, .k = k, .presigned = expires_s > 0 };
	buf_init(&s->scope, SIGV4_TEXT_MAX);
	buf_init(&s->credential, SIGV4_TEXT_MAX);
	buf_init(&s->names, SIGV4_TEXT_MAX);
	sigv4_date(r->time_ns, s->date);
	if (buf_printf(&s->scope, err, "%.8s/%s/%s/aws4_request", s->date, r->region, r->service) < 0 ||
	    text(&s->scope, err) < 0 ||
	    buf_printf(&s->credential, err, "%s/%s", k->access_key, (char *)s->scope.p) < 0 ||
	    text(&s->credential, err) < 0)
		return -1;

	s->headers.v = x_calloc(r->headers_n + 2, sizeof(*s->headers.v));
	for (size_t i = 0; i < r->headers_n; i++)
		items_add(&s->headers, r->headers[i].name, r->headers[i].value);
	if (!s->presigned) {
		items_add(&s->headers, "x-amz-date", s->date);
		if (k->session_token != NULL)
			items_add(&s->headers, "x-amz-security-token", k->session_token);
	}
	qsort(s->headers.v, s->headers.n, sizeof(*s->headers.v), compare_headers);
	if (signed_names(s, err) < 0)
		return -1;

	s->query = x_calloc(r->query_n + 6, sizeof(*s->query));
	for (size_t i = 0; i < r->query_n; i++)
		add_query(s, r->query[i].name, r->query[i].value);
	if (s->presigned) {
		(void)snprintf(s->expires, sizeof(s->expires), "%u", expires_s);
		add_query(s, "X-Amz-Algorithm", ALGORITHM);
		add_query(s, "X-Amz-Credential", (char *)s->credential.p);
		add_query(s, "X-Amz-Date", s->date);
		add_query(s, "X-Amz-Expires", s->expires);
		add_query(s, "X-Amz-SignedHeaders", (char *)s->names.p);
		if (k->session_token != NULL)
			add_query(s, "X-Amz-Security-Token", k->session_token);
	}
	return 0;
}

static int canonical_request(const struct signing *s, struct buf *b, struct stow_err *err)
{
	const struct items *h = &s->headers;

	if (buf_printf(b, err, "%s\n%s\n", s->r->method, s->r->path) < 0 ||
	    sigv4_query(b, s->query, s->query_n, err) < 0)
		return -1;
	for (size_t i = 0; i < h->n; i++) {
		bool again = i > 0 && strcmp(h->v[i].name, h->v[i - 1].name) == 0;

		if (again ? buf_printf(b, err, ",%s", h->v[i].value) < 0
			  : buf_printf(b, err, "\n%s:%s", h->v[i].name, h->v[i].value) < 0)
			return -1;
	}
	return buf_printf(b, err, "\n\n%s\n%s", (char *)s->names.p, s->r->payload);
}

static int string_to_sign(const struct signing *s, struct buf *b, struct stow_err *err)
{
	CLEANUP(buf_free) struct buf request;
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	char hex[DIGEST_HEX_MAX];
	struct digest d;

	buf_init(&request, SIGV4_TEXT_MAX);
	if (canonical_request(s, &request, err) < 0)
		return -1;
	hash_update(h, request.p, request.len);
	hash_digest(h, &d);
	digest_format_hex(&d, hex);
	return buf_printf(b, err, "%s\n%s\n%s\n%s", ALGORITHM, s->date, (char *)s->scope.p, hex);
}

static void hmac_text(uint8_t key[HMAC_SHA256_LEN], const char *s)
{
	hmac_sha256(key, HMAC_SHA256_LEN, s, strlen(s), key);
}

static int signature(const struct signing *s, char out[SIGV4_SIGNATURE_MAX], struct stow_err *err)
{
	CLEANUP(buf_free) struct buf what;
	CLEANUP(freep) char *secret = NULL;
	uint8_t key[HMAC_SHA256_LEN];

	buf_init(&what, SIGV4_TEXT_MAX);
	if (string_to_sign(s, &what, err) < 0)
		return -1;
	secret = x_asprintf("AWS4%s", s->k->secret_key);
	hmac_sha256(secret, strlen(secret), s->date, 8, key);
	hmac_text(key, s->r->region);
	hmac_text(key, s->r->service);
	hmac_text(key, "aws4_request");
	hmac_sha256(key, sizeof(key), what.p, what.len, key);
	hex_encode(out, key, sizeof(key));
	explicit_bzero(secret, strlen(secret));
	return 0;
}

/* --- what is asked for --- */

int sigv4_canonical(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
		    struct stow_err *err)
{
	CLEANUP(signing_free) struct signing s;

	return signing_init(&s, r, k, 0, err) < 0 ? -1 : canonical_request(&s, b, err);
}

int sigv4_string_to_sign(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
			 struct stow_err *err)
{
	CLEANUP(signing_free) struct signing s;

	return signing_init(&s, r, k, 0, err) < 0 ? -1 : string_to_sign(&s, b, err);
}

int sigv4_authorization(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
			struct stow_err *err)
{
	CLEANUP(signing_free) struct signing s;
	char mac[SIGV4_SIGNATURE_MAX];

	if (signing_init(&s, r, k, 0, err) < 0 || signature(&s, mac, err) < 0)
		return -1;
	return buf_printf(b, err, "%s Credential=%s, SignedHeaders=%s, Signature=%s", ALGORITHM,
			  (char *)s.credential.p, (char *)s.names.p, mac);
}

int sigv4_presign(const struct sigv4_request *r, const struct sigv4_key *k, unsigned expires_s, struct buf *b,
		  struct stow_err *err)
{
	CLEANUP(signing_free) struct signing s;
	char mac[SIGV4_SIGNATURE_MAX];

	assert(expires_s >= 1 && expires_s <= 604800);
	if (signing_init(&s, r, k, expires_s, err) < 0 || signature(&s, mac, err) < 0 ||
	    sigv4_query(b, s.query, s.query_n, err) < 0)
		return -1;
	return buf_printf(b, err, "&X-Amz-Signature=%s", mac);
}
