#!/usr/bin/env bash
# The whole test: builds with gcc and runs everything; then again, as far as it is cheap, under AddressSanitizer
# with UndefinedBehaviorSanitizer, and under ThreadSanitizer, both built by clang.
#
# test.sh [SECTION...]: only these, of: release servers conformance e2e s3 fleet asan tsan. The last line of the output is
# `N passed, M failed`, with `, K skipped` where some were.
#
# STOWAGE_CRASH_ROUNDS: how often the crash test kills the daemon. STOWAGE_E2E_BIG_MIB: size of the large layer.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/go.sh
. "$(dirname "$0")/go.sh"
cd "$TOP"

passed=0 failed=0 skipped=0
over=()
NOT_BUCKET='^Test([^SF]|S[^3]|F[^l])' # neither TestS3... nor TestFleet...: Go's test runner has no way to leave some out
ONE_NODE=("$TOP"/tests/e2e/{content,images,restart,s3}.bats)
LOGS=$TOP/build/logs
RUNS=$(mktemp -d /tmp/stw.XXXXXX) # all that tests start, and leave, is in here
chmod 711 "$RUNS"                # some run as nobody
export RUNS TMPDIR=$RUNS CTR=$TOOLS/bin/ctr PATH=$TOOLS/bin:$PATH
mkdir -p "$LOGS"

runner_gone() { ! kill -s 0 -- "-$runner" 2>/dev/null; }

# Whatever way this ends: nothing that was started is left.
cleanup() {
	trap - EXIT INT TERM HUP
	local dir
	if [[ -n ${runner:-} ]]; then
		kill -s TERM -- "-$runner" 2>/dev/null || true
		retry 5 runner_gone || kill -s KILL -- "-$runner" 2>/dev/null || true
	fi
	for dir in "$RUNS"/stowage.*; do
		if [[ -d $dir/pids ]]; then
			RUN=$dir
			run_end || true
		fi
	done
	awk -v d="$RUNS/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | while read -r dir; do
		umount -l "$dir" || true
	done
	rm -rf --one-file-system "$RUNS"
}
trap cleanup EXIT
trap 'cleanup; exit 130' INT TERM HUP

# --- sections and counting -------------------------------------------------------------------------------

section() {
	printf '\n=== %s (at %d:%02d) ===\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}

add() { # PASSED FAILED SKIPPED
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	printf -- '--- %d passed, %d failed, %d skipped\n' "$1" "$2" "$3"
}

# broken WHAT: something failed that is no test case, a build for instance. It counts as one.
broken() {
	printf -- '--- FAILED: %s\n' "$*"
	failed=$((failed + 1))
}

# logged LOG PATTERN COMMAND...: its whole output in LOG, the lines that match PATTERN on the screen. In a
# process group of its own, so that an interrupt ends all of it.
logged() {
	local log=$LOGS/$1 pattern=$2 status=0
	shift 2
	set -m
	"$@" </dev/null > >(tee "$log" | grep -a --line-buffered -E -e "$pattern") 2>&1 &
	runner=$!
	set +m
	wait "$runner" || status=$?
	runner=
	sleep 0.1 # the screen's last lines
	return "$status"
}

# Cases within meson's tests count one by one where they say so (cmocka, TAP), a test as one elsewhere.
count_meson() { # TESTLOG STATUS
	local counts
	counts=$(jq --raw-output --slurp '
		def lines: .stdout // "" | split("\n");
		def many(start): [lines[] | select(startswith(start))] | length;
		map(
			many("[ RUN      ] ") as $ran | many("ok ") as $good | many("not ok ") as $bad |
			if .result == "SKIP" then [0, 0, 1]
			elif $ran > 0 then many("[       OK ] ") as $ok | many("[  SKIPPED ] ") as $sk |
				[$ok, ([$ran - $ok - $sk, (if .result == "OK" then 0 else 1 end)] | max), $sk]
			elif $good + $bad > 0 then ([lines[] | select(test("^ok .* # skip"))] | length) as $sk |
				[$good - $sk, $bad, $sk]
			elif .result == "OK" or .result == "EXPECTEDFAIL" then [1, 0, 0]
			else [0, 1, 0] end)
		| transpose | map(add) | "\(.[0]) \(.[1]) \(.[2])"' "$1" 2>/dev/null) || counts="0 0 0"
	settle "$counts" "$2"
}

failed_meson() { # TESTLOG: what the failed tests wrote
	jq --raw-output 'select(.result | IN("OK", "SKIP", "EXPECTEDFAIL") | not) |
		"### \(.name): \(.result)\n" + ((.stdout // "") + "\n" + (.stderr // "") |
		split("\n") | map(select(startswith("[       OK ]") or startswith("[ RUN") or startswith("ok ") | not)) |
		.[-80:] | join("\n"))' "$1" || true
}

count_go() { # LOG STATUS
	settle "$(awk '/^ *--- PASS:/ { p++ } /^ *--- FAIL:/ { f++ } /^ *--- SKIP:/ { s++ } END { print p + 0, f + 0, s + 0 }' "$1")" "$2"
}

count_bats() { # LOG STATUS
	settle "$(awk '/^ok .* # skip/ { s++; next } /^ok / { p++ } /^not ok / { f++ } END { print p + 0, f + 0, s + 0 }' "$1")" "$2"
}

# A runner that failed without a failed case, or ran nothing, has failed all the same.
settle() { # "P F S" STATUS
	local p f s
	read -r p f s <<<"$1"
	if (($2 != 0 && f == 0)) || ((p + f + s == 0)); then
		say "(the runner itself ended with status $2)"
		f=$((f + 1))
	fi
	add "$p" "$f" "$s"
}

# --- builds ----------------------------------------------------------------------------------------------

# build DIR LOG MESON-ARGS...
build() {
	local dir=$1 log=$2
	shift 2
	if ! { "$TOP/scripts/build.sh" "$dir" "$@" >"$LOGS/$log" 2>&1; }; then
		grep -E -A6 'error|FAILED|ERROR' "$LOGS/$log" | head -n 60
		broken "build of $dir"
		return 1
	fi
}

conformance_build() {
	if ! go_tool test -vet=off -c -o "$TOP/build/go/conformance" stowage/conformance; then
		broken "build of tests/conformance"
		return 1
	fi
}

# --- runners ---------------------------------------------------------------------------------------------

run_meson() { # DIR LOG MESON-ARGS...
	local dir=$1 log=$2 status=0
	shift 2
	rm -f "$dir/meson-logs/testlog.json"
	logged "$log" '^ *[0-9]+/[0-9]+ ' \
		timeout 900 meson test -C "$dir" --no-rebuild "$@" || status=$?
	((status == 0)) || failed_meson "$dir/meson-logs/testlog.json"
	count_meson "$dir/meson-logs/testlog.json" "$status"
}

# over: the command that starts what it runs over, if it brings nothing of its own.
run_conformance() { # LOG GO-TEST-ARGS...
	local log=$1 status=0
	shift
	logged "$log" '^--- |^panic|--- FAIL|_test\.go:' \
		timeout -k 10 1500 "${over[@]}" "$TOP/build/go/conformance" -test.v -test.timeout 24m "$@" || status=$?
	count_go "$LOGS/$log" "$status"
}

run_bats() { # LOG BATS-ARGS...
	local log=$1 status=0
	shift
	logged "$log" '' timeout -k 30 1200 bats --tap --timing "$@" || status=$?
	count_bats "$LOGS/$log" "$status"
}

# --- sections --------------------------------------------------------------------------------------------

release() {
	section "release build (gcc): unit tests, backend suite, fuzz corpus, rules"
	build build release-build.log --buildtype=release || return 0
	run_meson build release-meson.log
}

servers() {
	section "what measures and what plays the bucket, by themselves"
	local status=0
	logged servers-go.log '^--- |^panic|--- FAIL|_test\.go:' go_tool test -v -count=1 -vet=off -timeout 5m \
		stowage/s3/{sigv4,strict,faults,identity,gateway} stowage/bench || status=$?
	count_go "$LOGS/servers-go.log" "$status"
	run_bats servers-bats.log "$TOP/tests/s3/servers.bats"
}

conformance() {
	section "conformance: containerd's own suite, the contract, crashes, full disks"
	conformance_build || return 0
	STOWAGE_BIN=$TOP/build/cmd/stowage run_conformance conformance.log
}

e2e() {
	section "end to end: a real containerd and a real registry"
	STOWAGE_BIN=$TOP/build/cmd/stowage run_bats e2e.log "${ONE_NODE[@]}"
}

# What `conformance` does, and `e2e` in part, over a bucket of a Ceph gateway. The tests named TestS3 and TestFleet bring servers of their
# own, and are among the others in `conformance`.
s3() {
	local over=("$TOP/tests/suite/s3.sh" rgw)
	section "S3: conformance over a Ceph gateway"
	conformance_build || return 0
	STOWAGE_BIN=$TOP/build/cmd/stowage run_conformance s3-conformance.log -test.run "$NOT_BUCKET"
	section "S3: end to end with a bucket"
	# Server and disk share the machine with all else: half the bytes are eight parts still.
	STOWAGE_E2E_BIG_MIB=${STOWAGE_E2E_BIG_MIB:-128} STOWAGE_E2E_STORE=s3 STOWAGE_BIN=$TOP/build/cmd/stowage run_bats s3-e2e.log \
		"$TOP"/tests/e2e/{content,s3}.bats
}

# Several nodes on one bucket. What they do without containerd is TestFleet..., in `conformance`.
fleet() {
	section "fleet: several nodes, their registries and a bucket of a Ceph gateway"
	STOWAGE_E2E_BIG_MIB=${STOWAGE_E2E_BIG_MIB:-32} STOWAGE_E2E_LAYERS=${STOWAGE_E2E_LAYERS:-12} STOWAGE_BIN=$TOP/build/cmd/stowage \
		run_bats fleet.log "$TOP"/tests/e2e/fleet*.bats
}

asan() {
	section "AddressSanitizer and UndefinedBehaviorSanitizer (clang): unit tests, suite, fuzz corpus"
	export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	CC=clang CXX=clang++ build build-asan asan-build.log --buildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false || return 0
	run_meson build-asan asan-meson.log --no-suite check --no-suite cli --timeout-multiplier 4
	section "AddressSanitizer and UndefinedBehaviorSanitizer: conformance"
	conformance_build || return 0
	STOWAGE_BIN=$TOP/build-asan/cmd/stowage STOWAGE_SLOW=3 \
		STOWAGE_CRASH_ROUNDS=$((${STOWAGE_CRASH_ROUNDS:-60} / 6)) run_conformance asan-conformance.log
}

# The libraries that are not built for ThreadSanitizer, and what they tell it through tests/tsan_grpc.c.
tsan_helpers() {
	ldd build-tsan/cmd/stowage | awk '$1 ~ /^lib(grpc|gpr|absl|upb|address_sorting|cares|re2)/ { print "called_from_lib:" $1 }' \
		>build-tsan/suppressions
	clang -shared -fPIC -O1 -g -Wall -Werror -D_GNU_SOURCE -o build-tsan/tsan_grpc.so tests/tsan_grpc.c
}

tsan() {
	section "ThreadSanitizer (clang): unit tests, suite"
	export TSAN_OPTIONS=halt_on_error=0:exitcode=66:second_deadlock_stack=1
	CC=clang CXX=clang++ build build-tsan tsan-build.log --buildtype=debugoptimized \
		-Db_sanitize=thread -Db_lundef=false || return 0
	run_meson build-tsan tsan-meson.log --suite unit --suite suite --suite stress --timeout-multiplier 6
	section "ThreadSanitizer: conformance"
	tsan_helpers || { broken "build of tests/tsan_grpc.c" && return 0; }
	conformance_build || return 0
	TSAN_OPTIONS+=":suppressions=$TOP/build-tsan/suppressions" STOWAGE_PRELOAD=$TOP/build-tsan/tsan_grpc.so \
		STOWAGE_BIN=$TOP/build-tsan/cmd/stowage STOWAGE_SLOW=5 \
		STOWAGE_CRASH_ROUNDS=$((${STOWAGE_CRASH_ROUNDS:-60} / 12)) run_conformance tsan-conformance.log \
		-test.run "$NOT_BUCKET|^TestS3[^F]" # faults are timeouts, mostly, which are five times as long here
}

# --- the whole -------------------------------------------------------------------------------------------

"$TOP/scripts/deps.sh" test
ulimit -c 0
sections=("$@")
((${#sections[@]} > 0)) || sections=(release servers conformance e2e s3 fleet asan tsan)
for s in "${sections[@]}"; do
	case $s in
	release | servers | conformance | e2e | s3 | fleet | asan | tsan) "$s" ;;
	*) die "there is no section $s" ;;
	esac
done

printf '\nThis took %d:%02d. All output is in %s.\n' $((SECONDS / 60)) $((SECONDS % 60)) "${LOGS#"$TOP"/}"
summary="$passed passed, $failed failed"
if ((skipped > 0)); then summary+=", $skipped skipped"; fi
echo "$summary"
((failed == 0 && passed > 0))
