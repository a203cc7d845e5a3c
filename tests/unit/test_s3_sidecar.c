/* The record of an upload: what is read back, and what is refused. */
#include "backends/s3/sidecar.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <fcntl.h>
#include <stdio.h>

#define STAGE "0123456789abcdef"
#define SENT "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct {
	char path[TEMP_DIR_MAX];
	struct dir dir;
	struct sidecar sc;
} env;

static int setup(void **state)
{
	struct stow_err err;

	(void)state;
	temp_dir_make(env.path);
	expect_ok(dir_open(&env.dir, AT_FDCWD, env.path, x_strdup(env.path), &err), &err);
	sidecar_init(&env.sc);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sidecar_reset(&env.sc);
	dir_close(&env.dir);
	temp_dir_remove(env.path);
	return 0;
}

static void put(const char *name, const char *text)
{
	CLEANUP(freep) char *path = x_asprintf("%s/%s", env.path, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static bool there(const char *name)
{
	return faccessat(env.dir.fd, name, F_OK, 0) == 0;
}

static struct s3_part part(unsigned number, uint64_t size, const char *etag)
{
	struct s3_part p = { .number = number, .size = size };

	snprintf(p.etag, sizeof(p.etag), "%s", etag);
	return p;
}

static void save(const char *id)
{
	struct stow_err err;

	env.sc.key = x_strdup("a/key with spaces");
	snprintf(env.sc.id, sizeof(env.sc.id), "%s", id);
	env.sc.part_size = S3_PART_MIN;
	expect_ok(sidecar_save(&env.sc, &env.dir, STAGE, &err), &err);
}

static void load(void)
{
	struct stow_err err;

	sidecar_reset(&env.sc);
	expect_ok(sidecar_load(&env.sc, &env.dir, STAGE, &err), &err);
}

static void what_was_saved_is_loaded(void **state)
{
	struct s3_part first = part(1, S3_PART_MIN, "\"one\""), second = part(2, 7, "\"two, with blanks\"");

	(void)state;
	sidecar_note(&env.sc, &first);
	save("the id");
	sidecar_add(&env.sc, &second);
	load();
	assert_string_equal(env.sc.key, "a/key with spaces");
	assert_string_equal(env.sc.id, "the id");
	assert_int_equal(env.sc.part_size, S3_PART_MIN);
	assert_int_equal(env.sc.n_parts, 2);
	assert_int_equal(env.sc.parts[1].number, 2);
	assert_int_equal(env.sc.parts[1].size, 7);
	assert_string_equal(env.sc.parts[0].etag, "\"one\"");
	assert_string_equal(env.sc.parts[1].etag, "\"two, with blanks\"");
	assert_false(there(STAGE ".upload.new"));
}

static void the_longest_id_fits(void **state)
{
	char id[S3_UPLOAD_ID_MAX + 1];

	(void)state;
	memset(id, 'x', S3_UPLOAD_ID_MAX);
	id[S3_UPLOAD_ID_MAX] = '\0';
	save(id);
	load();
	assert_string_equal(env.sc.id, id);
}

/* A server's words cannot forge lines. */
static void lines_are_not_forged(void **state)
{
	struct s3_part bad = part(1, 7, "\"x\"\npart 2 7 \"y\""), none = part(1, 7, "");
	struct stow_err err;

	(void)state;
	env.sc.key = x_strdup("key");
	env.sc.part_size = S3_PART_MIN;
	snprintf(env.sc.id, sizeof(env.sc.id), "a\nb");
	expect_fail(sidecar_save(&env.sc, &env.dir, STAGE, &err), &err, STOW_INTERNAL);
	assert_false(there(STAGE ".upload"));
	snprintf(env.sc.id, sizeof(env.sc.id), "id");
	expect_ok(sidecar_save(&env.sc, &env.dir, STAGE, &err), &err);
	sidecar_add(&env.sc, &bad);
	sidecar_add(&env.sc, &none);
	load();
	assert_int_equal(env.sc.n_parts, 0);
}

static void a_line_that_is_not_whole_does_not_count(void **state)
{
	(void)state;
	put(STAGE ".upload",
	    "stowage-upload 1\nkey k\nid i\npart-size 5242880\npart 1 7 \"a\"\npart 2 7 \"b");
	load();
	assert_int_equal(env.sc.n_parts, 1);
}

static void nonsense_is_data_loss(void **state)
{
	static const char *const bad[] = {
		"",
		"stowage-upload 1",
		"stowage-upload 2\nkey k\nid i\npart-size 5242880\n",
		"stowage-upload 1\nkey \nid i\npart-size 5242880\n",
		"stowage-upload 1\nkey k\nid \npart-size 5242880\n",
		"stowage-upload 1\nkey k\nid i\npart-size 5242879\n",
		"stowage-upload 1\nkey k\nid i\npart-size 6000000000\n",
		"stowage-upload 1\nkey k\nid i\npart-size x\n",
		"stowage-upload 1\nid i\nkey k\npart-size 5242880\n",
		"stowage-upload 1\nkey k\nid i\n",
	};
	struct stow_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		put(STAGE ".upload", bad[i]);
		expect_fail(sidecar_load(&env.sc, &env.dir, STAGE, &err), &err, STOW_DATA_LOSS);
		assert_null(env.sc.key);
	}
}

static void impossible_parts_end_the_list(void **state)
{
	static const char *const bad[] = { "part 0 7 \"x\"\n", "part 10001 7 \"x\"\n", "part 1 \"x\"\n",
					   "party 1 7 x\n", "part 1 7\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(freep)
		char *text = x_asprintf(
			"stowage-upload 1\nkey k\nid i\npart-size 5242880\npart 1 7 \"a\"\n%s", bad[i]);

		put(STAGE ".upload", text);
		load();
		assert_int_equal(env.sc.n_parts, 1);
	}
}

static void absent_is_not_found(void **state)
{
	struct stow_err err;

	(void)state;
	expect_fail(sidecar_load(&env.sc, &env.dir, STAGE, &err), &err, STOW_NOT_FOUND);
	expect_fail(sidecar_condemn(&env.dir, STAGE, &err), &err, STOW_NOT_FOUND);
	sidecar_remove(&env.dir, STAGE);
}

static int note_condemned(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	(void)dir;
	(void)err;
	assert_true(sidecar_name_condemned(name));
	snprintf(arg, 100, "%s", name);
	return 0;
}

static void condemned_is_still_readable(void **state)
{
	char name[100] = "";
	struct stow_err err;

	(void)state;
	save("id");
	expect_ok(sidecar_condemn(&env.dir, STAGE, &err), &err);
	assert_false(there(STAGE ".upload"));
	expect_ok(dir_each(&env.dir, note_condemned, name, &err), &err);
	sidecar_reset(&env.sc);
	expect_ok(sidecar_load_file(&env.sc, &env.dir, name, &err), &err);
	assert_string_equal(env.sc.id, "id");
}

/* Parts that are added later are the new owner's. */
static void a_record_can_change_its_owner(void **state)
{
	struct s3_part part = { .number = 7, .size = 1, .etag = "e" };
	struct stow_err err;

	(void)state;
	save("id");
	expect_ok(sidecar_move(&env.dir, STAGE, SENT, &err), &err);
	sidecar_add(&env.sc, &part);
	assert_false(there(STAGE ".upload"));
	sidecar_reset(&env.sc);
	expect_ok(sidecar_load(&env.sc, &env.dir, SENT, &err), &err);
	assert_string_equal(env.sc.id, "id");
	assert_int_equal(env.sc.n_parts, 1);
	assert_int_equal(env.sc.parts[0].number, 7);
	/* Nothing is no failure. */
	expect_ok(sidecar_move(&env.dir, STAGE, SENT, &err), &err);
	assert_true(there(SENT ".upload"));
}

static void names(void **state)
{
	char owner[SENDING_RECORD_MAX] = "";

	(void)state;
	assert_true(sidecar_name(STAGE ".upload", owner));
	assert_string_equal(owner, STAGE);
	assert_true(sidecar_name(SENT ".upload", owner));
	assert_string_equal(owner, SENT);
	assert_false(sidecar_name(STAGE, owner));
	assert_false(sidecar_name(STAGE ".upload.new", owner));
	assert_false(sidecar_name("0123456789abcdeX.upload", owner));
	assert_false(sidecar_name(SENT "0.upload", owner));
	assert_false(sidecar_name("md5-0123.upload", owner));
	assert_false(sidecar_name(".upload", owner));
	assert_false(sidecar_name_condemned(STAGE));
	assert_false(sidecar_name_condemned(STAGE ".upload"));
}

/* --- after a crash --- */

#define RECORD(id) "stowage-upload 1\nkey k\nid " id "\npart-size 5242880\n"

static unsigned condemned;

static int count_condemned(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	CLEANUP(sidecar_reset) struct sidecar sc = { .fd = -1 };

	if (!sidecar_name_condemned(name))
		return 0;
	condemned++;
	expect_ok(sidecar_load_file(&sc, dir, name, err), err);
	assert_string_equal(sc.id, arg);
	return 0;
}

/* How many are set aside to be aborted; all of them are of upload `id`. */
static unsigned count_aborts(const char *id)
{
	struct stow_err err;

	condemned = 0;
	expect_ok(dir_each(&env.dir, count_condemned, (void *)(uintptr_t)id, &err), &err);
	return condemned;
}

/* The bucket has the upload since before the save began. */
static void saves_that_did_not_end_are_found(void **state)
{
	struct stow_err err;

	(void)state;
	put(STAGE ".upload.new", RECORD("new"));
	expect_ok(sidecar_recover(&env.dir, &err), &err);
	assert_false(there(STAGE ".upload.new"));
	load();
	assert_string_equal(env.sc.id, "new");

	/* The same upload, written anew: the record stays. */
	put(STAGE ".upload", RECORD("new") "part 1 7 \"a\"\n");
	put(STAGE ".upload.new", RECORD("new"));
	expect_ok(sidecar_recover(&env.dir, &err), &err);
	assert_false(there(STAGE ".upload.new"));
	load();
	assert_int_equal(env.sc.n_parts, 1);
	assert_int_equal(count_aborts(""), 0);

	/* Another one: both are kept. */
	put(STAGE ".upload.new", RECORD("newer"));
	expect_ok(sidecar_recover(&env.dir, &err), &err);
	assert_false(there(STAGE ".upload.new"));
	load();
	assert_string_equal(env.sc.id, "new");
	assert_int_equal(count_aborts("newer"), 1);

	/* A record that says nothing is no reason to forget one that does. */
	put(STAGE ".upload", "stowage");
	put(STAGE ".upload.new", RECORD("third"));
	expect_ok(sidecar_recover(&env.dir, &err), &err);
	load();
	assert_string_equal(env.sc.id, "third");
}

static void saves_that_hardly_began_are_removed(void **state)
{
	struct stow_err err;

	(void)state;
	put(STAGE ".upload.new", "stowage-upload 1\nkey k\nid ");
	put("other.upload.new", "mine");
	expect_ok(sidecar_recover(&env.dir, &err), &err);
	assert_false(there(STAGE ".upload.new"));
	assert_false(there(STAGE ".upload"));
	assert_true(there("other.upload.new"));
	assert_int_equal(count_aborts(""), 0);
}

int main(void)
{
#define CASE(f)                                                                                              \
	{                                                                                                    \
#f, f, setup, teardown, NULL                                                                 \
	}
	const struct CMUnitTest tests[] = {
		CASE(what_was_saved_is_loaded),
		CASE(the_longest_id_fits),
		CASE(lines_are_not_forged),
		CASE(a_line_that_is_not_whole_does_not_count),
		CASE(nonsense_is_data_loss),
		CASE(impossible_parts_end_the_list),
		CASE(absent_is_not_found),
		CASE(condemned_is_still_readable),
		CASE(a_record_can_change_its_owner),
		CASE(names),
		CASE(saves_that_did_not_end_are_found),
		CASE(saves_that_hardly_began_are_removed),
	};

	return cmocka_run_group_tests_name("s3 sidecar", tests, NULL, NULL);
}
