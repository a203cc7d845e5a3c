#!/usr/bin/env bash
# The whole test: builds with gcc and runs everything; then again, as far as it is cheap, under AddressSanitizer
# with UndefinedBehaviorSanitizer, and under ThreadSanitizer, both built by clang.
#
# test.sh [SECTION...]: only these, of: release servers conformance e2e s3 fleet asan tsan. The last line of the output is
# `N passed, M failed`, with `, K skipped` where some were.
#
# All sections wait more than they compute, and the sanitizers have limits that are stretched: so asan and tsan run beside the
# others, at a lower priority, and what they say is shown once the others are through.
#
# STOWAGE_CRASH_ROUNDS: how often the crash test kills the daemon. STOWAGE_E2E_BIG_MIB: size of the large layer.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/go.sh
. "$(dirname "$0")/go.sh"
cd "$TOP"

passed=0 failed=0 skipped=0
runner= # the process group of what runs now
beside= # that of the sections beside these
over=()
NOT_BUCKET='^Test([^SF]|S[^3]|F[^l])' # neither TestS3... nor TestFleet...: Go's test runner has no way to leave some out
ONE_NODE=("$TOP"/tests/e2e/{content,images,restart,s3}.bats)
LOGS=$TOP/build/logs
CONFORMANCE=$TOP/build/go/conformance
RUNS=$(mktemp -d /tmp/stw.XXXXXX) # all that tests start, and leave, is in here
chmod 711 "$RUNS"                # some run as nobody
export RUNS TMPDIR=$RUNS CTR=$TOOLS/bin/ctr PATH=$TOOLS/bin:$PATH
mkdir -p "$LOGS"

group_gone() { ! kill -s 0 -- "-$1" 2>/dev/null; }

# end_group PGID SECONDS: nothing of it is left; what does not end within that time is killed.
end_group() {
	[[ -n $1 ]] || return 0
	kill -s TERM -- "-$1" 2>/dev/null || true
	retry "$2" group_gone "$1" || kill -s KILL -- "-$1" 2>/dev/null || true
}

# Whatever way this ends: nothing that was started is left.
cleanup() {
	trap - EXIT INT TERM HUP
	local dir
	end_group "$runner" 5
	end_group "$beside" 10 # it has a runner of its own to end
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

# --- sections beside the others ----------------------------------------------------------------------------

# Of each section there is $RUNS/SECTION.screen, and $RUNS/SECTION.counts once it has ended.
beside_section() { # SECTION
	passed=0 failed=0 skipped=0
	"$1"
	echo "$passed $failed $skipped" >"$RUNS/$1.new"
	mv "$RUNS/$1.new" "$RUNS/$1.counts"
}

# beside_start SECTION...: one after the other, in a process group of its own.
beside_start() {
	local s
	set -m
	{
		set +m
		trap 'trap - TERM; end_group "$runner" 5; exit 143' TERM
		renice -n 5 "$BASHPID" >/dev/null
		for s in "$@"; do
			beside_section "$s" >"$RUNS/$s.screen" 2>&1
		done
	} </dev/null &
	beside=$!
	set +m
}

# beside_show SECTION: what it has said, and what it says until it ends.
beside_show() {
	local screen=$RUNS/$1.screen shown=0 size ended= counts
	while [[ -z $ended ]]; do
		if [[ -e $RUNS/$1.counts ]] || group_gone "$beside"; then ended=yes; else sleep 0.5; fi
		size=$(stat -c %s "$screen" 2>/dev/null || echo 0)
		tail -c "+$((shown + 1))" "$screen" 2>/dev/null | head -c "$((size - shown))" || true
		shown=$size
	done
	if [[ ! -e $RUNS/$1.counts ]]; then
		broken "$1 has not come to its end"
		return 0
	fi
	read -r -a counts <"$RUNS/$1.counts"
	passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
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

# Once, for all sections that run it; who does not find it has nothing to say.
conformance_build() {
	rm -f "$CONFORMANCE"
	go_tool test -vet=off -c -o "$CONFORMANCE" stowage/conformance || broken "build of tests/conformance"
}

# --- runners ---------------------------------------------------------------------------------------------

run_meson() { # DIR LOG MESON-ARGS...
	local dir=$1 log=$2 status=0
	shift 2
	rm -f "$dir/meson-logs/testlog.json"
	logged "$log" '^ *[0-9]+/[0-9]+ ' \
		timeout 1500 meson test -C "$dir" --no-rebuild "$@" || status=$?
	((status == 0)) || failed_meson "$dir/meson-logs/testlog.json"
	count_meson "$dir/meson-logs/testlog.json" "$status"
}

# over: the command that starts what it runs over, if it brings nothing of its own.
run_conformance() { # LOG GO-TEST-ARGS...
	local log=$1 status=0
	shift
	logged "$log" '^--- |^panic|--- FAIL|_test\.go:' \
		timeout -k 10 1500 "${over[@]}" "$CONFORMANCE" -test.v -test.parallel 4 -test.timeout 24m "$@" || status=$?
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
	[[ -x $CONFORMANCE ]] || return 0
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
	[[ -x $CONFORMANCE ]] || return 0
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

# The sanitizers' sections take one S3 server of each kind: what differs between the others is in libraries, which are not
# built for them.
asan() {
	section "AddressSanitizer and UndefinedBehaviorSanitizer (clang): unit tests, suite, fuzz corpus"
	export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	CC=clang CXX=clang++ build build-asan asan-build.log --buildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false || return 0
	run_meson build-asan asan-meson.log --no-suite check --no-suite cli --no-suite transport --timeout-multiplier 8
	section "AddressSanitizer and UndefinedBehaviorSanitizer: conformance"
	[[ -x $CONFORMANCE ]] || return 0
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
	run_meson build-tsan tsan-meson.log --suite unit --suite suite --suite stress --no-suite transport \
		--timeout-multiplier 12
	section "ThreadSanitizer: conformance"
	tsan_helpers || { broken "build of tests/tsan_grpc.c" && return 0; }
	[[ -x $CONFORMANCE ]] || return 0
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
first=() second=()
for s in "${sections[@]}"; do
	case $s in
	release | servers | conformance | e2e | s3 | fleet) first+=("$s") ;;
	asan | tsan) second+=("$s") ;;
	*) die "there is no section $s" ;;
	esac
done
case " ${sections[*]} " in
*" conformance "* | *" s3 "* | *" asan "* | *" tsan "*) conformance_build ;;
esac
if ((${#second[@]} > 0)); then beside_start "${second[@]}"; fi
if ((${#first[@]} > 0 && ${#second[@]} > 0)); then say "(beside what follows, and shown behind it: ${second[*]})"; fi
for s in "${first[@]}"; do "$s"; done
for s in "${second[@]}"; do beside_show "$s"; done

printf '\nThis took %d:%02d. All output is in %s.\n' $((SECONDS / 60)) $((SECONDS % 60)) "${LOGS#"$TOP"/}"
summary="$passed passed, $failed failed"
if ((skipped > 0)); then summary+=", $skipped skipped"; fi
echo "$summary"
((failed == 0 && passed > 0))
