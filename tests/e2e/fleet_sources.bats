#!/usr/bin/env bats
# Blobs that others have put somewhere: registries' storages, and content directories of containerd.

load fleet

# sources_node NAME: a node without a bucket, with the sources that SOURCES says.
sources_node() {
	node_make "$1"
	cat >"${NODE_RUN[$1]}/stowage.toml" <<-EOT
		root = "${NODE_RUN[$1]}/store"
		[grpc]
		address = "${NODE_RUN[$1]}/stowage.sock"
		[local]
		min_free = "0"
		$SOURCES
	EOT
	at "$1" stowage_start
	at "$1" containerd_start
}

dir_source() { # PATH [LAYOUT]
	printf '[[source]]\ntype = "dir"\npath = "%s"\nlayout = "%s"\n' "$1" "${2:-registry}"
}

s3_source() { # PREFIX [LAYOUT]
	printf '[[source]]\ntype = "s3"\nlayout = "%s"\n[source.s3]\n' "${2:-registry}"
	printf '%s = "%s"\n' endpoint "$ENDPOINT" bucket "$BUCKET" prefix "$1" access_key "$RGW_ACCESS_KEY" \
		secret_key "$RGW_SECRET_KEY" proxy direct
}

# takes_all_from_it NODE REPO: and asks its registry for nothing.
takes_all_from_it() {
	at "$1" pull "$2"
	at "$1" asked_nothing
	at "$1" runs "$2"
	at "$1" readable_image "$2"
	at "$1" local_is_sound
}

@test "a registry's directory is a source: nothing is downloaded, nothing is written there" {
	local before
	before=$(find "$SUITE_RUN/registry" -type f -printf '%p %s %T@\n' | sort | sha256sum)
	SOURCES=$(dir_source "$SUITE_RUN/registry") sources_node a
	takes_all_from_it a big
	takes_all_from_it a layers
	at a sctr content rm "$(at a big_layer)"
	[[ $(find "$SUITE_RUN/registry" -type f -printf '%p %s %T@\n' | sort | sha256sum) == "$before" ]]
}

# s3_registry: a registry whose storage is the gateway, with one image; sets S3_REGISTRY.
s3_registry() {
	local REGISTRY
	registry_start "s3: {accesskey: $RGW_ACCESS_KEY, secretkey: $RGW_SECRET_KEY, region: $RGW_REGION,
  regionendpoint: \"$RGW_ENDPOINT\", bucket: $BUCKET, rootdirectory: /$PREFIX-registry, secure: false, v4auth: true}"
	image_begin other
	layer_busybox
	layer_noise 24
	image_push latest
	S3_REGISTRY=$REGISTRY
}

@test "a registry's bucket is a source" {
	s3_registry
	SOURCES=$(s3_source "$PREFIX-registry") sources_node a
	# shellcheck disable=SC2034 # `at` reads it
	NODE_REGISTRY[a]=$S3_REGISTRY
	at a pull other
	at a runs other
	at a readable_image other
	at a local_is_sound
	! grep -F 'http.request.method=GET' "$TEST_RUN/registry.log" | grep -F '/blobs/' || return 1
}

@test "a containerd's content directory, and another fleet's bucket, are sources" {
	nodes a
	at a pull big
	at a pull layers
	at a flushed
	# Of the big image the directory has one layer alone; the rest is in the other's bucket.
	mkdir -p "$TEST_RUN/content/blobs/sha256"
	cp "${NODE_RUN[a]}/store/blobs/$(at a big_layer | tr : /)" "$TEST_RUN/content/blobs/sha256/"
	SOURCES=$(dir_source "$TEST_RUN/content" stowage; s3_source "$PREFIX" stowage) sources_node b
	takes_all_from_it b big
	takes_all_from_it b layers
}

@test "sources are asked after the bucket, and what comes from one is as good" {
	nodes a
	at a pull layers
	at a flushed
	REST=$(dir_source "$SUITE_RUN/registry") nodes b
	takes_all_from_it b layers
	takes_all_from_it b big
	at b told_so '.behind | length == 2'
}

@test "a source that changes under us, or lies, or goes away: nothing wrong reaches containerd" {
	local layer data
	cp -a "$SUITE_RUN/registry" "$TEST_RUN/tree"
	SOURCES=$(dir_source "$TEST_RUN/tree") sources_node a
	layer=$(at a big_layer)
	data=$TEST_RUN/tree/docker/registry/v2/blobs/sha256/${layer:7:2}/${layer#*:}/data
	printf 'other bytes' | dd of="$data" conv=notrunc bs=1 seek=1000000 status=none
	at a run pull big
	echo "$output"
	[[ $status != 0 ]]
	refute at a readable "$layer"
	at a forget big
	at a pull big
	[[ $(at a blobs_asked) == "$layer" ]]
	at a runs big
	# Cut short, and then all of it gone.
	at a pull layers
	truncate -s 10 "$data"
	rm -r "$TEST_RUN/tree"
	at a readable_image big
	at a pull multi
	at a runs multi
	at a local_is_sound
}
