/* What all fuzzers share. */
#ifndef STOWAGE_TESTS_FUZZ_H
#define STOWAGE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Each fuzz_<name>.c defines it, and stops the process where a property does not hold. Called by
 * libFuzzer, or by fuzz_main.c for each file of a corpus. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
