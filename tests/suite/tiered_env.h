/* A fleet in one process: nodes, each a store over a tiered backend whose local bytes are in memory, and a
 * bucket in memory that they share. The bucket, and what a node has, outlive its store, as disks do. */
#ifndef STOWAGE_TESTS_TIERED_ENV_H
#define STOWAGE_TESTS_TIERED_ENV_H

#include "backends/backends.h"
#include "backends/tiered/tiered.h"
#include "content/store.h"
#include "tests/suite/suite.h"

enum { NODES = 3 };

struct node {
	char dir[TEMP_DIR_MAX]; /* the database's */
	struct backend *disk;   /* its local bytes: this one has no faults, and may be looked into */
	struct fault_plan disk_plan;
	struct fault_plan net_plan; /* of the bucket, for this node alone */
	struct tiered_options options;
	struct pool *pool;
	struct store *store; /* NULL: it is down */
};

struct fleet {
	struct backend *bucket;
	struct backend *source; /* NULL: there is none */
	struct node node[NODES];
};

/* Nothing runs yet; options are the defaults of small, quick tests, and may be changed before a start. */
void fleet_make(struct fleet *f);
void fleet_remove(struct fleet *f);
/* Another storage, for all nodes, which is asked after the bucket and never changed by them. */
void fleet_add_source(struct fleet *f);
/* A node's start, and its end in good order. */
void node_start(struct fleet *f, int i);
void node_stop(struct node *n);
void node_restart(struct fleet *f, int i);
/* From now on, or no more, each call of the node on the bucket fails with `code`. */
void node_cut_off(struct node *n, enum stow_code code);
void node_reconnect(struct node *n);

/* `size` bytes of fill(seed) are committed on the node; the digest is their SHA-256. */
struct digest node_put(struct node *n, size_t size, unsigned seed);
int node_try_put(struct node *n, const struct digest *d, size_t size, unsigned seed, struct stow_err *err);
/* The node has it in its list, finds it when it is asked for it, or does not. */
bool node_lists(struct node *n, const struct digest *d);
bool node_has(struct node *n, const struct digest *d);
/* Reads all through the store; 0, or -1 with what the store says. The bytes must be fill(seed). */
int node_read(struct node *n, const struct digest *d, size_t size, unsigned seed, struct stow_err *err);
void node_check(struct node *n, const struct digest *d, size_t size, unsigned seed);
void node_delete(struct node *n, const struct digest *d);
struct fleet_status node_status(struct node *n);

bool backend_has(struct backend *b, const struct digest *d);
/* Other bytes, as many, under the digest's name. */
void put_wrong(struct backend *b, const struct digest *d, size_t size);
/* Waits for what other threads bring about; fails the test after some seconds. */
void wait_uploaded(struct node *n);
#define wait_for(cond)                                                                                       \
	do {                                                                                                 \
		int64_t until_ = wait_deadline();                                                            \
		while (!(cond))                                                                              \
			wait_a_bit(until_, #cond, __FILE__, __LINE__);                                       \
	} while (0)
int64_t wait_deadline(void);
void wait_a_bit(int64_t until_ns, const char *what, const char *file, int line);

#endif
