/* One S3 request with its attempts: sign, send, judge, and try again where that may help.
 *
 * An attempt that failed is tried again after a back-off with full jitter (retry.h), as long as its
 * attempts and the session's retry budget last. Beside that, and once each for a request:
 *   RequestTimeTooSkewed        the server's Date corrects the session's clock
 *   ExpiredToken, InvalidToken  the credentials are refreshed
 *   301, 307, 400 with another region for the bucket: the session signs for, and goes to, that region
 *
 * Threads: any may start a request; `done` runs on the transfer thread. Fetching credentials may block,
 * so it happens on the session's own thread where none are at hand. */
#ifndef STOWAGE_BACKENDS_S3_REQUEST_H
#define STOWAGE_BACKENDS_S3_REQUEST_H

#include "backends/s3/sigv4.h"
#include "content/base/err.h"

#include <stdbool.h>

/* Credentials held: borrowed from their source, for as long as they are not released. */
struct s3_creds {
	struct sigv4_key key;
	void *held; /* the source's own */
};

/* Where credentials come from; any thread may call these at any time. */
struct s3_creds_source {
	void *arg;
	/* The ones to sign with now. With `wait` it may block (never called so on the transfer thread);
	 * without, it is UNAVAILABLE where that would take the network or a file. */
	int (*get)(void *arg, bool wait, struct s3_creds *ret_c, struct stow_err *err);
	/* The server says that `old` has expired: newer ones. May block. NULL: nothing is newer. */
	int (*refresh)(void *arg, const struct s3_creds *old, struct s3_creds *ret_c, struct stow_err *err);
	/* Each that get and refresh returned. NULL: nothing to do. */
	void (*release)(void *arg, struct s3_creds *c);
};

#endif
