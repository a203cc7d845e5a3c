/* Credentials that are simply there: in the configuration, in files that it names, in the environment. */
#include "backends/s3/creds_internal.h"
#include "backends/s3/file.h"
#include "content/base/mem.h"

/* A part is given, or stands in a file that is read at each fetch. */
struct part {
	char *text; /* NULL: in the file */
	char *file;
};

struct known {
	struct creds_provider base;
	struct part access_key, secret_key, session_token;
};

static int read_part(const struct part *p, char **ret_text, struct stow_err *err)
{
	if (!p->file) {
		*ret_text = x_strdup(p->text);
		return 0;
	}
	return file_read_word(p->file, ret_text, err);
}

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct known *k = CONTAINER_OF(p, struct known, base);
	CLEANUP(creds_value_free) struct creds_value v = { 0 };

	if (read_part(&k->access_key, &v.access_key, err) < 0 ||
	    read_part(&k->secret_key, &v.secret_key, err) < 0 ||
	    read_part(&k->session_token, &v.session_token, err) < 0 ||
	    creds_value_check(&v, p->name, err) < 0)
		return -1;
	*ret_v = v;
	v = (struct creds_value){ 0 };
	return 0;
}

static void part_free(struct part *p)
{
	if (p->text)
		explicit_bzero(p->text, strlen(p->text));
	free(p->text);
	free(p->file);
}

static void known_free(struct creds_provider *p)
{
	struct known *k = CONTAINER_OF(p, struct known, base);
	part_free(&k->access_key);
	part_free(&k->secret_key);
	part_free(&k->session_token);
	free(k);
}

/* `text`, or what is in `file`, unless that is "". */
static struct part part(const char *text, const char *file)
{
	if (*file)
		return (struct part){ .file = x_strdup(file) };
	return (struct part){ .text = x_strdup(text) };
}

static struct creds_provider *known_new(const char *name, struct part access_key, struct part secret_key,
					struct part session_token)
{
	struct known *k = x_calloc(1, sizeof(*k));
	bool in_files = access_key.file || secret_key.file || session_token.file;
	*k = (struct known){
		.base = { .name = name,
			  .instant = true,
			  .reread_ns = in_files ? CREDS_REREAD_NS : 0,
			  .fetch = fetch,
			  .free = known_free },
		.access_key = access_key,
		.secret_key = secret_key,
		.session_token = session_token,
	};
	return &k->base;
}

struct creds_provider *creds_static_new(const char *name, const char *access_key, const char *secret_key,
					const char *session_token)
{
	return known_new(name, part(access_key, ""), part(secret_key, ""),
			 part(session_token ? session_token : "", ""));
}

CREDS_FIND(creds_find_configured)
{
	bool has_access = *o->access_key || *o->access_key_file;
	bool has_secret = *o->secret_key || *o->secret_key_file;

	if (*o->profile)
		return creds_find_profile(cx, o, ret_p, why, err);
	if (!has_access && !has_secret) {
		snprintf(why, CREDS_WHY_MAX, "neither access_key nor profile is set");
		return 0;
	}
	if (!has_access || !has_secret)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is set, and %s is not",
				 has_access ? "access_key" : "secret_key",
				 has_access ? "secret_key" : "access_key");
	*ret_p = known_new("configuration", part(o->access_key, o->access_key_file),
			   part(o->secret_key, o->secret_key_file),
			   part(o->session_token, o->session_token_file));
	(*ret_p)->detail = *o->secret_key_file ? x_asprintf("secret key in %s", o->secret_key_file)
					       : x_strdup("remote.s3.access_key");
	return 0;
}

CREDS_FIND(creds_find_environment)
{
	const char *access = creds_variable(cx, "AWS_ACCESS_KEY_ID");
	const char *secret = creds_variable(cx, "AWS_SECRET_ACCESS_KEY");

	(void)o;
	if (!access && !secret) {
		snprintf(why, CREDS_WHY_MAX, "AWS_ACCESS_KEY_ID is not set");
		return 0;
	}
	if (!access || !secret)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "%s is set, and %s is not",
				 access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
				 access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	*ret_p = creds_static_new("environment", access, secret, creds_variable(cx, "AWS_SESSION_TOKEN"));
	(*ret_p)->detail = x_strdup("AWS_ACCESS_KEY_ID");
	return 0;
}
