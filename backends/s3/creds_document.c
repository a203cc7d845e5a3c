/* Documents with credentials, in JSON. */
#include "backends/s3/creds_document.h"

#include "backends/s3/rfc3339.h"
#include "content/base/mem.h"
#include "content/base/text.h"

#include <jansson.h>
#include <stdbool.h>

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
	if (json_is_string(expires) && rfc3339_read(json_string_value(expires), &v.expires_ns, err) < 0)
		return stow_wrap(err, "the answer's Expiration");
	*ret_v = v;
	v = (struct creds_value){ 0 };
	return 0;
}
