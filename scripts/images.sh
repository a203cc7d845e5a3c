# shellcheck shell=bash
# Makes container images on the spot, without any network, and pushes them to $REGISTRY. To be sourced
# after lib.sh; works below $RUN/images.
#
# An image is made by image_begin, some layer_* calls and image_push.

busybox_path() { command -v busybox || die "busybox-static is not installed"; }
image_arch() { dpkg --print-architecture; }
sha_of() { sha256sum "$1" | cut -d' ' -f1; }

registry_curl() { curl --silent --show-error --fail --max-time 300 "$@"; }

# push_blob REPO FILE: prints its digest.
push_blob() {
	local repo=$1 file=$2 digest location
	digest=sha256:$(sha_of "$file")
	location=$(registry_curl --request POST --output /dev/null --dump-header - --data '' \
		"http://$REGISTRY/v2/$repo/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
	registry_curl --output /dev/null --upload-file "$file" \
		--header 'Content-Type: application/octet-stream' "$location&digest=$digest"
	echo "$digest"
}

# push_manifest REPO TAG-OR-DIGEST TYPE FILE
push_manifest() {
	registry_curl --output /dev/null --request PUT --header "Content-Type: $3" --data-binary @"$4" \
		"http://$REGISTRY/v2/$1/manifests/$2"
}

# image_begin REPO [ARCH]
image_begin() {
	IMAGE_REPO=$1
	IMAGE_ARCH=${2:-$(image_arch)}
	IMAGE_DIR=$RUN/images/$1-$IMAGE_ARCH
	rm -rf "$IMAGE_DIR"
	mkdir -p "$IMAGE_DIR"
	: >"$IMAGE_DIR/layers"
	: >"$IMAGE_DIR/diffs"
}

# layer_add TAR gzip|plain: takes the file, pushes it and notes it.
layer_add() {
	local tar=$1 type=application/vnd.oci.image.layer.v1.tar file=$1 digest
	echo "\"sha256:$(sha_of "$tar")\"" >>"$IMAGE_DIR/diffs"
	if [[ $2 == gzip ]]; then
		gzip --no-name --fast --stdout "$tar" >"$tar.gz"
		file=$tar.gz
		type+=+gzip
	fi
	digest=$(push_blob "$IMAGE_REPO" "$file")
	printf '{"mediaType":"%s","digest":"%s","size":%s}\n' "$type" "$digest" "$(stat -c %s "$file")" >>"$IMAGE_DIR/layers"
	rm -f "$tar" "$tar.gz"
}

# layer_files DIR [gzip|plain]: a layer of what DIR holds.
layer_files() {
	tar --create --file "$IMAGE_DIR/layer.tar" --directory "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
	layer_add "$IMAGE_DIR/layer.tar" "${2:-gzip}"
}

layer_busybox() {
	local root=$IMAGE_DIR/busybox applet
	mkdir -p "$root"/{bin,tmp,proc,sys,dev,etc}
	cp "$(busybox_path)" "$root/bin/busybox"
	for applet in sh echo cat ls sleep true uname sha256sum wc; do ln -sf busybox "$root/bin/$applet"; done
	layer_files "$root"
	rm -rf "$root"
}

# layer_noise MIB: a file that does not compress, kept plain: what counts is how many bytes there are.
layer_noise() {
	local root=$IMAGE_DIR/noise
	mkdir -p "$root"
	head -c $(($1 * 1048576)) /dev/urandom >"$root/noise"
	layer_files "$root" plain
	rm -rf "$root"
}

layer_text() { # NAME TEXT: a layer of one small file
	local root=$IMAGE_DIR/text
	mkdir -p "$root"
	printf '%s\n' "$2" >"$root/$1"
	layer_files "$root"
	rm -rf "$root"
}

# image_push [TAG]: config and manifest; without a tag only by digest. Sets IMAGE_DIGEST, IMAGE_SIZE.
image_push() {
	local config=$IMAGE_DIR/config manifest=$IMAGE_DIR/manifest
	jq --null-input --compact-output --arg arch "$IMAGE_ARCH" --slurpfile diffs "$IMAGE_DIR/diffs" '{
		architecture: $arch, os: "linux", config: {Env: ["PATH=/bin"], Cmd: ["/bin/sh"]},
		rootfs: {type: "layers", diff_ids: $diffs}}' >"$config"
	jq --null-input --join-output --compact-output --slurpfile layers "$IMAGE_DIR/layers" \
		--arg digest "$(push_blob "$IMAGE_REPO" "$config")" --argjson size "$(stat -c %s "$config")" '{
		schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
		config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $digest, size: $size},
		layers: $layers}' >"$manifest"
	IMAGE_DIGEST=sha256:$(sha_of "$manifest")
	IMAGE_SIZE=$(stat -c %s "$manifest")
	push_manifest "$IMAGE_REPO" "${1:-$IMAGE_DIGEST}" application/vnd.oci.image.manifest.v1+json "$manifest"
}

# --- the images that tests and demo use ------------------------------------------------------------------

image_busybox() { # busybox:latest
	image_begin busybox
	layer_busybox
	image_push latest
}

image_big() { # MIB: big:latest, busybox and one large layer
	image_begin big
	layer_busybox
	layer_noise "$1"
	image_push latest
}

image_layers() { # N: layers:latest, busybox and N-1 small layers
	local i
	image_begin layers
	layer_busybox
	for ((i = 2; i <= $1; i++)); do layer_text "layer-$i" "this is layer $i"; done
	image_push latest
}

image_index() { # multi:latest, an index of two platforms
	local arch index=$RUN/images/index entries=()
	for arch in "$(image_arch)" s390x; do
		image_begin multi "$arch"
		layer_busybox
		layer_text platform "$arch"
		image_push
		entries+=("$(jq --null-input --compact-output --arg d "$IMAGE_DIGEST" --argjson s "$IMAGE_SIZE" --arg a "$arch" '{
			mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s,
			platform: {architecture: $a, os: "linux"}}')")
	done
	printf '%s\n' "${entries[@]}" | jq --slurp --compact-output '{
		schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' >"$index"
	push_manifest multi latest application/vnd.oci.image.index.v1+json "$index"
}
