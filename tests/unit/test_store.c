/* The store: what it shows of its blobs and ingests, what it does at its opening, and its upkeep. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/store_internal.h"
#include "tests/unit/store_env.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static void put_ok(const struct content *c)
{
	struct stow_err err;

	expect_ok(content_put(env.store, "ref", c, &err), &err);
}

static void park(const char *ref)
{
	struct stow_err err;

	expect_ok(ingest_close(ingest_of(&env, ref), &err), &err);
}

/* --- opening --- */

static void a_root_has_one_process(void **state UNUSED)
{
	struct store_options o = { .root = env.dir };
	struct store_opened opened;
	struct store *second = NULL;
	struct stow_err err;
	char pid[32];

	expect_ok(mem_new(&o.backend, &err), &err); /* the store's, also when opening fails */
	expect_fail(store_open(&o, &second, &opened, &err), &err, STOW_FAILED_PRECONDITION);
	assert_null(second);
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	expect_named(&err, pid);
	expect_named(&err, env.dir);
	env_reopen(&env); /* given back when it is closed */
}

static void a_root_is_made(void **state UNUSED)
{
	char root[TEMP_DIR_MAX + 16];
	struct store_options o = { .root = root };
	struct store_opened opened;
	struct store *s;
	struct stow_err err;
	struct stat st;

	snprintf(root, sizeof(root), "%s/new", env.dir);
	expect_ok(mem_new(&o.backend, &err), &err);
	expect_ok(store_open(&o, &s, &opened, &err), &err);
	assert_true(opened.created);
	assert_int_equal(strlen(store_node_id(s)), 32);
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	store_close(s);

	snprintf(root, sizeof(root), "%s/no/parent", env.dir);
	expect_ok(mem_new(&o.backend, &err), &err);
	expect_fail(store_open(&o, &s, &opened, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, root);
	snprintf(root, sizeof(root), "%s/file", env.dir);
	close(open(root, O_CREAT | O_CLOEXEC, 0600));
	expect_ok(mem_new(&o.backend, &err), &err);
	expect_fail(store_open(&o, &s, &opened, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, "is no directory");
	store_close(NULL);
}

/* Two roots, one directory of bytes: the second would take the first one's stages for strays. */
static void the_bytes_are_refused_too(void **state UNUSED)
{
	CLEANUP(freep) char *other = x_asprintf("%s/other", env.dir);
	struct store_options o = { .root = other, .bytes = env.dir };
	struct store_opened opened;
	struct store *s = NULL;
	struct stow_err err;

	expect_ok(mem_new(&o.backend, &err), &err);
	expect_fail(store_open(&o, &s, &opened, &err), &err, STOW_FAILED_PRECONDITION);
	expect_named(&err, env.dir);
	env_close(&env);
	expect_ok(mem_new(&o.backend, &err), &err);
	expect_ok(store_open(&o, &s, &opened, &err), &err);
	store_close(s);
	env_open(&env);
}

static void strays_are_removed(void **state UNUSED)
{
	struct stow_err err;

	park("parked");
	for (int i = 0; i < 3; i++) {
		struct stage_name name = new_name();
		struct stage *st;

		expect_ok(backend_stage_create(env.store->backend, name.s, NULL, &st, &err), &err);
		stage_close(st);
	}
	assert_int_equal(env_stages(&env), 4);
	env_reopen(&env);
	assert_int_equal(env.opened.strays, 3);
	assert_false(env.opened.created);
	assert_int_equal(env_stages(&env), 1);
	check_ingest(&env, "parked", 0);
}

static int discard_stage(void *arg, const char *name, struct stow_err *err)
{
	return backend_stage_discard(arg, name, err);
}

/* What a crash leaves between publishing and recording. */
static void ingests_without_their_stage_are_forgotten(void **state UNUSED)
{
	struct stow_err err;

	park("parked");
	expect_ok(backend_stage_scan(env.store->backend, discard_stage, env.store->backend, &err), &err);
	park("another");
	env_reopen(&env);
	check_no_ingest(&env, "parked");
	check_ingest(&env, "another", 0);
	assert_int_equal(env.opened.strays, 0);
}

static void a_damaged_database_is_set_aside(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(5000, 1, DIGEST_SHA256);
	CLEANUP(freep) char *path = store_meta_path(env.dir);
	int fd;

	put_ok(&c);
	park("parked");
	env_close(&env);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "garbage garbage", 15), 15);
	close(fd);
	env_open(&env);
	assert_true(env.opened.created);
	assert_non_null(strstr(env.opened.set_aside, path));
	assert_int_equal(access(env.opened.set_aside, F_OK), 0);
	assert_int_equal(env.opened.strays, 1); /* the parked one's stage: nobody knows it now */
	assert_int_equal(env_blobs(&env), 0);
	check_content(&env, &c); /* the bytes speak for themselves */
	assert_int_equal(env_blobs(&env), 1);
	env_reopen(&env);
	assert_string_equal(env.opened.set_aside, "");
	check_content(&env, &c);
}

/* --- adopting --- */

static void bytes_without_a_row_are_adopted(void **state UNUSED)
{
	struct content c[3];
	struct labels from = { 0 };
	struct blob_info info;
	struct stow_err err;
	int64_t before = clock_wall_ns();

	for (unsigned i = 0; i < 3; i++) {
		c[i] = content_make(700 + i, i, DIGEST_SHA256);
		put_blob(env.store->backend, &c[i].d, c[i].n, i);
		assert_false(store_has(env.store, &c[i].d));
		expect_fail(store_info_now(env.store, &c[i].d, &info, &err), &err, STOW_NOT_FOUND);
	}
	/* By Info, by Update, by Read. */
	expect_ok(store_info(env.store, &c[0].d, &info, &err), &err);
	assert_int_equal(info.size, 700);
	assert_true(info.created_ns >= before && info.created_ns == info.updated_ns);
	blob_info_free(&info);
	expect_ok(labels_set(&from, "a", "1", &err), &err);
	expect_ok(store_update(env.store, &c[1].d, &from, NULL, 0, &info, &err), &err);
	assert_string_equal(labels_get(&info.labels, "a"), "1");
	blob_info_free(&info);
	labels_free(&from);
	assert_int_equal(env_blobs(&env), 2);
	for (int i = 2; i >= 0; i--) {
		check_content(&env, &c[i]);
		assert_true(store_has(env.store, &c[i].d));
		content_free(&c[i]);
	}
	assert_int_equal(env_blobs(&env), 3);
}

static void what_is_nowhere_is_not_found(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA512, 1);
	struct blob_info info;
	struct stow_err err;

	check_absent(&env, &d);
	expect_fail(store_update(env.store, &d, &(struct labels){ 0 }, NULL, 0, &info, &err), &err,
		    STOW_NOT_FOUND);
	expect_fail(store_delete(env.store, &d, &err), &err, STOW_NOT_FOUND);
	check_no_ingest(&env, "ref");
	expect_fail(store_abort(env.store, "ref", &err), &err, STOW_NOT_FOUND);
}

/* --- listing --- */

struct listed {
	size_t n;
	uint64_t bytes;
	size_t stop_after;
};

static int list_one(void *arg, const struct blob_info *i, struct stow_err *err)
{
	struct listed *l = arg;

	l->n++;
	l->bytes += i->size;
	return l->n == l->stop_after ? stow_fail(err, STOW_CANCELLED, "enough") : 0;
}

/* Lists by blocks of `max`, each full but the last. */
static struct listed list(const char *filter, size_t max)
{
	CLEANUP(filter_freep) struct filter *f = NULL;
	struct listed all = { 0 };
	struct digest cursor = { 0 };
	struct stow_err err;
	bool end = false;

	expect_ok(filter_compile(&filter, 1, &f, &err), &err);
	while (!end) {
		struct listed block = { 0 };

		expect_ok(store_list(env.store, f, &cursor, max, list_one, &block, &end, &err), &err);
		assert_true(end || block.n == max);
		all.n += block.n;
		all.bytes += block.bytes;
	}
	return all;
}

static int stop_at_once(void *arg UNUSED, const struct blob_info *i UNUSED, struct stow_err *err UNUSED)
{
	return 1;
}

static void lists_by_filter_and_block(void **state UNUSED)
{
	enum { N = 60 };
	CLEANUP(filter_freep) struct filter *all = NULL;
	struct listed l = { .stop_after = 2 };
	struct digest cursor = { 0 };
	char by_digest[DIGEST_STR_MAX + 16] = "digest==", text[DIGEST_STR_MAX];
	struct stow_err err;
	bool end;

	assert_int_equal(list("", 10).n, 0);
	for (unsigned i = 0; i < N; i++) {
		CLEANUP(content_free) struct content c = content_make(i, i, DIGEST_SHA256);
		struct labels from = { 0 };
		struct blob_info info;

		put_ok(&c);
		expect_ok(labels_set(&from, "third", i % 3 ? "no" : "yes", &err), &err);
		expect_ok(store_update(env.store, &c.d, &from, NULL, 0, &info, &err), &err);
		blob_info_free(&info);
		labels_free(&from);
		digest_format(&c.d, text);
	}
	for (size_t max = 1; max < 2 * N; max += 7) {
		assert_int_equal(list("", max).n, N);
		assert_int_equal(list("", max).bytes, N * (N - 1) / 2);
		assert_int_equal(list("labels.third==yes", max).n, N / 3);
		assert_int_equal(list("labels.third!=yes", max).n, N - N / 3);
		assert_int_equal(list("labels.other", max).n, 0);
	}
	assert_int_equal(list("", N).n, N); /* the last block is full */
	snprintf(by_digest, sizeof(by_digest), "digest==\"%s\"", text);
	assert_int_equal(list(by_digest, 10).n, 1);
	assert_int_equal(list("size==1", 10).n, 0);
	expect_ok(filter_compile(NULL, 0, &all, &err), &err);
	for (size_t seen = 1; seen <= N; seen++) { /* the visitor stops after each one */
		expect_ok(store_list(env.store, all, &cursor, N, stop_at_once, NULL, &end, &err), &err);
		assert_false(end);
	}
	expect_ok(store_list(env.store, all, &cursor, N, stop_at_once, NULL, &end, &err), &err);
	assert_true(end);
	cursor = (struct digest){ 0 };
	expect_fail(store_list(env.store, all, &cursor, 10, list_one, &l, &end, &err), &err, STOW_CANCELLED);
}

static int note_ref(void *arg, const struct ingest_status *st, struct stow_err *err)
{
	char *text = arg;

	snprintf(text + strlen(text), 100 - strlen(text), "%s=%llu ", st->ref,
		 (unsigned long long)st->offset);
	return strcmp(st->ref, "stop") == 0 ? stow_fail(err, STOW_CANCELLED, "enough") : 0;
}

/* Open ones with a checkpoint's row and without, and parked ones, each once. */
static void ingests_are_shown_once(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(100, 1, DIGEST_SHA256);
	CLEANUP(filter_freep) struct filter *f = NULL;
	const char *texts[] = { "ref~=/^open/", "ref==parked" };
	char seen[101] = "";
	struct ingest *a, *b;
	struct stow_err err;

	park("parked");
	park("open-1");
	a = ingest_of(&env, "open-1");
	b = ingest_of(&env, "open-2");
	expect_ok(content_write(a, &c, 0, 10, &err), &err);
	expect_ok(content_write(b, &c, 0, 20, &err), &err);
	assert_int_equal(env_ingests(&env), 3);
	expect_ok(filter_compile(texts, 2, &f, &err), &err);
	expect_ok(store_ingests(env.store, f, note_ref, seen, &err), &err);
	assert_string_equal(seen, "open-1=10 open-2=20 parked=0 ");
	park("stop");
	filter_freep(&f);
	expect_ok(filter_compile(NULL, 0, &f, &err), &err);
	seen[0] = 0;
	expect_fail(store_ingests(env.store, f, note_ref, seen, &err), &err, STOW_CANCELLED);
	expect_ok(ingest_close(a, &err), &err);
	expect_ok(ingest_drop(b, &err), &err);
	assert_int_equal(env_ingests(&env), 3);
}

/* --- reading and deleting --- */

static void readers_finish_after_a_delete(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(50000, 1, DIGEST_SHA256);
	CLEANUP(freep) uint8_t *to = x_malloc(c.n);
	struct open_blob *b, *now;
	struct stow_err err;
	size_t n;

	put_ok(&c);
	assert_null(store_read_begin_now(env.store, &c.d));
	expect_ok(store_read_begin(env.store, &c.d, 0, &b, &err), &err);
	now = store_read_begin_now(env.store, &c.d);
	assert_ptr_equal(now, b);
	store_read_end(env.store, now);
	expect_ok(store_delete(env.store, &c.d, &err), &err);
	assert_null(store_read_begin_now(env.store, &c.d));
	check_absent(&env, &c.d);
	expect_fail(store_delete(env.store, &c.d, &err), &err, STOW_NOT_FOUND);
	expect_ok(store_read(env.store, b, to, c.n, 0, 0, &n, &err), &err);
	assert_int_equal(n, c.n);
	assert_memory_equal(to, c.p, c.n);
	put_ok(&c); /* and it can come back meanwhile */
	store_read_end(env.store, b);
	check_content(&env, &c);
}

static void bytes_that_are_gone(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(500, 1, DIGEST_SHA256);
	struct open_blob *b = NULL;
	struct stow_err err;

	put_ok(&c);
	expect_ok(backend_remove(env.store->backend, &c.d, &err), &err);
	assert_true(store_has(env.store, &c.d));
	expect_fail(store_read_begin(env.store, &c.d, 0, &b, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "its bytes are gone");
	assert_false(store_has(env.store, &c.d)); /* so that they can be pulled again */
	put_ok(&c);
	check_content(&env, &c);
	/* Deleting such a one is a success: what it promised is gone. */
	expect_ok(backend_remove(env.store->backend, &c.d, &err), &err);
	expect_ok(store_delete(env.store, &c.d, &err), &err);
	assert_int_equal(env_blobs(&env), 0);
}

static void bytes_without_a_row_can_be_deleted(void **state UNUSED)
{
	struct digest d = some_digest(DIGEST_SHA256, 1);
	struct stow_err err;

	put_blob(env.store->backend, &d, 10, 1);
	expect_ok(store_delete(env.store, &d, &err), &err);
	assert_int_equal(env_backend_blobs(&env), 0);
	check_absent(&env, &d);
}

static void bytes_of_another_size(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(500, 1, DIGEST_SHA256);
	struct open_blob *b = NULL;
	struct stow_err err;

	put_ok(&c);
	expect_ok(backend_remove(env.store->backend, &c.d, &err), &err);
	put_blob(env.store->backend, &c.d, 499, 1);
	expect_fail(store_read_begin(env.store, &c.d, 0, &b, &err), &err, STOW_DATA_LOSS);
	expect_named(&err, "499 bytes are stored, 500 were recorded");
	assert_null(b);
	/* Deleted and pulled again, it is right. */
	expect_ok(store_delete(env.store, &c.d, &err), &err);
	put_ok(&c);
	check_content(&env, &c);
}

static void a_failed_delete_takes_nothing_that_is_shown(void **state UNUSED)
{
	CLEANUP(content_free) struct content c = content_make(500, 1, DIGEST_SHA256);
	struct stow_err err;

	put_ok(&c);
	env_fault(&env, FAULT_REMOVE, 1, STOW_INTERNAL);
	expect_fail(store_delete(env.store, &c.d, &err), &err, STOW_INTERNAL);
	check_content(&env, &c); /* adopted again */
	expect_ok(store_delete(env.store, &c.d, &err), &err);
	check_absent(&env, &c.d);
}

/* --- sweeping --- */

static void sweep_by_age(void **state UNUSED)
{
	struct iovec v = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	struct ingest *in;
	struct stow_err err;
	uint64_t n = 42;

	park("old");
	in = ingest_of(&env, "old");
	expect_ok(ingest_write(in, &v, 1, clock_wall_ns() - 3600 * NSEC_PER_SEC, &err), &err);
	expect_ok(ingest_close(in, &err), &err);
	park("young");
	park("open");
	in = ingest_of(&env, "open");

	expect_ok(store_sweep(env.store, 7200 * NSEC_PER_SEC, &n, &err), &err);
	assert_int_equal(n, 0);
	expect_ok(store_sweep(env.store, 1800 * NSEC_PER_SEC, &n, &err), &err);
	assert_int_equal(n, 1);
	check_no_ingest(&env, "old");
	check_ingest(&env, "young", 0);
	expect_ok(store_sweep(env.store, 0, &n, &err), &err);
	assert_int_equal(n, 1);
	check_no_ingest(&env, "young");
	check_ingest(&env, "open", 0); /* somebody has it */
	assert_int_equal(env_stages(&env), 1);
	expect_ok(ingest_write(in, &v, 1, clock_wall_ns(), &err), &err);
	expect_ok(ingest_close(in, &err), &err);
	check_ingest(&env, "open", 1);
	env_fault(&env, FAULT_STAGE_DISCARD, 1, STOW_INTERNAL);
	n = 42;
	expect_fail(store_sweep(env.store, 0, &n, &err), &err, STOW_INTERNAL);
	assert_int_equal(n, 42);
}

/* --- one digest, many hands --- */

struct race {
	struct content c[2];
	atomic_int committed, deleted, read;
};

static void race_one(void *arg, int i)
{
	struct race *r = arg;

	for (int round = 0; round < 60; round++) {
		const struct content *c = &r->c[round % 2];
		struct stow_err err;
		struct blob_info info;
		char ref[32];

		snprintf(ref, sizeof(ref), "ref-%d", i);
		if (i < 2) {
			if (content_put(env.store, ref, c, &err) == 0)
				atomic_fetch_add(&r->committed, 1);
			else
				thread_check(err.code == STOW_ALREADY_EXISTS);
		} else if (i < 4) {
			if (store_delete(env.store, &c->d, &err) == 0)
				atomic_fetch_add(&r->deleted, 1);
			else
				thread_check(err.code == STOW_NOT_FOUND);
		} else if (i < 5) {
			if (store_info(env.store, &c->d, &info, &err) == 0)
				blob_info_free(&info);
			else
				thread_check(err.code == STOW_NOT_FOUND);
		} else if (content_good(env.store, c, &err)) {
			atomic_fetch_add(&r->read, 1);
		} else {
			thread_check(err.code == STOW_NOT_FOUND);
		}
	}
}

static void delete_beside_commit(void **state UNUSED)
{
	static const atomic_bool go = false;
	struct race r = { 0 };
	struct reconciled found;
	struct stow_err err;

	for (unsigned i = 0; i < 2; i++)
		r.c[i] = content_make(3000, i, i ? DIGEST_SHA512 : DIGEST_SHA256);
	run_threads(6, race_one, &r);
	assert_true(r.committed > 0);
	expect_ok(store_reconcile(env.store, &go, &found, &err), &err);
	assert_int_equal(found.adopted, 0);
	assert_int_equal(found.dropped, 0);
	assert_int_equal(found.seen, env_blobs(&env));
	for (unsigned i = 0; i < 2; i++) {
		if (store_has(env.store, &r.c[i].d))
			check_content(&env, &r.c[i]);
		content_free(&r.c[i]);
	}
	assert_int_equal(env_stages(&env), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENV_BOTH(a_root_has_one_process),
		ENV_BOTH(a_root_is_made),
		ENV_BOTH(the_bytes_are_refused_too),
		ENV_BOTH(strays_are_removed),
		ENV_BOTH(ingests_without_their_stage_are_forgotten),
		ENV_BOTH(a_damaged_database_is_set_aside),
		ENV_BOTH(bytes_without_a_row_are_adopted),
		ENV_BOTH(what_is_nowhere_is_not_found),
		ENV_BOTH(lists_by_filter_and_block),
		ENV_BOTH(ingests_are_shown_once),
		ENV_BOTH(readers_finish_after_a_delete),
		ENV_BOTH(bytes_that_are_gone),
		ENV_BOTH(bytes_without_a_row_can_be_deleted),
		ENV_BOTH(bytes_of_another_size),
		ENV_BOTH(a_failed_delete_takes_nothing_that_is_shown),
		ENV_BOTH(sweep_by_age),
		ENV_BOTH(delete_beside_commit),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
