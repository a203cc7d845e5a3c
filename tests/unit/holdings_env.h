/* Nodes that tell what they hold, in one process: each a database and one storage behind, which is a bucket
 * in memory that they share, with faults of its own in front. */
#ifndef STOWAGE_TESTS_HOLDINGS_ENV_H
#define STOWAGE_TESTS_HOLDINGS_ENV_H

#include "backends/backends.h"
#include "backends/tiered/gc.h"
#include "backends/tiered/holdings.h"
#include "backends/tiered/notes.h"
#include "content/meta.h"
#include "tests/suite/suite.h"

enum { HOLDERS = 3, OBJECT_SIZE = 100 };

struct holder {
	char dir[TEMP_DIR_MAX];
	struct fault_plan plan;
	struct holdings_options options; /* may be changed before a start */
	struct meta *meta;
	struct tiers tiers;
	struct holdings *holdings; /* NULL: it does not run */
	/* How often it was told that it was taken for dead, that some objects may go, and that some that were
	 * refused are not any more. */
	atomic_uint forgotten, marked, returned;
};

struct holders {
	struct backend *bucket;
	struct holder node[HOLDERS];
};

/* Nothing runs yet. */
void holders_make(struct holders *f);
void holders_remove(struct holders *f);
/* Waits for the first exchange. */
void holder_start(struct holders *f, int i);
/* In good order, and as by kill -9. */
void holder_stop(struct holder *n);
void holder_kill(struct holder *n);
/* Does not run, and has lost its database. */
void holder_wipe(struct holder *n);

/* A row without asking: as by a COMMIT; adopting asks first, and is refused or adds the row. */
void holder_commit(struct holder *n, const struct digest *d);
bool holder_adopt(struct holder *n, const struct digest *d);
/* Asks until it is not refused any more, and adopts then. */
void holder_adopt_at_last(struct holder *n, const struct digest *d);
void holder_delete(struct holder *n, const struct digest *d);
/* The node's note in the bucket: its beginning, and whether it has the blob. False where there is none. */
bool holder_note(struct holders *f, int i, struct note_node *ret_note);
bool holder_tells(struct holders *f, int i, const struct digest *d);
/* Its name; "" likewise. */
void holder_name(struct holders *f, int i, char out[NOTE_NAME_SIZE]);

/* An object without a node. */
struct digest object(struct backend *bucket, unsigned seed);
bool has_object(struct backend *bucket, const struct digest *d);
bool has_note(struct backend *bucket, const char *name);
void put_note(struct backend *bucket, const char *name, const char *text);
unsigned count_notes(struct backend *bucket, const char *prefix);

/* A gc that removes whatever is not held, whatever its age, and waits some seconds for the nodes. */
struct gc_options gc_defaults(struct backend *bucket);
struct gc_result gc_good(struct holders *f);
/* No run is under way, and nothing is left of one; or the next gc removes it, when it is old. */
void check_tidy(struct holders *f);
void check_tidy_in_the_end(struct holders *f);

/* Fails the test when that has not come about after some seconds. */
#define wait_for(cond)                                                                                       \
	do {                                                                                                 \
		int64_t until_ = wait_deadline();                                                            \
		while (!(cond))                                                                              \
			wait_a_bit(until_, #cond, __FILE__, __LINE__);                                       \
	} while (0)
int64_t wait_deadline(void);
void wait_a_bit(int64_t until_ns, const char *what, const char *file, int line);

#endif
