#include "content/behind.h"

#include <string.h>

bool sending_record_ok(const char *record)
{
	const char *dash = strchr(record, '-');
	struct stow_err ignored;
	enum digest_alg alg;
	struct digest d;

	if (dash == NULL)
		return stage_name_ok(record);
	alg = digest_alg_find(record, (size_t)(dash - record));
	return alg != DIGEST_NONE && digest_parse_hex(&d, alg, dash + 1, strlen(dash + 1), &ignored) == 0;
}

bool note_name_ok(const char *name)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/";
	size_t n = strlen(name);

	return n > 0 && n <= NOTE_NAME_MAX && strspn(name, fit) == n && name[0] != '/' && name[0] != '.' &&
	       name[n - 1] != '/' && strstr(name, "//") == NULL && strstr(name, "/.") == NULL;
}
