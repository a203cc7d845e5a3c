/* The parts of an upload: sent several at once, by whoever works on the upload; each ends on the transfer
 * thread. */
#include "backends/s3/parts.h"
#include "backends/s3/upload_internal.h"
#include "content/base/mem.h"

static void part_done(struct s3_op *op);

/* --- the bytes --- */

static int read_part(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err)
{
	const struct upload_slot *slot = arg;

	return upload_read(slot->upload, slot->offset + off, to, n, err);
}

/* --- what is to be sent --- */

static struct upload_part *part_locked(struct upload *u, unsigned number)
{
	LOCK_ASSERT(&u->lock);
	if (number > u->n_parts) {
		u->parts = x_reallocarray(u->parts, number, sizeof(*u->parts));
		memset(u->parts + u->n_parts, 0, (number - u->n_parts) * sizeof(*u->parts));
		u->n_parts = number;
	}
	return &u->parts[number - 1];
}

static uint64_t length_of(const struct upload *u, unsigned number, uint64_t end)
{
	uint64_t offset = part_offset(u->record.part_size, number);
	uint64_t length = part_length(u->record.part_size, number);

	return end - offset < length ? end - offset : length;
}

static struct upload_slot *free_slot_locked(struct upload *u)
{
	for (unsigned i = 0; i < u->s->upload_concurrency; i++)
		if (u->slots[i].number == 0)
			return &u->slots[i];
	return NULL;
}

/* The first of the parts that has to be sent, and can be; 0: none. *ret_missing: some are not there yet. */
static unsigned next_part_locked(struct upload *u, unsigned n, uint64_t end, bool *ret_missing)
{
	*ret_missing = false;
	for (unsigned number = 1; number <= n; number++) {
		struct upload_part *p = part_locked(u, number);

		if (p->state == PART_SENT && p->size == length_of(u, number, end))
			continue;
		*ret_missing = true;
		if (p->state != PART_SENDING)
			return number;
	}
	return 0;
}

static void start_part(struct upload *u, struct upload_slot *slot, uint64_t length)
{
	struct s3_upload upload = { .key = u->key, .id = u->record.id };
	struct s3_body body = { .size = length, .read = read_part, .arg = slot };

	slot->op = (struct s3_op){ .done = part_done };
	s3_upload_part_start(u->client, &slot->op, &upload, slot->number, &body);
}

bool upload_send(struct upload *u, unsigned n, uint64_t end)
{
	for (;;) {
		struct upload_slot *slot;
		struct upload_part *p;
		uint64_t length;
		bool missing;

		lock_take(&u->lock);
		slot = free_slot_locked(u);
		unsigned number = next_part_locked(u, n, end, &missing);

		if (slot == NULL || number == 0 || u->stopping || u->failure.code != STOW_OK) {
			lock_release(&u->lock);
			return !missing;
		}
		length = length_of(u, number, end);
		p = part_locked(u, number);
		p->state = PART_SENDING;
		p->size = length;
		slot->upload = u;
		slot->number = number;
		slot->round = u->round;
		slot->offset = part_offset(u->record.part_size, number);
		u->active++;
		lock_release(&u->lock);
		start_part(u, slot, length);
	}
}

/* On the transfer thread. After the lock is released, the upload may be gone. */
static void part_done(struct s3_op *op)
{
	struct upload_slot *slot = CONTAINER_OF(op, struct upload_slot, op);
	struct upload *u = slot->upload;
	LOCK_SCOPE(&u->lock);
	struct upload_part *p = part_locked(u, slot->number);

	if (op->result == 0) {
		p->state = PART_SENT;
		p->sent = op->part;
		sidecar_add(&u->record, &op->part);
	} else {
		p->state = PART_UNSENT;
		if (slot->round == u->round && u->failure.code == STOW_OK)
			u->failure = op->err;
	}
	slot->number = 0;
	u->active--;
	upload_pump_locked(u);
	pthread_cond_broadcast(&u->change);
}

void upload_parts_clear(struct upload *u)
{
	LOCK_SCOPE(&u->lock);
	assert(u->active == 0);
	free(u->parts);
	u->parts = NULL;
	u->n_parts = 0;
	u->failure = (struct stow_err){ 0 };
}

/* --- the beginning --- */

/* A part that the bucket lists, and that we have recorded so, is one of our bytes. */
static int take_part(void *arg, const struct s3_part *part, struct stow_err *err UNUSED)
{
	struct upload *u = arg;
	const struct sidecar *record = &u->record;

	for (size_t i = record->n_parts; i-- > 0;) {
		const struct s3_part *mine = &record->parts[i];

		if (mine->number != part->number)
			continue;
		/* The last record of a number is the one that counts. */
		if (mine->size == part->size && strcmp(mine->etag, part->etag) == 0) {
			LOCK_SCOPE(&u->lock);
			struct upload_part *p = part_locked(u, part->number);

			p->state = PART_SENT;
			p->size = part->size;
			p->sent = *part;
		}
		break;
	}
	return 0;
}

/* The upload of an earlier process. NOT_FOUND: the bucket does not have it any more. */
static int list_parts(struct upload *u, struct stow_err *err)
{
	struct s3_upload upload = { .key = u->key, .id = u->record.id };

	upload_parts_clear(u);
	if (s3_upload_parts(u->client, &upload, take_part, u, err) < 0)
		return -1;
	u->state = UPLOAD_OPEN;
	return 0;
}

static int save_record(struct upload *u, struct stow_err *err)
{
	int result;

	upload_file_begin(u);
	result = sidecar_save(&u->record, &u->s->ingest.dir, u->owner, err);
	upload_file_end(u);
	return result;
}

static void remove_record(struct upload *u)
{
	upload_file_begin(u);
	sidecar_remove(&u->s->ingest.dir, u->owner);
	upload_file_end(u);
}

static int create(struct upload *u, struct stow_err *err)
{
	struct stow_err ignored;

	sidecar_reset(&u->record);
	u->record.part_size = u->s->part_size;
	if (s3_upload_create(u->client, u->key, u->record.id, err) < 0)
		return -1;
	u->record.key = x_strdup(u->key);
	upload_parts_clear(u);
	if (save_record(u, err) == 0) {
		u->state = UPLOAD_OPEN;
		return 0;
	}
	/* Nobody would know of it after a restart. */
	(void)!s3_upload_abort(u->client, &(struct s3_upload){ .key = u->key, .id = u->record.id }, &ignored);
	remove_record(u);
	sidecar_reset(&u->record);
	return -1;
}

int upload_begin(struct upload *u, uint64_t size, struct stow_err *err)
{
	struct s3_object o;

	assert(u->key != NULL);
	if (u->state == UPLOAD_RESUMED) {
		if (list_parts(u, err) == 0)
			return 0;
		if (err->code != STOW_NOT_FOUND)
			return -1;
		remove_record(u);
		u->state = UPLOAD_NONE;
	}
	if (u->state != UPLOAD_NONE)
		return 0;
	if (u->replace)
		return create(u, err);
	/* Forbidden, a bucket may say of what is not there, where we may not list: then we send. */
	if (s3_head(u->client, u->key, &o, err) == 0) {
		if (size == 0 || o.size == size) {
			u->state = UPLOAD_THERE;
			return 0;
		}
	} else if (err->code != STOW_NOT_FOUND && err->code != STOW_PERMISSION_DENIED) {
		return -1;
	}
	return create(u, err);
}

/* --- beside the writing --- */

/* How many parts can be sent of what is there. The last one, which may be shorter, only when the blob is
 * whole, as far as anybody knows. */
static unsigned whole_parts_locked(const struct upload *u, uint64_t *ret_end)
{
	uint64_t first = u->state == UPLOAD_OPEN ? u->record.part_size : u->s->part_size;
	unsigned n = part_count(first, u->have);

	*ret_end = u->have;
	if (u->have < first || u->have < u->s->small_blob)
		return 0;
	if (u->have != u->total && part_offset(first, n) + part_length(first, n) > u->have)
		n--;
	return n <= S3_PARTS_MAX ? n : 0;
}

static bool pump_is_of_use_locked(struct upload *u)
{
	uint64_t end;
	bool missing;
	unsigned n;

	if (!u->eager || u->stopping || u->pumping || u->failure.code != STOW_OK || u->state == UPLOAD_THERE)
		return false;
	n = whole_parts_locked(u, &end);
	if (n == 0)
		return false;
	if (u->state != UPLOAD_OPEN)
		return true;
	return free_slot_locked(u) != NULL && next_part_locked(u, n, end, &missing) != 0;
}

void upload_pump_locked(struct upload *u)
{
	LOCK_ASSERT(&u->lock);
	if (!pump_is_of_use_locked(u))
		return;
	u->pumping = true;
	pool_submit(u->s->pool, &u->pump);
}

void upload_pump_run(struct job *j)
{
	struct upload *u = CONTAINER_OF(j, struct upload, pump);
	uint64_t end = 0, total;
	struct stow_err err;
	unsigned n = 0;
	int begun;

	lock_take(&u->lock);
	total = u->total;
	lock_release(&u->lock);
	begun = upload_begin(u, total, &err);
	if (begun == 0 && u->state == UPLOAD_OPEN) {
		lock_take(&u->lock);
		n = whole_parts_locked(u, &end);
		lock_release(&u->lock);
		(void)upload_send(u, n, end);
	}
	LOCK_SCOPE(&u->lock);
	u->pumping = false;
	if (begun < 0 && u->failure.code == STOW_OK)
		u->failure = err;
	upload_pump_locked(u);
	pthread_cond_broadcast(&u->change);
}

/* Others' pumps may have all of the pool's threads, for as long as the bucket lets them wait. */
void upload_withdraw_pump_locked(struct upload *u)
{
	LOCK_ASSERT(&u->lock);
	if (u->pumping && pool_withdraw(u->s->pool, &u->pump))
		u->pumping = false;
}

void upload_quiesce(struct upload *u)
{
	LOCK_SCOPE(&u->lock);
	u->stopping = true;
	upload_withdraw_pump_locked(u);
	s3_client_stop(u->client);
	while (u->pumping || u->active > 0)
		lock_wait(&u->lock, &u->change);
	s3_client_free(u->client);
	u->client = s3_client_fork(u->s->client);
}
