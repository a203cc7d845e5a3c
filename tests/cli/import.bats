# import: links, copies, what is damaged, what was interrupted.
# shellcheck shell=bash disable=SC2154
bats_require_minimum_version 1.5.0
load helper

inode() { stat -c %i "$1"; }

# As `mktemp -d`, on another filesystem than $dir.
elsewhere() {
	local at
	for at in /dev/shm /run /var/tmp /tmp; do
		if [ -w "$at" ] && [ "$(stat -c %d "$at")" != "$(stat -c %d "$dir")" ]; then
			other=$(mktemp -d "$at/stowage-cli.XXXXXX")
			return
		fi
	done
	return 1
}

@test "an OCI layout is linked, with a daemon and without" {
	a=$(source_blob "$dir/from" 2500000)
	b=$(source_blob "$dir/from" 0)
	c=$(source_blob "$dir/from" 100 sha512)
	d=$(source_blob "$dir/from" 100 sha384)
	printf '{"imageLayoutVersion":"1.0.0"}' >"$dir/from/oci-layout"
	touch "$dir/from/blobs/sha256/no-digest"
	for round in without with; do
		[ $round = without ] || start_daemon
		run -0 --separate-stderr stowage import --from "$dir/from"
		[ "$output" = "4 linked, 0 copied, 0 skipped, 0 failed; 2.4 MiB imported" ]
		[ -z "$stderr" ]
		[ "$(inode "$blobs/$(hex "$a")")" = "$(inode "$dir/from/blobs/sha256/$(hex "$a")")" ]
		[ "$(stowage ls -q | sort)" = "$(printf '%s\n' "$a" "$b" "$c" "$d" | sort)" ]
		run -0 --separate-stderr stowage verify
		run -0 --separate-stderr stowage import --from "$dir/from"
		[ "$output" = "0 linked, 0 copied, 4 skipped, 0 failed; 0 B imported" ]
		[ $round = with ] || rm -rf "$root"
	done
	"$CTR" --address "$sock" content get "$a" | cmp - "$dir/from/blobs/sha256/$(hex "$a")"
	rm -rf "$dir/from"
	run -0 --separate-stderr stowage verify
}

@test "containerd's own directory" {
	a=$(source_blob "$dir/containerd/io.containerd.content.v1.content")
	mkdir "$dir/containerd/io.containerd.content.v1.content/ingest"
	run -1 --separate-stderr stowage import --from "$dir/containerd"
	[[ $stderr == *"but $dir/containerd/io.containerd.content.v1.content has"* ]]
	run -0 stowage import --from "$dir/containerd/io.containerd.content.v1.content" --format json
	[ "$(jq -r '.linked, .copied, .skipped, .failed, .bytes, (.failures | length)' <<<"$output")" = $'1\n0\n0\n0\n1000\n0' ]
	run -0 stowage info "$a"
}

@test "what is no source" {
	run -1 --separate-stderr stowage import --from "$dir/nowhere"
	[[ $stderr == *"$dir/nowhere"* ]]
	mkdir "$dir/empty"
	run -1 --separate-stderr stowage import --from "$dir/empty"
	[[ $stderr == *"no containerd content directory, and no OCI image layout"* ]]
	[ ! -e "$root" ]
	start_daemon
	run -1 --separate-stderr stowage import --from "$root"
	[[ $stderr == *"the store's own directory"* ]]
}

@test "copies: on demand, from another filesystem, and where others may write" {
	elsewhere
	a=$(source_blob "$dir/from" 1500000)
	b=$(source_blob "$other/from" 3000000)
	c=$(source_blob "$dir/open")
	chmod 0666 "$dir/open/blobs/sha256/$(hex "$c")"
	start_daemon
	run -0 stowage import --copy --from "$dir/from"
	[ "$output" = "0 linked, 1 copied, 0 skipped, 0 failed; 1.4 MiB imported" ]
	[ "$(stat -c %h "$blobs/$(hex "$a")")" = 1 ]
	stop_daemon
	run -0 stowage import --from "$other/from"
	[ "$output" = "0 linked, 1 copied, 0 skipped, 0 failed; 2.9 MiB imported" ]
	run -0 stowage import --from "$dir/open"
	[ "$output" = "0 linked, 1 copied, 0 skipped, 0 failed; 1000 B imported" ]
	[ "$(stat -c '%a %h' "$blobs/$(hex "$c")")" = "444 1" ]
	cmp "$blobs/$(hex "$b")" "$other/from/blobs/sha256/$(hex "$b")"
	[ -z "$(ls "$root/ingest")" ]
	run -0 stowage verify
	[[ $output == "3 blobs checked"* ]]
}

@test "what is damaged is left out, the rest is taken" {
	a=$(source_blob "$dir/from")
	for copy in "" --copy; do
		rm -rf "$root"
		b=$(source_blob "$dir/from")
		damage "$dir/from/blobs/sha256/$(hex "$b")"
		ln -s "$dir/empty.toml" "$dir/from/blobs/sha256/$(printf %064d 1)"
		mkdir "$dir/from/blobs/sha256/$(printf %064d 2)"
		# shellcheck disable=SC2086
		run -1 --separate-stderr stowage import $copy --from "$dir/from"
		[[ $output == *" 3 failed; 1000 B imported" ]]
		[[ $stderr == *"$b: left out: the digest of its bytes is sha256:"* ]]
		[[ $stderr == *"sha256:$(printf %064d 1): left out: not a regular file"* ]]
		[ "$(stowage ls -q)" = "$a" ]
		[ -z "$(ls "$root/ingest")" ]
		rm -rf "$dir/from/blobs/sha256/"{"$(hex "$b")","$(printf %064d 1)","$(printf %064d 2)"}
	done
	# And so is what differs from what the store has.
	chmod u+w "$dir/from/blobs/sha256/$(hex "$a")"
	printf x >>"$dir/from/blobs/sha256/$(hex "$a")"
	run -1 --separate-stderr stowage import --from "$dir/from" --format json
	[[ $stderr == *"1001 bytes, and 1000 in the store"* ]]
	[ "$(jq -r '.failed, .failures[0].digest' <<<"$output")" = "1"$'\n'"$a" ]
}

@test "a dry run changes nothing" {
	a=$(source_blob "$dir/from")
	for round in missing empty there; do
		[ $round != empty ] || mkdir "$root"
		[ $round != there ] || start_daemon
		run -0 stowage import --dry-run --from "$dir/from"
		[ "$output" = "dry run: 1 linked, 0 copied, 0 skipped, 0 failed; 1000 B would be imported" ]
		[ $round != missing ] || [ ! -e "$root" ]
	done
	[ -z "$(stowage ls -q)" ]
	[ ! -e "$blobs/$(hex "$a")" ]
	if elsewhere; then
		root=$other/root
		where[3]=$root
		run -0 stowage import --dry-run --from "$dir/from"
		[ "$output" = "dry run: 0 linked, 1 copied, 0 skipped, 0 failed; 1000 B would be imported" ]
	fi
}

# import_and_signal SIGNAL: starts an import of $other/from, which has 60 blobs, into $root, and signals it
# once a few of them are there; again from the start if it was too fast. Sets $status and $there.
import_and_signal() {
	local try i pid
	for try in $(seq 20); do
		"$STOWAGE" import "${where[@]}" --from "$other/from" >"$dir/out" 3>&- &
		pid=$!
		for ((i = 0; i < 500; i++)); do
			[ "$(find "$blobs" -type f 2>/dev/null | wc -l)" -lt 5 ] || break
			sleep 0.01
		done
		kill -"$1" "$pid" 2>/dev/null || true
		status=0
		wait "$pid" || status=$?
		there=$(find "$blobs" -type f | wc -l)
		if ((there > 0 && there < 60)); then return; fi
		echo "attempt $try: status $status, $there of 60"
		if [ -n "$daemon" ]; then
			stop_daemon
			rm -rf "$root"
			start_daemon
		else
			rm -rf "$root"
		fi
	done
	return 1
}

@test "killed half way, and again" {
	elsewhere
	for i in $(seq 60); do source_blob "$other/from" 1000000 >/dev/null; done
	for round in without with; do
		[ $round = without ] || start_daemon
		import_and_signal KILL
		[ "$status" -eq 137 ]
		run -0 --separate-stderr stowage import --from "$other/from"
		[[ $output == "0 linked, $((60 - there)) copied, $there skipped, 0 failed;"* ]]
		[ "$(stowage ls -q | wc -l)" -eq 60 ]
		run -0 --separate-stderr stowage verify
		[[ $output == "60 blobs checked"* ]]
		[ $round = with ] || rm -rf "$root"
	done
}

@test "bytes of a killed import get their records, though nothing is left to place" {
	a=$(source_blob "$dir/from")
	start_daemon
	ln "$dir/from/blobs/sha256/$(hex "$a")" "$blobs/"
	[ -z "$(stowage ls -q)" ]
	run -0 --separate-stderr stowage import --from "$dir/from"
	[ "$output" = "0 linked, 0 copied, 1 skipped, 0 failed; 0 B imported" ]
	[ "$(stowage ls -q)" = "$a" ]
}

@test "a signal ends it cleanly, and what is in its place is recorded" {
	elsewhere
	for i in $(seq 60); do source_blob "$other/from" 1000000 >/dev/null; done
	import_and_signal TERM
	[ "$status" -eq 143 ]
	[[ $(cat "$dir/out") == "interrupted: "*" 0 failed;"* ]]
	[ "$(stowage ls -q | wc -l)" -eq "$there" ]
	[ -z "$(ls "$root/ingest")" ]
}

@test "another process has the root" {
	a=$(source_blob "$dir/from")
	start_daemon
	run -1 --separate-stderr stowage import --from "$dir/from" --address "$dir/other.sock"
	[[ $stderr == *"in use by the stowage process $daemon"*"$dir/other.sock"* ]]
	[ ! -e "$blobs/$(hex "$a")" ]
}
