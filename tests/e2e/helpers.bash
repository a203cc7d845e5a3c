# shellcheck shell=bash
# What the tests share. Each test: a fresh run directory with Stowage and containerd, gone afterwards.
#
# STOWAGE_E2E_STORE says where Stowage keeps the blobs: `local`, or `s3` for a bucket of a Ceph gateway, which each
# test has for itself too.

# shellcheck source=scripts/lib.sh
. "$BATS_TEST_DIRNAME/../../scripts/lib.sh"
# shellcheck source=scripts/images.sh
. "$BATS_TEST_DIRNAME/../../scripts/images.sh"

# shellcheck source=tests/e2e/stores.bash
. "$BATS_TEST_DIRNAME/stores.bash"

setup() {
	run_begin
	store_begin
	stowage_start
	containerd_start
}

teardown() {
	if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then show_logs; fi
	local report=
	if running stowage; then end stowage; fi
	# A daemon that was built with sanitizers must have nothing to report.
	if grep -E 'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:' "$RUN/stowage.log"; then report=yes; fi
	run_end
	[[ -z $report ]]
}

# refute COMMAND...: `! command` would not fail a test.
refute() {
	if "$@"; then
		echo "did not fail: $*"
		return 1
	fi
}

# containerd's client waits up to 3 s between two tries to reach a store that was away.
again() { retry 15 "$@"; }

image() { echo "$REGISTRY/$1:latest"; }

pull() { pctr images pull --plain-http "$(image "$1")" >"$RUN/pull.out" 2>&1 || { tail -n 5 "$RUN/pull.out"; return 1; }; }
fetch() { pctr content fetch --plain-http "$(image "$1")" >"$RUN/fetch.out" 2>&1 || { tail -n 5 "$RUN/fetch.out"; return 1; }; }
remove() { pctr images rm --sync "$(image "$1")"; }

manifest() {
	registry_curl --header 'Accept: application/vnd.oci.image.manifest.v1+json' \
		"http://$REGISTRY/v2/$1/manifests/latest"
}

# The digests of an image's manifest, config and layers, one a line.
image_digests() {
	local text
	text=$(manifest "$1")
	printf %s "$text" | digest_of_stdin
	jq --raw-output '.config.digest, .layers[].digest' <<<"$text"
}

big_layer() { manifest big | jq --raw-output '.layers[-1].digest'; }

listed() { pctr content ls --quiet | grep -qx "$1"; }
digest_of_stdin() { echo "sha256:$(sha256sum | cut -d' ' -f1)"; }

# present DIGEST...: listed, stored, and the bytes are right both ways. Large ones are read straight: twice
# through gRPC is a test of containerd's patience.
present() {
	local d ctr all
	all=$(pctr content ls --quiet)
	for d; do
		grep -qx "$d" <<<"$all" || { echo "$d is not listed"; return 1; }
		[[ sha256:$(sha_of "$(blob_file "$d")") == "$d" ]] || { echo "$d is wrong in the store"; return 1; }
		ctr=pctr
		if [[ $(stat -c %s "$(blob_file "$d")") -gt 16000000 ]]; then ctr=sctr; fi
		[[ $("$ctr" content get "$d" | digest_of_stdin) == "$d" ]] || { echo "$d is wrong over the socket"; return 1; }
	done
}

# present_image REPO: all of it.
present_image() {
	local digests
	mapfile -t digests < <(image_digests "$1")
	((${#digests[@]} > 2)) && present "${digests[@]}"
}

# Every blob that anybody lists is right, and the store holds nothing else.
store_is_sound() {
	local d n=0
	for d in $(sctr content ls --quiet); do
		[[ sha256:$(sha_of "$(blob_file "$d")") == "$d" ]] || { echo "$d is wrong in the store"; return 1; }
		n=$((n + 1))
	done
	[[ $(stored_count) == "$n" ]] || { echo "$n blobs, $(stored_count) stored"; return 1; }
}

store_is_empty() { [[ -z $(sctr content ls --quiet) && $(stored_count) == 0 ]]; }

# bytes_in_flight N: whether the ingests have taken N bytes.
bytes_in_flight() {
	[[ $(find "$RUN/store/ingest" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }') -ge $1 ]]
}
