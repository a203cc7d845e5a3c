/* The XML bodies of S3's answers, read with expat. Pure; nothing of a document is trusted: no DTD (so no
 * entities), depth and text are capped, names are taken without their namespace.
 *
 * A document that is none of the kind, or not well-formed, is DATA_LOSS. */
#ifndef STOWAGE_BACKENDS_S3_XML_H
#define STOWAGE_BACKENDS_S3_XML_H

#include "backends/s3/client.h"
#include "content/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads any document. The visitor is called at the end of each element, with its path from the root
 * ("A/B/C") and the characters directly within, up to 8 KiB; its -1 ends the reading. */
typedef int xml_visit(void *arg, const char *path, const char *text, struct stow_err *err);
int xml_walk(const void *p, size_t n, xml_visit *visit, void *arg, struct stow_err *err) MUST_CHECK;

/* An <Error>. "" for what it does not say; each text as text_clean() has it. */
struct s3_error {
	char code[64], message[256], request_id[96], region[S3_REGION_MAX];
};
/* Whether the body is an <Error> with a Code. *ret_e is all "" where it is not. */
bool xml_error(const void *p, size_t n, struct s3_error *ret_e);

/* <InitiateMultipartUploadResult> */
int xml_upload_id(const void *p, size_t n, char ret_id[S3_UPLOAD_ID_MAX + 1],
		  struct stow_err *err) MUST_CHECK;
/* <CompleteMultipartUploadResult>; the ETag may be "" (Ceph). */
int xml_completed(const void *p, size_t n, char ret_etag[S3_ETAG_MAX], struct stow_err *err) MUST_CHECK;

/* Where the next page of a list begins. */
struct xml_page {
	bool truncated;
	char next[S3_KEY_MAX * 3];          /* NextContinuationToken, NextPartNumberMarker, NextKeyMarker */
	char next_id[S3_UPLOAD_ID_MAX + 1]; /* NextUploadIdMarker */
};
/* <ListBucketResult>, <ListPartsResult>, <ListMultipartUploadsResult>: each entry goes to the visitor, in
 * the document's order; its -1 ends it. Keys are decoded where the document says that they are encoded
 * (EncodingType "url"). */
int xml_objects(const void *p, size_t n, s3_list_visit *visit, void *arg, struct xml_page *ret_page,
		struct stow_err *err) MUST_CHECK;
int xml_parts(const void *p, size_t n, s3_part_visit *visit, void *arg, struct xml_page *ret_page,
	      struct stow_err *err) MUST_CHECK;
int xml_uploads(const void *p, size_t n, s3_upload_visit *visit, void *arg, struct xml_page *ret_page,
		struct stow_err *err) MUST_CHECK;

/* Appends text as it may stand between tags. */
int xml_escape(struct buf *b, const char *s, struct stow_err *err) MUST_CHECK;

#endif
