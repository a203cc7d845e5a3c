#include "content/base/log.h"

#include "content/base/clock.h"
#include "content/base/lock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
	LINE_MAX_BYTES = 8192,
	/* Kept free for what ends a line that was cut: ..."}\n */
	LINE_TAIL = 8,
};

struct line {
	enum log_format format;
	bool cut; /* something did not fit: nothing more is added but the end */
	size_t len;
	char b[LINE_MAX_BYTES];
};

static _Atomic(enum log_level) log_level = LOG_LEVEL_INFO;
static _Atomic(enum log_format) log_format = LOG_FORMAT_TEXT;
static atomic_int log_fd = STDERR_FILENO;

/* The kernel keeps lines apart only up to PIPE_BUF bytes; the lock keeps longer ones apart. */
static struct lock log_lock = { .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = RANK_LOG };

void log_setup(enum log_level level, enum log_format format)
{
	atomic_store(&log_level, level);
	atomic_store(&log_format, format);
}

void log_to_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

bool log_enabled(enum log_level level)
{
	return level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* As logrus spells them. */
static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_TRACE:
		return "trace";
	case LOG_LEVEL_DEBUG:
		return "debug";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_WARN:
		return "warning";
	case LOG_LEVEL_ERROR:
		return "error";
	}
	return "error";
}

/* All of it or nothing. */
static bool line_put(struct line *l, const char *s, size_t n)
{
	/* A closing quote may have gone into the tail already, so len may be beyond the limit. */
	if (l->cut || l->len + n > sizeof(l->b) - LINE_TAIL) {
		l->cut = true;
		return false;
	}
	memcpy(l->b + l->len, s, n);
	l->len += n;
	return true;
}

/* The end of something that was begun; LINE_TAIL holds room for it. */
static void line_end(struct line *l, const char *s)
{
	size_t n = strlen(s);

	assert(l->len + n <= sizeof(l->b));
	memcpy(l->b + l->len, s, n);
	l->len += n;
}

/* Keys are our own literals, and short. */
static bool line_key(struct line *l, const char *key, bool quote)
{
	char text[128];
	const char *before = l->format == LOG_FORMAT_JSON ? (l->len > 0 ? ",\"" : "{\"")
							  : (l->len > 0 ? " " : "");
	int n = snprintf(text, sizeof(text), "%s%s%s%s", before, key,
			 l->format == LOG_FORMAT_JSON ? "\":" : "=", quote ? "\"" : "");

	assert(n > 0 && (size_t)n < sizeof(text));
	return line_put(l, text, (size_t)n);
}

static void line_number(struct line *l, const char *key, int64_t number)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, number);
	size_t start = l->len;

	if (line_key(l, key, false) && !line_put(l, text, (size_t)n))
		l->len = start; /* a key without its value would be no JSON */
}

/* What logrus leaves without quotes, and ':', so that digests can be read and searched for. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("-._/@^+:", c) != NULL);
}

static bool needs_quotes(const char *s)
{
	while (*s != 0)
		if (!is_plain(*s++))
			return true;
	return false;
}

static void line_text(struct line *l, const char *key, const char *s, bool quote)
{
	enum text_style style = l->format == LOG_FORMAT_JSON ? TEXT_JSON : TEXT_GO;
	size_t n = strlen(s);

	if (!line_key(l, key, quote))
		return;
	while (n > 0) {
		char piece[TEXT_ESCAPE_MAX];
		size_t len, used = text_escape(style, s, n, piece, &len);

		if (!line_put(l, piece, len))
			break;
		s += used;
		n -= used;
	}
	if (n > 0)
		line_end(l, "...");
	if (quote)
		line_end(l, "\"");
}

static void line_field(struct line *l, const struct log_field *f)
{
	if (f->text == NULL)
		line_number(l, f->key, f->number);
	else
		line_text(l, f->key, f->text, l->format == LOG_FORMAT_JSON || needs_quotes(f->text));
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
	int saved = errno; /* an error path may log before it looks at errno */
	char now[CLOCK_TEXT_MAX];
	struct line l;

	l.format = atomic_load_explicit(&log_format, memory_order_relaxed);
	l.cut = false;
	l.len = 0;
	clock_format(clock_wall_ns(), now);
	line_text(&l, "time", now, true);
	line_field(&l, &LOG_S("level", level_name(level)));
	line_field(&l, &LOG_S("msg", msg));
	for (; fields->key != NULL; fields++)
		line_field(&l, fields);
	line_end(&l, l.format == LOG_FORMAT_JSON ? "}\n" : "\n");

	lock_take(&log_lock);
	while (write(atomic_load(&log_fd), l.b, l.len) < 0 && errno == EINTR) {
		/* Nothing was written. Any other failure has nobody left to be told to. */
	}
	lock_release(&log_lock);
	errno = saved;
}
