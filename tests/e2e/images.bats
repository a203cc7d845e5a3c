#!/usr/bin/env bats
# Images: what `ctr images`, `ctr run` and the garbage collector make of the store.

load helpers

@test "containerd loads Stowage as its content store, and no other" {
	run pctr plugin ls
	[[ $status == 0 ]]
	[[ $(grep -c 'io.containerd.content.v1' <<<"$output") == 1 ]]
	grep -E '^io.containerd.content.v1 +stowage .* ok' <<<"$output"
}

@test "pull: every blob is listed, on disk and right" {
	pull busybox
	present_image busybox
	pctr images ls -q | grep -qx "$(image busybox)"
	pctr images check | grep -F "$(image busybox)" | grep -F complete
	store_is_sound
}

@test "run: a container prints from inside" {
	pull busybox
	run container_run "$(image busybox)" echo "hello from inside"
	echo "$output"
	[[ $status == 0 && $output == *"hello from inside"* ]]
}

@test "an image of 40 layers unpacks in order" {
	pull layers
	[[ $(image_digests layers | wc -l) == 42 ]]
	present_image layers
	run container_run "$(image layers)" sh -c 'cat /layer-2 /layer-40; ls / | grep -c layer-'
	echo "$output"
	[[ $status == 0 && $output == *"this is layer 2"*"this is layer 40"*39* ]]
}

@test "an index: the machine's platform runs, and all platforms can be fetched" {
	pull multi
	run container_run "$(image multi)" cat /platform
	[[ $status == 0 && $output == *"$(image_arch)"* ]]
	local before
	before=$(stored_count)
	pctr images pull --plain-http --all-platforms "$(image multi)"
	[[ $(stored_count) -gt $before ]]
	store_is_sound
}

@test "a large layer unpacks to the same bytes" {
	pull big
	present "$(big_layer)"
	local want
	want=$(tar --extract --to-stdout --file "$(blob_file "$(big_layer)")" ./noise | sha256sum | cut -d' ' -f1)
	run container_run "$(image big)" sha256sum /noise
	[[ $status == 0 && $output == *"$want"* ]]
}

@test "push: what was pulled goes back byte by byte" {
	pull layers
	local want
	want=$(image_digests layers)
	pctr images tag "$(image layers)" "$(image copy)"
	pctr images push --plain-http "$(image copy)"
	[[ $(image_digests copy) == "$want" ]]
}

@test "export and import: the image survives the loss of the store" {
	pull layers
	pctr images export "$RUN/image.tar" "$(image layers)"
	remove layers
	store_is_empty
	pctr images import "$RUN/image.tar"
	present_image layers
	run container_run "$(image layers)" cat /layer-17
	[[ $status == 0 && $output == *"this is layer 17"* ]]
}

@test "garbage collection: what was removed goes, shared layers and other images stay" {
	pull busybox
	pull layers
	local own shared d
	shared=$(comm -12 <(image_digests busybox | sort) <(image_digests layers | sort))
	own=$(comm -13 <(image_digests busybox | sort) <(image_digests layers | sort))
	[[ $(wc -l <<<"$shared") == 1 && $(wc -l <<<"$own") == 41 ]]
	remove layers
	for d in $own; do
		refute listed "$d"
		refute stored "$d"
	done
	present_image busybox
	run container_run "$(image busybox)" echo "still here"
	[[ $status == 0 && $output == *"still here"* ]]
	store_is_sound
	remove busybox
	store_is_empty
}

@test "garbage collection: two namespaces share bytes, and neither takes the other's" {
	pctr --namespace one images pull --plain-http "$(image busybox)"
	local files d
	files=$(stored_count)
	pctr --namespace two images pull --plain-http "$(image busybox)"
	[[ $(stored_count) == "$files" ]]
	pctr --namespace one images rm --sync "$(image busybox)"
	for d in $(image_digests busybox); do
		pctr --namespace two content get "$d" | digest_of_stdin | grep -qx "$d"
		stored "$d"
	done
	pctr --namespace two images rm --sync "$(image busybox)"
	store_is_empty
}

@test "garbage collection: what containerd does not know is taken away" {
	pull busybox
	local stranger
	stranger=$(echo stranger | sctr content ingest stranger >/dev/null && echo stranger | digest_of_stdin)
	stored "$stranger"
	(echo parked; sleep 1; exit 1) | timeout -s KILL 0.6 "$TOOLS/bin/ctr" --address "$RUN/stowage.sock" content ingest parked || true
	pull layers
	remove layers
	refute stored "$stranger"
	present_image busybox
}
