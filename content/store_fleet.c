/* What only a store with a tiered backend can do. */
#include "content/base/mem.h"
#include "content/store_internal.h"

void fleet_brought_free(struct fleet_brought *b)
{
	free(b->children);
	b->children = NULL;
}

/* NULL where the store has another backend; `so` says what follows from that. */
static const struct fleet_ops *fleet_of(struct store *s, const char *so, struct stow_err *err)
{
	CHECK_OBJ(s, STORE_MAGIC);
	if (s->backend->ops->fleet == NULL)
		stow_fail(err, STOW_UNIMPLEMENTED, "there is no storage behind this store%s", so);
	return s->backend->ops->fleet;
}

int store_fleet_status(struct store *s, struct fleet_status *ret_st, struct stow_err *err)
{
	const struct fleet_ops *fleet = fleet_of(s, "", err);

	return fleet == NULL ? -1 : fleet->status(s->backend, ret_st, err);
}

int store_flush(struct store *s, struct stow_err *err)
{
	const struct fleet_ops *fleet = fleet_of(s, "", err);

	if (fleet == NULL)
		return -1;
	fleet->flush(s->backend);
	return 0;
}

int store_pin(struct store *s, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	const struct fleet_ops *fleet = fleet_of(s, ": nothing is ever evicted from it", err);

	return fleet == NULL ? -1 : fleet->pin(s->backend, d, ret_p, err);
}

int store_unpin(struct store *s, const struct digest *d, struct fleet_pinned *ret_p, struct stow_err *err)
{
	const struct fleet_ops *fleet = fleet_of(s, ": nothing is ever evicted from it", err);

	return fleet == NULL ? -1 : fleet->unpin(s->backend, d, ret_p, err);
}

int store_bring(struct store *s, const struct digest *d, int64_t lease, bool begin,
		struct fleet_brought *ret_b, struct stow_err *err)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	const struct fleet_ops *fleet = fleet_of(s, ": all its bytes are here", err);

	if (fleet == NULL || store_info(s, d, &info, err) < 0)
		return -1;
	return fleet->bring(s->backend, d, info.size, lease, begin, ret_b, err);
}
