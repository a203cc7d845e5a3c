/* Small files that others write: tokens, keys, profiles. */
#ifndef STOWAGE_BACKENDS_S3_FILE_H
#define STOWAGE_BACKENDS_S3_FILE_H

#include "content/base/buf.h"

/* Appends the whole file; the buffer's cap is the file's. The message names the path. As stow_fail_errno;
 * RESOURCE_EXHAUSTED for a larger one. */
int file_read(const char *path, struct buf *b, struct stow_err *err) MUST_CHECK;

/* What is in a file that holds one word, such as a key, without blanks and newlines at its ends. The
 * caller frees it. INVALID_ARGUMENT for an empty one, and for one with anything but printable ASCII
 * without blanks: the word becomes a part of a header. */
int file_read_word(const char *path, char **ret_word, struct stow_err *err) MUST_CHECK;

#endif
