/* How commands reach a store: reading beside a daemon, or changing it, through the daemon if one runs
 * and by themselves if not. */
#ifndef STOWAGE_CMD_ACCESS_H
#define STOWAGE_CMD_ACCESS_H

#include "cmd/flags.h"
#include "content/store.h"
#include "proto/client.h"

/* How long a daemon may take to answer. */
#define ACCESS_TIMEOUT_NS (5 * INT64_C(1000000000))

/* The database, for reading. NOT_FOUND, naming the root, if there is none; FAILED_PRECONDITION where `common`
 * (may be NULL) asks for a daemon by its address alone, and that one has another root. A process has one
 * database open at a time: close it before owner_open(). */
int access_read(const struct common_flags *common, const struct conf *c, struct meta **ret_m,
		struct stow_err *err) MUST_CHECK;

/* The size that the database has for the blob. NOT_FOUND if it has none. */
int access_lookup(struct meta *m, const struct digest *d, uint64_t *ret_size,
		  struct stow_err *err) MUST_CHECK;

/* Where the bytes of a blob are: "<local.path>/blobs/<alg>/<hex>". To be freed. */
char *access_blob_path(const struct conf *c, const struct digest *d);

/* The nearest that there is: `path`, or the directory in which what is missing of it would be made. To be
 * freed.
 */
char *access_existing(const char *path);

/* Asks the daemon on the configured socket. UNAVAILABLE if none answers, PERMISSION_DENIED if we may not ask
 * it. *ret_st is to be freed; so is *ret_c (NULL: not wanted), with which more can be asked. */
int access_daemon(const struct conf *c, struct client **ret_c, struct daemon_status *ret_st,
		  struct stow_err *err) MUST_CHECK;

/* FAILED_PRECONDITION if the daemon has another root than the configuration: then its database is not the one
 * that access_read() opens. */
int access_same_root(const struct conf *c, const struct daemon_status *st, struct stow_err *err) MUST_CHECK;

/* Who keeps the store's records: this process, which holds the root's lock then, or the daemon. */
struct owner;

/* FAILED_PRECONDITION if another process has the root, and the daemon at the configured socket is not
 * that process. Makes what is missing of a store. To be called before there are threads. `command` is
 * for messages about a damaged database, and borrowed. */
int owner_open(const struct conf *c, const char *command, struct owner **ret_o,
	       struct stow_err *err) MUST_CHECK;
void owner_close(struct owner *o); /* NULL is a no-op */
void owner_closep(struct owner **o);

/* The size that the database has for the blob. NOT_FOUND if it has none. */
int owner_lookup(struct owner *o, const struct digest *d, uint64_t *ret_size,
		 struct stow_err *err) MUST_CHECK;
/* Makes a record for a blob that was put into the directory, durably. With no daemon it may be left to
 * owner_finish(). NOT_FOUND if it is not in the directory. */
int owner_adopt(struct owner *o, const struct digest *d, struct stow_err *err) MUST_CHECK;
/* To be called once after the last owner_adopt(): compares the database with the directory where that
 * is cheaper than one by one. */
int owner_finish(struct owner *o, struct stow_err *err) MUST_CHECK;
/* Removes record and bytes; that either is not there is no failure. */
int owner_forget(struct owner *o, const struct digest *d, struct stow_err *err) MUST_CHECK;

#endif
