#include "tests/unit/creds_env.h"

#include "content/base/mem.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

enum { VARIABLES_MAX = 32 };

static char dir[] = "/tmp/stowage-test-creds-XXXXXX";
static char *variables[VARIABLES_MAX];

int creds_env_setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	creds_env_set("PATH=/usr/bin:/bin");
	creds_env_set("HOME=%s", dir);
	return 0;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED)
{
	return remove(path);
}

int creds_env_teardown(void **state)
{
	(void)state;
	for (size_t i = 0; variables[i]; i++) {
		free(variables[i]);
		variables[i] = NULL;
	}
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void creds_env_path(const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", dir, name);
}

void creds_env_put(const char *name, const char *text)
{
	char path[512];
	creds_env_path(name, path, sizeof(path));
	char *slash = strrchr(path, '/');
	*slash = 0;
	(void)mkdir(path, 0700);
	*slash = '/';
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

void creds_env_set(const char *fmt, ...)
{
	char *text = NULL;
	size_t i = 0;
	va_list ap;
	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) > 0);
	va_end(ap);
	while (variables[i] && strncmp(variables[i], text, strcspn(text, "=") + 1) != 0)
		i++;
	assert_true(i < VARIABLES_MAX - 1);
	free(variables[i]);
	variables[i] = text;
}

const char *const *creds_env_variables(void)
{
	return (const char *const *)variables;
}

struct s3_options creds_env_options(void)
{
	return (struct s3_options){
		.endpoint = "",
		.region = "",
		.bucket = "",
		.prefix = "",
		.credentials = { .access_key = "",
				 .secret_key = "",
				 .session_token = "",
				 .access_key_file = "",
				 .secret_key_file = "",
				 .session_token_file = "",
				 .profile = "",
				 .environment = creds_env_variables() },
		.ca_file = "",
		.proxy = "",
		.user_agent = "",
		.sse_kms_key = "",
		.sse_kms_context = "",
		.storage_class = "",
		.expected_owner = "",
		.tags = "",
	};
}
