#include "tests/unit/pin_env.h"

#include <stdio.h>

struct pin_env env;

static void start(unsigned prefetch)
{
	struct tiered_options o = {
		.names = { "behind" },
		.n_behind = 1,
		.identity = "test",
		.info_timeout_ns = 5 * NSEC_PER_SEC,
		.prefetch = prefetch,
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
	env.tiered = tiered_from(so.backend);
	store_start(env.store);
}

int pin_env_setup(void **state UNUSED)
{
	memset(&env, 0, sizeof(env));
	temp_dir_make(env.dir);
	start(2);
	return 0;
}

static void stop(void)
{
	store_stop(env.store);
	store_close(TAKE(env.store));
}

int pin_env_teardown(void **state UNUSED)
{
	stop();
	temp_dir_remove(env.dir);
	return 0;
}

void restart(unsigned prefetch)
{
	stop();
	start(prefetch);
}

/* --- material --- */

void adopt(const struct digest *d, uint64_t size)
{
	struct blob_info info = { .digest = *d, .size = size, .created_ns = 1 };
	struct stow_err err;

	expect_ok(meta_blobs_adopt(env.store->meta, &info, 1, true, &err), &err);
}

struct digest blob_behind(unsigned seed)
{
	struct digest d = blob_digest(DIGEST_SHA256, SIZE, seed);

	put_blob(env.behind, &d, SIZE, seed);
	return d;
}

struct digest blob_in_view(unsigned seed)
{
	struct digest d = blob_behind(seed);

	adopt(&d, SIZE);
	return d;
}

struct digest text_behind(const char *text)
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

struct digest document(const char *key, const struct digest *v, size_t n, bool in_view)
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

bool is_here(const struct digest *d)
{
	struct blob_stat st;
	struct stow_err err;

	return backend_stat(env.fast, d, &st, &err) == 0;
}

struct fleet_status status(void)
{
	struct fleet_status st;
	struct stow_err err;

	expect_ok(store_fleet_status(env.store, &st, &err), &err);
	return st;
}

struct fleet_brought ask(const struct digest *d, bool begin)
{
	struct fleet_brought b;
	struct stow_err err;

	expect_ok(store_bring(env.store, d, 1, begin, &b, &err), &err);
	return b;
}

void bring(const struct digest *d)
{
	struct fleet_brought b = ask(d, true);

	fleet_brought_free(&b);
	wait_for(is_here(d));
}

void end_leases(void)
{
	LOCK_SCOPE(&env.tiered->lock);
	for (unsigned i = 0; i < TIERED_LEASES; i++)
		env.tiered->leases[i].until_ns = 0;
}
