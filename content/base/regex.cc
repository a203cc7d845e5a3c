#include "content/base/regex.h"

#include <re2/re2.h>

struct regex {
	RE2 re;
	regex(const re2::StringPiece &pattern, const RE2::Options &options) : re(pattern, options)
	{
	}
};

static RE2::Options regex_options()
{
	RE2::Options options;

	/* Refused patterns are the client's affair, not our log's. */
	options.set_log_errors(false);
	/* The compiled program and its caches; a filter has a megabyte's worth of sense at most. */
	options.set_max_mem(1 << 20);
	return options;
}

struct regex *regex_new(const char *pattern, size_t n)
{
	static const RE2::Options options = regex_options();
	struct regex *r = new regex(re2::StringPiece(pattern, n), options);

	if (!r->re.ok()) {
		delete r;
		return nullptr;
	}
	return r;
}

void regex_free(struct regex *r)
{
	delete r;
}

bool regex_match(const struct regex *r, const char *text, size_t n)
{
	return RE2::PartialMatch(re2::StringPiece(text, n), r->re);
}
