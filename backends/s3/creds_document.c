/* Documents with credentials, in JSON. */
#include "backends/s3/creds_document.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <time.h>

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void creds_value_free(struct creds_value *v)
{
	wipe(&v->access_key);
	wipe(&v->secret_key);
	wipe(&v->session_token);
	v->expires_ns = 0;
}

/* --- times --- */

/* `n` digits at *s as a number, and *s past them; -1 if they are none. */
static int digits(const char **s, int n)
{
	int value = 0;
	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return -1;
		value = value * 10 + (**s - '0');
	}
	return value;
}

/* A number of `n` digits within min..max, with the letter `after` behind it (0: whatever comes). */
static bool field(const char **s, int n, int min, int max, char after, int *ret)
{
	*ret = digits(s, n);
	if (*ret < min || *ret > max || (after && **s != after))
		return false;
	*s += after != 0;
	return true;
}

/* "Z", or an offset, in seconds east of UTC. */
static bool zone(const char *s, long *ret_s)
{
	int h, m;
	char sign = *s;
	*ret_s = 0;
	if ((sign == 'Z' || sign == 'z') && !s[1])
		return true;
	if (sign != '+' && sign != '-')
		return false;
	s++;
	if (!field(&s, 2, 0, 23, ':', &h) || !field(&s, 2, 0, 59, 0, &m) || *s)
		return false;
	*ret_s = (h * 3600L + m * 60L) * (sign == '-' ? -1 : 1);
	return true;
}

int creds_time_read(const char *s, int64_t *ret_wall_ns, struct stow_err *err)
{
	const char *p = s;
	struct tm tm = { 0 };
	int year, month;
	int64_t ns = 0;
	long east;
	bool ok = field(&p, 4, 1971, 2199, '-', &year) && field(&p, 2, 1, 12, '-', &month) &&
		  field(&p, 2, 1, 31, 0, &tm.tm_mday) && (*p == 'T' || *p == 't' || *p == ' ') && p++ &&
		  field(&p, 2, 0, 23, ':', &tm.tm_hour) && field(&p, 2, 0, 59, ':', &tm.tm_min) &&
		  field(&p, 2, 0, 60, 0, &tm.tm_sec);
	if (ok && *p == '.') {
		ok = isdigit((unsigned char)*++p);
		for (int64_t unit = NSEC_PER_SEC / 10; isdigit((unsigned char)*p); p++, unit /= 10)
			ns += unit * (*p - '0');
	}
	if (!ok || !zone(p, &east)) {
		char quoted[64];
		text_quote(quoted, sizeof(quoted), s, strlen(s));
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "%s is not a time, expected one such as \"2026-11-23T22:35:01Z\"", quoted);
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	*ret_wall_ns = ((int64_t)timegm(&tm) - east) * NSEC_PER_SEC + ns;
	return 0;
}

/* --- documents --- */

static void json_freep(json_t **j)
{
	json_decref(*j);
}

static json_t *parse(const char *text, size_t n)
{
	json_error_t at;
	json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &at);
	if (json_is_object(doc))
		return doc;
	json_decref(doc);
	return NULL;
}

/* A member that is text; NULL where it is missing, null or something else. */
static const char *text_of(const json_t *doc, const char *name)
{
	return json_string_value(json_object_get(doc, name));
}

static bool is_printable(const char *s)
{
	for (; *s; s++)
		if (*s <= 0x20 || *s > 0x7e)
			return false;
	return true;
}

int creds_value_check(const struct creds_value *v, const char *what, struct stow_err *err)
{
	if (!*v->access_key)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%s has no access key's id", what);
	if (!*v->secret_key)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "%s has no secret access key", what);
	if (!is_printable(v->access_key) || !is_printable(v->secret_key) || !is_printable(v->session_token))
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "%s has a key with a blank or an unprintable character in it", what);
	return 0;
}

void creds_document_said(const char *text, size_t n, char out[CREDS_SAID_MAX])
{
	CLEANUP(json_freep) json_t *doc = parse(text, n);
	const char *code = doc ? text_of(doc, "Code") : NULL, *message = doc ? text_of(doc, "Message") : NULL;
	char quoted[CREDS_SAID_MAX - 80];

	*out = 0;
	if (doc && !code)
		code = text_of(doc, "code");
	if (doc && !message)
		message = text_of(doc, "message");
	if (!code && !message)
		return;
	if (!code || !is_printable(code))
		code = "error";
	text_quote(quoted, sizeof(quoted), message ? message : "", message ? strlen(message) : 0);
	snprintf(out, CREDS_SAID_MAX, "%.70s: %s", code, quoted);
}

int creds_document_read(enum creds_form form, const char *text, size_t n, struct creds_value *ret_v,
			struct stow_err *err)
{
	CLEANUP(json_freep) json_t *doc = parse(text, n);
	CLEANUP(creds_value_free) struct creds_value v = { 0 };

	if (!doc)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "the answer is not a JSON object");
	if (form == CREDS_FORM_PROCESS) {
		const json_t *version = json_object_get(doc, "Version");
		if (!json_is_integer(version) || json_integer_value(version) != 1)
			return stow_fail(err, STOW_INVALID_ARGUMENT, "the answer has no \"Version\": 1");
	} else {
		const char *code = text_of(doc, "Code");
		char said[CREDS_SAID_MAX];
		creds_document_said(text, n, said);
		if (code && strcmp(code, "Success") != 0)
			return stow_fail(err, STOW_PERMISSION_DENIED, "there are no credentials: %s", said);
	}
	const char *access = text_of(doc, "AccessKeyId"), *secret = text_of(doc, "SecretAccessKey");
	const char *token = text_of(doc, form == CREDS_FORM_PROCESS ? "SessionToken" : "Token");
	const json_t *expires = json_object_get(doc, "Expiration");

	v.access_key = x_strdup(access ? access : "");
	v.secret_key = x_strdup(secret ? secret : "");
	v.session_token = x_strdup(token ? token : "");
	if (creds_value_check(&v, "the answer", err) < 0)
		return -1;
	if (expires && !json_is_null(expires) && !json_is_string(expires))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "the answer's Expiration is no text");
	if (json_is_string(expires) && creds_time_read(json_string_value(expires), &v.expires_ns, err) < 0)
		return stow_wrap(err, "the answer's Expiration");
	*ret_v = v;
	v = (struct creds_value){ 0 };
	return 0;
}
