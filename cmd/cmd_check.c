/* stowage check: tries what a daemon with this configuration would need. */
#include "backends/backends.h"
#include "backends/s3/probe.h"
#include "backends/tiered/notes.h"
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "cmd/remote_options.h"
#include "cmd/storage.h"
#include "content/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static const struct flags_spec SPEC = {
	.command = "check",
	.arguments = "",
	.help = "Try what a daemon with this configuration needs, and say in words what is missing: its\n"
		"directories, and of buckets which credentials are used, whether they can be reached, and "
		"what\n"
		"they permit (small objects are written below stowage-check/ and nodes/, and removed). A "
		"running\n"
		"daemon is not disturbed. The exit status is 1 if something would not work.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
};

struct check_report {
	bool failed;
	struct record *json; /* NULL: text */
	struct progress progress;
};

static const char *verdict_text(enum probe_verdict v)
{
	static const char *const names[] = {
		[PROBE_ASKING] = "asking",
		[PROBE_OK] = "ok",
		[PROBE_NOTE] = "note",
		[PROBE_FAILED] = "FAILED",
	};

	return names[v];
}

/* Further lines stand below the first. */
static void print_lines(const char *text)
{
	CLEANUP(freep) char *copy = x_strdup(text);
	char *rest = copy;

	for (const char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		CLEANUP(freep) char *clean = output_clean(line);

		printf("%s%s\n", line == copy ? "" : "                               ", clean);
	}
}

static void report(void *arg, const struct probe_step *step)
{
	struct check_report *r = arg;

	if (step->verdict == PROBE_ASKING) {
		progress_doing(&r->progress, step->name);
		return;
	}
	progress_clear(&r->progress);
	r->failed |= step->verdict == PROBE_FAILED;
	if (r->json) {
		struct record *one = record_new();

		record_text(one, "step", step->name);
		record_text(one, "result",
			    step->verdict == PROBE_FAILED ? "failed" : verdict_text(step->verdict));
		record_text(one, "detail", step->detail);
		if (*step->advice)
			record_text(one, "advice", step->advice);
		record_append(r->json, "steps", one);
		return;
	}
	printf("%-6s  %-21s  ", verdict_text(step->verdict), step->name);
	print_lines(step->detail);
	if (*step->advice) {
		printf("                               -> ");
		print_lines(step->advice);
	}
	fflush(stdout);
}

/* `step` has a name, and what is said where all is well. */
static void check_access(struct check_report *r, struct probe_step step, const char *path, int mode,
			 const char *advice)
{
	char detail[512];
	struct stat st;
	int e = 0;

	step.verdict = PROBE_OK;
	step.advice = "";
	if (stat(path, &st) < 0 || access(path, mode) < 0)
		e = errno;
	else if (!S_ISDIR(st.st_mode))
		e = ENOTDIR;
	if (e != 0) {
		step.verdict = PROBE_FAILED;
		step.detail = detail;
		snprintf(detail, sizeof(detail), "%s: %s", path, strerrordesc_np(e));
		step.advice = advice;
	}
	report(r, &step);
}

/* The directory that holds `path`; to be freed. */
static char *above(const char *path)
{
	char *dir = x_strdup(path), *slash = strrchr(dir, '/');

	assert(slash != NULL); /* conf/ takes no other paths */
	slash[slash == dir] = '\0';
	return dir;
}

/* It is there and ours to write to, or can be made; those above it the daemon does not make. */
static void check_directory(struct check_report *r, const char *name, const char *path)
{
	CLEANUP(freep) char *made = x_asprintf("%s: will be made", path);
	CLEANUP(freep) char *parent = above(path);
	bool missing = access(path, F_OK) < 0 && errno == ENOENT;

	check_access(r, (struct probe_step){ .name = name, .detail = missing ? made : path },
		     missing ? parent : path, R_OK | W_OK | X_OK,
		     "it, or the directory above it, must be there and the daemon's user able to read and "
		     "write it");
}

static void check_socket(struct check_report *r, const char *address)
{
	CLEANUP(freep) char *dir = NULL;

	if (*address != '/') /* systemd's */
		return;
	dir = above(address);
	check_directory(r, "grpc.address", dir);
}

static int64_t least(int64_t x, int64_t y)
{
	return x < y ? x : y;
}

/* A person waits: what has not answered by then does not work, though a daemon would try for longer. */
static void be_brief(struct s3_options *o)
{
	o->max_attempts = (unsigned)least(o->max_attempts, 2);
	o->connect_timeout = least(o->connect_timeout, 3 * NSEC_PER_SEC);
	o->first_byte_timeout = least(o->first_byte_timeout, 5 * NSEC_PER_SEC);
	o->stall_timeout = least(o->stall_timeout, 5 * NSEC_PER_SEC);
}

struct source_report {
	struct check_report *report;
	const char *name;
};

static void report_source(void *arg, const struct probe_step *step)
{
	const struct source_report *s = arg;
	CLEANUP(freep) char *name = x_asprintf("%s %s", s->name, step->name);
	struct probe_step named = *step;

	named.name = name;
	report(s->report, &named);
}

/* The place from which `top` leads to blobs, where that is another one than `path`: above it, or not far
 * below. To be freed; NULL: there is none. */
static char *find_top(const char *path, const char *top)
{
	static const char *const below[] = { "io.containerd.content.v1.content", "registry", "data" };
	CLEANUP(freep) char *at = x_strdup(path);

	for (size_t i = 0; i < ARRAY_LEN(below); i++) {
		CLEANUP(freep) char *dir = x_asprintf("%s/%s", path, below[i]);
		CLEANUP(freep) char *blobs = x_asprintf("%s/%s", dir, top);

		if (access(blobs, F_OK) == 0)
			return TAKE(dir);
	}
	for (char *slash = strrchr(at, '/'); slash > at; slash = strrchr(at, '/')) {
		CLEANUP(freep) char *blobs = NULL;

		*slash = '\0';
		blobs = x_asprintf("%s/%s", at, top);
		if (access(blobs, F_OK) == 0)
			return TAKE(at);
	}
	return NULL;
}

/* A source may be empty still, which is noted; it has failed where path or layout are wrong for sure. */
static void check_directory_source(struct check_report *r, const char *name, const struct conf_source *source)
{
	const char *top = source_dir_top((enum source_layout)source->layout);
	enum source_layout other = source->layout == CONF_LAYOUT_REGISTRY ? SOURCE_STOWAGE : SOURCE_REGISTRY;
	CLEANUP(freep) char *blobs = x_asprintf("%s/%s", source->path, top);
	CLEANUP(freep) char *others = x_asprintf("%s/%s", source->path, source_dir_top(other));
	CLEANUP(freep) char *detail = x_asprintf("%s has no %s", source->path, top);
	CLEANUP(freep) char *right = find_top(source->path, top);
	CLEANUP(freep) char *advice = NULL;
	bool wrong;

	if (access(source->path, F_OK) < 0 || access(blobs, F_OK) == 0) {
		const char *path = access(source->path, F_OK) < 0 ? source->path : blobs;

		check_access(r, (struct probe_step){ .name = name, .detail = source->path }, path,
			     R_OK | X_OK, "the daemon's user must be able to read it");
		return;
	}
	if (right != NULL)
		advice = x_asprintf("path = \"%s\" has", right);
	else if (access(others, F_OK) == 0)
		advice = x_asprintf("it has %s: that is the layout \"%s\"", source_dir_top(other),
				    other == SOURCE_STOWAGE ? "stowage" : "registry");
	wrong = advice != NULL;
	report(r, &(struct probe_step){
			  .name = name,
			  .verdict = wrong ? PROBE_FAILED : PROBE_NOTE,
			  .detail = detail,
			  .advice = wrong ? advice
					  : "see the source's path and layout, unless it is still empty",
		  });
}

static void check_source(struct check_report *r, const char *name, const struct conf_source *source)
{
	struct source_report as = { .report = r, .name = name };
	struct s3_options options;

	if (source->type == CONF_SOURCE_DIR) {
		check_directory_source(r, name, source);
		return;
	}
	source_s3_options(source, &options);
	be_brief(&options);
	(void)s3_probe_source(&options, report_source, &as);
}

static void check_bucket(struct check_report *r, const struct conf *c)
{
	static const struct s3_probe_fleet fleet = { .told = NOTE_NODES, .read = NOTE_GC };
	struct s3_options options;

	remote_s3_options(&c->remote.s3, &options);
	be_brief(&options);
	(void)s3_probe(&options, c->remote.mode == CONF_MODE_TIERED ? &fleet : NULL, report, r);
}

static void check_sources(struct check_report *r, const struct conf *c)
{
	for (size_t i = 0; i < c->n_sources; i++) {
		CLEANUP(freep) char *name = x_asprintf("source[%zu]", i + 1);

		check_source(r, name, &c->sources[i]);
	}
}

int cmd_check(int argc, char **argv)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	struct check_report r = { 0 };
	struct common_flags common;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	progress_begin(&r.progress, stderr, SPEC.command, 0, clock_mono_ns());
	if (common.json) {
		r.json = record_new();
		record_text(r.json, "backend", storage_name(conf));
		record_append(r.json, "steps", NULL);
	}
	check_directory(&r, "root", conf->root);
	check_directory(&r, "local.path", conf->local.path);
	check_socket(&r, conf->grpc.address);
	if (storage_has_bucket(conf))
		check_bucket(&r, conf);
	check_sources(&r, conf);
	progress_clear(&r.progress);
	if (r.json) {
		record_bool(r.json, "ok", !r.failed);
		record_print(r.json, stdout);
	}
	return output_flush(SPEC.command) < 0 || r.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
