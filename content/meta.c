/* The environment: opening it, its transactions, the queue of writers, the growing of the map. */
#include "content/base/limits.h"
#include "content/meta_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

enum {
	SCHEMA_VERSION = 3, /* 2: the table `remote`, 3: `pins`; their rows have one in `blobs` */
	MAX_TABLES = 8,
	MAX_READERS = 2048, /* a slot for each thread that ever read; conf/ allows 1280 threads */
	/* Blocks kept allocated beyond the file's used pages, so that a full disk does not stop the
	 * deletions that would empty it: LMDB copies pages before it changes them. */
	RESERVE_BYTES = 4 << 20,
};
static const size_t MAP_SIZE_DEFAULT = (size_t)1 << 30; /* address space, not disk */

static const char KEY_SCHEMA[] = "schema";
static const char KEY_NODE[] = "node";
const char META_KEY_BYTES[] = "bytes";

/* --- errors and values --- */

int meta_fail(struct stow_err *err, int rc, const char *what)
{
	if (rc > 0)
		return stow_fail_errno(err, rc, "database: %s", what);
	if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID ||
	    rc == MDB_VERSION_MISMATCH || rc == MDB_PANIC)
		return stow_fail(err, STOW_DATA_LOSS, "database: %s: %s", what, mdb_strerror(rc));
	return stow_fail(err, STOW_INTERNAL, "database: %s: %s", what, mdb_strerror(rc));
}

static MDB_val val_text(const char *s)
{
	return meta_val(s, strlen(s));
}

/* --- transactions --- */

static int map_grow(struct meta *m, size_t to)
{
	int rc;

	pthread_rwlock_wrlock(&m->map_lock);
	rc = mdb_env_set_mapsize(m->env, to);
	pthread_rwlock_unlock(&m->map_lock);
	return rc;
}

int meta_read_begin(struct meta *m, MDB_txn **ret_txn, struct stow_err *err)
{
	for (;;) {
		pthread_rwlock_rdlock(&m->map_lock);
		int rc = mdb_txn_begin(m->env, NULL, MDB_RDONLY, ret_txn);

		if (rc == 0)
			return 0;
		pthread_rwlock_unlock(&m->map_lock);
		/* Another process has grown the map: 0 takes over its size. */
		if (rc != MDB_MAP_RESIZED || (rc = map_grow(m, 0)) != 0)
			return meta_fail(err, rc, "begin reading");
	}
}

void meta_read_end(struct meta *m, MDB_txn *txn)
{
	mdb_txn_abort(txn);
	pthread_rwlock_unlock(&m->map_lock);
}

/* A transaction is two syncs: the pages, and the one page that makes them valid. Where nothing is lost if
 * a power loss takes that page away, the second is left to the next transaction's first. */
static int set_meta_sync(struct meta *m, const struct change *batch)
{
	bool lazy = true;

	for (const struct change *c = batch; c; c = c->next)
		lazy = lazy && c->may_be_undone;
	return mdb_env_set_flags(m->env, MDB_NOMETASYNC, lazy);
}

/* One attempt at all changes of a batch in one transaction. */
static int batch_try(struct meta *m, struct change *batch)
{
	MDB_txn *txn;
	int rc;

	pthread_rwlock_rdlock(&m->map_lock);
	rc = set_meta_sync(m, batch);
	if (rc == 0)
		rc = mdb_txn_begin(m->env, NULL, 0, &txn);
	if (rc == 0) {
		for (struct change *c = batch; c && rc == 0; c = c->next) {
			rc = c->apply(m, txn, c);
			c->failed = rc == CHANGE_REFUSED;
			if (c->failed)
				rc = 0;
		}
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	pthread_rwlock_unlock(&m->map_lock);
	return rc;
}

/* Keeps RESERVE_BYTES of blocks behind the pages in use. Best effort: where the filesystem cannot,
 * or the disk is full already, we are no worse off. */
static void reserve_blocks(struct meta *m)
{
	MDB_envinfo info;
	MDB_stat stat;
	int fd;
	uint64_t used;

	if (mdb_env_info(m->env, &info) != 0 || mdb_env_stat(m->env, &stat) != 0 ||
	    mdb_env_get_fd(m->env, &fd) != 0)
		return;
	used = (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
	if (used + RESERVE_BYTES / 2 <= m->reserved)
		return;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(used + RESERVE_BYTES)) == 0)
		m->reserved = used + RESERVE_BYTES;
}

static void batch_run(struct meta *m, struct change *batch)
{
	int rc;

	while ((rc = batch_try(m, batch)) == MDB_MAP_FULL) {
		MDB_envinfo info;

		mdb_env_info(m->env, &info);
		if ((rc = map_grow(m, info.me_mapsize * 2)) != 0)
			break;
	}
	for (struct change *c = batch; c && rc != 0; c = c->next) {
		c->failed = true;
		meta_fail(&c->err, rc, "write");
	}
	if (rc == 0)
		reserve_blocks(m);
}

int meta_change(struct meta *m, struct change *c, struct stow_err *err)
{
	struct change *batch;

	CHECK_OBJ(m, META_MAGIC);
	lock_cond_init(&c->turn);
	lock_take(&m->queue_lock);
	*m->tail = c;
	m->tail = &c->next;
	while (m->writing && !c->done)
		lock_wait(&m->queue_lock, &c->turn);
	if (!c->done) {
		m->writing = true;
		batch = m->head;
		m->head = NULL;
		m->tail = &m->head;
		lock_release(&m->queue_lock);

		batch_run(m, batch);

		lock_take(&m->queue_lock);
		m->writing = false;
		while (batch) {
			struct change *next = batch->next; /* gone once its owner wakes */

			batch->done = true;
			pthread_cond_signal(&batch->turn);
			batch = next;
		}
		if (m->head)
			pthread_cond_signal(&m->head->turn);
	}
	lock_release(&m->queue_lock);
	pthread_cond_destroy(&c->turn);
	if (c->failed)
		*err = c->err;
	return c->failed ? -1 : 0;
}

/* --- opening --- */

static int env_make(struct meta *m, unsigned flags, size_t map_size, struct stow_err *err)
{
	bool read_only = flags & META_READ_ONLY;
	int rc = mdb_env_create(&m->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(m->env, MAX_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(m->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_set_mapsize(m->env, map_size ? map_size : MAP_SIZE_DEFAULT);
	if (rc == 0)
		rc = mdb_env_open(m->env, m->path, MDB_NOSUBDIR | (read_only ? MDB_RDONLY : 0u), 0600);
	if (rc != 0) {
		meta_fail(err, rc, "open");
		return stow_wrap(err, "%s", m->path);
	}
	mdb_reader_check(m->env, NULL); /* slots of processes that died; never fails for us */
	return 0;
}

/* A table that a reader need not find: an older program has made the environment. */
static int table_open_newer(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *ret_t, bool *ret_has)
{
	int rc = mdb_dbi_open(txn, name, flags, ret_t);

	*ret_has = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int tables_open(struct meta *m, MDB_txn *txn, unsigned flags)
{
	int rc = mdb_dbi_open(txn, "meta", flags, &m->info);

	if (rc == 0)
		rc = mdb_dbi_open(txn, "blobs", flags, &m->blobs);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "ingests", flags, &m->ingests);
	if (rc == 0)
		rc = table_open_newer(txn, "remote", flags, &m->remote, &m->has_remote);
	if (rc == 0)
		rc = table_open_newer(txn, "pins", flags, &m->pins, &m->has_pins);
	return rc;
}

int meta_number_get(struct meta *m, MDB_txn *txn, const char *name, uint64_t *ret_v)
{
	MDB_val key = val_text(name), v;
	int rc = mdb_get(txn, m->info, &key, &v);

	if (rc == 0 && v.mv_size != sizeof(*ret_v))
		rc = MDB_CORRUPTED;
	if (rc == 0)
		memcpy(ret_v, v.mv_data, sizeof(*ret_v));
	return rc;
}

int meta_number_put(struct meta *m, MDB_txn *txn, const char *name, uint64_t n)
{
	MDB_val key = val_text(name), v = meta_val(&n, sizeof(n));

	return mdb_put(txn, m->info, &key, &v, 0);
}

int meta_sum_get(struct meta *m, MDB_txn *txn, const char *name, uint64_t *ret_v)
{
	int rc = meta_number_get(m, txn, name, ret_v);

	if (rc == MDB_NOTFOUND) {
		*ret_v = 0;
		rc = 0;
	}
	return rc;
}

int meta_sum_adjust(struct meta *m, MDB_txn *txn, const char *name, uint64_t plus, uint64_t minus)
{
	uint64_t sum;
	int rc = meta_sum_get(m, txn, name, &sum);

	return rc == 0 ? meta_number_put(m, txn, name, sum + plus - minus) : rc;
}

static int identity_make(struct meta *m, MDB_txn *txn)
{
	uint8_t random[NODE_ID_LEN / 2];
	char text[NODE_ID_LEN + 1];
	MDB_val key = val_text(KEY_NODE), v = meta_val(text, NODE_ID_LEN);
	int rc;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	rc = mdb_put(txn, m->info, &key, &v, 0);
	if (rc == 0)
		rc = meta_number_put(m, txn, META_KEY_BYTES, 0);
	if (rc == 0)
		rc = meta_number_put(m, txn, KEY_SCHEMA, SCHEMA_VERSION);
	return rc;
}

static int schema_check(struct meta *m, MDB_txn *txn, struct stow_err *err)
{
	MDB_val key = val_text(KEY_NODE), v;
	uint64_t schema;
	int rc = meta_number_get(m, txn, KEY_SCHEMA, &schema);

	if (rc != 0)
		return meta_fail(err, rc, "schema version");
	if (schema > SCHEMA_VERSION)
		return stow_fail(err, STOW_FAILED_PRECONDITION,
				 "%s has schema version %llu, and this program knows %d at most: it was "
				 "written by a newer stowage, run that one",
				 m->path, (unsigned long long)schema, SCHEMA_VERSION);
	rc = mdb_get(txn, m->info, &key, &v);
	if (rc == 0 && v.mv_size != NODE_ID_LEN)
		rc = MDB_CORRUPTED;
	if (rc != 0)
		return meta_fail(err, rc, "node id");
	memcpy(m->node_id, v.mv_data, NODE_ID_LEN);
	return 0;
}

/* Opens the tables, making them in a new environment, and looks who wrote them. */
static int schema_open(struct meta *m, unsigned flags, bool *ret_created, struct stow_err *err)
{
	bool read_only = flags & META_READ_ONLY;
	MDB_txn *txn;
	uint64_t schema;
	bool created = false;
	int rc = mdb_txn_begin(m->env, NULL, read_only ? MDB_RDONLY : 0, &txn);

	if (rc != 0)
		return meta_fail(err, rc, "begin");
	rc = tables_open(m, txn, read_only ? 0 : MDB_CREATE);
	if (rc == MDB_NOTFOUND) { /* only a reader gets this: a writer has just made them */
		mdb_txn_abort(txn);
		return stow_fail(err, STOW_NOT_FOUND, "%s holds no store yet", m->path);
	}
	if (rc == 0 && !read_only) {
		rc = meta_number_get(m, txn, KEY_SCHEMA, &schema);
		created = rc == MDB_NOTFOUND;
		if (created)
			rc = identity_make(m, txn);
		else if (rc == 0 && schema < SCHEMA_VERSION) /* to which all that is new are tables */
			rc = meta_number_put(m, txn, KEY_SCHEMA, SCHEMA_VERSION);
	}
	if (rc != 0) {
		mdb_txn_abort(txn);
		return meta_fail(err, rc, "open tables");
	}
	if (schema_check(m, txn, err) < 0) {
		mdb_txn_abort(txn);
		return -1;
	}
	rc = mdb_txn_commit(txn); /* also where nothing was written: it keeps the table handles */
	if (rc != 0)
		return meta_fail(err, rc, "create");
	if (ret_created)
		*ret_created = created;
	return 0;
}

int meta_open(const char *path, unsigned flags, size_t map_size, struct meta **ret_m, bool *ret_created,
	      struct stow_err *err)
{
	CLEANUP(meta_closep) struct meta *m = x_calloc(1, sizeof(*m));
	pthread_rwlockattr_t attr;

	m->magic = META_MAGIC;
	m->path = x_strdup(path);
	m->tail = &m->head;
	/* Readers that follow one another without a gap would keep the map from growing for ever. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&m->map_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	lock_init(&m->queue_lock, RANK_META);
	if (env_make(m, flags, map_size, err) < 0 || schema_open(m, flags, ret_created, err) < 0)
		return -1;
	if (!(flags & META_READ_ONLY))
		reserve_blocks(m);
	*ret_m = TAKE(m);
	return 0;
}

void meta_close(struct meta *m)
{
	if (!m)
		return;
	CHECK_OBJ(m, META_MAGIC);
	assert(!m->head && !m->writing);
	if (m->env) {
		mdb_env_sync(m->env, 1); /* what set_meta_sync() has left; a reader's does nothing */
		mdb_env_close(m->env);
	}
	pthread_rwlock_destroy(&m->map_lock);
	lock_destroy(&m->queue_lock);
	free(m->path);
	FREE_OBJ(m);
}

void meta_closep(struct meta **m)
{
	meta_close(*m);
}

const char *meta_node_id(const struct meta *m)
{
	CHECK_OBJ(m, META_MAGIC);
	return m->node_id;
}
