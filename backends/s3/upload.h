/* An upload of one blob, beside its writing.
 *
 *   state      meaning                                                    next
 *   NONE       nothing is in the bucket                                   OPEN THERE
 *   RESUMED    an earlier process began it; its parts are not listed yet  OPEN NONE
 *   OPEN       the bucket has an upload, and we its record (sidecar.h)    NONE, DONE
 *   THERE      an object of that name was seen: nothing is sent           NONE (finish looks again)
 *   DONE       the object is there, whole
 *
 * With a guess of its key it sends parts while the source still grows, on the backend's pool and the
 * transfer thread, several at once. Whatever goes wrong then is nobody's failure: it stops, and
 * upload_finish() does what is left to do, from the source, which has all bytes until the end. Without a
 * guess, or with a wrong one, upload_finish() does it all. The object comes into being there and nowhere
 * else, and only there is its key certain.
 *
 * Threads: one user at a time, but upload_advance() may be called by another thread than the last one. */
#ifndef STOWAGE_BACKENDS_S3_UPLOAD_H
#define STOWAGE_BACKENDS_S3_UPLOAD_H

#include "backends/s3/client.h"
#include "content/behind.h"

struct s3;
struct upload;

/* For an owner (sidecar.h) that has no record of an upload. `guess` as in backend.h. */
struct upload *upload_new(struct s3 *s, const char *owner, const struct stage_hint *guess, sending_read *read,
			  void *arg);
/* The same for one with `size` bytes that an earlier handle may have left a record of: what is beyond
 * them is struck from it, durably, before anything new can be sent. */
int upload_resume(struct s3 *s, const char *owner, uint64_t size, const struct stage_hint *guess,
		  sending_read *read, void *arg, struct upload **ret_u, struct stow_err *err) MUST_CHECK;

/* The source has `have` bytes now, and those before do not change. Does not block. */
void upload_advance(struct upload *u, uint64_t have);
/* The source is about to be cut to fewer bytes: what was sent is worthless, and is given up. It may still
 * be cut only if this succeeds. Does not wait for the bucket. */
int upload_rewind(struct upload *u, struct stow_err *err) MUST_CHECK;

/* The same bytes are another owner's from now on, and are read elsewhere. What is under way goes on; no read
 * of the old source runs when this returns. What the other owner's record told of is given up. Does not wait
 * for the bucket; after a failure all is as it was. */
int upload_move(struct upload *u, const char *owner, sending_read *read, void *arg,
		struct stow_err *err) MUST_CHECK;

/* The source's `size` bytes are the blob `d`: makes the object, or finds it there; where `replace`, what is
 * there is wrong. After a failure it may be called again. */
int upload_finish(struct upload *u, const struct digest *d, uint64_t size, bool replace,
		  struct stow_err *err) MUST_CHECK;

/* Nothing is under way any more when it returns: what is has been cancelled, without a wait for the bucket
 * but for the name of an upload that it is making (s3_client_stop). What was sent stays recorded. */
void upload_stop(struct upload *u);
/* Gives up what was sent; the bucket is told later (leftovers.h). After upload_stop() only. */
int upload_abandon(struct upload *u, struct stow_err *err) MUST_CHECK;
void upload_free(struct upload *u); /* after upload_stop(); NULL is a no-op */

#endif
