/* What a tiered backend tells of itself, and can be told: for `stowage status` and `stowage flush`. */
#ifndef STOWAGE_CONTENT_FLEET_H
#define STOWAGE_CONTENT_FLEET_H

#include "content/backend.h"

enum { FLEET_TEXT = 512, FLEET_BEHIND_MAX = 9 };

/* One storage behind. */
struct fleet_behind {
	char name[FLEET_TEXT];  /* for people: "s3://layers/fleet-a" */
	bool away;              /* taken for unreachable: it is asked nothing but whether it is back */
	bool answered;          /* it has, since the start or since it is back; else nothing is known yet */
	int64_t since_ns;       /* wall clock, when that began */
	char error[FLEET_TEXT]; /* why; "" if it is not */
};

struct fleet_status {
	/* The queue of uploads. */
	uint64_t pending, pending_bytes;
	int64_t oldest_ns; /* wall clock, when the oldest of them was committed; 0: none is known */
	unsigned uploading;
	uint64_t uploaded, uploaded_bytes; /* since the start */
	char upload_error[FLEET_TEXT];     /* the last one, until one succeeds; "" */
	int64_t upload_error_ns;

	/* Bytes on this machine. */
	uint64_t cache_bytes;
	uint64_t cache_limit; /* 0: none */
	uint64_t evicted, evicted_bytes;

	/* Bytes that come here. */
	unsigned fetching;
	uint64_t fetched, fetched_bytes;

	size_t n_behind;
	struct fleet_behind behind[FLEET_BEHIND_MAX];
};

struct fleet_ops {
	/* Does not block, but for reading the database. */
	int (*status)(struct backend *b, struct fleet_status *ret_st, struct stow_err *err);
	/* What is pending is tried now, not when its time comes, and so is a storage that was away. Does not
	 * block.
	 */
	void (*flush)(struct backend *b);
};

#endif
