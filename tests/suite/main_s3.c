/* The suite for the S3 backend, on a bucket of the server that the environment names: S3_ENDPOINT,
 * S3_BUCKET, S3_REGION, S3_CA (PEM; none: unset), S3_HTTP ("HTTP/2.0" is offered), AWS_ACCESS_KEY_ID and
 * AWS_SECRET_ACCESS_KEY. Every case has a prefix of its own, and leaves its blobs there. */
#include "backends/s3/s3.h"
#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/suite.h"

#include <stdio.h>

static const char *of_environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

static int make(const char *dir, struct backend **ret, struct stow_err *err)
{
	static char prefix[64];
	static unsigned n;
	struct s3_options o = {
		.endpoint = of_environment("S3_ENDPOINT"),
		.region = of_environment("S3_REGION"),
		.bucket = of_environment("S3_BUCKET"),
		.prefix = prefix,
		.credentials = {
			.access_key = of_environment("AWS_ACCESS_KEY_ID"),
			.secret_key = of_environment("AWS_SECRET_ACCESS_KEY"),
			.session_token = "",
			.access_key_file = "",
			.secret_key_file = "",
			.session_token_file = "",
			.profile = "",
			.environment = (const char *const *)environ,
		},
		.ca_file = of_environment("S3_CA"),
		.proxy = "direct",
		.user_agent = "",
		.sse_kms_key = "",
		.sse_kms_context = "",
		.storage_class = "",
		.expected_owner = "",
		.tags = "",
		.small_blob = 6 << 20,
		.part_size = 5 << 20,
		.upload_concurrency = 4,
		.read_memory = 32 << 20,
		.connections = 16,
		.connect_timeout = 10 * NSEC_PER_SEC,
		.first_byte_timeout = 30 * NSEC_PER_SEC,
		.stall_timeout = 30 * NSEC_PER_SEC,
		.request_timeout = 300 * NSEC_PER_SEC,
		.max_attempts = 5,
	};

	(void)snprintf(prefix, sizeof(prefix), "suite/%d-%u", (int)getpid(), n++);
	o.http2 = strcmp(of_environment("S3_HTTP"), "HTTP/2.0") == 0;
	if (strcmp(of_environment("S3_CHECKSUMS"), "when_supported") == 0)
		o.checksums = S3_CHECKSUMS_WHEN_SUPPORTED;
	return s3_new(&o, dir, ret, err);
}

int main(void)
{
	if (*of_environment("S3_ENDPOINT") == '\0') {
		fprintf(stderr, "usage: S3_ENDPOINT=URL ... suite_s3; see tests/suite/s3.sh\n");
		return 2;
	}
	return backend_suite("s3", make) == 0 ? 0 : 1;
}
