/* What people want to stay here, and what they have brought ahead of time: a store whose cache is too small.
 */
#include "backends/backends.h"
#include "backends/tiered/manifest.h"
#include "backends/tiered/tiered_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "content/store_internal.h"
#include "tests/suite/suite.h"

#include <stdio.h>

enum { SIZE = 100000, MAX_SIZE = 6 * SIZE }; /* of each blob that is no manifest; of the cache */

static struct {
	char dir[TEMP_DIR_MAX];
	struct fault_plan fast_plan, behind_plan;
	struct backend *fast, *behind;
	struct store *store;
	unsigned prefetch;
} env;

static int start(void **state UNUSED)
{
	struct tiered_options o = {
		.names = { "behind" },
		.n_behind = 1,
		.identity = "test",
		.info_timeout_ns = 5 * NSEC_PER_SEC,
		.prefetch = env.prefetch,
		.max_size = { .bytes = MAX_SIZE },
	};
	struct store_options so = { .root = env.dir };
	struct store_opened opened;
	struct backend *mem;
	struct stow_err err;

	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(fault_new(mem, &env.fast_plan, &env.fast, &err), &err);
	expect_ok(mem_new(&mem, &err), &err);
	expect_ok(fault_new(mem, &env.behind_plan, &env.behind, &err), &err);
	o.fast = env.fast;
	o.behind[0] = env.behind;
	expect_ok(tiered_new(&o, &so.backend, &err), &err);
	expect_ok(store_open(&so, &env.store, &opened, &err), &err);
	store_start(env.store);
	return 0;
}

static int setup(void **state)
{
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	env.prefetch = 2;
	return start(state);
}

static void stop(void)
{
	store_stop(env.store);
	store_close(TAKE(env.store));
}

static int teardown(void **state UNUSED)
{
	stop();
	temp_dir_remove(env.dir);
	return 0;
}

/* --- material --- */

static void adopt(const struct digest *d, uint64_t size)
{
	struct blob_info info = { .digest = *d, .size = size, .created_ns = 1 };
	struct stow_err err;

	expect_ok(meta_blobs_adopt(env.store->meta, &info, 1, true, &err), &err);
}

/* A blob that is behind; in the view, too. */
static struct digest blob_behind(unsigned seed)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);

	put_blob(env.behind, &d, SIZE, seed);
	return d;
}

static struct digest blob_in_view(unsigned seed)
{
	struct digest d = blob_behind(seed);

	adopt(&d, SIZE);
	return d;
}

static struct digest text_behind(const char *text)
{
	CLEANUP(hash_freep) struct hash *h = hash_new(DIGEST_SHA256);
	CLEANUP(stage_closep) struct stage *st = NULL;
	struct stage_name name = new_name();
	struct stow_err err;
	struct digest d;

	hash_update(h, text, strlen(text));
	hash_digest(h, &d);
	expect_ok(backend_stage_create(env.behind, name.s, NULL, &st, &err), &err);
	expect_ok(write_bytes(st, text, strlen(text), 0, &err), &err);
	expect_ok(stage_publish(st, &d, &err), &err);
	return d;
}

/* A manifest of these layers, or an index of these manifests. */
static struct digest document(const char *key, const struct digest *v, size_t n, bool in_view)
{
	char text[1000], one[DIGEST_STR_MAX];
	struct digest d;
	int len = snprintf(text, sizeof(text), "{\"%s\":[", key);

	for (size_t i = 0; i < n; i++) {
		digest_format(&v[i], one);
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s{\"digest\":\"%s\",\"size\":%d}",
				i > 0 ? "," : "", one, SIZE);
	}
	len += snprintf(text + len, sizeof(text) - (size_t)len, "]}");
	d = text_behind(text);
	if (in_view)
		adopt(&d, (uint64_t)len);
	return d;
}

static bool is_here(const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(env.fast, d, &st, &err) == 0;
}

#define wait_for(cond)                                                                                       \
	do {                                                                                                 \
		int64_t until_ = clock_mono_ns() + 60 * NSEC_PER_SEC;                                        \
                                                                                                             \
		while (!(cond)) {                                                                            \
			if (clock_mono_ns() > until_)                                                        \
				fail_msg("line %d: not so: %s", __LINE__, #cond);                            \
			(void)usleep(1000);                                                                  \
		}                                                                                            \
	} while (0)

static struct fleet_status status(void)
{
	struct fleet_status st;
	struct stow_err err;

	expect_ok(store_fleet_status(env.store, &st, &err), &err);
	return st;
}

static void flush(void)
{
	struct stow_err err;

	expect_ok(store_flush(env.store, &err), &err);
}

/* --- pinning --- */

static struct fleet_pinned pin(const struct digest *d)
{
	struct fleet_pinned p;
	struct stow_err err;

	expect_ok(store_pin(env.store, d, &p, &err), &err);
	return p;
}

static struct fleet_pinned unpin(const struct digest *d)
{
	struct fleet_pinned p;
	struct stow_err err;

	expect_ok(store_unpin(env.store, d, &p, &err), &err);
	return p;
}

static bool is_pinned(const struct digest *d)
{
	struct stow_err err;

	return meta_pin_get(env.store->meta, d, NULL, &err) == 0;
}

static void bring(const struct digest *d)
{
	CLEANUP(fleet_brought_free) struct fleet_brought b = { 0 };
	struct stow_err err;

	expect_ok(store_bring(env.store, d, 1, true, &b, &err), &err);
	wait_for(is_here(d));
}

/* As a node that has not asked for anything for a while. */
static void end_lease(void)
{
	struct tiered *t = tiered_from(env.store->backend);

	LOCK_SCOPE(&t->lock);
	for (unsigned i = 0; i < TIERED_LEASES; i++)
		t->leases[i].until_ns = 0;
}

/* Makes the cache full of other blobs, so that it has to evict all others that may go. */
static void crowd_out(unsigned seed)
{
	for (unsigned i = 0; i < 12; i++) {
		struct digest d = blob_in_view(seed + i);
		struct fleet_brought b = { 0 };
		struct stow_err err;

		end_lease();
		expect_ok(store_bring(env.store, &d, 1, true, &b, &err), &err);
		fleet_brought_free(&b);
		wait_for(is_here(&d) || !fetch_is_coming(tiered_from(env.store->backend)->fetches, &d));
	}
	end_lease();
}

static void a_pinned_image_stays_until_it_is_unpinned(void **state UNUSED)
{
	struct digest layer[] = { blob_in_view(1), blob_in_view(2) }, other = blob_in_view(3);
	struct digest manifest = document("layers", layer, 2, true);
	struct fleet_pinned p;

	bring(&layer[0]);
	bring(&layer[1]);
	bring(&other);
	bring(&manifest);
	p = pin(&manifest);
	assert_int_equal(p.blobs, 3);
	assert_int_equal(p.absent, 0);
	assert_true(p.bytes > 2 * SIZE && p.bytes < 3 * SIZE);
	assert_int_equal(status().pinned, 3);
	assert_int_equal(status().pinned_bytes, p.bytes);
	crowd_out(100);
	assert_true(is_here(&layer[0]) && is_here(&layer[1]) && is_here(&manifest));
	assert_false(is_here(&other));
	assert_int_equal(unpin(&manifest).blobs, 3);
	assert_int_equal(status().pinned, 0);
	crowd_out(200);
	assert_false(is_here(&layer[0]) || is_here(&layer[1]) || is_here(&manifest));
}

static void what_is_only_behind_comes(void **state UNUSED)
{
	struct digest layer = blob_in_view(1), manifest = document("layers", &layer, 1, true);
	struct fleet_pinned p = pin(&manifest);

	assert_int_equal(p.blobs, 2);
	wait_for(is_here(&layer) && is_here(&manifest));
	assert_int_equal(pin(&manifest).absent, 0);
}

/* A fetch that nobody reads gives up after some tries. */
static void what_does_not_come_is_tried_until_it_does(void **state UNUSED)
{
	struct digest d = blob_in_view(1);
	struct fetches *fs = tiered_from(env.store->backend)->fetches;
	struct stow_err err;

	atomic_store(&env.behind_plan.code, STOW_NOT_FOUND);
	atomic_store(&env.behind_plan.forever, true);
	atomic_store(&env.behind_plan.after[FAULT_OPEN], 1);
	expect_fail(store_pin(env.store, &d, &(struct fleet_pinned){ 0 }, &err), &err, STOW_NOT_FOUND);
	assert_false(is_pinned(&d)); /* it could be a manifest */
	atomic_store(&env.behind_plan.after[FAULT_OPEN], 0);
	(void)pin(&d);
	wait_for(is_here(&d));
	atomic_store(&env.behind_plan.after[FAULT_OPEN], 1);
	expect_ok(backend_remove(env.fast, &d, &err), &err);
	flush();
	wait_for(fetch_failed(fs, &d, &err) && !fetch_is_coming(fs, &d));
	assert_false(is_here(&d));
	atomic_store(&env.behind_plan.after[FAULT_OPEN], 0);
	flush();
	wait_for(is_here(&d));
}

static void pins_survive_a_restart_without_the_bytes(void **state)
{
	struct digest d = blob_in_view(1);

	(void)pin(&d);
	wait_for(is_here(&d));
	stop();
	(void)start(state); /* on empty storages */
	assert_true(is_pinned(&d));
	assert_false(is_here(&d));
	put_blob(env.behind, &d, SIZE, 1);
	flush();
	wait_for(is_here(&d));
}

static void a_pin_ends_with_its_blob(void **state UNUSED)
{
	struct digest d = blob_in_view(1);
	struct stow_err err;

	(void)pin(&d);
	wait_for(is_here(&d));
	/* Not where the blob comes back because its bytes cannot be removed. */
	atomic_store(&env.fast_plan.code, STOW_INTERNAL);
	atomic_store(&env.fast_plan.after[FAULT_REMOVE], 1);
	expect_fail(store_delete(env.store, &d, &err), &err, STOW_INTERNAL);
	assert_true(is_pinned(&d));
	expect_ok(store_delete(env.store, &d, &err), &err);
	assert_false(is_pinned(&d));
	assert_int_equal(status().pinned, 0);
}

static void what_is_not_there_cannot_be_pinned(void **state UNUSED)
{
	struct digest known = blob_in_view(1), unknown = some_digest(DIGEST_SHA256, 7),
		      behind = blob_behind(2);
	struct fleet_pinned p;
	struct stow_err err;

	expect_fail(store_pin(env.store, &unknown, &p, &err), &err, STOW_NOT_FOUND);
	expect_fail(store_pin(env.store, &behind, &p, &err), &err, STOW_NOT_FOUND);
	expect_fail(store_unpin(env.store, &unknown, &p, &err), &err, STOW_NOT_FOUND);
	expect_fail(store_unpin(env.store, &known, &p, &err), &err, STOW_NOT_FOUND);
	expect_named(&err, "not pinned");
}

static void what_two_images_share_stays_for_the_other(void **state UNUSED)
{
	struct digest base = blob_in_view(1), mine[] = { base, blob_in_view(2) };
	struct digest his[] = { base, blob_in_view(3) };
	struct digest a = document("layers", mine, 2, true), b = document("layers", his, 2, true);
	struct fleet_pinned p;
	struct stow_err err;

	(void)pin(&a);
	(void)pin(&b);
	assert_int_equal(status().pinned, 5);
	expect_fail(store_unpin(env.store, &his[1], &p, &err), &err, STOW_FAILED_PRECONDITION);
	assert_int_equal(unpin(&a).blobs, 2);
	assert_true(is_pinned(&base) && is_pinned(&b) && is_pinned(&his[1]));
	assert_int_equal(unpin(&b).blobs, 3);
	assert_int_equal(status().pinned_bytes, 0);
}

/* Of an index, this node has the parts for its own platform. */
static void an_index_is_pinned_as_far_as_it_is_here(void **state UNUSED)
{
	struct digest layer = blob_in_view(1), foreign = blob_behind(2);
	struct digest manifests[] = { document("layers", &layer, 1, true),
				      document("layers", &foreign, 1, false) };
	struct digest index = document("manifests", manifests, 2, true);

	assert_int_equal(pin(&index).blobs, 3);
	assert_true(is_pinned(&layer) && is_pinned(&manifests[0]));
	assert_false(is_pinned(&foreign) || is_pinned(&manifests[1]));
	/* One that is named stays with the other one afterwards, and goes with it. */
	assert_int_equal(pin(&manifests[0]).blobs, 2);
	assert_int_equal(unpin(&manifests[0]).blobs, 0);
	assert_true(is_pinned(&layer));
	assert_int_equal(unpin(&index).blobs, 3);
}

static void no_more_is_pinned_than_may_stay(void **state UNUSED)
{
	struct digest layers[] = { blob_in_view(1), blob_in_view(2), blob_in_view(3), blob_in_view(4) };
	struct digest more[] = { layers[0], blob_in_view(5), blob_in_view(6) };
	struct digest a = document("layers", layers, 4, true), b = document("layers", more, 3, true);
	struct fleet_pinned p;
	struct stow_err err;

	(void)pin(&a);
	expect_fail(store_pin(env.store, &b, &p, &err), &err, STOW_RESOURCE_EXHAUSTED);
	expect_named(&err, "max_size");
	assert_int_equal(status().pinned, 5);
	assert_int_equal(pin(&more[1]).blobs, 1);
}

static void a_manifest_of_too_many_is_refused(void **state UNUSED)
{
	char text[MANIFEST_CHILDREN * 100 + 100] = "{\"layers\":[";
	size_t n = strlen(text);
	struct fleet_pinned p;
	struct stow_err err;
	struct digest d;

	for (unsigned i = 0; i < MANIFEST_CHILDREN; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s{\"digest\":\"sha256:%064x\"}",
				      i > 0 ? "," : "", i);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "]}");
	d = text_behind(text);
	adopt(&d, n);
	expect_fail(store_pin(env.store, &d, &p, &err), &err, STOW_RESOURCE_EXHAUSTED);
	assert_false(is_pinned(&d));
}

/* --- bringing --- */

static struct fleet_brought ask(const struct digest *d, bool begin)
{
	struct fleet_brought b;
	struct stow_err err;

	expect_ok(store_bring(env.store, d, 1, begin, &b, &err), &err);
	return b;
}

static void what_is_asked_for_comes_with_what_it_refers_to(void **state UNUSED)
{
	struct digest layers[] = { blob_behind(1), blob_in_view(2) };
	struct digest manifest = document("layers", layers, 2, false), index;
	struct fleet_brought b;

	index = document("manifests", &manifest, 1, true);
	b = ask(&index, false);
	assert_int_equal(b.place, FLEET_ABSENT);
	assert_int_equal(b.n_children, 0);
	b = ask(&index, true);
	assert_int_equal(b.place, FLEET_COMING);
	wait_for(is_here(&index));
	b = ask(&index, false);
	assert_int_equal(b.place, FLEET_HERE);
	assert_int_equal(b.n_children, 1);
	assert_true(digest_equal(&b.children[0].digest, &manifest) && b.children[0].of_an_index);
	fleet_brought_free(&b);
	b = ask(&manifest, true); /* is adopted */
	fleet_brought_free(&b);
	wait_for(is_here(&manifest));
	b = ask(&manifest, true);
	assert_int_equal(b.place, FLEET_HERE);
	assert_int_equal(b.n_children, 2);
	assert_true(digest_equal(&b.children[1].digest, &layers[1]) && !b.children[1].of_an_index);
	assert_int_equal(b.children[1].size, SIZE);
	fleet_brought_free(&b);
}

static void what_does_not_come_says_why(void **state UNUSED)
{
	struct digest unknown = some_digest(DIGEST_SHA256, 7), lost = blob_digest(DIGEST_SHA256, SIZE, 1);
	struct fleet_brought b;
	struct stow_err err;

	expect_fail(store_bring(env.store, &unknown, 1, true, &b, &err), &err, STOW_NOT_FOUND);
	adopt(&lost, SIZE);
	b = ask(&lost, true);
	assert_int_equal(b.place, FLEET_COMING);
	wait_for(ask(&lost, false).place == FLEET_FAILED);
	b = ask(&lost, false);
	assert_int_equal(b.why.code, STOW_NOT_FOUND);
	put_blob(env.behind, &lost, SIZE, 1);
	b = ask(&lost, true); /* once more */
	wait_for(ask(&lost, false).place == FLEET_HERE);
}

/* The cache has room for six. */
static void a_full_cache_keeps_what_was_brought(void **state UNUSED)
{
	struct digest old = blob_in_view(20), d[8];
	unsigned here = 0;
	struct fleet_brought b;

	bring(&old);
	end_lease();
	assert_int_equal(status().cache_room, MAX_SIZE - SIZE);
	for (unsigned i = 0; i < ARRAY_LEN(d); i++) {
		d[i] = blob_in_view(1 + i);
		b = ask(&d[i], true);
		wait_for((b = ask(&d[i], false)).place == FLEET_HERE || b.place == FLEET_FAILED);
		if (b.place == FLEET_FAILED)
			assert_int_equal(b.why.code, STOW_RESOURCE_EXHAUSTED);
	}
	assert_false(is_here(&old));
	for (unsigned i = 0; i < ARRAY_LEN(d); i++)
		here += is_here(&d[i]);
	assert_int_equal(here, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_true(is_here(&d[i]));
	assert_int_equal(status().cache_room, 0);
}

/* What somebody else has brought before is no less than what is asked for now, until he has stopped asking.
 */
static void each_has_a_lease_of_his_own(void **state UNUSED)
{
	struct tiered *t = tiered_from(env.store->backend);
	struct digest d[TIERED_LEASES + 1];
	struct stow_err err;

	for (unsigned i = 0; i < ARRAY_LEN(d); i++) {
		struct fleet_brought b = { 0 };

		d[i] = blob_in_view(1 + i);
		expect_ok(store_bring(env.store, &d[i], 1 + (int64_t)i, false, &b, &err), &err);
		fleet_brought_free(&b);
		assert_true(tiered_is_leased(t, &d[i]));
	}
	assert_false(tiered_is_leased(t, &d[0])); /* one too many */
	for (unsigned i = 1; i < ARRAY_LEN(d); i++)
		assert_true(tiered_is_leased(t, &d[i]));
	end_lease();
	(void)ask(&d[0], false);
	assert_true(tiered_is_leased(t, &d[0]));
	assert_false(tiered_is_leased(t, &d[1]));
}

static int setup_without_prefetch(void **state)
{
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	return start(state);
}

static void where_nothing_is_prefetched_nothing_is_brought(void **state UNUSED)
{
	struct digest d = blob_in_view(1);
	struct fleet_brought b = ask(&d, true);

	assert_int_equal(b.place, FLEET_FAILED);
	assert_int_equal(b.why.code, STOW_FAILED_PRECONDITION);
	expect_named(&b.why, "prefetch = 0");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_pinned_image_stays_until_it_is_unpinned),
		CASE(what_is_only_behind_comes),
		CASE(what_does_not_come_is_tried_until_it_does),
		CASE(pins_survive_a_restart_without_the_bytes),
		CASE(a_pin_ends_with_its_blob),
		CASE(what_is_not_there_cannot_be_pinned),
		CASE(what_two_images_share_stays_for_the_other),
		CASE(an_index_is_pinned_as_far_as_it_is_here),
		CASE(no_more_is_pinned_than_may_stay),
		CASE(a_manifest_of_too_many_is_refused),
		CASE(what_is_asked_for_comes_with_what_it_refers_to),
		CASE(what_does_not_come_says_why),
		CASE(a_full_cache_keeps_what_was_brought),
		CASE(each_has_a_lease_of_his_own),
		cmocka_unit_test_setup_teardown(where_nothing_is_prefetched_nothing_is_brought,
						setup_without_prefetch, teardown),
	};

	return cmocka_run_group_tests_name("tiered pins", tests, NULL, NULL);
}
