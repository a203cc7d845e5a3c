#include "backends/s3/probe_internal.h"
#include "content/base/mem.h"

/* --- what nodes tell each other --- */

/* One name for all checks, so that where it cannot be removed there is one. */
#define TRIAL ".stowage-check"

static int see_nothing(void *arg UNUSED, const char *key UNUSED, const struct s3_object *o UNUSED,
		       struct stow_err *err UNUSED)
{
	return 0;
}

static void fail_below(struct probe *p, const char *step, const char *action, const char *below,
		       const struct stow_err *err)
{
	CLEANUP(freep) char *what = x_asprintf("%s for %s*", action, below);

	probe_tell_failure(p, step, what, err);
}

static void probe_list_below(struct probe *p, const char *step, const char *below)
{
	struct stow_err err;

	probe_ask(p, step);
	if (s3_list(p->client, below, NULL, 1, see_nothing, NULL, &err) == 0)
		probe_tell(p, step, PROBE_OK, "", "%s can be listed", below);
	else
		fail_below(p, step, "s3:ListBucket", below, &err);
}

/* What only `stowage gc` needs: a node may be without it. */
static void tell_only_gc(struct probe *p, const char *step, const char *good, const char *action, int result,
			 const struct stow_err *err)
{
	CLEANUP(freep)
	char *advice = x_asprintf(
		"a node can do without it; where `stowage gc` runs, the credentials need %s", action);

	/* Another check may have removed it meanwhile. */
	if (result == 0 || err->code == STOW_NOT_FOUND)
		probe_tell(p, step, PROBE_OK, "", "%s", good);
	else if (err->code == STOW_PERMISSION_DENIED)
		probe_tell(p, step, PROBE_NOTE, advice, "%s", err->msg);
	else
		probe_tell_failure(p, step, action, err);
}

static void probe_told(struct probe *p, const char *below)
{
	CLEANUP(freep) char *key = x_asprintf("%s" TRIAL, below);
	struct s3_body body = probe_body();
	char text[PROBE_TEXT_SIZE];
	struct s3_object o;
	struct stow_err err;
	int result;

	probe_ask(p, "nodes put");
	if (s3_put(p->client, key, &body, 0, &o, &err) < 0) {
		fail_below(p, "nodes put", "s3:PutObject", below, &err);
		return;
	}
	probe_tell(p, "nodes put", PROBE_OK, "", "%s", key);
	probe_ask(p, "nodes get");
	result = s3_get(p->client, key, NULL, 0, sizeof(text), text, &err);
	tell_only_gc(p, "nodes get", "it was read", "s3:GetObject", result, &err);
	probe_ask(p, "nodes delete");
	result = s3_delete(p->client, key, &err);
	tell_only_gc(p, "nodes delete", "it is removed", "s3:DeleteObject", result, &err);
}

/* That there is nothing to be read is an answer, too. */
static void probe_read_below(struct probe *p, const char *below)
{
	CLEANUP(freep) char *key = x_asprintf("%s" TRIAL, below);
	struct s3_object o;
	struct stow_err err;

	probe_ask(p, "gc get");
	if (s3_head_told(p->client, key, &o, &err) == 0 || err.code == STOW_NOT_FOUND)
		probe_tell(p, "gc get", PROBE_OK, "", "%s can be read", below);
	else
		fail_below(p, "gc get", "s3:GetObject", below, &err);
}

void probe_fleet(struct probe *p, const struct s3_probe_fleet *fleet)
{
	CLEANUP(freep) char *told = x_asprintf("%s%s", p->prefix, fleet->told);
	CLEANUP(freep) char *read = x_asprintf("%s%s", p->prefix, fleet->read);

	probe_list_below(p, "nodes list", told);
	probe_told(p, told);
	probe_list_below(p, "gc list", read);
	probe_read_below(p, read);
}

/* --- a bucket that is only read --- */

static void probe_seen(struct probe *p)
{
	CLEANUP(freep) char *below = s3_layout_blobs(p->prefix, p->o->layout);
	struct stow_err err;
	char first;

	probe_ask(p, "get");
	if (p->seen == NULL)
		probe_tell(p, "get", PROBE_NOTE,
			   "see the source's layout and source.s3.prefix, unless it is still empty",
			   "there is nothing below %s", below);
	else if (p->seen_size > 0 && s3_get(p->client, p->seen, NULL, 0, 1, &first, &err) < 0)
		probe_tell_failure(
			p, "get",
			"s3:GetObject (and the KMS key's kms:Decrypt, where objects are encrypted by one)",
			&err);
	else
		probe_tell(p, "get", PROBE_OK, "", "%s was read", p->seen);
}

bool s3_probe_source(const struct s3_options *o, s3_probe_report *report, void *arg)
{
	CLEANUP(probe_end) struct probe p = { .table = "source.s3", .report = report, .arg = arg };

	if (!probe_begin(&p, o))
		return false;
	probe_learnt(&p);
	probe_seen(&p);
	return !p.failed;
}
