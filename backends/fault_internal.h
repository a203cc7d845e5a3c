/* The decorator that fails as planned: fault.c has the calls of content/backend.h, fault_behind.c those of
 * content/behind.h. */
#ifndef STOWAGE_BACKENDS_FAULT_INTERNAL_H
#define STOWAGE_BACKENDS_FAULT_INTERNAL_H

#include "backends/backends.h"
#include "content/behind.h"

#define FAULT_MAGIC 0xfa017001u

struct fault {
	struct backend base;
	unsigned magic;
	struct backend_ops ops;   /* with what the inner one has, and no more */
	struct behind_ops behind; /* likewise */
	struct backend *inner;    /* owned */
	struct fault_plan *plan;
	atomic_bool stopped;
};
struct fault *fault_from(struct backend *b);

/* Fails where the plan says so for this call. `what` is the operation's name in the message. */
int fault_check(struct fault *f, enum fault_op op, const char *what, struct stow_err *err) MUST_CHECK;
/* The same, where the call may hang until then at the latest. */
int fault_check_until(struct fault *f, enum fault_op op, const char *what, int64_t until_mono_ns,
		      struct stow_err *err) MUST_CHECK;

/* Fills in f->behind, for the inner one's table, and returns it. */
const struct behind_ops *fault_behind(struct fault *f, const struct behind_ops *inner);

#endif
