#include "backends/s3/http_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum {
	HTTP_BUFFER = 256 * 1024
}; /* of each direction of a transfer, where curl's defaults are 16 and 64 KiB */

static_assert(CURL_ERROR_SIZE == sizeof(((struct http_active *)NULL)->detail), "curl's text fits");

/* --- curl's callbacks --- */

static void progress(struct http_active *a, enum phase phase)
{
	a->phase = phase;
	a->progress_ns = clock_mono_ns();
}

static enum phase sending(const struct http_active *a)
{
	return a->body_off < a->t->req.body_size ? SENDING : WAITING;
}

static int on_connected(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct http_active *a = arg;

	(void)to, (void)from, (void)to_port, (void)from_port;
	progress(a, sending(a));
	return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *to, size_t size, size_t count, void *arg)
{
	struct http_active *a = arg;
	const struct http_request *req = &a->t->req;
	uint64_t left = req->body_size - a->body_off;
	size_t n = size * count;

	if (n > left)
		n = (size_t)left;
	if (n == 0)
		return 0;
	if (req->body_read(req->arg, a->body_off, to, n, &a->t->err) < 0) {
		a->refused = true;
		return CURL_READFUNC_ABORT;
	}
	a->body_off += n;
	progress(a, sending(a));
	return n;
}

static int on_seek(void *arg, curl_off_t off, int origin)
{
	struct http_active *a = arg;

	if (origin != SEEK_SET || off < 0 || (uint64_t)off > a->t->req.body_size)
		return CURL_SEEKFUNC_FAIL;
	a->body_off = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

static int status_of(const char *line, size_t n)
{
	const char *p = memchr(line, ' ', n);

	if (p == NULL || line + n - p < 4)
		return 0;
	for (int i = 1; i <= 3; i++)
		if (p[i] < '0' || p[i] > '9')
			return 0;
	return (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
}

/* Keeps "name:value" and a NUL; what is no such line is left out. */
static int keep_header(struct http_response *r, const char *line, size_t n, struct stow_err *err)
{
	const char *colon = memchr(line, ':', n), *value, *end = line + n;

	if (colon == NULL || memchr(line, '\0', n) != NULL)
		return 0;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
		end--;
	return buf_printf(&r->headers, err, "%.*s:%.*s%c", (int)(colon - line), line, (int)(end - value),
			  value, '\0');
}

/* Says to the server that the head is here. Ceph's gateway writes head and body apart, with Nagle's algorithm
 * on: the body waits for this, and Linux would let it wait for 40 ms where it has taken the connection for
 * one of requests and answers. Curl does not tell which socket it is; for the others it does no harm. */
static void acknowledge(const struct http *h)
{
	int on = 1;

	for (unsigned i = 0; i < h->sockets_n; i++)
		(void)setsockopt(h->sockets[i], IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct http_active *a = arg;
	struct http_transfer *t = a->t;
	size_t n = size * count;

	if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
		int status = status_of(line, n);

		a->informal = status >= 100 && status < 200;
		if (a->informal) {
			a->progress_ns = clock_mono_ns();
			return n;
		}
		buf_reset(&t->resp.headers);
		t->resp.status = status;
		t->first_ns = clock_mono_ns() - a->start_ns;
	}
	if (a->informal)
		return n;
	progress(a, RECEIVING);
	if (n <= 2) {
		a->headed = true;
		acknowledge(a->h);
	}
	if (keep_header(&t->resp, line, n, &t->err) < 0) {
		(void)stow_wrap(&t->err, "headers of the answer");
		a->refused = true;
		return 0;
	}
	return n;
}

static int take_body(struct http_transfer *t, const void *p, size_t n)
{
	struct buf *b = &t->resp.body;
	bool good = t->resp.status >= 200 && t->resp.status < 300;

	if (good && t->req.sink != NULL)
		return t->req.sink(t->req.arg, p, n, &t->err);
	if (good)
		return buf_append(b, p, n, &t->err) < 0 ? stow_wrap(&t->err, "body of the answer") : 0;
	if (n > b->max - b->len)
		n = b->max - b->len;
	return buf_append(b, p, n, &t->err);
}

static size_t on_body(char *p, size_t size, size_t count, void *arg)
{
	struct http_active *a = arg;
	size_t n = size * count;

	progress(a, RECEIVING);
	if (take_body(a->t, p, n) < 0) {
		a->refused = true;
		return n > 0 ? 0 : 1;
	}
	return n;
}

/* As curl's own, and closed on exec: the process starts others (credential_process). */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct http *h = arg;
	int fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);

	(void)purpose;
	if (fd >= 0 && h->sockets_n < ARRAY_LEN(h->sockets))
		h->sockets[h->sockets_n++] = fd;
	return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
	struct http *h = arg;

	for (unsigned i = 0; i < h->sockets_n; i++)
		if (h->sockets[i] == fd)
			h->sockets[i--] = h->sockets[--h->sockets_n];
	return close(fd);
}

/* --- a transfer's start and end --- */

/* What libcurl makes of an option: the first that it does not take is the transfer's failure. A library may
 * have been built without TLS, HTTP/2 or proxies, and may refuse a text for its length. */
static void set(struct http_active *a, CURLcode code)
{
	if (a->refusal == CURLE_OK)
		a->refusal = (int)code;
}

static void set_connection(const struct http *h, struct http_active *a)
{
	const struct http_request *req = &a->t->req;
	CURL *e = a->easy;

	set(a, curl_easy_setopt(e, CURLOPT_SHARE, h->share));
	set(a, curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
	/* Else the end of a transfer whose name is being looked up waits for that, and with it all others. */
	set(a, curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L));
	set(a, curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"));
	set(a, curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
				h->o.http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1));
	set(a, curl_easy_setopt(e, CURLOPT_PIPEWAIT, h->o.http2 ? 1L : 0L));
	set(a, curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	set(a, curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L));
	set(a, curl_easy_setopt(e, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L));
	set(a, curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket));
	set(a, curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, a->h));
	set(a, curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close));
	set(a, curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, a->h));
	set(a, curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
	set(a, curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)HTTP_BUFFER));
	if (h->o.ca_file != NULL) {
		set(a, curl_easy_setopt(e, CURLOPT_CAINFO, h->o.ca_file));
		set(a, curl_easy_setopt(e, CURLOPT_CAPATH, NULL));
	}
	if (req->no_proxy)
		set(a, curl_easy_setopt(e, CURLOPT_PROXY, ""));
	else if (h->o.proxy != NULL)
		set(a, curl_easy_setopt(e, CURLOPT_PROXY, h->o.proxy));
	if (req->connect_ns > 0)
		set(a, curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
					(long)((req->connect_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC)));
	set(a, curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected));
	set(a, curl_easy_setopt(e, CURLOPT_PREREQDATA, a));
}

static void set_request(const struct http *h, struct http_active *a)
{
	const struct http_request *req = &a->t->req;
	bool body = strcmp(req->method, "PUT") == 0 || strcmp(req->method, "POST") == 0;
	CURL *e = a->easy;

	set(a, curl_easy_setopt(e, CURLOPT_URL, req->url));
	set(a, curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L));
	set(a, curl_easy_setopt(e, CURLOPT_USERAGENT, h->o.user_agent));
	set(a, curl_easy_setopt(e, CURLOPT_HTTPHEADER, a->headers));
	if (body) {
		set(a, curl_easy_setopt(e, CURLOPT_UPLOAD, 1L));
		set(a, curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_size));
		set(a, curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)HTTP_BUFFER));
	} else if (strcmp(req->method, "HEAD") == 0) {
		set(a, curl_easy_setopt(e, CURLOPT_NOBODY, 1L));
	}
	set(a, curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method));
	set(a, curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read));
	set(a, curl_easy_setopt(e, CURLOPT_READDATA, a));
	set(a, curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek));
	set(a, curl_easy_setopt(e, CURLOPT_SEEKDATA, a));
	set(a, curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
	set(a, curl_easy_setopt(e, CURLOPT_HEADERDATA, a));
	set(a, curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
	set(a, curl_easy_setopt(e, CURLOPT_WRITEDATA, a));
	set(a, curl_easy_setopt(e, CURLOPT_ERRORBUFFER, a->detail));
	set(a, curl_easy_setopt(e, CURLOPT_PRIVATE, a));
}

static void add_header(struct http_active *a, const char *line)
{
	struct curl_slist *l = curl_slist_append(a->headers, line);

	if (l == NULL)
		x_abort("out of memory: a header of %zu bytes", strlen(line));
	a->headers = l;
}

/* A handle for each transfer: one that is used again keeps buffers where its name was not found, or where it
 * was taken from a connection that others use, and refuses to be told their size then (libcurl 7.88). A new
 * one costs a microsecond more. What is worth keeping is elsewhere: connections with the multi handle, TLS
 * sessions with the share. */
const char *http_curl_start(struct http_active *a)
{
	struct http *h = a->h;
	const struct http_request *req = &a->t->req;
	CURLMcode added;

	a->easy = curl_easy_init();
	if (a->easy == NULL)
		x_abort("out of memory: a handle of libcurl");
	/* curl would wait a second for "100 Continue" from servers that do not know it. */
	add_header(a, "Expect:");
	add_header(a, "Accept:");
	for (const char *const *line = req->headers; line != NULL && *line != NULL; line++)
		add_header(a, *line);
	set_connection(h, a);
	set_request(h, a);
	if (a->refusal != CURLE_OK)
		return curl_easy_strerror((CURLcode)a->refusal);
	added = curl_multi_add_handle(h->multi, a->easy);
	return added == CURLM_OK ? NULL : curl_multi_strerror(added);
}

void http_curl_stop(struct http_active *a)
{
	(void)curl_multi_remove_handle(a->h->multi, a->easy);
	curl_easy_cleanup(a->easy);
	curl_slist_free_all(a->headers);
}

static enum http_failure failure_of(const struct http_active *a, CURLcode code)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return HTTP_RESOLVE;
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR: /* also where the connection breaks in the handshake */
	case CURLE_PROXY:
		return HTTP_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return a->phase == CONNECTING ? HTTP_CONNECT : HTTP_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return HTTP_TLS;
	case CURLE_URL_MALFORMAT:
		return HTTP_REFUSED;
	case CURLE_UNSUPPORTED_PROTOCOL: /* of the URL; or, later, an answer that is no HTTP */
		return a->phase == CONNECTING ? HTTP_REFUSED : HTTP_BROKEN;
	default:
		return HTTP_BROKEN;
	}
}

void http_curl_run(struct http *h)
{
	struct http_active *a;
	struct CURLMsg *m;
	CURLcode code, known;
	int n;

	if (curl_multi_perform(h->multi, &n) != CURLM_OK)
		x_abort("libcurl's multi interface is broken");
	while ((m = curl_multi_info_read(h->multi, &n)) != NULL) {
		code = m->data.result;
		known = curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&a);
		assert(known == CURLE_OK); /* http_curl_start has set it */
		if (code != CURLE_OK)
			http_ended(a, failure_of(a, code),
				   a->detail[0] != '\0' ? a->detail : curl_easy_strerror(code));
		else if (a->t->resp.status < 200 || !a->headed)
			http_ended(a, HTTP_BROKEN, "the head of the answer is cut off, or is no HTTP");
		else
			http_ended(a, HTTP_ANSWERED, NULL);
	}
}

void http_curl_poll(struct http *h, int ms)
{
	(void)curl_multi_poll(h->multi, NULL, 0, ms, NULL);
}

void http_curl_wake(struct http *h)
{
	(void)curl_multi_wakeup(h->multi);
}

/* --- the whole --- */

static void init_curl(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		x_abort("libcurl does not start");
}

void http_curl_init(struct http *h)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, init_curl);
	h->multi = curl_multi_init();
	h->share = curl_share_init();
	if (h->multi == NULL || h->share == NULL ||
	    curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)h->o.max_transfers) != CURLM_OK)
		x_abort("libcurl's multi interface does not start");
}

void http_curl_destroy(struct http *h)
{
	(void)curl_multi_cleanup(h->multi);
	(void)curl_share_cleanup(h->share);
}
