/* backends/s3/client.h, and the session and its timers, on the bucket in memory. */
#include "backends/s3/client.h"
#include "backends/s3/http.h"
#include "backends/s3/session.h"
#include "content/base/mem.h"
#include "content/base/pool.h"
#include "tests/suite/s3_fake_internal.h"

#include <stdatomic.h>
#include <stdio.h>

/* An operation on its way to the fake's thread. */
struct request {
	struct job job;
	struct s3_op *op;
	struct s3_client *client;
	atomic_bool cancelled;
	char *key, *etag, *id;
	uint64_t off;
	size_t n;
	void *to;
	unsigned number;
	struct s3_body body;
};

static const char *const op_names[] = { "HeadObject",
					"GetObject",
					"PutObject",
					"DeleteObject",
					"ListObjectsV2",
					"CreateMultipartUpload",
					"UploadPart",
					"CompleteMultipartUpload",
					"AbortMultipartUpload",
					"ListParts" };

/* --- operations --- */

static int begin(const struct s3_client *c, enum fake_op op, const char *key, struct stow_err *err)
{
	struct plan *p = &fake.plans[op];

	if (c->stopped || fake.client.stopped)
		return stow_fail(err, fake.client.stopped ? STOW_UNAVAILABLE : STOW_CANCELLED, "stopped");
	fake.counts[op]++;
	if (p->times > 0 && (p->nth <= 1 || --p->nth == 0)) {
		p->times--;
		return stow_fail(err, p->code, "s3: %s bucket/%s: planned", op_names[op], key);
	}
	return 0;
}

static int op_fail(enum fake_op op, const char *key, enum stow_code code, struct stow_err *err)
{
	return stow_fail(err, code, "s3: %s bucket/%s: %s", op_names[op], key, stow_code_name(code));
}

static int answer(enum fake_op op, const char *key, struct stow_err *err)
{
	enum stow_code code = fake.lost;

	fake.lost = STOW_OK;
	return code == STOW_OK ? 0 : op_fail(op, key, code, err);
}

static void describe(const struct object_entry *e, struct s3_object *ret_o)
{
	*ret_o = (struct s3_object){ .size = e->bytes.n, .modified_ns = e->bytes.modified_ns };
	memcpy(ret_o->etag, e->bytes.etag, sizeof(ret_o->etag));
}

int s3_head(struct s3_client *c, const char *key, struct s3_object *ret_o, struct stow_err *err)
{
	FAKE_SCOPE();
	if (begin(c, FAKE_HEAD, key, err) < 0)
		return -1;
	if (fake_object(key) == NULL)
		return op_fail(FAKE_HEAD, key, STOW_NOT_FOUND, err);
	describe(fake_object(key), ret_o);
	return 0;
}

static int get(struct s3_client *c, const char *key, const char *etag, uint64_t off, size_t n, void *to,
	       struct stow_err *err)
{
	const struct object_entry *o;

	FAKE_SCOPE();
	if (begin(c, FAKE_GET, key, err) < 0)
		return -1;
	o = fake_object(key);
	if (o == NULL)
		return op_fail(FAKE_GET, key, STOW_NOT_FOUND, err);
	if (*etag != '\0' && strcmp(etag, o->bytes.etag) != 0)
		return op_fail(FAKE_GET, key, STOW_FAILED_PRECONDITION, err);
	if (off + n > o->bytes.n)
		return op_fail(FAKE_GET, key, STOW_OUT_OF_RANGE, err);
	memcpy(to, o->bytes.p + off, n);
	return 0;
}

int s3_get(struct s3_client *c, const char *key, const char *etag, uint64_t off, size_t n, void *to,
	   struct stow_err *err)
{
	return get(c, key, etag != NULL ? etag : "", off, n, to, err);
}

int s3_ask(struct s3_client *c, const char *key, int64_t limit_ns, struct stow_err *err)
{
	uint8_t byte;

	assert(limit_ns > 0);
	return get(c, key, "", 0, 1, &byte, err) < 0 && err->code != STOW_NOT_FOUND ? -1 : 0;
}

/* All bytes of a body, read in pieces as a connection would. */
static int drain(const struct s3_body *body, uint8_t **ret_p, struct stow_err *err)
{
	CLEANUP(freep) uint8_t *p = x_malloc(body->size);

	for (uint64_t off = 0; off < body->size;) {
		size_t n = body->size - off < 70000 ? (size_t)(body->size - off) : 70000;

		if (body->read(body->arg, off, p + off, n, err) < 0)
			return -1;
		off += n;
	}
	*ret_p = TAKE(p);
	return 0;
}

int s3_put(struct s3_client *c, const char *key, const struct s3_body *body, unsigned flags,
	   struct s3_object *ret_o, struct stow_err *err)
{
	uint8_t *p;

	if (drain(body, &p, err) < 0)
		return -1;
	FAKE_SCOPE();
	if (begin(c, FAKE_PUT, key, err) < 0) {
		free(p);
		return -1;
	}
	if ((flags & S3_IF_ABSENT) != 0 && fake_object(key) != NULL) {
		free(p);
		return op_fail(FAKE_PUT, key, STOW_ALREADY_EXISTS, err);
	}
	describe(fake_object_set(key, p, body->size), ret_o);
	return answer(FAKE_PUT, key, err);
}

int s3_delete(struct s3_client *c, const char *key, struct stow_err *err)
{
	FAKE_SCOPE();
	if (begin(c, FAKE_DELETE, key, err) < 0)
		return -1;
	fake_object_drop(key);
	return 0;
}

int s3_list(struct s3_client *c, const char *prefix, const char *start_after UNUSED, uint64_t max UNUSED,
	    s3_list_visit *visit, void *arg, struct stow_err *err)
{
	CLEANUP(freep) struct {
		char key[200];
		struct s3_object o;
	} *seen = NULL;
	size_t n = 0;

	fake_lock();
	if (begin(c, FAKE_LIST, prefix, err) < 0) {
		fake_unlockp(NULL);
		return -1;
	}
	for (const struct object_entry *e = fake.objects; e != NULL; e = e->next) {
		if (strncmp(e->key, prefix, strlen(prefix)) != 0)
			continue;
		seen = x_reallocarray(seen, n + 1, sizeof(*seen));
		snprintf(seen[n].key, sizeof(seen[n].key), "%s", e->key);
		describe(e, &seen[n++].o);
	}
	fake_unlockp(NULL);
	for (size_t i = 0; i < n; i++)
		if (visit(arg, seen[i].key, &seen[i].o, err) < 0)
			return -1;
	return 0;
}

int s3_upload_create(struct s3_client *c, const char *key, char ret_id[S3_UPLOAD_ID_MAX + 1],
		     struct stow_err *err)
{
	struct upload_entry *u;

	FAKE_SCOPE();
	if (begin(c, FAKE_CREATE, key, err) < 0)
		return -1;
	u = x_calloc(1, sizeof(*u));
	u->key = x_strdup(key);
	snprintf(u->id, sizeof(u->id), "upload-%u", ++fake.serial);
	snprintf(ret_id, S3_UPLOAD_ID_MAX + 1, "%s", u->id);
	u->next = fake.uploads;
	fake.uploads = u;
	return 0;
}

static int upload_part(const struct request *r, struct s3_part *ret_part, struct stow_err *err)
{
	struct s3_upload u = { .key = r->key, .id = r->id };
	struct upload_entry *e;
	uint8_t *p;

	if (drain(&r->body, &p, err) < 0)
		return -1;
	FAKE_SCOPE();
	e = *fake_upload_at(&u);
	if (begin(r->client, FAKE_PART, r->key, err) < 0 || e == NULL) {
		free(p);
		return e == NULL ? op_fail(FAKE_PART, r->key, STOW_NOT_FOUND, err) : -1;
	}
	assert(r->number >= 1 && r->number <= ARRAY_LEN(e->parts));
	fake_bytes_set(&e->parts[r->number - 1], p, r->body.size);
	*ret_part = (struct s3_part){ .number = r->number, .size = r->body.size };
	memcpy(ret_part->etag, e->parts[r->number - 1].etag, sizeof(ret_part->etag));
	return 0;
}

/* The parts that are named, as one; NULL where they are not those that were sent. */
static uint8_t *join(const struct upload_entry *e, const struct s3_part *parts, size_t n, uint64_t *ret_size)
{
	uint8_t *p = NULL;
	uint64_t size = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bytes *b = &e->parts[parts[i].number - 1];

		if (b->p == NULL || strcmp(b->etag, parts[i].etag) != 0 ||
		    (i > 0 && parts[i].number <= parts[i - 1].number) || (i + 1 < n && b->n < S3_PART_MIN)) {
			free(p);
			return NULL;
		}
		p = x_reallocarray(p, size + b->n, 1);
		memcpy(p + size, b->p, b->n);
		size += b->n;
	}
	*ret_size = size;
	return p;
}

int s3_upload_complete(struct s3_client *c, const struct s3_upload *u, const struct s3_part *parts, size_t n,
		       unsigned flags, struct s3_object *ret_o, struct stow_err *err)
{
	struct upload_entry **at;
	uint64_t size;
	uint8_t *p;

	FAKE_SCOPE();
	if (begin(c, FAKE_COMPLETE, u->key, err) < 0)
		return -1;
	at = fake_upload_at(u);
	if (*at == NULL)
		return op_fail(FAKE_COMPLETE, u->key, STOW_NOT_FOUND, err);
	if ((flags & S3_IF_ABSENT) != 0 && fake_object(u->key) != NULL)
		return op_fail(FAKE_COMPLETE, u->key, STOW_ALREADY_EXISTS, err);
	p = join(*at, parts, n, &size);
	if (p == NULL)
		return op_fail(FAKE_COMPLETE, u->key, STOW_INVALID_ARGUMENT, err);
	fake_upload_drop(at);
	describe(fake_object_set(u->key, p, size), ret_o);
	return answer(FAKE_COMPLETE, u->key, err);
}

int s3_upload_abort(struct s3_client *c, const struct s3_upload *u, struct stow_err *err)
{
	struct upload_entry **at;

	FAKE_SCOPE();
	if (begin(c, FAKE_ABORT, u->key, err) < 0)
		return -1;
	at = fake_upload_at(u);
	if (*at == NULL)
		return op_fail(FAKE_ABORT, u->key, STOW_NOT_FOUND, err);
	fake_upload_drop(at);
	return 0;
}

int s3_upload_parts(struct s3_client *c, const struct s3_upload *u, s3_part_visit *visit, void *arg,
		    struct stow_err *err)
{
	struct s3_part parts[64];
	const struct upload_entry *e;
	size_t n = 0;

	fake_lock();
	if (begin(c, FAKE_PARTS, u->key, err) < 0 || *fake_upload_at(u) == NULL) {
		if (*fake_upload_at(u) == NULL)
			op_fail(FAKE_PARTS, u->key, STOW_NOT_FOUND, err);
		fake_unlockp(NULL);
		return -1;
	}
	e = *fake_upload_at(u);
	for (unsigned i = 0; i < ARRAY_LEN(e->parts); i++) {
		if (e->parts[i].p == NULL)
			continue;
		parts[n] = (struct s3_part){ .number = i + 1, .size = e->parts[i].n };
		memcpy(parts[n++].etag, e->parts[i].etag, S3_ETAG_MAX);
	}
	fake_unlockp(NULL);
	for (size_t i = 0; i < n; i++)
		if (visit(arg, &parts[i], err) < 0)
			return -1;
	return 0;
}

/* --- operations that run beside each other --- */

static void run(struct job *j)
{
	struct request *r = CONTAINER_OF(j, struct request, job);
	struct s3_op *op = r->op;

	fake_lock();
	fake.held++;
	pthread_cond_broadcast(&fake.change);
	while (fake.hold && !atomic_load(&r->cancelled) && !r->client->stopped && !fake.client.stopped)
		pthread_cond_wait(&fake.change, &fake.lock);
	fake.held--;
	fake_unlockp(NULL);
	if (atomic_load(&r->cancelled))
		op->result = stow_fail(&op->err, STOW_CANCELLED, "cancelled");
	else if (r->to != NULL)
		op->result = get(r->client, r->key, r->etag, r->off, r->n, r->to, &op->err);
	else
		op->result = upload_part(r, &op->part, &op->err);
	/* The op's holder may free it from `done` on. */
	op->done(op);
	free(r->key);
	free(r->etag);
	free(r->id);
	free(r);
}

static void start(struct s3_client *c, struct s3_op *op, struct request *r)
{
	r->client = c;
	r->job.run = run;
	r->op = op;
	op->request = r;
	pool_submit(fake.pool, &r->job);
}

void s3_get_start(struct s3_client *c, struct s3_op *op, const char *key, const char *etag, uint64_t off,
		  size_t n, void *to)
{
	struct request *r = x_calloc(1, sizeof(*r));

	r->key = x_strdup(key);
	r->etag = x_strdup(etag);
	r->off = off;
	r->n = n;
	r->to = to;
	start(c, op, r);
}

void s3_upload_part_start(struct s3_client *c, struct s3_op *op, const struct s3_upload *u, unsigned number,
			  const struct s3_body *body)
{
	struct request *r = x_calloc(1, sizeof(*r));

	r->key = x_strdup(u->key);
	r->id = x_strdup(u->id);
	r->number = number;
	r->body = *body;
	start(c, op, r);
}

void s3_op_cancel(struct s3_client *c UNUSED, struct s3_op *op)
{
	FAKE_SCOPE();
	atomic_store(&op->request->cancelled, true);
	pthread_cond_broadcast(&fake.change);
}

/* --- forks --- */

struct s3_client *s3_client_fork(struct s3_client *c)
{
	struct s3_client *fork = x_calloc(1, sizeof(*fork));

	assert(!c->is_fork);
	fork->is_fork = true;
	return fork;
}

void s3_client_stop(struct s3_client *c)
{
	FAKE_SCOPE();
	c->stopped = true;
	pthread_cond_broadcast(&fake.change);
}

void s3_client_free(struct s3_client *c)
{
	assert(c->is_fork);
	free(c);
}

/* --- the session --- */

/* One transfer at a time ends, as on the transfer thread; more than one are under way. */
enum { TRANSFERS = 8 };

int s3_session_new(const struct s3_options *o UNUSED, struct s3_session **ret_s, struct stow_err *err UNUSED)
{
	struct s3_session *s = x_calloc(1, sizeof(*s));

	assert(fake.pool == NULL);
	fake.pool = pool_new("fake", TRANSFERS);
	fake.client = (struct s3_client){ 0 };
	s->client = &fake.client;
	*ret_s = s;
	return 0;
}

void s3_session_free(struct s3_session *s)
{
	if (s == NULL)
		return;
	pool_free(TAKE(fake.pool));
	free(s);
}

/* No test waits minutes. */
void http_after(struct http *h UNUSED, struct http_timer *t, int64_t ns UNUSED)
{
	t->set = true;
}

bool http_timer_stop(struct http *h UNUSED, struct http_timer *t)
{
	bool was = t->set;

	t->set = false;
	return was;
}
