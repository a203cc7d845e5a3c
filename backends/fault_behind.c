#include "backends/fault_internal.h"
#include "content/base/mem.h"

#define FAULT_SENDING_MAGIC 0xfa017004u

struct fault_sending {
	struct sending base;
	unsigned magic;
	struct sending *inner; /* owned */
};

static struct fault_sending *sending_from(struct sending *s)
{
	struct fault_sending *fs = CONTAINER_OF(s, struct fault_sending, base);

	CHECK_OBJ(fs, FAULT_SENDING_MAGIC);
	return fs;
}

static const struct behind_ops *inner_ops(struct backend *b)
{
	return fault_from(b)->inner->ops->behind;
}

static int fault_look(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		      struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_LOOK, "look", err) < 0)
		return -1;
	return inner_ops(b)->look(f->inner, d, ret_st, err);
}

static int fault_drop(struct backend *b, const struct digest *d, int64_t until_mono_ns, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check_until(f, FAULT_DROP, "drop", until_mono_ns, err) < 0)
		return -1;
	return inner_ops(b)->drop(f->inner, d, until_mono_ns, err);
}

static int fault_probe(struct backend *b, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_PROBE, "probe", err) < 0)
		return -1;
	return inner_ops(b)->probe(f->inner, err);
}

/* --- sending --- */

static int fault_send_open(struct backend *b, const char *record, const struct stage_hint *hint,
			   uint64_t have, sending_read *read, void *arg, struct sending **ret_s,
			   struct stow_err *err)
{
	struct fault *f = fault_from(b);
	struct fault_sending *fs;
	struct sending *inner;

	if (fault_check(f, FAULT_SEND_OPEN, "send_open", err) < 0)
		return -1;
	if (inner_ops(b)->send_open(f->inner, record, hint, have, read, arg, &inner, err) < 0)
		return -1;
	fs = x_calloc(1, sizeof(*fs));
	fs->base.backend = b;
	fs->magic = FAULT_SENDING_MAGIC;
	fs->inner = inner;
	*ret_s = &fs->base;
	return 0;
}

static void fault_send_advance(struct sending *s, uint64_t have)
{
	inner_ops(s->backend)->send_advance(sending_from(s)->inner, have);
}

static int fault_send_rewind(struct sending *s, struct stow_err *err)
{
	if (fault_check(fault_from(s->backend), FAULT_SEND_REWIND, "send_rewind", err) < 0)
		return -1;
	return inner_ops(s->backend)->send_rewind(sending_from(s)->inner, err);
}

static int fault_send_move(struct sending *s, const char *record, sending_read *read, void *arg,
			   struct stow_err *err)
{
	if (fault_check(fault_from(s->backend), FAULT_SEND_MOVE, "send_move", err) < 0)
		return -1;
	return inner_ops(s->backend)->send_move(sending_from(s)->inner, record, read, arg, err);
}

static int fault_send_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags,
			     struct stow_err *err)
{
	if (fault_check(fault_from(s->backend), FAULT_SEND_FINISH, "send_finish", err) < 0)
		return -1;
	return inner_ops(s->backend)->send_finish(sending_from(s)->inner, d, size, flags, err);
}

static void fault_send_close(struct sending *s, bool forget)
{
	struct fault_sending *fs = sending_from(s);

	inner_ops(s->backend)->send_close(fs->inner, forget);
	FREE_OBJ(fs);
}

static int fault_send_discard(struct backend *b, const char *record, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_SEND_DISCARD, "send_discard", err) < 0)
		return -1;
	return inner_ops(b)->send_discard(f->inner, record, err);
}

static int fault_send_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_SEND_SCAN, "send_scan", err) < 0)
		return -1;
	return inner_ops(b)->send_scan(f->inner, visit, arg, err);
}

/* --- notes --- */

static int fault_note_put(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
			  struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_NOTE_PUT, "note_put", err) < 0)
		return -1;
	return inner_ops(b)->note_put(f->inner, name, data, n, flags, err);
}

static int fault_note_get(struct backend *b, const char *name, struct buf *to, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_NOTE_GET, "note_get", err) < 0)
		return -1;
	return inner_ops(b)->note_get(f->inner, name, to, err);
}

static int fault_note_remove(struct backend *b, const char *name, struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_NOTE_REMOVE, "note_remove", err) < 0)
		return -1;
	return inner_ops(b)->note_remove(f->inner, name, err);
}

static int fault_note_scan(struct backend *b, const char *prefix, note_visit *visit, void *arg,
			   struct stow_err *err)
{
	struct fault *f = fault_from(b);

	if (fault_check(f, FAULT_NOTE_SCAN, "note_scan", err) < 0)
		return -1;
	return inner_ops(b)->note_scan(f->inner, prefix, visit, arg, err);
}

const struct behind_ops *fault_behind(struct fault *f, const struct behind_ops *inner)
{
	f->behind = (struct behind_ops){ .look = fault_look, .probe = fault_probe };
	if (inner->send_open != NULL)
		f->behind = (struct behind_ops){
			.look = fault_look,
			.drop = fault_drop,
			.probe = fault_probe,
			.send_open = fault_send_open,
			.send_advance = fault_send_advance,
			.send_rewind = fault_send_rewind,
			.send_move = fault_send_move,
			.send_finish = fault_send_finish,
			.send_close = fault_send_close,
			.send_discard = fault_send_discard,
			.send_scan = fault_send_scan,
			.note_put = fault_note_put,
			.note_get = fault_note_get,
			.note_remove = fault_note_remove,
			.note_scan = fault_note_scan,
		};
	return &f->behind;
}
