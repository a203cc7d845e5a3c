#include "backends/s3/session.h"

#include "backends/s3/creds.h"
#include "backends/s3/http.h"
#include "content/base/mem.h"

void s3_session_free(struct s3_session *s)
{
	if (s == NULL)
		return;
	s3_client_free(s->client);
	creds_free(s->creds);
	http_free(s->http);
	free(s);
}

void s3_session_freep(struct s3_session **s)
{
	s3_session_free(*s);
}

static const char *or_null(const char *s)
{
	return *s != '\0' ? s : NULL;
}

int s3_session_new(const struct s3_options *o, struct s3_session **ret_s, struct stow_err *err)
{
	CLEANUP(s3_session_freep) struct s3_session *s = x_calloc(1, sizeof(*s));
	struct http_options ho = {
		.max_transfers = o->connections,
		.ca_file = or_null(o->ca_file),
		.ca_may_come = o->files_may_come,
		/* Not unless it is wanted: S3 itself has HTTP/1.1 alone, and a connection for each transfer
		 * has a window of its own. With HTTP/2, 4 uploads at once to a server of Go's took 1.3 times
		 * as long and more; 4 downloads the same. */
		.http2 = o->http2,
		.proxy = strcmp(o->proxy, "direct") == 0 ? "" : or_null(o->proxy),
	};
	CLEANUP(freep) char *agent = NULL;
	CLEANUP(freep) char *region = NULL;

	s->options = *o;

	if (*o->user_agent != '\0')
		ho.user_agent = agent = x_asprintf("stowage/" STOWAGE_VERSION " %s", o->user_agent);
	if (s3_options_region(o, &region, err) < 0 || http_new(&ho, &s->http, err) < 0 ||
	    creds_new(&s->options, region, s->http, &s->creds, err) < 0)
		return -1;

	struct s3_creds_source source = creds_source(s->creds);
	if (s3_client_new(&s->options, s->http, &source, &s->client, err) < 0)
		return -1;
	*ret_s = TAKE(s);
	return 0;
}
