#!/usr/bin/env bats
# `ctr content`, through containerd and straight at Stowage's socket.

load helpers

# feed SECONDS: some bytes now, and then nothing for a while, as a client on a slow line.
feed() {
	echo "the first part"
	sleep "$1"
}

# Both ways of talking to the store must do these.
ingest_get_label_rm() { # CTR
	local digest
	head -c 3000000 /dev/urandom >"$RUN/data"
	digest=sha256:$(sha_of "$RUN/data")

	"$1" content ingest --expected-size 3000000 --expected-digest "$digest" "some/ref" <"$RUN/data"
	stored "$digest"
	"$1" content ls | grep -F "$digest" | grep -F 3MB
	"$1" content get "$digest" | cmp - "$RUN/data"

	"$1" content label "$digest" purpose=test other=gone
	"$1" content label "$digest" other=
	"$1" content ls | grep -F "$digest" | grep -F purpose=test
	refute grep -F other <("$1" content ls)
	[[ $("$1" content ls --quiet "labels.purpose==test") == "$digest" ]]
	[[ -z $("$1" content ls --quiet "labels.purpose==else") ]]

	"$1" content rm "$digest"
	refute grep -F "$digest" <("$1" content ls)
}

wrong_ingests() { # CTR
	local digest=sha256:0000000000000000000000000000000000000000000000000000000000000000
	run "$1" content ingest --expected-digest "$digest" --expected-size 6 wrong <<<"bytes"
	[[ $status != 0 && $output == *"$digest"* ]]
	run "$1" content ingest --expected-size 99 short <<<"bytes"
	[[ $status != 0 ]]
	run "$1" content get "$digest"
	[[ $status != 0 && $output == *"not found"* ]]
	run "$1" content rm "$digest"
	[[ $status != 0 || $output == *"not found"* || -z $output || $output == *"$digest"* ]]
	[[ -z $("$1" content ls --quiet) ]]
}

active_and_resume() { # CTR
	local digest
	{ feed 2 && echo "the second part"; } | "$1" content ingest slow &
	local client=$!
	shown() { "$1" content active | grep -E '^slow|/slow'; }
	retry 5 shown "$1"
	kill "$client" 2>/dev/null || true
	wait "$client" || true
	# ... and parked now; the whole of it resumes what is there.
	printf 'the first part\nthe second part\n' >"$RUN/whole"
	digest=sha256:$(sha_of "$RUN/whole")
	resumed() { "$1" content ingest --expected-digest "$digest" --expected-size 31 slow <"$RUN/whole"; }
	retry 10 resumed "$1"
	"$1" content get "$digest" | cmp - "$RUN/whole"
	refute shown "$1"
}

@test "fetch: no unpacking, all blobs there" {
	fetch layers
	present_image layers
	[[ $(pctr content ls --quiet | wc -l) == 42 ]]
	# Nothing was unpacked:
	[[ $(pctr snapshots ls | wc -l) == 1 ]]
	store_is_sound
}

@test "fetch again downloads nothing and changes nothing" {
	fetch layers
	local before
	before=$(sctr content ls --quiet | sort)
	fetch layers
	[[ $(sctr content ls --quiet | sort) == "$before" ]]
}

@test "ingest, get, label, ls with a filter, rm: through containerd" { ingest_get_label_rm pctr; }
@test "ingest, get, label, ls with a filter, rm: straight" { ingest_get_label_rm sctr; }
@test "rm straight takes the file away" {
	sctr content ingest --expected-size 6 ref <<<"bytes"
	[[ $(stored_count) == 1 ]]
	sctr content rm "$(sctr content ls --quiet)"
	store_is_empty
}
@test "wrong digests and sizes are refused with a message: through containerd" { wrong_ingests pctr; }
@test "wrong digests and sizes are refused with a message: straight" { wrong_ingests sctr; }
@test "active shows an ingest, and it can be resumed: through containerd" { active_and_resume pctr; }
@test "active shows an ingest, and it can be resumed: straight" { active_and_resume sctr; }

@test "ingest of the same bytes twice says so" {
	sctr content ingest one <<<"same"
	run sctr content ingest two <<<"same"
	[[ $(sctr content ls --quiet | wc -l) == 1 ]]
	[[ -z $(sctr content active | tail -n +2) ]]
}

@test "prune references: layers go, the image still runs, and the next fetch brings them back" {
	pull busybox
	local layer
	layer=$(image_digests busybox | tail -n 1)
	pctr content prune references
	pruned() { ! stored "$layer"; }
	retry 5 pruned
	run container_run "$(image busybox)" echo "unpacked"
	[[ $status == 0 && $output == *unpacked* ]]
	fetch busybox
	present_image busybox
}

@test "push-object and fetch-object" {
	fetch busybox
	local layer
	layer=$(image_digests busybox | tail -n 1)
	pctr content push-object --plain-http "$REGISTRY/pushed@$layer" "$layer" application/octet-stream
	registry_curl "http://$REGISTRY/v2/pushed/blobs/$layer" | digest_of_stdin | grep -qx "$layer"
}
