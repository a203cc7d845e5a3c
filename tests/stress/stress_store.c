/* Many threads do everything that a store can do, to few refs and few digests, so that they meet.
 *
 *   stress_store mem|local [SECONDS [THREADS [SEED]]]
 *
 * Each ref is for one content, so that whatever is found under it must be a prefix of that; each blob is
 * read and compared. In the end database and backend must agree without anybody's help. */
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/unit/store_env.h"

#include <stdio.h>

enum { REFS = 6, CONTENTS = 5, DEFAULT_SECONDS = 5, DEFAULT_THREADS = 10 };

/* The large one passes two checkpoints. */
static const size_t sizes[CONTENTS] = { 0, 1, 5000, 300000, 34 << 20 };

static struct content contents[CONTENTS];
static struct filter *everything;
static int64_t end_ns;
static unsigned first_seed;

enum op {
	OP_UPLOAD,
	OP_READ,
	OP_READ_HELD,
	OP_DELETE,
	OP_ABORT,
	OP_STATUS,
	OP_LIST_INGESTS,
	OP_LIST,
	OP_INFO,
	OP_UPDATE,
	OP_COUNT_BLOBS,
	OP_SWEEP,
	OP_RECONCILE,
	OP_COUNT,
};
static const char *const op_names[OP_COUNT] = {
	"upload", "read", "read_held", "delete", "abort", "status",    "list_ingests",
	"list",   "info", "update",    "count",  "sweep", "reconcile",
};
/* Of a hundred. */
static const unsigned weights[OP_COUNT] = { 34, 15, 6, 8, 4, 6, 4, 4, 6, 5, 4, 2, 2 };
static atomic_ulong done[OP_COUNT], committed;

/* --- chance --- */

struct worker {
	uint64_t state;
	const struct content *c; /* of the upload under way */
};

static unsigned chance(struct worker *w, unsigned n)
{
	w->state = w->state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(w->state >> 33) % n;
}

static unsigned any_content(struct worker *w)
{
	/* The large one seldom, since it takes long. */
	return chance(w, 60) == 0 ? CONTENTS - 1 : chance(w, CONTENTS - 1);
}

static void ref_name(unsigned i, char out[32])
{
	snprintf(out, 32, "default/%u/layer", i);
}

static const struct content *content_of_ref(unsigned ref)
{
	return &contents[ref % CONTENTS];
}

/* What may happen when others are faster. */
static void check_lost(const struct stow_err *err, enum stow_code a, enum stow_code b)
{
	if (err->code != a && err->code != b)
		fprintf(stderr, "%s: %s\n", stow_code_name(err->code), err->msg);
	thread_check(err->code == a || err->code == b);
}

/* --- uploading --- */

/* What the handle has is the beginning of its content. */
static void check_prefix(struct worker *w, struct ingest *in)
{
	uint64_t at = ingest_offset(in);
	struct digest got, want;

	thread_check(at <= w->c->n);
	if (at > w->c->n || (at > 1 << 20 && chance(w, 8)))
		return;
	want = content_prefix(w->c, at);
	ingest_digest(in, &got);
	thread_check(digest_equal(&got, &want));
}

/* Writes the rest, or a part of it. False if it has been aborted. */
static bool write_some(struct worker *w, struct ingest *in, bool all)
{
	struct stow_err err;
	size_t at;

	while ((at = ingest_offset(in)) < w->c->n && (all || chance(w, 4))) {
		size_t step = 1 + chance(w, w->c->n > 1 << 20 ? 4 << 20 : 3000 + (unsigned)w->c->n / 3);

		if (content_write(in, w->c, at, at + step < w->c->n ? at + step : w->c->n, &err) < 0) {
			check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
			return false;
		}
	}
	return true;
}

static void upload_end(struct worker *w, struct ingest *in, bool aborted)
{
	unsigned how = chance(w, 10);
	struct stow_err err;

	if (how < 6 && !aborted && write_some(w, in, true)) {
		if (content_commit(in, w->c, &err) == 0)
			atomic_fetch_add(&committed, 1);
		else
			check_lost(&err, STOW_ALREADY_EXISTS, STOW_NOT_FOUND);
	} else if (how == 6) {
		thread_check(ingest_drop(in, &err) == 0);
	} else if (how == 7 && !aborted) {
		struct ingest_commit wrong = { .total = w->c->n + 1 };
		struct digest d;

		thread_check(ingest_commit(in, &wrong, &d, &err) < 0);
		check_lost(&err, STOW_FAILED_PRECONDITION, STOW_NOT_FOUND);
	} else {
		thread_check(ingest_close(in, &err) == 0);
	}
}

static void do_upload(struct worker *w)
{
	char ref[32];
	/* Refs of the large content are as seldom as it is. */
	unsigned i = chance(w, 40) == 0 ? CONTENTS - 1 : chance(w, REFS - 1) % (CONTENTS - 1);
	struct ingest_spec spec = { .ref = ref };
	struct ingest *in;
	struct stow_err err;
	bool alive;

	if (i != CONTENTS - 1 && chance(w, 8) == 0)
		i = REFS - 1; /* shares its content with the first */
	ref_name(i, ref);
	w->c = content_of_ref(i);
	if (chance(w, 2))
		spec.total = w->c->n;
	if (chance(w, 4) == 0)
		spec.expected = w->c->d;
	if (ingest_open(env.store, &spec, &in, &err) < 0) {
		check_lost(&err, STOW_UNAVAILABLE, STOW_ALREADY_EXISTS);
		return;
	}
	check_prefix(w, in);
	alive = write_some(w, in, false);
	if (alive && chance(w, 6) == 0) {
		alive = ingest_restart(in, &err) == 0;
		if (!alive)
			check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
	}
	if (alive)
		alive = write_some(w, in, false);
	check_prefix(w, in);
	upload_end(w, in, !alive);
}

/* --- reading --- */

static void do_read(struct worker *w)
{
	struct stow_err err;

	if (!content_good(env.store, &contents[any_content(w)], &err))
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
}

/* Reads here and there while the blob may go. */
static void do_read_held(struct worker *w)
{
	const struct content *c = &contents[any_content(w)];
	struct open_blob *b = store_read_begin_now(env.store, &c->d);
	uint8_t to[1000];
	struct stow_err err;

	if (!b && store_read_begin(env.store, &c->d, 0, &b, &err) < 0) {
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
		return;
	}
	thread_check(store_read_size(b) == c->n);
	for (int i = 0; i < 10; i++) {
		size_t at = chance(w, (unsigned)c->n + 1), n;

		thread_check(store_read(env.store, b, to, sizeof(to), at, 0, &n, &err) == 0);
		thread_check(n == (c->n - at < sizeof(to) ? c->n - at : sizeof(to)));
		thread_check(memcmp(to, c->p + at, n) == 0);
	}
	store_read_end(env.store, b);
}

/* --- looking --- */

static const struct content *content_by_digest(const struct digest *d)
{
	for (int i = 0; i < CONTENTS; i++)
		if (digest_equal(&contents[i].d, d))
			return &contents[i];
	return NULL;
}

static int check_blob_shown(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	const struct content *c = content_by_digest(&i->digest);

	thread_check(c && i->size == c->n);
	++*(unsigned *)arg;
	return 0;
}

static void do_list(struct worker *w)
{
	struct digest cursor = { 0 };
	unsigned shown = 0;
	struct stow_err err;
	bool end = false;

	while (!end) {
		size_t max = 1 + chance(w, CONTENTS);

		thread_check(store_list(env.store, everything, &cursor, max, check_blob_shown, &shown, &end,
					&err) == 0);
	}
	thread_check(shown <= CONTENTS);
}

static int check_ingest_shown(void *arg, const struct ingest_status *st, struct stow_err *err UNUSED)
{
	unsigned *seen = arg;

	for (unsigned i = 0; i < REFS; i++) {
		char ref[32];

		ref_name(i, ref);
		if (strcmp(ref, st->ref) == 0) {
			thread_check(seen[i]++ == 0); /* each once */
			thread_check(st->offset <= content_of_ref(i)->n);
		}
	}
	return 0;
}

static void do_list_ingests(struct worker *w UNUSED)
{
	unsigned seen[REFS] = { 0 };
	struct stow_err err;

	thread_check(store_ingests(env.store, everything, check_ingest_shown, seen, &err) == 0);
}

static void do_status(struct worker *w)
{
	CLEANUP(ingest_status_free) struct ingest_status st = { 0 };
	unsigned i = chance(w, REFS);
	struct stow_err err;
	char ref[32];

	ref_name(i, ref);
	if (store_ingest_status(env.store, ref, &st, &err) < 0)
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
	else
		thread_check(strcmp(st.ref, ref) == 0 && st.offset <= content_of_ref(i)->n);
}

static void do_info(struct worker *w)
{
	const struct content *c = &contents[any_content(w)];
	struct blob_info info;
	struct stow_err err;

	if (store_info(env.store, &c->d, &info, &err) < 0) {
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
		return;
	}
	thread_check(info.size == c->n && digest_equal(&info.digest, &c->d));
	blob_info_free(&info);
}

static void do_count(struct worker *w UNUSED)
{
	struct stow_err err;
	uint64_t n, bytes, all = 0;

	for (int i = 0; i < CONTENTS; i++)
		all += contents[i].n;
	thread_check(store_count(env.store, &n, &bytes, &err) == 0 && n <= CONTENTS && bytes <= all);
}

/* --- changing --- */

static void do_update(struct worker *w)
{
	CLEANUP(labels_free) struct labels from = { 0 };
	const char *const paths[] = { "labels.a" };
	const struct content *c = &contents[any_content(w)];
	struct blob_info info;
	struct stow_err err;

	thread_check(labels_set(&from, "a", "1", &err) == 0);
	if (store_update(env.store, &c->d, &from, paths, 1, &info, &err) < 0) {
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
		return;
	}
	thread_check(info.size == c->n && labels_equal(&info.labels, &from));
	blob_info_free(&info);
}

static void do_delete(struct worker *w)
{
	struct stow_err err;

	if (store_delete(env.store, &contents[any_content(w)].d, &err) < 0)
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
}

static void do_abort(struct worker *w)
{
	struct stow_err err;
	char ref[32];

	ref_name(chance(w, REFS), ref);
	if (store_abort(env.store, ref, &err) < 0)
		check_lost(&err, STOW_NOT_FOUND, STOW_NOT_FOUND);
}

static void do_sweep(struct worker *w)
{
	struct stow_err err;
	uint64_t n;

	thread_check(store_sweep(env.store, chance(w, 2) ? 0 : 20 * NSEC_PER_MSEC, &n, &err) == 0);
	thread_check(n <= REFS);
}

static void do_reconcile(struct worker *w UNUSED)
{
	static const atomic_bool go = false;
	struct reconciled r;
	struct stow_err err;

	thread_check(store_reconcile(env.store, &go, &r, &err) == 0);
	thread_check(r.dropped == 0); /* a row has its bytes, always */
}

/* --- all together --- */

static enum op any_op(struct worker *w)
{
	unsigned at = chance(w, 100);

	for (int op = 0; op < OP_COUNT; op++) {
		if (at < weights[op])
			return (enum op)op;
		at -= weights[op];
	}
	return OP_READ;
}

static void work(void *arg UNUSED, int i)
{
	static void (*const ops[OP_COUNT])(struct worker * w) = {
		do_upload, do_read, do_read_held, do_delete, do_abort, do_status,    do_list_ingests,
		do_list,   do_info, do_update,    do_count,  do_sweep, do_reconcile,
	};
	struct worker w = { .state = first_seed * 1000 + (unsigned)i };

	while (clock_mono_ns() < end_ns && atomic_load(&thread_failures) == 0) {
		enum op op = any_op(&w);

		ops[op](&w);
		atomic_fetch_add(&done[op], 1);
	}
}

/* What must hold when all have gone, and again after a restart. */
static void check_rest(void)
{
	static const atomic_bool go = false;
	struct reconciled r;
	struct stow_err err;

	for (int restarts = 0; restarts < 2; restarts++) {
		expect_ok(store_reconcile(env.store, &go, &r, &err), &err);
		assert_int_equal(r.adopted, 0);
		assert_int_equal(r.dropped, 0);
		assert_int_equal(env_blobs(&env), env_backend_blobs(&env));
		assert_int_equal(env_ingests(&env), env_stages(&env));
		for (int i = 0; i < CONTENTS; i++)
			if (store_has(env.store, &contents[i].d))
				check_content(&env, &contents[i]);
		env_reopen(&env);
		assert_int_equal(env.opened.strays, 0);
	}
}

static unsigned threads_wanted;

static void everybody_at_once(void **state UNUSED)
{
	run_threads((int)threads_wanted, work, NULL);
	for (int op = 0; op < OP_COUNT; op++)
		print_message("%s %lu, ", op_names[op], atomic_load(&done[op]));
	print_message("committed %lu\n", atomic_load(&committed));
	assert_true(committed > 0);
	check_rest();
}

static unsigned number(int argc, char **argv, int i, unsigned otherwise)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(everybody_at_once) };
	unsigned seconds = number(argc, argv, 2, DEFAULT_SECONDS);
	struct stow_err err;
	int failures;

	if (argc < 2 || (strcmp(argv[1], "mem") != 0 && strcmp(argv[1], "local") != 0)) {
		fprintf(stderr, "usage: stress_store mem|local [SECONDS [THREADS [SEED]]]\n");
		return 2;
	}
	threads_wanted = number(argc, argv, 3, DEFAULT_THREADS);
	first_seed = number(argc, argv, 4, 1);
	env_make(&env, strcmp(argv[1], "mem") == 0 ? ENV_MEM : ENV_LOCAL);
	env_open(&env);
	for (unsigned i = 0; i < CONTENTS; i++)
		contents[i] = content_make(sizes[i], i, i % 2 ? DIGEST_SHA256 : DIGEST_SHA512);
	expect_ok(filter_compile(NULL, 0, &everything, &err), &err);
	(void)alarm(seconds + 120); /* a deadlock ends it */
	end_ns = clock_mono_ns() + seconds * NSEC_PER_SEC;

	failures = cmocka_run_group_tests_name("stress", tests, NULL, NULL);

	filter_free(everything);
	for (int i = 0; i < CONTENTS; i++)
		content_free(&contents[i]);
	env_remove(&env);
	return failures;
}
