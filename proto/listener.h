/* The unix socket that we listen on, and the thread that accepts.
 *
 * We accept ourselves and hand gRPC the connected sockets: so the socket's owner and mode are ours to
 * set, systemd can pass one in, and a stale one is told from a live one. */
#ifndef STOWAGE_PROTO_LISTENER_H
#define STOWAGE_PROTO_LISTENER_H

#include "content/base/err.h"

#include <sys/types.h>

struct listener;

struct listener_options {
	const char *address; /* a path, or "fd://" for the socket that systemd passes (sd_listen_fds) */
	mode_t mode;         /* of the socket; not for fd:// */
	uid_t uid;           /* its owner; (uid_t)-1: as we are */
	gid_t gid;
};

/* Binds and listens, so that clients may connect from now on. A socket that nobody listens on is
 * replaced; FAILED_PRECONDITION if somebody does, or if the path is something else than a socket. The
 * path's directory is made if it is missing. */
int listener_open(const struct listener_options *o, struct listener **ret_l, struct stow_err *err) MUST_CHECK;

/* Whether that would fail because somebody listens on the path, as far as can be told now. Changes nothing.
 */
int listener_check(const struct listener_options *o, struct stow_err *err) MUST_CHECK;

/* Accepts on a thread of its own; each connection goes to `accepted`, which owns the non-blocking fd. */
void listener_start(struct listener *l, void (*accepted)(void *arg, int fd), void *arg);
/* Accepts no more; when it returns `accepted` is not running. A socket that we made is removed. */
void listener_stop(struct listener *l);
/* Stops it first if need be. NULL is a no-op. */
void listener_free(struct listener *l);
void listener_freep(struct listener **l);

#endif
