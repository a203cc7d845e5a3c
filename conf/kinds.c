/* The types of values: how each is read, checked and written (conf_internal.h). */
#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <inttypes.h>

#define STRINGS (1u << TOML_STRING)
#define INTEGERS (1u << TOML_INTEGER)

/* A TOML basic string; JSON's escapes are a part of TOML's. */
static void print_string(const char *s, FILE *out)
{
	fputc('"', out);
	for (size_t n = strlen(s); n > 0;) {
		char piece[TEXT_ESCAPE_MAX];
		size_t len = 0;
		size_t used = text_escape(TEXT_JSON, s, n, piece, &len);
		fwrite(piece, 1, len, out);
		s += used;
		n -= used;
	}
	fputc('"', out);
}

/* Strings. */

static void replace(void *field, char *s)
{
	char **old = field;
	free(*old);
	*old = s;
}

static int set_path(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	char *path = NULL;
	if (conf_parse_path(v.text, &path, err) < 0)
		return -1;
	replace(field, path);
	return 0;
}

static int set_path_any(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	if (*v.text)
		return set_path(k, field, v, err);
	replace(field, x_strdup(""));
	return 0;
}

static int set_address(const struct conf_key *k UNUSED, void *field, struct conf_value v,
		       struct stow_err *err)
{
	char *address = NULL;
	if (conf_parse_address(v.text, &address, err) < 0)
		return -1;
	replace(field, address);
	return 0;
}

static void print_text(const void *field, FILE *out)
{
	print_string(*(char *const *)field, out);
}

static void release_text(void *field)
{
	replace(field, NULL);
}

/* Numbers. */

static int get_integer(struct conf_value v, int64_t min, int64_t max, int64_t *ret_n, struct stow_err *err)
{
	int64_t n = v.number;
	if (v.text && conf_parse_integer(v.text, &n, err) < 0)
		return -1;
	if (n >= min && n <= max) {
		*ret_n = n;
		return 0;
	}
	if (min == max)
		return stow_fail(err, STOW_OUT_OF_RANGE, "%" PRId64 " is not known, expected %" PRId64, n,
				 min);
	return stow_fail(err, STOW_OUT_OF_RANGE,
			 "%" PRId64 " is out of range, expected %" PRId64 " to %" PRId64, n, min, max);
}

static int set_count(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t n = 0;
	if (get_integer(v, k->min, k->max, &n, err) < 0)
		return -1;
	*(unsigned *)field = (unsigned)n;
	return 0;
}

static void print_count(const void *field, FILE *out)
{
	fprintf(out, "%u", *(const unsigned *)field);
}

static_assert(sizeof(uid_t) == sizeof(gid_t) && sizeof(uid_t) == sizeof(uint32_t), "one kind serves both");

static int set_id(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t n = 0;
	if (get_integer(v, -1, (int64_t)UINT32_MAX - 1, &n, err) < 0)
		return -1;
	*(uid_t *)field = (uid_t)n;
	return 0;
}

static void print_id(const void *field, FILE *out)
{
	uid_t id = *(const uid_t *)field;
	fprintf(out, "%" PRId64, id == (uid_t)-1 ? -1 : (int64_t)id);
}

static int set_mode(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	return conf_parse_mode(v.text, field, err);
}

static void print_mode(const void *field, FILE *out)
{
	fprintf(out, "\"%04o\"", *(const mode_t *)field);
}

/* Takes `n`, which stands for the value `shown`, if the key's range has it. */
static int set_within(const struct conf_key *k, int64_t *field, int64_t n, const char *shown,
		      void (*format)(int64_t, char out[CONF_TEXT_MAX]), struct stow_err *err)
{
	char min[CONF_TEXT_MAX], max[CONF_TEXT_MAX];
	if (n >= k->min && n <= k->max) {
		*field = n;
		return 0;
	}
	format(k->min, min);
	format(k->max, max);
	return stow_fail(err, STOW_OUT_OF_RANGE, "%.80s is out of range, expected %s to %s", shown, min, max);
}

static int set_size(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t n = v.number;
	char shown[CONF_TEXT_MAX];
	if (v.text && conf_parse_size(v.text, &n, err) < 0)
		return -1;
	snprintf(shown, sizeof(shown), "%" PRId64, n);
	return set_within(k, field, n, v.text ? v.text : shown, conf_format_size, err);
}

static void print_size(const void *field, FILE *out)
{
	char text[CONF_TEXT_MAX];
	conf_format_size(*(const int64_t *)field, text);
	print_string(text, out);
}

static int set_duration(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t n = 0;
	if (conf_parse_duration(v.text, &n, err) < 0)
		return -1;
	return set_within(k, field, n, v.text, conf_format_duration, err);
}

static void print_duration(const void *field, FILE *out)
{
	char text[CONF_TEXT_MAX];
	conf_format_duration(*(const int64_t *)field, text);
	print_string(text, out);
}

/* Choices. */

static const char *const levels[] = {
	[LOG_LEVEL_TRACE] = "trace", [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_ERROR] = "error",
};

static const char *const formats[] = { [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json" };

/* Fails with the quoted value, what it is not, and what would be right. */
static int refuse_choice(const char *text, const char *what, struct stow_err *err)
{
	char quoted[96];
	text_quote(quoted, sizeof(quoted), text, strlen(text));
	return stow_fail(err, STOW_INVALID_ARGUMENT, "%s %s", quoted, what);
}

static int set_level(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcmp(v.text, levels[i]) != 0)
			continue;
		*(enum log_level *)field = (enum log_level)i;
		return 0;
	}
	return refuse_choice(v.text, "is not a log level, expected trace, debug, info, warn or error", err);
}

static void print_level(const void *field, FILE *out)
{
	print_string(levels[*(const enum log_level *)field], out);
}

static int set_format(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	/* The name of what "text" is, for people who look for it. */
	const char *text = strcmp(v.text, "logfmt") == 0 ? formats[LOG_FORMAT_TEXT] : v.text;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (strcmp(text, formats[i]) != 0)
			continue;
		*(enum log_format *)field = (enum log_format)i;
		return 0;
	}
	return refuse_choice(v.text, "is not a log format, expected text or json", err);
}

static void print_format(const void *field, FILE *out)
{
	print_string(formats[*(const enum log_format *)field], out);
}

const struct conf_kind conf_kind_path = { STRINGS, "a string", set_path, print_text, release_text };
const struct conf_kind conf_kind_path_any = { STRINGS, "a string", set_path_any, print_text, release_text };
const struct conf_kind conf_kind_address = { STRINGS, "a string", set_address, print_text, release_text };
const struct conf_kind conf_kind_mode = { STRINGS, "an octal string such as \"0660\"", set_mode, print_mode,
					  NULL };
const struct conf_kind conf_kind_id = { INTEGERS, "an integer", set_id, print_id, NULL };
const struct conf_kind conf_kind_count = { INTEGERS, "an integer", set_count, print_count, NULL };
const struct conf_kind conf_kind_size = { STRINGS | INTEGERS, "a size such as \"64MiB\"", set_size,
					  print_size, NULL };
const struct conf_kind conf_kind_duration = { STRINGS, "a duration such as \"30s\"", set_duration,
					      print_duration, NULL };
const struct conf_kind conf_kind_level = { STRINGS, "a string", set_level, print_level, NULL };
const struct conf_kind conf_kind_format = { STRINGS, "a string", set_format, print_format, NULL };
