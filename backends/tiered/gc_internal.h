/* gc.c: a run, step by step. gc_remove.c: removing many objects at once. gc_fleet.c: what it reads and
 * writes. gc_explain.c: what a person asks. */
#ifndef STOWAGE_BACKENDS_TIERED_GC_INTERNAL_H
#define STOWAGE_BACKENDS_TIERED_GC_INTERNAL_H

#include "backends/tiered/gc.h"
#include "backends/tiered/notes.h"

enum {
	GC_NODES_MAX = 65536,
	GC_FOUND_MAX = 1 << 20, /* some 80 MB */
};
/* After a look at gc/run that has found it, nothing that relies on that is asked of the bucket any more. */
#define GC_TRUST_NS (INT64_C(15) * 1000000000)

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
	int64_t listed_ns; /* when, by the bucket's clock */
};

/* What a look at all objects has found that no node held and that was old enough: what one run after the
 * other marks, so that a large bucket is not listed for each. Others may have removed some meanwhile, and
 * nodes may have come to hold some: each run asks them anew. */
struct gc_found {
	struct note_mark *v; /* owned */
	size_t n, cap;
	size_t at;    /* those before have been marked */
	bool cut_off; /* there were more */
};

struct gc {
	const struct gc_options *o;
	const struct behind_ops *behind;
	struct gc_result r;
	int64_t now_ns; /* by the bucket's clock, when it was asked last */
	struct gc_fleet fleet;
	struct gc_found found;
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

/* The nodes that there are now; what was known of them is forgotten, but where `run` is not "" for living
 * ones that have taken note of it, and those that have told nothing since. */
int gc_list_nodes(struct gc *g, const char *run, struct stow_err *err) MUST_CHECK;
/* Reads the node's note; where it lives, `visit` (may be NULL) gets its keys. NOT_FOUND where it has gone. */
int gc_read_node(struct gc *g, struct gc_node *n, void (*visit)(void *arg, uint64_t key), void *arg,
		 struct stow_err *err) MUST_CHECK;

/* The run that there is; r->run is "" where there is none. */
int gc_read_run(struct gc *g, struct note_run *ret_r, struct stow_err *err) MUST_CHECK;
/* *ret_same: the run is still the one. */
int gc_check_run(struct gc *g, const struct note_run *run, bool *ret_same, struct stow_err *err) MUST_CHECK;
/* *ret_v is to be freed. */
int gc_read_marks(struct gc *g, const char *run, struct note_mark **ret_v, size_t *ret_n,
		  struct stow_err *err) MUST_CHECK;
/* Makes a run with these marks. ALREADY_EXISTS where somebody else has just made one. */
int gc_make_run(struct gc *g, const struct note_mark *v, size_t n, struct stow_err *err) MUST_CHECK;
/* From now on no node may keep what is marked. */
int gc_make_sweep(struct gc *g, const struct note_run *run, struct stow_err *err) MUST_CHECK;
/* From before it looks for gc/run, to the end of its last removal: somebody may remove what is marked. `id`
 * is a name as note_new_run() gives them. */
int gc_make_work(struct gc *g, const struct note_run *run, const char *id, struct stow_err *err) MUST_CHECK;
int gc_remove_work(struct gc *g, const struct note_run *run, const char *id, struct stow_err *err) MUST_CHECK;
/* Removes from the bucket what is marked and not held, and counts it. *ret_same is false where somebody else
 * has ended the run meanwhile. */
int gc_remove_objects(struct gc *g, const struct note_run *run, const struct note_mark *v, size_t n,
		      const struct keyset *held, bool *ret_same, struct stow_err *err) MUST_CHECK;
/* The run is over. */
int gc_remove_run(struct gc *g, const struct note_run *run, struct stow_err *err) MUST_CHECK;
/* What killed runs have left, and the notes of dead nodes. */
int gc_tidy(struct gc *g, struct stow_err *err) MUST_CHECK;

#endif
