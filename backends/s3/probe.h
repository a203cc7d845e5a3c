/* What a person wants to know of a bucket before a daemon does: can it be reached, with which credentials,
 * and does it permit what the backend needs? Tried, not looked up: objects below "<prefix>/stowage-check/"
 * are written, read and removed; and of a fleet's, one that no listing of notes shows (content/behind.h),
 * since its name begins with a dot. */
#ifndef STOWAGE_BACKENDS_S3_PROBE_H
#define STOWAGE_BACKENDS_S3_PROBE_H

#include "backends/s3/s3_options.h"

enum probe_verdict {
	PROBE_ASKING, /* it is being tried: what comes of it follows */
	PROBE_OK,
	PROBE_NOTE,   /* works, but not as well as it could, or not as configured */
	PROBE_FAILED, /* a store on this bucket would not work */
};

struct probe_step {
	const char *name; /* "credentials", "put", ...; static storage */
	enum probe_verdict verdict;
	const char *detail; /* what was found; of several lines perhaps */
	const char *advice; /* what is missing, in words; "" where nothing is */
};

/* Called for each step, in order, on the caller's thread; first with PROBE_ASKING where it may take time. */
typedef void s3_probe_report(void *arg, const struct probe_step *step);

/* What the nodes of a fleet need beside blobs; names are below the prefix. */
struct s3_probe_fleet {
	const char *told; /* "nodes/": what each writes, and somebody reads and removes */
	const char *read; /* "gc/": what somebody writes, and each reads */
};

/* Tries everything; a step without which others make no sense ends it. True if none has failed. Takes as long
 * as the bucket's answers, timeouts and retries included. `fleet` may be NULL: the bucket is one store's
 * alone.
 */
bool s3_probe(const struct s3_options *o, const struct s3_probe_fleet *fleet, s3_probe_report *report,
	      void *arg);
/* The same for a bucket that is only read: writes nothing. */
bool s3_probe_source(const struct s3_options *o, s3_probe_report *report, void *arg);

#endif
