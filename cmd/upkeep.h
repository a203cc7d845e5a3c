/* What the daemon does on the side, on one thread: first it makes the database agree with the bytes,
 * then it sweeps stale ingests now and then. Its results go to the log. */
#ifndef STOWAGE_CMD_UPKEEP_H
#define STOWAGE_CMD_UPKEEP_H

#include "content/store.h"

struct upkeep;

struct upkeep *upkeep_start(struct store *s, int64_t stale_ingest_after_ns);
/* True until the first comparison has ended; lives as long as the upkeep. */
const atomic_bool *upkeep_reconciling(const struct upkeep *u);
/* Ends what is under way, and frees. */
void upkeep_stop(struct upkeep *u);

#endif
