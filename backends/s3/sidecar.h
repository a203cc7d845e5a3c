/* What is known of a multipart upload, in a small file, so that a restart takes the upload up again, or
 * aborts it, and never one that is not ours. Its owner is a stage, beside whose spool it is, or a sending;
 * the name is of the form that behind.h gives to records, which a stage's name has too.
 *
 *   <dir>/<owner>.upload          the owner's upload
 *   <dir>/<owner>.<time>.abort    an upload that is to be aborted, when the bucket can be reached
 *
 * Lines of text: a head, written whole and durable before the first part is sent, and a line for each
 * part that the bucket has acknowledged, added as they come. Only parts that stand there count when an
 * upload is taken up again, and only while the bucket lists them with the same ETag: a part of that
 * number may also be of bytes that a crash has taken and that were written anew.
 *
 * Threads: none of these looks after itself; an upload has one user at a time. */
#ifndef STOWAGE_BACKENDS_S3_SIDECAR_H
#define STOWAGE_BACKENDS_S3_SIDECAR_H

#include "backends/dir.h"
#include "backends/s3/client.h"
#include "content/behind.h"

struct sidecar {
	char *key; /* owned; NULL: there is no upload */
	char id[S3_UPLOAD_ID_MAX + 1];
	uint64_t part_size;    /* of the first parts, see parts.h */
	struct s3_part *parts; /* owned; as recorded, in no order */
	size_t n_parts;
	int fd; /* for adding parts; -1: not open */
};

void sidecar_init(struct sidecar *sc);
/* Frees what it holds; empty and usable again. The file stays. */
void sidecar_reset(struct sidecar *sc);
/* Records a part in memory alone. */
void sidecar_note(struct sidecar *sc, const struct s3_part *part);

/* NOT_FOUND if there is none, DATA_LOSS if the file makes no sense. A last line that is not whole does not
 * count. *sc is empty before, and after a failure. */
int sidecar_load(struct sidecar *sc, struct dir *dir, const char *owner, struct stow_err *err) MUST_CHECK;
/* Writes key, id, part size and the parts; durable when it returns 0. Replaces what was there, whole. */
int sidecar_save(struct sidecar *sc, struct dir *dir, const char *owner, struct stow_err *err) MUST_CHECK;
/* Adds a part's line, and notes it. Not synced: a line that is lost costs sending the part again. So
 * does one that could not be written. */
void sidecar_add(struct sidecar *sc, const struct s3_part *part);
/* Removes the file, and what a save that has failed has left. What a power loss brings back does no harm
 * where the upload has ended. */
void sidecar_remove(struct dir *dir, const char *owner);
/* Sets the file aside to be aborted; durable when it returns 0. NOT_FOUND if there is none. */
int sidecar_condemn(struct dir *dir, const char *owner, struct stow_err *err) MUST_CHECK;
/* Gives it to another owner, where there is one. Not synced: a power loss may bring the old name back. */
int sidecar_move(struct dir *dir, const char *owner, const char *to, struct stow_err *err) MUST_CHECK;
/* For the start, before anything is saved: what a crash in the middle of a save has left,
 * "<owner>.upload.new", becomes the owner's record where there is none, so that the upload in it is taken up
 * again or given up with it; of another upload than the record's, it is set aside to be aborted. */
int sidecar_recover(struct dir *dir, struct stow_err *err) MUST_CHECK;

/* Whether a name in the directory is that of an upload, and whose. */
bool sidecar_name(const char *name, char ret_owner[SENDING_RECORD_MAX]);
bool sidecar_name_condemned(const char *name);
/* As sidecar_load, by the file's own name. */
int sidecar_load_file(struct sidecar *sc, struct dir *dir, const char *file, struct stow_err *err) MUST_CHECK;

#endif
