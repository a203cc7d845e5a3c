/* The credentials that requests are signed with: found once, kept fresh, shared by all.
 *
 * Providers, in this order. The first one that is configured is the one; if it fails, that is an
 * error and never a reason to try the next, which may be a wider identity (a pod whose own role is
 * out of order must not go on as the node).
 *
 *   configuration   access_key and secret_key, or the files that hold them; or a named profile
 *   environment     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   profile         AWS_PROFILE, or "default" where that has credentials, in ~/.aws/credentials and
 *                   ~/.aws/config (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE): keys,
 *                   credential_process, or role_arn with web_identity_token_file
 *   web identity    AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, exchanged at STS
 *   container       AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS Pod Identity)
 *   instance        the instance metadata service, version 2 only
 *
 * Credentials that end are refreshed in the background before that, with jitter, one refresh at a
 * time. While STS or whoever is slow or down, the old ones are served until they really end.
 *
 * Threads: any, but creds_new, creds_wait and creds_free not on the transfer thread of `http`, which
 * they need to get on. One thread of its own does all that may block. */
#ifndef STOWAGE_BACKENDS_S3_CREDS_H
#define STOWAGE_BACKENDS_S3_CREDS_H

#include "backends/s3/request.h"
#include "backends/s3/s3_options.h"
#include "content/base/buf.h"

struct creds;
struct http;

/* One set of credentials. Immutable, counted; gone when its last user has dropped it. */
struct creds_snapshot {
	const char *access_key;
	const char *secret_key;
	const char *session_token; /* "": none */
	int64_t expires_ns;        /* as clock_wall_ns; 0: never, as far as we know */
	const char *provider;      /* "environment", "web identity", ...; static storage */
};

/* Finds the provider and starts the first refresh. FAILED_PRECONDITION where nothing is configured,
 * or what is configured cannot be right, though a file of it may still come (files_may_come); what must be
 * asked over the network is not waited for.
 * `region` is for STS; "": its global endpoint. `http` is borrowed and may be NULL where the
 * provider needs none; it must outlive the credentials. */
int creds_new(const struct s3_options *o, const char *region, struct http *http, struct creds **ret_c,
	      struct stow_err *err) MUST_CHECK;
/* Snapshots may still be in use. Ends what is under way with the provider. */
void creds_free(struct creds *c); /* NULL is a no-op */
void creds_freep(struct creds **c);

/* The credentials of the moment, never waiting for anything. 1 while there are none but they are being asked
 * for, with *err UNAVAILABLE saying so. -1 with the last failure where that has failed: PERMISSION_DENIED,
 * FAILED_PRECONDITION, or UNAVAILABLE. Never another code: no blob is missing or damaged for want of keys. */
int creds_get(struct creds *c, const struct creds_snapshot **ret_s, struct stow_err *err) MUST_CHECK;
const struct creds_snapshot *creds_ref(const struct creds_snapshot *s);
void creds_unref(const struct creds_snapshot *s); /* NULL is a no-op */
void creds_unrefp(const struct creds_snapshot **s);

/* Waits until there are credentials, or a refresh has failed and there are none, or clock_mono_ns
 * is `until_ns`: then UNAVAILABLE. */
int creds_wait(struct creds *c, int64_t until_ns, struct stow_err *err) MUST_CHECK;

/* S3 did not accept these credentials any longer (ExpiredToken and the like). If they are still the
 * ones of the moment, a refresh is started, and creds_get gives 1 until it is done. Does not wait. */
void creds_refresh(struct creds *c, const struct creds_snapshot *failed);

/* The same as the client takes it; borrows `c`. */
struct s3_creds_source creds_source(struct creds *c);

/* For people, in lines: which provider was chosen and why the ones before it were not, until when
 * the credentials are good, what the last refresh said. No secrets. */
int creds_explain(struct creds *c, struct buf *b, struct stow_err *err) MUST_CHECK;

#endif
