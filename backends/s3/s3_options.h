/* What an S3 backend is told: plain data, which cmd/ fills from the configuration. What each option
 * means to a user, and its default, says conf/keys.c.
 *
 * All strings are borrowed, and never NULL: "" is "not set". They are checked by the configuration
 * already, so that nobody has to look for control characters or for a missing host again. */
#ifndef STOWAGE_BACKENDS_S3_OPTIONS_H
#define STOWAGE_BACKENDS_S3_OPTIONS_H

#include "content/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum s3_addressing {
	S3_ADDRESSING_AUTO,   /* virtual at AWS where the bucket's name allows it, else path */
	S3_ADDRESSING_PATH,   /* https://host/bucket/key */
	S3_ADDRESSING_VIRTUAL /* https://bucket.host/key */
};

enum s3_checksums {
	S3_CHECKSUMS_WHEN_REQUIRED, /* only where S3 demands one */
	S3_CHECKSUMS_WHEN_SUPPORTED /* x-amz-checksum-sha256 wherever a request may carry it */
};

enum s3_sse {
	S3_SSE_BUCKET,  /* no header: the bucket's own default */
	S3_SSE_S3,      /* x-amz-server-side-encryption: AES256 */
	S3_SSE_KMS,     /* aws:kms */
	S3_SSE_KMS_DSSE /* aws:kms:dsse */
};

/* What the keys of blobs are, below the prefix. */
enum s3_layout {
	S3_LAYOUT_STOWAGE, /* blobs/<alg>/<hex> */
	S3_LAYOUT_REGISTRY /* the distribution registry's: docker/registry/v2/blobs/<alg>/<2 of
			      hex>/<hex>/data */
};

/* Where credentials come from; see creds.h. */
struct s3_credential_options {
	const char *access_key, *secret_key, *session_token;
	const char *access_key_file, *secret_key_file, *session_token_file; /* absolute paths */
	const char *profile;

	/* Of the process, as environ(7): AWS_*, HOME. Must live as long as the credentials; NULL: none. */
	const char *const *environment;
};

struct s3_options {
	const char *endpoint; /* "http[s]://host[:port]" without a path; "": AWS's, by region */
	const char *region;   /* "": see s3_options_region() */
	const char *bucket;
	const char *prefix; /* without a slash at its ends; "": none */
	enum s3_layout layout;
	bool read_only; /* a source: nothing in the bucket is ever changed */
	enum s3_addressing addressing;
	bool dual_stack, fips, accelerate; /* AWS's endpoints of these kinds */

	struct s3_credential_options credentials;

	/* Files of credentials, a named profile and ca_file need not be there yet, or be right: until they
	 * are, requests fail, and not the start. Of a profile that comes late, the region does not count. */
	bool files_may_come;

	const char *ca_file;    /* PEM, instead of the system's; "": the system's */
	const char *proxy;      /* a URL; "direct": none; "": as https_proxy and no_proxy say */
	const char *user_agent; /* added to our own */

	enum s3_sse sse;
	const char *sse_kms_key;
	const char *sse_kms_context; /* "key=value,key=value"; see s3_kms_context_header() */
	const char *storage_class;
	bool request_payer;         /* x-amz-request-payer: requester */
	const char *expected_owner; /* x-amz-expected-bucket-owner */
	const char *tags;           /* "key=value,key=value"; see s3_tagging_header() */
	enum s3_checksums checksums;

	int64_t small_blob;          /* bytes: smaller ones go by one PUT */
	int64_t part_size;           /* bytes, at least 5 MiB */
	unsigned upload_concurrency; /* parts of one blob at once */
	int64_t read_memory;         /* bytes that reads may keep, all together */
	unsigned connections;        /* at once, all together */
	bool http2;                  /* offered to servers with TLS; see session.c */
	int64_t connect_timeout;     /* these four in ns */
	int64_t first_byte_timeout;  /* from the request's last byte to the answer's first */
	int64_t stall_timeout;       /* without a byte in either direction */
	int64_t request_timeout;     /* for one attempt as a whole */
	unsigned max_attempts;       /* of one request, the first one counted */
};

/* The region to sign for: the configured one; else the `region` of the profile that the credentials
 * would come from; else "us-east-1" where there is an endpoint of its own, since such servers rarely
 * care. FAILED_PRECONDITION where nothing says it. ($AWS_REGION is a part of the configuration.) The
 * caller frees it. */
int s3_options_region(const struct s3_options *o, char **ret_region, struct stow_err *err) MUST_CHECK;

/* `pairs` ("key=value,key=value") as a header's value; the caller frees it. NULL for "". */
char *s3_tagging_header(const char *pairs);     /* x-amz-tagging: a URL query */
char *s3_kms_context_header(const char *pairs); /* ...-encryption-context: a JSON object in base64 */

#endif
