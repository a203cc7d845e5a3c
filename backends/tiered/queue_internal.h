/* The queue, as its files see it: queue.c has the threads, queue_table.c
 * the order; upload.c is one upload,
 * sending.c what is sent of a blob, walk.c what is learnt from the database. */
#ifndef STOWAGE_BACKENDS_TIERED_QUEUE_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_QUEUE_INTERNAL_H

#include "backends/tiered/queue.h"
#include "content/base/lock.h"
#include "content/meta.h"

#define QUEUE_MAGIC 0x71e20003u

enum {
	QUEUE_BUCKETS = 16384,
	QUEUE_SENDINGS = 64, /* of entries that wait, which are kept open */
};

/* Of queue.h: OFFERED is WAITING for a time that is yet to be set. BUSY is UPLOADING, and the moment in which
 * an entry takes a sending over. */
enum entry_state { ENTRY_WAITING, ENTRY_BUSY };

/* A blob that is to be uploaded, for as long as the table has it. All is under the queue's lock, except what
 * belongs to the thread that has it BUSY. */
struct entry {
	struct entry *next; /* in its bucket */
	struct queue *queue;
	struct digest digest;
	enum entry_state state;
	size_t at;          /* in the heap, while WAITING */
	int64_t due_ns;     /* monotonic; of one that was never tried: when it was committed */
	int64_t created_ns; /* wall clock */
	unsigned failed;    /* uploads in a row */
	unsigned held;      /* others that look at it while they have not got the lock */
	bool cancelled;     /* what is under way is of no use any more */
	bool again;         /* it is wanted, whatever comes of what is under way */
	bool offered;       /* it has no row yet */
	bool complained;    /* it has been logged that it is at fault itself */

	/* Of the thread that has it BUSY. */
	struct sending *sending; /* open */
	bool kept;               /* there is a record of one (behind.h) */

	/* The source of its bytes: sending.c's, under the lock. */
	struct blob *blob; /* open in `fast`; lent to the readers */
	unsigned readers;
	bool shut;                   /* no read begins any more */
	uint64_t charge;             /* bytes that reads may still cost (queue_options.bandwidth) */
	struct stow_err *source_err; /* of the first read that has failed here; NULL: none */
};

struct queue {
	unsigned magic;
	struct queue_options o;
	struct backend *behind;
	struct meta *meta; /* from the start on */
	pthread_t *threads, rechecker;
	bool started;

	struct lock lock;      /* for all that follows */
	pthread_cond_t change; /* of an entry, or the end: for whoever waits for that */
	pthread_cond_t work;   /* there may be something to do earlier than the threads know */
	bool stopping;
	struct entry *table[QUEUE_BUCKETS];
	struct entry **heap; /* WAITING ones, by due_ns */
	size_t n_heap, heap_cap;
	size_t n, max;       /* entries; QUEUE_ENTRIES, but for tests */
	unsigned n_sendings; /* open, of WAITING ones */
	unsigned uploading;
	uint64_t flushes; /* so far */
	int64_t walk_ns;  /* monotonic: when the database is to be walked */
	bool walked;      /* that has been done once: nothing is uploaded before */
	bool more;        /* there was no room for all that is pending */

	/* The brake. */
	unsigned failures; /* of sendings, in a row */
	bool braked, trying;
	int64_t brake_ns, brake_wait_ns; /* monotonic: the next try; the wait before the one after it */

	int64_t paid_ns; /* monotonic: when all that was sent will have been paid for */

	uint64_t uploaded, uploaded_bytes;
	char error[FLEET_TEXT];
	int64_t error_ns;
};

/* How one upload has ended. */
enum upload_end {
	END_SENT,    /* it was sent, it is behind, and that is on record */
	END_FOUND,   /* it was there already, the same */
	END_OVER,    /* nothing is to be done: it has no row, or is known to be behind */
	END_REFUSED, /* not now */
	END_AWAY,    /* the storages could not be asked */
	END_FAILED,  /* the storage did not take it */
	END_BROKEN,  /* it is this blob's fault, or this machine's */
	END_STOPPED, /* cancelled, or the end of all */
};

/* --- queue_table.c --- */

struct entry *queue_find_locked(struct queue *q, const struct digest *d);
/* The entry, a new one if there is none, which is WAITING and due by its age; NULL where there is no room. */
struct entry *queue_add_locked(struct queue *q, const struct digest *d, int64_t created_ns);
/* A new one, BUSY; there is none yet. NULL where there is no room. */
struct entry *queue_table_add_locked(struct queue *q, const struct digest *d, int64_t created_ns);
/* Frees one that is BUSY, when nobody looks at it any more. */
void queue_table_remove_locked(struct queue *q, struct entry *e);
/* BUSY becomes WAITING, and the other way round. */
void queue_defer_locked(struct queue *q, struct entry *e, int64_t due_ns);
void queue_take_locked(struct queue *q, struct entry *e);
/* The time of one that is WAITING comes no later than that. */
void queue_hasten_locked(struct queue *q, struct entry *e, int64_t due_ns);
/* After due_ns of any of them was changed. */
void queue_sort_locked(struct queue *q);

/* --- queue.c --- */

/* Waits for a change of an entry, or the end, until then at the latest. */
void queue_pause_locked(struct queue *q, int64_t until_ns);

/* --- upload.c --- */

/* Brings `e`, which is BUSY, behind, if it is pending. *ret_size: how many bytes that is. *err is set where
 * the end is a failure. */
enum upload_end queue_upload(struct queue *q, struct entry *e, uint64_t *ret_size, struct stow_err *err);
/* Asks all storages for certain. NOT_FOUND only where each has said so, UNAVAILABLE where one could not be
 * asked. *ret_at is an index of tiers. */
int queue_look_behind(struct queue *q, const struct digest *d, uint64_t size, size_t *ret_at,
		      struct stow_err *err) MUST_CHECK;

/* --- sending.c --- */

/* A sending that was a stage's reads from `fast` from now on; or it is given up. */
void queue_send_adopt(struct queue *q, struct entry *e, struct sending *s, uint64_t size);
/* Makes the blob of its `size` bytes; begins where that has not been done, taking up what was kept. */
int queue_send(struct queue *q, struct entry *e, uint64_t size, unsigned flags,
	       struct stow_err *err) MUST_CHECK;
/* Closes what is open; what was sent is kept or, where `forget`, given up. No lock held. */
void queue_send_close(struct queue *q, struct entry *e, bool forget);
/* No read of its bytes runs when it returns, and none begins. */
void queue_send_shut_locked(struct queue *q, struct entry *e);

/* --- walk.c --- */

/* Adds what is pending, as far as there is room. */
int queue_walk_pending(struct queue *q, struct stow_err *err) MUST_CHECK;
/* Adds those of which something has been sent, and gives up what is not pending any more. */
int queue_walk_records(struct queue *q, struct stow_err *err) MUST_CHECK;
/* The thread that looks whether what is behind is there still. */
void *queue_recheck(void *queue);

#endif
