# For the check scripts, which source this file: what they look at.
# shellcheck shell=bash

# The source root is the first argument, or else where this file is.
check_root() {
	cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}" || exit 1
}

# Our files below the current directory whose names match one of the patterns: tracked by git, or
# new and not ignored. Without git (a release's tarball) all that there are, but for build folders.
check_files() {
	local pattern
	if [ "$(git rev-parse --show-cdup 2>/dev/null)" = "" ] && git ls-files >/dev/null 2>&1; then
		git -c core.quotePath=off ls-files --cached --others --exclude-standard
	else
		find . -path ./.git -prune -o -path './build*' -prune -o -type f -print | sed 's|^\./||'
	fi | sort -u | while IFS= read -r file; do
		[ -f "$file" ] || continue # deleted, and not yet told to git
		for pattern in "$@"; do
			# shellcheck disable=SC2254
			case $file in
			$pattern)
				printf '%s\n' "$file"
				break
				;;
			esac
		done
	done
}

# Some files must have been looked at, or the check has proven nothing.
check_some() {
	if [ "$1" -eq 0 ]; then
		echo "$(basename "$0"): found no files below $PWD" >&2
		exit 1
	fi
}
