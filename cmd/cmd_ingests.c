/* stowage ingests: what is being written, or was left unfinished. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/output.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

static const struct flags_spec SPEC = {
	.command = "ingests",
	.arguments = "",
	.help = "List the ingests, oldest first: unfinished uploads, which a client may resume, and which "
		"the\n"
		"daemon drops once nobody has touched them for a while (stale_ingest_after). Those that a\n"
		"client has open right now are shown as of their last checkpoint, which is made every 16 MiB "
		"or\n"
		"second of writing; before the first one they are not shown.",
	.groups = FLAGS_CONF | FLAGS_FORMAT,
};

/* All of them: there are never more than LIMIT_INGESTS. */
struct list {
	struct ingest_row *v; /* owned */
	size_t n, room;
};

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		ingest_row_free(&l->v[i]);
	free(l->v);
}

static int take_row(void *arg, const struct ingest_row *row, struct stow_err *err UNUSED)
{
	struct list *l = arg;

	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 16;
		l->v = x_reallocarray(l->v, l->room, sizeof(*l->v));
	}
	l->v[l->n] = *row;
	l->v[l->n++].ref = x_strdup(row->ref);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct ingest_row *x = a, *y = b;

	if (x->started_ns != y->started_ns)
		return x->started_ns < y->started_ns ? -1 : 1;
	return strcmp(x->ref, y->ref);
}

static void print_json(const struct list *l)
{
	struct records out;

	records_begin(&out, stdout);
	for (size_t i = 0; i < l->n; i++) {
		const struct ingest_row *row = &l->v[i];
		struct record *r = record_new();

		record_text(r, "ref", row->ref);
		record_number(r, "offset", row->offset);
		if (row->total)
			record_number(r, "total", row->total);
		else
			record_null(r, "total");
		record_digest(r, "expected", &row->expected);
		record_time(r, "started", row->started_ns);
		record_time(r, "updated", row->updated_ns);
		records_add(&out, r);
	}
	records_end(&out);
}

static void print_table(const struct list *l)
{
	static const struct table_column columns[] = {
		{ "REF", false },     { "OFFSET", true },  { "TOTAL", true },
		{ "PROGRESS", true }, { "STARTED", true }, { "UPDATED", true },
	};
	struct table *t = table_new(stdout, columns, ARRAY_LEN(columns));
	int64_t now = clock_wall_ns();

	for (size_t i = 0; i < l->n; i++) {
		const struct ingest_row *row = &l->v[i];
		char offset[OUTPUT_TEXT_MAX], total[OUTPUT_TEXT_MAX] = "-", progress[OUTPUT_TEXT_MAX] = "-";
		char started[OUTPUT_TEXT_MAX], updated[OUTPUT_TEXT_MAX];

		output_size(row->offset, offset);
		if (row->total) {
			output_size(row->total, total);
			snprintf(progress, sizeof(progress), "%.0f%%",
				 (double)row->offset * 100 / (double)row->total);
		}
		output_age(now - row->started_ns, started);
		output_age(now - row->updated_ns, updated);
		table_row(t, (const char *[]){ row->ref, offset, total, progress, started, updated });
	}
	table_end(t);
}

int cmd_ingests(int argc, char **argv)
{
	CLEANUP(conf_freep) struct conf *conf = NULL;
	CLEANUP(meta_closep) struct meta *meta = NULL;
	CLEANUP(list_free) struct list list = { 0 };
	struct common_flags common;
	struct stow_err err;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (access_read(&common, conf, &meta, &err) < 0 || meta_ingests(meta, take_row, &list, &err) < 0)
		return output_fail(SPEC.command, &err);
	if (list.n)
		qsort(list.v, list.n, sizeof(*list.v), compare);
	if (common.json)
		print_json(&list);
	else
		print_table(&list);
	return output_flush(SPEC.command) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
