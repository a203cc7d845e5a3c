#include "tests/unit/conf_env.h"

#include "content/base/mem.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

char conf_env_dir[] = "/tmp/stowage-test-conf-XXXXXX";

int conf_env_setup(void **state)
{
	(void)state;
	memcpy(conf_env_dir + sizeof(conf_env_dir) - 7, "XXXXXX", 6);
	return mkdtemp(conf_env_dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED)
{
	return remove(path);
}

int conf_env_teardown(void **state)
{
	(void)state;
	return nftw(conf_env_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void conf_env_put_bytes(const char *name, const char *text, size_t n)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", conf_env_dir, name);
	char *slash = strrchr(path, '/');
	*slash = 0;
	(void)mkdir(path, 0700);
	*slash = '/';
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

void conf_env_put(const char *name, const char *text)
{
	conf_env_put_bytes(name, text, strlen(text));
}

const char *conf_env_file(void)
{
	static char path[64];
	snprintf(path, sizeof(path), "%s/config.toml", conf_env_dir);
	return path;
}

struct conf *conf_env_load(const struct conf_sources *src)
{
	struct conf_errors errors;
	struct conf *c = NULL;
	if (conf_load(src, &c, &errors) < 0)
		fail_msg("%s", errors.line[0]);
	return c;
}

void conf_env_refuse(const struct conf_sources *src, struct conf_errors *ret_errors)
{
	struct conf *c = NULL;
	assert_int_equal(conf_load(src, &c, ret_errors), -1);
	assert_null(c);
	assert_true(ret_errors->n > 0);
}

void conf_env_expect(const struct conf_errors *errors, const char *const *lines, size_t n)
{
	for (size_t i = 0; i < n && i < errors->n; i++) {
		const char *line = errors->line[i];
		if (strncmp(line, conf_env_dir, strlen(conf_env_dir)) == 0)
			line += strlen(conf_env_dir) + 1;
		assert_string_equal(line, lines[i]);
	}
	assert_int_equal(errors->n, n);
}

void conf_env_expect_error(const char *text, const char *line)
{
	const struct conf_sources src = { .file = conf_env_file() };
	struct conf_errors errors;
	conf_env_put("config.toml", text);
	conf_env_refuse(&src, &errors);
	conf_env_expect(&errors, &line, 1);
}
