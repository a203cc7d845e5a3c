#!/usr/bin/env bash
# Shows Stowage at work: a private registry, a private containerd with Stowage as its content store, an image
# that is pulled, run and removed. Touches nothing outside build/ and a directory of its own in /tmp, and ends
# by itself.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/images.sh
. "$(dirname "$0")/images.sh"
cd "$TOP"

finish() {
	local status=$?
	trap - EXIT INT TERM HUP
	if [[ -n ${RUN:-} ]]; then
		if ((status != 0 && status != 130)); then show_logs >&2; fi
		step "Cleaning up"
		run_end
	fi
	((status != 0)) || say "Done. Everything that was started has ended, and $demo_dir is gone."
	exit "$status"
}
interrupted() {
	say
	say "Interrupted."
	exit 130
}

# quote COMMAND...: shows a command as a person would type it, and runs it.
quote() {
	say "    \$ $*"
	case $1 in
	ctr)
		shift
		pctr "$@"
		;;
	*) "$@" ;;
	esac 2>&1 | sed 's/^/      /'
}

((EUID == 0)) || die "the demo runs a container, and needs root"
"$TOP/scripts/deps.sh" demo

step "Building Stowage"
"$TOP/scripts/build.sh" build --buildtype=release >"$TOP/build/demo-build.log" 2>&1 ||
	{ tail -n 30 "$TOP/build/demo-build.log" >&2 && die "the build failed"; }
say "    $("$STOWAGE_BIN" version)"

run_begin
demo_dir=$RUN
trap finish EXIT
trap interrupted INT TERM HUP
choose_snapshotter

step "Starting a registry and filling it with an image, all below $RUN"
registry_start
image_begin hello
layer_busybox
layer_text greeting "These bytes went through Stowage."
layer_noise 32
image_push latest
image=$REGISTRY/hello:latest
say "    $image: busybox, a greeting, and 32 MiB that do not compress"

step "Starting Stowage, and a containerd that has no content store but Stowage"
stowage_start
containerd_start
sed -n '/^\[proxy_plugins/,$p' "$RUN/containerd.toml" | sed 's/^/      /'
quote ctr plugin ls | grep -E '\$|TYPE|content.v1'

step "Fetching the image"
quote ctr content fetch --plain-http "$image" | tail -n 4
quote ctr content ls --quiet

step "The same blobs, as files on Stowage's disk"
quote ls -l --time-style=+ "$RUN/store/blobs/sha256"

step "Running a container of it"
pctr images pull --plain-http "$image" >/dev/null
say "    \$ ctr run --rm $image hello cat /greeting"
container_run "$image" cat /greeting | sed 's/^/      /'

step "Removing the image: containerd's collector takes the content away"
quote ctr images rm --sync "$image"
quote ctr content ls --quiet
left=$(find "$RUN/store/blobs" -type f | wc -l)
say "    $left blobs are left on Stowage's disk"
((left == 0)) || die "there should be none"
