#include "backends/s3/leftovers.h"

#include "backends/s3/sidecar.h"
#include "content/base/clock.h"
#include "content/base/mem.h"

/* Between two tries, where one has failed. */
static const int64_t AGAIN_NS = 5 * 60 * NSEC_PER_SEC;

struct pass {
	struct leftovers *l;
	bool failed;
};

/* One upload. The file stays where the bucket gave no clear answer. */
static int abort_one(void *arg, struct dir *dir, const char *name, struct stow_err *err)
{
	CLEANUP(sidecar_reset) struct sidecar sc = { .fd = -1 };
	struct pass *p = arg;
	struct stow_err why;

	if (atomic_load(&p->l->ended))
		return stow_fail(err, STOW_CANCELLED, "the backend ends");
	if (!sidecar_name_condemned(name))
		return 0;
	if (sidecar_load_file(&sc, dir, name, &why) == 0) {
		struct s3_upload u = { .key = sc.key, .id = sc.id };

		if (s3_upload_abort(p->l->client, &u, &why) < 0 && why.code != STOW_NOT_FOUND) {
			p->failed = true;
			return 0;
		}
	} else if (why.code != STOW_DATA_LOSS) {
		p->failed = why.code != STOW_NOT_FOUND;
		return 0;
	}
	(void)unlinkat(dir->fd, name, 0);
	return 0;
}

static void run(struct job *j)
{
	struct leftovers *l = CONTAINER_OF(j, struct leftovers, job);
	struct pass p = { .l = l };
	struct stow_err ignored; /* the next time will see */

	for (;;) {
		lock_take(&l->lock);
		if (!l->asked || l->ended)
			break;
		l->asked = false;
		lock_release(&l->lock);
		p.failed = false;
		(void)!dir_each(l->dir, abort_one, &p, &ignored);
	}
	l->queued = false;
	if (p.failed && !l->ended)
		http_after(l->http, &l->again, AGAIN_NS);
	lock_release(&l->lock);
}

void leftovers_poke(struct leftovers *l)
{
	LOCK_SCOPE(&l->lock);
	l->asked = true;
	if (l->queued || l->ended)
		return;
	l->queued = true;
	pool_submit(l->pool, &l->job);
}

static void poke_again(struct http_timer *t)
{
	leftovers_poke(CONTAINER_OF(t, struct leftovers, again));
}

void leftovers_begin(struct leftovers *l, struct dir *dir, struct s3_client *client, struct http *http,
		     struct pool *pool)
{
	*l = (struct leftovers){ .dir = dir, .client = client, .http = http, .pool = pool };
	l->job.run = run;
	l->again.run = poke_again;
	lock_init(&l->lock, RANK_BACKEND);
	leftovers_poke(l);
}

void leftovers_end(struct leftovers *l)
{
	lock_take(&l->lock);
	l->ended = true;
	lock_release(&l->lock);
	(void)http_timer_stop(l->http, &l->again);
}

void leftovers_free(struct leftovers *l)
{
	lock_destroy(&l->lock);
}
