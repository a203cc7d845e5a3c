/* Regular expressions in RE2's syntax, which is what containerd's filters are written in, matched
 * in time linear in the text, so that a client's pattern cannot stall the daemon.
 *
 * A thin C face of libre2 (regex.cc); gRPC's core brings the library along anyway. */
#ifndef STOWAGE_BASE_REGEX_H
#define STOWAGE_BASE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

/* NULL if the pattern does not compile (or would take too much memory). */
struct regex *regex_new(const char *pattern, size_t n);
void regex_free(struct regex *r); /* NULL is a no-op */
/* Unanchored. Threads: any number at once. */
bool regex_match(const struct regex *r, const char *text, size_t n);

#ifdef __cplusplus
}
#endif

#endif
