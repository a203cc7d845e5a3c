/* Where an upload's bytes come from, and under whose name it is recorded: both may change while it goes on.
 */
#include "backends/s3/upload_internal.h"
#include "content/base/mem.h"

int upload_read(struct upload *u, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	sending_read *read;
	void *arg;
	int result;

	lock_take(&u->lock);
	while (u->moving)
		lock_wait(&u->lock, &u->change);
	u->reading++;
	read = u->read;
	arg = u->arg;
	lock_release(&u->lock);
	result = read(arg, off, to, n, err);
	LOCK_SCOPE(&u->lock);
	if (--u->reading == 0 && u->moving)
		pthread_cond_broadcast(&u->change);
	return result;
}

void upload_file_begin(struct upload *u)
{
	LOCK_SCOPE(&u->lock);
	while (u->moving || u->filing)
		lock_wait(&u->lock, &u->change);
	u->filing = true;
}

void upload_file_end(struct upload *u)
{
	LOCK_SCOPE(&u->lock);
	u->filing = false;
	pthread_cond_broadcast(&u->change);
}

/* The record's new name is not synced. Where a power loss brings the old one back, it is that of a stage
 * which is no more, and is given up; the blob is sent anew. */
int upload_move(struct upload *u, const char *owner, sending_read *read, void *arg, struct stow_err *err)
{
	struct dir *dir = &u->s->ingest.dir;
	int result = 0;

	CHECK_OBJ(u, UPLOAD_MAGIC);
	assert(sending_record_ok(owner));
	if (strcmp(owner, u->owner) != 0) {
		if (sidecar_condemn(dir, owner, err) == 0)
			leftovers_poke(&u->s->leftovers);
		else if (err->code != STOW_NOT_FOUND)
			return -1;
	}
	LOCK_SCOPE(&u->lock);
	/* First the file, which may be waiting for the disk: from `moving` on, reads wait, and one of them
	 * may be the transfer thread's. */
	while (u->filing)
		lock_wait(&u->lock, &u->change);
	u->moving = true;
	while (u->reading > 0)
		lock_wait(&u->lock, &u->change);
	if (strcmp(owner, u->owner) != 0)
		result = sidecar_move(dir, u->owner, owner, err);
	if (result == 0) {
		memcpy(u->owner, owner, strlen(owner) + 1);
		u->read = read;
		u->arg = arg;
	}
	u->moving = false;
	pthread_cond_broadcast(&u->change);
	return result;
}
