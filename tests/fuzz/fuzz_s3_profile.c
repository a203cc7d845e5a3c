/* A file of profiles: every key shown has a section and a name, and what is refused says why without
 * showing the text. */
#include "backends/s3/ini.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

static int check_key(void *arg, const char *section, const char *key, const char *value, struct stow_err *err)
{
	size_t *bytes = arg;
	(void)err;
	assert(!strchr(section, '\n') && !strchr(key, '\n') && !strchr(value, '\n'));
	for (const char *p = key; *p; p++)
		assert(*p < 'A' || *p > 'Z');
	*bytes += strlen(key) + strlen(value);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct stow_err err;
	size_t bytes = 0;

	if (ini_read((const char *)data, n, check_key, &bytes, &err) < 0)
		assert(strncmp(err.msg, "line ", 5) == 0);
	assert(bytes <= n);
	return 0;
}
