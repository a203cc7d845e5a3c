/* stowage pin, unpin: what stays here, whatever was used less long ago. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* The daemon reads manifests for it, which may be in the bucket alone. */
static const int64_t PIN_TIMEOUT_NS = 120 * NSEC_PER_SEC;

static bool list;

static const struct flag OWN[] = {
	{ .name = "list", .letter = 'l', .set = &list, .help = "show what is pinned" },
	{ 0 },
};
static const struct flags_spec PIN = {
	.command = "pin",
	.arguments = "DIGEST... | --list",
	.help = "Keep blobs on this node however full it is, and bring them here where they are in the "
		"bucket "
		"alone:\n"
		"in the background, see stowage prefetch. An image's manifest or index stands for all it "
		"refers "
		"to,\n"
		"as far as this node has it. A pin ends with unpin, or when the blob is deleted here: "
		"containerd's\n"
		"garbage collection does not know of it. --list works with or without a running daemon.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = OWN,
};
static const struct flags_spec UNPIN = {
	.command = "unpin",
	.arguments = "DIGEST...",
	.help = "End the pins of blobs and of what they refer to; what other pinned images share with them "
		"stays "
		"pinned.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
};

/* --- one after the other --- */

typedef int pin_call(struct client *c, const struct digest *d, struct fleet_pinned *ret_p,
		     struct stow_err *err);

static void print_pinned(const struct digest *d, const struct fleet_pinned *p, bool unpin)
{
	char text[DIGEST_STR_MAX], size[OUTPUT_TEXT_MAX];

	digest_format(d, text);
	output_size(p->bytes, size);
	printf("%s: %llu blob%s, %s, %s", text, (unsigned long long)p->blobs, output_plural(p->blobs), size,
	       unpin ? "unpinned" : "pinned");
	output_size(p->absent_bytes, size);
	if (p->absent > 0)
		printf("; %llu of them, %s, on the way", (unsigned long long)p->absent, size);
	putchar('\n');
}

static void record_pinned(struct records *l, const struct digest *d, const struct fleet_pinned *p, bool unpin)
{
	struct record *r = record_new();

	record_digest(r, "digest", d);
	record_number(r, "blobs", p->blobs);
	record_number(r, "bytes", p->bytes);
	if (!unpin) {
		record_number(r, "absent", p->absent);
		record_number(r, "absent_bytes", p->absent_bytes);
	}
	records_add(l, r);
}

static int pin_all(const struct flags_spec *spec, pin_call *call, struct client *client,
		   const struct digest *v, size_t n, bool json)
{
	bool unpin = spec == &UNPIN;
	struct records records;
	int status = EXIT_SUCCESS;

	if (json)
		records_begin(&records, stdout);
	for (size_t i = 0; i < n; i++) {
		struct fleet_pinned p;
		struct stow_err err;

		if (call(client, &v[i], &p, &err) < 0)
			status = output_fail(spec->command, &err);
		else if (json)
			record_pinned(&records, &v[i], &p, unpin);
		else
			print_pinned(&v[i], &p, unpin);
	}
	if (json)
		records_end(&records);
	return output_flush(spec->command) < 0 ? EXIT_FAILURE : status;
}

static int pin_named(const struct flags_spec *spec, pin_call *call, const struct common_flags *common)
{
	CLEANUP(freep) struct digest *v = x_calloc(common->n_args, sizeof(*v));
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(conf_freep) struct conf *conf = NULL;
	struct stow_err err;

	if (common->n_args == 0)
		return flags_usage(spec, "expected a digest");
	for (size_t i = 0; i < common->n_args; i++)
		if (digest_parse(&v[i], common->args[i], strlen(common->args[i]), &err) < 0)
			return flags_usage(spec, "%s", err.msg);
	if (flags_load_conf(common, &conf) < 0)
		return EXIT_USAGE;
	if (access_daemon(conf, NULL, &st, &err) < 0)
		return output_fail(spec->command, &err);
	client = client_new(conf->grpc.address, PIN_TIMEOUT_NS);
	return pin_all(spec, call, client, v, common->n_args, common->json);
}

/* --- the list --- */

enum { BATCH = 256 };
struct batch {
	struct pin v[BATCH];
	size_t n;
};

static int take_pin(void *arg, const struct pin *p, struct stow_err *err UNUSED)
{
	struct batch *b = arg;

	b->v[b->n++] = *p;
	return 0;
}

static const struct table_column COLUMNS[] = {
	{ "DIGEST", false }, { "SIZE", true }, { "AGE", true }, { "NAMED", false }, { "HERE", false },
};

static void list_pin(const struct conf *conf, const struct pin *p, struct table *table,
		     struct records *records)
{
	CLEANUP(freep) char *path = access_blob_path(conf, &p->digest);
	char digest[DIGEST_STR_MAX], size[OUTPUT_TEXT_MAX], age[OUTPUT_TEXT_MAX];
	bool here = access(path, F_OK) == 0;
	struct record *r;

	if (table) {
		digest_format(&p->digest, digest);
		output_size(p->size, size);
		output_age(clock_wall_ns() - p->pinned_ns, age);
		table_row(table,
			  (const char *[]){ digest, size, age, p->named ? "yes" : "-", here ? "yes" : "no" });
		return;
	}
	r = record_new();
	record_digest(r, "digest", &p->digest);
	record_number(r, "size", p->size);
	record_time(r, "pinned", p->pinned_ns);
	record_bool(r, "named", p->named);
	record_bool(r, "here", here);
	records_add(records, r);
}

static int list_pins(const struct common_flags *common)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	CLEANUP(meta_closep) struct meta *meta = NULL;
	struct table *table = NULL;
	struct records records;
	struct digest cursor = { 0 };
	struct stow_err err;
	struct batch b;
	int status = EXIT_SUCCESS;

	if (common->n_args > 0)
		return flags_usage(&PIN, "--list takes no digests");
	if (flags_load_conf(common, &conf) < 0)
		return EXIT_USAGE;
	if (access_read(common, conf, &meta, &err) < 0)
		return output_fail(PIN.command, &err);
	if (common->json)
		records_begin(&records, stdout);
	else
		table = table_new(stdout, COLUMNS, ARRAY_LEN(COLUMNS));
	do {
		size_t n;

		b.n = 0;
		if (meta_pins_next(meta, &cursor, BATCH, take_pin, &b, &n, &err) < 0)
			status = output_fail(PIN.command, &err);
		for (size_t i = 0; i < b.n; i++)
			list_pin(conf, &b.v[i], table, &records);
	} while (b.n == BATCH && status == EXIT_SUCCESS);
	/* A list that was cut short is no valid JSON, as ls has it. */
	if (table)
		table_end(table);
	else if (status == EXIT_SUCCESS)
		records_end(&records);
	return output_flush(PIN.command) < 0 ? EXIT_FAILURE : status;
}

int cmd_pin(int argc, char **argv)
{
	struct common_flags common;
	int status;

	output_begin();
	if (!flags_parse(&PIN, argc, argv, &common, &status))
		return status;
	return list ? list_pins(&common) : pin_named(&PIN, client_pin, &common);
}

int cmd_unpin(int argc, char **argv)
{
	struct common_flags common;
	int status;

	output_begin();
	if (!flags_parse(&UNPIN, argc, argv, &common, &status))
		return status;
	return pin_named(&UNPIN, client_unpin, &common);
}
