/* Configuration: files, environment and flags, read once into one const struct.
 *
 * Sources, each stronger than the one before:
 *   1. built-in defaults
 *   2. the file: the one that was named, by flag or by $STOWAGE_CONFIG; else the default file, which
 *      may be missing
 *   3. every .toml file in conf.d beside that file, sorted by name
 *   4. the environment: STOWAGE_ and the key in capitals, dots as underscores (STOWAGE_GRPC_ADDRESS)
 *   5. overrides, which are command-line flags
 *
 * With remote.type = "s3", what none of them has set follows AWS's own variables where there are any
 * (AWS_REGION for remote.s3.region; the table says which). Credentials do not: they are looked for when
 * the daemon starts, in more places than these.
 *
 * A value is checked in whichever source it stands, also where a stronger one replaces it. Unknown
 * keys and unknown STOWAGE_* variables are errors. Values that exclude each other are found at the end.
 *
 * Which keys there are, with their defaults and their meaning, says one table: keys.c.
 *
 * Threads: any; a loaded configuration does not change. */
#ifndef STOWAGE_CONF_CONF_H
#define STOWAGE_CONF_CONF_H

#include "content/base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONF_DEFAULT_FILE "/etc/stowage/config.toml"

enum conf_remote_type { CONF_REMOTE_NONE, CONF_REMOTE_S3 };

/* These three have the numbers of backends/s3/s3_options.h, which conf/ may not see; cmd/ asserts it. */
enum conf_s3_addressing { CONF_S3_ADDRESSING_AUTO, CONF_S3_ADDRESSING_PATH, CONF_S3_ADDRESSING_VIRTUAL };
enum conf_s3_checksums { CONF_S3_CHECKSUMS_WHEN_REQUIRED, CONF_S3_CHECKSUMS_WHEN_SUPPORTED };
enum conf_s3_sse { CONF_S3_SSE_BUCKET, CONF_S3_SSE_S3, CONF_S3_SSE_KMS, CONF_S3_SSE_KMS_DSSE };

enum { CONF_KEYS_MAX = 64 };

/* Names as in the file. Strings are owned and never NULL. */
struct conf {
	unsigned version;
	char *root;                 /* absolute */
	int64_t stale_ingest_after; /* ns */
	struct {
		char *address; /* the socket's absolute path, or "fd://" */
		mode_t mode;
		uid_t uid;                /* (uid_t)-1: as it is made, which chown understands too */
		gid_t gid;                /* the same */
		int64_t max_message_size; /* bytes; fits an int */
		int64_t drain_timeout;    /* ns */
		unsigned threads;
		int64_t busy_poll; /* ns */
	} grpc;
	struct {
		unsigned threads; /* 0: from the number of processors */
	} workers;
	struct {
		enum log_level level;
		enum log_format format;
	} log;
	struct {
		char *path; /* absolute; `root` where it was not set */
	} local;
	struct {
		enum conf_remote_type type;
		struct {
			char *endpoint; /* "http[s]://host[:port]", or "" */
			char *region, *bucket, *prefix;
			enum conf_s3_addressing addressing;
			char *access_key, *secret_key, *session_token;
			char *access_key_file, *secret_key_file, *session_token_file; /* absolute or "" */
			char *profile;
			char *ca_file; /* absolute or "" */
			char *proxy;   /* a URL, "direct" or "" */
			char *user_agent;
			enum conf_s3_sse sse;
			char *sse_kms_key, *sse_kms_context;
			char *storage_class;
			bool request_payer;
			char *expected_owner, *tags;
			enum conf_s3_checksums checksums;
			bool dual_stack, fips, accelerate;
			int64_t small_blob, part_size; /* bytes */
			unsigned upload_concurrency;
			int64_t read_memory; /* bytes */
			unsigned connections;
			bool http2;
			int64_t connect_timeout, first_byte_timeout, stall_timeout, request_timeout; /* ns */
			unsigned max_attempts;
		} s3;
	} remote;

	bool given[CONF_KEYS_MAX]; /* conf's own: which keys a source has set, in the table's order */
	char **files;              /* what was read, in order */
	size_t n_files;
};

struct conf_override {
	const char *key;    /* "grpc.address"; must exist */
	const char *value;  /* as the environment would have it */
	const char *origin; /* for errors: "--address" */
};

struct conf_sources {
	const char *file;         /* named by the user, must exist; NULL: by $STOWAGE_CONFIG, or nowhere */
	const char *default_file; /* where none was named; may be missing. NULL: none */
	const char *const *environment; /* as environ(7); NULL: none */
	const struct conf_override *overrides;
	size_t n_overrides;
};

/* What is wrong with a configuration: complete lines for people, without newlines, such as
 *   /etc/stowage/config.toml:7: grpc.mode: "0999" is not a file mode, expected an octal string ... */
enum { CONF_ERRORS_MAX = 20, CONF_ERROR_LINE = 512 };
struct conf_errors {
	size_t n;        /* lines in use */
	size_t left_off; /* errors beyond them */
	char line[CONF_ERRORS_MAX][CONF_ERROR_LINE];
};

/* 0, or -1 with all errors of all sources in *ret_errors, one at least. The result is the caller's. */
int conf_load(const struct conf_sources *src, struct conf **ret_conf, struct conf_errors *ret_errors);
void conf_free(struct conf *c); /* NULL is a no-op */
void conf_freep(struct conf **c);

/* The configuration as a file that gives the same when read, but for secrets: a comment stands where
 * one is set. The caller frees the text. */
char *conf_dump(const struct conf *c);
/* The same for the defaults, with every key explained. */
char *conf_default_text(void);

#endif
