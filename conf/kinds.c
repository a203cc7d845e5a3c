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

static int set_text(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	char *text = NULL;
	if (!*v.text && k->optional)
		text = x_strdup("");
	else if (k->parse(v.text, &text, err) < 0)
		return -1;
	replace(field, text);
	return 0;
}

static void print_text(const struct conf_key *k UNUSED, const void *field, FILE *out)
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

static void print_count(const struct conf_key *k UNUSED, const void *field, FILE *out)
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

static void print_id(const struct conf_key *k UNUSED, const void *field, FILE *out)
{
	uid_t id = *(const uid_t *)field;
	fprintf(out, "%" PRId64, id == (uid_t)-1 ? -1 : (int64_t)id);
}

static int set_mode(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	return conf_parse_mode(v.text, field, err);
}

static void print_mode(const struct conf_key *k UNUSED, const void *field, FILE *out)
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

static void print_size(const struct conf_key *k UNUSED, const void *field, FILE *out)
{
	char text[CONF_TEXT_MAX];
	conf_format_size(*(const int64_t *)field, text);
	print_string(text, out);
}

static int set_share(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t bytes = v.number, percent = 0;

	if (v.text && conf_parse_share(v.text, &bytes, &percent, err) < 0)
		return -1;
	if (bytes < 0)
		return stow_fail(err, STOW_OUT_OF_RANGE, "%" PRId64 " is out of range, expected 0 or more",
				 bytes);
	if (percent > k->max)
		return stow_fail(err, STOW_OUT_OF_RANGE,
				 "%.80s is out of range, expected no more than %" PRId64 "%%", v.text,
				 k->max);
	*(struct conf_share *)field = (struct conf_share){ .bytes = bytes, .percent = (unsigned)percent };
	return 0;
}

static void print_share(const struct conf_key *k, const void *field, FILE *out)
{
	const struct conf_share *share = field;
	if (share->percent != 0)
		fprintf(out, "\"%u%%\"", share->percent);
	else
		print_size(k, &share->bytes, out);
}

static int set_duration(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	int64_t n = 0;
	if (conf_parse_duration(v.text, &n, err) < 0)
		return -1;
	return set_within(k, field, n, v.text, conf_format_duration, err);
}

static void print_duration(const struct conf_key *k UNUSED, const void *field, FILE *out)
{
	char text[CONF_TEXT_MAX];
	conf_format_duration(*(const int64_t *)field, text);
	print_string(text, out);
}

static const char always[] = "always";

static int set_wait(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	if (strcmp(v.text, always) == 0) {
		*(int64_t *)field = CONF_WAIT_ALWAYS;
		return 0;
	}
	if (set_duration(k, field, v, err) == 0)
		return 0;
	return err->code == STOW_OUT_OF_RANGE
		       ? -1
		       : conf_refuse(err, STOW_INVALID_ARGUMENT, v.text,
				     "is neither a duration such as \"30s\" nor \"always\"");
}

static void print_wait(const struct conf_key *k, const void *field, FILE *out)
{
	if (*(const int64_t *)field == CONF_WAIT_ALWAYS)
		print_string(always, out);
	else
		print_duration(k, field, out);
}

/* Booleans. */

static int set_bool(const struct conf_key *k UNUSED, void *field, struct conf_value v, struct stow_err *err)
{
	bool is_true = v.text ? strcmp(v.text, "true") == 0 : v.number != 0;
	if (v.text && !is_true && strcmp(v.text, "false") != 0)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, v.text,
				   "is not a boolean, expected true or false");
	*(bool *)field = is_true;
	return 0;
}

static void print_bool(const struct conf_key *k UNUSED, const void *field, FILE *out)
{
	fputs(*(const bool *)field ? "true" : "false", out);
}

/* Choices. */

static const char *const levels[] = {
	[LOG_LEVEL_TRACE] = "trace", [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_ERROR] = "error",
};
static const char *const formats[] = { [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json" };
static const char *const remotes[] = { [CONF_REMOTE_NONE] = "", [CONF_REMOTE_S3] = "s3" };
static const char *const modes[] = { [CONF_MODE_TIERED] = "tiered", [CONF_MODE_DIRECT] = "direct" };
static const char *const owners[] = { [CONF_OWNER_SHARED] = "shared", [CONF_OWNER_EXCLUSIVE] = "exclusive" };
static const char *const sources[] = { [CONF_SOURCE_DIR] = "dir", [CONF_SOURCE_S3] = "s3" };
static const char *const layouts[] = {
	[CONF_LAYOUT_REGISTRY] = "registry", [CONF_LAYOUT_STOWAGE] = "stowage"
};
static const char *const addressings[] = { [CONF_S3_ADDRESSING_AUTO] = "auto",
					   [CONF_S3_ADDRESSING_PATH] = "path",
					   [CONF_S3_ADDRESSING_VIRTUAL] = "virtual" };
static const char *const checksums[] = { [CONF_S3_CHECKSUMS_WHEN_REQUIRED] = "when_required",
					 [CONF_S3_CHECKSUMS_WHEN_SUPPORTED] = "when_supported" };
/* The values of S3's header. */
static const char *const sses[] = { [CONF_S3_SSE_BUCKET] = "",
				    [CONF_S3_SSE_S3] = "AES256",
				    [CONF_S3_SSE_KMS] = "aws:kms",
				    [CONF_S3_SSE_KMS_DSSE] = "aws:kms:dsse" };

const struct conf_choice conf_choice_level = { "a log level", levels, ARRAY_LEN(levels) };
const struct conf_choice conf_choice_format = { "a log format", formats, ARRAY_LEN(formats) };
const struct conf_choice conf_choice_remote = { "a type of remote", remotes, ARRAY_LEN(remotes) };
const struct conf_choice conf_choice_mode = { "a use of the remote", modes, ARRAY_LEN(modes) };
const struct conf_choice conf_choice_owner = { "a kind of owner", owners, ARRAY_LEN(owners) };
const struct conf_choice conf_choice_source = { "a type of source", sources, ARRAY_LEN(sources) };
const struct conf_choice conf_choice_layout = { "a layout", layouts, ARRAY_LEN(layouts) };
const struct conf_choice conf_choice_address = { "a form of address", addressings, ARRAY_LEN(addressings) };
const struct conf_choice conf_choice_checksum = { "a use of checksums", checksums, ARRAY_LEN(checksums) };
const struct conf_choice conf_choice_sse = { "a kind of encryption", sses, ARRAY_LEN(sses) };

static_assert(sizeof(enum log_level) == sizeof(unsigned) && sizeof(enum conf_s3_sse) == sizeof(unsigned),
	      "one kind serves all enumerations");

/* Fails with the quoted value, what it is not, and what would be right. */
static int refuse_choice(const struct conf_choice *choice, const char *text, struct stow_err *err)
{
	char what[256];
	size_t n = (size_t)snprintf(what, sizeof(what), "is not %s, expected", choice->what);
	for (size_t i = 0; i < choice->n && n < sizeof(what); i++) {
		const char *before = i == 0 ? "" : i + 1 == choice->n ? " or" : ",";
		const char *name = *choice->names[i] ? choice->names[i] : "\"\"";
		n += (size_t)snprintf(what + n, sizeof(what) - n, "%s %s", before, name);
	}
	return conf_refuse(err, STOW_INVALID_ARGUMENT, text, what);
}

static int set_choice(const struct conf_key *k, void *field, struct conf_value v, struct stow_err *err)
{
	/* "logfmt" is the name of what "text" is, for people who look for it. */
	bool logfmt = k->choice == &conf_choice_format && strcmp(v.text, "logfmt") == 0;
	const char *text = logfmt ? formats[LOG_FORMAT_TEXT] : v.text;
	for (size_t i = 0; i < k->choice->n; i++) {
		if (strcmp(text, k->choice->names[i]) != 0)
			continue;
		*(unsigned *)field = (unsigned)i;
		return 0;
	}
	return refuse_choice(k->choice, v.text, err);
}

static void print_choice(const struct conf_key *k, const void *field, FILE *out)
{
	print_string(k->choice->names[*(const unsigned *)field], out);
}

const struct conf_kind conf_kind_text = { STRINGS, "a string", set_text, print_text, release_text };
const struct conf_kind conf_kind_mode = { STRINGS, "an octal string such as \"0660\"", set_mode, print_mode,
					  NULL };
const struct conf_kind conf_kind_id = { INTEGERS, "an integer", set_id, print_id, NULL };
const struct conf_kind conf_kind_bool = { 1u << TOML_BOOLEAN, "a boolean", set_bool, print_bool, NULL };
const struct conf_kind conf_kind_count = { INTEGERS, "an integer", set_count, print_count, NULL };
const struct conf_kind conf_kind_size = { STRINGS | INTEGERS, "a size such as \"64MiB\"", set_size,
					  print_size, NULL };
const struct conf_kind conf_kind_share = { STRINGS | INTEGERS,
					   "a size such as \"50GiB\" or a share such as \"20%\"", set_share,
					   print_share, NULL };
const struct conf_kind conf_kind_wait = { STRINGS, "a duration such as \"30s\", or \"always\"", set_wait,
					  print_wait, NULL };
const struct conf_kind conf_kind_duration = { STRINGS, "a duration such as \"30s\"", set_duration,
					      print_duration, NULL };
const struct conf_kind conf_kind_choice = { STRINGS, "a string", set_choice, print_choice, NULL };
