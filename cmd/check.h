/* Checking one blob: are its bytes there, as many as recorded, and do they hash to its name? */
#ifndef STOWAGE_CMD_CHECK_H
#define STOWAGE_CMD_CHECK_H

#include "cmd/progress.h"
#include "content/backend.h"

enum verdict {
	VERDICT_OK,
	VERDICT_GONE,       /* neither record nor bytes: deleted meanwhile, or never there */
	VERDICT_ELSEWHERE,  /* no bytes, but none are needed: the storage behind has them */
	VERDICT_STOPPED,    /* we were told to stop: nothing is known */
	VERDICT_DAMAGED,    /* the bytes hash to something else */
	VERDICT_TRUNCATED,  /* more or fewer bytes than recorded */
	VERDICT_MISSING,    /* recorded, but there are no bytes */
	VERDICT_UNREADABLE, /* an input/output error, or no file at all */
	VERDICT_FORBIDDEN,  /* unreadable for us: says nothing about the bytes */
	VERDICT_COUNT,
};
/* "damaged" and so on; static storage. */
const char *verdict_name(enum verdict v);
static inline bool verdict_is_bad(enum verdict v)
{
	return v >= VERDICT_DAMAGED;
}

enum { CHECK_DETAIL_MAX = 640 };

struct check {
	struct backend *backend; /* borrowed, like all here */
	/* The recorded size; NOT_FOUND if there is no record. */
	int (*lookup)(void *arg, const struct digest *d, uint64_t *ret_size, struct stow_err *err);
	/* Whether the storage behind is known to have it; NULL: there is none. */
	bool (*elsewhere)(void *arg, const struct digest *d);
	void *arg;
	struct progress *progress;
	struct brake *brake;
	const atomic_bool *stop;
	uint64_t bytes; /* that were read and counted */
	bool again;     /* a second look: neither counted nor progress */
};

/* Whatever looks bad is looked at once more from the start, record and all: others may have deleted
 * and written the blob in the meantime. `detail` says what is wrong, for people. Fails only if the
 * database cannot be read. */
int check_blob(struct check *c, const struct digest *d, enum verdict *ret_v, char detail[CHECK_DETAIL_MAX],
	       struct stow_err *err) MUST_CHECK;

#endif
