#!/usr/bin/env bash
# run.sh [--rows 1,2,...] [--quick] [--rounds N] [--where tmpfs|disk] [--disk DIR] [--tmpfs DIR] [--out DIR] [--million]
#
# The benchmark: builds what measures, and measures build/cmd/stowage (STOWAGE_BIN names another) against a
# straightforward proxy store in Go and containerd's built-in store; on a bucket of a Ceph gateway against curl
# and aws; and as a node of a fleet against itself without a bucket. --where leaves the other place out, of rows
# that are measured in both. --disk and --tmpfs name directories in which it makes one of its own, that it removes;
# --out is where the results go, build/bench if not given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=scripts/go.sh
. "$here/../../scripts/go.sh"

tmpfs=/dev/shm
disk=
out=$TOP/build/bench
pass=()
while (($#)); do
	case $1 in
	--rows | --rounds | --where)
		(($# > 1)) || die "$1 needs a value"
		pass+=("-${1#--}" "$2")
		shift
		;;
	--quick | --million) pass+=("-${1#--}") ;;
	--disk | --tmpfs | --out)
		(($# > 1)) || die "$1 needs a directory"
		printf -v "${1#--}" %s "$2"
		shift
		;;
	-h | --help)
		sed -n '2,8s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		sed -n '2s/^# /usage: /p' "$0" >&2
		exit 2
		;;
	esac
	shift
done

[[ -x $STOWAGE_BIN ]] || die "there is no $STOWAGE_BIN: run make first"
if grep -qaE '__asan_init|__tsan_init|__ubsan_handle' "$STOWAGE_BIN"; then
	die "$STOWAGE_BIN is built with sanitizers: that would measure them"
fi
"$TOP/scripts/deps.sh" bench

bin=$TOP/build/bench/bin
mkdir -p "$out" "$bin" "${disk:=$out}"

step "Building the benchmark"
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -I "$TOP" -o "$bin/floor" "$here"/floor/*.c -lcrypto
go_tool build -o "$bin/goproxy" stowage/bench/goproxy
go_tool build -o "$bin/s3server" stowage/s3/server
go_tool build -o "$bin/bench" stowage/bench

own=()
bench=
finish() {
	trap - EXIT INT TERM
	if [[ -n $bench ]]; then
		kill -s TERM "$bench" 2>/dev/null || true
		wait "$bench" 2>/dev/null || true
	fi
	if ((${#own[@]})); then rm -rf --one-file-system "${own[@]}"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

for dir in "$tmpfs" "$disk"; do own+=("$(mktemp -d "$dir/stw.XXXXXX")"); done
[[ $(stat -f -c %T "${own[0]}") == tmpfs ]] || die "$tmpfs is no tmpfs"
[[ $(stat -f -c %T "${own[1]}") != tmpfs ]] || die "$disk is a tmpfs, and no disk: name one with --disk"

step "Measuring"
# In the background, so that a signal to this script is answered at once, and by all.
"$bin/bench" "${pass[@]}" -tmpfs "${own[0]}" -disk "${own[1]}" -out "$out" -stowage "$STOWAGE_BIN" \
	-goproxy "$bin/goproxy" -floor "$bin/floor" -e2e "$here/e2e.sh" \
	-gateway "$TOP/tests/s3/rgw.sh" -s3server "$bin/s3server" -aws /usr/bin/aws &
bench=$!
status=0
wait "$bench" || status=$?
bench=
exit "$status"
