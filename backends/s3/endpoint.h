/* Where a bucket is: host and path of its URLs, from the options and a region. Pure.
 *
 * AWS's names are those of "Amazon S3 endpoints and quotas" (AWS General Reference) with the partitions'
 * domains of the SDKs' endpoint rules. */
#ifndef STOWAGE_BACKENDS_S3_ENDPOINT_H
#define STOWAGE_BACKENDS_S3_ENDPOINT_H

#include "backends/s3/s3_options.h"

struct s3_endpoint {
	bool tls;
	char host[320]; /* as the Host header has it: with the port, unless that is the scheme's own */
	char path[72];  /* "/bucket", or "" where the host has it */
};

/* `moved`: `region` is not the configured one, but what the server has said since. INVALID_ARGUMENT where
 * the options do not go together. */
int s3_endpoint_make(const struct s3_options *o, const char *region, bool moved, struct s3_endpoint *ret_e,
		     struct stow_err *err) MUST_CHECK;

/* Whether a text, from a server for example, has a region's form: it becomes a part of host names. */
bool s3_region_ok(const char *s);

/* The domain that AWS's services of a region are in: "amazonaws.com" but for other partitions. */
const char *s3_aws_domain(const char *region);

#endif
