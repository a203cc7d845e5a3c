/* Lists, a page a request: objects, parts of an upload, uploads. */
#include "backends/s3/client_internal.h"
#include "content/base/mem.h"

enum { PAGE = 1000 }; /* entries, the most that S3 gives */

/* What reads a page's body: an xml_*() with its visitor. */
struct pages {
	const char *op;
	/* Adds the query of the page after `at`. */
	void (*ask)(struct pages *p, struct request *r);
	int (*read)(struct pages *p, const struct buf *body, struct xml_page *ret_page, struct stow_err *err);
	const struct s3_upload *upload; /* of parts */
	const char *prefix, *start_after;
	uint64_t left; /* entries that are wanted still */
	union {
		s3_list_visit *object;
		s3_part_visit *part;
		s3_upload_visit *upload;
	} visit;
	void *arg;
	bool first;
	struct xml_page at;
};

static int read_page(struct s3_client *c, struct pages *p, struct xml_page *ret_page, struct stow_err *err)
{
	struct request r;
	int result;

	client_request(c, &r, p->op, "GET", p->upload != NULL ? p->upload->key : NULL);
	r.max_body = CLIENT_PAGE_BODY;
	p->ask(p, &r);
	result = request_perform(&r, err);
	/* Visitors may take their time, so this is not the transfer thread's. */
	if (result == 0 && p->read(p, &r.t.resp.body, ret_page, err) < 0)
		result = -1;
	request_destroy(&r);
	return result;
}

static int read_pages(struct s3_client *c, struct pages *p, struct stow_err *err)
{
	CLEANUP(freep) struct xml_page *next = x_calloc(1, sizeof(*next));

	for (p->first = true;; p->first = false) {
		if (read_page(c, p, next, err) < 0)
			return -1;
		if (!next->truncated || p->left == 0)
			return 0;
		if (!p->first && strcmp(next->next, p->at.next) == 0 &&
		    strcmp(next->next_id, p->at.next_id) == 0)
			return stow_fail(err, STOW_DATA_LOSS, "s3: %s %s: one page follows itself", p->op,
					 c->core->o.bucket);
		p->at = *next;
	}
}

/* --- objects --- */

static void ask_objects(struct pages *p, struct request *r)
{
	request_query(r, "list-type", "2");
	request_query(r, "max-keys", "%u", p->left < PAGE ? (unsigned)p->left : (unsigned)PAGE);
	request_query(r, "prefix", "%s", p->prefix);
	if (!p->first)
		request_query(r, "continuation-token", "%s", p->at.next);
	else if (p->start_after != NULL)
		request_query(r, "start-after", "%s", p->start_after);
}

static int take_object(void *arg, const char *key, const struct s3_object *o, struct stow_err *err)
{
	struct pages *p = arg;

	if (p->left == 0)
		return 0;
	p->left--;
	return p->visit.object(p->arg, key, o, err);
}

static int read_objects(struct pages *p, const struct buf *body, struct xml_page *ret_page,
			struct stow_err *err)
{
	return xml_objects(body->p, body->len, take_object, p, ret_page, err);
}

int s3_list(struct s3_client *c, const char *prefix, const char *start_after, uint64_t max,
	    s3_list_visit *visit, void *arg, struct stow_err *err)
{
	struct pages p = { .op = "ListObjectsV2",
			   .ask = ask_objects,
			   .read = read_objects,
			   .prefix = prefix,
			   .start_after = start_after,
			   .left = max > 0 ? max : UINT64_MAX,
			   .visit.object = visit,
			   .arg = arg };

	return read_pages(c, &p, err);
}

/* --- the parts of an upload --- */

static void ask_parts(struct pages *p, struct request *r)
{
	request_query(r, "uploadId", "%s", p->upload->id);
	request_query(r, "max-parts", "%d", PAGE);
	if (!p->first)
		request_query(r, "part-number-marker", "%s", p->at.next);
}

static int read_parts(struct pages *p, const struct buf *body, struct xml_page *ret_page,
		      struct stow_err *err)
{
	return xml_parts(body->p, body->len, p->visit.part, p->arg, ret_page, err);
}

int s3_upload_parts(struct s3_client *c, const struct s3_upload *u, s3_part_visit *visit, void *arg,
		    struct stow_err *err)
{
	struct pages p = { .op = "ListParts",
			   .ask = ask_parts,
			   .read = read_parts,
			   .upload = u,
			   .left = UINT64_MAX,
			   .visit.part = visit,
			   .arg = arg };

	return read_pages(c, &p, err);
}

/* --- uploads --- */

static void ask_uploads(struct pages *p, struct request *r)
{
	request_query(r, "uploads", "%s", "");
	request_query(r, "max-uploads", "%d", PAGE);
	request_query(r, "prefix", "%s", p->prefix);
	if (!p->first) {
		request_query(r, "key-marker", "%s", p->at.next);
		request_query(r, "upload-id-marker", "%s", p->at.next_id);
	}
}

static int read_uploads(struct pages *p, const struct buf *body, struct xml_page *ret_page,
			struct stow_err *err)
{
	return xml_uploads(body->p, body->len, p->visit.upload, p->arg, ret_page, err);
}

int s3_uploads(struct s3_client *c, const char *prefix, s3_upload_visit *visit, void *arg,
	       struct stow_err *err)
{
	struct pages p = { .op = "ListMultipartUploads",
			   .ask = ask_uploads,
			   .read = read_uploads,
			   .prefix = prefix,
			   .left = UINT64_MAX,
			   .visit.upload = visit,
			   .arg = arg };

	return read_pages(c, &p, err);
}
