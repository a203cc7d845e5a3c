#!/usr/bin/env bats
# What can only go wrong with a bucket.

load helpers

setup() {
	run_begin # first, for it is what teardown ends
	[[ ${STOWAGE_E2E_STORE:-local} == s3 ]] || skip "the blobs are not in a bucket"
	# shellcheck source=scripts/go.sh
	. "$BATS_TEST_DIRNAME/../../scripts/go.sh"
	# shellcheck source=tests/s3/servers.sh
	. "$BATS_TEST_DIRNAME/../s3/servers.sh"
	store_begin
	servers_build
}

# begin [ENDPOINT]: Stowage and containerd, with the bucket there.
begin() {
	if (($#)); then store_config "$1"; fi
	stowage_start
	containerd_start
}

# behind_faults: a fault proxy between Stowage and the bucket; sets FAULTS to its control address.
behind_faults() {
	server_start faults faults -upstream "$RGW_ENDPOINT"
	FAULTS=$SERVER_CONTROL
	begin "$SERVER_URL"
}

# slow_bucket: the bucket takes its time over each part, so that there is a middle to break in.
slow_bucket() { server_rules "$FAULTS" '{"method": "PUT", "target": "partNumber=", "delay_ms": 300}'; }

no_open_uploads() { [[ -z $(open_uploads) ]]; }

# The part numbers that the bucket has taken, each as often as it was sent.
parts_taken() {
	server_log "$FAULTS" 'select(.method == "PUT" and .status == 200) | .target' | sed -n 's/.*partNumber=\([0-9]*\).*/\1/p'
}

@test "https with an authority of one's own, and virtual hosts" {
	begin "$RGW_TLS_ENDPOINT"
	fetch busybox
	present_image busybox
	end stowage
	echo 'addressing = "virtual"' >>"$RUN/stowage.toml"
	stowage_start
	again fetch layers
	present_image layers
}

@test "a fetch leaves no upload open, and no bytes behind" {
	begin
	fetch big
	store_is_sound
	no_open_uploads
	refute bytes_in_flight 1
	[[ $(find "$RUN/store/blobs" -type f 2>/dev/null | wc -l) == 0 ]]
}

@test "a bucket that is busy, slow and breaks off: the fetch ends well" {
	behind_faults
	server_rules "$FAULTS" '[
		{"method": "PUT", "target": "partNumber=2&", "count": 2, "status": 503, "headers": {"Retry-After": "1"},
		 "body": "<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"},
		{"method": "PUT", "target": "partNumber=3&", "count": 1, "reset_request": 3000000},
		{"method": "PUT", "target": "partNumber=4&", "count": 1, "reset_response": -1},
		{"method": "POST", "target": "uploadId=", "count": 1, "status": 200, "headers": {"Content-Type": "application/xml"},
		 "body": "<Error><Code>InternalError</Code><Message>we encountered an internal error</Message></Error>"},
		{"method": "HEAD", "after": {"method": "POST", "target": "uploadId="}, "count": 2, "status": 404},
		{"method": "GET", "target": "/blobs/", "skip": 1, "count": 2, "truncate": 1000},
		{"method": "GET", "target": "/blobs/", "count": 2, "status": 500}]'
	fetch big
	present_image big
	store_is_sound
	no_open_uploads
	# Each of the first four has been met.
	[[ $(curl --silent "$FAULTS/rules" | jq '[.[:4][].applied] | min') -ge 1 ]]
}

@test "what the bucket has of a large layer is not sent again after a kill" {
	behind_faults
	slow_bucket
	fetch big &
	local client=$!
	some_parts() { [[ $(parts_taken | wc -l) -ge 6 ]]; }
	retry 30 some_parts
	end stowage KILL
	wait "$client" || true
	local before
	before=$(parts_taken | sort)
	curl --silent --request DELETE "$FAULTS/log"
	stowage_start
	again fetch big
	present_image big
	# At most what is cut off behind the last checkpoint.
	[[ $(comm -12 <(echo "$before") <(parts_taken | sort) | wc -l) -le 2 ]]
	no_open_uploads
}

@test "the gateway is killed in the middle of a fetch, and comes back" {
	behind_faults
	slow_bucket
	fetch big &
	local client=$!
	some_parts() { [[ $(parts_taken | wc -l) -ge 2 ]]; }
	retry 30 some_parts
	rgw_kill
	sleep 1
	rgw_resume
	wait "$client" || again fetch big
	present_image big
	store_is_sound
	no_open_uploads
}

@test "while the bucket is away calls fail, and say why; then all is well" {
	begin
	fetch busybox
	local layer
	layer=$(image_digests busybox | tail -n 1)
	end stowage # what it has read is forgotten
	stowage_start
	rgw_kill
	CTR_TIMEOUT=60 run sctr content get "$layer"
	[[ $status != 0 && $output == *s3* && $output == *"$BUCKET"* ]]
	rgw_resume
	present_image busybox
}

@test "an abandoned fetch leaves no upload once its lease is gone" {
	behind_faults
	slow_bucket
	"$TOOLS/bin/ctr" --address "$RUN/containerd.sock" content fetch --plain-http "$(image big)" >/dev/null 2>&1 &
	local client=$! lease
	some_parts() { [[ $(parts_taken | wc -l) -ge 1 ]]; }
	retry 30 some_parts
	kill -s KILL "$client"
	wait "$client" || true
	server_rules "$FAULTS" '[]'
	for lease in $(pctr leases ls --quiet); do pctr leases rm --sync "$lease"; done
	retry 10 no_open_uploads
	store_is_empty
}

# refused CODE SED-SCRIPT BUCKET: with the configuration changed so, an ingest fails with CODE and BUCKET in its
# message, or the daemon does not even start, and says so.
refused() {
	end stowage
	cp "$RUN/stowage.toml" "$RUN/good.toml"
	sed -i "$2" "$RUN/stowage.toml"
	: >"$RUN/stowage.log"
	if (stowage_start) 2>/dev/null; then
		# Another ref each time: what has failed is parked.
		CTR_TIMEOUT=60 run sctr content ingest "two-$1" <<<"other bytes"
		[[ $status != 0 ]]
	else
		output=$(<"$RUN/stowage.log")
	fi
	echo "$output"
	[[ $output == *"$1"* && $output == *"$3"* ]]
	cp "$RUN/good.toml" "$RUN/stowage.toml"
}

@test "what is wrong with the bucket is in the answer" {
	begin
	echo "bytes" | sctr content ingest one
	refused SignatureDoesNotMatch 's/^secret_key = .*/secret_key = "wrong"/' "$BUCKET"
	refused InvalidAccessKeyId 's/^access_key = .*/access_key = "NOBODY"/' "$BUCKET"
	refused NoSuchBucket 's/^bucket = .*/bucket = "no-such-bucket"/' no-such-bucket
	end stowage
	stowage_start
	store_is_sound
}
