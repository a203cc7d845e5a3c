/* Between the files of the client. */
#ifndef STOWAGE_BACKENDS_S3_CLIENT_INTERNAL_H
#define STOWAGE_BACKENDS_S3_CLIENT_INTERNAL_H

#include "backends/s3/request.h"

/* What a client and its forks share. */
struct client_core {
	struct s3_options o; /* what requests need of them, with strings of its own */
	char *region;
	char *tagging, *kms_context; /* headers' values; NULL: none */
	struct s3_creds_source creds;
	struct request_env env;
};

struct s3_client {
	uint32_t magic;
	struct client_core *core; /* the first one's */
	bool is_fork;
	struct request_group group;
};

enum {
	CLIENT_ERROR_BODY = 64 * 1024, /* of an answer that is an error, or a short result */
	CLIENT_PAGE_BODY = 8 << 20,    /* of a page of 1000 entries, keys and all */
};

/* request_init, with the headers that every request of the client has. A key that is none makes a request
 * that fails. */
void client_request(struct s3_client *c, struct request *r, const char *op, const char *method,
		    const char *key);
/* request_perform and request_destroy. */
int client_perform(struct request *r, struct stow_err *err) MUST_CHECK;
/* What an object is made with: encryption, storage class, tags. */
void client_object_headers(const struct s3_client *c, struct request *r);
/* The body with its hash, as the transport and the checksums want it; reads it where they do, and where that
 * fails, so will the request. *ret_d is what is sent as checksum, or DIGEST_NONE. */
void client_body(struct s3_client *c, struct request *r, const struct s3_body *body, struct digest *ret_d);
/* Whether the checksum that the answer may carry is that of what was sent; and the ETag, "" where there is
 * none. */
int client_check_sent(struct request *r, const struct digest *sent, char ret_etag[S3_ETAG_MAX],
		      struct stow_err *err) MUST_CHECK;

/* Starts the request of an operation, whose `done` is set; and hands over its result. */
void client_op_begin(struct s3_op *op, struct request *r);
void client_op_end(struct s3_op *op, struct request *r);

#endif
