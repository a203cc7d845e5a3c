# shellcheck shell=bash
# Shared by the scripts and by tests/e2e: messages, background processes, and a private Stowage, containerd
# and registry. To be sourced, under `set -euo pipefail`.
#
# Everything that is started belongs to a run directory, made by run_begin: sockets, roots, logs, and for
# each process its pid with its start time, so that nothing but that very process is ever signalled.
# run_end ends it all and removes the directory; it may be called from a trap, and by another shell.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
TOOLS=$TOP/build/tools
STOWAGE_BIN=${STOWAGE_BIN:-$BUILD/cmd/stowage}

say() { printf '%s\n' "$*"; }
step() { printf '\n==> %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# retry SECONDS COMMAND...: until it succeeds, or fails when the time is up.
retry() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

# --- the run directory -----------------------------------------------------------------------------------

# run_begin: makes $RUN, in $RUNS or /tmp. Its path is short, for a unix socket's path has 107 bytes at most.
run_begin() {
	RUN=$(mktemp -d "${RUNS:-/tmp}/stowage.XXXXXX")
	mkdir "$RUN/pids"
	export RUN
}

start_time() { # PID: field 22 of its stat, behind the name, which may hold anything
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) }
	# shellcheck disable=SC2086
	set -- $stat
	[[ $1 != Z ]] && echo "${20}"
}

# spawn NAME COMMAND...: in the background, its output in $RUN/NAME.log.
spawn() {
	local name=$1
	shift
	# A session of its own, so that Ctrl-C ends it through run_end, in its turn. Descriptors above 2 are the
	# caller's own (bats waits for those that tests leave open).
	setsid "$@" </dev/null >>"$RUN/$name.log" 2>&1 3>&- 4>&- &
	local pid=$!
	echo "$pid $(start_time "$pid" || echo gone)" >"$RUN/pids/$name"
}

pid_of() { cut -d' ' -f1 "$RUN/pids/$1"; }

running() { # NAME
	local pid time
	[[ -e $RUN/pids/$1 ]] || return 1
	read -r pid time <"$RUN/pids/$1"
	[[ $(start_time "$pid") == "$time" ]]
}

stopped() { ! running "$1"; }

# end NAME [SIGNAL]: ends it, with SIGKILL if 20 seconds of SIGNAL do not.
end() {
	local name=$1 signal=${2:-TERM}
	if running "$name"; then
		kill -s "$signal" "$(pid_of "$name")" 2>/dev/null || true
		if ! retry 20 stopped "$name"; then
			warn "$name does not end with SIG$signal; see $RUN/$name.log"
			kill -s KILL "$(pid_of "$name")" 2>/dev/null || true
			retry 5 stopped "$name" || true
		fi
	fi
	wait "$(pid_of "$name")" 2>/dev/null || true
	rm -f "$RUN/pids/$name"
}

# Processes that were started on our behalf (containerd's shims, containers) name our directory.
end_strays() {
	local cmd pid
	# The pattern comes by a pipe: grep's own command line would match.
	for cmd in $(grep -lszxFf - /proc/[0-9]*/cmdline <<<"$RUN/containerd.sock" || true); do
		pid=${cmd#/proc/}
		kill -s KILL "${pid%/cmdline}" 2>/dev/null || true
	done
}

run_end() {
	[[ -n ${RUN:-} && -d $RUN ]] || return 0
	local name
	for name in containerd stowage registry; do
		if [[ -e $RUN/pids/$name ]]; then end "$name"; fi
	done
	for name in "$RUN"/pids/*; do
		if [[ -e $name ]]; then end "$(basename "$name")"; fi
	done
	end_strays
	# The private containerd has a mount namespace of its own, so nothing should be mounted here.
	awk -v d="$RUN/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | while read -r name; do
		umount -l "$name" || true
	done
	drop_cgroups
	rm -rf --one-file-system "$RUN" 2>/dev/null || { sleep 0.5; rm -rf --one-file-system "$RUN"; }
	unset RUN
}

show_logs() { # the ends of all logs, for a failure's report
	local log
	for log in "$RUN"/*.log; do
		[[ -s $log ]] || continue
		say "--- $(basename "$log") ---"
		grep -v 'msg="response completed"' "$log" | tail -n 25 | cut -c1-400
	done
}

# plain_env: sets PLAIN to an `env` without STOWAGE_... and AWS_..., which are configuration to Stowage and to
# others: neither ours nor the user's belong into what we start.
plain_env() {
	local v
	PLAIN=(env)
	for v in "${!STOWAGE_@}" "${!AWS_@}"; do PLAIN+=(-u "$v"); done
}

# --- Stowage ---------------------------------------------------------------------------------------------

stowage_up() { [[ -S $RUN/stowage.sock ]] && running stowage; }

# stowage_start: on $RUN/stowage.sock, with DAEMON_FLAGS; on $RUN/store where there are none.
stowage_start() {
	[[ -x $STOWAGE_BIN ]] || die "there is no $STOWAGE_BIN: run make first"
	rm -f "$RUN/stowage.sock"
	local flags=(--local "$RUN/store")
	if [[ -n ${DAEMON_FLAGS[*]:-} ]]; then flags=("${DAEMON_FLAGS[@]}"); fi
	plain_env
	spawn stowage "${PLAIN[@]}" "$STOWAGE_BIN" serve "${flags[@]}" --address "$RUN/stowage.sock"
	retry 20 stowage_up || die "stowage does not start: $(tail -n 5 "$RUN/stowage.log")"
}

# --- containerd ------------------------------------------------------------------------------------------

containerd_config() {
	cat <<-EOT
		version = 2
		root = "$RUN/containerd/root"
		state = "$RUN/containerd/state"
		disabled_plugins = [
		  "io.containerd.content.v1.content",
		  "io.containerd.grpc.v1.cri",
		  "io.containerd.internal.v1.opt",
		  "io.containerd.internal.v1.tracing",
		  "io.containerd.tracing.processor.v1.otlp",
		  "io.containerd.snapshotter.v1.aufs",
		  "io.containerd.snapshotter.v1.btrfs",
		  "io.containerd.snapshotter.v1.devmapper",
		  "io.containerd.snapshotter.v1.zfs",
		]
		[grpc]
		  address = "$RUN/containerd.sock"
		[ttrpc]
		  address = "$RUN/containerd.sock.ttrpc"
		[debug]
		  level = "warn"
		# The collector comes when a test asks for it, and not in the middle of another.
		[plugins."io.containerd.gc.v1.scheduler"]
		  startup_delay = "1h"
		[proxy_plugins.stowage]
		  type = "content"
		  address = "$RUN/stowage.sock"
	EOT
}

containerd_up() { pctr version >/dev/null 2>&1; }

# containerd_start: a private one, which uses $RUN/stowage.sock. It lives in a mount namespace of its own
# with an empty /run, because containerd's shims keep their sockets in /run/containerd whatever the
# configuration says; and so all that it mounts goes when it goes.
containerd_start() {
	mkdir -p "$RUN/fifo"
	containerd_config >"$RUN/containerd.toml"
	PATH=$TOOLS/bin:$PATH spawn containerd unshare --mount --propagation private bash -c \
		"mount -t tmpfs tmpfs /run && exec '$TOOLS/bin/containerd' --config '$RUN/containerd.toml'"
	retry 30 containerd_up || die "containerd does not start: $(tail -n 5 "$RUN/containerd.log")"
}

# pctr ARGS...: ctr of the private containerd; sctr: straight at Stowage's socket. No call may hang.
pctr() {
	CONTAINERD_SNAPSHOTTER=${SNAPSHOTTER:-overlayfs} timeout -k 5 "${CTR_TIMEOUT:-120}" \
		"$TOOLS/bin/ctr" --address "$RUN/containerd.sock" "$@"
}
sctr() { timeout -k 5 "${CTR_TIMEOUT:-120}" "$TOOLS/bin/ctr" --address "$RUN/stowage.sock" "$@"; }

# Not every file system lets overlayfs work upon it; `native` copies, and works everywhere.
choose_snapshotter() {
	local probe=$RUN/overlay-probe
	mkdir -p "$probe"/{lower,upper,work,merged}
	if unshare --mount --propagation private mount -t overlay overlay \
		-o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null; then
		SNAPSHOTTER=overlayfs
	else
		SNAPSHOTTER=native
	fi
	export SNAPSHOTTER
	rm -rf "$probe"
}

# container_run IMAGE COMMAND...: prints what the container prints.
container_run() {
	local image=$1 id
	shift
	id=c$RANDOM$RANDOM
	pctr run --rm --fifo-dir "$RUN/fifo" --snapshotter "$SNAPSHOTTER" --cgroup "/$(basename "$RUN")/$id" "$image" "$id" "$@"
}

# Control groups stay behind: their parent always, and those of a container that was killed.
drop_cgroups() {
	find /sys/fs/cgroup -maxdepth 2 -type d -name "$(basename "$RUN")" -print0 2>/dev/null |
		while IFS= read -r -d '' dir; do find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
}

# --- a registry ------------------------------------------------------------------------------------------

registry_address() { sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$RUN/registry.log" | tail -n 1; }
registry_up() { [[ -n $(registry_address) ]]; }

# registry_start [STORAGE]: on loopback, on a free port; sets REGISTRY to host:port. STORAGE is the driver's
# configuration; without it the images are in $RUN/registry.
registry_start() {
	local storage=${1:-"filesystem: {rootdirectory: $RUN/registry}"}
	cat >"$RUN/registry.yml" <<-EOT
		version: 0.1
		log: {level: info, accesslog: {disabled: true}}
		storage: {$storage, delete: {enabled: true}}
		http: {addr: "127.0.0.1:0"}
	EOT
	plain_env
	OTEL_TRACES_EXPORTER=none spawn registry "${PLAIN[@]}" "$TOOLS/bin/docker-registry" serve "$RUN/registry.yml"
	retry 20 registry_up || die "the registry does not start: $(tail -n 5 "$RUN/registry.log")"
	REGISTRY=$(registry_address)
	export REGISTRY
}
