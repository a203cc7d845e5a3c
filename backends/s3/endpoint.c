#include "backends/s3/endpoint.h"

#include <stdio.h>
#include <string.h>

enum { REGION_LEN_MAX = 63, BUCKET_LEN_MIN = 3, BUCKET_LEN_MAX = 63 };

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

bool s3_region_ok(const char *s)
{
	size_t n = strspn(s, LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-_");

	return n > 0 && n <= REGION_LEN_MAX && s[n] == '\0';
}

/* Whether the bucket's name can be the first label of a host that a wildcard certificate covers. */
static bool is_label(const char *bucket)
{
	size_t n = strspn(bucket, LOWER DIGITS "-");

	return n >= BUCKET_LEN_MIN && n <= BUCKET_LEN_MAX && bucket[n] == '\0' && bucket[0] != '-' &&
	       bucket[n - 1] != '-';
}

static bool begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

static bool ends(const char *s, size_t n, const char *with)
{
	size_t m = strlen(with);

	return n >= m && memcmp(s + n - m, with, m) == 0;
}

const char *s3_aws_domain(const char *region)
{
	static const struct {
		const char *prefix, *domain;
	} partitions[] = {
		{ "cn-", "amazonaws.com.cn" },    { "us-iso-", "c2s.ic.gov" },
		{ "us-isob-", "sc2s.sgov.gov" },  { "eu-isoe-", "cloud.adc-e.uk" },
		{ "us-isof-", "csp.hci.ic.gov" }, { "eusc-", "amazonaws.eu" },
	};

	for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++)
		if (begins(region, partitions[i].prefix))
			return partitions[i].domain;
	return "amazonaws.com";
}

/* AWS's host without the bucket. */
static int aws_host(const struct s3_options *o, const char *region, char *host, size_t size)
{
	if (o->accelerate)
		return snprintf(host, size, "s3-accelerate%s.amazonaws.com",
				o->dual_stack ? ".dualstack" : "");
	return snprintf(host, size, "s3%s%s.%s.%s", o->fips ? "-fips" : "", o->dual_stack ? ".dualstack" : "",
			region, s3_aws_domain(region));
}

/* The configured endpoint, without the scheme's own port; its length. */
static const char *own_host(const char *endpoint, bool tls, size_t *ret_n)
{
	const char *host = strstr(endpoint, "://");
	const char *port = tls ? ":443" : ":80";

	host = host != NULL ? host + 3 : endpoint;
	*ret_n = strcspn(host, "/");
	if (ends(host, *ret_n, port))
		*ret_n -= strlen(port);
	return host;
}

static int check_options(const struct s3_options *o, struct stow_err *err)
{
	if (o->bucket[0] == '\0')
		return stow_fail(err, STOW_INVALID_ARGUMENT, "no bucket is configured");
	if (o->endpoint[0] != '\0' && !begins(o->endpoint, "http://") && !begins(o->endpoint, "https://"))
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "endpoint %s: expected http:// or https:// and a host", o->endpoint);
	if (o->endpoint[0] != '\0' && (o->accelerate || o->fips || o->dual_stack))
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "an endpoint of one's own excludes accelerate, fips and dual_stack, which "
				 "choose among AWS's");
	if (o->accelerate && o->fips)
		return stow_fail(err, STOW_INVALID_ARGUMENT, "AWS has no accelerated endpoint with FIPS");
	if (o->accelerate && o->addressing == S3_ADDRESSING_PATH)
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "accelerate needs virtual-host addressing: the host names the bucket");
	if ((o->accelerate || o->addressing == S3_ADDRESSING_VIRTUAL) && !is_label(o->bucket))
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "bucket %s cannot be a part of a host name: expected lower-case letters, "
				 "digits and hyphens",
				 o->bucket);
	return 0;
}

int s3_endpoint_make(const struct s3_options *o, const char *region, bool moved, struct s3_endpoint *ret_e,
		     struct stow_err *err)
{
	struct s3_endpoint e = { .tls = !begins(o->endpoint, "http://") };
	char aws[200];
	const char *host = aws;
	size_t n;
	bool is_aws = true, virtual;
	int host_n, path_n;

	if (check_options(o, err) < 0)
		return -1;
	if (!s3_region_ok(region))
		return stow_fail(err, STOW_INVALID_ARGUMENT,
				 "region \"%s\": expected something like eu-central-1", region);
	if (o->endpoint[0] != '\0') {
		host = own_host(o->endpoint, e.tls, &n);
		is_aws = begins(host, "s3") &&
			 (ends(host, n, ".amazonaws.com") || ends(host, n, ".amazonaws.com.cn"));
	}
	/* One of AWS's regional names does not do for another region; other servers have one for all. */
	if (o->endpoint[0] == '\0' || (is_aws && moved)) {
		n = (size_t)aws_host(o, region, aws, sizeof(aws));
		host = aws;
	}
	virtual = o->addressing == S3_ADDRESSING_VIRTUAL ||
		  (o->addressing == S3_ADDRESSING_AUTO && is_aws && is_label(o->bucket));
	host_n = snprintf(e.host, sizeof(e.host), "%s%s%.*s", virtual ? o->bucket : "", virtual ? "." : "",
			  (int)n, host);
	path_n = virtual ? 0 : snprintf(e.path, sizeof(e.path), "/%s", o->bucket);
	if (n == 0 || host_n < 0 || (size_t)host_n >= sizeof(e.host) || path_n < 0 ||
	    (size_t)path_n >= sizeof(e.path))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "endpoint or bucket is empty or too long");
	*ret_e = e;
	return 0;
}
