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
	const char *line = (const char *)r->headers.p, *end = line + r->headers.len;
	size_t n = strlen(name);

	for (; line < end; line += strlen(line) + 1)
		if (strncasecmp(line, name, n) == 0 && line[n] == ':')
			return line + n + 1;
	return NULL;
}
