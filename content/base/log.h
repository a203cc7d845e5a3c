/* The log: one line an event, on standard error, as logfmt (containerd's form) or JSON.
 *
 *   log_info("blob committed", LOG_S("digest", text), LOG_I("size", size));
 *   time="2026-11-23T10:04:05.123456789Z" level=info msg="blob committed" digest=sha256:... size=7
 *
 * Only cmd/ and proto/ log. A line is formatted in memory, control characters escaped (text from
 * clients cannot forge lines), and written by one write(2); a line that is too long is cut.
 *
 * Threads: any. */
#ifndef STOWAGE_BASE_LOG_H
#define STOWAGE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_TRACE, LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;  /* NULL ends the list */
	const char *text; /* NULL: the number counts */
	int64_t number;
};
#define LOG_S(k, v) ((struct log_field){ .key = (k), .text = (v) })
#define LOG_I(k, v) ((struct log_field){ .key = (k), .number = (int64_t)(v) })

/* May be called again at any time (SIGHUP). The start is LOG_LEVEL_INFO, LOG_FORMAT_TEXT. */
void log_setup(enum log_level level, enum log_format format);
/* To another descriptor than 2; for tests. */
void log_to_fd(int fd);
bool log_enabled(enum log_level level);
/* `fields` ends with a field whose key is NULL. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#define LOG_AT(level, msg, ...)                                                                              \
	do {                                                                                                 \
		if (log_enabled(level))                                                                      \
			log_write(level, msg,                                                                \
				  (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } });            \
	} while (0)
#define log_trace(msg, ...) LOG_AT(LOG_LEVEL_TRACE, msg, __VA_ARGS__)
#define log_debug(msg, ...) LOG_AT(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...) LOG_AT(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...) LOG_AT(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) LOG_AT(LOG_LEVEL_ERROR, msg, __VA_ARGS__)

#endif
