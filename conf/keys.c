/* Every key there is. A new one is a field in conf.h and a line here: reading, checking, the
 * environment, dump, the example file and the errors follow from it. */
#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/clock.h"

#include <assert.h>

#define FIELD(f) offsetof(struct conf, f)
#define MIB INT64_C(1048576)
#define SEC NSEC_PER_SEC

static const struct conf_section sections[] = {
	{ .name = "grpc", .help = "The socket that containerd connects to." },
	{ .name = "workers", .help = "The threads that wait for disks." },
	{ .name = "log", .help = "What is written to standard error." },
	{ .name = "local", .help = "The directory that keeps the bytes." },
	{ .name = "remote", .help = "The place that a fleet shares." },
	{ .name = "remote.s3",
	  .help = "A bucket. Credentials: the keys below; else the environment (AWS_ACCESS_KEY_ID, "
		  "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the profile in ~/.aws, web identity, the "
		  "container's endpoint, the instance's metadata service. The first of them that is "
		  "configured is the one, and if it fails, none of the others is tried." },
	{ .name = "source",
	  .help = "A place to read blobs from that others fill, such as the storage of a registry; "
		  "nothing is written there. Up to 8, asked in the order in which they stand, after "
		  "the remote: each begins with [[source]], and those of conf.d come after those of "
		  "this file. For type = \"s3\", [source.s3] below it has the keys of [remote.s3]; "
		  "AWS's variables are not for these, but credentials are looked for in the same "
		  "places.",
	  .array = true },
};

static const struct conf_key keys[] = {
	{ .name = "version",
	  .kind = &conf_kind_count,
	  .offset = FIELD(version),
	  .min = 1,
	  .max = 1,
	  .preset = "1",
	  .help = "The version of this file's form. There is one so far.",
	  .files_only = true },
	{ .name = "root",
	  .kind = &conf_kind_text,
	  .parse = conf_parse_path,
	  .offset = FIELD(root),
	  .preset = "/var/lib/stowage",
	  .help = "The directory for the metadata, and for the bytes unless local.path says otherwise. "
		  "An absolute path." },
	{ .name = "stale_ingest_after",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(stale_ingest_after),
	  .min = SEC,
	  .max = 8760 * 3600 * SEC,
	  .preset = "24h",
	  .help = "An unfinished ingest that nobody has touched for this long is dropped with its bytes. "
		  "From 1s to 8760h." },

	{ .name = "grpc.address",
	  .kind = &conf_kind_text,
	  .parse = conf_parse_address,
	  .offset = FIELD(grpc.address),
	  .preset = "/run/stowage/stowage.sock",
	  .help = "An absolute path, with or without unix:// before it; or fd:// for the socket that "
		  "systemd hands over (see stowage.socket)." },
	{ .name = "grpc.mode",
	  .kind = &conf_kind_mode,
	  .offset = FIELD(grpc.mode),
	  .preset = "0660",
	  .help = "The socket's permissions, an octal string. Not applied to fd://." },
	{ .name = "grpc.uid",
	  .kind = &conf_kind_id,
	  .offset = FIELD(grpc.uid),
	  .preset = "-1",
	  .help = "The socket's owner, a number; -1 for the user that the daemon runs as. Not applied to "
		  "fd://." },
	{ .name = "grpc.gid",
	  .kind = &conf_kind_id,
	  .offset = FIELD(grpc.gid),
	  .preset = "-1",
	  .help = "The socket's group, in the same way." },
	{ .name = "grpc.max_message_size",
	  .kind = &conf_kind_size,
	  .offset = FIELD(grpc.max_message_size),
	  .min = MIB,
	  .max = INT32_MAX,
	  .preset = "64MiB",
	  .help = "Larger requests are refused. Clients of containerd send up to 16 MiB at once. "
		  "From 1MiB to 2147483647." },
	{ .name = "grpc.drain_timeout",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(grpc.drain_timeout),
	  .min = 0,
	  .max = 3600 * SEC,
	  .preset = "10s",
	  .help = "How long calls may go on after the daemon was told to stop. Up to 1h; the unit's "
		  "TimeoutStopSec must be longer." },
	{ .name = "grpc.threads",
	  .kind = &conf_kind_count,
	  .offset = FIELD(grpc.threads),
	  .min = 1,
	  .max = 256,
	  .preset = "1",
	  .help = "Threads that serve calls. One is the fastest for one client, however many calls it has "
		  "open: more than one wake each other. From 1 to 256." },
	{ .name = "grpc.busy_poll",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(grpc.busy_poll),
	  .min = 0,
	  .max = NSEC_PER_MSEC,
	  .preset = "100us",
	  .help = "How long such a thread looks for the next request before it sleeps. Requests that follow "
		  "one another are answered sooner; 0s saves the processor time. Up to 1ms." },

	{ .name = "workers.threads",
	  .kind = &conf_kind_count,
	  .offset = FIELD(workers.threads),
	  .min = 0,
	  .max = 1024,
	  .preset = "0",
	  .help = "0 to choose by the number of processors." },

	{ .name = "log.level",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_level,
	  .offset = FIELD(log.level),
	  .preset = "info",
	  .help = "trace, debug, info, warn or error." },
	{ .name = "log.format",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_format,
	  .offset = FIELD(log.format),
	  .preset = "text",
	  .help = "text (logfmt, as containerd writes it) or json." },

	{ .name = "local.path",
	  .kind = &conf_kind_text,
	  .parse = conf_parse_path,
	  .optional = true,
	  .offset = FIELD(local.path),
	  .preset = "",
	  .help = "blobs/ and ingest/ are made below it. An absolute path; empty for the root." },
	{ .name = "local.max_size",
	  .kind = &conf_kind_share,
	  .max = 100,
	  .offset = FIELD(local.max_size),
	  .preset = "0",
	  .tiered = true,
	  .help = "What blobs may take here, where the bytes stand in front of a remote or of sources: "
		  "a size, or a share of the file system such as \"20%\"; 0 for no limit. What has not "
		  "been read for the longest time goes first, and nothing goes that is nowhere else." },
	{ .name = "local.min_free",
	  .kind = &conf_kind_share,
	  .max = 90,
	  .offset = FIELD(local.min_free),
	  .preset = "5%",
	  .tiered = true,
	  .help = "The free space below which such blobs go, too, in the same forms, up to \"90%\"; 0 "
		  "for none." },

	{ .name = "remote.type",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_remote,
	  .offset = FIELD(remote.type),
	  .preset = "",
	  .help = "s3; or empty for a store that is local only." },
	{ .name = "remote.mode",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_mode,
	  .offset = FIELD(remote.mode),
	  .preset = "tiered",
	  .help = "tiered: local bytes stand in front of the remote. direct: the remote alone keeps "
		  "the bytes, and local.path has unfinished ingests only. The following keys are for "
		  "tiered." },
	{ .name = "remote.commit_wait",
	  .kind = &conf_kind_wait,
	  .offset = FIELD(remote.commit_wait),
	  .min = 0,
	  .max = 24 * 3600 * SEC,
	  .preset = "0s",
	  .tiered = true,
	  .help = "How long COMMIT waits for the blob to be in the remote; after that, the upload goes "
		  "on and COMMIT succeeds. always: it waits, and fails if the upload does. Up to 24h." },
	{ .name = "remote.info_timeout",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(remote.info_timeout),
	  .min = 10 * NSEC_PER_MSEC,
	  .max = 60 * SEC,
	  .preset = "500ms",
	  .tiered = true,
	  .help = "How long Info asks the remote and the sources for a blob that this node does not "
		  "have. From 10ms to 1m." },
	{ .name = "remote.owner",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_owner,
	  .offset = FIELD(remote.owner),
	  .preset = "shared",
	  .tiered = true,
	  .help = "shared: Delete leaves what is in the remote to the others, and to `stowage gc`. "
		  "exclusive: Delete removes it there, too; for a remote that nobody else uses." },
	{ .name = "remote.uploads",
	  .kind = &conf_kind_count,
	  .offset = FIELD(remote.uploads),
	  .min = 1,
	  .max = 64,
	  .preset = "2",
	  .tiered = true,
	  .help = "Blobs that are uploaded at the same time after their COMMIT. From 1 to 64." },
	{ .name = "remote.upload_bandwidth",
	  .kind = &conf_kind_size,
	  .offset = FIELD(remote.upload_bandwidth),
	  .min = 0,
	  .max = 1024 * 1024 * MIB,
	  .preset = "0",
	  .tiered = true,
	  .help = "Bytes a second for these uploads together; 0 for no limit. Up to 1TiB." },
	{ .name = "remote.prefetch",
	  .kind = &conf_kind_count,
	  .offset = FIELD(remote.prefetch),
	  .min = 0,
	  .max = 64,
	  .preset = "4",
	  .tiered = true,
	  .help = "Blobs that are brought here at the same time once Info has found them in the remote "
		  "or in a source; 0 to bring only what is read. Up to 64." },
	{ .name = "remote.claim_interval",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(remote.claim_interval),
	  .min = 100 * NSEC_PER_MSEC,
	  .max = 24 * 3600 * SEC,
	  .preset = "1m",
	  .tiered = true,
	  .help = "How often this node tells the fleet which blobs it has, where that has changed. "
		  "From 100ms to 24h." },
	{ .name = "remote.claim_grace",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(remote.claim_grace),
	  .min = SEC,
	  .max = 8760 * 3600 * SEC,
	  .preset = "168h",
	  .tiered = true,
	  .help = "A node that has not been heard of for this long is taken for gone by `stowage gc`, "
		  "and what only it has told of may be removed. At least twice claim_interval, from 1s to "
		  "8760h." },
	{ .name = "remote.recheck_every",
	  .kind = &conf_kind_duration,
	  .offset = FIELD(remote.recheck_every),
	  .min = 0,
	  .max = 8760 * 3600 * SEC,
	  .preset = "168h",
	  .tiered = true,
	  .help = "How often each blob is looked for again in the remote, where it may have vanished; "
		  "0s for never. Up to 8760h." },

#define S3_PATH "remote.s3."
#define S3_FIELD(f) FIELD(remote.s3.f)
#include "conf/keys_s3.inc"
#undef S3_PATH
#undef S3_FIELD
};
static_assert(ARRAY_LEN(keys) <= CONF_KEYS_MAX, "struct conf has a mark for each");

const struct conf_table conf_table_main = {
	.prefix = "",
	.keys = keys,
	.n_keys = ARRAY_LEN(keys),
	.sections = sections,
	.n_sections = ARRAY_LEN(sections),
	.given = FIELD(given),
};

#define SOURCE_FIELD(f) offsetof(struct conf_source, f)

static const struct conf_section source_sections[] = {
	{ .name = "s3", .help = "The bucket, for type = \"s3\"." },
};

static const struct conf_key source_keys[] = {
	{ .name = "type",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_source,
	  .offset = SOURCE_FIELD(type),
	  .preset = "dir",
	  .help = "dir (a directory) or s3 (a bucket). Must be set." },
	{ .name = "layout",
	  .kind = &conf_kind_choice,
	  .choice = &conf_choice_layout,
	  .offset = SOURCE_FIELD(layout),
	  .preset = "registry",
	  .help = "registry: as the distribution registry's storage drivers name blobs. stowage: as "
		  "Stowage does." },
	{ .name = "path",
	  .kind = &conf_kind_text,
	  .parse = conf_parse_path,
	  .optional = true,
	  .offset = SOURCE_FIELD(path),
	  .preset = "",
	  .help = "The directory, an absolute path: a registry's rootdirectory, or another store's "
		  "local.path. Needed for type = \"dir\"." },

#define S3_PATH "s3."
#define S3_FIELD(f) SOURCE_FIELD(s3.f)
#include "conf/keys_s3.inc"
#undef S3_PATH
#undef S3_FIELD
};
static_assert(ARRAY_LEN(source_keys) <= CONF_KEYS_MAX, "struct conf_source has a mark for each");

static bool source_has(const void *object, const struct conf_key *k)
{
	const struct conf_source *s = object;
	if (k->offset == SOURCE_FIELD(path))
		return s->type == CONF_SOURCE_DIR;
	return !conf_section_of(&conf_table_source, k->name) || s->type == CONF_SOURCE_S3;
}

const struct conf_table conf_table_source = {
	.prefix = "source.",
	.keys = source_keys,
	.n_keys = ARRAY_LEN(source_keys),
	.sections = source_sections,
	.n_sections = ARRAY_LEN(source_sections),
	.given = SOURCE_FIELD(given),
	.has = source_has,
};
