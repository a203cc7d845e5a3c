#include "backends/s3/http.h"
#include "content/base/mem.h"

#include <strings.h>

void http_response_init(struct http_response *r)
{
	*r = (struct http_response){ 0 };
}

void http_response_free(struct http_response *r)
{
	buf_free(&r->headers);
	buf_free(&r->body);
	http_response_init(r);
}

const char *http_header(const struct http_response *r, const char *name)
{
	const char *lines = (const char *)r->headers.p;
	size_t n = strlen(name);

	for (size_t at = 0; at < r->headers.len; at += strlen(lines + at) + 1)
		if (strncasecmp(lines + at, name, n) == 0 && lines[at + n] == ':')
			return lines + at + n + 1;
	return NULL;
}
