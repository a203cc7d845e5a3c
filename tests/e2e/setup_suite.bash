# shellcheck shell=bash
# One registry with all images serves all tests; each test has a Stowage and a containerd of its own.

setup_suite() {
	local top
	top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	# shellcheck source=scripts/lib.sh
	. "$top/scripts/lib.sh"
	# shellcheck source=scripts/images.sh
	. "$top/scripts/images.sh"
	((EUID == 0)) || die "the end-to-end tests run containers, and need root"
	run_begin
	export SUITE_RUN=$RUN
	registry_start
	image_busybox
	image_layers "${STOWAGE_E2E_LAYERS:-40}"
	image_index
	image_big "${STOWAGE_E2E_BIG_MIB:-256}"
	choose_snapshotter
}

teardown_suite() {
	RUN=${SUITE_RUN:-}
	run_end
}
