# verify and its quarantine, with and without a daemon.
# shellcheck shell=bash disable=SC2154
bats_require_minimum_version 1.5.0
load helper

# A store with one blob of each kind of damage, $good, and a stray file; a daemon runs.
make_damage() {
	start_daemon
	good=$(put good)
	damaged=$(put damaged)
	truncated=$(put truncated)
	missing=$(put missing)
	unreadable=$(put unreadable)
	damage "$blobs/$(hex "$damaged")"
	chmod u+w "$blobs/$(hex "$truncated")"
	truncate -s 4 "$blobs/$(hex "$truncated")"
	rm "$blobs/$(hex "$missing")" "$blobs/$(hex "$unreadable")"
	mkdir "$blobs/$(hex "$unreadable")" # no file at all
	extra=sha256:$(printf extra | sha256sum | cut -d ' ' -f 1)
	printf extra >"$blobs/$(hex "$extra")"
}

@test "all is well" {
	start_daemon
	run -0 --separate-stderr stowage verify # an empty store
	[[ $output == "0 blobs checked"*"all well" ]]
	put one >/dev/null
	put "" >/dev/null
	run -0 --separate-stderr stowage verify
	[[ $output == "2 blobs checked, 3 B read in "*": all well" ]]
	[ -z "$stderr" ]
	stop_daemon
	run -0 --separate-stderr stowage verify --format json
	[ "$(jq -r '.checked, .bytes, .extra, .interrupted, (.problems | length)' <<<"$output")" = $'2\n3\n0\nfalse\n0' ]
}

@test "every kind of damage is found, and nothing is touched" {
	make_damage
	before=$(find "$root/blobs" | sort)
	for round in with without; do
		run -1 --separate-stderr stowage verify
		[[ $output == *"damaged     $damaged  7 bytes, their digest is sha256:"* ]]
		[[ $output == *"truncated   $truncated  9 bytes are recorded, there are 4"* ]]
		[[ $output == *"missing     $missing  7 bytes are recorded, there are none"* ]]
		[[ $output == *"unreadable  $unreadable  "*"not a regular file"* ]]
		[[ $output == *"extra       $extra"* ]]
		[[ $output != *"$good"* ]]
		[[ ${lines[-1]} == "5 blobs checked, 11 B read in "*": 1 damaged, 1 truncated, 1 missing, 1 unreadable, 1 extra" ]]
		run -1 --separate-stderr stowage verify --format json
		[ "$(json '.problems | length')" = 4 ]
		[ "$(json ".problems[] | select(.digest == \"$damaged\").problem")" = damaged ]
		[ "$(jq '.problems | any(.taken_out)' <<<"$output")" = false ]
		[ "$(json '.extras[0].digest')" = "$extra" ]
		[ "$(find "$root/blobs" | sort)" = "$before" ]
		[ ! -e "$root/quarantine" ]
		[ $round = without ] || stop_daemon
	done
}

@test "named blobs alone" {
	make_damage
	run -0 stowage verify "$good"
	[[ $output == "1 blob checked, 4 B read"* ]]
	run -1 --separate-stderr stowage verify "$good" "$damaged"
	[[ $output == *"damaged     $damaged"* ]]
	[[ $output != *"$missing"* && $output != *"$extra"* ]]
	run -1 --separate-stderr stowage verify "sha256:$(printf %064d 0)"
	[[ $stderr == *"not found"* && $output == *": 1 not found" ]]
	run -0 --separate-stderr stowage verify "$extra" # no record, good bytes
	damage "$blobs/$(hex "$extra")"
	run -1 --separate-stderr stowage verify "$extra"
	[[ $output == *"damaged     $extra"* ]]
}

# What is left after a quarantine of make_damage's store.
check_quarantine() {
	local kind
	[ "$(stowage ls -q)" = "$good" ]
	for kind in damaged truncated missing unreadable; do
		[[ $output == *"$kind "*"${!kind}"* ]]
		[ ! -e "$blobs/$(hex "${!kind}")" ]
	done
	[[ $output == *"moved       $damaged  $root/quarantine/sha256/$(hex "$damaged")."* ]]
	[[ $output == *"forgotten   $missing"* ]]
	[ "$(cat "$root/quarantine/sha256/$(hex "$truncated")".*)" = trun ]
	[ "$(find "$root/quarantine" -mindepth 2 | wc -l)" -eq 3 ]
	[ "$(stat -c %a "$root/quarantine" "$root/quarantine/sha256")" = $'700\n700' ]
	[ -e "$blobs/$(hex "$extra")" ]
}

@test "quarantine through a daemon: it forgets, and takes them again" {
	make_damage
	rm "$blobs/$(hex "$extra")"
	# The daemon has the damaged blob open.
	"$CTR" --address "$sock" content get "$damaged" >/dev/null
	printf extra >"$blobs/$(hex "$extra")"
	run -1 --separate-stderr stowage verify --quarantine
	check_quarantine
	run ! "$CTR" --address "$sock" content get "$damaged"
	[ "$(put damaged)" = "$damaged" ]
	[ "$("$CTR" --address "$sock" content get "$damaged")" = damaged ]
	put missing >/dev/null
	run -0 --separate-stderr stowage verify
}

@test "quarantine without a daemon" {
	make_damage
	stop_daemon
	run -1 --separate-stderr stowage verify --quarantine
	check_quarantine
	run -0 --separate-stderr stowage verify
	start_daemon
	put damaged >/dev/null
	run -0 --separate-stderr stowage verify
}

@test "quarantine as JSON" {
	make_damage
	run -1 --separate-stderr stowage verify --quarantine --format json
	[ "$(json '[.problems[] | select(.taken_out)] | length')" = 4 ]
	path=$(json ".problems[] | select(.digest == \"$damaged\").quarantine")
	[ -f "$path" ]
	[ "$(jq -r ".problems[] | select(.digest == \"$missing\").quarantine" <<<"$output")" = null ]
}

@test "quarantine needs the daemon that has the root" {
	make_damage
	run -1 --separate-stderr stowage verify --quarantine --address "$dir/other.sock"
	[[ $stderr == *"$root is in use by the stowage process $daemon"*"no daemon at $dir/other.sock"* ]]
	[[ $stderr == *"nothing was quarantined"* ]]
	[ ! -e "$root/quarantine" ]
	[ -e "$blobs/$(hex "$damaged")" ]
}

@test "the rate is limited, and a signal ends it" {
	start_daemon
	put "$(head -c 1000 /dev/zero | tr '\0' a)" >/dev/null
	mkdir "$dir/from"
	for i in 1 2 3; do source_blob "$dir/from" 3000000 >/dev/null; done
	stowage import --from "$dir/from"
	SECONDS=0
	run -0 --separate-stderr stowage verify --rate-limit 4MiB
	((SECONDS >= 1 && SECONDS <= 20))
	# A shell without job control has SIGINT ignored in the background.
	env --default-signal=INT "$STOWAGE" verify "${where[@]}" --rate-limit 1MiB --quarantine >"$dir/out" 2>"$dir/err" 3>&- &
	pid=$!
	sleep 1
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	[[ $(cat "$dir/out") == "interrupted: "*" blob"*" checked"* ]]
}

@test "blobs that come and go are no mistakes" {
	start_daemon
	for i in $(seq 30); do put "blob $i" >/dev/null; done
	for round in $(seq 20); do
		for i in $(seq 5); do put "more $round $i" >/dev/null; done
		stowage ls -q | head -n 5 | xargs -n 1 "$CTR" --address "$sock" content rm >/dev/null
	done 3>&- &
	churn=$!
	while kill -0 "$churn" 2>/dev/null; do
		run -0 --separate-stderr stowage verify --quarantine --rate-limit 1kB
	done
	wait "$churn"
	[ ! -e "$root/quarantine" ]
}

@test "forbidden is not damaged" {
	((EUID == 0)) || skip "needs root, to become somebody else"
	start_daemon
	a=$(put one)
	stop_daemon
	chmod 755 "$dir"
	chown -R nobody "$root" "$sock" 2>/dev/null || chown -R nobody "$root"
	chown root "$blobs/$(hex "$a")"
	chmod 0400 "$blobs/$(hex "$a")"
	install -m 755 "$STOWAGE" "$dir/stowage"
	run -1 --separate-stderr setpriv --reuid nobody --clear-groups "$dir/stowage" verify "${where[@]}" --quarantine
	[[ $output == *"forbidden   $a"* ]]
	[[ $stderr == *"left alone"* ]]
	[ -e "$blobs/$(hex "$a")" ]
	run -0 stowage verify
}
