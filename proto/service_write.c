/* Write: the stream that opens or resumes an ingest, fills it, and commits it.
 *
 * The stream's work is done on a strand of the worker pool, one message after another. Clients send a
 * message and wait for its answer, so the time between the two is the throughput. Where the stream has
 * declared what it writes, its writer asks for no digest on the way; then a message that only brings
 * data is answered on the RPC thread as soon as it has been accepted, and is hashed and written while
 * the client makes the next one. What is accepted and not written yet is bounded (LIMIT_PIPELINE). A
 * failure of it is the answer to the next message; every other message is answered when all before it
 * has been done, so STAT and COMMIT see everything. The data that complete the declared total are answered
 * when they are durable: what containerd waits for there it does not wait for in COMMIT, which it sends
 * under its metadata lock.
 *
 *   message                            on the RPC thread         on the strand
 *   the first                          decode                    open, then as below
 *   data, declared, pipeline has room, decode, answer            write
 *     more is to come
 *   STAT, all before it is done        decode, answer
 *   any other                          decode                    [write] [commit] answer
 *   the stream's end, or its failure                             park, end the call
 *
 * One gRPC operation is under way at a time: it is started by the RPC thread for messages answered
 * there, and by the strand for all others. */
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/mem.h"
#include "content/ref.h"
#include "proto/service.h"
#include "proto/wire.h"

struct write_call {
	struct rpc_call base;
	struct strand strand;

	/* The RPC thread's. */
	uint64_t accepted; /* the offset after all messages so far */
	bool declared;     /* data may be answered before it is written; set by the strand, as `total`,
			    * while no operation is under way */

	/* Both: what messages hold that have been answered and not written yet. */
	_Atomic size_t pending;

	/* The strand's. */
	struct ingest *ingest; /* NULL before it is opened and after it is over */
	char *ref;
	uint64_t total;          /* for the answers: as this stream declared it, or an earlier one */
	uint64_t declared_total; /* by this stream, its last word; what COMMIT checks */
	struct digest expected;  /* the same */
	struct stow_err failure; /* of a message that had been answered; code OK: none */
};

/* One message on its way through the strand. */
struct write_job {
	struct job job;
	struct write_call *call;
	struct rpc_message *message; /* holds the memory of request.data; NULL: the stream has ended */
	struct wire_write request;
	int64_t received_ns; /* wall clock */
	bool answered;
	struct stow_err refused; /* code not OK: the message did not parse */
};

static struct write_call *write_call(struct rpc_call *c)
{
	return CONTAINER_OF(c, struct write_call, base);
}

static void write_received(struct rpc_call *c, bool ok);

/* The memory that it holds: a message may be much else than its data. */
static size_t job_cost(const struct write_job *j)
{
	return sizeof(*j) + j->message->len;
}

static void write_job_free(struct write_job *j)
{
	wire_write_free(&j->request);
	rpc_message_free(j->message);
	free(j);
}

/* --- answers --- */

static grpc_byte_buffer *answer(const struct wire_write_response *r)
{
	uint8_t out[WIRE_WRITE_RESPONSE_MAX];

	return rpc_bytes(out, wire_write_response(r, out));
}

/* Everything there is to say about the ingest, exactly. */
static struct wire_write_response full_response(struct write_call *w, int action)
{
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	struct wire_write_response r = { .action = action, .total = w->total };

	ingest_status(w->ingest, &st);
	ingest_digest(w->ingest, &r.digest);
	r.started_ns = st.started_ns;
	r.updated_ns = st.updated_ns;
	r.offset = st.offset;
	return r;
}

/* Parks what there is and ends the call; `err` NULL: with OK. */
static void write_end(struct write_call *w, const struct stow_err *err)
{
	struct stow_err park;
	int result = ingest_close(TAKE(w->ingest), &park);

	if (err)
		rpc_finish(&w->base, err, w->ref);
	else if (result < 0)
		rpc_finish(&w->base, &park, w->ref);
	else
		rpc_finish(&w->base, NULL, NULL);
}

/* --- on the strand --- */

static int write_open(struct write_call *w, const struct wire_write *q, struct stow_err *err)
{
	struct ingest_spec spec = { .ref = q->ref, .total = q->total, .expected = q->expected };
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	struct digest guess;

	if (!q->ref)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "the first message must name a ref");
	w->ref = x_strdup(q->ref);
	if (ingest_open(service_of(&w->base)->store, &spec, &w->ingest, err) < 0)
		return -1;
	ingest_status(w->ingest, &st);
	w->total = st.total;
	w->accepted = st.offset;
	w->declared = digest_is_set(&st.expected) || (st.total > 0 && ref_guess_digest(w->ref, &guess));
	return 0;
}

/* The expected digest may come with any message; when that blob is there, there is nothing to do. */
static int check_expected(struct write_call *w, const struct wire_write *q, struct stow_err *err)
{
	char text[DIGEST_STR_MAX];
	struct stow_err ignored;

	if (!digest_is_set(&q->expected) || !store_has(service_of(&w->base)->store, &q->expected))
		return 0;
	(void)!ingest_drop(TAKE(w->ingest), &ignored); /* a stray at worst, and the answer stays */
	digest_format(&q->expected, text);
	return stow_fail(err, STOW_ALREADY_EXISTS, "content %s: already exists", text);
}

/* The data of a WRITE or COMMIT, at its offset. */
static int write_data(struct write_call *w, const struct write_job *j, struct stow_err *err)
{
	const struct wire_write *q = &j->request;
	uint64_t offset = ingest_offset(w->ingest);

	if (q->offset < 0 || (q->offset > 0 && (uint64_t)q->offset != offset))
		return stow_fail(err, STOW_OUT_OF_RANGE, "ref %s: write at %lld, the current offset is %llu",
				 w->ref, (long long)q->offset, (unsigned long long)offset);
	/* Offset 0 starts again, also where no data comes with it: that is how containerd's client
	 * truncates. */
	if (q->offset == 0 && offset > 0 && ingest_restart(w->ingest, err) < 0)
		return -1;
	return q->n_data ? ingest_write(w->ingest, q->data, q->n_data, j->received_ns, err) : 0;
}

static int write_commit(struct write_call *w, const struct wire_write *q, struct stow_err *err)
{
	struct wire_write_response r;
	struct ingest_commit commit = {
		.total = w->declared_total,
		.expected = w->expected,
		.labels = q->labels,
	};

	r = full_response(w, q->action);
	if (ingest_commit(TAKE(w->ingest), &commit, &r.digest, err) < 0)
		return -1;
	rpc_send_last(&w->base, answer(&r));
	return 0;
}

/* One message, in full: what came before it has been done. Starts the operation that answers it, or
 * fails without having started one. */
static int write_step(struct write_call *w, const struct write_job *j, struct stow_err *err)
{
	const struct wire_write *q = &j->request;
	struct wire_write_response r;

	if (!w->ingest && write_open(w, q, err) < 0)
		return -1;
	if (ingest_check(w->ingest, err) < 0 || check_expected(w, q, err) < 0)
		return -1;
	if (q->total > 0)
		w->total = w->declared_total = q->total;
	if (digest_is_set(&q->expected))
		w->expected = q->expected;
	if (q->action != WIRE_STAT && write_data(w, j, err) < 0)
		return -1;
	if (q->action == WIRE_COMMIT)
		return write_commit(w, q, err);
	w->accepted = ingest_offset(w->ingest);
	r = full_response(w, q->action);
	rpc_send_recv(&w->base, answer(&r), write_received);
	return 0;
}

static void write_do(struct job *job)
{
	struct write_job *j = CONTAINER_OF(job, struct write_job, job);
	struct write_call *w = j->call;
	struct stow_err err;

	if (j->answered) {
		if (w->failure.code == STOW_OK &&
		    ingest_write(w->ingest, j->request.data, j->request.n_data, j->received_ns, &err) < 0)
			w->failure = err;
		atomic_fetch_sub(&w->pending, job_cost(j));
	} else if (!j->message) {
		write_end(w, w->failure.code == STOW_OK ? NULL : &w->failure);
	} else if (w->failure.code != STOW_OK) {
		write_end(w, &w->failure);
	} else if (j->refused.code != STOW_OK) {
		write_end(w, &j->refused);
	} else if (write_step(w, j, &err) < 0) {
		write_end(w, &err);
	}
	write_job_free(j);
}

/* Whether it may wait for another machine: a COMMIT, and an opening that aborts the ref because the blob is
 * there, since that one may be about to be committed. */
static bool is_far(const struct write_job *j)
{
	const struct write_call *w = j->call;

	return j->message && (store_far(service_of(&w->base)->store) & BACKEND_FAR_COMMIT) &&
	       (j->request.action == WIRE_COMMIT || (!w->ingest && digest_is_set(&j->request.expected)));
}

/* What may wait so leaves the workers. The client waits for its answer, so nothing comes to the strand
 * meanwhile. */
static void write_run(struct job *job)
{
	struct write_job *j = CONTAINER_OF(job, struct write_job, job);

	if (is_far(j)) {
		j->job.run = write_do;
		pool_submit(service_of(&j->call->base)->far, &j->job);
	} else {
		write_do(job);
	}
}

/* --- on the RPC thread --- */

/* Whether this message may be answered before it is written. */
static bool may_answer_data(const struct write_call *w, const struct write_job *j)
{
	const struct wire_write *q = &j->request;
	struct stow_err aborted;

	return w->declared && ingest_check(w->ingest, &aborted) == 0 && q->action == WIRE_WRITE &&
	       q->data_len > 0 && !digest_is_set(&q->expected) && q->total == 0 && q->offset >= 0 &&
	       (uint64_t)q->offset == w->accepted && w->accepted + q->data_len != w->total &&
	       atomic_load(&w->pending) + job_cost(j) <= LIMIT_PIPELINE;
}

/* Whether it is a bare STAT, with nothing left to be done before it: then the strand has nothing to add. */
static bool may_answer_stat(const struct write_call *w, const struct write_job *j)
{
	const struct wire_write *q = &j->request;
	struct stow_err aborted;

	/* `pending` first: what the strand has done is seen once it has been taken off there. */
	return atomic_load(&w->pending) == 0 && w->failure.code == STOW_OK && w->ingest &&
	       q->action == WIRE_STAT && !digest_is_set(&q->expected) && q->total == 0 &&
	       ingest_check(w->ingest, &aborted) == 0;
}

static struct write_job *write_job_new(struct write_call *w, struct rpc_message *message)
{
	struct write_job *j = x_calloc(1, sizeof(*j));

	j->job.run = write_run;
	j->call = w;
	j->received_ns = clock_wall_ns();
	j->message = message;
	if (message && message->compressed)
		rpc_fail_unreadable(message, &j->refused);
	else if (message && wire_write_request(message->iov, message->n, &j->request, &j->refused) < 0)
		j->request = (struct wire_write){ 0 };
	return j;
}

static void write_received(struct rpc_call *c, bool ok)
{
	struct write_call *w = write_call(c);
	struct write_job *j = write_job_new(w, ok ? TAKE(c->message) : NULL);
	bool good = j->message && j->refused.code == STOW_OK;
	struct wire_write_response r = { .action = WIRE_WRITE };

	if (good && may_answer_stat(w, j)) {
		write_job_free(j);
		r = full_response(w, WIRE_STAT);
		rpc_send_recv(c, answer(&r), write_received);
	} else if (good && may_answer_data(w, j)) {
		j->answered = true;
		w->accepted += j->request.data_len;
		atomic_fetch_add(&w->pending, job_cost(j));
		strand_submit(&w->strand, &j->job);
		r.offset = w->accepted;
		rpc_send_recv(c, answer(&r), write_received);
	} else {
		strand_submit(&w->strand, &j->job);
	}
}

static void write_start(struct rpc_call *c)
{
	struct write_call *w = write_call(c);

	strand_init(&w->strand, service_of(c)->pool);
	rpc_recv(c, write_received);
}

static void write_free(struct rpc_call *c)
{
	struct write_call *w = write_call(c);

	assert(!w->ingest);
	strand_destroy(&w->strand);
	free(w->ref);
}

const struct rpc_method method_write = {
	.path = "/containerd.services.content.v1.Content/Write",
	.client_streams = true,
	.size = sizeof(struct write_call),
	.start = write_start,
	.free = write_free,
};
