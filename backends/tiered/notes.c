#include "backends/tiered/notes.h"

#include "content/base/encode.h"
#include "content/base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#define KIND_NODE "stowage-holdings"
#define KIND_RUN "stowage-run"
#define KIND_MARKS "stowage-marks"

enum { KEY_DIGITS = 16, LINE_MAX_BYTES = 256, VERSION = 1 };

int note_new_run(char ret_run[NOTE_RUN_MAX], struct stow_err *err)
{
	uint8_t random[8];

	static_assert(2 * sizeof(random) < NOTE_RUN_MAX, "it fits");
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return stow_fail_errno(err, errno, "getrandom");
	hex_encode(ret_run, random, sizeof(random));
	return 0;
}

void note_name(char ret_name[NOTE_NAME_SIZE], const char *prefix, const char *run)
{
	int n = snprintf(ret_name, NOTE_NAME_SIZE, "%s%s", prefix, run);

	assert(n > 0 && n < NOTE_NAME_SIZE);
}

/* --- reading, line by line --- */

struct reader {
	const struct buf *from;
	const char *kind;
	size_t at;
	char line[LINE_MAX_BYTES]; /* the last one, without its end */
	uint64_t lines;            /* those that are no fields */
};

static int damaged(const struct reader *r, const char *what, struct stow_err *err)
{
	return stow_fail(err, STOW_DATA_LOSS, "no whole note of the kind %s: %s", r->kind, what);
}

static int read_line(struct reader *r, struct stow_err *err)
{
	size_t n, left = r->from->len - r->at;
	const char *p, *end;

	/* An empty buffer has no bytes to point to. */
	p = left > 0 ? (const char *)r->from->p + r->at : NULL;
	end = left > 0 ? memchr(p, '\n', left) : NULL;
	if (end == NULL)
		return damaged(r, "it is cut off", err);
	n = (size_t)(end - p);
	if (n >= sizeof(r->line) || memchr(p, '\0', n) != NULL)
		return damaged(r, "it has a line that is none of its own", err);
	memcpy(r->line, p, n);
	r->line[n] = '\0';
	r->at += n + 1;
	return 0;
}

static bool read_number(const char *s, uint64_t max, uint64_t *ret_n)
{
	unsigned long long n;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0' || n > max)
		return false;
	*ret_n = n;
	return true;
}

/* The field's value, which is part of the line: it is read before the next one. */
static int read_field(struct reader *r, const char *name, const char **ret_value, struct stow_err *err)
{
	size_t n = strlen(name);

	if (read_line(r, err) < 0)
		return -1;
	if (strncmp(r->line, name, n) != 0 || r->line[n] != ' ')
		return damaged(r, name, err);
	*ret_value = r->line + n + 1;
	return 0;
}

static int read_time(struct reader *r, const char *name, int64_t *ret_ns, struct stow_err *err)
{
	const char *value;
	uint64_t n;

	if (read_field(r, name, &value, err) < 0)
		return -1;
	if (!read_number(value, INT64_MAX, &n))
		return damaged(r, name, err);
	*ret_ns = (int64_t)n;
	return 0;
}

/* It becomes a part of names. */
static bool run_ok(const char *run)
{
	size_t n = strspn(run, "0123456789abcdef");

	return n > 0 && n < NOTE_RUN_MAX && run[n] == '\0';
}

static int read_run(struct reader *r, bool may_be_none, char ret_run[NOTE_RUN_MAX], struct stow_err *err)
{
	const char *value;

	if (read_field(r, "run", &value, err) < 0)
		return -1;
	if (may_be_none && strcmp(value, "-") == 0)
		value = "";
	else if (!run_ok(value))
		return damaged(r, "its run is none", err);
	(void)snprintf(ret_run, NOTE_RUN_MAX, "%s", value);
	return 0;
}

static int read_begin(struct reader *r, struct stow_err *err)
{
	const char *version;
	uint64_t n;

	if (read_field(r, r->kind, &version, err) < 0)
		return -1;
	if (!read_number(version, UINT64_MAX, &n))
		return damaged(r, "its version", err);
	if (n != VERSION)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "a note of the kind %s has the version %" PRIu64 ", this program knows %d",
				 r->kind, n, VERSION);
	return 0;
}

/* 1: r->line is one of the lines; 0: that was the end. */
static int read_item(struct reader *r, struct stow_err *err)
{
	uint64_t n;

	if (read_line(r, err) < 0)
		return -1;
	if (strncmp(r->line, "end ", 4) != 0) {
		r->lines++;
		return 1;
	}
	if (!read_number(r->line + 4, UINT64_MAX, &n) || n != r->lines || r->at != r->from->len)
		return damaged(r, "it has not as many lines as it says", err);
	return 0;
}

/* --- what a node holds --- */

int note_node_begin(struct buf *to, const struct note_node *n, struct stow_err *err)
{
	return buf_printf(to, err,
			  KIND_NODE " %d\nhost %s\ntime %" PRId64 "\ngrace %" PRId64 "\nstate %s\nrun %s\n",
			  VERSION, *n->host ? n->host : "-", n->time_ns, n->grace_ns,
			  n->stopped ? "stopped" : "running", *n->run ? n->run : "-");
}

int note_node_key(struct buf *to, uint64_t key, struct stow_err *err)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *p;

	if (buf_extend(to, KEY_DIGITS + 1, &p, err) < 0)
		return -1;
	for (int i = 0; i < KEY_DIGITS; i++)
		p[i] = (uint8_t)digits[key >> (60 - 4 * i) & 15];
	p[KEY_DIGITS] = '\n';
	return 0;
}

int note_node_end(struct buf *to, uint64_t n_keys, struct stow_err *err)
{
	return buf_printf(to, err, "end %" PRIu64 "\n", n_keys);
}

static bool key_parse(const char *s, uint64_t *ret_key)
{
	uint64_t key = 0;

	if (strspn(s, "0123456789abcdef") != KEY_DIGITS || s[KEY_DIGITS] != '\0')
		return false;
	for (int i = 0; i < KEY_DIGITS; i++)
		key = key << 4 | (uint64_t)(s[i] <= '9' ? s[i] - '0' : s[i] - 'a' + 10);
	*ret_key = key;
	return true;
}

static int read_node_fields(struct reader *r, struct note_node *n, struct stow_err *err)
{
	const char *value;

	if (read_begin(r, err) < 0 || read_field(r, "host", &value, err) < 0)
		return -1;
	(void)snprintf(n->host, sizeof(n->host), "%s", value);
	if (read_time(r, "time", &n->time_ns, err) < 0 || read_time(r, "grace", &n->grace_ns, err) < 0 ||
	    read_field(r, "state", &value, err) < 0)
		return -1;
	n->stopped = strcmp(value, "stopped") == 0;
	if (!n->stopped && strcmp(value, "running") != 0)
		return damaged(r, "its state is none", err);
	return read_run(r, true, n->run, err);
}

int note_node_read(const struct buf *from, struct note_node *ret_n, void (*visit)(void *arg, uint64_t key),
		   void *arg, struct stow_err *err)
{
	struct reader r = { .from = from, .kind = KIND_NODE };
	struct note_node n = { 0 };
	uint64_t key;
	int more = 0;

	if (read_node_fields(&r, &n, err) < 0)
		return -1;
	while (visit != NULL && (more = read_item(&r, err)) > 0) {
		if (!key_parse(r.line, &key))
			return damaged(&r, "it has a line that is no key", err);
		visit(arg, key);
	}
	if (more < 0)
		return -1;
	*ret_n = n;
	return 0;
}

/* --- a run, and its marks --- */

int note_run_write(struct buf *to, const struct note_run *r, struct stow_err *err)
{
	return buf_printf(to, err, KIND_RUN " %d\nrun %s\ntime %" PRId64 "\nend 0\n", VERSION, r->run,
			  r->time_ns);
}

int note_run_read(const struct buf *from, struct note_run *ret_r, struct stow_err *err)
{
	struct reader r = { .from = from, .kind = KIND_RUN };
	struct note_run run = { 0 };
	int more;

	if (read_begin(&r, err) < 0 || read_run(&r, false, run.run, err) < 0 ||
	    read_time(&r, "time", &run.time_ns, err) < 0)
		return -1;
	more = read_item(&r, err);
	if (more != 0)
		return more < 0 ? -1 : damaged(&r, "it has lines", err);
	*ret_r = run;
	return 0;
}

int note_marks_write(struct buf *to, const struct note_run *r, const struct note_mark *v, size_t n,
		     struct stow_err *err)
{
	char text[DIGEST_STR_MAX];

	if (buf_printf(to, err, KIND_MARKS " %d\nrun %s\ntime %" PRId64 "\n", VERSION, r->run, r->time_ns) <
	    0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		digest_format(&v[i].digest, text);
		if (buf_printf(to, err, "%s %" PRIu64 "\n", text, v[i].size) < 0)
			return -1;
	}
	return buf_printf(to, err, "end %zu\n", n);
}

static int read_mark(struct reader *r, struct note_mark *ret_m, struct stow_err *err)
{
	char *space = strchr(r->line, ' ');

	if (space == NULL || !read_number(space + 1, UINT64_MAX, &ret_m->size) ||
	    digest_parse(&ret_m->digest, r->line, (size_t)(space - r->line), err) < 0)
		return damaged(r, "it has a line that is no digest and size", err);
	return 0;
}

int note_marks_read(const struct buf *from, const char *run,
		    void (*visit)(void *arg, const struct note_mark *m), void *arg, struct stow_err *err)
{
	struct reader r = { .from = from, .kind = KIND_MARKS };
	struct note_mark mark;
	char of[NOTE_RUN_MAX];
	int64_t time_ns;
	int more;

	if (read_begin(&r, err) < 0 || read_run(&r, false, of, err) < 0 ||
	    read_time(&r, "time", &time_ns, err) < 0)
		return -1;
	if (strcmp(of, run) != 0)
		return damaged(&r, "it is of another run than its name says", err);
	while ((more = read_item(&r, err)) > 0) {
		if (r.lines > NOTE_MARKS_LIMIT)
			return damaged(&r, "it has too many lines", err);
		if (read_mark(&r, &mark, err) < 0)
			return -1;
		visit(arg, &mark);
	}
	return more;
}
