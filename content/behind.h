/* What a backend offers to one that stands in front of it (backends/tiered/), beyond content/backend.h: a
 * cheap look, a probe, sending a blob while it comes into being, and notes, which are small named objects
 * that a fleet shares.
 *
 * Threads and errors: as content/backend.h. All may block, for as long as the backend retries, unless they
 * say otherwise; backend_stop() ends what is under way. */
#ifndef STOWAGE_CONTENT_BEHIND_H
#define STOWAGE_CONTENT_BEHIND_H

#include "content/backend.h"
#include "content/base/buf.h"

/* The base of every sending: the first member of the implementation's own struct. */
struct sending {
	struct backend *backend;
};

/* Reads all `n` bytes at `off`, which the source has; on any thread, several at once. It waits for this
 * machine's disk and nothing else: a thread that everybody's transfers share may call it. */
typedef int sending_read(void *arg, uint64_t off, void *to, size_t n, struct stow_err *err);

/* A record of a sending, by which it can be taken up again after a restart: 16 lower-case hex digits
 * (stage_name_ok) while a stage is its source, and afterwards "sha256-" and the like and the digest's hex.
 * Records are this machine's: two that use one storage know nothing of each other's. */
enum { SENDING_RECORD_MAX = 160 };
/* Whether the name has one of these forms, which are good as file names. */
bool sending_record_ok(const char *record);

enum sending_flags {
	SENDING_REPLACE = 1, /* bytes that are there under the blob's name are known to be wrong */
};

enum note_flags {
	NOTE_IF_ABSENT = 1, /* ALREADY_EXISTS where there is one; UNIMPLEMENTED where that cannot be had */
};

/* Visits a note; -1 with *err set ends it. The name is without the backend's prefix. */
typedef int note_visit(void *arg, const char *name, uint64_t size, int64_t modified_ns, struct stow_err *err);

/* Letters, digits, '.', '-', '_' and '/', at most NOTE_NAME_MAX of them: a path, no part of which is empty or
 * begins with a '.'. */
enum { NOTE_NAME_MAX = 200 };
bool note_name_ok(const char *name);

/* What a probe of a storage on the network may take. */
static const int64_t BEHIND_PROBE_NS = INT64_C(20000000000);

/* A read-only backend has `look` and `probe`, and NULL for all else. */
struct behind_ops {
	/* As stat, in one exchange with the storage. Its NOT_FOUND may be wrong. */
	int (*look)(struct backend *b, const struct digest *d, struct blob_stat *ret_st,
		    struct stow_err *err);
	/* As remove, until `until_mono_ns` of clock.h at the latest: then UNAVAILABLE, and nothing more of it
	 * is asked for. What was asked for last may come to be done all the same. */
	int (*drop)(struct backend *b, const struct digest *d, int64_t until_mono_ns, struct stow_err *err);

	/* Whether it answers, and lets us look: asked once, for something that is nowhere, so that no cache
	 * on the way answers. Takes BEHIND_PROBE_NS at most, however much is under way, and however long the
	 * backend tries else. */
	int (*probe)(struct backend *b, struct stow_err *err);

	/* --- sending --- */

	/* Begins to send what will be the blob that `hint` names (nothing is sent before the end where it
	 * names none), from a source that has no bytes yet, or takes up what `record` says of an earlier
	 * process: then the source has `have` bytes, and what was sent beyond them is void. Where there is no
	 * such record, nothing was sent, whatever `have` is. Does not wait for the network. ALREADY_EXISTS if
	 * a sending of that record is open. */
	int (*send_open)(struct backend *b, const char *record, const struct stage_hint *hint, uint64_t have,
			 sending_read *read, void *arg, struct sending **ret_s, struct stow_err *err);
	/* The source has `have` bytes now, and those before do not change. Does not block. */
	void (*send_advance)(struct sending *s, uint64_t have);
	/* The source is about to be cut: what was sent is given up. It may be cut only if this succeeds. */
	int (*send_rewind)(struct sending *s, struct stow_err *err);
	/* The same bytes have another home from now on: record, reader and its argument change. No read of
	 * the old one runs when it returns, and none follows; after a failure all is as it was.
	 * ALREADY_EXISTS if a sending of that record is open; what one tells of that is not is given up. */
	int (*send_move)(struct sending *s, const char *record, sending_read *read, void *arg,
			 struct stow_err *err);
	/* The source's `size` bytes are the blob `d`: it is behind, whole and durable, when this returns 0.
	 * May be called again after a failure. `flags` of sending_flags. */
	int (*send_finish)(struct sending *s, const struct digest *d, uint64_t size, unsigned flags,
			   struct stow_err *err);
	/* Ends it; no read runs when it returns. What was sent and not finished stays, by its record, or is
	 * given up with it where `forget`. */
	void (*send_close)(struct sending *s, bool forget);
	/* Gives up what a record tells of; NOT_FOUND if there is none, ALREADY_EXISTS if a sending of it is
	 * open. */
	int (*send_discard)(struct backend *b, const char *record, struct stow_err *err);
	/* Visits the records that there are, open or not. */
	int (*send_scan)(struct backend *b, backend_stage_visit *visit, void *arg, struct stow_err *err);

	/* --- notes: see note_name_ok(); "blobs/" is no beginning for one --- */

	/* Makes or replaces one. With NOTE_IF_ABSENT, ALREADY_EXISTS may speak of one's own, where an answer
	 * was lost: who must know puts something into it that nobody else does, and reads it. UNAVAILABLE
	 * also where somebody else has put it at the same time. */
	int (*note_put)(struct backend *b, const char *name, const void *data, size_t n, unsigned flags,
			struct stow_err *err);
	/* Appends its bytes to *to, RESOURCE_EXHAUSTED where they are more than that may hold. NOT_FOUND. */
	int (*note_get)(struct backend *b, const char *name, struct buf *to, struct stow_err *err);
	/* No failure where there is none. */
	int (*note_remove)(struct backend *b, const char *name, struct stow_err *err);
	/* Visits those whose names begin with `prefix`, which is not "", in the order of their names. */
	int (*note_scan)(struct backend *b, const char *prefix, note_visit *visit, void *arg,
			 struct stow_err *err);
};

#endif
