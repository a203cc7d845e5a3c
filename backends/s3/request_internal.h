/* Between request.c, which has the attempts, and request_sign.c. */
#ifndef STOWAGE_BACKENDS_S3_REQUEST_INTERNAL_H
#define STOWAGE_BACKENDS_S3_REQUEST_INTERNAL_H

#include "backends/s3/request.h"

/* Fills r->url and r->lines for the next attempt: for the region and the clock of the moment, with the
 * credentials that r holds; counts it. r->err where it is too long. */
int request_sign(struct request *r) MUST_CHECK;

#endif
