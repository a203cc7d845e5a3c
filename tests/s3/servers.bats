# The servers of the S3 tests, as far as they are not Go's to test: the gateway comes up, keeps what it is given
# over a kill, and serves TLS; our own servers talk to each other and end when they should.

# shellcheck source=scripts/lib.sh
. "$BATS_TEST_DIRNAME/../../scripts/lib.sh"
# shellcheck source=scripts/go.sh
. "$BATS_TEST_DIRNAME/../../scripts/go.sh"
# shellcheck source=tests/s3/rgw.sh
. "$BATS_TEST_DIRNAME/rgw.sh"
# shellcheck source=tests/s3/servers.sh
. "$BATS_TEST_DIRNAME/servers.sh"

setup_file() { servers_build; }

setup() { run_begin; }

teardown() {
	if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then show_logs; fi
	run_end
}

same_after_kill() {
	rgw_curl --upload-file "$RUN/blob" --output "$RUN/out" "$RGW_ENDPOINT/layers/blob"
	rgw_kill
	run rgw_curl --max-time 5 --head "$RGW_ENDPOINT/layers/blob"
	[[ $status != 0 ]]
	rgw_resume
	rgw_curl --output "$RUN/back" "$RGW_ENDPOINT/layers/blob"
	cmp "$RUN/blob" "$RUN/back"
}

@test "the gateway in memory: http, https, virtual hosts, killed and back" {
	rgw_start --tls --bucket layers
	head -c 9000000 /dev/urandom >"$RUN/blob"
	same_after_kill
	rgw_curl --output "$RUN/back" "${RGW_TLS_ENDPOINT/localhost/layers.localhost}/blob"
	cmp "$RUN/blob" "$RUN/back"
	run curl --silent --fail "$RGW_TLS_ENDPOINT/"
	[[ $status == 60 ]] # it is our authority, and nobody else's
	run rgw_curl --user "$RGW_ACCESS_KEY:wrong" "$RGW_ENDPOINT/layers/blob"
	[[ $status == 22 ]]
}

@test "the gateway on a disk: all of it killed and back" {
	rgw_start --bluestore --bucket layers
	head -c 9000000 /dev/urandom >"$RUN/blob"
	same_after_kill
}

@test "the gateway for other programs ends with its input" {
	mkfifo "$RUN/in"
	"$BATS_TEST_DIRNAME/rgw.sh" --bucket layers <"$RUN/in" >"$RUN/out" 3>&- &
	exec 9>"$RUN/in"
	retry 60 grep -qx ready "$RUN/out"
	. <(grep = "$RUN/out")
	rgw_curl --head "$RGW_ENDPOINT/layers" >/dev/null
	exec 9>&-
	wait
	run curl --silent "$RGW_ENDPOINT/"
	[[ $status == 7 ]]
}

@test "a fault proxy before the gateway" {
	rgw_start --bucket layers
	server_start faults faults -upstream "$RGW_ENDPOINT"
	local through=$SERVER_URL/layers/blob control=$SERVER_CONTROL
	head -c 9000000 /dev/urandom >"$RUN/blob"
	rgw_curl --upload-file "$RUN/blob" "$through"
	server_rules "$control" '{"method": "GET", "count": 1, "truncate": 100000}'
	run rgw_curl --output "$RUN/back" "$through"
	[[ $status == 18 && $(stat -c %s "$RUN/back") == 100000 ]]
	rgw_curl --output "$RUN/back" "$through"
	cmp "$RUN/blob" "$RUN/back"
	[[ $(server_log "$control" 'select(.rule == "unnamed") | .method') == GET ]]
	run server_rules "$control" '{"methud": "GET"}'
	[[ $status != 0 && $output == *methud* ]]
}

@test "our own servers: TLS, and an end with SIGTERM" {
	tls_make "$RUN/tls"
	server_start strict s3 -buckets layers,other -cert "$RUN/tls/server.pem" -key "$RUN/tls/server.key"
	local url=$SERVER_URL control=$SERVER_CONTROL
	curl --silent --fail --cacert "$RUN/tls/ca.pem" --aws-sigv4 aws:amz:us-east-1:s3 --user "$STRICT_ACCESS_KEY:$STRICT_SECRET_KEY" \
		--header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --request PUT --data-binary abc --header 'content-type: a/b' "$url/other/x"
	[[ $(server_objects "$control" '.objects[] | .bucket + "/" + .key') == other/x ]]
	[[ $(server_log "$control" '.proto + " " + .op') == "HTTP/2.0 PutObject" ]]
	server_set "$control" '{"deny": ["PutObject"]}'
	end strict
	run curl --silent "$control/log"
	[[ $status == 7 ]]
	for name in sts container imds; do
		server_start "$name" "$name"
		[[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$SERVER_URL/") =~ ^4 ]]
	done
	# By the end of an input that is a pipe.
	sleep 0.3 | timeout 5 "$S3_SERVER" imds >/dev/null
}
