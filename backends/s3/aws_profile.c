#include "backends/s3/aws_profile.h"

#include "backends/s3/file.h"
#include "backends/s3/ini.h"
#include "content/base/mem.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>

enum { FILE_MAX = 1024 * 1024 };

const char *aws_variable(const char *const *environment, const char *name)
{
	size_t n = strlen(name);
	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
			return (*environment)[n + 1] ? *environment + n + 1 : NULL;
	return NULL;
}

bool aws_variable_is_true(const char *const *environment, const char *name)
{
	const char *value = aws_variable(environment, name);
	return value && strcasecmp(value, "true") == 0;
}

/* --- one section of a file --- */

struct reader {
	struct aws_profile *profile;
	bool credentials; /* the file of that name; the other one calls its sections "profile x" */
};

/* Whether a section is the profile's. In the config file, "default" is the one that may do without
 * "profile" before it. */
static bool is_wanted(const struct reader *r, const char *section)
{
	static const char word[] = "profile";
	const char *name = r->profile->name, *p = section;
	size_t n;

	if (r->credentials || (strcmp(name, "default") == 0 && strcmp(section, name) == 0))
		return strcmp(section, name) == 0;
	if (strncmp(p, word, strlen(word)) != 0)
		return false;
	p += strlen(word);
	n = strspn(p, " \t");
	p += n;
	if (n == 0)
		return false;
	n = strlen(p);
	if (n >= 2 && (*p == '"' || *p == '\'') && p[n - 1] == *p) {
		p++;
		n -= 2;
	}
	return strlen(name) == n && memcmp(p, name, n) == 0;
}

/* Called back for each key of a file. The last of a key that stands twice wins. */
static int take_key(void *arg, const char *section, const char *key, const char *value, struct stow_err *err)
{
	const struct reader *r = arg;
	struct aws_profile *p = r->profile;
	size_t i = 0;

	if (!is_wanted(r, section))
		return 0;
	p->found = true;
	while (i < p->n &&
	       (p->keys[i].from_credentials != r->credentials || strcmp(p->keys[i].key, key) != 0))
		i++;
	if (i == AWS_PROFILE_KEYS_MAX)
		return stow_fail(err, STOW_RESOURCE_EXHAUSTED, "the profile has more than %d keys",
				 AWS_PROFILE_KEYS_MAX);
	if (i == p->n) {
		p->n++;
		p->keys[i].key = x_strdup(key);
		p->keys[i].from_credentials = r->credentials;
	}
	free(p->keys[i].value);
	p->keys[i].value = x_strdup(value);
	return 0;
}

/* --- files --- */

static char *home(const char *const *environment)
{
	const char *dir = aws_variable(environment, "HOME");
	struct passwd pw, *found = NULL;
	char text[4096];

	if (dir)
		return x_strdup(dir);
	if (getpwuid_r(geteuid(), &pw, text, sizeof(text), &found) == 0 && found)
		return x_strdup(found->pw_dir);
	return NULL;
}

/* Where a file is; NULL where there is no home. `variable` names it, or `preset` below home does. */
static char *locate(const char *const *environment, const char *variable, const char *preset, bool *ret_named)
{
	const char *path = aws_variable(environment, variable);
	CLEANUP(freep) char *dir = home(environment);

	*ret_named = path != NULL;
	if (path && strncmp(path, "~/", 2) == 0 && dir)
		return x_asprintf("%s/%s", dir, path + 2);
	if (path)
		return x_strdup(path);
	return dir ? x_asprintf("%s/%s", dir, preset) : NULL;
}

/* Whether a failure to read means that the file is not there: also where its directory is closed to us,
 * as systemd closes home directories, and nobody has named it. */
static bool is_absent(const char *path, const struct stow_err *err)
{
	struct stat st;
	return err->code == STOW_NOT_FOUND || (stat(path, &st) < 0 && (errno == EACCES || errno == ENOTDIR));
}

static int read_one(const char *const *environment, struct reader *r, const char *variable,
		    const char *preset, struct stow_err *err)
{
	struct aws_profile *p = r->profile;
	bool named;
	CLEANUP(freep) char *path = locate(environment, variable, preset, &named);
	CLEANUP(buf_free) struct buf text;

	buf_init(&text, FILE_MAX);
	if (!path)
		return 0;
	char *origin = *p->origin ? x_asprintf("%s and %s", p->origin, path) : x_strdup(path);
	free(p->origin);
	p->origin = origin;
	if (file_read(path, &text, err) < 0) {
		if (!named && is_absent(path, err))
			return 0;
		return named ? stow_wrap(err, "%s", variable) : -1;
	}
	if (text.len > 0 && ini_read((const char *)text.p, text.len, take_key, r, err) < 0)
		return stow_wrap(err, "%s", path);
	return 0;
}

int aws_profile_read(const char *const *environment, const char *name, struct aws_profile *ret_p,
		     struct stow_err *err)
{
	CLEANUP(aws_profile_free) struct aws_profile p = { 0 };
	const char *chosen = *name ? name : aws_variable(environment, "AWS_PROFILE");

	p.name = x_strdup(chosen ? chosen : "default");
	p.origin = x_strdup("");
	if (read_one(environment, &(struct reader){ &p, true }, "AWS_SHARED_CREDENTIALS_FILE",
		     ".aws/credentials", err) < 0 ||
	    read_one(environment, &(struct reader){ &p, false }, "AWS_CONFIG_FILE", ".aws/config", err) < 0)
		return -1;
	*ret_p = p;
	p = (struct aws_profile){ 0 };
	return 0;
}

void aws_profile_free(struct aws_profile *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->keys[i].key);
		free(p->keys[i].value);
	}
	free(p->name);
	free(p->origin);
	*p = (struct aws_profile){ 0 };
}

/* The place of a key that has a value; SIZE_MAX: there is none. */
static size_t find(const struct aws_profile *p, const char *key)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->keys[i].key, key) == 0 && *p->keys[i].value &&
		    (found == SIZE_MAX || p->keys[i].from_credentials))
			found = i;
	return found;
}

const char *aws_profile_get(const struct aws_profile *p, const char *key)
{
	size_t i = find(p, key);
	return i < p->n ? p->keys[i].value : NULL;
}

const char *aws_profile_get_beside(const struct aws_profile *p, const char *key, const char *beside)
{
	size_t at = find(p, beside);
	for (size_t i = 0; at < p->n && i < p->n; i++)
		if (strcmp(p->keys[i].key, key) == 0 && *p->keys[i].value &&
		    p->keys[i].from_credentials == p->keys[at].from_credentials)
			return p->keys[i].value;
	return NULL;
}
