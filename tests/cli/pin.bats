# pin, unpin, prefetch: a node in front of a directory that others have filled.
# shellcheck shell=bash disable=SC2154
bats_require_minimum_version 1.5.0
load helper

NONE=sha256:$(printf %064d 0)

# behind [MAX_SIZE]: the daemon has a storage behind it, $source, and may keep so much.
behind() {
	source=$dir/source
	mkdir -p "$source/blobs/sha256"
	cat >"$dir/behind.toml" <<-EOT
		[local]
		max_size = "${1:-0}"
		min_free = "0"
		[[source]]
		type = "dir"
		path = "$source"
		layout = "stowage"
	EOT
	where=(--config "$dir/behind.toml" --root "$root" --address "$sock")
	start_daemon
}

# source_text TEXT: a blob behind; prints its digest.
source_text() {
	local hex
	hex=$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)
	printf %s "$1" >"$source/blobs/sha256/$hex"
	echo "sha256:$hex"
}

# document KEY DIGEST...: a manifest ("layers") or an index ("manifests"), behind.
document() {
	local key=$1
	shift
	source_text "$(printf '%s\n' "$@" | jq -R '{digest: ., size: 1000}' | jq -cs --arg k "$key" '{($k): .}')"
}

# image: one of two layers of 100000 bytes, behind; sets layers and manifest.
image() {
	layers=("$(source_blob "$source" 100000)" "$(source_blob "$source" 100000)")
	manifest=$(document layers "${layers[@]}")
}

# adopt DIGEST...: as containerd does, when it is about to pull.
adopt() {
	local d
	for d; do "$CTR" --address "$sock" content label "$d" seen=1 >/dev/null; done
}

is_here() {
	local d
	for d; do [ -e "$blobs/$(hex "$d")" ] || return 1; done
}

arrive() {
	local i
	for ((i = 0; i < 200; i++)); do
		if is_here "$@"; then return; fi
		sleep 0.05
	done
	return 1
}

@test "mistakes are told from failures" {
	for command in pin unpin prefetch; do
		run -2 --separate-stderr stowage $command
		[[ $stderr == *"expected"*"digest"* ]]
		run -2 --separate-stderr stowage $command sha256:12
		[[ $stderr == *"expected 64"* ]]
		run -1 --separate-stderr stowage $command "$NONE"
		[[ $stderr == *"no daemon at $sock"* ]]
	done
	run -2 --separate-stderr stowage pin --list "$NONE"
	run -2 --separate-stderr stowage prefetch --all "$NONE"
	run -2 --separate-stderr stowage prefetch --all --timeout soon
	[[ $stderr == *'--timeout: "soon"'* ]]
	run -1 --separate-stderr stowage pin --list
	[[ $stderr == *"there is no store in $root"* ]]
}

@test "where nothing is behind, nothing is evicted" {
	start_daemon
	a=$(put one)
	run -1 --separate-stderr stowage pin "$a"
	[[ $stderr == *"no storage behind this store: nothing is ever evicted"* ]]
	run -1 --separate-stderr stowage unpin "$a"
	run -1 --separate-stderr stowage prefetch --all
	[[ $stderr == *"all its bytes are here"* ]]
	run -0 stowage pin --list --format json
	[ "$(json length)" = 0 ]
	run -0 stowage ls
	[[ ${lines[0]} != *PINNED* ]]
}

@test "an image is pinned with all it refers to, and comes here" {
	behind
	image
	run -1 --separate-stderr stowage pin "$manifest"
	[[ $stderr == *"$manifest: not found"* ]] # no other node's business either
	adopt "$manifest" "${layers[@]}"
	arrive "$manifest" "${layers[@]}"
	stop_daemon
	rm "$blobs/$(hex "${layers[0]}")"
	start_daemon
	run -0 --separate-stderr stowage pin "$manifest"
	[[ $output == "$manifest: 3 blobs, 195.5 KiB, pinned; 1 of them, 97.7 KiB, on the way" ]]
	arrive "${layers[@]}"
	run -0 --separate-stderr stowage pin --format json "$manifest"
	[ "$(json '.[0] | .digest, .blobs, .absent')" = "$manifest"$'\n3\n0' ]

	stop_daemon
	run -0 --separate-stderr stowage pin --list
	[ ${#lines[@]} = 4 ]
	[[ ${lines[0]} == DIGEST*SIZE*AGE*NAMED*HERE ]]
	run -0 --separate-stderr stowage pin --list --format json
	[ "$(json '[.[] | .size] | add > 200000')" = true ]
	[ "$(json '.[] | select(.named) | .digest')" = "$manifest" ]
	[ "$(json 'all(.here)')" = true ]
	run -0 --separate-stderr stowage ls
	[[ ${lines[0]} == *LABELS*PINNED && ${lines[1]} == *yes ]]
	run -0 --separate-stderr stowage ls --format json
	[ "$(json 'all(.pinned != null)')" = true ]
	run -0 --separate-stderr stowage info "${layers[0]}"
	[[ $output == *"Pinned:   yes, since "* ]]
	run -0 --separate-stderr stowage info --format json "${layers[0]}"
	[ "$(json '.pinned != null')" = true ]

	start_daemon
	run -0 --separate-stderr stowage status
	[[ $output == *"Pinned:    3, 195.5 KiB"* ]]
	run -1 --separate-stderr stowage unpin "${layers[0]}" "$manifest" "$NONE"
	[ "$output" = "$manifest: 3 blobs, 195.5 KiB, unpinned" ]
	[[ $stderr == *"pinned with $manifest"*"$NONE: not pinned"* ]]
	run -0 --separate-stderr stowage status --format json
	[ "$(json '.pinned, .pinned_bytes')" = $'0\n0' ]
}

@test "a full cache drops what is not pinned" {
	behind 350000B
	image
	other=$(source_blob "$source" 100000)
	adopt "$manifest" "${layers[@]}" "$other"
	arrive "$manifest" "${layers[@]}" "$other"
	stowage pin "$manifest"
	more=("$(source_blob "$source" 100000)" "$(source_blob "$source" 100000)")
	run -0 --separate-stderr stowage prefetch "${more[0]}"
	[[ $output == *"Brought: 1,"* ]]
	# What was brought a moment ago stays, too.
	run -1 --separate-stderr stowage prefetch "${more[@]}"
	[[ $stderr == *"${more[1]} cannot come here: no room"* ]]
	is_here "$manifest" "${layers[@]}" "${more[0]}"
	run ! is_here "$other"
	run ! is_here "${more[1]}"
	# What the pinned ones would need is refused.
	adopt "${more[@]}"
	run -1 --separate-stderr stowage pin "${more[@]}"
	[[ $stderr == *"300"*"are pinned"*"350000 may stay here (max_size)"* ]]
	[[ $output == *": 1 blob, 97.7 KiB, pinned"* ]]
}

@test "prefetch: an image that this node has never seen" {
	behind
	image
	foreign=$(printf %064d 1)
	index=$(document manifests "$manifest" "sha256:$foreign")
	run -0 --separate-stderr stowage prefetch "$index"
	[[ $output == *"Brought: 4, "*"Here:    0 before"* ]]
	is_here "$index" "$manifest" "${layers[@]}"
	run -0 --separate-stderr stowage prefetch "$index" "$manifest"
	[[ $output == *"Brought: 0, 0 B"*"Here:    4 before"* ]]
}

@test "prefetch: what cannot come is named" {
	behind
	image
	rm "$source/blobs/sha256/$(hex "${layers[0]}")"
	run -1 --separate-stderr stowage prefetch "$manifest" "$NONE"
	[[ $stderr == *"${layers[0]} cannot come here: "*"not found"* ]]
	[[ $stderr == *"$NONE cannot come here: "*"not found"* ]]
	is_here "$manifest" "${layers[1]}"
	# It is known here, and its storage is gone.
	adopt "${layers[1]}"
	rm "$blobs/$(hex "${layers[1]}")" "$source/blobs/sha256/$(hex "${layers[1]}")"
	run -1 --separate-stderr stowage prefetch --all
	[[ $stderr == *"${layers[1]} cannot come here: "*"no storage has it"* ]]
}

@test "prefetch --all: as much as there is room for, and nothing goes for it" {
	behind
	for i in 1 2 3 4; do all[i]=$(source_blob "$source" 100000); done
	adopt "${all[@]}"
	arrive "${all[@]}"
	stop_daemon
	rm "$blobs/$(hex "${all[1]}")" "$blobs/$(hex "${all[2]}")" "$blobs/$(hex "${all[3]}")"
	behind 350000B
	run -1 --separate-stderr stowage prefetch --all
	[[ $output == *"Brought: 2, 195.3 KiB"*"Here:    1 before"* ]]
	[[ $stderr == *"no room for its 100000 bytes, and nothing else goes for it"* ]]
	is_here "${all[4]}"
	[ "$(find "$blobs" -type f | wc -l)" = 3 ]
	run -1 --separate-stderr stowage prefetch "${all[@]}"
	[[ $stderr == *"no room: it would be 390.6 KiB, and 341.8 KiB may stay here (max_size)"* ]]
	[ "$(find "$blobs" -type f | wc -l)" = 3 ]
	stop_daemon
	behind
	run -0 --separate-stderr stowage prefetch --all --timeout 60s
	is_here "${all[@]}"
}
