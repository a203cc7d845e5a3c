/* What a name that does not exist was probably meant to be. */
#include "conf/conf_internal.h"
#include "content/base/mem.h"

#include <limits.h>

enum { NAME_MAX_LEN = 63 };

static unsigned min(unsigned x, unsigned y)
{
	return x < y ? x : y;
}

unsigned conf_name_distance(const char *x, const char *y)
{
	size_t nx = strlen(x), ny = strlen(y);
	/* Row i: the distances of the first i letters of x from the beginnings of y. */
	unsigned row[3][NAME_MAX_LEN + 1];

	if (nx > NAME_MAX_LEN || ny > NAME_MAX_LEN)
		return UINT_MAX;
	for (unsigned j = 0; j <= ny; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= nx; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
		now[0] = i;
		for (unsigned j = 1; j <= ny; j++) {
			now[j] = min(last[j - 1] + (x[i - 1] != y[j - 1]), min(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1])
				now[j] = min(now[j], before[j - 2] + 1);
		}
	}
	return row[nx % 3][ny];
}

/* One letter in three may be wrong, and one always. */
static unsigned tolerance(const char *name)
{
	size_t n = strlen(name);
	return n <= 3 ? 1 : (unsigned)n / 3;
}

/* Keys, and sections after them. */
static const char *known_name(const struct conf_table *t, size_t i)
{
	return i < t->n_keys ? t->keys[i].name : t->sections[i - t->n_keys].name;
}

/* The nearest name of the same section; or a key of this very name in another section. */
static const char *meant(const struct conf_table *t, const char *name)
{
	const struct conf_section *section = conf_section_of(t, name);
	const char *leaf = conf_leaf(t, name);
	unsigned best = tolerance(leaf);
	const char *found = NULL, *elsewhere = NULL;

	for (size_t i = 0; i < t->n_keys + t->n_sections; i++) {
		const char *known = known_name(t, i);
		if (conf_section_of(t, known) != section) {
			if (strcmp(conf_leaf(t, known), leaf) == 0)
				elsewhere = known;
			continue;
		}
		unsigned distance = conf_name_distance(conf_leaf(t, known), leaf);
		if (distance < best || (distance == best && !found)) {
			best = distance;
			found = known;
		}
	}
	return found ? found : elsewhere;
}

void conf_key_hint(const struct conf_table *t, const char *name, char out[CONF_HINT_MAX])
{
	const struct conf_section *section = conf_section_of(t, name);
	const char *known = meant(t, name);
	if (known) {
		snprintf(out, CONF_HINT_MAX, ", did you mean \"%s%s\"?", t->prefix, known);
		return;
	}

	size_t n = (size_t)snprintf(out, CONF_HINT_MAX, ", expected one of");
	const char *comma = " ";
	for (size_t i = 0; i < t->n_keys + t->n_sections && n < CONF_HINT_MAX; i++) {
		if (conf_section_of(t, known_name(t, i)) != section)
			continue;
		n += (size_t)snprintf(out + n, CONF_HINT_MAX - n, "%s%s", comma,
				      conf_leaf(t, known_name(t, i)));
		comma = ", ";
	}
	if (n >= CONF_HINT_MAX)
		memcpy(out + CONF_HINT_MAX - 4, "...", 4);
}

void conf_variable_hint(const char *name, char out[CONF_HINT_MAX])
{
	const char *tail = name + strlen(CONF_VARIABLE_PREFIX);
	unsigned best = tolerance(tail) + 1;

	snprintf(out, CONF_HINT_MAX, ", no key has this name");
	for (size_t i = 0; i < conf_table_main.n_keys; i++) {
		const struct conf_key *k = &conf_table_main.keys[i];
		char known[CONF_VARIABLE_MAX];
		conf_key_variable(k, known);
		unsigned distance = conf_name_distance(tail, known + strlen(CONF_VARIABLE_PREFIX));
		if (distance >= best || k->files_only)
			continue;
		best = distance;
		snprintf(out, CONF_HINT_MAX, ", did you mean %s?", known);
	}
}
