#!/bin/bash
# The code looks as .clang-format says.
# Usage: check_format.sh [SOURCE_ROOT]
set -u
. "$(dirname "$0")/check_files.sh"
check_root "${1:-}"

# Another version may lay code out in another way: CLANG_FORMAT names the one that counts (14).
format=${CLANG_FORMAT:-clang-format}
if ! command -v "$format" >/dev/null; then
	echo "skipped: $format is not installed"
	exit 77
fi

mapfile -t files < <(check_files '*.c' '*.h' '*.cc')
check_some ${#files[@]}

"$format" --dry-run -Werror "${files[@]}" || exit 1
