/* stowage ls: the blobs of the store, straight from its database. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

static bool quiet;

static const struct flag OWN[] = {
	{ .name = "quiet", .letter = 'q', .set = &quiet, .help = "print the digests alone" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "ls",
	.arguments = "[FILTER...]",
	.help = "List the blobs, with or without a running daemon. A filter is as containerd has them:\n"
		"  stowage ls 'labels.\"kind\"==layer' 'digest~=^sha512:'\n"
		"Commas within one filter mean \"and\", several filters mean \"or\".",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
	.own = OWN,
};

/* Blobs of one look into the database. Nothing is printed while the look lasts: a reader that stops
 * reading must not hold up the database's pages. */
enum { BATCH = 256 };
struct batch {
	const struct filter *filter;
	struct blob_info v[BATCH]; /* owned */
	size_t n;
};

static int take_blob(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct batch *b = arg;

	if (!filter_match(b->filter, blob_info_field, i))
		return 0;
	b->v[b->n] = *i;
	labels_copy(&b->v[b->n++].labels, &i->labels);
	return 0;
}

static void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		blob_info_free(&b->v[i]);
	b->n = 0;
}

/* --- the three forms --- */

struct listing {
	struct table *table;    /* for people; else: */
	struct records records; /* JSON */
	int64_t now_ns;
	struct meta *meta; /* of the pins; NULL: there are none */
};

/* The last one only where something is pinned. */
static const struct table_column COLUMNS[] = {
	{ "DIGEST", false }, { "SIZE", true }, { "AGE", true }, { "LABELS", false }, { "PINNED", false },
};

/* A single label as it is; more by their number. To be freed. */
static char *labels_text(const struct labels *l)
{
	enum { SHOWN_MAX = 64 };

	if (l->n == 0)
		return x_strdup("-");
	if (l->n == 1 && strlen(l->v[0].key) + strlen(l->v[0].value) <= SHOWN_MAX)
		return x_asprintf("%s=%s", l->v[0].key, l->v[0].value);
	return x_asprintf("%zu label%s", l->n, output_plural(l->n));
}

/* Since when; 0: it is not. */
static int64_t pinned_ns(const struct listing *l, const struct digest *d)
{
	struct stow_err ignored;
	struct pin pin;

	return l->meta && meta_pin_get(l->meta, d, &pin, &ignored) == 0 ? pin.pinned_ns : 0;
}

static void list_blob(struct listing *l, const struct blob_info *i, bool json)
{
	char digest[DIGEST_STR_MAX], size[OUTPUT_TEXT_MAX], age[OUTPUT_TEXT_MAX];
	CLEANUP(freep) char *labels = NULL;
	int64_t pinned = quiet ? 0 : pinned_ns(l, &i->digest);
	struct record *r;

	digest_format(&i->digest, digest);
	if (quiet) {
		puts(digest);
	} else if (json) {
		r = record_new();
		record_text(r, "digest", digest);
		record_number(r, "size", i->size);
		record_time(r, "created", i->created_ns);
		record_time(r, "updated", i->updated_ns);
		record_labels(r, "labels", &i->labels);
		if (pinned)
			record_time(r, "pinned", pinned);
		else
			record_null(r, "pinned");
		records_add(&l->records, r);
	} else {
		output_size(i->size, size);
		output_age(l->now_ns - i->created_ns, age);
		labels = labels_text(&i->labels);
		table_row(l->table, (const char *[]){ digest, size, age, labels, pinned ? "yes" : "-" });
	}
}

static int list_all(struct listing *l, struct meta *m, const struct filter *f, bool json)
{
	CLEANUP(batch_clear) struct batch b = { .filter = f };
	struct digest cursor = { 0 };
	struct stow_err err;
	size_t n;

	do {
		if (meta_blobs_next(m, &cursor, BATCH, take_blob, &b, &n, &err) < 0)
			return output_fail(SPEC.command, &err);
		for (size_t i = 0; i < b.n; i++)
			list_blob(l, &b.v[i], json);
		batch_clear(&b);
		/* Whoever has stopped reading does not want the other million. */
		if (output_flush(SPEC.command) < 0)
			return EXIT_FAILURE;
	} while (n == BATCH);
	return EXIT_SUCCESS;
}

int cmd_ls(int argc, char **argv)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	CLEANUP(meta_closep) struct meta *meta = NULL;
	CLEANUP(filter_freep) struct filter *filter = NULL;
	struct common_flags common;
	struct listing l = { 0 };
	uint64_t pins, pinned_bytes;
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (quiet && common.json)
		return flags_usage(&SPEC, "--quiet and --format json exclude each other");
	if (filter_compile((const char *const *)common.args, common.n_args, &filter, &err) < 0) {
		output_fail(SPEC.command, &err);
		return EXIT_USAGE;
	}
	if (filter_bad_regex(filter)) {
		CLEANUP(freep) char *clean = output_clean(filter_bad_regex(filter));

		output_message(SPEC.command,
			       "%s is no regular expression (in RE2's syntax), and matches nothing, as "
			       "containerd has it",
			       clean);
	}
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (access_read(&common, conf, &meta, &err) < 0 ||
	    meta_pin_count(meta, &pins, &pinned_bytes, &err) < 0)
		return output_fail(SPEC.command, &err);
	l.now_ns = clock_wall_ns();
	l.meta = pins > 0 ? meta : NULL;
	if (common.json)
		records_begin(&l.records, stdout);
	else if (!quiet)
		l.table = table_new(stdout, COLUMNS, ARRAY_LEN(COLUMNS) - (pins == 0));
	status = list_all(&l, meta, filter, common.json);
	/* A list that was cut short is no valid JSON: whoever overlooks the status shall not take it for
	 * the whole. */
	if (common.json && status == EXIT_SUCCESS)
		records_end(&l.records);
	else if (l.table)
		table_end(l.table);
	return output_flush(SPEC.command) < 0 ? EXIT_FAILURE : status;
}
