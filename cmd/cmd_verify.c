/* stowage verify: reads every blob and compares it with its name. */
#include "cmd/check.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/interrupt.h"
#include "cmd/output.h"
#include "cmd/quarantine.h"
#include "cmd/storage.h"
#include "conf/parse.h"
#include "content/base/mem.h"

#include <errno.h>
#include <stdarg.h>

static bool quarantine;
static const char *rate_limit;

static const struct flag OWN[] = {
	{ .name = "quarantine",
	  .set = &quarantine,
	  .help = "move bad blobs to <local.path>/quarantine and forget them" },
	{ .name = "rate-limit",
	  .text = &rate_limit,
	  .value = "SIZE",
	  .help = "read at most SIZE a second, such as 50MiB" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "verify",
	.arguments = "[DIGEST...]",
	.help = "Read all blobs, or those that are named, with or without a running daemon, and list what "
		"is\n"
		"wrong:\n"
		"  damaged     the bytes hash to something else\n"
		"  truncated   there are more or fewer bytes than recorded\n"
		"  missing     recorded, but there are no bytes\n"
		"  unreadable  the disk refuses them\n"
		"  forbidden   you may not read them\n"
		"  extra       bytes without a record, which the daemon adopts; no mistake, and not read "
		"(not "
		"looked for in a bucket)\n"
		"With a bucket behind the local directory, the bytes that are here are read, and those that "
		"are\n"
		"only there are not.\n"
		"The exit status is 1 if anything but extra was found, or a named blob does not exist.\n\n"
		"After --quarantine a blob can be pulled again. containerd, which keeps a list of its own, "
		"pulls\n"
		"what it thinks it has only after \"ctr content rm DIGEST\". Blobs that are forbidden are "
		"left\n"
		"alone.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = OWN,
};

struct problem {
	struct digest digest;
	enum verdict verdict;
	char *detail;     /* owned */
	bool out;         /* taken out of the store */
	char *quarantine; /* where the bytes are then; owned; NULL: there were none */
};

struct verify {
	struct common_flags common;
	struct conf *conf;
	struct meta *meta;
	struct backend *backend;
	struct progress progress;
	struct brake brake;
	struct check check;
	int64_t start_ns;
	struct problem *problems;
	size_t n_problems, room;
	uint64_t checked;
	uint64_t counts[VERDICT_COUNT];
	struct digest *extra;
	size_t n_extra;
};

static void verify_free(struct verify *v)
{
	for (size_t i = 0; i < v->n_problems; i++) {
		free(v->problems[i].detail);
		free(v->problems[i].quarantine);
	}
	free(v->problems);
	free(v->extra);
	backend_free(v->backend);
	meta_close(v->meta);
	conf_free(v->conf);
}

/* --- what was found --- */

static void print_found(struct verify *v, const char *what, const struct digest *d, const char *detail)
{
	char text[DIGEST_STR_MAX];

	if (v->common.json)
		return; /* all at the end */
	progress_clear(&v->progress);
	digest_format(d, text);
	printf("%-10s  %s%s%s\n", what, text, *detail ? "  " : "", detail);
	fflush(stdout);
}

static void add_problem(struct verify *v, const struct digest *d, enum verdict verdict, const char *detail)
{
	if (v->n_problems == v->room) {
		v->room = v->room ? 2 * v->room : 16;
		v->problems = x_reallocarray(v->problems, v->room, sizeof(*v->problems));
	}
	v->problems[v->n_problems++] = (struct problem){
		.digest = *d,
		.verdict = verdict,
		.detail = x_strdup(detail),
	};
	print_found(v, verdict_name(verdict), d, detail);
}

static int check_one(struct verify *v, const struct digest *d, uint64_t size, struct stow_err *err)
{
	uint64_t before = v->progress.done;
	char detail[CHECK_DETAIL_MAX];
	enum verdict verdict;

	if (check_blob(&v->check, d, &verdict, detail, err) < 0)
		return -1;
	v->counts[verdict]++;
	if (verdict == VERDICT_STOPPED)
		return 0;
	v->checked += verdict != VERDICT_GONE && verdict != VERDICT_ELSEWHERE;
	if (verdict_is_bad(verdict))
		add_problem(v, d, verdict, detail);
	/* What needed no reading counts as done, too. */
	if (v->progress.done < before + size)
		progress_add(&v->progress, before + size - v->progress.done, clock_mono_ns());
	return 0;
}

static bool stopped(const struct verify *v)
{
	return atomic_load(v->check.stop);
}

/* --- the named ones --- */

static int check_named(struct verify *v, const struct digest *named, size_t n, struct stow_err *err)
{
	CLEANUP(freep) uint64_t *sizes = x_calloc(n, sizeof(*sizes));

	for (size_t i = 0; i < n; i++) {
		if (access_lookup(v->meta, &named[i], &sizes[i], err) < 0 && err->code != STOW_NOT_FOUND)
			return -1;
		v->progress.total += sizes[i];
	}
	for (size_t i = 0; i < n && !stopped(v); i++) {
		uint64_t gone = v->counts[VERDICT_GONE];

		if (check_one(v, &named[i], sizes[i], err) < 0)
			return -1;
		if (v->counts[VERDICT_GONE] > gone) {
			progress_clear(&v->progress);
			output_message(SPEC.command, "content %s: not found", v->common.args[i]);
		}
	}
	return 0;
}

/* --- all --- */

enum { BATCH = 256 };
struct rows {
	struct digest v[BATCH];
	uint64_t sizes[BATCH];
	size_t n;
};

static int take_row(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct rows *r = arg;

	r->v[r->n] = i->digest;
	r->sizes[r->n++] = i->size;
	return 0;
}

static int check_rows(struct verify *v, struct stow_err *err)
{
	struct digest cursor = { 0 };
	struct rows rows;
	size_t n;

	do {
		rows.n = 0;
		if (meta_blobs_next(v->meta, &cursor, BATCH, take_row, &rows, &n, err) < 0)
			return -1;
		for (size_t i = 0; i < rows.n && !stopped(v); i++)
			if (check_one(v, &rows.v[i], rows.sizes[i], err) < 0)
				return -1;
	} while (n == BATCH && !stopped(v));
	return 0;
}

static bool recorded(struct verify *v, const struct digest *d)
{
	struct stow_err err;
	uint64_t size;

	/* A record that cannot be read is not a missing one. */
	return access_lookup(v->meta, d, &size, &err) == 0 || err.code != STOW_NOT_FOUND;
}

static int note_extra(void *arg, const struct digest *d, const struct blob_stat *st UNUSED,
		      struct stow_err *err)
{
	struct verify *v = arg;

	if (stopped(v))
		return stow_fail(err, STOW_CANCELLED, "stopped");
	if (recorded(v, d))
		return 0;
	v->extra = x_reallocarray(v->extra, v->n_extra + 1, sizeof(*v->extra));
	v->extra[v->n_extra++] = *d;
	return 0;
}

static int find_extra(struct verify *v, struct stow_err *err)
{
	size_t n = 0;

	if (backend_scan(v->backend, note_extra, v, err) < 0 && err->code != STOW_CANCELLED)
		return -1;
	/* A commit publishes first and records then: those under way have ended by now, or were deleted. */
	for (size_t i = 0; i < v->n_extra; i++) {
		struct stow_err ignored;
		struct blob_stat st;

		if (recorded(v, &v->extra[i]) || backend_stat(v->backend, &v->extra[i], &st, &ignored) < 0)
			continue;
		v->extra[n++] = v->extra[i];
		print_found(v, "extra", &v->extra[i], "");
	}
	v->n_extra = n;
	return 0;
}

/* --- quarantine --- */

static int lookup_owner(void *arg, const struct digest *d, uint64_t *ret_size, struct stow_err *err)
{
	return owner_lookup(arg, d, ret_size, err);
}

/* One problem. What is no longer bad, since somebody has written it anew, stays. */
static int take_out(struct verify *v, struct owner *o, struct problem *p)
{
	char detail[CHECK_DETAIL_MAX], text[DIGEST_STR_MAX];
	enum verdict verdict;
	struct stow_err err;

	digest_format(&p->digest, text);
	if (check_blob(&v->check, &p->digest, &verdict, detail, &err) < 0)
		return output_fail(SPEC.command, &err);
	if (verdict == VERDICT_FORBIDDEN) {
		output_message(SPEC.command, "%s: left alone: %s", text, detail);
		return EXIT_FAILURE;
	}
	if (!verdict_is_bad(verdict))
		return EXIT_SUCCESS;
	if (quarantine_blob(v->conf, o, &p->digest, &p->quarantine, &err) < 0) {
		output_message(SPEC.command, "%s: %s", text, err.msg);
		return EXIT_FAILURE;
	}
	p->out = true;
	print_found(v, p->quarantine ? "moved" : "forgotten", &p->digest, p->quarantine ? p->quarantine : "");
	return EXIT_SUCCESS;
}

static void take_all_out(struct verify *v)
{
	CLEANUP(owner_closep) struct owner *o = NULL;
	struct stow_err err;

	progress_clear(&v->progress);
	/* The owner opens the database, which a process may do but once at a time. */
	meta_close(TAKE(v->meta));
	if (owner_open(v->conf, SPEC.command, &o, &err) < 0) {
		output_fail(SPEC.command, &err);
		output_message(SPEC.command, "nothing was quarantined");
		return;
	}
	v->check.lookup = lookup_owner;
	v->check.elsewhere = NULL; /* what only is elsewhere is no problem */
	v->check.arg = o;
	v->check.again = true;
	for (size_t i = 0; i < v->n_problems && !stopped(v); i++)
		(void)take_out(v, o, &v->problems[i]);
}

/* --- the report --- */

static struct record *problem_record(const struct problem *p)
{
	struct record *r = record_new();

	record_text(r, "problem", verdict_name(p->verdict));
	record_digest(r, "digest", &p->digest);
	record_text(r, "detail", p->detail);
	record_bool(r, "taken_out", p->out);
	record_text(r, "quarantine", p->quarantine);
	return r;
}

/* Named blobs that do not exist. Of the others, one that is gone was deleted meanwhile: no harm. */
static uint64_t not_found(const struct verify *v)
{
	return v->common.n_args > 0 ? v->counts[VERDICT_GONE] : 0;
}

static void report_json(const struct verify *v)
{
	struct record *r = record_new();

	record_number(r, "checked", v->checked);
	record_number(r, "bytes", v->check.bytes);
	for (int i = VERDICT_DAMAGED; i < VERDICT_COUNT; i++)
		record_number(r, verdict_name((enum verdict)i), v->counts[i]);
	record_number(r, "not_found", not_found(v));
	record_number(r, "elsewhere", v->counts[VERDICT_ELSEWHERE]);
	record_number(r, "extra", v->n_extra);
	record_bool(r, "interrupted", stopped(v));
	record_append(r, "problems", NULL);
	for (size_t i = 0; i < v->n_problems; i++)
		record_append(r, "problems", problem_record(&v->problems[i]));
	record_append(r, "extras", NULL);
	for (size_t i = 0; i < v->n_extra; i++) {
		struct record *extra = record_new();

		record_digest(extra, "digest", &v->extra[i]);
		record_append(r, "extras", extra);
	}
	record_print(r, stdout);
}

/* One more part of a list that commas divide. */
PRINTF(2, 3) static void print_part(unsigned *parts, const char *fmt, ...)
{
	va_list ap;

	printf("%s ", (*parts)++ ? "," : "");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void report_text(const struct verify *v)
{
	char size[OUTPUT_TEXT_MAX], took[OUTPUT_TEXT_MAX];
	unsigned parts = 0;

	output_size(v->check.bytes, size);
	output_age(clock_mono_ns() - v->start_ns, took);
	printf("%s%llu blob%s checked, %s read in %s:", stopped(v) ? "interrupted: " : "",
	       (unsigned long long)v->checked, output_plural(v->checked), size, took);
	if (v->n_problems == 0 && not_found(v) == 0)
		print_part(&parts, "all well");
	for (int i = VERDICT_DAMAGED; i < VERDICT_COUNT; i++)
		if (v->counts[i])
			print_part(&parts, "%llu %s", (unsigned long long)v->counts[i],
				   verdict_name((enum verdict)i));
	if (not_found(v))
		print_part(&parts, "%llu not found", (unsigned long long)not_found(v));
	if (v->counts[VERDICT_ELSEWHERE])
		print_part(&parts, "%llu not here but %s, and not read",
			   (unsigned long long)v->counts[VERDICT_ELSEWHERE],
			   storage_has_bucket(v->conf) ? "in the bucket" : "behind");
	if (v->n_extra)
		print_part(&parts, "%zu extra", v->n_extra);
	putchar('\n');
}

/* --- the command --- */

static int lookup_meta(void *arg, const struct digest *d, uint64_t *ret_size, struct stow_err *err)
{
	return access_lookup(arg, d, ret_size, err);
}

static bool known_behind(void *arg, const struct digest *d)
{
	struct stow_err ignored;

	return meta_remote_get(arg, d, NULL, &ignored) == 0;
}

static int open_all(struct verify *v, struct stow_err *err)
{
	if (quarantine && !storage_is_local(v->conf))
		return stow_fail(
			err, STOW_UNIMPLEMENTED,
			"--quarantine moves files, but the blobs are in a bucket: what is damaged there, "
			"remove with \"ctr content rm\"");
	/* The database first: a wrong root must not become a new, empty store. */
	if (access_read(&v->common, v->conf, &v->meta, err) < 0 ||
	    storage_open_beside(v->conf, &v->backend, err) < 0)
		return -1;
	v->check.backend = v->backend;
	v->check.lookup = lookup_meta;
	v->check.elsewhere = known_behind;
	v->check.arg = v->meta;
	return 0;
}

static int run(struct verify *v, const struct digest *named, size_t n, struct stow_err *err)
{
	uint64_t blobs, bytes = 0;
	int result;

	if (n == 0 && meta_blob_count(v->meta, &blobs, &bytes, err) < 0)
		return -1;
	v->start_ns = clock_mono_ns();
	progress_begin(&v->progress, stderr, SPEC.command, bytes, v->start_ns);
	v->check.progress = &v->progress;
	v->check.brake = &v->brake;
	if (n > 0)
		result = check_named(v, named, n, err);
	else
		result = check_rows(v, err);
	/* In a bucket there may be many that are no concern of this store. */
	if (result == 0 && n == 0 && !stopped(v) && !v->backend->remote)
		result = find_extra(v, err);
	progress_clear(&v->progress);
	if (result == 0 && quarantine && v->n_problems > 0 && !stopped(v))
		take_all_out(v);
	progress_clear(&v->progress);
	return result;
}

/* Into `named`, which has room for all arguments. 0, or the exit status after the message. */
static int parse_arguments(struct verify *v, struct digest *named)
{
	struct stow_err err;
	int64_t limit = 0;

	for (size_t i = 0; i < v->common.n_args; i++)
		if (digest_parse(&named[i], v->common.args[i], strlen(v->common.args[i]), &err) < 0)
			return flags_usage(&SPEC, "%s", err.msg);
	if (rate_limit && conf_parse_size(rate_limit, &limit, &err) < 0)
		return flags_usage(&SPEC, "--rate-limit: %s", err.msg);
	if (rate_limit && limit == 0)
		return flags_usage(&SPEC, "--rate-limit: nothing can be read at that rate");
	v->brake.per_second = (uint64_t)limit;
	return 0;
}

int cmd_verify(int argc, char **argv)
{
	CLEANUP(verify_free) struct verify v = { 0 };
	CLEANUP(freep) struct digest *named = NULL;
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &v.common, &status))
		return status;
	named = x_calloc(v.common.n_args, sizeof(*named));
	status = parse_arguments(&v, named);
	if (status)
		return status;
	if (flags_load_conf(&v.common, &v.conf) < 0)
		return EXIT_USAGE;
	v.check.stop = interrupt_begin();
	if (open_all(&v, &err) < 0)
		return output_fail(SPEC.command, &err);
	interrupt_guard(v.backend);
	status = run(&v, named, v.common.n_args, &err);
	interrupt_unguard();
	if (status < 0) {
		status = output_fail(SPEC.command, &err);
		return interrupt_status() != 0 ? interrupt_status() : status;
	}
	if (v.common.json)
		report_json(&v);
	else
		report_text(&v);
	if (output_flush(SPEC.command) < 0)
		return EXIT_FAILURE;
	if (interrupt_status())
		return interrupt_status();
	/* A named blob that is not there is as wrong as a bad one. */
	return v.n_problems > 0 || not_found(&v) > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
