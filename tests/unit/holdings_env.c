#include "tests/unit/holdings_env.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/behind.h"

#include <stdio.h>
#include <time.h>

static void forgotten(void *arg)
{
	struct holder *n = arg;
	struct stow_err err;
	bool emptied;

	atomic_fetch_add(&n->forgotten, 1);
	expect_ok(meta_remote_identity(n->meta, "", &emptied, &err), &err);
	expect_ok(meta_remote_identity(n->meta, "the bucket", &emptied, &err), &err);
}

static void marked(void *arg)
{
	atomic_fetch_add(&((struct holder *)arg)->marked, 1);
}

static void returned(void *arg)
{
	atomic_fetch_add(&((struct holder *)arg)->returned, 1);
}

void holders_make(struct holders *f)
{
	struct stow_err err;

	memset(f, 0, sizeof(*f));
	expect_ok(mem_new(&f->bucket, &err), &err);
	for (int i = 0; i < HOLDERS; i++) {
		struct holder *n = &f->node[i];

		temp_dir_make(n->dir);
		n->options = (struct holdings_options){
			.interval_ns = 2 * NSEC_PER_MSEC,
			.grace_ns = 3600 * NSEC_PER_SEC,
			.linger_ns = NSEC_PER_MSEC,
			.forgotten = forgotten,
			.marked = marked,
			.returned = returned,
			.arg = n,
		};
	}
}

void holders_remove(struct holders *f)
{
	for (int i = 0; i < HOLDERS; i++) {
		if (f->node[i].holdings)
			holder_stop(&f->node[i]);
		temp_dir_remove(f->node[i].dir);
	}
	backend_free(TAKE(f->bucket));
}

void holder_start(struct holders *f, int i)
{
	struct holder *n = &f->node[i];
	CLEANUP(freep) char *path = x_asprintf("%s/meta.mdb", n->dir);
	static const char *const names[] = { "the bucket" };
	struct backend *behind;
	struct stow_err err;
	bool emptied;

	assert_null(n->holdings);
	expect_ok(meta_open(path, 0, 0, &n->meta, NULL, &err), &err);
	expect_ok(meta_remote_identity(n->meta, "the bucket", &emptied, &err), &err);
	expect_ok(fault_new(mem_share(f->bucket), &n->plan, &behind, &err), &err);
	tiers_init(&n->tiers, &behind, names, 1, true);
	tiers_start(&n->tiers);
	n->options.tier = &n->tiers.v[0];
	n->holdings = holdings_new(&n->options);
	holdings_start(n->holdings, n->meta);
	holdings_await(n->holdings, wait_deadline());
}

static void end(struct holder *n)
{
	tiers_stop(&n->tiers);
	holdings_stop(n->holdings);
	holdings_free(TAKE(n->holdings));
	tiers_free(&n->tiers);
	meta_close(TAKE(n->meta));
}

void holder_stop(struct holder *n)
{
	holdings_leave(n->holdings);
	end(n);
}

void holder_kill(struct holder *n)
{
	end(n);
}

void holder_wipe(struct holder *n)
{
	assert_null(n->holdings);
	temp_dir_remove(n->dir);
	temp_dir_make(n->dir);
}

void holder_commit(struct holder *n, const struct digest *d)
{
	struct blob_info i = { .digest = *d, .size = OBJECT_SIZE, .created_ns = 5 };
	struct stow_err err;

	expect_ok(meta_blob_add(n->meta, &i, NULL, false, &err), &err);
	holdings_changed(n->holdings);
}

bool holder_adopt(struct holder *n, const struct digest *d)
{
	struct blob_info i = { .digest = *d, .size = OBJECT_SIZE, .created_ns = 5 };
	struct stow_err err;

	if (holdings_refused(n->holdings, d))
		return false;
	expect_ok(meta_blobs_adopt(n->meta, &i, 1, true, &err), &err);
	holdings_changed(n->holdings);
	return true;
}

void holder_adopt_at_last(struct holder *n, const struct digest *d)
{
	wait_for(holder_adopt(n, d));
}

void holder_delete(struct holder *n, const struct digest *d)
{
	struct stow_err err;

	expect_ok(meta_blob_delete(n->meta, d, &err), &err);
	holdings_changed(n->holdings);
}

static int take_name(void *arg, const char *name, uint64_t size UNUSED, int64_t modified_ns UNUSED,
		     struct stow_err *err UNUSED)
{
	(void)snprintf(arg, NOTE_NAME_SIZE, "%s", name);
	return 0;
}

static const struct behind_ops *behind(struct backend *b)
{
	return b->ops->behind;
}

void holder_name(struct holders *f, int i, char out[NOTE_NAME_SIZE])
{
	CLEANUP(freep) char *prefix = x_asprintf(NOTE_NODES "%s", meta_node_id(f->node[i].meta));
	struct stow_err err;

	*out = '\0';
	expect_ok(behind(f->bucket)->note_scan(f->bucket, prefix, take_name, out, &err), &err);
}

static bool find_note(struct holders *f, int i, struct buf *to)
{
	char name[NOTE_NAME_SIZE];
	struct stow_err err;

	holder_name(f, i, name);
	buf_init(to, NOTE_LIMIT);
	return *name != '\0' && behind(f->bucket)->note_get(f->bucket, name, to, &err) == 0;
}

bool holder_note(struct holders *f, int i, struct note_node *ret_note)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	struct stow_err err;

	if (!find_note(f, i, &text))
		return false;
	expect_ok(note_node_read(&text, ret_note, NULL, NULL, &err), &err);
	return true;
}

static void collect(void *arg, uint64_t key)
{
	keyset_add(arg, key);
}

bool holder_tells(struct holders *f, int i, const struct digest *d)
{
	CLEANUP(keyset_free) struct keyset keys = { 0 };
	CLEANUP(buf_free) struct buf text = { 0 };
	struct note_node note;
	struct stow_err err;

	if (!find_note(f, i, &text))
		return false;
	expect_ok(note_node_read(&text, &note, collect, &keys, &err), &err);
	return keyset_has(&keys, keyset_key(d));
}

struct digest object(struct backend *bucket, unsigned seed)
{
	struct digest d = some_digest(DIGEST_SHA256, seed);

	put_blob(bucket, &d, OBJECT_SIZE, seed);
	return d;
}

bool has_object(struct backend *bucket, const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(bucket, d, &st, &err) == 0;
}

bool has_note(struct backend *bucket, const char *name)
{
	CLEANUP(buf_free) struct buf text = { 0 };
	struct stow_err err;

	buf_init(&text, NOTE_LIMIT);
	return behind(bucket)->note_get(bucket, name, &text, &err) == 0;
}

void put_note(struct backend *bucket, const char *name, const char *text)
{
	struct stow_err err;

	expect_ok(behind(bucket)->note_put(bucket, name, text, strlen(text), 0, &err), &err);
}

static int count_one(void *arg, const char *name UNUSED, uint64_t size UNUSED, int64_t modified_ns UNUSED,
		     struct stow_err *err UNUSED)
{
	++*(unsigned *)arg;
	return 0;
}

unsigned count_notes(struct backend *bucket, const char *prefix)
{
	struct stow_err err;
	unsigned n = 0;

	expect_ok(behind(bucket)->note_scan(bucket, prefix, count_one, &n, &err), &err);
	return n;
}

struct gc_options gc_defaults(struct backend *bucket)
{
	return (struct gc_options){
		.bucket = bucket,
		.wait_ns = 10 * NSEC_PER_SEC,
		.poll_ns = NSEC_PER_MSEC,
	};
}

struct gc_result gc_good(struct holders *f)
{
	struct gc_options o = gc_defaults(f->bucket);
	struct gc_result r;
	struct stow_err err;

	expect_ok(gc_run(&o, &r, &err), &err);
	assert_int_equal(r.silent, 0);
	return r;
}

void check_tidy(struct holders *f)
{
	assert_int_equal(count_notes(f->bucket, "gc/"), 1);
	assert_true(has_note(f->bucket, NOTE_CLOCK));
}

void check_tidy_in_the_end(struct holders *f)
{
	struct gc_options o = gc_defaults(f->bucket);
	struct gc_result r;
	struct stow_err err;

	assert_false(has_note(f->bucket, NOTE_RUN));
	o.leftover_ns = 1;
	expect_ok(gc_run(&o, &r, &err), &err);
	check_tidy(f);
}

int64_t wait_deadline(void)
{
	return clock_mono_ns() + 10 * NSEC_PER_SEC;
}

void wait_a_bit(int64_t until_ns, const char *what, const char *file, int line)
{
	const struct timespec pause = { .tv_nsec = NSEC_PER_MSEC };

	if (clock_mono_ns() > until_ns) {
		print_error("waited for too long: %s\n", what);
		_fail(file, line);
	}
	(void)nanosleep(&pause, NULL);
}
