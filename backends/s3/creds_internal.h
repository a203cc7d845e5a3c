/* What the credential providers share with the chain that chooses among them (creds_chain.c) and the
 * cache before them (creds.c). */
#ifndef STOWAGE_BACKENDS_S3_CREDS_INTERNAL_H
#define STOWAGE_BACKENDS_S3_CREDS_INTERNAL_H

#include "backends/s3/aws_profile.h"
#include "backends/s3/creds.h"
#include "backends/s3/creds_document.h"
#include "backends/s3/http.h"
#include "content/base/clock.h"

/* What all providers need. Owned by the credentials, which outlive them. */
struct creds_context {
	const char *const *environment; /* NULL: none */
	char *region;                   /* "": none is known */
	bool fips, dual_stack;
	bool files_may_come;
	struct http *http; /* NULL: whoever needs it fails */
	/* An event descriptor that is readable from creds_free on: what waits, waits for it too. */
	int stop_fd;
};

/* The variable of the context's environment; NULL where it is missing or empty. */
static inline const char *creds_variable(const struct creds_context *cx, const char *name)
{
	return aws_variable(cx->environment, name);
}

/* Where credentials come from. The first member of each provider's own struct. */
struct creds_provider {
	const char *name; /* as in creds.h; static storage */
	char *detail;     /* for people: "role arn:..., token in /var/run/..."; owned */
	bool instant;     /* fetch waits for nothing but a local file */
	/* Whoever puts new keys into files says so to nobody: how often to look; 0: never. */
	int64_t reread_ns;
	const struct creds_context *cx;
	/* Gets the credentials of now. One call at a time, and it may take seconds; it ends soon once
	 * stop_fd is readable. UNAVAILABLE where a later call may do better. */
	int (*fetch)(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err);
	void (*free)(struct creds_provider *p); /* all but `detail` */
};
/* NULL is a no-op. */
void creds_provider_free(struct creds_provider *p);

/* For reread_ns. */
#define CREDS_REREAD_NS (60 * NSEC_PER_SEC)

/* creds_new with a provider that is given, for tests; it becomes the credentials', also on failure. */
int creds_new_from(const struct s3_options *o, struct creds_provider *p, struct creds **ret_c,
		   struct stow_err *err) MUST_CHECK;

/* --- finding one --- */

/* Each of these looks whether a provider is configured. 0 with *ret_p set if it is; 0 with *ret_p as it
 * was, and why not in `why`, if it is not; -1 if it is, and wrong. */
enum { CREDS_WHY_MAX = 256 };
#define CREDS_FIND(name)                                                                                     \
	int name(const struct creds_context *cx, const struct s3_credential_options *o,                      \
		 struct creds_provider **ret_p, char why[CREDS_WHY_MAX], struct stow_err *err)
typedef CREDS_FIND(creds_find);
CREDS_FIND(creds_find_configured) MUST_CHECK;   /* creds_static.c */
CREDS_FIND(creds_find_environment) MUST_CHECK;  /* creds_static.c */
CREDS_FIND(creds_find_profile) MUST_CHECK;      /* creds_profile.c; a configured one too */
CREDS_FIND(creds_find_web_identity) MUST_CHECK; /* creds_sts.c */
CREDS_FIND(creds_find_container) MUST_CHECK;    /* creds_container.c */
CREDS_FIND(creds_find_instance) MUST_CHECK;     /* creds_instance.c */

/* The first one that is configured; FAILED_PRECONDITION where none is. A line for each that was looked
 * at goes to `trail`. */
int creds_choose(const struct creds_context *cx, const struct s3_credential_options *o,
		 struct creds_provider **ret_p, struct buf *trail, struct stow_err *err) MUST_CHECK;

/* --- parts of providers --- */

/* Keys that are known. The strings are copied; session_token may be NULL. */
struct creds_provider *creds_static_new(const char *name, const char *access_key, const char *secret_key,
					const char *session_token);

/* A command whose output is a document (creds_process.c). */
struct creds_provider *creds_process_new(const char *command);

/* A role at STS, for the token in a file. `session_name` may be NULL. */
struct creds_provider *creds_sts_new(const char *name, const char *role_arn, const char *token_file,
				     const char *session_name);

/* The service's URL, which the caller frees: the region's own endpoint, unless a variable says otherwise. */
char *creds_sts_url(const struct creds_context *cx);

/* Runs /bin/sh -c `command` with the context's environment, nothing on its standard input, and gives
 * what it wrote to standard output, up to ret_out's cap. Fails where it ends with another status than 0,
 * with what it wrote to standard error; UNAVAILABLE where it takes longer than `timeout_ns`: then it is
 * killed with all that it has started (in its process group). */
int creds_process_run(const struct creds_context *cx, const char *command, int64_t timeout_ns,
		      struct buf *ret_out, struct stow_err *err) MUST_CHECK;

/* --- HTTP --- */

struct creds_request {
	const char *what; /* for messages: "the instance metadata service" */
	const char *method;
	const char *url;
	const char *const *headers; /* as http.h */
	const char *body;           /* NULL: none */
	bool no_proxy;
	int64_t connect_ns, total_ns;
	unsigned attempts;
};

/* Makes the request until it is answered with something else than 429 or 5xx, `attempts` times with a
 * jittered pause between. 0 for any such status. -1 otherwise, with the last failure, and in
 * *ret_failure (may be NULL) which one it was. *ret_r must be initialised. */
int creds_request(const struct creds_context *cx, const struct creds_request *rq, struct http_response *ret_r,
		  enum http_failure *ret_failure, struct stow_err *err) MUST_CHECK;

/* Fails with what a status other than 200 means: `what`: HTTP 403: what the answer says of it. */
int creds_refused(const char *what, const struct http_response *r, struct stow_err *err);

/* Waits, `ns` at most. False if the credentials are being freed. */
bool creds_pause(const struct creds_context *cx, int64_t ns);
/* A number from 0 to n - 1; n is at least 1. */
int64_t creds_random(int64_t n);

#endif
