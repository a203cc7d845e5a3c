/* One profile of the files that AWS's tools share, ~/.aws/credentials and ~/.aws/config; and the
 * environment as those tools read it.
 *
 * After "Shared config and credentials files" in the AWS SDKs and Tools Reference Guide. Threads: any. */
#ifndef STOWAGE_BACKENDS_S3_AWS_PROFILE_H
#define STOWAGE_BACKENDS_S3_AWS_PROFILE_H

#include "content/base/err.h"

#include <stdbool.h>

/* The value of a variable in an environment as environ(7); NULL where it is missing or empty, which to
 * AWS's tools is the same. `environment` may be NULL. */
const char *aws_variable(const char *const *environment, const char *name);
/* Whether it is "true", in any case. */
bool aws_variable_is_true(const char *const *environment, const char *name);

enum { AWS_PROFILE_KEYS_MAX = 64 };
struct aws_profile {
	char *name;
	char *origin; /* for messages: the files that were looked at, as "/a and /b" */
	bool found;   /* at least one of the files has keys of it */
	struct {
		char *key, *value;
		bool from_credentials;
	} keys[AWS_PROFILE_KEYS_MAX];
	size_t n;
};

/* Reads the profile `name`, "" for $AWS_PROFILE or else "default". A file that is missing is as good as
 * empty unless a variable names it (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE): NOT_FOUND then. What
 * cannot be read or has another form is an error that names the file. A profile that is not there is
 * none: `found` tells. */
int aws_profile_read(const char *const *environment, const char *name, struct aws_profile *ret_p,
		     struct stow_err *err) MUST_CHECK;
/* Fit for CLEANUP. */
void aws_profile_free(struct aws_profile *p);

/* A key's value, or NULL where it is missing or empty. The credentials file counts before the other. */
const char *aws_profile_get(const struct aws_profile *p, const char *key);
/* The same, but only from the file that `beside`, another key, is from: for what belongs together. */
const char *aws_profile_get_beside(const struct aws_profile *p, const char *key, const char *beside);

#endif
