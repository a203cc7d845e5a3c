/* probe.c: a store's bucket. probe_shared.c: what a fleet needs of it beside that, and a bucket that is only
 * read. */
#ifndef STOWAGE_BACKENDS_S3_PROBE_INTERNAL_H
#define STOWAGE_BACKENDS_S3_PROBE_INTERNAL_H

#include "backends/s3/probe.h"
#include "backends/s3/s3_internal.h"

enum { PROBE_TEXT_SIZE = 14 }; /* bytes of what is put */

struct probe {
	const struct s3_options *o;
	const char *table; /* of the configuration: "remote.s3" */
	struct s3_session *session;
	struct s3_client *client;
	s3_probe_report *report;
	void *arg;
	bool failed;
	char *prefix; /* of all keys: "", or with its slash at the end */
	char *seen;   /* the key of a blob that was listed; NULL: there is none */
	uint64_t seen_size;
	char *key;       /* of the small object that is written */
	char *multipart; /* of the one in parts */
	char id[S3_UPLOAD_ID_MAX + 1];
};

/* From credentials to the list. False: there is no point in going on. */
bool probe_begin(struct probe *p, const struct s3_options *o);
void probe_end(struct probe *p); /* also after a beginning that failed. Fit for CLEANUP */

void probe_tell(struct probe *p, const char *name, enum probe_verdict v, const char *advice, const char *fmt,
		...) PRINTF(5, 6);
/* That it is being tried. */
void probe_ask(struct probe *p, const char *name);
/* That a step has failed, and what helps: it needs `action`. */
void probe_tell_failure(struct probe *p, const char *name, const char *action, const struct stow_err *err);

/* Some text of PROBE_TEXT_SIZE, to be put. */
struct s3_body probe_body(void);
/* What was learnt of clock and region. */
void probe_learnt(struct probe *p);
void probe_fleet(struct probe *p, const struct s3_probe_fleet *fleet);

#endif
