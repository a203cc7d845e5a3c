/* stowage import: takes over the blobs of another directory. */
#include "backends/backends.h"
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/import_place.h"
#include "cmd/interrupt.h"
#include "cmd/output.h"
#include "cmd/storage.h"
#include "content/base/mem.h"

#include <inttypes.h>

static const char *from;
static bool copy_only, dry_run;

static const struct flag OWN[] = {
	{ .name = "from",
	  .letter = 'f',
	  .text = &from,
	  .value = "DIR",
	  .help = "the directory that has blobs/" },
	{ .name = "copy", .set = &copy_only, .help = "copy all, link nothing" },
	{ .name = "dry-run",
	  .letter = 'n',
	  .set = &dry_run,
	  .help = "only say what would be done; reads no bytes" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "import",
	.arguments = "",
	.help = "Take over the blobs of a containerd content directory (io.containerd.content.v1.content), "
		"or of\n"
		"anything else with blobs/<algorithm>/<hex>, such as an OCI image layout; with or without a\n"
		"running daemon. DIR is only read. What the store has already is skipped, so that an import "
		"that\n"
		"was interrupted can simply be repeated. Every blob is hashed; those that are damaged are "
		"left\n"
		"out and reported, and the exit status is 1.\n\n"
		"On the same filesystem the files get a second name (a hard link) and take no more space: "
		"they\n"
		"must not be edited in place afterwards, under either name. Removing the old names is fine.\n"
		"Elsewhere, and where others may write to a file, it is copied.\n\n"
		"Labels, images and leases are in containerd's own database, and stay there: nothing of them "
		"is\n"
		"taken, and nothing needs to be as long as that containerd goes on with its database. A "
		"containerd\n"
		"that has never heard of a blob deletes it with its next garbage collection.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = OWN,
};

/* Blobs that were placed and are recorded together, so that one sync serves them all. */
enum { BATCH = 256 };

struct import {
	struct common_flags common;
	struct conf *conf;
	struct source source;
	struct owner *owner; /* NULL in a dry run */
	struct backend *backend;
	struct place place;
	struct progress progress;
	const atomic_bool *stop;
	struct digest placed[BATCH];
	size_t n_placed;
	uint64_t total; /* bytes of the source */
	uint64_t linked, copied, skipped, failed;
	struct record *report; /* collects the failures, for JSON */
};

static void import_free(struct import *im)
{
	place_close(&im->place);
	backend_free(im->backend);
	owner_close(im->owner);
	source_close(&im->source);
	conf_free(im->conf);
	record_free(im->report);
}

/* One that could not be imported; the others go on. */
static void complain(struct import *im, const struct digest *d, const char *why)
{
	struct record *r = record_new();
	char text[DIGEST_STR_MAX];

	im->failed++;
	digest_format(d, text);
	progress_clear(&im->progress);
	output_message(SPEC.command, "%s: %s", text, why);
	record_text(r, "digest", text);
	record_text(r, "error", why);
	record_append(im->report, "failures", r);
}

/* --- records --- */

/* The names first, the records then. A blob whose record cannot be made is in its place all the same,
 * and is found when the daemon starts, or by another import. */
static int record_placed(struct import *im, struct stow_err *err)
{
	struct stow_err why;

	if (im->n_placed > 0 && place_sync(&im->place, err) < 0) {
		im->n_placed = 0; /* another try might succeed without the names being durable */
		return -1;
	}
	for (size_t i = 0; i < im->n_placed; i++)
		if (owner_adopt(im->owner, &im->placed[i], &why) < 0) {
			stow_wrap(&why, "in its place, but not recorded");
			complain(im, &im->placed[i], why.msg);
		}
	im->n_placed = 0;
	return 0;
}

static int note_placed(struct import *im, const struct digest *d, struct stow_err *err)
{
	im->placed[im->n_placed++] = *d;
	return im->n_placed == BATCH ? record_placed(im, err) : 0;
}

/* --- one blob --- */

/* Its name is taken in the store's directory. */
static int skip(struct import *im, const struct digest *d, uint64_t size, uint64_t there,
		struct stow_err *err)
{
	struct stow_err missing;
	uint64_t recorded;
	char why[160];

	progress_add(&im->progress, size, clock_mono_ns());
	if (there != size) {
		snprintf(why, sizeof(why),
			 "left out: it has %" PRIu64 " bytes, and %" PRIu64
			 " in the store, which has it already; see stowage verify",
			 size, there);
		complain(im, d, why);
		return 0;
	}
	im->skipped++;
	/* An import that was killed may have left it without a record. */
	if (im->owner && owner_lookup(im->owner, d, &recorded, &missing) < 0 &&
	    missing.code == STOW_NOT_FOUND)
		return note_placed(im, d, err);
	return 0;
}

static int place(struct import *im, const struct digest *d, uint64_t size, struct stow_err *err)
{
	uint64_t before = im->progress.done;
	enum placed how;
	struct stow_err why;

	if (place_blob(&im->place, &im->source, d, &how, &why) < 0) {
		if (why.code == STOW_CANCELLED)
			return stow_fail(err, STOW_CANCELLED, "%s", why.msg);
		complain(im, d, why.msg);
		im->progress.done = before + size;
		/* A full disk is full for all that follow. */
		return why.code == STOW_RESOURCE_EXHAUSTED ? stow_fail(err, why.code, "%s", why.msg) : 0;
	}
	im->linked += how == PLACED_LINK;
	im->copied += how == PLACED_COPY;
	im->skipped += how == PLACED_ALREADY;
	return note_placed(im, d, err);
}

static int import_blob(void *arg, const struct digest *d, const struct stat *st, struct stow_err *err)
{
	struct import *im = arg;
	uint64_t size = (uint64_t)st->st_size, there;
	struct stow_err missing;

	if (atomic_load(im->stop))
		return stow_fail(err, STOW_CANCELLED, "interrupted");
	if (!S_ISREG(st->st_mode)) {
		complain(im, d, "left out: not a regular file");
		return 0;
	}
	if (place_lookup(&im->place, d, &there, &missing) == 0)
		return skip(im, d, size, there, err);
	if (missing.code != STOW_NOT_FOUND) {
		complain(im, d, missing.msg);
		return 0;
	}
	if (!dry_run)
		return place(im, d, size, err);
	if (place_can_link(&im->place, d, st))
		im->linked++;
	else
		im->copied++;
	im->place.bytes += size;
	return 0;
}

/* --- the whole --- */

static int add_size(void *arg, const struct digest *d UNUSED, const struct stat *st,
		    struct stow_err *err UNUSED)
{
	struct import *im = arg;

	if (S_ISREG(st->st_mode))
		im->total += (uint64_t)st->st_size;
	return 0;
}

static int open_all(struct import *im, struct stow_err *err)
{
	const char *local = im->conf->local.path;

	if (!storage_is_local(im->conf))
		return stow_fail(err, STOW_UNIMPLEMENTED,
				 "import fills the local directory, but this store's blobs are in a bucket "
				 "(remote.type): push or pull them");
	if (source_open(&im->source, from, err) < 0)
		return -1;
	if (!dry_run && (owner_open(im->conf, SPEC.command, &im->owner, err) < 0 ||
			 local_new(local, &im->backend, err) < 0))
		return -1;
	if (place_open(&im->place, im->conf, err) < 0)
		return -1;
	for (int alg = 0; alg < DIGEST_ALG_COUNT; alg++) {
		struct stat st;

		if (im->source.alg[alg] >= 0 && im->place.alg[alg] >= 0 &&
		    fstat(im->source.alg[alg], &st) == 0 && st.st_dev == im->place.st[alg].st_dev &&
		    st.st_ino == im->place.st[alg].st_ino)
			return stow_fail(err, STOW_INVALID_ARGUMENT, "%s is the store's own directory", from);
	}
	im->place.copy_only = copy_only;
	im->place.backend = im->backend;
	im->place.progress = &im->progress;
	im->place.stop = im->stop;
	return 0;
}

static int run(struct import *im, struct stow_err *err)
{
	struct stow_err late;
	int result;

	if (source_each(&im->source, add_size, im, err) < 0)
		return -1;
	progress_begin(&im->progress, stderr, SPEC.command, im->total, clock_mono_ns());
	result = source_each(&im->source, import_blob, im, err);
	/* However it ended, what is in its place gets its record. */
	if (!dry_run && (record_placed(im, &late) < 0 || owner_finish(im->owner, &late) < 0)) {
		if (result == 0)
			*err = late;
		result = -1;
	}
	progress_clear(&im->progress);
	return result < 0 && err->code == STOW_CANCELLED ? 0 : result;
}

static void report(struct import *im)
{
	char size[OUTPUT_TEXT_MAX];

	if (im->common.json) {
		record_number(im->report, "linked", im->linked);
		record_number(im->report, "copied", im->copied);
		record_number(im->report, "skipped", im->skipped);
		record_number(im->report, "failed", im->failed);
		record_number(im->report, "bytes", im->place.bytes);
		record_bool(im->report, "dry_run", dry_run);
		record_bool(im->report, "interrupted", atomic_load(im->stop));
		record_append(im->report, "failures", NULL);
		record_print(TAKE(im->report), stdout);
		return;
	}
	output_size(im->place.bytes, size);
	printf("%s%" PRIu64 " linked, %" PRIu64 " copied, %" PRIu64 " skipped, %" PRIu64
	       " failed; %s %simported\n",
	       dry_run                 ? "dry run: "
	       : atomic_load(im->stop) ? "interrupted: "
				       : "",
	       im->linked, im->copied, im->skipped, im->failed, size, dry_run ? "would be " : "");
}

int cmd_import(int argc, char **argv)
{
	CLEANUP(import_free) struct import im = { 0 };
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &im.common, &status))
		return status;
	if (!from)
		return flags_usage(&SPEC, "--from says which directory");
	if (flags_load_conf(&im.common, &im.conf) < 0)
		return EXIT_USAGE;
	im.report = record_new();
	im.stop = interrupt_begin();
	status = EXIT_SUCCESS;
	if (open_all(&im, &err) < 0)
		return output_fail(SPEC.command, &err);
	if (run(&im, &err) < 0)
		status = output_fail(SPEC.command, &err);
	report(&im);
	if (output_flush(SPEC.command) < 0 || im.failed > 0)
		status = EXIT_FAILURE;
	return interrupt_status() ? interrupt_status() : status;
}
