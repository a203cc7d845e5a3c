#include "backends/tiered/keyset.h"

#include "content/base/mem.h"

enum { KEYSET_FIRST = 64 };

uint64_t keyset_key(const struct digest *d)
{
	uint64_t key = 0;

	assert(d->len >= sizeof(key));
	for (size_t i = 0; i < sizeof(key); i++)
		key = key << 8 | d->b[i];
	return key;
}

void keyset_free(struct keyset *s)
{
	free(s->slots);
	*s = (struct keyset){ 0 };
}

/* Where it is looked for first. Bits of a hash need no hash; but a note may have been made by hand. */
static size_t home_of(const struct keyset *s, uint64_t key)
{
	return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (s->cap - 1);
}

/* Where the key is, or would be. */
static uint64_t *slot_of(const struct keyset *s, uint64_t key)
{
	size_t at = home_of(s, key);

	while (s->slots[at] != 0 && s->slots[at] != key)
		at = (at + 1) & (s->cap - 1);
	return &s->slots[at];
}

static void grow(struct keyset *s)
{
	struct keyset larger = { .cap = s->cap ? s->cap * 2 : KEYSET_FIRST, .n = s->n, .zero = s->zero };

	larger.slots = x_calloc(larger.cap, sizeof(*larger.slots));
	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i] != 0)
			*slot_of(&larger, s->slots[i]) = s->slots[i];
	free(s->slots);
	*s = larger;
}

void keyset_add(struct keyset *s, uint64_t key)
{
	uint64_t *slot;

	if (key == 0) {
		s->zero = true;
		return;
	}
	if (s->n >= s->cap / 4 * 3)
		grow(s);
	slot = slot_of(s, key);
	if (*slot == 0)
		s->n++;
	*slot = key;
}

/* Those that follow without a gap move up, so that no search ends too early. */
void keyset_remove(struct keyset *s, uint64_t key)
{
	size_t mask = s->cap - 1, gap, at;

	if (key == 0)
		s->zero = false;
	if (key == 0 || !keyset_has(s, key))
		return;
	at = gap = (size_t)(slot_of(s, key) - s->slots);
	for (;;) {
		at = (at + 1) & mask;
		if (s->slots[at] == 0)
			break;
		/* It may move if the gap lies between its home and its place. */
		if (((at - home_of(s, s->slots[at])) & mask) < ((at - gap) & mask))
			continue;
		s->slots[gap] = s->slots[at];
		gap = at;
	}
	s->slots[gap] = 0;
	s->n--;
}

bool keyset_has(const struct keyset *s, uint64_t key)
{
	if (key == 0)
		return s->zero;
	return s->cap > 0 && *slot_of(s, key) == key;
}

size_t keyset_count(const struct keyset *s)
{
	return s->n + s->zero;
}

void keyset_add_all(struct keyset *s, const struct keyset *from, const struct keyset *but)
{
	uint64_t key;

	for (size_t at = 0; keyset_next(from, &at, &key);)
		if (but == NULL || !keyset_has(but, key))
			keyset_add(s, key);
}

bool keyset_next(const struct keyset *s, size_t *at, uint64_t *ret_key)
{
	while (*at < s->cap && s->slots[*at] == 0)
		++*at;
	if (*at > s->cap || (*at == s->cap && !s->zero))
		return false;
	*ret_key = *at < s->cap ? s->slots[*at] : 0;
	++*at;
	return true;
}
