/* What a backend that is only read answers to who wants to change something: UNIMPLEMENTED. Such a backend
 * has no stages; the slots that take a stage may be missing in its table. */
#ifndef STOWAGE_BACKENDS_READ_ONLY_H
#define STOWAGE_BACKENDS_READ_ONLY_H

#include "content/backend.h"

int read_only_remove(struct backend *b, const struct digest *d, struct stow_err *err);
int read_only_stage_create(struct backend *b, const char *name, const struct stage_hint *hint,
			   struct stage **ret_st, struct stow_err *err);
int read_only_stage_resume(struct backend *b, const char *name, uint64_t size, const struct stage_hint *hint,
			   struct stage **ret_st, struct stow_err *err);
int read_only_stage_discard(struct backend *b, const char *name, struct stow_err *err);
int read_only_stage_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

#endif
