#!/bin/bash
# No function over 100 lines, no .c or .cc file over 1000.
# Usage: check_length.sh [SOURCE_ROOT]
set -u
. "$(dirname "$0")/check_files.sh"
check_root "${1:-}"

max_function=100
max_file=1000

ctags=$(command -v ctags-universal || command -v ctags)
if [ -z "$ctags" ] || ! "$ctags" --version | grep -q '^Universal Ctags'; then
	echo "skipped: Universal Ctags is not installed"
	exit 77
fi

mapfile -t files < <(check_files '*.c' '*.cc')
check_some ${#files[@]}

bad=0
for file in "${files[@]}"; do
	lines=$(wc -l <"$file")
	if [ "$lines" -gt $max_file ]; then
		echo "$file:$max_file: $lines lines: at most $max_file"
		bad=1
	fi
done

# A line of ctags: name, file, pattern;", f, line:N ... end:N
tags=$("$ctags" --quiet=yes --options=NONE -f - --sort=no --languages=C,C++ --kinds-C=f --kinds-C++=f --fields=+ne \
	"${files[@]}") || exit 1
functions=$(printf '%s\n' "$tags" | grep -c $'\tend:[0-9]')
check_some "$functions"
printf '%s\n' "$tags" | awk -F '\t' -v max=$max_function '
	{
		first = last = 0
		for (i = 4; i <= NF; i++) {
			if ($i ~ /^line:[0-9]+$/)
				first = substr($i, 6)
			if ($i ~ /^end:[0-9]+$/)
				last = substr($i, 5)
		}
		if (first && last && last - first + 1 > max) {
			printf "%s:%d: %s has %d lines: at most %d\n", $2, first, $1, last - first + 1, max
			bad = 1
		}
	}
	END { exit bad }' || bad=1
exit $bad
