#include "cmd/remote_options.h"

#include <assert.h>
#include <unistd.h>

#define SAME(x, y) static_assert((int)(x) == (int)(y), "conf/ and backends/ have the same numbers")
SAME(CONF_S3_ADDRESSING_AUTO, S3_ADDRESSING_AUTO);
SAME(CONF_S3_ADDRESSING_PATH, S3_ADDRESSING_PATH);
SAME(CONF_S3_ADDRESSING_VIRTUAL, S3_ADDRESSING_VIRTUAL);
SAME(CONF_S3_CHECKSUMS_WHEN_REQUIRED, S3_CHECKSUMS_WHEN_REQUIRED);
SAME(CONF_S3_CHECKSUMS_WHEN_SUPPORTED, S3_CHECKSUMS_WHEN_SUPPORTED);
SAME(CONF_S3_SSE_BUCKET, S3_SSE_BUCKET);
SAME(CONF_S3_SSE_S3, S3_SSE_S3);
SAME(CONF_S3_SSE_KMS, S3_SSE_KMS);
SAME(CONF_S3_SSE_KMS_DSSE, S3_SSE_KMS_DSSE);

void remote_s3_options(const struct conf *c, struct s3_options *ret_o)
{
	assert(c->remote.type == CONF_REMOTE_S3);
	*ret_o = (struct s3_options){
		.endpoint = c->remote.s3.endpoint,
		.region = c->remote.s3.region,
		.bucket = c->remote.s3.bucket,
		.prefix = c->remote.s3.prefix,
		.addressing = (enum s3_addressing)c->remote.s3.addressing,
		.dual_stack = c->remote.s3.dual_stack,
		.fips = c->remote.s3.fips,
		.accelerate = c->remote.s3.accelerate,
		.credentials = {
			.access_key = c->remote.s3.access_key,
			.secret_key = c->remote.s3.secret_key,
			.session_token = c->remote.s3.session_token,
			.access_key_file = c->remote.s3.access_key_file,
			.secret_key_file = c->remote.s3.secret_key_file,
			.session_token_file = c->remote.s3.session_token_file,
			.profile = c->remote.s3.profile,
			.environment = (const char *const *)environ,
		},
		.ca_file = c->remote.s3.ca_file,
		.proxy = c->remote.s3.proxy,
		.user_agent = c->remote.s3.user_agent,
		.sse = (enum s3_sse)c->remote.s3.sse,
		.sse_kms_key = c->remote.s3.sse_kms_key,
		.sse_kms_context = c->remote.s3.sse_kms_context,
		.storage_class = c->remote.s3.storage_class,
		.request_payer = c->remote.s3.request_payer,
		.expected_owner = c->remote.s3.expected_owner,
		.tags = c->remote.s3.tags,
		.checksums = (enum s3_checksums)c->remote.s3.checksums,
		.small_blob = c->remote.s3.small_blob,
		.part_size = c->remote.s3.part_size,
		.upload_concurrency = c->remote.s3.upload_concurrency,
		.read_memory = c->remote.s3.read_memory,
		.connections = c->remote.s3.connections,
		.http2 = c->remote.s3.http2,
		.connect_timeout = c->remote.s3.connect_timeout,
		.first_byte_timeout = c->remote.s3.first_byte_timeout,
		.stall_timeout = c->remote.s3.stall_timeout,
		.request_timeout = c->remote.s3.request_timeout,
		.max_attempts = c->remote.s3.max_attempts,
	};
}
