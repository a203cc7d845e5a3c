#include "cmd/output.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>

void output_begin(void)
{
	signal(SIGPIPE, SIG_IGN);
}

int output_flush(const char *command)
{
	static bool told;

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	if (!told)
		output_message(command, "standard output: %s",
			       errno ? strerrordesc_np(errno) : "could not be written");
	told = true;
	return -1;
}

void output_message(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "stowage %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int output_fail(const char *command, const struct stow_err *err)
{
	output_message(command, "%s", err->msg);
	return EXIT_FAILURE;
}

/* --- texts for people --- */

void output_size(uint64_t bytes, char out[OUTPUT_TEXT_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned unit = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(out, OUTPUT_TEXT_MAX, "%llu B", (unsigned long long)bytes);
		return;
	}
	while (unit + 1 < ARRAY_LEN(units) && bytes >> (10 * unit) >= 1024)
		unit++;
	/* In tenths of the unit, rounded; first cut to what times ten still fits. */
	for (;;) {
		uint64_t whole = bytes >> (10 * unit), rest = bytes & ((UINT64_C(1) << (10 * unit)) - 1);
		unsigned shift = 10 * (unit - 1);

		tenths = whole * 10 + ((rest >> shift) * 10 + 512) / 1024;
		if (tenths < 10240 || unit + 1 == ARRAY_LEN(units))
			break;
		unit++; /* "1024.0 KiB" is "1.0 MiB" */
	}
	snprintf(out, OUTPUT_TEXT_MAX, "%llu.%llu %s", (unsigned long long)(tenths / 10),
		 (unsigned long long)(tenths % 10), units[unit]);
}

void output_age(int64_t ns, char out[OUTPUT_TEXT_MAX])
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = {
		{ 365 * 86400, "y" }, { 30 * 86400, "mo" }, { 86400, "d" }, { 3600, "h" }, { 60, "m" },
	};
	int64_t s = ns > 0 ? ns / NSEC_PER_SEC : 0;

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (s >= units[i].seconds) {
			snprintf(out, OUTPUT_TEXT_MAX, "%lld%s", (long long)(s / units[i].seconds),
				 units[i].name);
			return;
		}
	}
	snprintf(out, OUTPUT_TEXT_MAX, "%llds", (long long)s);
}

void output_when(int64_t wall_ns, int64_t now_ns, char out[OUTPUT_TEXT_MAX])
{
	enum { TO_SECONDS = 19 }; /* "2026-11-23T10:04:05" */
	char full[CLOCK_TEXT_MAX], age[OUTPUT_TEXT_MAX];

	clock_format(wall_ns, full);
	output_age(now_ns - wall_ns, age);
	snprintf(out, OUTPUT_TEXT_MAX, "%.*sZ (%.12s ago)", TO_SECONDS, full, age);
}

char *output_clean(const char *s)
{
	size_t left = strlen(s), n = 0;
	char *out = x_malloc(left * TEXT_ESCAPE_MAX + 1);

	while (left > 0) {
		size_t len, taken = text_escape(TEXT_GO, s, left, out + n, &len);

		/* Only what harms: quotes do not, where nothing is quoted. */
		if (*s == '"') {
			out[n] = '"';
			len = 1;
		}
		n += len;
		s += taken;
		left -= taken;
	}
	out[n] = 0;
	return out;
}

/* --- tables --- */

struct table {
	FILE *to;
	const struct table_column *columns;
	size_t n;
	size_t widths[TABLE_COLUMNS_MAX];
	char *(*rows)[TABLE_COLUMNS_MAX]; /* those that are held; NULL once they are printed */
	size_t n_rows;
};

/* Characters, not bytes: all bytes of valid UTF-8 but those that continue a character. */
static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void table_measure(struct table *t, size_t column, const char *cell)
{
	size_t width = text_width(cell);

	if (width > t->widths[column])
		t->widths[column] = width;
}

static void print_blanks(FILE *to, size_t n)
{
	fprintf(to, "%*s", (int)n, "");
}

static void table_print(const struct table *t, const char *const *cells)
{
	for (size_t i = 0; i < t->n; i++) {
		size_t width = text_width(cells[i]);
		size_t blanks = width < t->widths[i] ? t->widths[i] - width : 0;

		if (i > 0)
			print_blanks(t->to, 2);
		if (t->columns[i].right)
			print_blanks(t->to, blanks);
		fputs(cells[i], t->to);
		if (!t->columns[i].right && i + 1 < t->n)
			print_blanks(t->to, blanks);
	}
	fputc('\n', t->to);
}

struct table *table_new(FILE *to, const struct table_column *columns, size_t n)
{
	struct table *t = x_calloc(1, sizeof(*t));

	assert(n > 0 && n <= TABLE_COLUMNS_MAX);
	*t = (struct table){ .to = to, .columns = columns, .n = n };
	t->rows = x_calloc(TABLE_ROWS_HELD, sizeof(*t->rows));
	for (size_t i = 0; i < n; i++)
		table_measure(t, i, columns[i].title);
	return t;
}

static void table_release(struct table *t)
{
	const char *titles[TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < t->n; i++)
		titles[i] = t->columns[i].title;
	table_print(t, titles);
	for (size_t i = 0; i < t->n_rows; i++) {
		const char *cells[TABLE_COLUMNS_MAX];

		for (size_t j = 0; j < t->n; j++)
			cells[j] = t->rows[i][j];
		table_print(t, cells);
		for (size_t j = 0; j < t->n; j++)
			free(t->rows[i][j]);
	}
	free(t->rows);
	t->rows = NULL;
}

void table_row(struct table *t, const char *const *cells)
{
	char *clean[TABLE_COLUMNS_MAX];
	const char *shown[TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < t->n; i++)
		shown[i] = clean[i] = output_clean(cells[i]);
	if (t->rows && t->n_rows < TABLE_ROWS_HELD) {
		for (size_t i = 0; i < t->n; i++)
			table_measure(t, i, clean[i]);
		memcpy(t->rows[t->n_rows++], clean, t->n * sizeof(*clean));
		return;
	}
	if (t->rows)
		table_release(t);
	table_print(t, shown);
	for (size_t i = 0; i < t->n; i++)
		free(clean[i]);
}

void table_end(struct table *t)
{
	if (t->rows)
		table_release(t);
	free(t);
}

/* --- JSON --- */

/* A record is jansson's object, whose type stays in here. */
static json_t *json_of(struct record *r)
{
	return (json_t *)r;
}

/* jansson gives NULL where memory is refused: see content/base/mem.h. */
static json_t *made(json_t *v)
{
	if (!v)
		x_abort("no memory for JSON");
	return v;
}

static void put(json_t *object, const char *key, json_t *v)
{
	if (json_object_set_new_nocheck(object, key, made(v)) != 0)
		x_abort("no memory for JSON");
}

/* A JSON string of any bytes. */
static json_t *json_of_text(const char *s)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t left = strlen(s), n = 0;
	CLEANUP(freep) char *valid = x_malloc(left * strlen(replacement) + 1);

	while (left > 0) {
		uint32_t c;
		size_t len = text_decode(s, left, &c), taken = len > 0 ? len : 1;

		memcpy(valid + n, len > 0 ? s : replacement, len > 0 ? len : strlen(replacement));
		n += len > 0 ? len : strlen(replacement);
		s += taken;
		left -= taken;
	}
	return made(json_stringn_nocheck(valid, n));
}

struct record *record_new(void)
{
	return (struct record *)made(json_object());
}

void record_free(struct record *r)
{
	json_decref(json_of(r));
}

void record_freep(struct record **r)
{
	record_free(*r);
}

void record_text(struct record *r, const char *key, const char *value)
{
	put(json_of(r), key, value ? json_of_text(value) : json_null());
}

void record_number(struct record *r, const char *key, uint64_t n)
{
	put(json_of(r), key, json_integer((json_int_t)n));
}

void record_bool(struct record *r, const char *key, bool b)
{
	put(json_of(r), key, json_boolean(b));
}

void record_null(struct record *r, const char *key)
{
	put(json_of(r), key, json_null());
}

void record_time(struct record *r, const char *key, int64_t wall_ns)
{
	char text[CLOCK_TEXT_MAX];

	clock_format(wall_ns, text);
	record_text(r, key, text);
}

void record_digest(struct record *r, const char *key, const struct digest *d)
{
	char text[DIGEST_STR_MAX];

	if (digest_is_set(d))
		digest_format(d, text);
	record_text(r, key, digest_is_set(d) ? text : NULL);
}

void record_labels(struct record *r, const char *key, const struct labels *labels)
{
	json_t *object = made(json_object());

	for (size_t i = 0; i < labels->n; i++) {
		json_t *name = json_of_text(labels->v[i].key);

		put(object, json_string_value(name), json_of_text(labels->v[i].value));
		json_decref(name);
	}
	put(json_of(r), key, object);
}

void record_append(struct record *r, const char *key, struct record *item)
{
	json_t *array = json_object_get(json_of(r), key);

	if (!array) {
		put(json_of(r), key, json_array());
		array = json_object_get(json_of(r), key);
	}
	if (item && json_array_append_new(array, json_of(item)) != 0)
		x_abort("no memory for JSON");
}

/* What could not be written shows in the stream's error flag, for output_flush(). */
static void json_print(const json_t *v, FILE *to)
{
	(void)json_dumpf(v, to, 0);
}

void record_print(struct record *r, FILE *to)
{
	json_print(json_of(r), to);
	fputc('\n', to);
	record_free(r);
}

void records_begin(struct records *l, FILE *to)
{
	*l = (struct records){ .to = to };
	fputc('[', to);
}

void records_add(struct records *l, struct record *r)
{
	fputs(l->any ? ",\n" : "\n", l->to);
	l->any = true;
	json_print(json_of(r), l->to);
	record_free(r);
}

void records_end(struct records *l)
{
	fputs(l->any ? "\n]\n" : "]\n", l->to);
}
