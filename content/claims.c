#include "content/claims.h"

#include "content/base/mem.h"

void claims_init(struct claims *c)
{
	*c = (struct claims){ 0 };
	lock_init(&c->lock, RANK_CLAIMS);
	lock_cond_init(&c->changed);
}

void claims_destroy(struct claims *c)
{
	for (size_t i = 0; i < CLAIM_BUCKETS; i++)
		assert(!c->buckets[i]);
	pthread_cond_destroy(&c->changed);
	lock_destroy(&c->lock);
}

static struct claim **bucket(struct claims *table, const struct digest *d)
{
	return &table->buckets[digest_key(d) % CLAIM_BUCKETS];
}

static bool is_claimed(struct claims *table, const struct digest *d)
{
	LOCK_ASSERT(&table->lock);
	for (struct claim *c = *bucket(table, d); c; c = c->next)
		if (digest_equal(&c->digest, d))
			return true;
	return false;
}

void claim_take(struct claims *table, struct claim *c, const struct digest *d)
{
	struct claim **b = bucket(table, d);

	LOCK_SCOPE(&table->lock);
	while (is_claimed(table, d))
		lock_wait(&table->lock, &table->changed);
	*c = (struct claim){ .table = table, .digest = *d, .next = *b };
	*b = c;
}

void claim_release(struct claim *c)
{
	struct claims *table = c->table;

	if (!table)
		return;
	LOCK_SCOPE(&table->lock);
	for (struct claim **p = bucket(table, &c->digest); *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	c->table = NULL;
	pthread_cond_broadcast(&table->changed);
}
