#include "content/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Formats into `size` bytes; a text that is longer ends in "...", and never in half a character. */
static PRINTF(3, 0) void format_cut(char *out, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, size, fmt, ap);
	size_t cut;

	assert(size > 8);
	if (n < 0) {
		/* Over INT_MAX bytes long: the code still says something. */
		memcpy(out, "?", 2);
		return;
	}
	if ((size_t)n < size)
		return;
	cut = size - 4;
	for (int back = 0; back < 3 && ((unsigned char)out[cut] & 0xc0) == 0x80; back++)
		cut--;
	memcpy(out + cut, "...", 4);
}

static PRINTF(3, 4) void format_text(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_cut(out, size, fmt, ap);
	va_end(ap);
}

/* All three format into memory of their own first: the old message may be among the arguments. */

int stow_fail(struct stow_err *err, enum stow_code code, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	va_list ap;

	assert(code != STOW_OK);
	va_start(ap, fmt);
	format_cut(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	err->code = code;
	memcpy(err->msg, msg, strlen(msg) + 1);
	return -1;
}

static enum stow_code code_of_errno(int e)
{
	switch (e) {
	case ENOENT:
		return STOW_NOT_FOUND;
	case EEXIST:
		return STOW_ALREADY_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return STOW_RESOURCE_EXHAUSTED;
	case EACCES:
	case EPERM:
		return STOW_PERMISSION_DENIED;
	default:
		return STOW_INTERNAL;
	}
}

int stow_fail_errno(struct stow_err *err, int e, const char *fmt, ...)
{
	const char *known = strerrordesc_np(e);
	char what[sizeof(err->msg) - 128], reason[64];
	va_list ap;

	/* The context has the smaller buffer, so that the reason is never what is cut off. */
	va_start(ap, fmt);
	format_cut(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (known != NULL)
		format_text(reason, sizeof(reason), "%s", known);
	else
		format_text(reason, sizeof(reason), "error %d", e);
	err->code = code_of_errno(e);
	format_text(err->msg, sizeof(err->msg), "%s: %s", what, reason);
	return -1;
}

int stow_wrap(struct stow_err *err, const char *fmt, ...)
{
	char context[sizeof(err->msg) / 2], msg[sizeof(err->msg)];
	va_list ap;

	va_start(ap, fmt);
	format_cut(context, sizeof(context), fmt, ap);
	va_end(ap);
	format_text(msg, sizeof(msg), "%s: %s", context, err->msg);
	memcpy(err->msg, msg, strlen(msg) + 1);
	return -1;
}

const char *stow_code_name(enum stow_code code)
{
	switch (code) {
	case STOW_OK:
		return "OK";
	case STOW_CANCELLED:
		return "CANCELLED";
	case STOW_UNKNOWN:
		return "UNKNOWN";
	case STOW_INVALID_ARGUMENT:
		return "INVALID_ARGUMENT";
	case STOW_DEADLINE_EXCEEDED:
		return "DEADLINE_EXCEEDED";
	case STOW_NOT_FOUND:
		return "NOT_FOUND";
	case STOW_ALREADY_EXISTS:
		return "ALREADY_EXISTS";
	case STOW_PERMISSION_DENIED:
		return "PERMISSION_DENIED";
	case STOW_RESOURCE_EXHAUSTED:
		return "RESOURCE_EXHAUSTED";
	case STOW_FAILED_PRECONDITION:
		return "FAILED_PRECONDITION";
	case STOW_ABORTED:
		return "ABORTED";
	case STOW_OUT_OF_RANGE:
		return "OUT_OF_RANGE";
	case STOW_UNIMPLEMENTED:
		return "UNIMPLEMENTED";
	case STOW_INTERNAL:
		return "INTERNAL";
	case STOW_UNAVAILABLE:
		return "UNAVAILABLE";
	case STOW_DATA_LOSS:
		return "DATA_LOSS";
	}
	return "UNKNOWN";
}
