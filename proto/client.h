/* What the command line asks a running daemon.
 *
 * Threads: one user at a time. Every call blocks, for `timeout_ns` of the client at most; a daemon that
 * is not there is UNAVAILABLE. */
#ifndef STOWAGE_PROTO_CLIENT_H
#define STOWAGE_PROTO_CLIENT_H

#include "content/base/digest.h"
#include "content/base/err.h"
#include "content/fleet.h"

#include <stdbool.h>
#include <stdint.h>

struct client;

/* Does not connect yet. */
struct client *client_new(const char *socket_path, int64_t timeout_ns);
void client_free(struct client *c); /* NULL is a no-op */
void client_freep(struct client **c);

struct daemon_status {
	char *version, *root, *address, *backend, *node; /* owned */
	int64_t pid, started_ns;
	uint64_t blobs, blob_bytes, ingests, ingest_bytes;
	bool reconciling;
	struct fleet_status *fleet; /* owned; NULL: nothing is behind its store */
};
int client_status(struct client *c, struct daemon_status *ret_st, struct stow_err *err) MUST_CHECK;
void daemon_status_free(struct daemon_status *st); /* what it holds; fit for CLEANUP */

/* What waits to be uploaded is tried now. UNIMPLEMENTED where nothing is behind the daemon's store. */
int client_flush(struct client *c, struct stow_err *err) MUST_CHECK;

/* As content/fleet.h and store.h have them. Pinning waits for what is behind: such a client wants a timeout
 * of minutes. */
int client_pin(struct client *c, const struct digest *d, struct fleet_pinned *ret_p,
	       struct stow_err *err) MUST_CHECK;
int client_unpin(struct client *c, const struct digest *d, struct fleet_pinned *ret_p,
		 struct stow_err *err) MUST_CHECK;
/* *ret_b is to be freed. */
int client_bring(struct client *c, const struct digest *d, int64_t lease, bool begin,
		 struct fleet_brought *ret_b, struct stow_err *err) MUST_CHECK;

/* Content.Info, for what it does: the daemon adopts a blob that was put into its directory. */
int client_touch(struct client *c, const struct digest *d, struct stow_err *err) MUST_CHECK;
/* Content.Delete. */
int client_delete(struct client *c, const struct digest *d, struct stow_err *err) MUST_CHECK;

#endif
