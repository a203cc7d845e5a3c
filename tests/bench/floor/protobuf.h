/* As much of protobuf as the floor's messages need, and gRPC's prefix before them. In a header, for the calls
 * are to cost nothing: `to` has room for what is put, and what is put is counted. */
#ifndef STOWAGE_BENCH_FLOOR_PROTOBUF_H
#define STOWAGE_BENCH_FLOOR_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PREFIX = 5 }; /* gRPC's, before each message */

static inline size_t put_varint(uint8_t *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

static inline uint64_t get_varint(const uint8_t *p, size_t len, size_t *at)
{
	uint64_t v = 0;

	for (unsigned shift = 0; *at < len && shift < 64; shift += 7) {
		uint8_t b = p[(*at)++];

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			break;
	}
	return v;
}

static inline size_t put_bytes(uint8_t *to, unsigned field, const void *p, size_t n)
{
	size_t at = put_varint(to, field << 3 | 2);

	at += put_varint(to + at, n);
	memcpy(to + at, p, n);
	return at + n;
}

static inline size_t put_int(uint8_t *to, unsigned field, uint64_t v)
{
	size_t at = put_varint(to, field << 3);

	return at + put_varint(to + at, v);
}

static inline void put_prefix(uint8_t *to, size_t message)
{
	to[0] = 0;
	for (int i = 0; i < 4; i++)
		to[1 + i] = (uint8_t)(message >> (24 - 8 * i));
}

#endif
