#!/usr/bin/env bats
# Several nodes in front of one bucket: what one has pulled, the others take from there.

load fleet

# pulled_and_sent NODE REPO...: it has them, and so has the bucket.
pulled_and_sent() {
	local node=$1 repo
	shift
	for repo; do at "$node" pull "$repo"; done
	at "$node" flushed
}

@test "what one node has pulled, another takes from the bucket" {
	nodes a b
	timed "first node's pull" at a pull big
	at a flushed
	bucket_has big
	no_open_uploads
	timed "second node's pull" at b pull big
	at b asked_nothing
	at b runs big
	at b present_image big
	at b store_is_sound
	at b told_so '.pending == 0 and .uploaded == 0 and (.behind | length == 1 and .[0].reachable)'
	# The registry of the first shows that it is worth looking there.
	[[ $(at a blobs_asked | wc -l) -ge 3 ]]
}

@test "an image of many layers: looked for, adopted, brought and unpacked in order" {
	nodes a b
	pulled_and_sent a layers
	at b pull layers
	at b asked_nothing
	local layers=$(($(at b image_digests layers | wc -l) - 2))
	at b run container_run "$(at b image layers)" sh -c "cat /layer-2 /layer-$layers; ls / | grep -c layer-"
	echo "$output"
	[[ $status == 0 && $output == *"this is layer 2"*"this is layer $layers"*$((layers - 1))* ]]
	at b readable_image layers
	at b local_is_sound
}

@test "a node shows what it has committed or adopted, and nothing else of the bucket" {
	nodes a b
	pulled_and_sent a layers busybox
	[[ -z $(at b sctr content ls --quiet) ]]
	at b pull busybox
	[[ $(at b sctr content ls --quiet | sort) == $(at b image_digests busybox | sort) ]]
	at b asked_nothing
}

@test "two nodes pull the same at the same time" {
	nodes a b
	at a pull big &
	local one=$!
	at b pull big &
	local two=$!
	wait "$one"
	wait "$two"
	local node
	for node in a b; do
		at "$node" runs big
		at "$node" readable_image big
		at "$node" flushed
	done
	bucket_has big
	bucket_is_sound
	no_open_uploads
}

@test "one removes the image and collects garbage while another runs from it" {
	nodes a b c
	pulled_and_sent a layers
	at b pull layers
	at b pctr run --rm --fifo-dir "${NODE_RUN[b]}/fifo" --snapshotter "$SNAPSHOTTER" \
		--cgroup "/$(basename "${NODE_RUN[b]}")/lasting" "$(at b image layers)" lasting \
		sh -c 'echo begun; sleep 4; cat /layer-9' >"$TEST_RUN/out" 2>&1 &
	local container=$!
	retry 20 grep -qx begun "$TEST_RUN/out"
	at a remove layers
	[[ -z $(at a sctr content ls --quiet) && $(at a stored_count) == 0 ]]
	at b readable_image layers
	bucket_has layers
	at c pull layers
	at c asked_nothing
	at c runs layers
	wait "$container"
	grep -x 'this is layer 9' "$TEST_RUN/out"
	# And back again, from the bucket.
	local before
	before=$(at a blobs_asked | wc -l)
	at a pull layers
	[[ $(at a blobs_asked | wc -l) == "$before" ]]
	at a runs layers
}

@test "Stowages are killed while containerds pull through them: the next pulls end well" {
	nodes a b
	local node jobs i
	for i in 1 2 3; do
		jobs=()
		for node in a b; do
			at "$node" pull layers &
			jobs+=($!)
		done
		sleep "0.$((RANDOM % 10))"
		for node in a b; do at "$node" end stowage KILL; done
		for node in a b; do at "$node" stowage_again; done
		for node in "${jobs[@]}"; do wait "$node" || true; done
		for node in a b; do
			at "$node" pull layers
			at "$node" readable_image layers
			at "$node" local_is_sound
			((i == 3)) || at "$node" remove layers
		done
	done
	for node in a b; do
		at "$node" runs layers
		at "$node" flushed
	done
	bucket_has layers
	bucket_is_sound
	no_open_uploads
}

# loses FILE...: of b's, which has adopted an image that its containerd still believes in.
loses() {
	local file
	nodes a b
	pulled_and_sent a layers
	at b pull layers
	at b end stowage
	for file; do rm -r "${NODE_RUN[b]}/store/$file"; done
	at b stowage_again
	# Each is asked for by containerd, and found in the bucket.
	local d
	for d in $(at b image_digests layers); do
		[[ $(at b pctr content get "$d" | digest_of_stdin) == "$d" ]] || { echo "$d does not come back"; return 1; }
	done
	at b remove layers
	at b pull layers
	at b asked_nothing
	at b runs layers
	at b readable_image layers
	at b local_is_sound
}

@test "a node loses all its bytes" { loses blobs; }
@test "a node loses its database" { loses meta.mdb; }
@test "a node loses its bytes and its database" { loses blobs meta.mdb; }

@test "the bytes of what is not in the bucket yet are lost: the next pull brings them" {
	behind_faults
	server_rules "$FAULTS" '{"method": "PUT", "target": "/blobs/", "status": 503}'
	nodes a
	at a pull busybox
	at a end stowage KILL
	rm -r "${NODE_RUN[a]}/store/blobs"
	server_rules "$FAULTS" '[]'
	at a stowage_again
	at a remove busybox
	at a pull busybox
	at a runs busybox
	at a flushed
	bucket_has busybox
}

@test "a bucket that lies: nothing wrong reaches containerd, and the next pull asks the registry" {
	nodes a b
	pulled_and_sent a big
	local layer
	layer=$(at a big_layer)
	lie "$layer"
	at b run pull big
	echo "$output"
	[[ $status != 0 ]]
	retry 10 grep -F "$layer" "${NODE_RUN[b]}/stowage.log"
	# Nothing of it is kept, and nobody is given it to its end.
	refute [ -e "${NODE_RUN[b]}/store/blobs/${layer/://}" ]
	refute at b readable "$layer"
	at b forget big
	at b pull big
	[[ $(at b blobs_asked) == "$layer" ]]
	at b runs big
	at b present_image big
	# Who has the right bytes puts them there.
	at b flushed
	bucket_has big
}

@test "bytes are spoiled on their way: nothing wrong reaches containerd" {
	nodes a
	pulled_and_sent a big
	behind_faults
	nodes b
	server_rules "$FAULTS" '{"method": "GET", "target": "/blobs/", "corrupt": 100, "count": 1, "skip": 2}'
	if ! at b pull big; then
		at b forget big
		at b pull big
	fi
	at b runs big
	at b readable_image big
	at b local_is_sound
	[[ $(curl --silent "$FAULTS/rules" | jq '.[0].applied') == 1 ]]
}

@test "owner = exclusive: what is removed is removed from the bucket, too" {
	REMOTE='owner = "exclusive"' nodes a
	pulled_and_sent a busybox
	bucket_has busybox
	at a remove busybox
	emptied() { [[ -z $(bucket_blobs) ]]; }
	retry 10 emptied
}

@test "commit_wait = always: what is committed is in the bucket, or it is not committed" {
	behind_faults
	REMOTE='commit_wait = "always"' nodes a
	at a fetch busybox
	bucket_has busybox
	at a told_so '.pending == 0'
	server_rules "$FAULTS" '{"method": "PUT", "target": "/blobs/", "status": 403,
		"body": "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"}'
	at a run sctr content ingest --expected-size 6 refused <<<"bytes"
	echo "$output"
	[[ $status != 0 && $output == *AccessDenied* ]]
	[[ $(at a sctr content ls --quiet | wc -l) == 3 ]]
}

@test "a layer goes to the bucket while it arrives" {
	behind_faults
	nodes a
	local data=$TEST_RUN/data digest
	head -c 16000000 /dev/urandom >"$data"
	digest=sha256:$(sha_of "$data")
	mkfifo "$TEST_RUN/go"
	{
		head -c 12000000 "$data"
		cat "$TEST_RUN/go" >/dev/null
		tail -c +12000001 "$data"
	} | at a sctr content ingest --expected-size 16000000 --expected-digest "$digest" "default/1/layer-$digest" &
	local client=$!
	retry 30 taken_some PUT 'partNumber=' 1
	[[ -z $(at a sctr content ls --quiet) ]]
	echo >"$TEST_RUN/go"
	wait "$client"
	at a flushed
	[[ $(rgw_curl "$(blob_url "$digest")" | digest_of_stdin) == "$digest" ]]
	[[ $(taken PUT 'partNumber=1&') == 1 ]]
	no_open_uploads
}

@test "a cache too small for the image: it is pulled all the same, by streaming" {
	nodes a
	pulled_and_sent a big
	LOCAL='max_size = "8MiB"' nodes b
	at b pull big
	at b asked_nothing
	at b runs big
	at b readable_image big
	within() { told_so '.cache_limit == 8388608 and .cache_bytes <= .cache_limit'; }
	at b retry 10 within
	[[ $(du -sb "${NODE_RUN[b]}/store/blobs" | cut -f1) -le 9000000 ]]
	# What is pending is never dropped, however much it is.
	at b fetch layers
	at b sctr content ingest --expected-size 12000000 "own/1" < <(head -c 12000000 /dev/zero)
	at b flushed
	at b retry 10 within
	at b readable_image layers
	at b local_is_sound
}

@test "what was dropped here comes back from the bucket, also after a kill" {
	LOCAL='max_size = "8MiB"' nodes a
	at a pull big
	at a flushed
	dropped() { [[ ! -e $RUN/store/blobs/$(big_layer | tr : /) ]]; }
	at a retry 10 dropped
	at a end stowage KILL
	at a stowage_again
	at a readable_image big
	[[ $(at a pctr content get "$(at a big_layer)" | digest_of_stdin) == $(at a big_layer) ]]
	bucket_has big
}

# small_disk NODE MIB: its blobs are on a file system of their own.
small_disk() {
	local dir=${NODE_RUN[$1]}/disk
	mkdir "$dir"
	mount -t tmpfs -o "size=$2m" tmpfs "$dir"
	sed -i "s|^\[local\]|&\npath = \"$dir\"|" "${NODE_RUN[$1]}/stowage.toml"
}

small_node() { # NAME MIB
	node_make "$1"
	node_config "$1"
	small_disk "$1" "$2"
	at "$1" stowage_start
	at "$1" containerd_start
}

@test "a full disk: what is in the bucket can be pulled, other things are refused, and then all is well" {
	nodes a
	pulled_and_sent a big
	small_node b 24
	at b pull big
	at b asked_nothing
	at b runs big
	at b readable_image big
	# Bytes that the bucket does not have need room.
	head -c 30000000 /dev/urandom >"$TEST_RUN/large"
	at b run sctr content ingest --expected-size 30000000 too-large <"$TEST_RUN/large"
	echo "$output"
	[[ $status != 0 ]]
	at b sctr content ingest --expected-size 6 small <<<"bytes"
	at b flushed
	at b readable_all
}

@test "min_free: what is in the bucket makes room for what is not" {
	MIN_FREE=25% small_node a 64
	at a fetch big
	at a flushed
	free_enough() { [[ $(df --output=pcent "$RUN/disk" | tail -n 1 | tr -dc 0-9) -le 75 ]]; }
	at a retry 10 free_enough
	head -c 40000000 /dev/urandom >"$TEST_RUN/large"
	at a sctr content ingest --expected-size 40000000 large <"$TEST_RUN/large"
	at a flushed
	at a retry 10 free_enough
	at a readable_all
}
