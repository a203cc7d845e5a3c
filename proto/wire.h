/* Messages to structs and back: the bytes of proto/content.proto on one side, content's types on the
 * other. Knows nothing of gRPC; checks everything that comes from a client.
 *
 * Decoders take the message as gRPC received it, in pieces. `data` of a WriteContentRequest is never
 * copied: it comes back as pieces of the same memory. All other fields are small; they are gathered
 * and unpacked by protobuf-c. Answers are packed by protobuf-c (wire.c), but those of which there are very
 * many (wire_put.c).
 *
 * Every decoder fails with INVALID_ARGUMENT for what is no such message, or for values that the
 * contract refuses (refs, digests, labels, filters), naming the value. Encoders append to a buf.
 * Threads: pure functions. */
#ifndef STOWAGE_PROTO_WIRE_H
#define STOWAGE_PROTO_WIRE_H

#include "content/base/buf.h"
#include "content/ingest.h"
#include "content/store.h"
#include "proto/content.pb-c.h"

#include <stdbool.h>
#include <sys/uio.h>

/* --- requests --- */

struct wire_digest_request {
	struct digest digest;
	int64_t offset, size; /* Read; where the Admin service's requests have a number, it is `offset` */
};
/* Info, Delete and Read, whose first field is the digest. */
int wire_digest_request(const struct iovec *msg, int n, struct wire_digest_request *ret_r,
			struct stow_err *err) MUST_CHECK;

/* Status and Abort: the ref, to be freed. */
int wire_ref_request(const struct iovec *msg, int n, char **ret_ref, struct stow_err *err) MUST_CHECK;

/* List and ListStatuses: the filters, compiled; to be freed. */
int wire_filter_request(const struct iovec *msg, int n, struct filter **ret_f,
			struct stow_err *err) MUST_CHECK;

struct wire_update {
	struct digest digest;
	struct labels labels;
	char **paths; /* n_paths texts */
	size_t n_paths;
};
int wire_update_request(const struct iovec *msg, int n, struct wire_update *ret_u,
			struct stow_err *err) MUST_CHECK;
void wire_update_free(struct wire_update *u); /* fit for CLEANUP */

struct wire_write {
	enum { WIRE_STAT, WIRE_WRITE, WIRE_COMMIT } action;
	char *ref;              /* owned; NULL: not given */
	uint64_t total;         /* 0: not given */
	int64_t offset;         /* as the client sent it */
	struct digest expected; /* DIGEST_NONE: not given */
	struct labels labels;
	struct iovec *data; /* owned array, borrowed memory: pieces of the message */
	int n_data;
	size_t data_len;
};
int wire_write_request(const struct iovec *msg, int n, struct wire_write *ret_w,
		       struct stow_err *err) MUST_CHECK;
void wire_write_free(struct wire_write *w); /* fit for CLEANUP */

/* grpc.health.v1: the service's name, to be freed. */
int wire_health_request(const struct iovec *msg, int n, char **ret_service, struct stow_err *err) MUST_CHECK;

/* --- responses --- */

/* A response that grows with what the store holds has this cap. */
enum { WIRE_RESPONSE_MAX = 64 << 20 };

/* InfoResponse and UpdateResponse, which are alike. */
int wire_info_response(const struct blob_info *i, struct buf *to, struct stow_err *err) MUST_CHECK;
/* One element of ListContentResponse.info: a message is the run of its elements. */
int wire_list_element(const struct blob_info *i, struct buf *to, struct stow_err *err) MUST_CHECK;

int wire_status_response(const struct ingest_status *s, struct buf *to, struct stow_err *err) MUST_CHECK;
/* One element of ListStatusesResponse.statuses. */
int wire_statuses_element(const struct ingest_status *s, struct buf *to, struct stow_err *err) MUST_CHECK;

struct wire_write_response {
	int action;                     /* as requested */
	int64_t started_ns, updated_ns; /* 0: left out */
	uint64_t offset, total;
	struct digest digest; /* DIGEST_NONE: left out */
};
enum { WIRE_WRITE_RESPONSE_MAX = 256 };
/* Fits in WIRE_WRITE_RESPONSE_MAX bytes; returns how many. Cannot fail. */
size_t wire_write_response(const struct wire_write_response *r, uint8_t out[WIRE_WRITE_RESPONSE_MAX]);

enum { WIRE_READ_HEADER_MAX = 32 };
/* What goes before `len` bytes of data in a ReadContentResponse, so that the data themselves can be
 * sent from where they are. Returns the bytes written to `out`. */
size_t wire_read_header(uint64_t offset, size_t len, uint8_t out[WIRE_READ_HEADER_MAX]);

enum wire_serving { WIRE_SERVING = 1, WIRE_NOT_SERVING = 2, WIRE_SERVICE_UNKNOWN = 3 };
enum { WIRE_HEALTH_RESPONSE_MAX = 16 };
size_t wire_health_response(enum wire_serving s, uint8_t out[WIRE_HEALTH_RESPONSE_MAX]);

#endif
