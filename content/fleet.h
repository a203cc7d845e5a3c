/* What a tiered backend tells of itself, and can be told: for `stowage status`, `flush`, `pin` and
 * `prefetch`. */
#ifndef STOWAGE_CONTENT_FLEET_H
#define STOWAGE_CONTENT_FLEET_H

#include "content/backend.h"

enum { FLEET_TEXT = 512, FLEET_BEHIND_MAX = 9 };
static const int64_t FLEET_LEASE_NS = INT64_C(10000000000);

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

	char node[FLEET_TEXT]; /* what the fleet calls this node; "": nothing is told of it */
	/* What is held here cannot be told to the fleet. */
	int64_t untold_ns;             /* wall clock, since when; 0: it is told */
	char untold_error[FLEET_TEXT]; /* why */
	bool unshared;                 /* so nothing is looked for behind, nor brought there */

	/* Bytes on this machine. */
	uint64_t cache_bytes;
	uint64_t cache_limit; /* 0: none */
	/* That may come without anything having to go; UINT64_MAX: as many as there are. */
	uint64_t cache_room;
	uint64_t evicted, evicted_bytes;
	uint64_t pinned, pinned_bytes; /* are to stay here; they need not have come yet */

	/* Bytes that come here. */
	unsigned fetching;
	uint64_t fetched, fetched_bytes;

	size_t n_behind;
	struct fleet_behind behind[FLEET_BEHIND_MAX];
};

/* What a pin, or its end, has come to. */
struct fleet_pinned {
	uint64_t blobs, bytes;
	uint64_t absent, absent_bytes; /* of these: not here yet */
};

/* What an image's manifest or index refers to. */
struct fleet_child {
	struct digest digest;
	uint64_t size;    /* as the manifest says; 0 if it does not */
	bool of_an_index; /* it is a manifest or an index itself, of one platform among others */
};

enum fleet_place {
	FLEET_ABSENT, /* it is not here, and nobody has asked for it, or too many wait already */
	FLEET_COMING,
	FLEET_HERE,
	FLEET_FAILED, /* it was asked for, and did not come */
};
/* How it stands with a blob that is to come here. Who wants many has a lease, a number of his own: as long as
 * he goes on asking by it, and FLEET_LEASE_NS more, none that he has asked for is evicted. */
struct fleet_brought {
	enum fleet_place place;
	uint64_t size;
	struct stow_err why;          /* FAILED */
	struct fleet_child *children; /* HERE: what it refers to; owned */
	size_t n_children;
};
void fleet_brought_free(struct fleet_brought *b); /* what it holds; fit for CLEANUP */

struct fleet_ops {
	/* Does not block, but for reading the database. */
	int (*status)(struct backend *b, struct fleet_status *ret_st, struct stow_err *err);
	/* What is pending is tried now, not when its time comes, and so is a storage that was away. Does not
	 * block.
	 */
	void (*flush)(struct backend *b);
	/* A blob of the node's view, and what it refers to as far as that is in the view, is never evicted,
	 * until unpin() or its end; where its bytes are not here they are brought, again and again until they
	 * are. Reads manifests, from behind where they are not here. RESOURCE_EXHAUSTED where more would be
	 * pinned than may stay here. */
	int (*pin)(struct backend *b, const struct digest *d, struct fleet_pinned *ret_p,
		   struct stow_err *err);
	/* What other pins refer to stays pinned: FAILED_PRECONDITION where that is `d` itself. NOT_FOUND if
	 * it is not pinned. */
	int (*unpin)(struct backend *b, const struct digest *d, struct fleet_pinned *ret_p,
		     struct stow_err *err);
	/* How it stands with a blob of the view, which has `size` bytes; with `begin` it is asked for where
	 * it is not here. It has FAILED with FAILED_PRECONDITION where nothing is brought that nobody reads.
	 */
	int (*bring)(struct backend *b, const struct digest *d, uint64_t size, int64_t lease, bool begin,
		     struct fleet_brought *ret_b, struct stow_err *err);
};

#endif
