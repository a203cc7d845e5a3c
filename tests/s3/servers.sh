# shellcheck shell=bash
# Our own servers for the S3 tests (server/main.go says which), for shell scripts. To be sourced after lib.sh and
# go.sh; all that is started belongs to $RUN.

S3_SERVER=$TOP/build/go/s3-server

# The credentials that the strict S3 server knows from the start.
# shellcheck disable=SC2034
STRICT_ACCESS_KEY=AKIASTOWAGETEST00001 STRICT_SECRET_KEY=stowage/test+secret/00000000000000000001

# servers_build: once, before the first server_start. Others may be about to do so, or to run it; go leaves alone what is
# up to date.
servers_build() {
	mkdir -p "${S3_SERVER%/*}"
	(
		flock 9
		go_tool build -o "$S3_SERVER" stowage/s3/server
	) 9>"$S3_SERVER.lock"
}

# server_start NAME COMMAND [FLAGS...]: `server COMMAND`, as the process NAME; sets SERVER_URL and SERVER_CONTROL.
server_start() {
	local name=$1
	shift
	: >"$RUN/$name.log"
	spawn "$name" "$S3_SERVER" "$@"
	retry 10 server_said "$name" || die "the server $name does not start: $(tail -n 3 "$RUN/$name.log")"
	read -r SERVER_URL SERVER_CONTROL <"$RUN/$name.log"
}

server_said() { [[ $(wc -l <"$RUN/$1.log") -gt 0 ]]; }

# server_set CONTROL JSON: changes settings; the others become what they were at the start.
server_set() { server_json "$1/settings" --request PUT --data-binary "$2"; }

# server_rules CONTROL JSON: the fault proxy's rules, one or a list, instead of those that it had.
server_rules() { server_json "$1/rules" --request PUT --data-binary "$2"; }

# server_log CONTROL [JQ-FILTER]: what it was asked, each request by itself.
server_log() { curl --silent --fail "$1/log" | jq --raw-output ".[] | ${2:-.}"; }

# server_objects CONTROL [JQ-FILTER]: what the strict S3 server holds: {objects: [...], uploads: [...]}.
server_objects() { curl --silent --fail "$1/objects" | jq --raw-output "${2:-.}"; }

server_json() {
	local url=$1 answer
	shift
	# On failure the body says why.
	answer=$(curl --silent --show-error --fail-with-body "$@" "$url") || die "$url: $answer"
}
