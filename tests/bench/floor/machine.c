/* What the machine can do, by itself. */
#include "tests/bench/floor/floor.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int machine_check(void)
{
	enum { SIZE = 64 << 20, TIMES = 8 };
	uint8_t *a = malloc(SIZE), *b = malloc(SIZE), md[EVP_MAX_MD_SIZE];
	unsigned len;
	double start;

	if (!a || !b)
		die("memory");
	memset(a, 1, SIZE);
	memset(b, 2, SIZE);
	start = now();
	for (int i = 0; i < TIMES; i++) {
		memcpy(i % 2 ? a : b, i % 2 ? b : a, SIZE);
		__asm__ volatile("" ::: "memory"); /* no copy may be left out */
	}
	printf("%.0f\n", SIZE * (double)TIMES / (now() - start));
	start = now();
	for (int i = 0; i < TIMES; i++)
		if (!EVP_Digest(a, SIZE, md, &len, EVP_sha256(), NULL))
			die("SHA-256");
	printf("%.0f\n", SIZE * (double)TIMES / (now() - start));
	free(a);
	free(b);
	return 0;
}
