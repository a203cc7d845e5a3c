/* What objects are called. */
#include "backends/s3/s3_internal.h"
#include "content/base/mem.h"

char *s3_layout_blobs(const char *prefix, enum s3_layout layout)
{
	return x_asprintf("%s%sblobs/", prefix, layout == S3_LAYOUT_REGISTRY ? "docker/registry/v2/" : "");
}

char *s3_blobs_prefix(const struct s3 *s)
{
	return s3_layout_blobs(s->prefix, s->layout);
}

char *s3_blob_key(const struct s3 *s, const struct digest *d)
{
	CLEANUP(freep) char *blobs = s3_blobs_prefix(s);
	const char *alg = digest_alg_name((enum digest_alg)d->alg);
	char hex[DIGEST_HEX_MAX];

	digest_format_hex(d, hex);
	if (s->layout == S3_LAYOUT_REGISTRY)
		return x_asprintf("%s%s/%.2s/%s/data", blobs, alg, hex, hex);
	return x_asprintf("%s%s/%s", blobs, alg, hex);
}

/* The hex digits that a key has: what is made of them is compared with it. */
static void hex_of(enum s3_layout layout, const char *name, char ret_hex[DIGEST_HEX_MAX])
{
	size_t n;

	if (layout == S3_LAYOUT_REGISTRY && strlen(name) > 3)
		name += 3;
	n = strspn(name, "0123456789abcdef");
	n = n < DIGEST_HEX_MAX ? n : DIGEST_HEX_MAX - 1;
	memcpy(ret_hex, name, n);
	ret_hex[n] = '\0';
}

bool s3_key_digest(const struct s3 *s, const char *key, struct digest *ret_d)
{
	CLEANUP(freep) char *blobs = s3_blobs_prefix(s);
	CLEANUP(freep) char *same = NULL;
	char hex[DIGEST_HEX_MAX];
	struct stow_err ignored;
	enum digest_alg alg;
	const char *name;
	struct digest d;

	if (strncmp(key, blobs, strlen(blobs)) != 0)
		return false;
	key += strlen(blobs);
	name = strchr(key, '/');
	alg = name != NULL ? digest_alg_find(key, (size_t)(name - key)) : DIGEST_NONE;
	if (alg == DIGEST_NONE)
		return false;
	hex_of(s->layout, name + 1, hex);
	if (digest_parse_hex(&d, alg, hex, strlen(hex), &ignored) < 0)
		return false;
	same = s3_blob_key(s, &d);
	if (strcmp(same + strlen(blobs), key) != 0)
		return false;
	*ret_d = d;
	return true;
}
