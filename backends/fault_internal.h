/* The backend that fails as planned, as its own files see it. */
#ifndef STOWAGE_BACKENDS_FAULT_INTERNAL_H
#define STOWAGE_BACKENDS_FAULT_INTERNAL_H

#include "backends/backends.h"

#define FAULT_MAGIC 0xfa017001u

struct fault {
	struct backend base;
	unsigned magic;
	struct backend *inner; /* owned */
	struct fault_plan *plan;
	struct backend_ops ops; /* what `inner` has */
};
struct fault *fault_from(struct backend *b);

/* Fails if the call that is being made is one that is to fail. */
int fault_check(struct fault *f, enum fault_op op, const char *what, struct stow_err *err) MUST_CHECK;

/* Operations that do what those of `inner` do, as far as it has any. */
const struct behind_ops *fault_behind_of(const struct backend *inner);

#endif
