/* stowage status: the daemon and its store; without a daemon, what the database alone tells. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

static const struct flags_spec SPEC = {
	.command = "status",
	.arguments = "",
	.help = "Ask the daemon how it is. If none answers, say so and show what the database tells: then "
		"the\n"
		"exit status is 1.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
};

/* --- with a daemon --- */

static struct record *behind_record(const struct fleet_behind *b)
{
	struct record *r = record_new();

	record_text(r, "name", b->name);
	if (b->away || b->answered)
		record_bool(r, "reachable", !b->away);
	else
		record_null(r, "reachable");
	if (b->away) {
		record_time(r, "away_since", b->since_ns);
		record_text(r, "error", b->error);
	}
	return r;
}

static void add_fleet_json(struct record *r, const struct fleet_status *st)
{
	record_number(r, "pending", st->pending);
	record_number(r, "pending_bytes", st->pending_bytes);
	if (st->oldest_ns)
		record_time(r, "pending_since", st->oldest_ns);
	else
		record_null(r, "pending_since");
	record_number(r, "uploading", st->uploading);
	record_number(r, "uploaded", st->uploaded);
	record_number(r, "uploaded_bytes", st->uploaded_bytes);
	record_text(r, "upload_error", *st->upload_error ? st->upload_error : NULL);
	record_number(r, "cache_bytes", st->cache_bytes);
	if (st->cache_limit)
		record_number(r, "cache_limit", st->cache_limit);
	else
		record_null(r, "cache_limit");
	record_number(r, "evicted", st->evicted);
	record_number(r, "evicted_bytes", st->evicted_bytes);
	record_number(r, "pinned", st->pinned);
	record_number(r, "pinned_bytes", st->pinned_bytes);
	record_number(r, "fetching", st->fetching);
	record_number(r, "fetched", st->fetched);
	record_number(r, "fetched_bytes", st->fetched_bytes);
	if (st->untold_ns)
		record_time(r, "untold_since", st->untold_ns);
	else
		record_null(r, "untold_since");
	record_text(r, "untold_error", st->untold_ns ? st->untold_error : NULL);
	record_bool(r, "shared", !st->unshared);
	record_append(r, "behind", NULL);
	for (size_t i = 0; i < st->n_behind; i++)
		record_append(r, "behind", behind_record(&st->behind[i]));
}

/* As `stowage gc` has it, too. */
static const char *node_of(const struct daemon_status *st)
{
	return st->fleet && *st->fleet->node ? st->fleet->node : st->node;
}

static void print_daemon_json(const struct daemon_status *st)
{
	struct record *r = record_new();

	record_bool(r, "running", true);
	record_text(r, "version", st->version);
	record_number(r, "pid", (uint64_t)st->pid);
	record_time(r, "started", st->started_ns);
	record_text(r, "root", st->root);
	record_text(r, "address", st->address);
	record_text(r, "backend", st->backend);
	record_text(r, "node", node_of(st));
	record_number(r, "blobs", st->blobs);
	record_number(r, "blob_bytes", st->blob_bytes);
	record_number(r, "ingests", st->ingests);
	record_number(r, "ingest_bytes", st->ingest_bytes);
	record_bool(r, "reconciling", st->reconciling);
	if (st->fleet)
		add_fleet_json(r, st->fleet);
	record_print(r, stdout);
}

static void print_counts(uint64_t blobs, uint64_t blob_bytes, uint64_t ingests, uint64_t ingest_bytes)
{
	char size[OUTPUT_TEXT_MAX];

	output_size(blob_bytes, size);
	printf("Blobs:     %llu, %s\n", (unsigned long long)blobs, size);
	output_size(ingest_bytes, size);
	printf("Ingests:   %llu, %s\n", (unsigned long long)ingests, size);
}

static void print_queue(const struct fleet_status *st, int64_t now_ns)
{
	char size[OUTPUT_TEXT_MAX], age[OUTPUT_TEXT_MAX];

	output_size(st->pending_bytes, size);
	printf("To upload: %llu, %s", (unsigned long long)st->pending, size);
	if (st->oldest_ns) {
		output_age(now_ns - st->oldest_ns, age);
		printf("; the oldest for %s", age);
	}
	if (st->uploading)
		printf("; %u under way", st->uploading);
	putchar('\n');
	if (*st->upload_error) {
		CLEANUP(freep) char *clean = output_clean(st->upload_error);

		output_age(now_ns - st->upload_error_ns, age);
		printf("           failed %s ago: %s\n", age, clean);
	}
	output_size(st->uploaded_bytes, size);
	printf("Uploaded:  %llu, %s since the start\n", (unsigned long long)st->uploaded, size);
}

static void print_cache(const struct fleet_status *st)
{
	char size[OUTPUT_TEXT_MAX], limit[OUTPUT_TEXT_MAX];

	output_size(st->fetched_bytes, size);
	printf("Fetched:   %llu, %s since the start; %u under way\n", (unsigned long long)st->fetched, size,
	       st->fetching);
	output_size(st->cache_bytes, size);
	output_size(st->cache_limit, limit);
	printf("Here:      %s%s%s", size, st->cache_limit ? " of at most " : ", without a limit",
	       st->cache_limit ? limit : "");
	output_size(st->evicted_bytes, size);
	printf("; %llu, %s dropped since the start\n", (unsigned long long)st->evicted, size);
	output_size(st->pinned_bytes, size);
	printf("Pinned:    %llu, %s\n", (unsigned long long)st->pinned, size);
}

static void print_untold(const struct fleet_status *st, int64_t now_ns)
{
	CLEANUP(freep) char *error = output_clean(st->untold_error);
	char when[OUTPUT_TEXT_MAX];

	if (!st->untold_ns)
		return;
	output_when(st->untold_ns, now_ns, when);
	printf("Fleet:     cannot be told what is here, since %s: %s;\n           %s until it can\n", when,
	       error, st->unshared ? "nothing is shared" : "`stowage gc` removes nothing");
}

static void print_fleet(const struct fleet_status *st)
{
	int64_t now_ns = clock_wall_ns();
	char when[OUTPUT_TEXT_MAX];

	print_queue(st, now_ns);
	print_cache(st);
	print_untold(st, now_ns);
	for (size_t i = 0; i < st->n_behind; i++) {
		CLEANUP(freep) char *name = output_clean(st->behind[i].name);
		CLEANUP(freep) char *error = output_clean(st->behind[i].error);

		printf("Behind:    %s, ", name);
		output_when(st->behind[i].since_ns, now_ns, when);
		if (st->behind[i].away)
			printf("away since %s: %s\n", when, error);
		else
			puts(st->behind[i].answered ? "reachable" : "has not answered yet");
	}
}

static void print_daemon(const struct daemon_status *st)
{
	char when[OUTPUT_TEXT_MAX];

	output_when(st->started_ns, clock_wall_ns(), when);
	printf("Daemon:    running, version %s, pid %lld\nStarted:   %s\n", st->version, (long long)st->pid,
	       when);
	printf("Address:   %s\nRoot:      %s\nBackend:   %s\nNode:      %s\n", st->address, st->root,
	       st->backend, node_of(st));
	print_counts(st->blobs, st->blob_bytes, st->ingests, st->ingest_bytes);
	if (st->fleet)
		print_fleet(st->fleet);
	if (st->reconciling)
		puts("Comparing the database with the blobs, since the start.");
}

/* --- without --- */

struct offline {
	uint64_t blobs, blob_bytes, ingests, ingest_bytes;
	bool readable;
	struct stow_err err; /* why it is not */
};

static int add_ingest(void *arg, const struct ingest_row *row, struct stow_err *err UNUSED)
{
	struct offline *o = arg;

	o->ingests++;
	o->ingest_bytes += row->offset;
	return 0;
}

static void look(const struct conf *conf, struct offline *o)
{
	CLEANUP(meta_closep) struct meta *meta = NULL;

	o->readable = access_read(NULL, conf, &meta, &o->err) == 0 &&
		      meta_blob_count(meta, &o->blobs, &o->blob_bytes, &o->err) == 0 &&
		      meta_ingests(meta, add_ingest, o, &o->err) == 0;
}

/* Whoever may not ask does not know. */
static void print_offline_json(const struct conf *conf, const struct stow_err *why, const struct offline *o)
{
	struct record *r = record_new();

	if (why->code == STOW_PERMISSION_DENIED)
		record_null(r, "running");
	else
		record_bool(r, "running", false);
	record_text(r, "error", why->msg);
	record_text(r, "root", conf->root);
	record_text(r, "address", conf->grpc.address);
	if (o->readable) {
		record_number(r, "blobs", o->blobs);
		record_number(r, "blob_bytes", o->blob_bytes);
		record_number(r, "ingests", o->ingests);
		record_number(r, "ingest_bytes", o->ingest_bytes);
	} else {
		record_text(r, "database_error", o->err.msg);
	}
	record_print(r, stdout);
}

static void print_offline(const struct conf *conf, const struct stow_err *why, const struct offline *o)
{
	printf("Daemon:    %s\nAddress:   %s\nRoot:      %s\n",
	       why->code == STOW_PERMISSION_DENIED ? "may not be asked (permission denied)" : "not running",
	       conf->grpc.address, conf->root);
	if (o->readable)
		print_counts(o->blobs, o->blob_bytes, o->ingests, o->ingest_bytes);
}

int cmd_status(int argc, char **argv)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };
	struct common_flags common;
	struct offline offline = { 0 };
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (access_daemon(conf, NULL, &st, &err) == 0) {
		if (common.json)
			print_daemon_json(&st);
		else
			print_daemon(&st);
		return output_flush(SPEC.command) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	output_fail(SPEC.command, &err);
	look(conf, &offline);
	if (!offline.readable)
		output_fail(SPEC.command, &offline.err);
	if (common.json)
		print_offline_json(conf, &err, &offline);
	else
		print_offline(conf, &err, &offline);
	(void)output_flush(SPEC.command);
	return EXIT_FAILURE;
}
