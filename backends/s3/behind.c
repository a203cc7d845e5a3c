/* What a backend in front of the bucket wants of it: looks, and sendings, which are uploads whose bytes are
 * somebody else's. */
#include "backends/s3/http.h"
#include "backends/s3/s3_internal.h"
#include "backends/s3/sidecar.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#define SENDING_MAGIC 0x53330005u

struct s3_sending {
	struct sending base;
	unsigned magic;
	struct upload *upload;

	/* Of the backend's list, under its lock. */
	struct s3_sending *next;
	char record[SENDING_RECORD_MAX];
	char moving_to[SENDING_RECORD_MAX]; /* "": it does not move */
};

static struct s3_sending *sending_from(struct sending *s)
{
	struct s3_sending *ss = CONTAINER_OF(s, struct s3_sending, base);

	CHECK_OBJ(ss, SENDING_MAGIC);
	return ss;
}

/* HEAD's 404 has no body that says what is missing: see s3_head_sure() for who has to know. */
int s3_look(struct backend *b, const struct digest *d, struct blob_stat *ret_st, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *key = s3_blob_key(s, d);
	char text[DIGEST_STR_MAX];
	struct s3_object o;

	if (s3_head_told(s->client, key, &o, err) == 0) {
		*ret_st = (struct blob_stat){ .size = o.size, .modified_ns = o.modified_ns };
		return 0;
	}
	digest_format(d, text);
	if (err->code == STOW_NOT_FOUND)
		return stow_fail(err, STOW_NOT_FOUND, "blob %s: not found", text);
	return s3_fail(err);
}

/* A client whose time is limited. */
struct hasty {
	struct http_timer timer;
	struct s3_client *client;
};

static void time_is_over(struct http_timer *t)
{
	s3_client_stop(CONTAINER_OF(t, struct hasty, timer)->client);
}

static int s3_drop(struct backend *b, const struct digest *d, int64_t until_mono_ns, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct hasty h = { .timer = { .run = time_is_over } };
	int64_t left_ns = until_mono_ns - clock_mono_ns();
	bool in_time;
	int result;

	if (left_ns <= 0)
		return stow_fail(err, STOW_UNAVAILABLE, "there is no time left to ask the bucket");
	h.client = s3_client_fork(s->client);
	http_after(s->session->http, &h.timer, left_ns);
	result = s3_remove_by(s, h.client, d, err);
	in_time = http_timer_stop(s->session->http, &h.timer);
	s3_client_free(h.client);
	if (result < 0 && !in_time && err->code != STOW_NOT_FOUND)
		return stow_fail(err, STOW_UNAVAILABLE, "the bucket did not answer in time");
	return result;
}

/* By GET, whose 404 says what is missing. The key says what it is for, to who reads it in a message. */
int s3_answers(struct backend *b, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	CLEANUP(freep) char *blobs = s3_blobs_prefix(s);
	CLEANUP(freep) char *key = x_asprintf("%sprobe-%llx", blobs, (unsigned long long)clock_wall_ns());

	return s3_ask(s->client, key, BEHIND_PROBE_NS, err) < 0 ? s3_fail(err) : 0;
}

/* --- who has which record --- */

static bool is_open_locked(struct s3 *s, const char *record)
{
	LOCK_ASSERT(&s->lock);
	for (const struct s3_sending *ss = s->sendings; ss != NULL; ss = ss->next)
		if (strcmp(ss->record, record) == 0 || strcmp(ss->moving_to, record) == 0)
			return true;
	return false;
}

static int fail_open(const char *record, struct stow_err *err)
{
	return stow_fail(err, STOW_ALREADY_EXISTS, "sending %s: is open", record);
}

static int list_sending(struct s3 *s, struct s3_sending *ss, const char *record, struct stow_err *err)
{
	LOCK_SCOPE(&s->lock);
	if (is_open_locked(s, record))
		return fail_open(record, err);
	memcpy(ss->record, record, strlen(record) + 1);
	ss->next = s->sendings;
	s->sendings = ss;
	return 0;
}

static void unlist_sending(struct s3 *s, struct s3_sending *ss)
{
	LOCK_SCOPE(&s->lock);
	struct s3_sending **at = &s->sendings;

	while (*at != ss)
		at = &(*at)->next;
	*at = ss->next;
}

/* --- sending --- */

static int s3_send_open(struct backend *b, const char *record, const struct stage_hint *hint, uint64_t have,
			sending_read *read, void *arg, struct sending **ret_s, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	struct s3_sending *ss;

	assert(s->pool != NULL); /* made without a place for records */
	assert(sending_record_ok(record));
	ss = x_calloc(1, sizeof(*ss));
	ss->base.backend = b;
	ss->magic = SENDING_MAGIC;
	if (list_sending(s, ss, record, err) < 0) {
		FREE_OBJ(ss);
		return -1;
	}
	if (upload_resume(s, record, have, hint, read, arg, &ss->upload, err) < 0) {
		unlist_sending(s, ss);
		FREE_OBJ(ss);
		return -1;
	}
	*ret_s = &ss->base;
	return 0;
}

static void s3_send_advance(struct sending *s, uint64_t have)
{
	upload_advance(sending_from(s)->upload, have);
}

static int s3_send_rewind(struct sending *s, struct stow_err *err)
{
	return upload_rewind(sending_from(s)->upload, err);
}

/* Neither name is free for another sending while the record moves. */
static int s3_send_move(struct sending *sending, const char *record, sending_read *read, void *arg,
			struct stow_err *err)
{
	struct s3_sending *ss = sending_from(sending);
	struct s3 *s = s3_from(sending->backend);
	bool same = strcmp(ss->record, record) == 0;
	int result;

	lock_take(&s->lock);
	if (!same && is_open_locked(s, record)) {
		lock_release(&s->lock);
		return fail_open(record, err);
	}
	memcpy(ss->moving_to, record, strlen(record) + 1);
	lock_release(&s->lock);
	result = upload_move(ss->upload, record, read, arg, err);
	LOCK_SCOPE(&s->lock);
	if (result == 0)
		memcpy(ss->record, ss->moving_to, sizeof(ss->record));
	ss->moving_to[0] = '\0';
	return result;
}

static int s3_send_finish(struct sending *s, const struct digest *d, uint64_t size, unsigned flags,
			  struct stow_err *err)
{
	struct s3_sending *ss = sending_from(s);

	if (upload_finish(ss->upload, d, size, (flags & SENDING_REPLACE) != 0, err) == 0)
		return 0;
	return s3_fail_upload(err);
}

static void s3_send_close(struct sending *s, bool forget)
{
	struct s3_sending *ss = sending_from(s);
	struct stow_err ignored;

	upload_stop(ss->upload);
	/* Where this fails, the record stays, and send_scan shows it. */
	if (forget)
		(void)!upload_abandon(ss->upload, &ignored);
	upload_free(ss->upload);
	unlist_sending(s3_from(s->backend), ss);
	FREE_OBJ(ss);
}

static int s3_send_discard(struct backend *b, const char *record, struct stow_err *err)
{
	struct s3 *s = s3_from(b);
	bool open;

	assert(sending_record_ok(record));
	lock_take(&s->lock);
	open = is_open_locked(s, record);
	lock_release(&s->lock);
	if (open)
		return fail_open(record, err);
	if (sidecar_condemn(&s->ingest.dir, record, err) < 0)
		return err->code == STOW_NOT_FOUND
			       ? stow_fail(err, STOW_NOT_FOUND, "sending %s: not found", record)
			       : -1;
	leftovers_poke(&s->leftovers);
	return 0;
}

struct scan {
	backend_stage_visit *visit;
	void *arg;
};

static int see_record(void *arg, struct dir *dir UNUSED, const char *name, struct stow_err *err)
{
	const struct scan *scan = arg;
	char record[SENDING_RECORD_MAX];

	return sidecar_name(name, record) ? scan->visit(scan->arg, record, err) : 0;
}

static int s3_send_scan(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err)
{
	struct scan scan = { .visit = visit, .arg = arg };

	return dir_each(&s3_from(b)->ingest.dir, see_record, &scan, err);
}

const struct behind_ops s3_behind_ops = {
	.look = s3_look,
	.drop = s3_drop,
	.probe = s3_answers,
	.send_open = s3_send_open,
	.send_advance = s3_send_advance,
	.send_rewind = s3_send_rewind,
	.send_move = s3_send_move,
	.send_finish = s3_send_finish,
	.send_close = s3_send_close,
	.send_discard = s3_send_discard,
	.send_scan = s3_send_scan,
	.note_put = s3_note_put,
	.note_get = s3_note_get,
	.note_remove = s3_note_remove,
	.note_scan = s3_note_scan,
};
