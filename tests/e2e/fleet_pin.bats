#!/usr/bin/env bats
# What is to stay on a node, and what is to come to it: a cache that is too small for all.

load fleet

# on_disk DIGEST...: their bytes are on this node.
on_disk() {
	local d
	for d; do [[ -e $(blob_file "$d") ]] || { echo "$d is not here"; return 1; }; done
}
off_disk() { refute on_disk "$1"; }

# random_blob BYTES: one of this node's; prints its digest.
random_blob() {
	local file=$TEST_RUN/random
	head -c "$1" /dev/urandom >"$file"
	sctr content ingest --expected-size "$1" "random-$RANDOM" <"$file" >/dev/null
	digest_of_stdin <"$file"
}

size_of() {
	local d n=0
	for d; do n=$((n + $(stat -c %s "$(blob_file "$d")"))); done
	echo "$n"
}

@test "a pinned image stays, and runs without the bucket; unpinned it goes; prefetch brings all" {
	nodes a
	at a pull layers
	at a pull big
	local small large other huge limit layer
	mapfile -t small < <(at a image_digests layers)
	mapfile -t large < <(at a image_digests big)
	layer=$(at a big_layer)
	# Room for the two images, or for one and the other blob; the huge one needs all of it.
	limit=$(($(at a size_of "${small[@]}" "${large[@]}") + 1000000))
	other=$(at a random_blob "$(at a size_of "$layer")")
	huge=$(at a random_blob $((limit - 100000)))
	at a flushed
	LOCAL="max_size = \"${limit}B\"" nodes b
	at b fetch layers
	at b fetch big
	at b asked_nothing
	at b stow pin "${small[0]}"
	at b stow prefetch --timeout 60s "${small[0]}" "${large[0]}"
	at b on_disk "${small[@]}" "${large[@]}"

	gone() { at b stow prefetch --timeout 60s "$other" && at b off_disk "$layer"; }
	retry 60 gone # what was brought a moment ago is spared
	at b on_disk "${small[@]}" "$other"
	at b end stowage KILL
	at b stowage_again
	run at b stow prefetch --timeout 60s "$huge"
	echo "$output"
	[[ $status == 1 && $output == *"$huge cannot come here: no room"* ]]
	at b on_disk "${small[@]}"
	at_gateway rgw_kill
	at b runs layers # which has not been unpacked yet
	at_gateway rgw_resume

	at b stow unpin "${small[0]}"
	came() { at b stow prefetch --timeout 60s "$huge"; }
	retry 60 came
	at b off_disk "${small[2]}"
	at b told_so '.pinned == 0 and .cache_bytes <= .cache_limit'

	# With room for it, all that this node has comes back.
	at b end stowage
	node_config b
	at b stowage_again
	at b stow prefetch --all --timeout 100s
	at b on_disk "${small[@]}" "${large[@]}" "$other" "$huge"
	at b local_is_sound
}
