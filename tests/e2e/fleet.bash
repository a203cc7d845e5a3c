# shellcheck shell=bash
# Several nodes on this machine, for the tests of fleet*.bats. To be loaded instead of helpers.
#
# A node is a run directory (scripts/lib.sh) with a Stowage, a containerd, and a registry. All registries have
# the same images; what a node asks its own for is in that one's log. `at NODE COMMAND...` does anything of
# lib.sh or helpers.bash there.
#
# The bucket is of a Ceph gateway that serves all tests of a file; each test has a prefix of its own there.
#
# shellcheck disable=SC2034 # what lib.sh and the tests read

load helpers
# shellcheck source=scripts/go.sh
. "$BATS_TEST_DIRNAME/../../scripts/go.sh"
# shellcheck source=tests/s3/servers.sh
. "$BATS_TEST_DIRNAME/../s3/servers.sh"
# shellcheck source=tests/s3/rgw.sh
. "$BATS_TEST_DIRNAME/../s3/rgw.sh"

BUCKET=fleet

setup_file() {
	servers_build
	run_begin
	export GATEWAY_RUN=$RUN
	rgw_start --bucket "$BUCKET"
	export RGW_ENDPOINT RGW_STORE RGW_DIR RGW_CA
}

teardown_file() {
	RUN=${GATEWAY_RUN:-}
	run_end
}

setup() { fleet_begin; }
teardown() { fleet_end; }

fleet_begin() {
	run_begin
	TEST_RUN=$RUN # of what is no node's
	PREFIX=test-$BATS_TEST_NUMBER
	ENDPOINT=$RGW_ENDPOINT
	NODES=()
	declare -gA NODE_RUN=() NODE_REGISTRY=()
	rgw_commands
}

fleet_end() {
	local name report=
	for name in "${NODES[@]}"; do
		RUN=${NODE_RUN[$name]}
		if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
			echo "=== node $name ==="
			show_logs
		fi
		if running stowage; then end stowage; fi
		if grep -E 'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:' "$RUN/stowage.log"; then report=yes; fi
		run_end
	done
	RUN=$TEST_RUN run_end
	if ! at_gateway rgw_serves; then at_gateway rgw_resume; fi
	[[ -z $report ]]
}

# --- nodes -----------------------------------------------------------------------------------------------

# at NODE COMMAND...
at() {
	local RUN=${NODE_RUN[$1]} REGISTRY=${NODE_REGISTRY[$1]:-} DAEMON_FLAGS
	DAEMON_FLAGS=(--config "$RUN/stowage.toml")
	shift
	"$@"
}

at_gateway() {
	local RUN=$GATEWAY_RUN
	"$@"
}

# nodes NAME...: each with its Stowage on the bucket (see node_config), its containerd and its registry.
nodes() {
	local name
	for name; do
		node_make "$name"
		node_config "$name"
		at "$name" stowage_start
		at "$name" containerd_start
	done
}

# node_make NAME: a node on which only the registry runs.
node_make() {
	local name=$1
	run_begin
	NODES+=("$name")
	NODE_RUN[$name]=$RUN
	registry_start "filesystem: {rootdirectory: $SUITE_RUN/registry}"
	NODE_REGISTRY[$name]=$REGISTRY
	RUN=$TEST_RUN
}

# node_config NAME: what Stowage is started with. LOCAL, REMOTE and REST, where the test has set them, are lines
# for the tables [local], [remote], and behind all. Limits that a test has the patience for; and the tests' disk is
# as full as it happens to be.
node_config() {
	local run=${NODE_RUN[$1]}
	cat >"$run/stowage.toml" <<-EOT
		root = "$run/store"
		[grpc]
		address = "$run/stowage.sock"
		drain_timeout = "3s"
		[local]
		min_free = "${MIN_FREE:-0}"
		${LOCAL:-}
		[remote]
		type = "s3"
		claim_interval = "200ms"
		${REMOTE:-}
		[remote.s3]
		endpoint = "$ENDPOINT"
		bucket = "$BUCKET"
		prefix = "$PREFIX"
		access_key = "$RGW_ACCESS_KEY"
		secret_key = "$RGW_SECRET_KEY"
		proxy = "direct"
		small_blob = "1MiB"
		part_size = "5MiB"
		first_byte_timeout = "2s"
		stall_timeout = "2s"
		max_attempts = 2
		${REST:-}
	EOT
}

# stowage_again: after its end, on what it has; until its containerd has noticed, which waits for up to 3 s.
stowage_again() {
	stowage_start
	retry 15 noticed
}

# An ingest of a wrong digest fails in any case; why, tells whether the store was asked.
noticed() {
	run pctr content ingest --expected-size 1 --expected-digest "sha256:$(printf %064d 0)" notice <<<""
	[[ $output != *"connection error"* && $output != *navailable* ]]
}

# forget REPO: containerd believes that it has what it was told of, whether it could be read or not, until the image is
# gone and its garbage collected.
forget() {
	local lease
	remove "$1" || true
	lease=$(pctr leases create)
	pctr leases rm --sync "$lease"
}

# stow COMMAND [ARGS...]: the command line of a node's Stowage.
stow() {
	local command=$1
	shift
	plain_env
	timeout -k 5 120 "${PLAIN[@]}" "$STOWAGE_BIN" "$command" --config "$RUN/stowage.toml" "$@"
}

# told FILTER: what `stowage status` says, by a filter of jq.
told() { stow status --format json | jq --raw-output "$1"; }
told_so() { [[ $(told "$1") == true ]]; }

flushed() { stow flush --timeout 110s; }

# The names of the blobs that this node's registry was asked for. Looks (HEAD) do not count.
blobs_asked() {
	grep -F 'msg="response completed"' "$RUN/registry.log" | grep -F 'http.request.method=GET' |
		grep -o 'http.request.uri="[^"]*/blobs/[^"]*' | sed 's|.*/blobs/||' || true
}
asked_nothing() { [[ -z $(blobs_asked) ]]; }

runs() { # REPO: and what it prints comes from inside
	run container_run "$(image "$1")" sh -c 'echo "it runs"'
	echo "$output"
	[[ $status == 0 && $output == *"it runs"* ]]
}

# readable DIGEST...: listed, and right over the socket.
readable() {
	local d all
	all=$(sctr content ls --quiet)
	for d; do
		grep -qx "$d" <<<"$all" || { echo "$d is not listed"; return 1; }
		[[ $(sctr content get "$d" | digest_of_stdin) == "$d" ]] || { echo "$d is wrong over the socket"; return 1; }
	done
}

readable_image() {
	local digests
	mapfile -t digests < <(image_digests "$1")
	((${#digests[@]} > 2)) && readable "${digests[@]}"
}

# readable_all: whatever this node lists.
readable_all() {
	local digests
	mapfile -t digests < <(sctr content ls --quiet)
	readable "${digests[@]}"
}

# local_is_sound: no file has other bytes than its name says.
local_is_sound() {
	local file
	for file in "$RUN"/store/blobs/sha256/*; do
		[[ ! -e $file || $(sha_of "$file") == "$(basename "$file")" ]] || { echo "$file has other bytes"; return 1; }
	done
}

# timed WHAT COMMAND...: says how long it took, for those who read the log.
timed() {
	local what=$1 start=$EPOCHREALTIME status=0
	shift
	"$@" || status=$?
	awk -v a="$start" -v b="$EPOCHREALTIME" -v w="$what" 'BEGIN { printf "# %s: %.2f s\n", w, b - a }' >&3
	return "$status"
}

# --- the bucket ------------------------------------------------------------------------------------------

blob_key() { echo "$PREFIX/blobs/${1/://}"; }
blob_url() { echo "$RGW_ENDPOINT/$BUCKET/$(blob_key "$1")"; }

in_bucket() { rgw_curl --head --output /dev/null "$(blob_url "$1")" 2>/dev/null; }

# bucket_has REPO: all of an image, each object's hash right.
bucket_has() {
	local d digests
	mapfile -t digests < <(at "${NODES[0]}" image_digests "$1")
	((${#digests[@]} > 2))
	for d in "${digests[@]}"; do
		[[ $(rgw_curl "$(blob_url "$d")" | digest_of_stdin) == "$d" ]] || { echo "$d is not in the bucket, or wrong"; return 1; }
	done
}

bucket_blobs() { rgw_names Key "$BUCKET" "list-type=2&prefix=$PREFIX%2Fblobs%2F" | sed 's|.*/||'; }

# bucket_is_sound: each object's bytes are what its name says.
bucket_is_sound() {
	local hex
	for hex in $(bucket_blobs); do
		[[ $(rgw_curl "$(blob_url "sha256:$hex")" | digest_of_stdin) == "sha256:$hex" ]] || { echo "$hex is wrong in the bucket"; return 1; }
	done
}

# Uploads that were begun for this test's prefix and neither completed nor aborted.
no_open_uploads() { [[ -z $(rgw_names Key "$BUCKET" "uploads=&prefix=$PREFIX%2F") ]]; }

# lie DIGEST: the object has other bytes from now on, as many as before.
lie() {
	local url size
	url=$(blob_url "$1")
	size=$(rgw_curl --head "$url" | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: //p')
	head -c "$size" /dev/zero >"$TEST_RUN/lie"
	rgw_curl --upload-file "$TEST_RUN/lie" --output /dev/null "$url"
}

# behind_faults: the nodes that are made from now on see the bucket through a fault proxy; sets FAULTS to its
# control address.
behind_faults() {
	server_start faults faults -upstream "$RGW_ENDPOINT"
	FAULTS=$SERVER_CONTROL ENDPOINT=$SERVER_URL
}

# taken METHOD REGEX: how many such requests have got a 2xx through the proxy.
taken() {
	curl --silent --fail "$FAULTS/log" | jq --arg m "$1" --arg t "$2" \
		'map(select(.method == $m and .status >= 200 and .status < 300 and (.target | test($t)))) | length'
}
taken_some() { [[ $(taken "$1" "$2") -ge $3 ]]; }
