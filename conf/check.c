/* What is wrong with a configuration: how it is said, and what only the keys together can show. */
#include "conf/conf_internal.h"
#include "conf/parse.h"
#include "content/base/mem.h"

#include <arpa/inet.h>
#include <stdarg.h>

void conf_add_error(struct conf_errors *errors, const char *fmt, ...)
{
	va_list ap;
	if (errors->n == CONF_ERRORS_MAX) {
		errors->left_off++;
		return;
	}
	char *line = errors->line[errors->n++];
	va_start(ap, fmt);
	int n = vsnprintf(line, CONF_ERROR_LINE, fmt, ap);
	va_end(ap);
	if (n >= CONF_ERROR_LINE)
		memcpy(line + CONF_ERROR_LINE - 4, "...", 4);
	/* Names of files and of keys may hold anything; a line stays a line. */
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

/* --- a bucket; `where` is the place of its keys: "remote.s3" --- */

/* A key stands here or in a file, and half of a pair is none. */
static void check_credentials(const struct conf_s3 *s, const char *where, struct conf_errors *errors)
{
	const struct {
		const char *name, *here, *file;
	} parts[] = {
		{ "access_key", s->access_key, s->access_key_file },
		{ "secret_key", s->secret_key, s->secret_key_file },
		{ "session_token", s->session_token, s->session_token_file },
	};
	bool is_set[ARRAY_LEN(parts)];

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		is_set[i] = *parts[i].here || *parts[i].file;
		if (*parts[i].here && *parts[i].file)
			conf_add_error(errors, "%s.%s: there is also %s_file, expected one of them", where,
				       parts[i].name, parts[i].name);
	}
	if (is_set[0] != is_set[1])
		conf_add_error(errors, "%s.%s: is set, and %s is not: both or none", where,
			       parts[is_set[1]].name, parts[is_set[0]].name);
	else if (is_set[2] && !is_set[0])
		conf_add_error(errors, "%s.session_token: belongs to an access_key, and there is none",
			       where);
	if (*s->profile && (is_set[0] || is_set[1]))
		conf_add_error(errors, "%s.profile: there are keys too, expected one or the other", where);
}

static void check_encryption(const struct conf_s3 *s, const char *where, struct conf_errors *errors)
{
	bool kms = s->sse == CONF_S3_SSE_KMS || s->sse == CONF_S3_SSE_KMS_DSSE;
	const char *sse = conf_choice_sse.names[s->sse];

	if (*s->sse_kms_key && !kms)
		conf_add_error(errors, "%s.sse_kms_key: needs sse = \"aws:kms\", and sse is \"%s\"", where,
			       sse);
	if (*s->sse_kms_context && !kms)
		conf_add_error(errors, "%s.sse_kms_context: needs sse = \"aws:kms\", and sse is \"%s\"",
			       where, sse);
}

/* Whether an endpoint's host is an address, before which no bucket's name can stand. */
static bool is_address(const char *endpoint)
{
	const char *host = strstr(endpoint, "://") + 3;
	char text[INET_ADDRSTRLEN];
	struct in_addr address;
	size_t n = strcspn(host, ":");

	if (*host == '[')
		return true;
	if (n >= sizeof(text))
		return false;
	memcpy(text, host, n);
	text[n] = 0;
	return inet_pton(AF_INET, text, &address) == 1;
}

static void check_endpoint(const struct conf_s3 *s, const char *where, struct conf_errors *errors)
{
	const struct {
		const char *name;
		bool on;
	} kinds[] = {
		{ "dual_stack", s->dual_stack },
		{ "fips", s->fips },
		{ "accelerate", s->accelerate },
	};
	const char *endpoint = s->endpoint;

	for (size_t i = 0; i < ARRAY_LEN(kinds) && *endpoint; i++)
		if (kinds[i].on)
			conf_add_error(errors,
				       "%s.%s: is for AWS's own endpoints, and there is an endpoint, %s",
				       where, kinds[i].name, endpoint);
	if (*endpoint && s->addressing == CONF_S3_ADDRESSING_VIRTUAL && is_address(endpoint))
		conf_add_error(errors,
			       "%s.addressing: virtual puts the bucket before the endpoint's name, "
			       "and %s has an address",
			       where, endpoint);
	if (!s->accelerate)
		return;
	if (s->fips)
		conf_add_error(errors, "%s.accelerate: AWS has no such endpoints with fips", where);
	if (s->addressing == CONF_S3_ADDRESSING_PATH)
		conf_add_error(errors, "%s.accelerate: needs virtual addressing", where);
	if (strchr(s->bucket, '.'))
		conf_add_error(errors, "%s.accelerate: needs a bucket without dots in its name", where);
}

static void check_bucket(const struct conf_s3 *s, const char *where, struct conf_errors *errors)
{
	check_credentials(s, where, errors);
	check_encryption(s, where, errors);
	check_endpoint(s, where, errors);
}

/* --- the fleet --- */

/* Keys that nothing would look at. Not that they are given counts, but that they differ from the default: a
 * file that was begun from the default text, and a dump, give all of them. */
static void check_tiered_keys(const struct conf *c, struct conf_errors *errors)
{
	CLEANUP(conf_freep) struct conf *preset = conf_new();
	const struct conf_table *t = &conf_table_main;
	bool local = c->remote.type == CONF_REMOTE_NONE;

	for (size_t i = 0; i < t->n_keys; i++) {
		const struct conf_key *k = &t->keys[i];
		/* What [remote] says does not matter as long as there is none. */
		if (!k->tiered || (local && conf_section_of(t, k->name) == conf_section_find(t, "remote")))
			continue;
		CLEANUP(freep) char *expected = conf_key_text(k, preset), *found = conf_key_text(k, c);
		if (strcmp(expected, found) == 0)
			continue;
		if (local)
			conf_add_error(
				errors,
				"%s: is for bytes that are also elsewhere, and there is neither a remote "
				"nor a source",
				k->name);
		else
			conf_add_error(errors,
				       "%s: is for remote.mode = \"tiered\", and remote.mode is \"%s\"",
				       k->name, conf_choice_mode.names[c->remote.mode]);
	}
}

/* A node that claims less often than that would be taken for gone while it lives. */
static void check_claims(const struct conf *c, struct conf_errors *errors)
{
	char interval[CONF_TEXT_MAX], grace[CONF_TEXT_MAX];

	/* A node tells once an interval, and takes itself for forgotten before its grace is over. */
	if (c->remote.claim_grace / 2 >= c->remote.claim_interval)
		return;
	conf_format_duration(c->remote.claim_interval, interval);
	conf_format_duration(c->remote.claim_grace, grace);
	conf_add_error(
		errors,
		"remote.claim_grace: %s is out of range, expected at least twice remote.claim_interval, "
		"%s",
		grace, interval);
}

/* --- sources --- */

static void check_source(const struct conf_source *s, const char *where, struct conf_errors *errors)
{
	const struct conf_table *t = &conf_table_source;
	const char *const *types = conf_choice_source.names;
	bool is_s3 = s->type == CONF_SOURCE_S3;

	if (!conf_key_given(t, conf_key_find(t, "type"), s)) {
		conf_add_error(errors, "%s.type: is not set, expected %s or %s", where,
			       types[CONF_SOURCE_DIR], types[CONF_SOURCE_S3]);
		return;
	}
	for (size_t i = 0; i < t->n_keys; i++)
		if (conf_key_given(t, &t->keys[i], s) && !t->has(s, &t->keys[i]))
			conf_add_error(errors, "%s.%s: is for type = \"%s\", and type is \"%s\"", where,
				       t->keys[i].name, types[is_s3 ? CONF_SOURCE_DIR : CONF_SOURCE_S3],
				       types[s->type]);
	if (!*(is_s3 ? s->s3.bucket : s->path))
		conf_add_error(errors, "%s.%s: is not set, and type = \"%s\" needs it", where,
			       is_s3 ? "s3.bucket" : "path", types[s->type]);
	if (is_s3) {
		CLEANUP(freep) char *bucket = x_asprintf("%s.s3", where);
		check_bucket(&s->s3, bucket, errors);
	}
}

static void check_sources(const struct conf *c, struct conf_errors *errors)
{
	if (c->n_sources > 0 && !conf_is_tiered(c))
		conf_add_error(errors,
			       "%s: source[1]: is for remote.mode = \"tiered\", and remote.mode is \"%s\"",
			       c->sources[0].origin, conf_choice_mode.names[c->remote.mode]);
	for (size_t i = 0; i < c->n_sources; i++) {
		CLEANUP(freep) char *where = x_asprintf("%s: source[%zu]", c->sources[i].origin, i + 1);
		check_source(&c->sources[i], where, errors);
	}
}

void conf_check(const struct conf *c, struct conf_errors *errors)
{
	if (!conf_is_tiered(c))
		check_tiered_keys(c, errors);
	check_sources(c, errors);
	if (c->remote.type == CONF_REMOTE_NONE) {
		/* Somebody who names a bucket does not want a store that is local only. */
		if (*c->remote.s3.bucket)
			conf_add_error(errors,
				       "remote.type: is not set, and remote.s3.bucket is: expected s3");
		return;
	}
	if (!*c->remote.s3.bucket)
		conf_add_error(errors, "remote.s3.bucket: is not set, and remote.type = \"s3\" needs it");
	check_bucket(&c->remote.s3, "remote.s3", errors);
	if (conf_is_tiered(c))
		check_claims(c, errors);
}
