/* Everything that talks to one bucket: the transfer thread, the credentials, the client. The backend has
 * one, and so has `stowage check`. */
#ifndef STOWAGE_BACKENDS_S3_SESSION_H
#define STOWAGE_BACKENDS_S3_SESSION_H

#include "backends/s3/client.h"
#include "backends/s3/s3_options.h"

struct creds;
struct http;

struct s3_session {
	struct s3_options options;
	struct http *http;
	struct creds *creds;
	struct s3_client *client;
};

/* Starts the threads and looks for the credentials' provider; does not wait for the network. Errors as those
 * of creds_new, http_new and s3_client_new. `o` is copied, what it points to is borrowed for the session's
 * life. */
int s3_session_new(const struct s3_options *o, struct s3_session **ret_s, struct stow_err *err) MUST_CHECK;
/* Nothing may be under way. NULL is a no-op. */
void s3_session_free(struct s3_session *s);
void s3_session_freep(struct s3_session **s);

#endif
