/* stowage flush: waits until what was committed here is in the bucket. */
#include "cmd/access.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/interrupt.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "conf/parse.h"
#include "content/base/mem.h"

#include <time.h>

static const char *timeout;

static const struct flag OWN[] = {
	{ .name = "timeout",
	  .text = &timeout,
	  .value = "DURATION",
	  .help = "wait no longer, such as 10m; 0s: only look. Without it there is no end" },
	{ 0 },
};
static const struct flags_spec SPEC = {
	.command = "flush",
	.arguments = "",
	.help = "Have the daemon upload now what waits for it, and wait until the bucket has everything that "
		"was\n"
		"committed here. The exit status is 1 if that is not so when the time is over.",
	.groups = FLAGS_CONF,
	.own = OWN,
};

/* Between two looks. */
static const int64_t LOOK_NS = 200 * NSEC_PER_MSEC;

struct flush {
	struct client *client;
	const atomic_bool *interrupted;
	struct progress progress;
	uint64_t most; /* pending bytes at once, so far */
	char waiting[PROGRESS_TEXT_MAX];
};

/* Why nothing is uploaded, *ret_what and its error; false where it may be. The bucket is the first one
 * behind. */
static bool is_held_up(const struct fleet_status *st, const char **ret_what, const char **ret_error)
{
	bool away = st->n_behind > 0 && st->behind[0].away;

	if (!away && !st->unshared)
		return false;
	*ret_what = away ? "the bucket is away" : "the fleet cannot be told what is here";
	*ret_error = away ? st->behind[0].error : st->untold_error;
	return true;
}

static void show(struct flush *f, const struct fleet_status *st)
{
	const char *what, *error;
	uint64_t done;

	f->progress.waiting = NULL;
	if (is_held_up(st, &what, &error)) {
		CLEANUP(freep) char *clean = output_clean(error);

		(void)snprintf(f->waiting, sizeof(f->waiting), "%s: %s", what, clean);
		f->progress.waiting = f->waiting;
	}
	if (st->pending_bytes > f->most)
		f->progress.total = f->most = st->pending_bytes;
	done = f->most - st->pending_bytes;
	progress_add(&f->progress, done > f->progress.done ? done - f->progress.done : 0, clock_mono_ns());
}

/* What is still pending, and why, as far as it is known. */
static int fail_pending(const struct fleet_status *st, const char *why, struct stow_err *err)
{
	const char *what = *st->upload_error ? "the last upload failed" : "", *error = st->upload_error;
	char size[OUTPUT_TEXT_MAX];

	(void)is_held_up(st, &what, &error);
	output_size(st->pending_bytes, size);
	return stow_fail(err, STOW_UNAVAILABLE, "%s, %llu blob%s of %s %s not in the bucket yet%s%s%s%s", why,
			 (unsigned long long)st->pending, output_plural(st->pending), size,
			 st->pending == 1 ? "is" : "are", *what ? "; " : "", what, *error ? ": " : "", error);
}

/* *ret_done: nothing is pending any more. Where something is, the `last` look fails for it. */
static int look(struct flush *f, bool last, const char *why, bool *ret_done, struct stow_err *err)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };

	if (client_status(f->client, &st, err) < 0)
		return -1;
	if (!st.fleet)
		return stow_fail(err, STOW_UNIMPLEMENTED, "there is no storage behind this store");
	show(f, st.fleet);
	*ret_done = st.fleet->pending == 0;
	return *ret_done || !last ? 0 : fail_pending(st.fleet, why, err);
}

static int wait_until(struct flush *f, int64_t until_ns, struct stow_err *err)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	bool done = false;

	for (;;) {
		bool late = clock_mono_ns() >= until_ns;
		bool stopped = atomic_load(f->interrupted);

		if (look(f, late || stopped, stopped ? "interrupted" : "the time is over", &done, err) < 0)
			return -1;
		if (done)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
}

int cmd_flush(int argc, char **argv)
{
	CLEANUP(daemon_status_free) struct daemon_status st = { 0 };
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(conf_freep) struct conf *conf = NULL;
	struct common_flags common;
	struct flush f = { 0 };
	struct stow_err err;
	int64_t wait_ns = 0;
	int status;

	output_begin();
	if (!flags_parse(&SPEC, argc, argv, &common, &status))
		return status;
	if (timeout && conf_parse_duration(timeout, &wait_ns, &err) < 0)
		return flags_usage(&SPEC, "--timeout: %s", err.msg);
	if (flags_load_conf(&common, &conf) < 0)
		return EXIT_USAGE;
	if (access_daemon(conf, &client, &st, &err) < 0 || client_flush(client, &err) < 0)
		return output_fail(SPEC.command, &err);
	f.client = client;
	f.interrupted = interrupt_begin();
	progress_begin(&f.progress, stderr, SPEC.command, 0, clock_mono_ns());
	status = wait_until(&f, timeout ? clock_mono_ns() + wait_ns : INT64_MAX, &err);
	progress_clear(&f.progress);
	if (status == 0)
		return EXIT_SUCCESS;
	status = output_fail(SPEC.command, &err);
	return interrupt_status() != 0 ? interrupt_status() : status;
}
