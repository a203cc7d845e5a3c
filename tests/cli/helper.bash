# shellcheck shell=bash disable=SC2034,SC2119,SC2120,SC2154
# For the tests of the command line: a store in a directory of the test's own, blobs in it, and a
# daemon for those that want one.

STOWAGE=${STOWAGE_BIN:?the program to be tested}
CTR=${CTR:-ctr}

setup() {
	# Short, for the socket's path; on a filesystem that has hard links.
	dir=$(mktemp -d "${TMPDIR:-/tmp}/stowage-cli.XXXXXX")
	root=$dir/root
	sock=$dir/s.sock
	blobs=$root/blobs/sha256
	unset "${!STOWAGE_@}" # they would configure it
	# No configuration of the machine's.
	: >"$dir/empty.toml"
	where=(--config "$dir/empty.toml" --root "$root" --address "$sock")
	daemon=
}

teardown() {
	stop_daemon
	rm -rf "$dir" ${other:+"$other"}
}

# stowage COMMAND...: with the test's store.
stowage() {
	local command=$1
	shift
	"$STOWAGE" "$command" "${where[@]}" "$@"
}

start_daemon() {
	"$STOWAGE" serve "${where[@]}" 2>"$dir/daemon.log" 3>&- &
	daemon=$!
	local i
	for ((i = 0; i < 100; i++)); do
		if stowage status --format json 2>/dev/null | jq -e '.running and (.reconciling | not)' >/dev/null; then
			return
		fi
		sleep 0.05
	done
	cat "$dir/daemon.log"
	return 1
}

# stop_daemon [SIGNAL]
stop_daemon() {
	[ -n "$daemon" ] || return 0
	kill -"${1:-TERM}" "$daemon"
	wait "$daemon" || true
	daemon=
}

# put TEXT [LABEL=VALUE...]: writes a blob through the daemon, prints its digest.
put() {
	local digest text=$1
	shift
	digest=sha256:$(printf %s "$text" | sha256sum | cut -d ' ' -f 1)
	printf %s "$text" | "$CTR" --address "$sock" content ingest --expected-digest "$digest" "ref-$digest" >/dev/null
	[ $# -eq 0 ] || "$CTR" --address "$sock" content label "$digest" "$@" >/dev/null
	echo "$digest"
}

# source_blob DIR [SIZE [ALGORITHM]]: a file of random bytes in DIR/blobs/sha256; prints its digest.
source_blob() {
	local algorithm=${3:-sha256} file digest
	mkdir -p "$1/blobs/$algorithm"
	file=$(mktemp "$1/blobs/$algorithm/new.XXXXXX")
	head -c "${2:-1000}" /dev/urandom >"$file"
	digest=$("${algorithm}sum" <"$file" | cut -d ' ' -f 1)
	chmod 0444 "$file"
	mv "$file" "$1/blobs/$algorithm/$digest"
	echo "$algorithm:$digest"
}

hex() { echo "${1#*:}"; }

# damage FILE: another first byte, same size.
damage() {
	local first
	first=$(head -c 1 "$1" | od -An -tu1)
	chmod u+w "$1"
	# shellcheck disable=SC2059 # an octal escape
	printf "\\$(printf %03o $((first ^ 255)))" | dd of="$1" conv=notrunc status=none
}

# json FILTER: the output of the last run (of --separate-stderr), as jq sees it.
json() { jq -er "$1" <<<"$output"; }
