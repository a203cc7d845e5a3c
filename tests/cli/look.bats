# ls, info, ingests, status: what is in the store, with and without a daemon.
# shellcheck shell=bash disable=SC2154
bats_require_minimum_version 1.5.0
load helper

@test "an empty place is no store" {
	for command in ls ingests "info sha256:$(printf %064d 0)" verify; do
		# shellcheck disable=SC2086
		run -1 --separate-stderr stowage $command
		[[ $stderr == *"there is no store in $root"* ]]
		[ -z "$output" ]
	done
	[ ! -e "$root" ] # looking makes nothing
}

@test "mistakes are told from failures" {
	run -2 --separate-stderr stowage info
	run -2 --separate-stderr stowage info sha256:12
	[[ $stderr == *"expected 64"* ]]
	run -2 --separate-stderr stowage ls 'labels.'
	run -2 --separate-stderr stowage ls --quiet --format json
	run -2 --separate-stderr stowage ls --format yaml
	run -2 --separate-stderr stowage ingests something
	run -2 --separate-stderr stowage verify nonsense
	run -2 --separate-stderr stowage verify --rate-limit fast
	run -2 --separate-stderr stowage verify --rate-limit 0B
	run -2 --separate-stderr stowage import
	run -2 --separate-stderr stowage ls --root relative
	for command in ls info ingests status flush pin unpin prefetch verify import check; do
		run -0 --separate-stderr stowage "$command" --help
		[[ $output == "Usage: stowage $command"* ]]
	done
}

@test "help and version" {
	run -0 --separate-stderr "$STOWAGE" help
	[[ $output == *"Usage: stowage COMMAND"* ]]
	run -0 --separate-stderr "$STOWAGE" help ls
	[[ $output == "Usage: stowage ls "* ]]
	run -0 --separate-stderr "$STOWAGE" help help
	run -0 --separate-stderr "$STOWAGE" --version
	[[ $output == "stowage "* ]]
	run -2 --separate-stderr "$STOWAGE" help nope
	[[ $stderr == *'unknown command "nope"'* && -z $output ]]
	run -2 --separate-stderr "$STOWAGE" help ls info
	run -2 --separate-stderr "$STOWAGE" version x
	[ -z "$output" ]
}

@test "config check says which files there are" {
	[ ! -e /etc/stowage/config.toml ] || skip "this machine has one"
	run -0 --separate-stderr "$STOWAGE" config check
	[ "$output" = "OK: no files: there is no /etc/stowage/config.toml" ]
	run -0 --separate-stderr "$STOWAGE" config check --config "$dir/empty.toml"
	[ "$output" = "OK: $dir/empty.toml" ]
}

@test "a regular expression that is none is told of" {
	start_daemon
	put one >/dev/null
	run -0 --separate-stderr stowage ls -q 'digest~=['
	[[ -z $output && $stderr == *"[ is no regular expression"* ]]
	run -0 --separate-stderr stowage ls -q 'digest~=256'
	[[ -n $output && -z $stderr ]]
}

@test "ls, with a daemon and without" {
	start_daemon
	a=$(put one kind=layer)
	b=$(put "$(head -c 3000 /dev/zero | tr '\0' x)" kind=config x=y)
	for round in with without; do
		run -0 --separate-stderr stowage ls
		[[ ${lines[0]} == DIGEST*SIZE*AGE*LABELS ]]
		[ ${#lines[@]} -eq 3 ]
		[[ $output == *"$a"*"3 B"*"kind=layer"* ]]
		[[ $output == *"$b"*"2.9 KiB"*"2 labels"* ]]
		run -0 --separate-stderr stowage ls --quiet
		[ "$output" = "$(printf '%s\n' "$a" "$b" | sort)" ]
		run -0 --separate-stderr stowage ls -q 'labels.kind==config'
		[ "$output" = "$b" ]
		run -0 --separate-stderr stowage ls -q 'labels.kind==none' "digest==$a"
		[ "$output" = "$a" ]
		run -0 --separate-stderr stowage ls --format json
		[ "$(json length)" = 2 ]
		[ "$(json "map(select(.digest == \"$b\"))[0] | .size, .labels.kind, .labels.x")" = $'3000\nconfig\ny' ]
		[ "$(json '.[0].created | length')" -gt 19 ]
		run -0 --separate-stderr stowage ls --format json 'labels.kind==none'
		[ "$(json length)" = 0 ]
		[ $round = without ] || stop_daemon
	done
}

@test "ls of more than a batch, and of more than the table holds" {
	mkdir -p "$dir/from/blobs/sha256"
	for i in $(seq 1300); do
		printf %s "$i" >"$dir/new"
		mv "$dir/new" "$dir/from/blobs/sha256/$(printf %s "$i" | sha256sum | cut -d ' ' -f 1)"
	done
	run -0 stowage import --from "$dir/from"
	run -0 stowage ls
	[ ${#lines[@]} -eq 1301 ]
	[[ ${lines[0]} == DIGEST* ]]
	[ "$(printf '%s\n' "${lines[@]:1}" | sort -u | wc -l)" -eq 1300 ]
	run -0 stowage ls --format json
	[ "$(json length)" -eq 1300 ]
}

@test "what cannot be printed is a failure" {
	start_daemon
	a=$(put one)
	for command in ls "ls --format json" "ls -q" "info $a" ingests status verify; do
		# shellcheck disable=SC2086
		run -1 --separate-stderr eval "stowage $command >/dev/full"
		[[ $stderr == *"No space left on device"* ]]
	done
	# The reader has gone by then.
	{ sleep 0.5; stowage ls 2>"$dir/message" && status=0 || status=$?; echo "$status" >"$dir/status"; } | true
	[ "$(cat "$dir/status")" -eq 1 ]
	grep -q "Broken pipe" "$dir/message"
}

@test "labels and refs cannot play with the terminal" {
	start_daemon
	a=$(put one "$(printf 'k=\033[31mred')")
	run -0 stowage ls
	[[ $output == *'k=\x1b[31mred'* ]]
	run -0 stowage info "$a"
	[[ $output == *'k=\x1b[31mred'* ]]
	run -0 stowage info --format json "$a"
	[ "$(json .labels.k)" = "$(printf '\033[31mred')" ]
}

@test "info" {
	start_daemon
	a=$(put one kind=layer)
	run -0 stowage info "$a"
	[[ $output == *"Digest:   $a"*"Size:     3 (3 B)"*"Labels:   kind=layer"*"Path:     $blobs/$(hex "$a")"*"On disk:  ok"* ]]
	run -0 stowage info --format json "$a"
	[ "$(json '.digest, .size, .on_disk, .path')" = "$a"$'\n3\nok\n'"$blobs/$(hex "$a")" ]

	chmod u+w "$blobs/$(hex "$a")"
	printf more >>"$blobs/$(hex "$a")"
	run -0 stowage info --format json "$a"
	[ "$(json '.on_disk, .size_on_disk')" = $'wrong-size\n7' ]
	run -0 stowage info "$a"
	[[ $output == *"wrong size, 7 bytes instead of 3"* ]]
	rm "$blobs/$(hex "$a")"
	run -0 stowage info --format json "$a"
	[ "$(json .on_disk)" = missing ]
	mkdir "$blobs/$(hex "$a")"
	run -0 stowage info --format json "$a"
	[ "$(json .on_disk)" = not-a-file ]

	none=sha256:$(printf %064d 0)
	run -1 --separate-stderr stowage info "$none"
	[[ $stderr == *"$none: not found"* ]]
	[ -z "$output" ]
	stop_daemon
	cp "$dir/empty.toml" "$blobs/$(hex "$none")"
	run -1 --separate-stderr stowage info "$none"
	[[ $stderr == *"its bytes are in $blobs"* ]]
}

@test "ingests" {
	start_daemon
	run -0 stowage ingests --format json
	[ "$(json length)" = 0 ]
	run ! "$CTR" --address "$sock" content ingest --expected-size 6000000 half < <(head -c 3000000 /dev/zero)
	run ! "$CTR" --address "$sock" content ingest --expected-digest "sha256:$(printf %064d 0)" other < <(echo)
	for round in with without; do
		run -0 stowage ingests
		[[ ${lines[0]} == REF*OFFSET*TOTAL*PROGRESS*STARTED*UPDATED ]]
		[[ ${lines[1]} == half*"2.9 MiB"*"5.7 MiB"*"50%"* ]] # oldest first
		[[ ${lines[2]} == other*"1 B"*-* ]]
		run -0 stowage ingests --format json
		[ "$(json '.[0] | .ref, .offset, .total')" = $'half\n3000000\n6000000' ]
		[ "$(jq -r '.[1].total' <<<"$output")" = null ]
		[ $round = without ] || stop_daemon
	done
}

@test "status, with a daemon and without" {
	start_daemon
	put one >/dev/null
	run -0 stowage status
	[[ $output == *"running, version "*"pid $daemon"*"$sock"*"$root"*"Blobs:     1, 3 B"* ]]
	run -0 stowage status --format json
	[ "$(json '.running, .pid, .root, .address, .blobs, .blob_bytes, .ingests')" = \
		"$(printf '%s\n' true "$daemon" "$root" "$sock" 1 3 0)" ]
	run -0 --separate-stderr stowage status --format json --root "$dir/elsewhere" # the daemon knows better
	[ "$(json .root)" = "$root" ]

	stop_daemon KILL # leaves its socket behind
	[ -S "$sock" ]
	run -1 --separate-stderr stowage status
	[[ $stderr == *"no daemon answers at $sock: nobody listens on that socket"* ]]
	[[ $output == *"not running"*"Blobs:     1, 3 B"* ]]
	run -1 --separate-stderr stowage status --format json
	[ "$(jq -r '.running, .blobs, .blob_bytes' <<<"$output")" = $'false\n1\n3' ]
	rm "$sock"
	run -1 --separate-stderr stowage status --format json --root "$dir/elsewhere"
	[ "$(jq -r '.running, has("blobs"), (.database_error | length > 0)' <<<"$output")" = $'false\nfalse\ntrue' ]
	[ ! -e "$dir/elsewhere" ]
	run -1 --separate-stderr stowage status --address fd://
	[[ $stderr == *"--address"* ]]
}

@test "who may not ask is told so" {
	[ "$(id -u)" -eq 0 ] || skip "needs another user"
	chmod 0755 "$dir"
	start_daemon
	as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$STOWAGE" status "${where[@]}" "$@"; }
	run -1 --separate-stderr as_nobody
	[[ $output == "Daemon:    may not be asked (permission denied)"* && $output != *"not running"* ]]
	[[ $stderr == *"the daemon at $sock may not be asked: permission denied"* && $stderr != *addresses* ]]
	run -1 --separate-stderr as_nobody --format json
	[ "$(jq -r '.running, (.error | contains("permission denied"))' <<<"$output")" = $'null\ntrue' ]
}

@test "an address alone is not taken for a root" {
	start_daemon
	for command in ls ingests "info sha256:$(printf %064d 0)" verify "pin --list"; do
		# shellcheck disable=SC2086
		run -1 --separate-stderr "$STOWAGE" $command --address "$sock"
		[[ $stderr == *"needs --root or --config"*"has the root $root"* ]]
	done
	stop_daemon
	run -1 --separate-stderr "$STOWAGE" ls --address "$sock"
	[[ $stderr == *"needs --root or --config"*"no daemon at $sock"* ]]
}

@test "no store is made for a socket that is in use" {
	start_daemon
	run -1 --separate-stderr "$STOWAGE" serve --config "$dir/empty.toml" --root "$dir/second" --address "$sock"
	[[ $stderr == *"is in use"* ]]
	[ ! -e "$dir/second" ]
	# Of a store that is there, it is told who has it.
	run -1 --separate-stderr stowage serve
	[[ $stderr == *"$daemon"* ]]
}

@test "a daemon that does not answer" {
	start_daemon
	kill -STOP "$daemon"
	SECONDS=0
	run -1 --separate-stderr stowage status
	kill -CONT "$daemon"
	((SECONDS < 15))
	[[ $stderr == *"no daemon answers"* ]]
	[[ $output == *"not running"* ]]
}

@test "flush has nothing to do where nothing is behind" {
	run -1 --separate-stderr stowage flush
	[[ $stderr == *"no daemon at $sock"* ]]
	start_daemon
	run -1 --separate-stderr stowage flush --timeout 0s
	[[ $stderr == *"there is no storage behind this store"* ]]
	run -2 --separate-stderr stowage flush --timeout soon
	[[ $stderr == *'--timeout: "soon"'* ]]
	run -2 stowage flush now
}
