#!/usr/bin/env bash
# s3.sh SERVER PROGRAM [ARGS...]: starts an S3 server for PROGRAM, tells it by its environment where it is
# (S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_CA, S3_HTTP, AWS_...), and ends it afterwards. SERVER is
#
#   strict        our own, over http
#   strict-tls    the same over https, with a CA of its own; all requests must come by HTTP/1.1
#   strict-h2     the same, but by HTTP/2
#   rgw           a Ceph gateway, over http
#   rgw-tls       the same over https
#
# Exit status 77, which meson takes for "skipped", where what the server needs is not on this machine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
# shellcheck source=scripts/go.sh
. "$TOP/scripts/go.sh"
# shellcheck source=tests/s3/servers.sh
. "$TOP/tests/s3/servers.sh"
# shellcheck source=tests/s3/rgw.sh
. "$TOP/tests/s3/rgw.sh"

skip() {
	say "skipped: $*"
	exit 77
}

# strict [--tls]: sets S3_ENDPOINT and S3_CA.
strict() {
	local tls=()
	[[ -x /usr/lib/go/bin/go ]] || skip "Go is not installed"
	if [[ ${1:-} == --tls ]]; then
		tls_make "$RUN/tls"
		tls=(-cert "$RUN/tls/server.pem" -key "$RUN/tls/server.key")
		export S3_CA=$RUN/tls/ca.pem
	fi
	servers_build
	server_start s3 s3 -buckets layers "${tls[@]}"
	export S3_ENDPOINT=$SERVER_URL S3_REGION=us-east-1
	export AWS_ACCESS_KEY_ID=$STRICT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$STRICT_SECRET_KEY
	# For those who want to change what it does.
	export S3_CONTROL=$SERVER_CONTROL
}

rgw() {
	[[ -x $TOP/build/ceph/bin/radosgw ]] || skip "there is no Ceph in build/ceph: scripts/deps.sh test brings it"
	rgw_start --bucket layers "$@"
	export S3_ENDPOINT=${RGW_TLS_ENDPOINT:-$RGW_ENDPOINT} S3_CA=$RGW_CA S3_REGION=$RGW_REGION
	export AWS_ACCESS_KEY_ID=$RGW_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$RGW_SECRET_KEY
}

server=$1
shift
trap run_end EXIT
trap 'exit 143' INT TERM HUP
run_begin
export S3_BUCKET=layers S3_CA='' S3_HTTP=HTTP/1.1
case $server in
strict) strict ;;
strict-tls) strict --tls ;;
strict-h2)
	strict --tls
	S3_HTTP=HTTP/2.0
	;;
rgw) rgw ;;
rgw-tls) rgw --tls ;;
*) die "what is $server?" ;;
esac
"$@"
if [[ $server == strict* ]]; then
	spoken=$(server_log "$S3_CONTROL" .proto | sort -u)
	[[ $spoken == "$S3_HTTP" ]] || die "the server was spoken to by $spoken, not by $S3_HTTP"
fi
