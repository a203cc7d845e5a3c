/* An upload, as its files see it: upload.c has its life and its end, upload_parts.c the parts,
 * upload_source.c where the bytes come from. */
#ifndef STOWAGE_BACKENDS_S3_UPLOAD_INTERNAL_H
#define STOWAGE_BACKENDS_S3_UPLOAD_INTERNAL_H

#include "backends/s3/s3_internal.h"
#include "backends/s3/sidecar.h"

#define UPLOAD_MAGIC 0x53330004u

enum upload_state { UPLOAD_NONE, UPLOAD_RESUMED, UPLOAD_OPEN, UPLOAD_THERE, UPLOAD_DONE };

enum part_state { PART_UNSENT, PART_SENDING, PART_SENT };
struct upload_part {
	enum part_state state;
	uint64_t size; /* that was sent; good only if the part has still that length */
	struct s3_part sent;
};

/* A part under way. */
struct upload_slot {
	struct s3_op op;
	struct upload *upload;
	uint64_t offset; /* of the part, in the source */
	unsigned number; /* 0: the slot is free */
	unsigned round;  /* the upload's, when it was started */
};

struct upload {
	unsigned magic;
	struct s3 *s;
	struct s3_client *client; /* a fork of the backend's, so that it can be stopped alone */
	struct job pump;
	bool replace; /* what the bucket has under the key is wrong */

	/* Of whoever works on it: the pump while `pumping`, else the user. */
	enum upload_state state;
	char *key; /* NULL: not known */
	struct sidecar record;

	struct lock lock; /* for all that follows */
	pthread_cond_t change;
	char owner[SENDING_RECORD_MAX]; /* constant while `filing` */
	sending_read *read;             /* these two, while `reading` */
	void *arg;
	unsigned reading; /* reads of the source under way */
	bool filing;      /* the record's file is being made, or removed */
	bool moving;      /* neither begins */
	uint64_t have;    /* bytes that the source has */
	uint64_t total;   /* that it will have, as far as we know; 0: not known */
	bool pumping;     /* the pump is queued, or runs */
	bool eager;       /* the pump may be queued */
	bool stopping;    /* nothing new is sent */
	unsigned active;
	unsigned round; /* counts the calls of upload_finish() */
	/* Of the first part of this round that has failed; code OK: none. One of an earlier round is sent
	 * again. */
	struct stow_err failure;
	struct upload_part *parts;
	unsigned n_parts;
	struct upload_slot *slots; /* upload_concurrency of them */
};

/* The bucket is asked what it has, and for an upload where it has none. Waits. Afterwards the state is OPEN
 * or THERE. `size` is the object's that counts as being there already; 0: any. */
int upload_begin(struct upload *u, uint64_t size, struct stow_err *err) MUST_CHECK;
/* Starts what can be started of the first `n` parts, of which the last one ends at `end`. Hashes them first,
 * where that is needed. True if all of them have been sent. */
bool upload_send(struct upload *u, unsigned n, uint64_t end);
/* Reads the source, whichever it is now. */
int upload_read(struct upload *u, uint64_t off, void *to, size_t n, struct stow_err *err) MUST_CHECK;
/* Around what is done to the record's file beside others: the owner is who it is in between. */
void upload_file_begin(struct upload *u);
void upload_file_end(struct upload *u);
/* Forgets all parts; nothing is under way. */
void upload_parts_clear(struct upload *u);
/* Has the pump run, if it is of use. */
void upload_pump_locked(struct upload *u);
void upload_pump_run(struct job *j);
/* Takes the pump from the pool's queue, where it has not begun. */
void upload_withdraw_pump_locked(struct upload *u);
/* Ends what is under way, the pump too, whatever it waits for. Nothing new is sent until `stopping` is unset.
 */
void upload_quiesce(struct upload *u);

#endif
