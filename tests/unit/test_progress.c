#include "cmd/progress.h"
#include "content/base/mem.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/mman.h>

#define MIB (UINT64_C(1) << 20)
#define START (5 * NSEC_PER_SEC)

static void text_tells_rate_and_rest(void **state)
{
	struct progress p = { .total = 100 * MIB, .start_ns = START };
	char text[PROGRESS_TEXT_MAX];

	(void)state;
	progress_text(&p, START, text);
	assert_string_equal(text, "  0%  0 B of 100.0 MiB  0 B/s");
	p.done = 20 * MIB;
	progress_text(&p, START + 2 * NSEC_PER_SEC, text);
	assert_string_equal(text, " 20%  20.0 MiB of 100.0 MiB  10.0 MiB/s  8s left");
	progress_text(&p, START + 20 * NSEC_PER_SEC, text);
	assert_string_equal(text, " 20%  20.0 MiB of 100.0 MiB  1.0 MiB/s  1m20s left");
	progress_text(&p, START + 2000 * NSEC_PER_SEC, text);
	assert_string_equal(text, " 20%  20.0 MiB of 100.0 MiB  10.2 KiB/s  2h13m left");
	p.done = p.total + MIB; /* more came than was announced */
	progress_text(&p, START + NSEC_PER_SEC, text);
	assert_string_equal(text, "100%  101.0 MiB of 100.0 MiB  101.0 MiB/s");
	p.done = 20 * MIB;
	p.waiting = "the bucket is away";
	progress_text(&p, START + 2 * NSEC_PER_SEC, text);
	assert_string_equal(text, " 20%  20.0 MiB of 100.0 MiB  the bucket is away");
}

static void text_survives_nothing_and_everything(void **state)
{
	struct progress p = { .start_ns = START };
	char text[PROGRESS_TEXT_MAX];

	(void)state;
	progress_text(&p, START, text);
	assert_string_equal(text, "100%  0 B of 0 B  0 B/s");
	p.total = UINT64_MAX;
	p.done = 1;
	progress_text(&p, START + NSEC_PER_SEC, text);
	assert_string_equal(text, "  0%  1 B of 16.0 EiB  1 B/s  99h59m left");
}

/* What was written to a file, which is no terminal. */
static void lines_are_sparse(void **state)
{
	FILE *to = fdopen(memfd_create("lines", MFD_CLOEXEC), "w+");
	struct progress p;
	char text[512] = { 0 };

	(void)state;
	assert_non_null(to);
	progress_begin(&p, to, "verify", 100 * MIB, START);
	progress_add(&p, MIB, START + 1);
	progress_add(&p, MIB, START + PROGRESS_LINE_NS - 1);
	assert_int_equal(ftell(to), 0);
	progress_add(&p, MIB, START + PROGRESS_LINE_NS);
	progress_add(&p, MIB, START + PROGRESS_LINE_NS + 1);
	progress_clear(&p);
	rewind(to);
	assert_true(fread(text, 1, sizeof(text) - 1, to) > 0);
	assert_string_equal(text, "stowage verify: 3%  3.0 MiB of 100.0 MiB  102.4 KiB/s  16m10s left\n");
	fclose(to);
}

static void bars_fit_the_terminal(void **state)
{
	struct winsize w = { .ws_row = 24, .ws_col = 70 };
	struct progress p;
	char text[512] = { 0 };
	int master, slave;
	FILE *to;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	to = fdopen(slave, "w");
	assert_non_null(to);
	setenv("TERM", "xterm", 1);
	progress_begin(&p, to, "verify", 100 * MIB, START);
	progress_add(&p, 50 * MIB, START + PROGRESS_BAR_NS - 1);
	assert_false(p.shown);
	progress_add(&p, 0, START + NSEC_PER_SEC);
	assert_true(p.shown);
	assert_true(read(master, text, sizeof(text) - 1) > 0);
	assert_string_equal(text,
			    "\r\033[K[#########.........]  50%  50.0 MiB of 100.0 MiB  50.0 MiB/s  1s left");
	assert_true(strlen(text) - strlen("\r\033[K") < w.ws_col);
	memset(text, 0, sizeof(text));
	progress_clear(&p);
	assert_true(read(master, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "\r\033[K");
	assert_false(p.shown);
	memset(text, 0, sizeof(text));
	progress_doing(&p, "multipart");
	assert_true(p.shown);
	assert_true(read(master, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "\r\033[Kmultipart ...");
	fclose(to);
	close(master);
}

static void brake_holds_the_rate(void **state)
{
	struct brake b = { .per_second = MIB };
	int64_t now = START, start = START;

	(void)state;
	/* Reading costs no time at all here: only the waiting does. */
	for (int i = 0; i < 40; i++)
		now += brake_wait_ns(&b, MIB / 4, now);
	assert_true(llabs(now - start - 10 * NSEC_PER_SEC) < NSEC_PER_MSEC);
}

static void brake_forgives_no_idle_hours(void **state)
{
	struct brake b = { .per_second = MIB };
	int64_t now = START, start;

	(void)state;
	now += brake_wait_ns(&b, MIB, now);
	now += 3600 * NSEC_PER_SEC;
	start = now;
	for (int i = 0; i < 20; i++)
		now += brake_wait_ns(&b, MIB, now);
	assert_true(now - start >= 18 * NSEC_PER_SEC);
}

static void no_limit_is_no_brake(void **state)
{
	struct brake b = { 0 };

	(void)state;
	assert_int_equal(brake_wait_ns(&b, UINT64_MAX, START), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_tells_rate_and_rest),
		cmocka_unit_test(text_survives_nothing_and_everything),
		cmocka_unit_test(lines_are_sparse),
		cmocka_unit_test(bars_fit_the_terminal),
		cmocka_unit_test(brake_holds_the_rate),
		cmocka_unit_test(brake_forgives_no_idle_hours),
		cmocka_unit_test(no_limit_is_no_brake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
