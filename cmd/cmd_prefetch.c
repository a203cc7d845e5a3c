/* stowage prefetch: brings bytes here before anybody reads them. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/interrupt.h"
#include "cmd/output.h"
#include "cmd/prefetch.h"
#include "conf/parse.h"
#include "content/base/mem.h"

static const char *timeout;
static bool all;

static const struct flag OWN[] = {
	{ .name = "all", .set = &all, .help = "everything that this node has, as far as there is room" },
	{ .name = "timeout",
	  .text = &timeout,
	  .value = "DURATION",
	  .help = "wait no longer, such as 10m; 0s: only begin. Without it there is no end" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "prefetch",
	.arguments = "DIGEST... | --all",
	.help = "Have the daemon bring the bytes of blobs here from the storages behind, and wait until they "
		"are\n"
		"here. An image's manifest or index stands for all it refers to. What this node does not "
		"know, and "
		"is\n"
		"behind, becomes its own. The exit status is 1 if something has not come.",
	.groups = FLAGS_CONF,
	.own = OWN,
};

/* --- everything that is not here --- */

enum { BATCH = 1000 };
struct batch {
	struct wanted v[BATCH];
	size_t n;
};

static int take_blob(void *arg, const struct blob_info *i, struct stow_err *err UNUSED)
{
	struct batch *b = arg;

	b->v[b->n++] = (struct wanted){ .digest = i->digest, .size = i->size };
	return 0;
}

static int add_absent(struct prefetch *p, const struct conf *conf, struct stow_err *err)
{
	CLEANUP(freep) struct batch *b = x_calloc(1, sizeof(*b));
	CLEANUP(meta_closep) struct meta *meta = NULL;
	struct digest cursor = { 0 };
	size_t n;

	if (access_read(NULL, conf, &meta, err) < 0)
		return -1;
	do {
		b->n = 0;
		if (meta_blobs_next(meta, &cursor, BATCH, take_blob, b, &n, err) < 0)
			return -1;
		for (size_t i = 0; i < b->n; i++) {
			CLEANUP(freep) char *path = access_blob_path(conf, &b->v[i].digest);

			if (access(path, F_OK) == 0)
				p->here++;
			else
				prefetch_add(p, &b->v[i].digest, b->v[i].size);
		}
	} while (n == BATCH);
	return 0;
}

/* --- the whole --- */

/* Why what is left has not come, as far as that is known; to be freed. */
static char *reason(struct client *client)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };
	struct stow_err ignored;

	if (client_status(client, &st, &ignored) == 0 && st.fleet)
		for (size_t i = 0; i < st.fleet->n_behind; i++)
			if (st.fleet->behind[i].away)
				return x_asprintf("; %s: %s", st.fleet->behind[i].name,
						  st.fleet->behind[i].error);
	return x_strdup("");
}

/* What has become of it. Returns the exit status. */
static int conclude(const struct prefetch *p)
{
	char size[OUTPUT_TEXT_MAX];
	uint64_t left, left_bytes;

	output_size(p->brought_bytes, size);
	printf("Brought: %llu, %s\nHere:    %llu before\n", (unsigned long long)p->brought, size,
	       (unsigned long long)p->here);
	prefetch_left(p, &left, &left_bytes);
	if (left > 0) {
		CLEANUP(freep) char *why = reason(p->client);

		output_size(left_bytes, size);
		output_message(SPEC.command, "%s, %llu blob%s of %s are not here yet%s",
			       atomic_load(p->interrupted) ? "interrupted" : "the time is over",
			       (unsigned long long)left, output_plural(left), size, why);
	}
	if (output_flush(SPEC.command) < 0)
		return EXIT_FAILURE;
	if (interrupt_status() != 0)
		return interrupt_status();
	return left > 0 || p->failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int prefetch(struct prefetch *p, const struct conf *conf, const struct digest *v, size_t n)
{
	struct stow_err err;
	int result = 0;

	p->spare = all;
	p->interrupted = interrupt_begin();
	progress_begin(&p->progress, stderr, SPEC.command, 0, clock_mono_ns());
	if (all)
		result = add_absent(p, conf, &err);
	for (size_t i = 0; i < n && result == 0; i++)
		result = prefetch_add_named(p, &v[i], &err);
	if (result == 0)
		result = prefetch_run(p, &err);
	progress_clear(&p->progress);
	return result < 0 ? output_fail(SPEC.command, &err) : conclude(p);
}

/* Reaches the daemon. For all that is not here, its database and files are to be those of the configuration.
 */
static int reach(const struct conf *conf, struct client **ret_c, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };

	if (access_daemon(conf, ret_c, &st, err) < 0 || (all && access_same_root(conf, &st, err) < 0))
		return -1;
	if (!st.fleet)
		return stow_fail(err, STOW_UNIMPLEMENTED,
				 "there is no storage behind this store: all its bytes are here");
	return 0;
}

int cmd_prefetch(int argc, char **argv)
{
	CLEANUP(prefetch_free) struct prefetch p = { .command = SPEC.command, .until_ns = INT64_MAX };
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(freep) struct digest *v = NULL;
	CLEANUP(conf_freep) struct conf *conf = NULL;
	struct common_flags common;
	struct stow_err err;
	int64_t wait_ns;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if ((common.n_args == 0) != all)
		return flags_usage(&SPEC, "expected digests, or --all");
	if (timeout && conf_parse_duration(timeout, &wait_ns, &err) < 0)
		return flags_usage(&SPEC, "--timeout: %s", err.msg);
	v = x_calloc(common.n_args, sizeof(*v));
	for (size_t i = 0; i < common.n_args; i++)
		if (digest_parse(&v[i], common.args[i], strlen(common.args[i]), &err) < 0)
			return flags_usage(&SPEC, "%s", err.msg);
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (reach(conf, &client, &err) < 0)
		return output_fail(SPEC.command, &err);
	p.client = client;
	p.lease = clock_wall_ns();
	if (timeout)
		p.until_ns = clock_mono_ns() + wait_ns;
	return prefetch(&p, conf, v, common.n_args);
}
