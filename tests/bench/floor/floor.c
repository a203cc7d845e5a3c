/* The floor of the benchmark: the least that a server can do for containerd's client. One thread, HTTP/2
 * frames made by hand, one read and one write for each exchange; nothing is stored, looked up or hashed.
 * What the client sees of it is the price of the client itself and of the kernel: no server is faster.
 *
 *   floor SOCKET     answers Info, Read, List and Write on a unix socket, one connection at a time
 *   floor --check    prints two lines: bytes a second of memcpy, and of OpenSSL's SHA-256
 *
 * The methods are told apart by the shape of their messages, for a look at the compressed headers would
 * cost what this is not to measure. It trusts its client, which is the benchmark, and ends when in doubt. */
#include "tests/bench/floor/floor.h"

#include "tests/bench/floor/protobuf.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { FRAME_HEAD = 9, FRAME_MAX = 16384, IN_MAX = 1 << 20, STREAMS_MAX = 256, IOV_PARTS = 1000 };
enum { HEAD_MAX = 1024 };        /* of a request's message is kept; data behind it are only counted */
enum { READ_MAX = 4 << 20 };     /* bytes that a Read may ask for */
enum { LIST_MESSAGES = 1000 };   /* of 100 blobs each */
enum { WINDOW_STEP = 64 << 20 }; /* how much is received before the client hears of it */
enum { WINDOW_START = 65535 };   /* HTTP/2's own */
enum { PREFACE = 24 };           /* of the connection: a fixed text */
enum { FRAME_DATA, FRAME_HEADERS, FRAME_RST = 3, FRAME_SETTINGS, FRAME_PING = 6, FRAME_WINDOW = 8 };
enum { FLAG_END_STREAM = 1, FLAG_ACK = 1, FLAG_END_HEADERS = 4 };
enum { SETTING_WINDOW = 4 };

/* clang-format off */
static const uint8_t HEADERS[] = "\x88\x0f\x10\x10" "application/grpc"; /* :status 200, content-type */
static const uint8_t TRAILERS[] = "\x00\x0b" "grpc-status" "\x01" "0";
/* clang-format on */
static const char DIGEST[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
enum { DIGEST_LEN = sizeof(DIGEST) - 1 };

struct stream {
	uint32_t id; /* 0: free */
	int64_t window;
	/* the message that comes in */
	uint8_t prefix[PREFIX];
	uint8_t head[HEAD_MAX];
	size_t have_prefix, len, got;
	uint64_t offset; /* of a Write */
	bool is_write;
	/* the answer that goes out: `lead`, then `left` bytes of `body`, over and over */
	uint8_t lead[256];
	size_t lead_len, lead_sent;
	const uint8_t *body;
	size_t body_len, body_at, left;
	bool headers_sent, answering, last;
};

static struct {
	int fd;
	uint8_t in[IN_MAX];
	size_t have;
	int64_t window, stream_window;
	uint64_t unacknowledged;
	struct stream streams[STREAMS_MAX];
	/* one write's worth of frames */
	struct iovec iov[IOV_PARTS];
	int n_iov;
	uint8_t heads[IOV_PARTS][64];
	size_t n_heads;
} C;

static uint8_t READ_BODY[READ_MAX];
static uint8_t LIST_BODY[32768];
static size_t LIST_LEN;

void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- answers that are ready --- */

/* Info{digest, size, created_at, updated_at}, as field `field`. */
static size_t put_info(uint8_t *to, unsigned field)
{
	uint8_t info[160], stamp[16];
	size_t n = put_bytes(info, 1, DIGEST, DIGEST_LEN), s = put_int(stamp, 1, 1700000000);

	s += put_int(stamp + s, 2, 123456789);
	n += put_int(info + n, 2, 123456);
	n += put_bytes(info + n, 3, stamp, s);
	n += put_bytes(info + n, 4, stamp, s);
	return put_bytes(to, field, info, n);
}

static void prepare_bodies(void)
{
	memset(READ_BODY, 0x5a, sizeof(READ_BODY));
	LIST_LEN = PREFIX;
	for (int i = 0; i < 100; i++)
		LIST_LEN += put_info(LIST_BODY + LIST_LEN, 1);
	put_prefix(LIST_BODY, LIST_LEN - PREFIX);
}

/* --- frames that go out --- */

static void send_all(void)
{
	struct iovec *v = C.iov;

	while (C.n_iov > 0) {
		ssize_t n = writev(C.fd, v, C.n_iov);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EPIPE && errno != ECONNRESET)
			die("write");
		if (n < 0)
			break; /* the client is gone; the next read says so, too */
		for (; C.n_iov > 0 && (size_t)n >= v->iov_len; v++, C.n_iov--)
			n -= (ssize_t)v->iov_len;
		if (C.n_iov > 0) {
			v->iov_base = (uint8_t *)v->iov_base + n;
			v->iov_len -= (size_t)n;
		}
	}
	C.n_iov = 0;
	C.n_heads = 0;
}

static void push(const void *p, size_t n)
{
	C.iov[C.n_iov++] = (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
}

/* A frame's head with `small` bytes of payload behind it; `len` counts what others push after it, too. */
static void push_frame(uint8_t type, uint8_t flags, uint32_t id, size_t len, const void *payload,
		       size_t small)
{
	uint8_t *h;

	if (C.n_iov + 4 > IOV_PARTS) /* a frame and its data are never parted */
		send_all();
	h = C.heads[C.n_heads++];
	for (int i = 0; i < 3; i++)
		h[i] = (uint8_t)(len >> (16 - 8 * i));
	h[3] = type;
	h[4] = flags;
	for (int i = 0; i < 4; i++)
		h[5 + i] = (uint8_t)(id >> (24 - 8 * i));
	memcpy(h + FRAME_HEAD, payload, small);
	push(h, FRAME_HEAD + small);
}

static void push_window(uint32_t by)
{
	uint8_t p[4] = { (uint8_t)(by >> 24), (uint8_t)(by >> 16), (uint8_t)(by >> 8), (uint8_t)by };

	push_frame(FRAME_WINDOW, 0, 0, sizeof(p), p, sizeof(p));
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* One DATA frame, as large as the windows allow; false if they allow none. */
static bool push_data(struct stream *s)
{
	size_t lead = s->lead_len - s->lead_sent, room = FRAME_MAX, n;
	int64_t window = s->window < C.window ? s->window : C.window;

	if (window <= 0)
		return false;
	room = min(room, (size_t)window);
	n = min(room, lead + s->left);
	lead = min(lead, n);
	push_frame(FRAME_DATA, 0, s->id, n, "", 0);
	s->window -= (int64_t)n;
	C.window -= (int64_t)n;
	if (lead)
		push(s->lead + s->lead_sent, lead);
	s->lead_sent += lead;
	for (n -= lead; n > 0;) {
		size_t part = min(n, s->body_len - s->body_at);

		push(s->body + s->body_at, part);
		s->body_at = (s->body_at + part) % s->body_len;
		s->left -= part;
		n -= part;
	}
	return true;
}

static void push_answer(struct stream *s)
{
	if (!s->headers_sent)
		push_frame(FRAME_HEADERS, FLAG_END_HEADERS, s->id, sizeof(HEADERS) - 1, HEADERS,
			   sizeof(HEADERS) - 1);
	s->headers_sent = true;
	while (s->lead_sent < s->lead_len || s->left > 0)
		if (!push_data(s))
			return;
	s->answering = false;
	if (s->last) {
		push_frame(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, s->id, sizeof(TRAILERS) - 1,
			   TRAILERS, sizeof(TRAILERS) - 1);
		/* What was pushed points into the stream, which must stay until it is sent. */
		send_all();
		s->id = 0;
	}
}

/* --- messages that come in --- */

static struct stream *stream_find(uint32_t id)
{
	for (int i = 0; i < STREAMS_MAX; i++)
		if (C.streams[i].id == id)
			return &C.streams[i];
	return NULL;
}

static void stream_open(uint32_t id)
{
	struct stream *s = stream_find(0);

	if (!s) {
		fprintf(stderr, "floor: more than %d streams\n", STREAMS_MAX);
		exit(1);
	}
	memset(s, 0, offsetof(struct stream, head));
	s->have_prefix = s->got = s->len = 0;
	s->offset = 0;
	s->is_write = s->headers_sent = s->answering = s->last = false;
	s->id = id;
	s->window = C.stream_window;
}

/* The fields that matter, of whatever request this is: Write's are 1 action, 4 expected, 6 data; those of
 * Info and Read 1 digest, 3 size. */
struct fields {
	uint64_t action, size, data;
	const uint8_t *expected;
	size_t expected_len;
	bool has_digest, has_size;
};

static void scan(const uint8_t *p, size_t len, struct fields *f)
{
	for (size_t at = 0; at < len;) {
		uint64_t key = get_varint(p, len, &at), v = get_varint(p, len, &at);
		bool bytes = (key & 7) == 2;

		if (key == (1 << 3 | 2))
			f->has_digest = true;
		else if (key == 1 << 3)
			f->action = v;
		else if (key == 3 << 3)
			f->has_size = true, f->size = v;
		else if (key == (4 << 3 | 2))
			f->expected = p + at, f->expected_len = (size_t)v;
		else if (key == (6 << 3 | 2))
			f->data = v;
		if (bytes)
			at = v > len - at ? len : at + (size_t)v;
	}
}

static void answer_write(struct stream *s, const struct fields *f)
{
	uint8_t *m = s->lead + PREFIX;
	size_t n = 0;

	s->offset += f->data;
	s->last = f->action == 2;
	if (f->action)
		n += put_int(m, 1, f->action);
	n += put_int(m + n, 4, s->offset);
	if (f->expected && f->expected_len == DIGEST_LEN)
		n += put_bytes(m + n, 6, f->expected, f->expected_len);
	put_prefix(s->lead, n);
	s->lead_len = PREFIX + n;
}

static void answer_read(struct stream *s, uint64_t size)
{
	uint8_t *m = s->lead + PREFIX;
	size_t n;

	if (size > READ_MAX)
		size = READ_MAX;
	n = put_varint(m, 2 << 3 | 2);
	n += put_varint(m + n, size);
	put_prefix(s->lead, n + (size_t)size);
	s->lead_len = PREFIX + n;
	s->body = READ_BODY;
	s->body_len = sizeof(READ_BODY);
	s->left = (size_t)size;
	s->last = true;
}

static void on_message(struct stream *s)
{
	struct fields f = { 0 };

	scan(s->head, min(s->len, HEAD_MAX), &f);
	s->lead_len = s->lead_sent = s->body_at = s->left = 0;
	if (f.has_digest && f.has_size) {
		answer_read(s, f.size);
	} else if (f.has_digest) {
		size_t n = put_info(s->lead + PREFIX, 1);

		put_prefix(s->lead, n);
		s->lead_len = PREFIX + n;
		s->last = true;
	} else if (s->len == 0 && !s->is_write) {
		s->body = LIST_BODY;
		s->body_len = LIST_LEN;
		s->left = LIST_LEN * LIST_MESSAGES;
		s->last = true;
	} else {
		s->is_write = true;
		answer_write(s, &f);
	}
	s->answering = true;
	s->have_prefix = s->got = 0;
	push_answer(s);
}

static void on_data(struct stream *s, const uint8_t *p, size_t n)
{
	while (n > 0 && s->id) {
		size_t part = min(n, PREFIX - s->have_prefix);

		memcpy(s->prefix + s->have_prefix, p, part);
		s->have_prefix += part;
		p += part;
		n -= part;
		if (s->have_prefix < PREFIX)
			return;
		s->len = (size_t)s->prefix[1] << 24 | (size_t)s->prefix[2] << 16 | (size_t)s->prefix[3] << 8 |
			 s->prefix[4];
		part = min(n, s->len - s->got);
		if (s->got < HEAD_MAX)
			memcpy(s->head + s->got, p, min(part, HEAD_MAX - s->got));
		s->got += part;
		p += part;
		n -= part;
		if (s->got == s->len)
			on_message(s);
	}
}

/* --- frames that come in --- */

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void resume_answers(void)
{
	for (int i = 0; i < STREAMS_MAX; i++)
		if (C.streams[i].id && C.streams[i].answering)
			push_answer(&C.streams[i]);
}

static void on_settings(const uint8_t *p, size_t len)
{
	for (; len >= 6; p += 6, len -= 6)
		if (p[1] == SETTING_WINDOW) {
			int64_t by = (int64_t)get32(p + 2) - C.stream_window;

			C.stream_window += by;
			for (int i = 0; i < STREAMS_MAX; i++)
				C.streams[i].window += by;
		}
	push_frame(FRAME_SETTINGS, FLAG_ACK, 0, 0, "", 0);
	resume_answers();
}

static void on_window(uint32_t id, uint32_t by)
{
	struct stream *s = id ? stream_find(id) : NULL;

	if (id == 0)
		C.window += by;
	else if (s)
		s->window += by;
	if (id == 0)
		resume_answers();
	else if (s && s->answering)
		push_answer(s);
}

static void on_frame(uint8_t type, uint8_t flags, uint32_t id, const uint8_t *p, size_t len)
{
	struct stream *s;

	switch (type) {
	case FRAME_HEADERS:
		stream_open(id);
		break;
	case FRAME_DATA:
		C.unacknowledged += len;
		if (C.unacknowledged >= WINDOW_STEP) {
			push_window((uint32_t)C.unacknowledged);
			C.unacknowledged = 0;
		}
		/* An empty one only ends the client's side; but a message may be empty, and has its prefix.
		 */
		if (len > 0 && (s = stream_find(id)))
			on_data(s, p, len);
		break;
	case FRAME_RST:
		send_all(); /* what was pushed may point into the stream */
		if ((s = stream_find(id)))
			s->id = 0;
		break;
	case FRAME_SETTINGS:
		if (!(flags & FLAG_ACK))
			on_settings(p, len);
		break;
	case FRAME_PING:
		if (!(flags & FLAG_ACK))
			push_frame(FRAME_PING, FLAG_ACK, 0, len, p, len);
		break;
	case FRAME_WINDOW:
		on_window(id, get32(p) & 0x7fffffff);
		break;
	default: /* of no interest here: priorities, the client's farewell */
		break;
	}
}

/* All whole frames of what was received; returns how many bytes they were. */
static size_t on_bytes(const uint8_t *p, size_t have)
{
	size_t at = 0;

	while (have - at >= FRAME_HEAD) {
		const uint8_t *f = p + at;
		size_t len = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];

		if (have - at < FRAME_HEAD + len)
			break;
		on_frame(f[3], f[4], get32(f + 5) & 0x7fffffff, f + FRAME_HEAD, len);
		at += FRAME_HEAD + len;
	}
	return at;
}

static void connection_begin(int fd)
{
	/* Streams may send 2 GiB - 1 without hearing from us, so a Write carries no more than that. */
	static const uint8_t settings[6] = { 0, SETTING_WINDOW, 0x7f, 0xff, 0xff, 0xff };

	memset(C.streams, 0, sizeof(C.streams));
	C.fd = fd;
	C.have = C.unacknowledged = 0;
	C.window = C.stream_window = WINDOW_START;
	push_frame(FRAME_SETTINGS, 0, 0, sizeof(settings), settings, sizeof(settings));
	push_window(0x7fffffff - WINDOW_START);
	send_all();
}

static void serve(int fd)
{
	size_t preface = PREFACE;

	connection_begin(fd);
	for (;;) {
		ssize_t n = read(fd, C.in + C.have, sizeof(C.in) - C.have);
		size_t done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		C.have += (size_t)n;
		if (preface) {
			if (C.have < preface)
				continue;
			done = preface;
			preface = 0;
		}
		done += on_bytes(C.in + done, C.have - done);
		send_all();
		C.have -= done;
		memmove(C.in, C.in + done, C.have);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (argc == 2 && strcmp(argv[1], "--check") == 0)
		return machine_check();
	if (argc != 2 || strlen(argv[1]) >= sizeof(a.sun_path)) {
		fprintf(stderr, "usage: floor SOCKET | --check\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	prepare_bodies();
	memcpy(a.sun_path, argv[1], strlen(argv[1]));
	unlink(argv[1]);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		die(argv[1]);
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		serve(client);
		close(client);
	}
}
