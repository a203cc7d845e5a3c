/* AWS Signature Version 4 as S3 wants it: pure functions, no clock, no I/O.
 *
 * Written after "Signature Version 4 signing process" and "Authenticating Requests (AWS Signature
 * Version 4)" of the Amazon S3 API Reference. S3 differs from other services in that the path is
 * encoded once and never normalised ("//" and ".." are parts of a key). */
#ifndef STOWAGE_BACKENDS_S3_SIGV4_H
#define STOWAGE_BACKENDS_S3_SIGV4_H

#include "content/base/buf.h"
#include "content/base/digest.h"
#include "content/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* What stands for the payload's hash where it is not signed; for requests over TLS. */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

/* Who signs. Borrowed strings; session_token is NULL for long-term keys. */
struct sigv4_key {
	const char *access_key, *secret_key, *session_token;
};

struct sigv4_pair {
	const char *name, *value;
};

/* A request before it is signed. All strings are borrowed. */
struct sigv4_request {
	const char *method;
	const char *path; /* as it is sent: begins with "/", encoded by sigv4_encode */
	/* Query parameters, not encoded, in any order. Value NULL or "": "name=". */
	const struct sigv4_pair *query;
	size_t query_n;
	/* Headers that are signed, in any order, names in any case; "host" must be among them. The
	 * signer adds x-amz-date, and x-amz-security-token where there is one. */
	const struct sigv4_pair *headers;
	size_t headers_n;
	const char *payload;          /* hex SHA-256 of the body, or SIGV4_UNSIGNED */
	const char *region, *service; /* "us-east-1", "s3" */
	int64_t time_ns;              /* wall clock, as the server has it */
};

enum {
	SIGV4_DATE_MAX = 17,      /* "20130524T000000Z", NUL */
	SIGV4_SIGNATURE_MAX = 65, /* hex, NUL */
};

/* Appends `s` percent-encoded: all but A-Z a-z 0-9 - . _ ~, and "/" where `slash`. Hex is upper case.
 * RESOURCE_EXHAUSTED past the buffer's cap, as all below. */
int sigv4_encode(struct buf *b, const char *s, bool slash, struct stow_err *err) MUST_CHECK;
/* Appends "name=value&…" encoded and sorted as the signature has it; so that what is sent is what is
 * signed. */
int sigv4_query(struct buf *b, const struct sigv4_pair *query, size_t n, struct stow_err *err) MUST_CHECK;

/* "20130524T000000Z": the value of x-amz-date. */
void sigv4_date(int64_t time_ns, char out[SIGV4_DATE_MAX]);

/* The two intermediate texts, for tests and for messages about a signature that does not match. */
int sigv4_canonical(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
		    struct stow_err *err) MUST_CHECK;
int sigv4_string_to_sign(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
			 struct stow_err *err) MUST_CHECK;

/* Appends the value of the Authorization header. What is to be sent with it: r->headers, x-amz-date
 * (sigv4_date), and x-amz-security-token. */
int sigv4_authorization(const struct sigv4_request *r, const struct sigv4_key *k, struct buf *b,
			struct stow_err *err) MUST_CHECK;
/* Appends the whole query of a presigned URL, r->query included, good for `expires_s` seconds (1 to
 * 604800). Only r->headers are signed, usually "host" alone. */
int sigv4_presign(const struct sigv4_request *r, const struct sigv4_key *k, unsigned expires_s, struct buf *b,
		  struct stow_err *err) MUST_CHECK;

#endif
