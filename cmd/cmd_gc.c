/* stowage gc: removes from the bucket what no node of the fleet holds. */
#include "backends/tiered/gc.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/interrupt.h"
#include "cmd/output.h"
#include "cmd/storage.h"
#include "conf/parse.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

static const char *grace = "168h", *wait_for = "5m", *digest;
static bool dry_run;

static const struct flag OWN[] = {
	{ .name = "dry-run",
	  .set = &dry_run,
	  .help = "only say what would be removed (of the bucket, only the note gc/clock is written)" },
	{ .name = "grace",
	  .text = &grace,
	  .value = "DURATION",
	  .help = "objects that are younger stay; 168h where it is not given" },
	{ .name = "wait",
	  .text = &wait_for,
	  .value = "DURATION",
	  .help = "how long the nodes may take to answer; 5m where it is not given" },
	{ .name = "explain", .text = &digest, .value = "DIGEST", .help = "only say who holds this blob" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "gc",
	.arguments = "",
	.help = "Remove from the bucket what no node of the fleet holds. Nodes may pull and push meanwhile; "
		"each\n"
		"of them is asked before anything is removed, and where one does not answer, nothing is. It "
		"may\n"
		"run on any machine with this configuration, needs no daemon there, and carries on with "
		"what\n"
		"an earlier one has left. The exit status is 1 if nodes did not answer in time.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = OWN,
};

struct report {
	bool json;
	struct record *explanation; /* NULL, or where the lines go */
	struct record *result;      /* of a run, for JSON */
};

/* Results go to standard output, what happens meanwhile to standard error. */
static void say(void *arg, const char *line)
{
	CLEANUP(freep) char *clean = output_clean(line);
	const struct report *r = arg;

	if (r->explanation != NULL) {
		struct record *one = record_new();

		record_text(one, "text", line);
		record_append(r->explanation, "lines", one);
	} else if (!r->json && (dry_run || digest)) {
		printf("%s\n", clean);
	} else {
		output_message(SPEC.command, "%s", clean);
	}
}

static void would_remove(void *arg, const struct digest *d, uint64_t size)
{
	const struct report *r = arg;
	struct record *one = record_new();

	record_digest(one, "digest", d);
	record_number(one, "size", size);
	record_append(r->result, "would_remove", one);
}

static void print_json(const struct gc_result *r, struct record *out)
{
	record_bool(out, "dry_run", dry_run);
	record_number(out, "objects", r->objects);
	record_number(out, "bytes", r->bytes);
	record_number(out, "held", r->held);
	record_number(out, "young", r->young);
	record_number(out, dry_run ? "to_go" : "marked", r->marked);
	record_number(out, dry_run ? "to_go_bytes" : "marked_bytes", r->marked_bytes);
	record_number(out, "removed", r->removed);
	record_number(out, "removed_bytes", r->removed_bytes);
	record_number(out, "nodes", r->nodes);
	record_number(out, "dead", r->dead);
	record_number(out, "silent", r->silent);
	record_print(out, stdout);
}

static void print_text(const struct gc_result *r)
{
	char bytes[OUTPUT_TEXT_MAX], marked[OUTPUT_TEXT_MAX], removed[OUTPUT_TEXT_MAX];

	output_size(r->bytes, bytes);
	output_size(r->marked_bytes, marked);
	output_size(r->removed_bytes, removed);
	printf("nodes    %u, of these %u taken for gone\n", r->nodes, r->dead);
	if (r->silent > 0)
		printf("silent   %u node%s not answered: nothing was removed; try again\n", r->silent,
		       r->silent == 1 ? " has" : "s have");
	if (r->objects > 0 || r->marked == 0)
		printf("objects  %llu, %s\nheld     %llu\nyoung    %llu\n", (unsigned long long)r->objects,
		       bytes, (unsigned long long)r->held, (unsigned long long)r->young);
	printf("%s   %llu, %s\n", dry_run ? "to go " : "marked", (unsigned long long)r->marked, marked);
	if (!dry_run)
		printf("removed  %llu, %s\n", (unsigned long long)r->removed, removed);
}

static int fail(struct stow_err *err)
{
	int status = interrupt_status();

	if (status != 0 && err->code != STOW_CANCELLED)
		(void)stow_wrap(err, "interrupted");
	(void)output_fail(SPEC.command, err);
	return status != 0 ? status : EXIT_FAILURE;
}

static int explain(const struct gc_options *o, struct report *r, struct stow_err *err)
{
	struct digest d;
	int rc;

	if (digest_parse(&d, digest, strlen(digest), err) < 0)
		return flags_usage(&SPEC, "--explain: %s", err->msg);
	if (r->json) {
		r->explanation = record_new();
		record_digest(r->explanation, "digest", &d);
		record_append(r->explanation, "lines", NULL);
	}
	rc = gc_explain(o, &d, err);
	if (rc == 0 && r->explanation != NULL)
		record_print(TAKE(r->explanation), stdout);
	record_free(r->explanation);
	return rc < 0 ? fail(err) : EXIT_SUCCESS;
}

static int run(struct gc_options *o, struct report *r, struct stow_err *err)
{
	CLEANUP(record_freep) struct record *out = record_new();
	struct gc_result result;

	if (r->json && dry_run) {
		r->result = out;
		record_append(out, "would_remove", NULL);
		o->would_remove = would_remove;
	}
	if (gc_run(o, &result, err) < 0)
		return fail(err);
	if (r->json)
		print_json(&result, TAKE(out));
	else
		print_text(&result);
	return result.silent > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int cmd_gc(int argc, char **argv)
{
	CLEANUP(backend_freep) struct backend *bucket = NULL;
	CLEANUP(conf_freep) struct conf *conf = NULL;
	struct common_flags common;
	struct report report = { 0 };
	struct gc_options o = { .say = say, .arg = &report };
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (conf_parse_duration(grace, &o.grace_ns, &err) < 0)
		return flags_usage(&SPEC, "--grace: %s", err.msg);
	if (conf_parse_duration(wait_for, &o.wait_ns, &err) < 0)
		return flags_usage(&SPEC, "--wait: %s", err.msg);
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	report.json = common.json;
	if (storage_open_fleet(conf, &bucket, &err) < 0)
		return output_fail(SPEC.command, &err);
	o.bucket = bucket;
	o.dry_run = dry_run;
	o.stop = interrupt_begin();
	interrupt_guard(bucket);
	status = digest ? explain(&o, &report, &err) : run(&o, &report, &err);
	interrupt_unguard();
	return output_flush(SPEC.command) < 0 ? EXIT_FAILURE : status;
}
