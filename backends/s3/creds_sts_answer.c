/* STS's XML by expat: the texts of the members of one element, at whatever depth that stands. */
#include "backends/s3/creds_sts_answer.h"

#include "content/base/mem.h"
#include "content/base/text.h"

#include <expat.h>
#include <limits.h>
#include <stdbool.h>

enum { MEMBERS_MAX = 4, TEXT_MAX = 16 * 1024, DEPTH_MAX = 16 };

struct members {
	const char *parent; /* "Credentials" */
	const char *names[MEMBERS_MAX];
	char *texts[MEMBERS_MAX]; /* owned; NULL: has not come */

	XML_Parser parser;
	int depth;
	int parent_depth; /* 0: not within the parent */
	int open;         /* the member whose text comes; -1: none */
};

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct members *m = arg;

	(void)attributes;
	if (++m->depth > DEPTH_MAX) {
		XML_StopParser(m->parser, XML_FALSE);
		return;
	}
	m->open = -1;
	if (m->parent_depth == 0 && strcmp(name, m->parent) == 0)
		m->parent_depth = m->depth;
	if (m->parent_depth == 0 || m->depth != m->parent_depth + 1)
		return;
	for (int i = 0; i < MEMBERS_MAX && m->names[i]; i++)
		if (strcmp(name, m->names[i]) == 0 && !m->texts[i])
			m->open = i;
	if (m->open >= 0)
		m->texts[m->open] = x_strdup("");
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct members *m = arg;

	(void)name;
	if (m->depth == m->parent_depth)
		m->parent_depth = 0;
	m->depth--;
	m->open = -1;
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int n)
{
	struct members *m = arg;
	char *old, *longer;

	if (m->open < 0)
		return;
	old = m->texts[m->open];
	if (strlen(old) + (size_t)n > TEXT_MAX) {
		XML_StopParser(m->parser, XML_FALSE);
		return;
	}
	longer = x_asprintf("%s%.*s", old, n, s);
	free(old);
	m->texts[m->open] = longer;
}

/* No answer has one, and entities are declared in them. */
static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
			       const XML_Char *public, int has_subset)
{
	struct members *m = arg;

	(void)name;
	(void)system;
	(void)public;
	(void)has_subset;
	XML_StopParser(m->parser, XML_FALSE);
}

static void members_free(struct members *m)
{
	for (int i = 0; i < MEMBERS_MAX; i++)
		free(m->texts[i]);
}

/* Whether it is XML to its end. */
static bool read_members(struct members *m, const char *text, size_t n)
{
	bool ok;

	m->open = -1;
	m->parser = XML_ParserCreate(NULL);
	if (!m->parser)
		x_abort("out of memory");
	XML_SetUserData(m->parser, m);
	XML_SetElementHandler(m->parser, on_start, on_end);
	XML_SetCharacterDataHandler(m->parser, on_text);
	XML_SetStartDoctypeDeclHandler(m->parser, on_doctype);
	ok = n <= INT_MAX && XML_Parse(m->parser, text, (int)n, XML_TRUE) == XML_STATUS_OK;
	XML_ParserFree(m->parser);
	return ok;
}

int creds_sts_read(const char *text, size_t n, struct creds_value *ret_v, struct stow_err *err)
{
	CLEANUP(members_free)
	struct members m = { .parent = "Credentials",
			     .names = { "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration" } };
	CLEANUP(creds_value_free) struct creds_value v = { 0 };

	if (!read_members(&m, text, n))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "the answer is not XML");
	for (int i = 0; i < MEMBERS_MAX; i++)
		if (!m.texts[i])
			return stow_fail(err, STOW_INVALID_ARGUMENT, "the answer has no %s", m.names[i]);
	if (creds_time_read(m.texts[3], &v.expires_ns, err) < 0)
		return stow_wrap(err, "the answer's Expiration");
	v.access_key = TAKE(m.texts[0]);
	v.secret_key = TAKE(m.texts[1]);
	v.session_token = TAKE(m.texts[2]);
	if (creds_value_check(&v, "the answer", err) < 0)
		return -1;
	*ret_v = v;
	v = (struct creds_value){ 0 };
	return 0;
}

void creds_sts_read_error(const char *text, size_t n, struct creds_sts_error *ret_e)
{
	CLEANUP(members_free) struct members m = { .parent = "Error", .names = { "Code", "Message" } };

	*ret_e = (struct creds_sts_error){ 0 };
	if (!read_members(&m, text, n) || !m.texts[0])
		return;
	snprintf(ret_e->code, sizeof(ret_e->code), "%s", m.texts[0]);
	for (char *p = ret_e->code; *p; p++)
		if (*p <= 0x20 || *p > 0x7e)
			*p = '?';
	const char *message = m.texts[1] ? m.texts[1] : "";
	text_quote(ret_e->message, sizeof(ret_e->message), message, strlen(message));
}
