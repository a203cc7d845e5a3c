#!/usr/bin/env bats
# Restarts, kills, and clients that want the same layer at the same time.

load helpers

usable() {
	again present_image "$1"
	run container_run "$(image "$1")" echo "goes on"
	[[ $status == 0 && $output == *"goes on"* ]]
}

@test "containerd restarts: its images are there and run" {
	pull layers
	end containerd
	containerd_start
	usable layers
}

@test "containerd is killed in the middle of a fetch: the next one ends well" {
	fetch big &
	local client=$!
	retry 20 bytes_in_flight 20000000
	end containerd KILL
	wait "$client" || true
	containerd_start
	fetch big
	present_image big
	store_is_sound
}

@test "Stowage restarts: SIGTERM" {
	pull layers
	end stowage TERM
	stowage_start
	usable layers
	store_is_sound
}

@test "Stowage restarts: SIGKILL" {
	pull layers
	end stowage KILL
	stowage_start
	usable layers
	store_is_sound
}

@test "Stowage is away: containerd says so, and recovers" {
	pull busybox
	end stowage
	CTR_TIMEOUT=8 run pctr content get "$(image_digests busybox | tail -n 1)"
	[[ $status != 0 ]]
	stowage_start
	usable busybox
}

# broken_fetch SIGNAL: Stowage goes away in the middle of the big layer.
broken_fetch() {
	fetch big &
	local client=$!
	retry 20 bytes_in_flight 50000000
	end stowage "$1"
	stowage_start
	wait "$client" || true # whether this one survives is the client's affair
	again fetch big
	present_image big
	store_is_sound
	[[ -z $(sctr content active | tail -n +2) ]]
}

@test "Stowage ends with SIGTERM in the middle of a fetch: it ends well" { broken_fetch TERM; }
@test "Stowage is killed in the middle of a fetch: the next one ends well" { broken_fetch KILL; }

@test "what was fetched before a kill is not fetched again" {
	fetch big &
	local client=$!
	retry 20 bytes_in_flight 120000000
	end stowage KILL
	wait "$client" || true
	stowage_start
	# The parked ingest is there, with most of what came.
	parked() { [[ $(find "$RUN/store/ingest" -type f -size +70M | wc -l) -ge 1 ]]; }
	parked
	sctr content active | grep -F "$(big_layer)"
	again fetch big
	present_image big
}

@test "an abandoned fetch leaves nothing once its lease is gone" {
	"$TOOLS/bin/ctr" --address "$RUN/containerd.sock" content fetch --plain-http "$(image big)" >/dev/null 2>&1 &
	local client=$! lease
	retry 20 bytes_in_flight 20000000
	kill -s KILL "$client"
	wait "$client" || true
	bytes_in_flight 20000000 # parked
	for lease in $(pctr leases ls --quiet); do pctr leases rm --sync "$lease"; done
	store_is_empty
	[[ -z $(sctr content active | tail -n +2) ]]
	refute bytes_in_flight 1
}

@test "two clients fetch the same large layer at once" {
	fetch big &
	local one=$!
	pctr content fetch --plain-http "$(image big)" >/dev/null 2>&1 &
	local two=$!
	wait "$one"
	wait "$two"
	present_image big
	store_is_sound
}

@test "two namespaces fetch the same large layer at once" {
	pctr --namespace one content fetch --plain-http "$(image big)" >/dev/null 2>&1 &
	local one=$!
	pctr --namespace two content fetch --plain-http "$(image big)" >/dev/null 2>&1 &
	local two=$!
	wait "$one"
	wait "$two"
	local ns
	for ns in one two; do [[ $(pctr --namespace "$ns" content ls --quiet "digest==$(big_layer)") == "$(big_layer)" ]]; done
	[[ $(pctr --namespace two content get "$(big_layer)" | digest_of_stdin) == "$(big_layer)" ]]
	store_is_sound
	[[ $(stored_count) == $(image_digests big | wc -l) ]]
}

@test "pulls, removals and a reader side by side" {
	fetch big
	local i
	for i in 1 2; do
		pull layers
		remove layers
	done &
	local churn=$!
	for i in 1 2 3; do present "$(big_layer)"; done
	wait "$churn"
	present_image big
	store_is_sound
}
