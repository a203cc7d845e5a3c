/* How a blob is cut into the parts of a multipart upload. Pure.
 *
 * The first 900 parts have the chosen size, the next 900 twice that, the third four times, and so on, as
 * far as S3 allows (5 GiB). So a part's place follows from its number alone, also where nobody knows yet
 * how long the blob will be; and 10 000 parts, of 5 MiB at the start, hold what S3 allows for an object,
 * 5 TiB. */
#ifndef STOWAGE_BACKENDS_S3_PARTS_H
#define STOWAGE_BACKENDS_S3_PARTS_H

#include "backends/s3/client.h"

enum { PARTS_STEP = 900 };

/* Bytes of the part `number` (from 1 on), if it is not the last one. */
static inline uint64_t part_length(uint64_t first, unsigned number)
{
	uint64_t length = first << ((number - 1) / PARTS_STEP);

	return length < S3_PUT_MAX ? length : S3_PUT_MAX;
}

/* Where it begins, in the blob: what the parts before it hold. */
static inline uint64_t part_offset(uint64_t first, unsigned number)
{
	uint64_t offset = 0;
	unsigned at = 1;

	for (; number - at >= PARTS_STEP; at += PARTS_STEP)
		offset += PARTS_STEP * part_length(first, at);
	return offset + (number - at) * part_length(first, at);
}

/* How many parts a blob of `size` bytes has, the last of which may be shorter; one at least. S3_PARTS_MAX + 1
 * where so many parts do not hold it. */
static inline unsigned part_count(uint64_t first, uint64_t size)
{
	uint64_t rest = size;

	for (unsigned at = 1; at <= S3_PARTS_MAX; at += PARTS_STEP) {
		uint64_t length = part_length(first, at);

		if (rest <= PARTS_STEP * length)
			return at - 1 + (rest > 0 ? (unsigned)((rest + length - 1) / length) : at == 1);
		rest -= PARTS_STEP * length;
	}
	return S3_PARTS_MAX + 1;
}

#endif
