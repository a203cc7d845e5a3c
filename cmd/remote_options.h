/* The configuration of a bucket as its backend wants it. */
#ifndef STOWAGE_CMD_REMOTE_OPTIONS_H
#define STOWAGE_CMD_REMOTE_OPTIONS_H

#include "backends/s3/s3_options.h"
#include "conf/conf.h"

/* The strings are the configuration's. Credentials that it does not have are looked for in the process's
 * environment and on from there, for every bucket alike. */
void remote_s3_options(const struct conf_s3 *s, struct s3_options *ret_o);
/* The same of a source that is a bucket: it is only read. */
void source_s3_options(const struct conf_source *s, struct s3_options *ret_o);

#endif
