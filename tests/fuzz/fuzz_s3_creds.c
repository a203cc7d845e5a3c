/* What a provider answers, as JSON, XML and a time: keys that are taken are good for a header. */
#include "backends/s3/creds_document.h"
#include "backends/s3/creds_sts_answer.h"
#include "backends/s3/rfc3339.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

static void check(int r, struct creds_value *v, const struct stow_err *err)
{
	struct stow_err other;
	if (r < 0) {
		assert(*err->msg && !v->access_key && !v->secret_key && !v->session_token);
		return;
	}
	assert(creds_value_check(v, "it", &other) == 0);
	assert(v->expires_ns >= 0);
	creds_value_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data;
	CLEANUP(freep) char *string = x_strndup(text, n);
	struct creds_value v = { 0 };
	struct creds_sts_error e;
	struct stow_err err;
	char said[CREDS_SAID_MAX];
	int64_t ns = 0;

	check(creds_document_read(CREDS_FORM_ENDPOINT, text, n, &v, &err), &v, &err);
	check(creds_document_read(CREDS_FORM_PROCESS, text, n, &v, &err), &v, &err);
	check(creds_sts_read(text, n, &v, &err), &v, &err);
	creds_sts_read_error(text, n, &e);
	creds_document_said(text, n, said);
	assert(strlen(said) < sizeof(said));
	if (rfc3339_read(string, &ns, &err) == 0)
		assert(ns > 0);
	return 0;
}
