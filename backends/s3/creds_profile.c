/* Credentials by a profile of the shared files. */
#include "backends/s3/creds_internal.h"
#include "content/base/mem.h"

/* Ways to credentials that AWS's own tools know and we do not. Whoever has set them up means them: going
 * on to something else would be another identity. */
static const char *const foreign_keys[] = { "source_profile", "credential_source", "sso_session",
					    "sso_start_url",  "login_session",     "mfa_serial" };

static const char *foreign_key(const struct aws_profile *profile)
{
	for (size_t i = 0; i < ARRAY_LEN(foreign_keys); i++)
		if (aws_profile_get(profile, foreign_keys[i]))
			return foreign_keys[i];
	return NULL;
}

/* The files are read again at each fetch: somebody may have put new keys there. */
struct from_profile {
	struct creds_provider base;
	char *profile;
};

/* All from one file, as AWS's tools do it: a token that a profile has in the other one is of other keys. */
static int take_keys(const struct aws_profile *profile, struct creds_value *ret_v, struct stow_err *err)
{
	const char *access = aws_profile_get(profile, "aws_access_key_id");
	const char *secret = aws_profile_get_beside(profile, "aws_secret_access_key", "aws_access_key_id");
	const char *token = aws_profile_get_beside(profile, "aws_session_token", "aws_access_key_id");
	CLEANUP(creds_value_free)
	struct creds_value v = { .access_key = x_strdup(access ? access : ""),
				 .secret_key = x_strdup(secret ? secret : ""),
				 .session_token = x_strdup(token ? token : "") };

	if (creds_value_check(&v, "the profile", err) < 0)
		return stow_wrap(err, "profile %s in %s", profile->name, profile->origin);
	*ret_v = v;
	v = (struct creds_value){ 0 };
	return 0;
}

static int fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct from_profile *f = CONTAINER_OF(p, struct from_profile, base);
	CLEANUP(aws_profile_free) struct aws_profile profile = { 0 };

	if (aws_profile_read(p->cx->environment, f->profile, &profile, err) < 0)
		return -1;
	return take_keys(&profile, ret_v, err);
}

static void from_profile_free(struct creds_provider *p)
{
	struct from_profile *f = CONTAINER_OF(p, struct from_profile, base);
	free(f->profile);
	free(f);
}

static struct creds_provider *from_profile_new(const char *profile)
{
	struct from_profile *f = x_calloc(1, sizeof(*f));
	f->base = (struct creds_provider){ .name = "profile",
					   .instant = true,
					   .reread_ns = CREDS_REREAD_NS,
					   .fetch = fetch,
					   .free = from_profile_free };
	f->profile = x_strdup(profile);
	return &f->base;
}

/* A role that is assumed with the token in a file. */
static int find_role(const struct aws_profile *profile, const char *role, struct creds_provider **ret_p,
		     struct stow_err *err)
{
	const char *file = aws_profile_get(profile, "web_identity_token_file");
	if (!role || !file)
		return stow_fail(err, STOW_FAILED_PRECONDITION, "profile %s in %s has %s and no %s",
				 profile->name, profile->origin,
				 role ? "role_arn" : "web_identity_token_file",
				 role ? "web_identity_token_file" : "role_arn");
	*ret_p = creds_sts_new("profile", role, file, aws_profile_get(profile, "role_session_name"));
	return 0;
}

/* What a profile has, the strongest first: the order of AWS's own tools. NULL in *ret_p: nothing. */
static int find_in(const struct creds_context *cx, const struct aws_profile *profile,
		   struct creds_provider **ret_p, struct stow_err *err)
{
	const char *role = aws_profile_get(profile, "role_arn");
	const char *foreign = foreign_key(profile);
	const char *process = aws_profile_get(profile, "credential_process");

	if (foreign)
		return stow_fail(
			err, STOW_UNIMPLEMENTED,
			"profile %s in %s has %s, which Stowage does not know; a profile with "
			"credential_process = aws configure export-credentials --profile %s --format "
			"process does the same",
			profile->name, profile->origin, foreign, profile->name);
	if (role || aws_profile_get(profile, "web_identity_token_file"))
		return find_role(profile, role, ret_p, err);
	if (aws_profile_get(profile, "aws_access_key_id") ||
	    aws_profile_get(profile, "aws_secret_access_key")) {
		CLEANUP(creds_value_free) struct creds_value v = { 0 };
		if (take_keys(profile, &v, err) < 0 && !cx->files_may_come)
			return -1;
		*ret_p = from_profile_new(profile->name);
	} else if (process) {
		*ret_p = creds_process_new(process);
	}
	return 0;
}

static int fail_absent(bool configured, const struct aws_profile *profile, struct stow_err *err)
{
	return stow_fail(err, STOW_FAILED_PRECONDITION, "%s names the profile %s, and %s in %s",
			 configured ? "the configuration" : "AWS_PROFILE", profile->name,
			 profile->found ? "it has no credentials" : "there is no such profile",
			 *profile->origin ? profile->origin : "no file: there is no home directory");
}

/* What a profile that is named has; or it is not there, or has nothing. */
static int find_named(const struct creds_context *cx, const char *name, struct creds_provider **ret_p,
		      struct stow_err *err)
{
	CLEANUP(aws_profile_free) struct aws_profile profile = { 0 };

	if (aws_profile_read(cx->environment, name, &profile, err) < 0 ||
	    find_in(cx, &profile, ret_p, err) < 0)
		return -1;
	return *ret_p ? 0 : fail_absent(*name, &profile, err);
}

/* A profile that is to come: what it has is known then, and does not change any more. */
struct awaited {
	struct creds_provider base;
	char *profile;              /* "": $AWS_PROFILE's */
	struct creds_provider *way; /* NULL: it has not come */
};

static int awaited_fetch(struct creds_provider *p, struct creds_value *ret_v, struct stow_err *err)
{
	struct awaited *a = CONTAINER_OF(p, struct awaited, base);

	if (!a->way) {
		if (find_named(p->cx, a->profile, &a->way, err) < 0)
			return -1;
		a->way->cx = p->cx;
		p->instant = a->way->instant;
		p->reread_ns = a->way->reread_ns;
	}
	return a->way->fetch(a->way, ret_v, err);
}

static void awaited_free(struct creds_provider *p)
{
	struct awaited *a = CONTAINER_OF(p, struct awaited, base);
	creds_provider_free(a->way);
	free(a->profile);
	free(a);
}

static struct creds_provider *awaited_new(const char *configured, const char *name)
{
	struct awaited *a = x_calloc(1, sizeof(*a));
	a->base = (struct creds_provider){ .name = "profile",
					   .instant = true,
					   .reread_ns = CREDS_REREAD_NS,
					   .fetch = awaited_fetch,
					   .free = awaited_free };
	a->profile = x_strdup(configured);
	a->base.detail = x_asprintf("profile %s, which was not there at the start", name);
	return &a->base;
}

CREDS_FIND(creds_find_profile)
{
	CLEANUP(aws_profile_free) struct aws_profile profile = { 0 };
	const char *variable = creds_variable(cx, "AWS_PROFILE");
	bool named = *o->profile || variable;
	struct creds_provider *found = NULL;

	if (aws_profile_read(cx->environment, o->profile, &profile, err) < 0) {
		if (!named || !cx->files_may_come)
			return -1;
		*ret_p = awaited_new(o->profile, *o->profile ? o->profile : variable);
		return 0;
	}
	if (find_in(cx, &profile, &found, err) < 0)
		return -1;
	if (!found && named && cx->files_may_come) {
		*ret_p = awaited_new(o->profile, profile.name);
		return 0;
	}
	if (!found && named)
		return fail_absent(*o->profile, &profile, err);
	if (!found) {
		snprintf(why, CREDS_WHY_MAX, "no credentials for the profile %s in %s", profile.name,
			 *profile.origin ? profile.origin : "no file: there is no home directory");
		return 0;
	}
	CLEANUP(freep) char *way = TAKE(found->detail);
	found->detail = x_asprintf("profile %s in %s%s%s", profile.name, profile.origin, way ? ", " : "",
				   way ? way : "");
	*ret_p = found;
	return 0;
}
