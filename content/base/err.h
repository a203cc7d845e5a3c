/* The one shape of a failure, from the disk to the wire.
 *
 * A function that can fail returns 0, or -1 with *err set; its out-parameters (ret_*) change on
 * success only. `struct stow_err` lives on the caller's stack: it allocates nothing and nobody
 * owns it. `err` is never NULL. Library code does not log; cmd/ and proto/ log an error once,
 * where it leaves the process. */
#ifndef STOWAGE_BASE_ERR_H
#define STOWAGE_BASE_ERR_H

#include "content/base/compiler.h"

/* The numbers are gRPC's status codes (proto/rpc.c asserts it), so that no layer translates. */
enum stow_code {
	STOW_OK = 0,
	STOW_CANCELLED = 1,
	STOW_UNKNOWN = 2,
	STOW_INVALID_ARGUMENT = 3,
	STOW_DEADLINE_EXCEEDED = 4,
	STOW_NOT_FOUND = 5,
	STOW_ALREADY_EXISTS = 6,
	STOW_PERMISSION_DENIED = 7,
	STOW_RESOURCE_EXHAUSTED = 8,
	STOW_FAILED_PRECONDITION = 9,
	STOW_ABORTED = 10,
	STOW_OUT_OF_RANGE = 11,
	STOW_UNIMPLEMENTED = 12,
	STOW_INTERNAL = 13,
	STOW_UNAVAILABLE = 14,
	STOW_DATA_LOSS = 15,
};

struct stow_err {
	enum stow_code code;
	char msg[512]; /* for people; cut, and ended with "...", where it is longer */
};

/* Sets *err and returns -1, so that a failure is one line: `return stow_fail(err, ...)`. */
int stow_fail(struct stow_err *err, enum stow_code code, const char *fmt, ...) PRINTF(3, 4);

/* As stow_fail, for the errno value `e` of an operation that `fmt` names ("open /x/y"). The code
 * follows from `e`: ENOENT is NOT_FOUND, EEXIST ALREADY_EXISTS, ENOSPC and EDQUOT
 * RESOURCE_EXHAUSTED, EACCES and EPERM PERMISSION_DENIED, all else INTERNAL. */
int stow_fail_errno(struct stow_err *err, int e, const char *fmt, ...) PRINTF(3, 4);

/* Puts "context: " before the message of a failure that is being passed on; keeps the code.
 * Returns -1. */
int stow_wrap(struct stow_err *err, const char *fmt, ...) PRINTF(2, 3);

/* "NOT_FOUND" and so on; "UNKNOWN" for a number that is no code. Static storage. */
const char *stow_code_name(enum stow_code code);

#endif
