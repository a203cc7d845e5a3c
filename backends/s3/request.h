/* One S3 request with its attempts: sign, send, judge, and try again where that may help.
 *
 * An attempt that failed is tried again after a back-off with full jitter (retry.h), as long as its
 * attempts and the session's retry budget last. Beside that, and once each for a request:
 *   RequestTimeTooSkewed        the server's Date corrects the session's clock
 *   ExpiredToken, InvalidToken  the credentials are refreshed
 *   301, 307, 400 with another region for the bucket: the session signs for, and goes to, that region
 *
 * Threads: any may start a request; `done` runs on the transfer thread. */
#ifndef STOWAGE_BACKENDS_S3_REQUEST_H
#define STOWAGE_BACKENDS_S3_REQUEST_H

#include "backends/s3/sigv4.h"
#include "content/base/err.h"

#include <stdbool.h>

/* Credentials held: borrowed from their source, for as long as they are not released. */
struct s3_creds {
	struct sigv4_key key;
	const void *held; /* the source's own */
};

/* Where credentials come from. Called on any thread at any time, the transfer thread too: none of these
 * may block. */
struct s3_creds_source {
	void *arg;
	/* The ones to sign with now. UNAVAILABLE: none yet, and worth another try soon; any other failure
	 * is the request's. */
	int (*get)(void *arg, struct s3_creds *ret_c, struct stow_err *err);
	/* The server does not take `failed` any longer: get newer ones meanwhile. NULL: there are none. */
	void (*refresh)(void *arg, const struct s3_creds *failed);
	/* Each that get returned. NULL: nothing to do. */
	void (*release)(void *arg, struct s3_creds *c);
};

#endif
