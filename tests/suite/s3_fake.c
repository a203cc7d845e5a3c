#include "tests/suite/s3_fake.h"

#include "content/base/clock.h"
#include "content/base/mem.h"
#include "tests/suite/s3_fake_internal.h"
#include "tests/suite/suite.h"

#include <stdio.h>

struct fake fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };

void fake_lock(void)
{
	assert(pthread_mutex_lock(&fake.lock) == 0);
}

void fake_unlockp(const int *unused UNUSED)
{
	assert(pthread_mutex_unlock(&fake.lock) == 0);
}

/* --- what it has --- */

static struct object_entry **object_at(const char *key)
{
	struct object_entry **at = &fake.objects;

	while (*at != NULL && strcmp((*at)->key, key) < 0)
		at = &(*at)->next;
	return at;
}

struct object_entry *fake_object(const char *key)
{
	struct object_entry *o = *object_at(key);

	return o != NULL && strcmp(o->key, key) == 0 ? o : NULL;
}

void fake_bytes_set(struct bytes *b, uint8_t *p, uint64_t n)
{
	free(b->p);
	b->p = p;
	b->n = n;
	b->modified_ns = clock_wall_ns();
	snprintf(b->etag, sizeof(b->etag), "\"%u\"", ++fake.serial);
}

struct object_entry *fake_object_set(const char *key, uint8_t *p, uint64_t n)
{
	struct object_entry **at = object_at(key), *o = fake_object(key);

	if (o == NULL) {
		o = x_calloc(1, sizeof(*o));
		o->key = x_strdup(key);
		o->next = *at;
		*at = o;
	}
	fake_bytes_set(&o->bytes, p, n);
	return o;
}

void fake_object_drop(const char *key)
{
	struct object_entry **at = object_at(key), *o = fake_object(key);

	if (o == NULL)
		return;
	*at = o->next;
	free(o->bytes.p);
	free(o->key);
	free(o);
}

struct upload_entry **fake_upload_at(const struct s3_upload *u)
{
	struct upload_entry **at = &fake.uploads;

	while (*at != NULL && (strcmp((*at)->key, u->key) != 0 || strcmp((*at)->id, u->id) != 0))
		at = &(*at)->next;
	return at;
}

void fake_upload_drop(struct upload_entry **at)
{
	struct upload_entry *u = *at;

	*at = u->next;
	for (size_t i = 0; i < ARRAY_LEN(u->parts); i++)
		free(u->parts[i].p);
	free(u->key);
	free(u);
}

void fake_reset(void)
{
	FAKE_SCOPE();
	while (fake.objects != NULL)
		fake_object_drop(fake.objects->key);
	while (fake.uploads != NULL)
		fake_upload_drop(&fake.uploads);
	memset(fake.plans, 0, sizeof(fake.plans));
	memset(fake.counts, 0, sizeof(fake.counts));
	fake.lost = STOW_OK;
	fake.hold = false;
}

void fake_fail(enum fake_op op, unsigned nth, unsigned times, enum stow_code code)
{
	FAKE_SCOPE();
	fake.plans[op] = (struct plan){ .nth = nth, .times = times, .code = code };
}

void fake_lose_answer(enum stow_code code)
{
	FAKE_SCOPE();
	fake.lost = code;
}

void fake_hold(bool hold)
{
	FAKE_SCOPE();
	fake.hold = hold;
	pthread_cond_broadcast(&fake.change);
}

void fake_wait_held(unsigned n)
{
	FAKE_SCOPE();
	while (fake.held < n)
		pthread_cond_wait(&fake.change, &fake.lock);
}

unsigned fake_count(enum fake_op op)
{
	FAKE_SCOPE();
	return fake.counts[op];
}

unsigned fake_uploads(void)
{
	unsigned n = 0;

	FAKE_SCOPE();
	for (const struct upload_entry *u = fake.uploads; u != NULL; u = u->next)
		n++;
	return n;
}

unsigned fake_objects(void)
{
	unsigned n = 0;

	FAKE_SCOPE();
	for (const struct object_entry *o = fake.objects; o != NULL; o = o->next)
		n++;
	return n;
}

void fake_put(const char *key, size_t n, unsigned seed)
{
	uint8_t *p = x_malloc(n);

	fill(p, n, seed);
	FAKE_SCOPE();
	fake_object_set(key, p, n);
}

void fake_delete(const char *key)
{
	FAKE_SCOPE();
	fake_object_drop(key);
}

struct s3_options fake_options(void)
{
	return (struct s3_options){
		.endpoint = "http://fake",
		.region = "",
		.bucket = "bucket",
		.prefix = "a/prefix",
		.small_blob = 6 << 20,
		.part_size = 5 << 20,
		.upload_concurrency = 3,
		.read_memory = 16 << 20,
		.connections = 8,
		.max_attempts = 1,
	};
}
