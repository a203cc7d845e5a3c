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
	record_text(r, "node", st->node);
	record_number(r, "blobs", st->blobs);
	record_number(r, "blob_bytes", st->blob_bytes);
	record_number(r, "ingests", st->ingests);
	record_number(r, "ingest_bytes", st->ingest_bytes);
	record_bool(r, "reconciling", st->reconciling);
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

static void print_daemon(const struct daemon_status *st)
{
	char when[OUTPUT_TEXT_MAX];

	output_when(st->started_ns, clock_wall_ns(), when);
	printf("Daemon:    running, version %s, pid %lld\nStarted:   %s\n", st->version, (long long)st->pid,
	       when);
	printf("Address:   %s\nRoot:      %s\nBackend:   %s\nNode:      %s\n", st->address, st->root,
	       st->backend, st->node);
	print_counts(st->blobs, st->blob_bytes, st->ingests, st->ingest_bytes);
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

	o->readable = access_read(conf, &meta, &o->err) == 0 &&
		      meta_blob_count(meta, &o->blobs, &o->blob_bytes, &o->err) == 0 &&
		      meta_ingests(meta, add_ingest, o, &o->err) == 0;
}

static void print_offline_json(const struct conf *conf, const char *why, const struct offline *o)
{
	struct record *r = record_new();

	record_bool(r, "running", false);
	record_text(r, "error", why);
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

static void print_offline(const struct conf *conf, const struct offline *o)
{
	printf("Daemon:    not running\nAddress:   %s\nRoot:      %s\n", conf->grpc.address, conf->root);
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
		print_offline_json(conf, err.msg, &offline);
	else
		print_offline(conf, &offline);
	(void)output_flush(SPEC.command);
	return EXIT_FAILURE;
}
