/* The queue, as its files see it: queue.c has the table, the order and the threads, upload.c one upload,
 * sendings.c what has been sent of a blob, walk.c what is learnt from the database. */
#ifndef STOWAGE_BACKENDS_TIERED_QUEUE_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_QUEUE_INTERNAL_H

#include "backends/tiered/queue.h"
#include "content/base/lock.h"
#include "content/meta.h"

#define QUEUE_MAGIC 0x71e20003u

enum {
	QUEUE_BUCKETS = 16384,
	QUEUE_SENDINGS = 64, /* sendings of waiting entries that are kept open */
	QUEUE_THREADS = 64,  /* uploads at once, at most */
};

enum entry_state { ENTRY_WAITING /* also OFFERED: then its time is not now */, ENTRY_UPLOADING };

/* A blob that is to be uploaded. It lives while it is in the table, in which `lock` finds it; what is the
 * uploader's belongs to the thread that has it UPLOADING, without a lock. */
struct entry {
	struct entry *next; /* in its bucket */
	struct digest digest;
	enum entry_state state;
	size_t at;          /* in the heap, while WAITING */
	int64_t due_ns;     /* monotonic; of a blob that was never tried: when it was made */
	int64_t created_ns; /* wall clock */
	unsigned failed;    /* uploads in a row */
	unsigned ended;     /* uploads in all, for who waits */
	bool cancelled;     /* the upload that is under way is of no use */
	bool again;         /* ... but another one is wanted, or the row has come meanwhile */
	bool kept;          /* there is a record of a sending (behind.h) */
	bool complained;    /* that it is at fault itself has been logged */

	struct sending *sending; /* open: the uploader's, or of an entry that is WAITING */

	/* The source of its bytes, see sendings.c. */
	struct queue *queue;
	struct blob *blob;
	unsigned readers;
	bool shut; /* no read begins any more */
	uint64_t charge; /* bytes that its reads may still cost: those of a sending that was under way */
	struct stow_err source_err; /* of the first read that failed here; code OK: none */
};

struct queue {
	unsigned magic;
	struct queue_options o;
	struct backend *behind;
	struct meta *meta; /* from the start on */
	pthread_t *threads, walker;
	struct lock lock; /* for all that follows */
	pthread_cond_t change;
	bool started, stopping;

	struct entry *table[QUEUE_BUCKETS];
	struct entry **heap; /* WAITING ones, by due_ns */
	size_t n_heap, heap_cap, n;
	unsigned n_sendings; /* open ones of WAITING entries */
	unsigned uploading;
	bool walk_due, more; /* the database is to be walked; it has some that are not in the table */

	/* The brake. */
	unsigned failures; /* of sendings, in a row */
	bool braked, trying;
	int64_t brake_until_ns, brake_wait_ns;

	int64_t paid_ns; /* monotonic: when what was sent will have been paid for, by `bandwidth` */

	uint64_t uploaded, uploaded_bytes;
	char error[FLEET_TEXT];
	int64_t error_ns;
};

/* How one upload has ended. */
enum upload_end {
	UPLOAD_BEHIND,  /* it is behind, and that is on record */
	UPLOAD_OVER,    /* nothing is to be done: no row, or it was behind already */
	UPLOAD_REFUSED, /* not now */
	UPLOAD_AWAY,    /* the storage could not be asked */
	UPLOAD_FAILED,  /* the storage did not take it */
	UPLOAD_BROKEN,  /* it is the blob's, or this machine's fault */
	UPLOAD_STOPPED, /* cancelled, or the end of all */
};

/* --- queue.c --- */

struct entry *queue_find_locked(struct queue *q, const struct digest *d);
/* Adds it, due by its age; one that is there is given back. NULL where there is no room. */
struct entry *queue_add_locked(struct queue *q, const struct digest *d, int64_t created_ns);
/* Its time comes no later than that. */
void queue_hasten_locked(struct queue *q, struct entry *e, int64_t due_ns);
/* Waits until then, or an earlier change of the queue. */
void queue_pause_locked(struct queue *q, int64_t until_ns);

/* --- upload.c --- */

/* Brings `e`, which is UPLOADING, behind, if it is pending. *ret_sent: the bytes that were sent for it. *err
 * is set for all ends that are failures. */
enum upload_end upload_run(struct queue *q, struct entry *e, uint64_t *ret_sent, struct stow_err *err);
/* It is in a storage behind: that is recorded. The same for NOT_FOUND in all, and here: the row goes. */
int upload_record(struct queue *q, const struct digest *d, uint64_t size, size_t at,
		  struct stow_err *err) MUST_CHECK;
int upload_lose(struct queue *q, const struct digest *d, struct stow_err *err) MUST_CHECK;
/* Asks all storages for certain. NOT_FOUND only where each has said so, UNAVAILABLE where one was not
 * asked. */
int upload_find(struct queue *q, const struct digest *d, struct blob_stat *ret_st, size_t *ret_at,
		struct stow_err *err) MUST_CHECK;

/* --- sendings.c --- */

/* A sending that was the stage's reads from `fast` from now on. False: it has been given up. */
bool sending_adopt(struct queue *q, struct entry *e, struct sending *s);
/* Opens one for the uploader, taking up what was kept. */
int sending_begin(struct queue *q, struct entry *e, uint64_t size, struct stow_err *err) MUST_CHECK;
/* Makes the blob of it. */
int sending_end(struct queue *q, struct entry *e, uint64_t size, unsigned flags,
		struct stow_err *err) MUST_CHECK;
/* Closes what is open, and gives up what was sent where `forget`. No lock held. */
void sending_close(struct queue *q, struct entry *e, bool forget);
/* No read of its bytes runs when it returns, and none begins. No lock held. */
void sending_shut(struct queue *q, struct entry *e);

/* --- walk.c --- */

/* Adds what is pending, as far as there is room. */
int walk_pending(struct queue *q, struct stow_err *err) MUST_CHECK;
/* Adds those of which something has been sent, and gives up what is not pending any more. */
int walk_records(struct queue *q, struct stow_err *err) MUST_CHECK;
/* The thread that looks again whether what is behind is there still. */
void *walk_recheck(void *queue);

#endif
