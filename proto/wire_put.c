/* The messages that are encoded by hand. List has an Info for each of perhaps a million blobs, and protobuf-c
 * would want a struct for each of its parts, and take three times as long; and the data of a Read are to go
 * out from where they are. What is written here is read by protobuf-c in the tests. */
#include "content/base/clock.h"
#include "proto/wire.h"

enum { VARINT = 0, LENGTH = 2 }; /* wire types */

/* Field numbers of content.proto; all are below 16, so that a tag is one byte. */
enum { INFO_RESPONSE_INFO = 1 };
enum { INFO_DIGEST = 1, INFO_SIZE = 2, INFO_CREATED_AT = 3, INFO_UPDATED_AT = 4, INFO_LABELS = 5 };
enum { TIMESTAMP_SECONDS = 1, TIMESTAMP_NANOS = 2 };
enum { LABEL_KEY = 1, LABEL_VALUE = 2 };
enum { READ_OFFSET = 1, READ_DATA = 2 };

/* --- lengths, with the tag --- */

static size_t varint_length(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

/* proto3 leaves zeros out. */
static size_t number_length(uint64_t v)
{
	return v ? 1 + varint_length(v) : 0;
}

static size_t bytes_length(size_t n)
{
	return 1 + varint_length(n) + n;
}

/* --- writing --- */

static uint8_t *put_varint(uint8_t *to, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*to++ = (uint8_t)(v | 0x80);
	*to++ = (uint8_t)v;
	return to;
}

static uint8_t *put_number(uint8_t *to, unsigned field, uint64_t v)
{
	if (!v)
		return to;
	*to++ = (uint8_t)(field << 3 | VARINT);
	return put_varint(to, v);
}

/* What goes before `n` bytes. */
static uint8_t *put_length(uint8_t *to, unsigned field, size_t n)
{
	*to++ = (uint8_t)(field << 3 | LENGTH);
	return put_varint(to, n);
}

static uint8_t *put_bytes(uint8_t *to, unsigned field, const void *p, size_t n)
{
	to = put_length(to, field, n);
	memcpy(to, p, n);
	return to + n;
}

/* --- Info --- */

static size_t time_length(int64_t wall_ns)
{
	return number_length((uint64_t)(wall_ns / NSEC_PER_SEC)) +
	       number_length((uint64_t)(wall_ns % NSEC_PER_SEC));
}

static uint8_t *put_time(uint8_t *to, unsigned field, int64_t wall_ns)
{
	to = put_length(to, field, time_length(wall_ns));
	to = put_number(to, TIMESTAMP_SECONDS, (uint64_t)(wall_ns / NSEC_PER_SEC));
	return put_number(to, TIMESTAMP_NANOS, (uint64_t)(wall_ns % NSEC_PER_SEC));
}

static size_t label_length(const struct label *l)
{
	return bytes_length(strlen(l->key)) + bytes_length(strlen(l->value));
}

static uint8_t *put_label(uint8_t *to, const struct label *l)
{
	to = put_length(to, INFO_LABELS, label_length(l));
	to = put_bytes(to, LABEL_KEY, l->key, strlen(l->key));
	return put_bytes(to, LABEL_VALUE, l->value, strlen(l->value));
}

/* Appends `i` as field 1 of a message. */
static int append_info(const struct blob_info *i, struct buf *to, struct stow_err *err)
{
	char digest[DIGEST_STR_MAX];
	size_t digest_length, length;
	uint8_t *p;

	digest_format(&i->digest, digest);
	digest_length = strlen(digest);
	length = bytes_length(digest_length) + number_length(i->size) +
		 bytes_length(time_length(i->created_ns)) + bytes_length(time_length(i->updated_ns));
	for (size_t k = 0; k < i->labels.n; k++)
		length += bytes_length(label_length(&i->labels.v[k]));

	if (buf_extend(to, bytes_length(length), &p, err) < 0)
		return -1;
	p = put_length(p, INFO_RESPONSE_INFO, length);
	p = put_bytes(p, INFO_DIGEST, digest, digest_length);
	p = put_number(p, INFO_SIZE, i->size);
	p = put_time(p, INFO_CREATED_AT, i->created_ns);
	p = put_time(p, INFO_UPDATED_AT, i->updated_ns);
	for (size_t k = 0; k < i->labels.n; k++)
		p = put_label(p, &i->labels.v[k]);
	assert(p == to->p + to->len);
	return 0;
}

int wire_info_response(const struct blob_info *i, struct buf *to, struct stow_err *err)
{
	return append_info(i, to, err);
}

int wire_list_element(const struct blob_info *i, struct buf *to, struct stow_err *err)
{
	/* InfoResponse{info=1} and one element of ListContentResponse{repeated info=1} are the same
	 * bytes, and messages are put together by appending. */
	return append_info(i, to, err);
}

/* --- Read --- */

size_t wire_read_header(uint64_t offset, size_t len, uint8_t out[WIRE_READ_HEADER_MAX])
{
	return (size_t)(put_length(put_number(out, READ_OFFSET, offset), READ_DATA, len) - out);
}
