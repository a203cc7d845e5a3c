/* Every key there is. A new one is a field in conf.h and a line here: reading, checking, the
 * environment, dump, the example file and the errors follow from it. */
#include "conf/conf_internal.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

#include <ctype.h>

#define FIELD(f) offsetof(struct conf, f)
#define MIB INT64_C(1048576)
#define SEC NSEC_PER_SEC

const struct conf_section conf_sections[] = {
	{ "grpc", "The socket that containerd connects to." },
	{ "workers", "The threads that wait for disks." },
	{ "log", "What is written to standard error." },
	{ "local", "The directory that keeps the bytes." },
};
const size_t conf_n_sections = ARRAY_LEN(conf_sections);

const struct conf_key conf_keys[] = {
	{ .name = "version",
	  .kind = &conf_kind_count,
	  .offset = FIELD(version),
	  .min = 1,
	  .max = 1,
	  .preset = "1",
	  .help = "The version of this file's form. There is one so far.",
	  .files_only = true },
	{ .name = "root",
	  .kind = &conf_kind_path,
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
	  .kind = &conf_kind_address,
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
	  .kind = &conf_kind_level,
	  .offset = FIELD(log.level),
	  .preset = "info",
	  .help = "trace, debug, info, warn or error." },
	{ .name = "log.format",
	  .kind = &conf_kind_format,
	  .offset = FIELD(log.format),
	  .preset = "text",
	  .help = "text (logfmt, as containerd writes it) or json." },

	{ .name = "local.path",
	  .kind = &conf_kind_path_any,
	  .offset = FIELD(local.path),
	  .preset = "",
	  .help = "blobs/ and ingest/ are made below it. An absolute path; empty for the root." },
};
const size_t conf_n_keys = ARRAY_LEN(conf_keys);

static void *field_of(const struct conf_key *k, struct conf *c)
{
	return (char *)c + k->offset;
}

const struct conf_key *conf_key_find(const char *name)
{
	for (size_t i = 0; i < conf_n_keys; i++)
		if (strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	return NULL;
}

const struct conf_section *conf_section_find(const char *name)
{
	for (size_t i = 0; i < conf_n_sections; i++)
		if (strcmp(conf_sections[i].name, name) == 0)
			return &conf_sections[i];
	return NULL;
}

const struct conf_section *conf_section_of(const char *name)
{
	const struct conf_section *longest = NULL;
	for (size_t i = 0; i < conf_n_sections; i++) {
		const struct conf_section *section = &conf_sections[i];
		size_t n = strlen(section->name);
		if (strncmp(section->name, name, n) == 0 && name[n] == '.' &&
		    (!longest || n > strlen(longest->name)))
			longest = section;
	}
	return longest;
}

const char *conf_leaf(const char *name)
{
	const struct conf_section *section = conf_section_of(name);
	return section ? name + strlen(section->name) + 1 : name;
}

int conf_key_set(const struct conf_key *k, struct conf *c, struct conf_value v, struct stow_err *err)
{
	return k->kind->set(k, field_of(k, c), v, err);
}

void conf_key_variable(const struct conf_key *k, char out[CONF_VARIABLE_MAX])
{
	int n = snprintf(out, CONF_VARIABLE_MAX, CONF_VARIABLE_PREFIX "%s", k->name);
	assert(n < CONF_VARIABLE_MAX);
	for (char *p = out; *p; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

struct conf *conf_new(void)
{
	struct conf *c = x_calloc(1, sizeof(*c));
	for (size_t i = 0; i < conf_n_keys; i++) {
		struct stow_err err;
		int r = conf_key_set(&conf_keys[i], c, (struct conf_value){ .text = conf_keys[i].preset },
				     &err);
		assert(r == 0);
	}
	return c;
}

void conf_complete(struct conf *c)
{
	if (*c->local.path)
		return;
	free(c->local.path);
	c->local.path = x_strdup(c->root);
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < conf_n_keys; i++)
		if (conf_keys[i].kind->release)
			conf_keys[i].kind->release(field_of(&conf_keys[i], c));
	for (size_t i = 0; i < c->n_files; i++)
		free(c->files[i]);
	free(c->files);
	free(c);
}

void conf_freep(struct conf **c)
{
	conf_free(*c);
}
