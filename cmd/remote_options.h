/* The configuration of a remote as its backend wants it. */
#ifndef STOWAGE_CMD_REMOTE_OPTIONS_H
#define STOWAGE_CMD_REMOTE_OPTIONS_H

#include "backends/s3/s3_options.h"
#include "conf/conf.h"

/* remote.type is "s3". The strings are the configuration's, and the environment is the process's. */
void remote_s3_options(const struct conf *c, struct s3_options *ret_o);

#endif
