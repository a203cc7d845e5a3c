/* Values that describe a bucket (parse.h). */
#include "conf/parse.h"
#include "content/base/mem.h"

#include <arpa/inet.h>
#include <stdbool.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Longer ones are mistakes: secret keys have 40 bytes, session tokens 1 to 3 KiB. */
enum { LINE_MAX_LEN = 1024, SECRET_MAX = 16 * 1024 };

/* A copy of `s`, which has min to max bytes, all of them in `set`; else fails: quoted, and `what`. */
static int take_of(const char *s, const char *set, size_t min, size_t max, const char *what, char **ret_s,
		   struct stow_err *err)
{
	size_t n = strlen(s);
	if (n < min || n > max || strspn(s, set) != n)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, what);
	*ret_s = x_strdup(s);
	return 0;
}

int conf_parse_ascii(const char *s, char **ret_s, struct stow_err *err)
{
	for (const char *p = s; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "is not printable ASCII");
	if (strlen(s) > LINE_MAX_LEN)
		return stow_fail(err, STOW_OUT_OF_RANGE, "the text is longer than %d bytes", LINE_MAX_LEN);
	*ret_s = x_strdup(s);
	return 0;
}

int conf_parse_secret(const char *s, char **ret_s, struct stow_err *err)
{
	/* The value must not show up in a message. */
	for (const char *p = s; *p; p++)
		if (*p <= 0x20 || *p > 0x7e)
			return stow_fail(
				err, STOW_INVALID_ARGUMENT,
				"the value has a blank, a control character or a letter beyond ASCII in it");
	if (strlen(s) > SECRET_MAX)
		return stow_fail(err, STOW_OUT_OF_RANGE, "the value is longer than %d bytes", SECRET_MAX);
	*ret_s = x_strdup(s);
	return 0;
}

/* Whether `n` bytes of `s` are a host's name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(const char *s, size_t n)
{
	if (n > 2 && *s == '[' && s[n - 1] == ']') {
		char text[INET6_ADDRSTRLEN];
		struct in6_addr address;
		if (n - 2 >= sizeof(text))
			return false;
		memcpy(text, s + 1, n - 2);
		text[n - 2] = 0;
		return inet_pton(AF_INET6, text, &address) == 1;
	}
	if (n == 0 || n > 253 || strspn(s, LOWER UPPER DIGITS "-._") < n)
		return false;
	if (*s == '.' || *s == '-' || s[n - 1] == '-')
		return false;
	return !memmem(s, n, "..", 2);
}

static bool is_port(const char *s)
{
	size_t n = strlen(s);
	unsigned port = 0;
	if (n == 0 || n > 5 || strspn(s, DIGITS) != n)
		return false;
	for (; *s; s++)
		port = port * 10 + (unsigned)(*s - '0');
	return port >= 1 && port <= 65535;
}

/* "http[s]://host[:port]", and a slash at its end, which the result has not. */
static int take_origin(const char *s, const char *expected, char **ret_s, struct stow_err *err)
{
	size_t n = strlen(s);
	const char *host = strncmp(s, "https://", 8) == 0  ? s + 8
			   : strncmp(s, "http://", 7) == 0 ? s + 7
							   : NULL;
	char what[160];

	snprintf(what, sizeof(what), "is not %s", expected);
	if (!host)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, what);
	n -= host[0] && s[n - 1] == '/';
	CLEANUP(freep) char *origin = x_strndup(s, n);
	host = origin + (host - s);
	if (strchr(host, '@'))
		return stow_fail(err, STOW_INVALID_ARGUMENT, "the URL has a user in it, expected %s",
				 expected);
	if (strpbrk(host, "/?#")) {
		snprintf(what, sizeof(what), "has a path, expected %s", expected);
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, what);
	}
	const char *colon = *host == '[' ? strchr(strchrnul(host, ']'), ':') : strchr(host, ':');
	size_t host_len = colon ? (size_t)(colon - host) : strlen(host);
	if (!is_host(host, host_len) || (colon && !is_port(colon + 1)))
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, what);
	*ret_s = TAKE(origin);
	return 0;
}

int conf_parse_endpoint(const char *s, char **ret_s, struct stow_err *err)
{
	return take_origin(s, "a URL such as \"https://s3.example.com:9000\"", ret_s, err);
}

int conf_parse_proxy(const char *s, char **ret_s, struct stow_err *err)
{
	if (strcmp(s, "direct") == 0)
		return conf_parse_line(s, ret_s, err);
	return take_origin(s,
			   "a URL such as \"http://proxy:3128\", or direct (a proxy's user and password "
			   "stand in $https_proxy)",
			   ret_s, err);
}

int conf_parse_region(const char *s, char **ret_s, struct stow_err *err)
{
	return take_of(s, LOWER UPPER DIGITS "-_", 1, 63,
		       "is not a region, expected one such as \"eu-central-1\"", ret_s, err);
}

int conf_parse_bucket(const char *s, char **ret_s, struct stow_err *err)
{
	static const char what[] =
		"is not a bucket's name, expected 3 to 63 lower-case letters, digits, dots "
		"and hyphens, with a letter or digit at both ends";
	struct in_addr address;
	size_t n = strlen(s);

	if (inet_pton(AF_INET, s, &address) == 1)
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s,
				   "is an address, which no bucket may be called");
	if (n < 3 || strchr(".-", *s) || strchr(".-", s[n - 1]) || strstr(s, ".."))
		return conf_refuse(err, STOW_INVALID_ARGUMENT, s, what);
	return take_of(s, LOWER DIGITS ".-", 3, 63, what, ret_s, err);
}

/* Characters that every server, proxy and tool takes as they are: those that S3 documents as safe. */
#define KEY_SAFE LOWER UPPER DIGITS "!-_.*'()"

int conf_parse_prefix(const char *s, char **ret_s, struct stow_err *err)
{
	/* The longest key that we put behind it has 150 bytes, S3's longest has 1024. */
	enum { PREFIX_MAX = 512 };
	size_t n = strlen(s);

	n -= n > 0 && s[n - 1] == '/';
	CLEANUP(freep) char *prefix = x_strndup(s, n);
	for (const char *part = prefix;; part++) {
		size_t len = strspn(part, KEY_SAFE);
		bool dots = (len == 1 && *part == '.') || (len == 2 && memcmp(part, "..", 2) == 0);
		if (len == 0 || dots || (part[len] && part[len] != '/'))
			return conf_refuse(
				err, STOW_INVALID_ARGUMENT, s,
				"is not a prefix, expected letters, digits and !-_.*'() with single "
				"slashes between");
		part += len;
		if (!*part)
			break;
	}
	if (n > PREFIX_MAX)
		return stow_fail(err, STOW_OUT_OF_RANGE, "the prefix is longer than %d bytes", PREFIX_MAX);
	*ret_s = TAKE(prefix);
	return 0;
}

int conf_parse_kms_key(const char *s, char **ret_s, struct stow_err *err)
{
	return take_of(s, LOWER UPPER DIGITS ":/_-", 1, 2048, "is not a key's id, alias or ARN", ret_s, err);
}

int conf_parse_storage_class(const char *s, char **ret_s, struct stow_err *err)
{
	return take_of(s, UPPER LOWER DIGITS "_-", 1, 64,
		       "is not a storage class, expected one such as \"STANDARD_IA\"", ret_s, err);
}

int conf_parse_account(const char *s, char **ret_s, struct stow_err *err)
{
	return take_of(s, DIGITS, 12, 12, "is not an account, expected 12 digits", ret_s, err);
}

/* One "name=value" of `len` bytes, among `before` bytes of pairs that begin at `all`. NULL, or what is
 * wrong. The limits are those of object tags; of an encryption context none are documented. */
static const char *check_pair(const char *all, const char *pair, size_t len)
{
	enum { NAME_LEN_MAX = 128, VALUE_LEN_MAX = 256 };
	size_t name = strcspn(pair, "=");
	if (name >= len || name == 0)
		return "has an item that is not name=value";
	if (name > NAME_LEN_MAX || len - name - 1 > VALUE_LEN_MAX)
		return "has a name of more than 128 bytes, or a value of more than 256";
	if (len >= 4 && strncasecmp(pair, "aws:", 4) == 0)
		return "has a name that begins with aws:, which AWS keeps for itself";
	for (const char *p = all; p < pair; p += strcspn(p, ",") + 1)
		if (strncmp(p, pair, name + 1) == 0)
			return "has a name twice";
	return NULL;
}

int conf_parse_pairs(const char *s, char **ret_s, struct stow_err *err)
{
	enum { PAIRS_MAX = 10 };
	size_t n = 0;
	for (const char *p = s;; p++) {
		size_t len = strcspn(p, ",");
		const char *wrong = check_pair(s, p, len);
		if (wrong)
			return conf_refuse(err, STOW_INVALID_ARGUMENT, s, wrong);
		if (++n > PAIRS_MAX)
			return conf_refuse(err, STOW_INVALID_ARGUMENT, s, "has more than 10 items");
		p += len;
		if (!*p)
			break;
	}
	return take_of(s, LOWER UPPER DIGITS " +-=._:/@,", 0, SIZE_MAX,
		       "has a character in it other than letters, digits, blanks and + - = . _ : / @", ret_s,
		       err);
}
