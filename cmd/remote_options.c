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

void remote_s3_options(const struct conf_s3 *s, struct s3_options *ret_o)
{
	*ret_o = (struct s3_options){
		.endpoint = s->endpoint,
		.region = s->region,
		.bucket = s->bucket,
		.prefix = s->prefix,
		.addressing = (enum s3_addressing)s->addressing,
		.dual_stack = s->dual_stack,
		.fips = s->fips,
		.accelerate = s->accelerate,
		.credentials = {
			.access_key = s->access_key,
			.secret_key = s->secret_key,
			.session_token = s->session_token,
			.access_key_file = s->access_key_file,
			.secret_key_file = s->secret_key_file,
			.session_token_file = s->session_token_file,
			.profile = s->profile,
			.environment = (const char *const *)environ,
		},
		.ca_file = s->ca_file,
		.proxy = s->proxy,
		.user_agent = s->user_agent,
		.sse = (enum s3_sse)s->sse,
		.sse_kms_key = s->sse_kms_key,
		.sse_kms_context = s->sse_kms_context,
		.storage_class = s->storage_class,
		.request_payer = s->request_payer,
		.expected_owner = s->expected_owner,
		.tags = s->tags,
		.checksums = (enum s3_checksums)s->checksums,
		.small_blob = s->small_blob,
		.part_size = s->part_size,
		.upload_concurrency = s->upload_concurrency,
		.read_memory = s->read_memory,
		.connections = s->connections,
		.http2 = s->http2,
		.connect_timeout = s->connect_timeout,
		.first_byte_timeout = s->first_byte_timeout,
		.stall_timeout = s->stall_timeout,
		.request_timeout = s->request_timeout,
		.max_attempts = s->max_attempts,
	};
}

void source_s3_options(const struct conf_source *s, struct s3_options *ret_o)
{
	assert(s->type == CONF_SOURCE_S3);
	remote_s3_options(&s->s3, ret_o);
	ret_o->layout = s->layout == CONF_LAYOUT_REGISTRY ? S3_LAYOUT_REGISTRY : S3_LAYOUT_STOWAGE;
	ret_o->read_only = true;
}
