/* stowage serve: the daemon, from its configuration to its end. */
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/notify.h"
#include "cmd/storage.h"
#include "cmd/upkeep.h"
#include "content/base/clock.h"
#include "content/base/limits.h"
#include "content/base/log.h"
#include "content/base/mem.h"
#include "proto/server.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

/* Chosen where the configuration says 0. More RPC threads than processors only get in each other's
 * way; workers mostly wait for disks. */
enum { WORKERS_MIN = 16, SYNC_THREADS = 4 };

/* A thread that has waited for another machine stays that long for the next call that must. */
static const int64_t FAR_IDLE_NS = 10 * NSEC_PER_SEC;

static const struct flags_spec SPEC = {
	.command = "serve",
	.arguments = "",
	.help = "Run the daemon. Without a configuration file, --local DIR and --address SOCKET are enough.\n"
		"SIGTERM ends it once open streams had their time, SIGHUP reads the log's settings again.",
	.groups = FLAGS_CONF,
};

struct daemon {
	struct common_flags flags;
	struct conf *conf;
	sigset_t signals; /* that we wait for */
	struct store *store;
	struct listener *listener;
	struct pool *pool;    /* for what blocks */
	struct pool *far;     /* for what waits for another machine */
	struct pool *syncers; /* for checkpoints alone: see store_use_pool() */
	struct upkeep *upkeep;
	struct server *server;
};

static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned)n : 1;
}

static unsigned worker_threads(const struct conf *c)
{
	unsigned n = 2 * processors();

	if (c->workers.threads)
		return c->workers.threads;
	return n > WORKERS_MIN ? n : WORKERS_MIN;
}

/* Every open blob and stage is a descriptor. */
static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* --- start --- */

static void log_opened(const struct store_opened *o)
{
	if (*o->set_aside)
		log_error("the database was damaged: it is set aside, and made again from the blobs",
			  LOG_S("damaged", o->set_aside));
	else if (o->created)
		log_info("made a new database");
	if (o->strays)
		log_info("removed unfinished bytes that no ingest knows", LOG_I("stages", o->strays));
}

static int open_store(struct daemon *d, struct stow_err *err)
{
	struct backend *backend;
	struct store_opened opened;
	struct store_options o = { .root = d->conf->root, .bytes = d->conf->local.path };

	if (storage_open(d->conf, &backend, err) < 0)
		return -1;
	o.backend = backend;
	if (store_open(&o, &d->store, &opened, err) < 0)
		return -1;
	log_opened(&opened);
	return 0;
}

/* The store first: nobody is let in before it is open, and whose lock it has can tell who else has it. But no
 * store is made for a socket that is another one's. */
static int open_both(struct daemon *d, struct stow_err *err)
{
	struct listener_options o = {
		.address = d->conf->grpc.address,
		.mode = d->conf->grpc.mode,
		.uid = d->conf->grpc.uid,
		.gid = d->conf->grpc.gid,
	};

	if (access(d->conf->root, F_OK) < 0 && listener_check(&o, err) < 0)
		return -1;
	return open_store(d, err) < 0 ? -1 : listener_open(&o, &d->listener, err);
}

static void log_serving(const struct daemon *d)
{
	CLEANUP(freep) char *bucket = storage_bucket_name(d->conf);
	struct fleet_status fleet = { 0 };
	struct stow_err ignored;
	bool shared = store_fleet_status(d->store, &fleet, &ignored) == 0 && *fleet.node != '\0';

	log_info("serving", LOG_S("address", d->conf->grpc.address), LOG_S("root", d->conf->root),
		 LOG_S("backend", storage_name(d->conf)), LOG_S("bucket", bucket ? bucket : "none"),
		 LOG_S("node", shared ? fleet.node : store_node_id(d->store)),
		 LOG_S("version", STOWAGE_VERSION), LOG_I("pid", getpid()));
}

/* From here on there are threads. */
static void start(struct daemon *d)
{
	const struct conf *c = d->conf;

	d->pool = pool_new("worker", worker_threads(c));
	d->far = pool_new_growing("far", LIMIT_FAR_THREADS, FAR_IDLE_NS);
	d->syncers = pool_new("sync", SYNC_THREADS);
	store_use_pool(d->store, d->syncers);
	store_start(d->store);
	d->upkeep = upkeep_start(d->store, c->stale_ingest_after);
	d->server = server_start(&(struct server_options){
		.store = d->store,
		.pool = d->pool,
		.far = d->far,
		.listener = TAKE(d->listener),
		.threads = c->grpc.threads,
		.busy_poll_ns = c->grpc.busy_poll,
		.max_message = (size_t)c->grpc.max_message_size,
		.root = c->root,
		.address = c->grpc.address,
		.backend = storage_name(c),
		.reconciling = upkeep_reconciling(d->upkeep),
	});
	log_serving(d);
	notify_systemd("READY=1\nSTATUS=serving\n");
}

/* --- life --- */

static void reload(struct daemon *d)
{
	CLEANUP(conf_freep) struct conf *c = NULL;

	notify_systemd("RELOADING=1\n");
	if (flags_load_conf(&d->flags, &c) < 0) {
		log_error("the configuration is wrong and was not read again; see above");
	} else {
		log_setup(c->log.level, c->log.format);
		log_info("configuration read again: the log's settings are in effect, others need a restart");
	}
	notify_systemd("READY=1\n");
}

static void wait_for_end(struct daemon *d)
{
	for (;;) {
		int signal = 0;

		if (sigwait(&d->signals, &signal) != 0)
			continue;
		if (signal != SIGHUP) {
			log_info("ending", LOG_S("signal", sigabbrev_np(signal)));
			return;
		}
		reload(d);
	}
}

/* --- end --- */

static void stop(struct daemon *d)
{
	notify_systemd("STOPPING=1\nSTATUS=open streams have their time\n");
	/* Whoever cannot wait sends a second signal, and the kernel ends us: the store stands that. */
	sigdelset(&d->signals, SIGHUP);
	sigprocmask(SIG_UNBLOCK, &d->signals, NULL);
	server_drain(d->server, d->conf->grpc.drain_timeout);
	/* Whoever waits for the network still is told that it has ended. */
	store_stop(d->store);
	server_await(d->server);
	upkeep_stop(d->upkeep);
	pool_free(d->pool); /* its last jobs may still be inside gRPC, or hand a call on to the next */
	pool_free(d->far);
	server_free(d->server);
	pool_free(d->syncers);
	log_info("ended");
}

static void daemon_free(struct daemon *d)
{
	listener_free(d->listener);
	store_close(d->store);
	conf_free(d->conf);
}

int cmd_serve(int argc, char **argv)
{
	CLEANUP(daemon_free) struct daemon d = { 0 };
	struct stow_err err;
	int status;

	if (!flags_parse(&SPEC, argc, argv, &d.flags, &status))
		return status;
	if (flags_load_conf(&d.flags, &d.conf) < 0)
		return EXIT_USAGE;
	log_setup(d.conf->log.level, d.conf->log.format);
	/* Messages are received on one thread and freed on another. With a heap for each thread, what
	 * one frees the other cannot use, and both keep their largest size. */
	mallopt(M_ARENA_MAX, 1);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&d.signals);
	sigaddset(&d.signals, SIGTERM);
	sigaddset(&d.signals, SIGINT);
	sigaddset(&d.signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &d.signals, NULL);
	raise_descriptor_limit();
	if (open_both(&d, &err) < 0) {
		log_error("cannot start", LOG_S("error", err.msg));
		return EXIT_FAILURE;
	}
	start(&d);
	wait_for_end(&d);
	stop(&d);
	return EXIT_SUCCESS;
}
