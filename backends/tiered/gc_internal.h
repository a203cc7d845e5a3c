/* gc.c: a run, step by step. gc_fleet.c: what it reads and writes. gc_explain.c: what a person asks. */
#ifndef STOWAGE_BACKENDS_TIERED_GC_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_GC_INTERNAL_H

#include "backends/tiered/gc.h"
#include "backends/tiered/notes.h"

enum {
	GC_NODES_MAX = 65536,
};

/* A node, as its note has it. */
struct gc_node {
	char name[NOTE_NAME_SIZE]; /* the note's, whole */
	int64_t modified_ns;
	bool read; /* what follows is known */
	bool dead;
	struct note_node note;
};

struct gc_fleet {
	struct gc_node *v; /* owned; in the order of their names */
	size_t n;
};

struct gc {
	const struct gc_options *o;
	const struct behind_ops *behind;
	struct gc_result r;
	int64_t now_ns; /* by the bucket's clock, when it was asked last */
	struct gc_fleet fleet;
};

/* Of a bucket that keeps notes; the bucket's clock is read. */
int gc_begin(struct gc *g, const struct gc_options *o, struct stow_err *err) MUST_CHECK;
void gc_end(struct gc *g);

void gc_say(const struct gc *g, const char *fmt, ...) PRINTF(2, 3);
/* CANCELLED, if it was told to stop. */
int gc_go_on(const struct gc *g, struct stow_err *err) MUST_CHECK;
/* Waits; CANCELLED likewise. */
int gc_sleep(const struct gc *g, int64_t ns, struct stow_err *err) MUST_CHECK;
int gc_read_clock(struct gc *g, struct stow_err *err) MUST_CHECK;

/* "<id> (worker-7)". */
enum { GC_NODE_TEXT = NOTE_NAME_SIZE + NOTE_HOST_MAX + 4 };
void gc_node_text(const struct gc_node *n, char out[GC_NODE_TEXT]);

/* The nodes that there are now; what was known of them is forgotten, but for living ones that have taken note
 * of `run` ("": of none). */
int gc_list_nodes(struct gc *g, const char *run, struct stow_err *err) MUST_CHECK;
/* Reads the node's note; where it lives, `visit` (may be NULL) gets its keys. NOT_FOUND where it has gone. */
int gc_read_node(struct gc *g, struct gc_node *n, void (*visit)(void *arg, uint64_t key), void *arg,
		 struct stow_err *err) MUST_CHECK;

/* The run that there is; r->run is "" where there is none. */
int gc_read_run(struct gc *g, struct note_run *ret_r, struct stow_err *err) MUST_CHECK;
int gc_read_marks(struct gc *g, const char *run, struct note_mark **ret_v, size_t *ret_n,
		  struct stow_err *err) MUST_CHECK;
/* Makes a run with these marks. ALREADY_EXISTS where somebody else has just made one. */
int gc_make_run(struct gc *g, const struct note_mark *v, size_t n, struct stow_err *err) MUST_CHECK;
/* From now on no node may keep what is marked. */
int gc_make_sweep(struct gc *g, const struct note_run *run, struct stow_err *err) MUST_CHECK;
/* The run is over. */
int gc_remove_run(struct gc *g, const struct note_run *run, struct stow_err *err) MUST_CHECK;
/* What killed runs have left, and the notes of dead nodes. */
int gc_tidy(struct gc *g, struct stow_err *err) MUST_CHECK;

#endif
