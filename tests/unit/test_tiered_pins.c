/* What people want to stay here. */
#include "backends/tiered/manifest.h"
#include "tests/unit/pin_env.h"

#include <stdio.h>

static void flush(void)
{
	struct stow_err err;

	expect_ok(store_flush(env.store, &err), &err);
}

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

/* Makes the cache full of other blobs, so that it has to evict all others that may go. */
static void crowd_out(unsigned seed)
{
	for (unsigned i = 0; i < 12; i++) {
		struct digest d = blob_in_view(seed + i);
		struct fleet_brought b;

		end_leases();
		b = ask(&d, true);
		fleet_brought_free(&b);
		wait_for(is_here(&d) || !fetch_is_coming(env.tiered->fetches, &d));
	}
	end_leases();
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
	struct fetches *fs = env.tiered->fetches;
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

static void pins_survive_a_restart_without_the_bytes(void **state UNUSED)
{
	struct digest d = blob_in_view(1);

	(void)pin(&d);
	wait_for(is_here(&d));
	restart(2);
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

static void lose(const struct digest *d)
{
	struct stow_err err;

	expect_ok(backend_remove(env.behind, d, &err), &err);
	expect_ok(backend_remove(env.fast, d, &err), &err);
}

/* What it refers to cannot be told any more. */
static void what_has_lost_its_bytes_can_be_unpinned(void **state UNUSED)
{
	struct digest mine[] = { blob_in_view(1), blob_in_view(2) }, parts[2];
	struct digest his[] = { mine[0], blob_in_view(3) };
	struct digest a = document("layers", mine, 2, true), b;
	struct fleet_pinned p;
	struct stow_err err;

	parts[0] = document("layers", his, 2, true);
	parts[1] = document("layers", his + 1, 1, true);
	b = document("manifests", parts, 2, true);
	(void)pin(&a);
	(void)pin(&b);
	wait_for(is_here(&a) && is_here(&b) && is_here(&parts[0]) && is_here(&parts[1]));
	lose(&parts[1]);
	/* What the rest of the other one refers to stays. */
	assert_int_equal(unpin(&a).blobs, 2);
	assert_true(is_pinned(&mine[0]) && is_pinned(&his[1]));
	lose(&b);
	assert_int_equal(unpin(&b).blobs, 1);
	/* And so its parts are unpinned one by one. */
	expect_fail(store_unpin(env.store, &a, &p, &err), &err, STOW_NOT_FOUND);
	assert_int_equal(unpin(&parts[0]).blobs, 3);
	assert_int_equal(unpin(&parts[1]).blobs, 1);
	assert_int_equal(status().pinned, 0);
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

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pin_env_setup, pin_env_teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_pinned_image_stays_until_it_is_unpinned),
		CASE(what_is_only_behind_comes),
		CASE(what_does_not_come_is_tried_until_it_does),
		CASE(pins_survive_a_restart_without_the_bytes),
		CASE(a_pin_ends_with_its_blob),
		CASE(what_is_not_there_cannot_be_pinned),
		CASE(what_two_images_share_stays_for_the_other),
		CASE(what_has_lost_its_bytes_can_be_unpinned),
		CASE(an_index_is_pinned_as_far_as_it_is_here),
		CASE(no_more_is_pinned_than_may_stay),
		CASE(a_manifest_of_too_many_is_refused),
	};

	return cmocka_run_group_tests_name("tiered pins", tests, NULL, NULL);
}
