#!/bin/bash
# Every header compiles alone, has an include guard of its own, and is a manual: at least a quarter of
# its lines carry a comment (the aim is 40 %).
# Usage: check_headers.sh [SOURCE_ROOT [BUILD_ROOT]]   BUILD_ROOT has the generated headers.
set -u
. "$(dirname "$0")/check_files.sh"
build=${2:+$(cd "$2" && pwd)}
check_root "${1:-}"

cc=${CC:-cc}
cxx=${CXX:-c++}
common=(-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -Wall -Wextra -Wundef -Werror -fsyntax-only)
[ -n "$build" ] && common+=("-I$build" "-isystem" "$build/proto")
for package in grpc libprotobuf-c lmdb cmocka; do
	for flag in $(pkg-config --cflags "$package" 2>/dev/null); do
		common+=("${flag/#-I/-isystem}")
	done
done

bad=0
complain() {
	printf '%s\n' "$1"
	bad=1
}

# Through a file that includes it, as users do; -include would hide a missing include less well, and
# compiling the header itself warns of "#pragma once" and unused static functions.
compiles() {
	local header=$1
	shift
	if ! out=$(printf '#include "%s"\n' "$header" | "$@" "${common[@]}" - 2>&1); then
		complain "$header:1: does not compile alone ($1):"
		printf '%s\n' "$out"
	fi
}

mapfile -t headers < <(check_files '*.h')
check_some ${#headers[@]}

declare -A guards
for header in "${headers[@]}"; do
	# shellcheck disable=SC2086
	compiles "$header" $cc -x c -std=gnu11
	# What speaks of C++ is for C++, too.
	if grep -q __cplusplus "$header"; then
		# shellcheck disable=SC2086
		compiles "$header" $cxx -x c++ -std=c++17
	fi

	# The first two directives, nothing but comments before them.
	guard=$(grep -m 1 -E '^[[:space:]]*#' "$header" | sed -n 's/^#ifndef \(STOWAGE_[A-Z0-9_]*_H\)$/\1/p')
	if [ -z "$guard" ] || ! grep -m 2 -E '^[[:space:]]*#' "$header" | tail -n 1 | grep -qx "#define $guard"; then
		complain "$header:1: no include guard (#ifndef STOWAGE_..._H, #define the same)"
	elif [ -n "${guards[$guard]:-}" ]; then
		complain "$header:1: include guard $guard is that of ${guards[$guard]}, too"
	else
		guards[$guard]=$header
	fi

	case $header in
	content/* | backends/* | conf/* | proto/* | cmd/*)
		awk '
			NF == 0 { next }
			{ lines++ }
			open || /\/\*/ || /\/\// { comments++ }
			{
				# Whether a comment is open at the end of the line.
				for (s = $0; match(s, open ? "\\*/" : "/\\*"); s = substr(s, RSTART + 2))
					open = !open
			}
			END {
				if (lines > 30 && 100 * comments < 25 * lines) {
					printf "%s:1: comments on %d of %d lines, %d %%: at least 25 %%\n", FILENAME,
						comments, lines, 100 * comments / lines
					exit 1
				}
			}' "$header" || bad=1
		;;
	esac
done
exit $bad
