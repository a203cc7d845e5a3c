#include "tests/suite/tiered_env.h"

#include "content/base/clock.h"
#include "content/base/mem.h"

#include <stdio.h>

enum { WAIT_SECONDS = 20 };

/* --- what outlives a store --- */

static void keep(struct backend *b UNUSED)
{
}

static struct backend *kept_new(void)
{
	static struct backend_ops kept;
	struct backend *b;
	struct stow_err err;

	expect_ok(mem_new(&b, &err), &err);
	kept = *b->ops;
	kept.free = keep;
	b->ops = &kept;
	return b;
}

static void kept_free(struct backend *b)
{
	struct backend *other;
	struct stow_err err;

	if (b == NULL)
		return;
	expect_ok(mem_new(&other, &err), &err);
	b->ops = other->ops;
	backend_free(other);
	backend_free(b);
}

/* --- the fleet --- */

void fleet_make(struct fleet *f)
{
	struct stow_err err;

	*f = (struct fleet){ 0 };
	expect_ok(mem_new(&f->bucket, &err), &err);
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	for (int i = 0; i < NODES; i++) {
		struct node *n = &f->node[i];

		temp_dir_make(n->dir);
		n->disk = kept_new();
		n->options = (struct tiered_options){
			.writable = true,
			.identity = "bucket",
			.info_timeout_ns = 5 * NSEC_PER_SEC,
			.uploads = 2,
			.prefetch = 2,
			.claim_interval_ns = 100 * NSEC_PER_MSEC,
			.claim_grace_ns = 3600 * NSEC_PER_SEC,
		};
	}
}

void fleet_remove(struct fleet *f)
{
	for (int i = 0; i < NODES; i++) {
		node_stop(&f->node[i]);
		kept_free(f->node[i].disk);
		temp_dir_remove(f->node[i].dir);
	}
	backend_free(TAKE(f->bucket));
	backend_free(TAKE(f->source));
}

void fleet_add_source(struct fleet *f)
{
	struct stow_err err;

	expect_ok(mem_new(&f->source, &err), &err);
}

void node_start(struct fleet *f, int i)
{
	struct node *n = &f->node[i];
	struct tiered_options o = n->options;
	struct store_options so = { .root = n->dir };
	struct store_opened opened;
	struct stow_err err;

	expect_ok(fault_new(n->disk, &n->disk_plan, &o.fast, &err), &err);
	if (o.writable) {
		o.names[o.n_behind] = "the bucket";
		expect_ok(fault_new(mem_share(f->bucket), &n->net_plan, &o.behind[o.n_behind++], &err), &err);
	}
	if (f->source != NULL) {
		o.names[o.n_behind] = "the source";
		o.behind[o.n_behind++] = mem_share(f->source);
	}
	expect_ok(tiered_new(&o, &so.backend, &err), &err);
	expect_ok(store_open(&so, &n->store, &opened, &err), &err);
	n->pool = pool_new("test", 2);
	store_use_pool(n->store, n->pool);
	store_start(n->store);
}

void node_stop(struct node *n)
{
	if (n->store == NULL)
		return;
	store_stop(n->store);
	pool_free(TAKE(n->pool));
	store_close(TAKE(n->store));
}

void node_restart(struct fleet *f, int i)
{
	node_stop(&f->node[i]);
	node_start(f, i);
}

/* What asks the network. Records of sendings are on a node's own disk. */
static const enum fault_op net_ops[] = {
	FAULT_STAT,      FAULT_OPEN,        FAULT_PREAD,    FAULT_REMOVE,   FAULT_SCAN,
	FAULT_LOOK,      FAULT_SEND_FINISH, FAULT_NOTE_PUT, FAULT_NOTE_GET, FAULT_NOTE_REMOVE,
	FAULT_NOTE_SCAN, FAULT_DROP,        FAULT_PROBE,
};

void node_cut_off(struct node *n, enum stow_code code)
{
	atomic_store(&n->net_plan.code, code);
	atomic_store(&n->net_plan.forever, true);
	for (size_t i = 0; i < ARRAY_LEN(net_ops); i++)
		atomic_store(&n->net_plan.after[net_ops[i]], 1);
}

void node_reconnect(struct node *n)
{
	for (size_t i = 0; i < ARRAY_LEN(net_ops); i++)
		atomic_store(&n->net_plan.after[net_ops[i]], 0);
	atomic_store(&n->net_plan.forever, false);
}

/* --- content --- */

int node_try_put(struct node *n, const struct digest *d, size_t size, unsigned seed, struct stow_err *err)
{
	CLEANUP(freep) uint8_t *bytes = x_malloc(size);
	char ref[DIGEST_STR_MAX + 32], text[DIGEST_STR_MAX];
	struct ingest_spec spec = { .ref = ref, .total = size, .expected = *d };
	struct ingest_commit commit = { .total = size, .expected = *d };
	struct iovec v = { .iov_base = bytes, .iov_len = size };
	struct stow_err ignored;
	struct ingest *in;
	struct digest got;

	digest_format(d, text);
	(void)snprintf(ref, sizeof(ref), "test/1/layer-%s", text);
	fill(bytes, size, seed);
	if (ingest_open(n->store, &spec, &in, err) < 0)
		return -1;
	if (ingest_write(in, &v, 1, clock_wall_ns(), err) < 0) {
		(void)!ingest_close(in, &ignored);
		return -1;
	}
	return ingest_commit(in, &commit, &got, err);
}

struct digest node_put(struct node *n, size_t size, unsigned seed)
{
	struct digest d = blob_digest(DIGEST_SHA256, size, seed);
	struct stow_err err;

	expect_ok(node_try_put(n, &d, size, seed, &err), &err);
	return d;
}

bool node_lists(struct node *n, const struct digest *d)
{
	return store_has(n->store, d);
}

bool node_has(struct node *n, const struct digest *d)
{
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	struct stow_err err;

	if (store_info(n->store, d, &info, &err) == 0)
		return true;
	expect_fail(-1, &err, STOW_NOT_FOUND);
	return false;
}

int node_read(struct node *n, const struct digest *d, size_t size, unsigned seed, struct stow_err *err)
{
	enum { STEP = 100003 };
	CLEANUP(freep) uint8_t *got = x_malloc(size);
	struct open_blob *b;
	size_t off = 0, k;
	int result = 0;

	if (store_read_begin(n->store, d, 0, &b, err) < 0)
		return -1;
	assert_int_equal(store_read_size(b), size);
	while (result == 0 && off < size) {
		result = store_read(n->store, b, got + off, size - off < STEP ? size - off : STEP, off, 0, &k,
				    err);
		if (result == 0)
			off += k;
	}
	store_read_end(n->store, b);
	if (result == 0)
		assert_true(filled(got, size, seed));
	return result;
}

void node_check(struct node *n, const struct digest *d, size_t size, unsigned seed)
{
	struct stow_err err;

	assert_true(node_has(n, d));
	expect_ok(node_read(n, d, size, seed, &err), &err);
}

void node_delete(struct node *n, const struct digest *d)
{
	struct stow_err err;

	expect_ok(store_delete(n->store, d, &err), &err);
}

struct fleet_status node_status(struct node *n)
{
	struct fleet_status st;
	struct stow_err err;

	expect_ok(store_fleet_status(n->store, &st, &err), &err);
	return st;
}

bool backend_has(struct backend *b, const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(b, d, &st, &err) == 0;
}

void put_wrong(struct backend *b, const struct digest *d, size_t size)
{
	struct stow_err err;

	if (backend_has(b, d))
		expect_ok(backend_remove(b, d, &err), &err);
	put_blob(b, d, size, 4711);
}

/* --- waiting --- */

int64_t wait_deadline(void)
{
	return clock_mono_ns() + WAIT_SECONDS * NSEC_PER_SEC;
}

void wait_a_bit(int64_t until_ns, const char *what, const char *file, int line)
{
	if (clock_mono_ns() > until_ns) {
		print_error("never came true: %s\n", what);
		_fail(file, line);
	}
	(void)usleep(1000);
}

void wait_uploaded(struct node *n)
{
	wait_for(node_status(n).pending == 0);
}
