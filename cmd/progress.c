#include "cmd/progress.h"

#include "cmd/output.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_DEFAULT = 80, BAR_MIN = 10, BAR_MAX = 40 };

void progress_begin(struct progress *p, FILE *to, const char *command, uint64_t total, int64_t now_ns)
{
	const char *term = getenv("TERM");

	*p = (struct progress){ .to = to, .command = command, .total = total, .start_ns = now_ns };
	p->bar = isatty(fileno(to)) && term && strcmp(term, "dumb") != 0;
	p->next_ns = now_ns + (p->bar ? PROGRESS_BAR_NS : PROGRESS_LINE_NS);
}

static unsigned percent(const struct progress *p)
{
	if (p->done >= p->total)
		return 100;
	return (unsigned)((double)p->done * 100 / (double)p->total);
}

void progress_text(const struct progress *p, int64_t now_ns, char out[PROGRESS_TEXT_MAX])
{
	char done[OUTPUT_TEXT_MAX], total[OUTPUT_TEXT_MAX], rate[OUTPUT_TEXT_MAX];
	double seconds = (double)(now_ns - p->start_ns) / (double)NSEC_PER_SEC;
	double per_second = seconds > 0 ? (double)p->done / seconds : 0;
	int n;

	output_size(p->done, done);
	output_size(p->total, total);
	if (p->waiting) {
		(void)snprintf(out, PROGRESS_TEXT_MAX, "%3u%%  %s of %s  %s", percent(p), done, total,
			       p->waiting);
		return;
	}
	output_size((uint64_t)per_second, rate);
	n = snprintf(out, PROGRESS_TEXT_MAX, "%3u%%  %s of %s  %s/s", percent(p), done, total, rate);
	if (per_second > 0 && p->done < p->total) {
		double left = (double)(p->total - p->done) / per_second;
		unsigned long long s = left < 359999 ? (unsigned long long)left : 359999;

		if (s >= 3600)
			snprintf(out + n, PROGRESS_TEXT_MAX - (size_t)n, "  %lluh%02llum left", s / 3600,
				 s / 60 % 60);
		else if (s >= 60)
			snprintf(out + n, PROGRESS_TEXT_MAX - (size_t)n, "  %llum%02llus left", s / 60,
				 s % 60);
		else
			snprintf(out + n, PROGRESS_TEXT_MAX - (size_t)n, "  %llus left", s);
	}
}

static int columns_of(const struct progress *p)
{
	struct winsize w = { 0 };

	return ioctl(fileno(p->to), TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : COLUMNS_DEFAULT;
}

/* "[####......] 45%  ...", no wider than the terminal. */
static void show_bar(struct progress *p, const char *text)
{
	int columns = columns_of(p), width;
	char bar[BAR_MAX + 1];

	width = columns - (int)strlen(text) - 4;
	if (width > BAR_MAX)
		width = BAR_MAX;
	fputs("\r\033[K", p->to);
	if (width >= BAR_MIN) {
		size_t full = percent(p) * (size_t)width / 100;

		memset(bar, '.', (size_t)width);
		memset(bar, '#', full);
		fprintf(p->to, "[%.*s] ", width, bar);
	}
	fprintf(p->to, "%.*s", columns > 1 ? columns - 1 : 1, text);
	p->shown = true;
}

void progress_add(struct progress *p, uint64_t bytes, int64_t now_ns)
{
	char text[PROGRESS_TEXT_MAX];

	p->done += bytes;
	if (now_ns < p->next_ns)
		return;
	p->next_ns = now_ns + (p->bar ? PROGRESS_BAR_NS : PROGRESS_LINE_NS);
	progress_text(p, now_ns, text);
	if (p->bar)
		show_bar(p, text);
	else
		fprintf(p->to, "stowage %s: %s\n", p->command, text + strspn(text, " "));
	fflush(p->to);
}

void progress_doing(struct progress *p, const char *what)
{
	int columns = columns_of(p);

	if (!p->bar)
		return;
	fprintf(p->to, "\r\033[K%.*s ...", columns > 5 ? columns - 5 : 1, what);
	fflush(p->to);
	p->shown = true;
}

void progress_clear(struct progress *p)
{
	if (!p->shown)
		return;
	fputs("\r\033[K", p->to);
	fflush(p->to);
	p->shown = false;
}

/* --- the brake --- */

int64_t brake_wait_ns(struct brake *b, uint64_t bytes, int64_t now_ns)
{
	double due;

	if (b->per_second == 0)
		return 0;
	if (b->start_ns == 0)
		b->start_ns = now_ns;
	b->done += bytes;
	due = (double)b->done / (double)b->per_second * (double)NSEC_PER_SEC;
	if ((double)(now_ns - b->start_ns) - due > (double)NSEC_PER_SEC) {
		/* Idle for long, so the count starts anew. */
		b->start_ns = now_ns;
		b->done = 0;
		return 0;
	}
	due -= (double)(now_ns - b->start_ns);
	return due > 0 ? (int64_t)due : 0;
}

void brake_apply(struct brake *b, uint64_t bytes, const atomic_bool *stop)
{
	int64_t left = brake_wait_ns(b, bytes, clock_mono_ns());

	while (left > 0 && !atomic_load(stop)) {
		int64_t step = left < 100 * NSEC_PER_MSEC ? left : 100 * NSEC_PER_MSEC;
		struct timespec t = { .tv_nsec = (long)step };

		nanosleep(&t, NULL);
		left -= step;
	}
}
