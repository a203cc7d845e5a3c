/* The texts by which a fleet agrees on what may be removed, and where they are: notes in the bucket
 * (content/behind.h). holdings.h has the protocol.
 *
 *   nodes/<name>        what a node holds       a key a line: the first 16 hex digits of a digest
 *   gc/run              that there is a run     no lines
 *   gc/marks-<run>      what it is to remove    "<digest> <size>" a line
 *   gc/sweep-<run>      that it has begun to    no lines
 *   gc/work-<run>-<id>  that somebody does      no lines
 *   gc/clock            nothing; it is there for its time of change
 *
 * Each is lines of text: its kind and version, fields ("time 1790000000000000000"), the lines of the table
 * above, and at last "end" and how many these were, without which it has been cut off.
 *
 * Pure, but for note_new_run(). */
#ifndef STOWAGE_BACKENDS_TIERED_NOTES_H
#define STOWAGE_BACKENDS_TIERED_NOTES_H

#include "backends/tiered/keyset.h"
#include "content/behind.h"

#define NOTE_NODES "nodes/"
#define NOTE_GC "gc/"
#define NOTE_RUN NOTE_GC "run"
#define NOTE_MARKS NOTE_GC "marks-"
#define NOTE_SWEEP NOTE_GC "sweep-"
#define NOTE_WORK NOTE_GC "work-"
#define NOTE_CLOCK NOTE_GC "clock"

enum {
	NOTE_RUN_MAX = 32, /* a run's id and a NUL */
	NOTE_NAME_SIZE = NOTE_NAME_MAX + 1,
	NOTE_HOST_MAX = 65, /* of a node, for people */
	/* Of a run. Each node reads them whole: some 24 MB. */
	NOTE_MARKS_LIMIT = 1 << 18,
	NOTE_SMALL_LIMIT = 4096, /* bytes of a note without lines */
	NOTE_LIMIT = 128 << 20,  /* bytes of any: some 7 million keys */
};

/* A random name of a run: 16 hex digits. */
int note_new_run(char ret_run[NOTE_RUN_MAX], struct stow_err *err) MUST_CHECK;

/* "<prefix><run>". */
void note_name(char ret_name[NOTE_NAME_SIZE], const char *prefix, const char *run);

/* --- what a node holds --- */

struct note_node {
	char host[NOTE_HOST_MAX]; /* the machine's name */
	int64_t time_ns;          /* when it was written, by its clock */
	int64_t grace_ns;         /* after which it is taken for dead */
	bool stopped;           /* it does not run: when it does again, it tells before it adopts anything */
	char run[NOTE_RUN_MAX]; /* the run whose marks it respects; "" */
};

/* Writing: the beginning, keys, and the end. */
int note_node_begin(struct buf *to, const struct note_node *n, struct stow_err *err) MUST_CHECK;
int note_node_key(struct buf *to, uint64_t key, struct stow_err *err) MUST_CHECK;
int note_node_end(struct buf *to, uint64_t n_keys, struct stow_err *err) MUST_CHECK;

/* Reading all. `visit` (may be NULL: only the beginning is read, and neither lines nor end are looked at)
 * gets the keys. DATA_LOSS where it is no such note, or cut off; FAILED_PRECONDITION where it is of a newer
 * version. */
int note_node_read(const struct buf *from, struct note_node *ret_n, void (*visit)(void *arg, uint64_t key),
		   void *arg, struct stow_err *err) MUST_CHECK;

/* --- a run --- */

struct note_run {
	char run[NOTE_RUN_MAX];
	int64_t time_ns; /* when it began */
};
int note_run_write(struct buf *to, const struct note_run *r, struct stow_err *err) MUST_CHECK;
int note_run_read(const struct buf *from, struct note_run *ret_r, struct stow_err *err) MUST_CHECK;

/* --- its marks --- */

struct note_mark {
	struct digest digest;
	uint64_t size;
};
int note_marks_write(struct buf *to, const struct note_run *r, const struct note_mark *v, size_t n,
		     struct stow_err *err) MUST_CHECK;
/* They must be of the run `run`. Where it fails, some may have been visited. */
int note_marks_read(const struct buf *from, const char *run,
		    void (*visit)(void *arg, const struct note_mark *m), void *arg,
		    struct stow_err *err) MUST_CHECK;

#endif
