#!/usr/bin/env bats
# Who holds what, what is removed from the bucket when nobody does, and moving in and out.

load fleet

# collect [ARGS...]: on node a. An object's age is told in whole seconds.
# shellcheck disable=SC2120
collect() { at a stow gc --grace 1s --wait 30s "$@"; }
removed() { grep '^{' <<<"$output" | jq .removed; }

# claimed NODE: what it has is known to the fleet.
claimed() {
	local d
	for d in $(at "$1" sctr content ls --quiet); do
		explained "$d" "$1" || return 1
	done
}
node_id() { at "$1" told .node; }
explained() { at a stow gc --explain "$1" | grep -qF "$(node_id "$2")"; }

bucket_count() { bucket_blobs | wc -l; }

@test "what nobody holds any more is removed, and nothing else" {
	nodes a b
	at a pull layers
	at a pull busybox
	at a flushed
	at b pull busybox
	retry 10 claimed b
	local all
	all=$(bucket_count)
	at a remove layers
	at a remove busybox
	sleep 2
	# --dry-run says so, and does nothing.
	run collect --dry-run --format json
	echo "$output"
	[[ $status == 0 ]]
	[[ $(bucket_count) == "$all" ]]
	run collect --format json
	echo "$output"
	[[ $status == 0 && $(removed) -ge 10 ]]
	[[ $(bucket_blobs | sort) == $(at b image_digests busybox | cut -d: -f2 | sort) ]]
	at b readable_image busybox
	# Twice is no harm.
	run collect --format json
	[[ $status == 0 && $(removed) == 0 ]]
	# And what is gone can come again.
	at b pull layers
	timed "flush after a collection" at b flushed
	bucket_has layers
}

@test "what is young stays" {
	nodes a
	at a pull busybox
	at a flushed
	at a remove busybox
	run at a stow gc --grace 1h --wait 30s --format json
	echo "$output"
	[[ $status == 0 && $(removed) == 0 && $(bucket_count) == 3 ]]
}

@test "gc runs while both nodes pull and remove: nothing that is held goes" {
	nodes a b
	at a pull layers
	at a flushed
	local node i jobs=()
	for node in a b; do
		for i in 1 2 3; do
			at "$node" pull layers
			at "$node" runs layers >/dev/null
			at "$node" pull multi
			((i == 3)) || at "$node" remove layers
		done &
		jobs+=($!)
	done
	collect
	collect
	wait "${jobs[0]}"
	wait "${jobs[1]}"
	for node in a b; do
		at "$node" flushed
		at "$node" runs layers
		at "$node" readable_all
		at "$node" local_is_sound
	done
	collect
	bucket_has layers
	bucket_is_sound
	# A third finds all of it.
	nodes c
	at c pull layers
	at c asked_nothing
	at c runs layers
}

@test "gc is killed half way, and another carries on" {
	behind_faults
	# What it may have under way still is waited for for half a minute at least, for a minute where the grace is long.
	REMOTE='claim_grace = "40s"' nodes a b
	at b pull busybox
	at b flushed
	at a pull layers
	at a flushed
	at a remove layers
	retry 10 claimed b
	sleep 2
	server_rules "$FAULTS" '{"method": "DELETE", "target": "/blobs/", "skip": 5, "hang_request": 0}'
	plain_env
	local before
	before=$(bucket_count)
	some_are_gone() { [[ $(bucket_count) -le $((before - 5)) ]]; }
	at a spawn gc "${PLAIN[@]}" "$STOWAGE_BIN" gc --config "${NODE_RUN[a]}/stowage.toml" --grace 1s --wait 30s
	retry 40 some_are_gone
	at a end gc KILL
	server_rules "$FAULTS" '[]'
	# Between the two somebody wants it again, which must wait for the bucket until that is settled.
	at b pull layers
	at b readable_all
	run collect --format json
	echo "$output"
	[[ $status == 0 ]]
	timed "flush after a killed collection" at b flushed
	at b readable_all
	bucket_has layers
	bucket_has busybox
}

@test "an object vanishes from the bucket: it is sent again by who has its bytes, and forgotten where nobody has" {
	REMOTE='recheck_every = "1s"' nodes a
	at a pull layers
	at a flushed
	local d
	d=$(at a image_digests layers | tail -n 1)
	rgw_curl --request DELETE "$(blob_url "$d")"
	retry 40 in_bucket "$d"
	at a flushed
	bucket_has layers
	# Now it has gone everywhere.
	at a end stowage
	rm "${NODE_RUN[a]}/store/blobs/${d/://}"
	rgw_curl --request DELETE "$(blob_url "$d")"
	at a stowage_again
	run at a sctr content get "$d"
	echo "$output"
	[[ $status != 0 && $output == *NotFound* ]]
	at a remove layers
	at a pull layers
	at a runs layers
	at a flushed
	bucket_has layers
}

# built_in: a containerd with its own store; stowage's images stay where they are, as does its database.
built_in() {
	containerd_config | sed -e '/"io.containerd.content.v1.content",/d' -e '/^\[proxy_plugins/,$d' >"$RUN/containerd.toml"
	PATH=$TOOLS/bin:$PATH spawn containerd unshare --mount --propagation private bash -c \
		"mount -t tmpfs tmpfs /run && exec '$TOOLS/bin/containerd' --config '$RUN/containerd.toml'"
	retry 30 containerd_up || die "containerd does not start: $(tail -n 5 "$RUN/containerd.log")"
}

@test "a node moves from the built-in store, fills the bucket for the others, and moves back" {
	local content
	node_make a
	node_config a
	mkdir -p "${NODE_RUN[a]}/fifo"
	content=${NODE_RUN[a]}/containerd/root/io.containerd.content.v1.content
	at a built_in
	at a pull layers
	at a end containerd

	at a stowage_start
	at a stow import --from "$content"
	at a flushed
	bucket_has layers
	at a containerd_start
	at a runs layers
	at a pctr images check | grep -F layers | grep -F complete

	nodes b
	at b pull layers
	at b asked_nothing
	at b runs layers

	# Back: what was pulled meanwhile is put where the other store looks for it.
	at a pull big
	at a end containerd
	at a end stowage
	cp -rl --update "${NODE_RUN[a]}/store/blobs" "$content/" 2>/dev/null || cp -r --update "${NODE_RUN[a]}/store/blobs" "$content/"
	at a built_in
	at a runs big
	at a runs layers
	at a pctr images check | grep -F big | grep -F complete
}
