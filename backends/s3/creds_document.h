/* The JSON documents that credentials come in: from a container's endpoint, the instance's metadata
 * service, or a credential_process. And the times in them. Pure. */
#ifndef STOWAGE_BACKENDS_S3_CREDS_DOCUMENT_H
#define STOWAGE_BACKENDS_S3_CREDS_DOCUMENT_H

#include "content/base/err.h"

#include <stdint.h>

/* What a provider gave. Owned strings, never NULL in a filled one. */
struct creds_value {
	char *access_key, *secret_key;
	char *session_token; /* "": none */
	int64_t expires_ns;  /* wall clock; 0: never, as far as they say */
};
/* Wipes the secrets. Fit for CLEANUP; the value is empty then. */
void creds_value_free(struct creds_value *v);

enum creds_form {
	CREDS_FORM_ENDPOINT, /* AccessKeyId, SecretAccessKey, Token, Expiration; Code and Message */
	CREDS_FORM_PROCESS   /* Version = 1, AccessKeyId, SecretAccessKey, SessionToken, Expiration */
};
/* INVALID_ARGUMENT for what is no such document; PERMISSION_DENIED where it says that there are no
 * credentials, with its own words. The message never quotes the document otherwise. */
int creds_document_read(enum creds_form form, const char *text, size_t n, struct creds_value *ret_v,
			struct stow_err *err) MUST_CHECK;

/* What an endpoint says of its failure in JSON, as `code: message`, quoted where needed; "" where it is
 * something else. */
enum { CREDS_SAID_MAX = 256 };
void creds_document_said(const char *text, size_t n, char out[CREDS_SAID_MAX]);

/* Fails unless the keys are there and all are printable ASCII without blanks: they become a part of
 * headers. `what` for the message: "the document". */
int creds_value_check(const struct creds_value *v, const char *what, struct stow_err *err) MUST_CHECK;

#endif
