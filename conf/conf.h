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
 * Each [[source]] of any of these files adds to the list; they cannot be set elsewhere, and AWS's variables
 * are not for them. Messages count them from 1: source[1].path.
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
/* Where the bytes are: here and in the remote, or in the remote only. */
enum conf_remote_mode { CONF_MODE_TIERED, CONF_MODE_DIRECT };
enum conf_owner { CONF_OWNER_SHARED, CONF_OWNER_EXCLUSIVE };

/* These three have the numbers of backends/s3/s3_options.h, which conf/ may not see; cmd/ asserts it. */
enum conf_s3_addressing { CONF_S3_ADDRESSING_AUTO, CONF_S3_ADDRESSING_PATH, CONF_S3_ADDRESSING_VIRTUAL };
enum conf_s3_checksums { CONF_S3_CHECKSUMS_WHEN_REQUIRED, CONF_S3_CHECKSUMS_WHEN_SUPPORTED };
enum conf_s3_sse { CONF_S3_SSE_BUCKET, CONF_S3_SSE_S3, CONF_S3_SSE_KMS, CONF_S3_SSE_KMS_DSSE };

enum conf_source_type { CONF_SOURCE_DIR, CONF_SOURCE_S3 };
enum conf_layout { CONF_LAYOUT_REGISTRY, CONF_LAYOUT_STOWAGE };

enum { CONF_KEYS_MAX = 80, CONF_SOURCES_MAX = 8 };

/* A number of bytes, or a share of the file system; both 0: none. */
struct conf_share {
	int64_t bytes;
	unsigned percent; /* where it is not 0, bytes is */
};

/* Of commit_wait: for as long as it takes. */
#define CONF_WAIT_ALWAYS INT64_MAX

/* Names as in the file, here and below. Strings are owned and never NULL. */
struct conf_s3 {
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
};

/* A place to read blobs from; not one of struct conf_sources, where the configuration itself comes from. What
 * its type has no use for is as by default. */
struct conf_source {
	enum conf_source_type type;
	enum conf_layout layout;
	char *path; /* absolute, or "" */
	struct conf_s3 s3;

	char *origin;              /* where it begins, for errors: "/etc/stowage/config.toml:7" */
	bool given[CONF_KEYS_MAX]; /* as that of struct conf */
};

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
		struct conf_share max_size, min_free;
	} local;
	struct {
		enum conf_remote_type type;
		enum conf_remote_mode mode;
		int64_t commit_wait;  /* ns, or CONF_WAIT_ALWAYS */
		int64_t info_timeout; /* ns */
		enum conf_owner owner;
		unsigned uploads;
		int64_t upload_bandwidth; /* bytes a second; 0: no limit */
		unsigned prefetch;
		int64_t claim_interval, claim_grace; /* ns */
		int64_t recheck_every;               /* ns; 0: never */
		struct conf_s3 s3;
	} remote;
	struct conf_source *sources; /* in the order in which they are asked */
	size_t n_sources;

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

/* Whether local bytes stand in front of others, which the keys of the fleet are for. */
bool conf_is_tiered(const struct conf *c);

/* The configuration as a file that gives the same when read, but for secrets: a comment stands where
 * one is set. The caller frees the text. */
char *conf_dump(const struct conf *c);
/* The same for the defaults, with every key explained. */
char *conf_default_text(void);

#endif
