/* What STS answers, in XML. Pure. */
#ifndef STOWAGE_BACKENDS_S3_CREDS_STS_ANSWER_H
#define STOWAGE_BACKENDS_S3_CREDS_STS_ANSWER_H

#include "backends/s3/creds_document.h"

/* The credentials of an AssumeRoleWithWebIdentityResponse. DATA_LOSS or INVALID_ARGUMENT for anything
 * else. */
int creds_sts_read(const char *text, size_t n, struct creds_value *ret_v, struct stow_err *err) MUST_CHECK;

struct creds_sts_error {
	char code[64];     /* "" where the answer is something else */
	char message[256]; /* as a Go string literal */
};
/* What an ErrorResponse says. */
void creds_sts_read_error(const char *text, size_t n, struct creds_sts_error *ret_e);

#endif
