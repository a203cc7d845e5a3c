/* The fetches, as their files see them: fetch.c has the table and the life of a fetch, fetch_pump.c the
 * threads that bring the bytes, fetch_source.c where these come from, fetch_read.c the readers, fetch_kept.c
 * the stages of an earlier process. */
#ifndef STOWAGE_BACKENDS_TIERED_FETCH_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_FETCH_INTERNAL_H

#include "backends/tiered/fetch.h"
#include "content/base/hash.h"
#include "content/base/lock.h"
#include "content/meta.h"

#define FETCHES_MAGIC 0x71e20006u
#define FETCH_READER_MAGIC 0x71e20007u

enum {
	FETCH_BUCKETS = 1024,
	FETCH_READ_THREADS = 8, /* beside those of prefetches */
	FETCH_PREFETCH_MAX = 64,
	FETCH_KEPT_MAX = 65536, /* stages that are kept for later; one too many is not */
};

enum fetch_state { FETCH_WANTED, FETCH_COMING, FETCH_BROKEN, FETCH_STREAMED, FETCH_GOOD, FETCH_FAILED };

/* A handle of a backend, blob or stage, that several threads use: the last one closes it. */
struct held {
	unsigned users; /* under the lock */
	struct blob *blob;
	size_t at; /* which storage behind has it */
	struct stage *stage;
};

/* What is not marked otherwise is under the lock; the hash is that of the first `done` bytes and belongs to
 * who has set `running` or `proving`. */
struct fetch {
	struct fetch *next;           /* in its bucket */
	struct fetch *before, *after; /* in its list */
	struct fetches *home;         /* constant, as the next two */
	struct digest digest;
	char name[STAGE_NAME_LEN + 1];
	pthread_cond_t change;

	enum fetch_state state;
	struct stow_err err; /* FAILED: why; else the last failure, or why it has no stage */
	unsigned users;      /* the table, each reader, the thread */
	unsigned readers;    /* open ones */
	unsigned waiting;    /* threads that wait for a change of it */
	bool listed;         /* in the table, and in a list */
	bool queued;         /* ... that of prefetches that have not begun */
	bool prefetch;       /* wanted without a reader, too */
	bool anew;           /* one of it has ended that was of several origins */
	bool running;        /* a thread works on it */
	bool staging;        /* ... and writes to the stage or publishes it */
	bool proving;        /* a reader hashes bytes, while STREAMED */
	bool opened;         /* size is known */
	bool streamed;       /* no stage any more */
	bool proven;         /* ... and the hash of what is behind is right */
	bool mixed;          /* the bytes come from several origins, or in part from an earlier process */
	bool direct;         /* a reader has bytes that did not go through the stage */
	uint64_t size;
	uint64_t have;          /* bytes in the stage */
	uint64_t done;          /* of these hashed; while STREAMED: hashed as they passed */
	size_t at;              /* the last source's origin: its storage, */
	uint64_t version;       /* and which of the objects that have had the name (struct blob) */
	struct held *source;    /* NULL: to be opened */
	struct held *stage;     /* NULL: none yet, or none any more */
	struct cache_room room; /* the stage's; while `staging` its thread's */
	struct hash *hash;      /* NULL before `opened` */
	unsigned failures;      /* of all, for who waits for the opening */
	unsigned tries;         /* failures since the last byte */
	int64_t retry_ns;       /* monotonic; BROKEN: not before */
	int64_t progress_ns;    /* monotonic; when the last byte came */
};

/* Why a blob has not come. */
struct fetch_failure {
	struct digest digest;
	struct stow_err err;
};

struct fetch_list {
	struct fetch *first, *last;
	unsigned n;
};

/* A stage that no fetch has: one that ended left it, or an earlier process. */
struct kept_stage {
	struct kept_stage *next;
	char name[STAGE_NAME_LEN + 1];
	struct cache_room room;
	bool busy; /* somebody looks at it, or removes it, without the lock */
};

struct fetches {
	unsigned magic;
	struct fetches_options o;
	int64_t patience_ns;
	struct meta *meta; /* from the start on */
	unsigned n_threads;
	pthread_t *threads;
	struct lock lock;
	pthread_cond_t work;
	bool recover; /* kept stages are to be looked at */
	bool started, stopping;
	struct fetch *table[FETCH_BUCKETS];
	struct fetch_list active; /* have a reader or have begun; who has waited longest first */
	struct fetch_list queue;  /* prefetches that have not begun, oldest first */
	struct kept_stage *kept;  /* oldest first */
	unsigned n_kept;
	pthread_cond_t kept_change; /* one is not busy any more, or gone */
	unsigned open;              /* readers */
	uint64_t fetched, fetched_bytes;
	bool told_large;                             /* that there are blobs that can never be kept */
	struct fetch_failure failed[FETCH_FAILURES]; /* a ring */
	size_t next_failed;
};

struct fetch_reader {
	unsigned magic;
	struct fetch *fetch;
};

/* --- fetch.c; with the lock held --- */

static inline bool fetch_ended(const struct fetch *f)
{
	return f->state == FETCH_GOOD || f->state == FETCH_FAILED;
}
struct fetch *fetch_find_locked(struct fetches *fs, const struct digest *d);
void fetch_to_end_locked(struct fetch_list *l, struct fetch *f); /* of the list that it is in */
void fetch_unuse_locked(struct fetch *f);
/* The fetch ends: GOOD, or FAILED with `err`. Its bytes, and those that were kept before it, stay in their
 * stage where `keep`; else none is left. Gives up the lock meanwhile. Does nothing where it has ended. */
void fetch_end_locked(struct fetch *f, enum fetch_state state, const struct stow_err *err, bool keep);
/* Ends it, where nobody needs it any more. Gives up the lock then. */
void fetch_settle_locked(struct fetch *f);
/* It has no source any more; it is tried again after a while. Gives up the lock. */
void fetch_break_locked(struct fetch *f, struct held *source, const struct stow_err *err);
/* Its hash is another one. Gives up the lock. */
void fetch_wrong_locked(struct fetch *f);
/* Waits for a change. False when `until_mono_ns` has come. */
bool fetch_wait_locked(struct fetch *f, int64_t until_mono_ns);
/* The end of one use; closes it with the last. Without the lock. */
void held_put(struct fetches *fs, struct held *h);

/* --- fetch_pump.c --- */

void *fetch_thread(void *arg);

/* --- fetch_source.c --- */

struct held *held_new(void);
/* The blob at a storage that has it. NULL: *err says why, NOT_FOUND or DATA_LOSS where all have answered,
 * UNAVAILABLE where one could not be asked. */
struct held *fetch_open_behind(const struct fetch *f, struct stow_err *err);
/* Whether it gives the same bytes as the fetch's last source. */
bool fetch_is_same_origin(const struct fetch *f, const struct held *source);
/* Reads `n` bytes at `off`, fewer only by failing, and tells the circuit how that went, unless a flag keeps
 * it from being the storage's doing. All that one source gives is of one object: ABORTED where that has been
 * replaced. */
int fetch_from_behind(struct fetches *fs, struct held *source, void *to, size_t n, uint64_t off,
		      unsigned flags, struct stow_err *err) MUST_CHECK;

/* --- fetch_kept.c --- */

/* The name of the digest's stage. */
void fetch_stage_name(const struct fetches *fs, const struct digest *d, char ret_name[STAGE_NAME_LEN + 1]);
/* The fetch's stage, kept or new, and how many bytes it has. */
int fetch_stage_open(const struct fetch *f, struct stage **ret_st, uint64_t *ret_have,
		     struct stow_err *err) MUST_CHECK;
/* Wants the blobs whose stages an earlier process has kept, and removes what nobody wants. */
void fetch_recover(struct fetches *fs);

/* With the lock held: */
/* The stage is kept for later; its room goes with it, and *room is empty then. */
void fetch_keep_locked(struct fetches *fs, const char *name, struct cache_room *room);
/* It is the caller's, who has a fetch of that name: its room, empty if it was not kept. Waits for who is at
 * it. */
struct cache_room fetch_unkeep_locked(struct fetches *fs, const char *name);
/* No stage of that name is left, where no fetch has it. Gives up the lock meanwhile. Returns the bytes that
 * have counted. */
uint64_t fetch_drop_locked(struct fetches *fs, const char *name);

#endif
