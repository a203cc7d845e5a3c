/* Lists, a page a request: objects, parts of an upload, uploads. */
#include "backends/s3/client_internal.h"
#include "content/base/mem.h"
#include "content/base/text.h"

enum { PAGE = 1000 }; /* entries, the most that S3 gives */

/* A server whose pages lead in a circle must not keep us for ever. What is listed rises, so that entries
 * which come again show; pages without any are found out by their markers: one is kept, a later one each
 * time that twice as many have passed (Brent's search for cycles). */
struct order {
	char key[S3_KEY_MAX + 1]; /* the last entry's; "": none yet */
	unsigned number;          /* or this, of a part; 0: none yet */
	struct xml_page kept;
	uint64_t passed, until;
};

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
	struct order order;
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

static int check_circle(const struct s3_client *c, struct pages *p, const struct xml_page *next,
			struct stow_err *err)
{
	struct order *o = &p->order;
	char shown[128];

	if (o->until > 0 && strcmp(next->next, o->kept.next) == 0 &&
	    strcmp(next->next_id, o->kept.next_id) == 0) {
		text_clean(shown, sizeof(shown), next->next);
		return stow_fail(err, STOW_DATA_LOSS, "s3: %s %s: its pages lead in a circle, to %s again",
				 p->op, c->core->o.bucket, shown);
	}
	if (o->passed++ == o->until) {
		o->kept = *next;
		o->passed = 0;
		o->until = o->until > 0 ? o->until * 2 : 1;
	}
	return 0;
}

static int read_pages(struct s3_client *c, struct pages *p, struct stow_err *err)
{
	CLEANUP(freep) struct xml_page *next = x_calloc(1, sizeof(*next));

	for (p->first = true;; p->first = false) {
		if (read_page(c, p, next, err) < 0)
			return -1;
		if (!next->truncated || p->left == 0)
			return 0;
		if (check_circle(c, p, next, err) < 0)
			return -1;
		p->at = *next;
	}
}

static int check_key(struct pages *p, const char *key, bool may_repeat, struct stow_err *err)
{
	char *last = p->order.key;
	int order = strcmp(key, last);
	char shown[2][128];

	if (last[0] != '\0' && (order < 0 || (order == 0 && !may_repeat))) {
		text_clean(shown[0], sizeof(shown[0]), key);
		text_clean(shown[1], sizeof(shown[1]), last);
		return stow_fail(err, STOW_DATA_LOSS, "s3: %s: %s comes after %s: keys are expected to rise",
				 p->op, shown[0], shown[1]);
	}
	memcpy(last, key, strlen(key) + 1);
	return 0;
}

/* --- objects --- */

static void ask_objects(struct pages *p, struct request *r)
{
	request_query(r, "list-type", "2");
	request_query(r, "encoding-type", "url"); /* XML 1.0 has no words for some of what keys may have */
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
	if (check_key(p, key, false, err) < 0)
		return -1;
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

static int take_part(void *arg, const struct s3_part *part, struct stow_err *err)
{
	struct pages *p = arg;

	if (part->number <= p->order.number)
		return stow_fail(err, STOW_DATA_LOSS,
				 "s3: ListParts %s: part %u comes after %u: numbers are expected to rise",
				 p->upload->key, part->number, p->order.number);
	p->order.number = part->number;
	return p->visit.part(p->arg, part, err);
}

static int read_parts(struct pages *p, const struct buf *body, struct xml_page *ret_page,
		      struct stow_err *err)
{
	return xml_parts(body->p, body->len, take_part, p, ret_page, err);
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
	request_query(r, "encoding-type", "url");
	request_query(r, "max-uploads", "%d", PAGE);
	request_query(r, "prefix", "%s", p->prefix);
	if (!p->first) {
		request_query(r, "key-marker", "%s", p->at.next);
		request_query(r, "upload-id-marker", "%s", p->at.next_id);
	}
}

/* Of one key there may be several. */
static int take_upload(void *arg, const struct s3_upload *u, struct stow_err *err)
{
	struct pages *p = arg;

	if (check_key(p, u->key, true, err) < 0)
		return -1;
	return p->visit.upload(p->arg, u, err);
}

static int read_uploads(struct pages *p, const struct buf *body, struct xml_page *ret_page,
			struct stow_err *err)
{
	return xml_uploads(body->p, body->len, take_upload, p, ret_page, err);
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
