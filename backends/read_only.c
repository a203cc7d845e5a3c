#include "backends/read_only.h"

static int refuse(struct backend *b, struct stow_err *err)
{
	return stow_fail(err, STOW_UNIMPLEMENTED, "a source (%s) is only read", b->ops->name);
}

int read_only_remove(struct backend *b, const struct digest *d UNUSED, struct stow_err *err)
{
	return refuse(b, err);
}

int read_only_stage_create(struct backend *b, const char *name UNUSED, const struct stage_hint *hint UNUSED,
			   struct stage **ret_st UNUSED, struct stow_err *err)
{
	return refuse(b, err);
}

int read_only_stage_resume(struct backend *b, const char *name UNUSED, uint64_t size UNUSED,
			   const struct stage_hint *hint UNUSED, struct stage **ret_st UNUSED,
			   struct stow_err *err)
{
	return refuse(b, err);
}

int read_only_stage_discard(struct backend *b, const char *name UNUSED, struct stow_err *err)
{
	return refuse(b, err);
}

int read_only_stage_scan(struct backend *b UNUSED, backend_stage_visit *visit UNUSED, void *arg UNUSED,
			 struct stow_err *err UNUSED)
{
	return 0;
}
