/* The form of ~/.aws/credentials and ~/.aws/config, as "Shared configuration and credentials file
 * format" in the AWS SDKs and Tools Reference Guide has it:
 *
 *   [section]            # a comment
 *   key = value          ; a comment, after a blank
 *   key =
 *     sub_key = value    lines that begin with a blank belong to the key before them; not shown
 *
 * Names of keys are in lower case when they are shown. Pure. */
#ifndef STOWAGE_BACKENDS_S3_INI_H
#define STOWAGE_BACKENDS_S3_INI_H

#include "content/base/err.h"

/* One key. The strings live until it returns. -1 with *err set ends the reading with that. */
typedef int ini_visit(void *arg, const char *section, const char *key, const char *value,
		      struct stow_err *err);

/* Reads a document of `n` bytes. INVALID_ARGUMENT, with the line's number and without its text, which
 * may be a secret, for what has another form; what came before has been shown then. */
int ini_read(const char *text, size_t n, ini_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;

#endif
