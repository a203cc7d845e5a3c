/* stowage info: all that is known of one blob. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "cmd/storage.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <errno.h>
#include <sys/stat.h>

static const struct flags_spec SPEC = {
	.command = "info",
	.arguments = "DIGEST",
	.help = "Show what is known of one blob, and whether its bytes are where they ought to be,\n"
		"with or without a running daemon. The bytes are not read: see stowage verify.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
};

/* How a blob's file compares with its record. */
struct on_disk {
	const char *state; /* "ok", "missing", "behind", "wrong-size", "not-a-file", "unreadable" */
	uint64_t size;     /* bytes that are there */
	int error;         /* errno of "unreadable" */
};

static struct on_disk look(const char *path, uint64_t recorded, bool behind)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return (struct on_disk){ .state = errno != ENOENT ? "unreadable"
						  : behind        ? "behind"
								  : "missing",
					 .error = errno };
	if (!S_ISREG(st.st_mode))
		return (struct on_disk){ .state = "not-a-file" };
	return (struct on_disk){
		.state = (uint64_t)st.st_size == recorded ? "ok" : "wrong-size",
		.size = (uint64_t)st.st_size,
	};
}

/* Looks in the database; 0 where no storage behind is known to have the blob. */
static int64_t seen_behind(struct meta *m, const struct digest *d)
{
	struct stow_err ignored;
	int64_t seen_ns;

	return meta_remote_get(m, d, &seen_ns, &ignored) == 0 ? seen_ns : 0;
}

/* Looks in the database; 0 where it is not pinned. */
static int64_t pinned_since(struct meta *m, const struct digest *d)
{
	struct stow_err ignored;
	struct pin pin;

	return meta_pin_get(m, d, &pin, &ignored) == 0 ? pin.pinned_ns : 0;
}

/* A time that may not be. */
static void record_since(struct record *r, const char *key, int64_t ns)
{
	if (ns)
		record_time(r, key, ns);
	else
		record_null(r, key);
}

static void print_json(const struct blob_info *i, int64_t behind_ns, int64_t pinned_ns, const char *path,
		       const struct on_disk *disk)
{
	struct record *r = record_new();

	record_digest(r, "digest", &i->digest);
	record_number(r, "size", i->size);
	record_time(r, "created", i->created_ns);
	record_time(r, "updated", i->updated_ns);
	record_labels(r, "labels", &i->labels);
	record_since(r, "behind", behind_ns);
	record_since(r, "pinned", pinned_ns);
	record_text(r, "path", path);
	record_text(r, "on_disk", disk->state);
	record_number(r, "size_on_disk", disk->size);
	record_print(r, stdout);
}

static void print_on_disk(const struct on_disk *disk, uint64_t recorded, bool bucket)
{
	if (!strcmp(disk->state, "behind"))
		printf("On disk:  not here (%s)\n", bucket ? "in the bucket" : "behind");
	else if (!strcmp(disk->state, "wrong-size"))
		printf("On disk:  wrong size, %llu bytes instead of %llu\n", (unsigned long long)disk->size,
		       (unsigned long long)recorded);
	else if (!strcmp(disk->state, "unreadable"))
		printf("On disk:  %s\n", strerrordesc_np(disk->error));
	else
		printf("On disk:  %s\n", !strcmp(disk->state, "not-a-file") ? "not a file" : disk->state);
}

static void print_text(const struct blob_info *i, int64_t behind_ns, int64_t pinned_ns, const char *path,
		       const struct on_disk *disk, bool bucket)
{
	char text[DIGEST_STR_MAX], size[OUTPUT_TEXT_MAX], when[OUTPUT_TEXT_MAX];
	int64_t now = clock_wall_ns();

	digest_format(&i->digest, text);
	output_size(i->size, size);
	printf("Digest:   %s\nSize:     %llu (%s)\n", text, (unsigned long long)i->size, size);
	output_when(i->created_ns, now, when);
	printf("Created:  %s\n", when);
	output_when(i->updated_ns, now, when);
	printf("Updated:  %s\n", when);
	for (size_t n = 0; n < i->labels.n; n++) {
		CLEANUP(freep) char *key = output_clean(i->labels.v[n].key);
		CLEANUP(freep) char *value = output_clean(i->labels.v[n].value);

		printf("%s%s=%s\n", n == 0 ? "Labels:   " : "          ", key, value);
	}
	if (i->labels.n == 0)
		puts("Labels:   none");
	if (behind_ns) {
		output_when(behind_ns, now, when);
		printf("Behind:   yes, last seen %s\n", when);
	}
	if (pinned_ns) {
		output_when(pinned_ns, now, when);
		printf("Pinned:   yes, since %s\n", when);
	}
	printf("Path:     %s\n", path);
	print_on_disk(disk, i->size, bucket);
}

/* NOT_FOUND that may only be so for the moment is told apart. */
static int fail_missing(const char *path, const struct stow_err *err)
{
	output_fail(SPEC.command, err);
	if (err->code == STOW_NOT_FOUND && access(path, F_OK) == 0)
		output_message(SPEC.command,
			       "but its bytes are in %s: a daemon records them when it starts, or when it is "
			       "asked for them",
			       path);
	return EXIT_FAILURE;
}

int cmd_info(int argc, char **argv)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	CLEANUP(meta_closep) struct meta *meta = NULL;
	CLEANUP(blob_info_free) struct blob_info info = { 0 };
	CLEANUP(freep) char *path = NULL;
	struct common_flags common;
	struct on_disk disk;
	int64_t behind_ns;
	struct digest digest;
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (common.n_args != 1)
		return flags_usage(&SPEC, "expected one digest");
	if (digest_parse(&digest, common.args[0], strlen(common.args[0]), &err) < 0)
		return flags_usage(&SPEC, "%s", err.msg);
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (access_read(&common, conf, &meta, &err) < 0)
		return output_fail(SPEC.command, &err);
	path = access_blob_path(conf, &digest);
	if (meta_blob_get(meta, &digest, &info, &err) < 0)
		return fail_missing(path, &err);
	behind_ns = seen_behind(meta, &digest);
	disk = look(path, info.size, behind_ns != 0);
	if (common.json)
		print_json(&info, behind_ns, pinned_since(meta, &digest), path, &disk);
	else
		print_text(&info, behind_ns, pinned_since(meta, &digest), path, &disk,
			   storage_has_bucket(conf));
	return output_flush(SPEC.command) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
