/* Between request.c, which has the attempts, request_sign.c and request_answer.c. */
#ifndef STOWAGE_BACKENDS_S3_REQUEST_INTERNAL_H
#define STOWAGE_BACKENDS_S3_REQUEST_INTERNAL_H

#include "backends/s3/request.h"

/* Fills r->url and r->lines for the next attempt: for the region and the clock of the moment, with the
 * credentials that r holds; counts it. r->err where it is too long. */
int request_sign(struct request *r) MUST_CHECK;

/* Keeps the difference of the clocks; whether the answer has a date, and *ret_off_ns. */
bool request_learn_clock(struct request *r, int64_t *ret_off_ns);
/* A success, or -1 with the outcome in *o and r->err. */
int request_judge(struct request *r, struct retry_outcome *o) MUST_CHECK;
/* Whether something has been put right, so that the request may go out again at once. */
bool request_repair(struct request *r, enum retry_verdict v, bool dated, int64_t off_ns);

#endif
