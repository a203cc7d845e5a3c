/* What a fleet tells each other comes from a bucket: whatever it is, it is read whole or refused, and what
 * was read can be written again. */
#include "backends/tiered/notes.h"
#include "content/base/mem.h"
#include "tests/fuzz/fuzz.h"

static void count(void *arg, uint64_t key UNUSED)
{
	++*(uint64_t *)arg;
}

static void count_mark(void *arg, const struct note_mark *m UNUSED)
{
	++*(size_t *)arg;
}

static void read_node(const struct buf *b)
{
	struct note_node n, again;
	CLEANUP(buf_free) struct buf copy = { 0 };
	uint64_t keys = 0;
	struct stow_err err;
	int rc;

	if (note_node_read(b, &n, count, &keys, &err) < 0)
		return;
	assert(n.time_ns >= 0 && n.grace_ns >= 0 && strlen(n.host) < sizeof(n.host) &&
	       strlen(n.run) < sizeof(n.run));
	buf_init(&copy, NOTE_LIMIT);
	rc = note_node_begin(&copy, &n, &err);
	assert(rc == 0);
	rc = note_node_read(&copy, &again, NULL, NULL, &err);
	assert(rc == 0 && again.stopped == n.stopped && strcmp(again.run, n.run) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(buf_free) struct buf b = { 0 }, copy = { 0 };
	struct note_run run;
	struct stow_err err;
	size_t n_marks = 0;
	int rc;

	buf_init(&b, NOTE_LIMIT);
	buf_init(&copy, NOTE_LIMIT);
	rc = buf_append(&b, data, n, &err);
	assert(rc == 0);
	read_node(&b);
	if (note_run_read(&b, &run, &err) == 0) {
		rc = note_run_write(&copy, &run, &err);
		assert(rc == 0);
	}
	rc = note_marks_read(&b, "ab", count_mark, &n_marks, &err);
	assert(rc <= 0 && n_marks <= NOTE_MARKS_LIMIT);
	return 0;
}
