#include "tests/unit/http_env.h"

#include "content/base/mem.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>

enum { ENV_CONNECTIONS = 256, ENV_HEAD = 64 * 1024, ENV_BODY = 64 << 20 };

struct env_connection {
	struct http_env *e;
	pthread_t thread;
	int fd;
	SSL *ssl; /* NULL: none */
	unsigned number;
};

struct http_env {
	env_handler *handler;
	void *arg;
	SSL_CTX *tls;
	char host[32];
	int listener;
	pthread_t thread;
	atomic_bool ending, deaf;
	atomic_uint requests, open, most, resumed;
	unsigned n; /* the accepting thread's; read after its end, or by http_env_connections */
	atomic_uint connections;
	struct env_connection c[ENV_CONNECTIONS];
};

static ssize_t put(struct env_connection *c, const uint8_t *p, size_t n)
{
	return c->ssl != NULL ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);
}

static ssize_t take(struct env_connection *c, void *p, size_t n)
{
	return c->ssl != NULL ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

static bool send_all(struct env_connection *c, const uint8_t *p, size_t n, int drip_ms)
{
	while (n > 0) {
		ssize_t sent = put(c, p, drip_ms > 0 ? 1 : n);

		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
		if (drip_ms > 0)
			usleep((useconds_t)drip_ms * 1000);
	}
	return true;
}

/* Reads until `b` has `n` bytes; false at the end of the connection. */
static bool fill(struct env_connection *c, struct buf *b, size_t n)
{
	struct stow_err err;
	char part[65536];

	while (b->len < n) {
		size_t want = n - b->len < sizeof(part) ? n - b->len : sizeof(part);
		ssize_t got = take(c, part, want);

		if (got <= 0)
			return false;
		MUST(buf_append(b, part, (size_t)got, &err) == 0);
	}
	return true;
}

static bool fill_head(struct env_connection *c, struct buf *b)
{
	while (b->len < 4 || memcmp(b->p + b->len - 4, "\r\n\r\n", 4) != 0)
		if (!fill(c, b, b->len + 1))
			return false;
	return true;
}

const char *env_header(const struct env_request *req, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);

	out[0] = '\0';
	for (const char *line = strstr(req->head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
			line += n + 1;
			line += strspn(line, " ");
			(void)snprintf(out, size, "%.*s", (int)strcspn(line, "\r"), line);
			break;
		}
	}
	return out;
}

void env_say(struct env_answer *a, const char *status, const char *headers, const char *body)
{
	struct stow_err err;

	MUST(buf_printf(&a->text, &err, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers,
			strlen(body), body) == 0);
}

static void wait_for_end(struct http_env *e)
{
	while (!atomic_load(&e->ending))
		usleep(1000);
}

static void after_answer(struct env_connection *c, enum env_after after)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (after == ENV_HANG)
		wait_for_end(c->e);
	if (after == ENV_RESET)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* One request and its answer; false where the connection has ended. */
static bool serve_one(struct env_connection *c)
{
	CLEANUP(buf_free) struct buf head, body;
	struct env_answer a = { 0 };
	struct env_request req;
	struct stow_err err;
	char length[32];
	size_t n;
	bool more;

	buf_init(&head, ENV_HEAD);
	buf_init(&body, ENV_BODY);
	if (!fill_head(c, &head))
		return false;
	MUST(buf_append(&head, "", 1, &err) == 0);
	req = (struct env_request){ .connection = c->number, .head = (char *)head.p };
	if (atomic_load(&c->e->deaf))
		wait_for_end(c->e);
	(void)env_header(&req, "content-length", length, sizeof(length));
	if (length[0] != '\0' && !fill(c, &body, strtoull(length, NULL, 10)))
		return false;
	req.number = atomic_fetch_add(&c->e->requests, 1) + 1;
	req.body = body.p;
	req.body_n = body.len;
	buf_init(&a.text, ENV_BODY);
	c->e->handler(c->e->arg, &req, &a);
	for (int ms = 0; ms < a.delay_ms && !atomic_load(&c->e->ending); ms++)
		usleep(1000);
	n = a.cut > 0 && a.cut < a.text.len ? a.cut : a.text.len;
	more = send_all(c, a.text.p, n, a.drip_ms);
	buf_free(&a.text);
	after_answer(c, a.after);
	return more && a.after == ENV_KEEP;
}

static void *serve(void *arg)
{
	struct env_connection *c = arg;
	int fd = c->fd;
	bool good = true;

	if (c->e->tls != NULL) {
		c->ssl = SSL_new(c->e->tls);
		good = SSL_set_fd(c->ssl, fd) == 1 && SSL_accept(c->ssl) == 1;
		if (good && SSL_session_reused(c->ssl))
			atomic_fetch_add(&c->e->resumed, 1);
	}
	while (good && serve_one(c))
		;
	if (good && c->ssl != NULL)
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	(void)shutdown(fd, SHUT_RDWR);
	(void)close(fd);
	atomic_fetch_sub(&c->e->open, 1);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct http_env *e = arg;

	for (;;) {
		struct pollfd p = { .fd = e->listener, .events = POLLIN };
		struct env_connection *c = &e->c[e->n];
		unsigned open;

		if (poll(&p, 1, 10) <= 0) {
			if (atomic_load(&e->ending))
				return NULL;
			continue;
		}
		MUST(e->n < ENV_CONNECTIONS);
		c->e = e;
		c->number = e->n + 1;
		c->fd = accept(e->listener, NULL, NULL);
		if (c->fd < 0)
			continue;
		open = atomic_fetch_add(&e->open, 1) + 1;
		if (open > atomic_load(&e->most))
			atomic_store(&e->most, open);
		MUST(pthread_create(&c->thread, NULL, serve, c) == 0);
		atomic_store(&e->connections, ++e->n);
	}
}

struct http_env *http_env_new(env_handler *handler, void *arg)
{
	return http_env_new_tls(handler, arg, NULL);
}

struct http_env *http_env_new_tls(env_handler *handler, void *arg, void *tls)
{
	struct http_env *e = x_calloc(1, sizeof(*e));
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	/* OpenSSL writes to connections that the client has closed. */
	(void)signal(SIGPIPE, SIG_IGN);
	e->handler = handler;
	e->arg = arg;
	e->tls = tls;
	e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(e->listener >= 0 && bind(e->listener, (struct sockaddr *)&at, len) == 0 &&
	     listen(e->listener, 64) == 0 && getsockname(e->listener, (struct sockaddr *)&at, &len) == 0);
	(void)snprintf(e->host, sizeof(e->host), "127.0.0.1:%u", ntohs(at.sin_port));
	MUST(pthread_create(&e->thread, NULL, accept_all, e) == 0);
	return e;
}

void http_env_free(struct http_env *e)
{
	atomic_store(&e->ending, true);
	(void)pthread_join(e->thread, NULL);
	/* A connection that waits for its next request is ended by its client, who must go first. */
	for (unsigned i = 0; i < e->n; i++)
		(void)pthread_join(e->c[i].thread, NULL);
	(void)close(e->listener);
	free(e);
}

void http_env_freep(struct http_env **e)
{
	if (*e != NULL)
		http_env_free(*e);
}

const char *http_env_host(const struct http_env *e)
{
	return e->host;
}

unsigned http_env_open(const struct http_env *e)
{
	return atomic_load(&e->open);
}

unsigned http_env_most(const struct http_env *e)
{
	return atomic_load(&e->most);
}

unsigned http_env_connections(const struct http_env *e)
{
	return atomic_load(&e->connections);
}

void http_env_stop_reading(struct http_env *e)
{
	atomic_store(&e->deaf, true);
}

unsigned http_env_resumed(const struct http_env *e)
{
	return atomic_load(&e->resumed);
}
