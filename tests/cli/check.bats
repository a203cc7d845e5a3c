# check: what a broken bucket is told about; on the strict server, which refuses what the test says.
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load helper

# What helper.bash does, and a server of the test's own.
setup_file() {
	set -euo pipefail
	# shellcheck source=scripts/lib.sh
	. "$BATS_TEST_DIRNAME/../../scripts/lib.sh"
	# shellcheck source=scripts/go.sh
	. "$TOP/scripts/go.sh"
	# shellcheck source=tests/s3/servers.sh
	. "$TOP/tests/s3/servers.sh"
	[[ -x /usr/lib/go/bin/go ]] || skip "Go is not installed"
	run_begin
	servers_build
	server_start s3 s3 -buckets layers
	export S3_URL=$SERVER_URL S3_CONTROL=$SERVER_CONTROL STRICT_ACCESS_KEY STRICT_SECRET_KEY TOP
	server_start faults faults -upstream "$S3_URL"
	export FAULTS_URL=$SERVER_URL FAULTS_CONTROL=$SERVER_CONTROL
}

teardown_file() {
	# shellcheck source=scripts/lib.sh
	. "$TOP/scripts/lib.sh"
	run_end
}

# bucket [KEY=VALUE...]: the configuration, with more keys of [remote.s3]; $MODE for another mode than tiered.
bucket() {
	local pair
	{
		printf '[remote]\ntype = "s3"\nmode = "%s"\n[remote.s3]\n' "${MODE:-tiered}"
		printf 'endpoint = "%s"\nregion = "us-east-1"\nbucket = "layers"\nprefix = "a"\nproxy = "direct"\n' "$S3_URL"
		printf 'access_key = "%s"\nsecret_key = "%s"\nmax_attempts = 1\n' "$STRICT_ACCESS_KEY" "$STRICT_SECRET_KEY"
	} >"$dir/bucket.toml"
	for pair in "$@"; do
		sed -i "/^${pair%%=*} = /d" "$dir/bucket.toml"
		printf '%s = %s\n' "${pair%%=*}" "${pair#*=}" >>"$dir/bucket.toml"
	done
	where[1]=$dir/bucket.toml
	settings '{}'
	curl --silent --fail --request DELETE "$S3_CONTROL/objects" >/dev/null
}

# settings JSON: of the server; what is not named is as at the start.
settings() { curl --silent --fail --request PUT --data-binary "$1" "$S3_CONTROL/settings" >/dev/null; }

# faults JSON: the rules of the proxy before it, which nobody uses who does not name it as the endpoint.
faults() { curl --silent --fail --request PUT --data-binary "$1" "$FAULTS_CONTROL/rules" >/dev/null; }

# result STEP: of the last run with --format json.
result() { jq -r --arg step "$1" '.steps[] | select(.step == $step) | .result' <<<"$output"; }
advice() { jq -r --arg step "$1" '.steps[] | select(.step == $step) | .advice // ""' <<<"$output"; }

@test "a local store needs its directories" {
	run -0 --separate-stderr stowage check
	[[ $output == *"ok      root "*"$root: will be made"*"ok      local.path"*"ok      grpc.address "*"$dir"* ]]
	[ ! -e "$root" ] # looking makes nothing
	mkdir "$root"
	run -0 --separate-stderr stowage check --address "$dir/new/s.sock"
	[[ $output == *"$root"*"ok      grpc.address "*"$dir/new: will be made"* && $output != *"$root: will"* ]]
	[ ! -e "$dir/new" ]
	run -1 --separate-stderr stowage check --address "$dir/new/below/s.sock"
	[[ $output == *"FAILED  grpc.address "*"$dir/new: No such file"*"->"* ]]
	run -1 --separate-stderr stowage check --root "$dir/new/below"
	[[ $output == *"FAILED  root "*"$dir/new: No such file"*"->"* ]]
	touch "$dir/file"
	run -1 --separate-stderr stowage check --root "$dir/file/below"
	[[ $output == *FAILED*"Not a directory"* ]]
}

@test "a good bucket" {
	bucket
	run -0 --separate-stderr stowage check
	for step in credentials bucket clock region list put get "conditional put" multipart "conditional complete" abort delete \
		"nodes list" "nodes put" "nodes get" "nodes delete" "gc list" "gc get"; do
		[[ $output == *"ok      $step "* ]]
	done
	[[ $output == *configuration* && $output != *"$STRICT_SECRET_KEY"* ]]
	# Nothing is left.
	[ "$(curl --silent "$S3_CONTROL/objects" | jq '(.objects | length) + (.uploads | length)')" -eq 0 ]
}

@test "each missing permission is named" {
	bucket
	while read -r operation step action; do
		settings "{\"deny\": [\"$operation\"]}"
		run -1 --separate-stderr stowage check --format json
		[ "$(result "$step")" = failed ]
		[[ $(advice "$step") == *"$action"* ]]
		[ "$(jq .ok <<<"$output")" = false ]
	done <<-EOT
		PutObject put s3:PutObject
		GetObject get s3:GetObject
		CreateMultipartUpload multipart s3:PutObject
		AbortMultipartUpload abort s3:AbortMultipartUpload
		DeleteObject delete s3:DeleteObject
		ListObjectsV2 list s3:ListBucket
	EOT
}

@test "what a node needs of a fleet's notes" {
	bucket
	while read -r step action denied; do
		step=${step/_/ }
		settings "{\"deny\": [$denied]}"
		run -1 --separate-stderr stowage check --format json
		[ "$(result "$step")" = failed ]
		[[ $(advice "$step") == *"$action for a/"* ]]
		# Blobs have nothing to do with it.
		[ "$(result put)$(result list)$(result delete)" = okokok ]
	done <<-EOT
		nodes_put s3:PutObject "PutObject a/nodes/"
		nodes_list s3:ListBucket "ListObjectsV2 a/nodes/"
		gc_get s3:GetObject "GetObject a/gc/", "HeadObject a/gc/"
		gc_list s3:ListBucket "ListObjectsV2 a/gc/"
	EOT
	# A store that has its bucket alone needs none of it.
	MODE=direct bucket
	settings '{"deny": ["PutObject a/nodes/", "ListObjectsV2 a/gc/"]}'
	run -0 --separate-stderr stowage check --format json
	[ "$(result "nodes put")" = "" ]
}

@test "a node that may not tell what it holds says so, and why" {
	bucket
	sed -i 's/^type = "s3"/&\nclaim_interval = "200ms"/' "$dir/bucket.toml"
	settings '{"deny": ["PutObject a/nodes/"]}'
	start_daemon
	put one >/dev/null
	run -0 --separate-stderr stowage status
	[[ $output == *"To upload: 1,"*"Fleet:     cannot be told what is here, since "*nodes/*AccessDenied*"nothing is shared until it can"* ]]
	run -0 --separate-stderr stowage status --format json
	json '.untold_since and (.untold_error | contains("AccessDenied")) and (.shared | not)' >/dev/null
	run -1 --separate-stderr stowage flush --timeout 0s
	[[ $stderr == *"1 blob of 3 B is not in the bucket yet; the fleet cannot be told what is here: "*nodes/*AccessDenied* ]]
	# Each reason is logged once.
	settings '{"deny": ["GetObject a/gc/", "HeadObject a/gc/"]}'
	for ((i = 0; i < 100; i++)); do
		[ "$(grep -c "cannot be told" "$dir/daemon.log")" -lt 2 ] || break
		sleep 0.1
	done
	[ "$(grep "cannot be told" "$dir/daemon.log" | grep -c "gc/run")" -eq 1 ]
	settings '{}'
	run -0 --separate-stderr stowage flush --timeout 20s
	[ "$(grep -c "cannot be told" "$dir/daemon.log")" -eq 2 ]
	run -0 --separate-stderr stowage status
	[[ $output != *Fleet:* ]]
}

@test "what only gc needs of a fleet's notes is noted, and what cannot be removed is no node" {
	bucket
	settings '{"deny": ["GetObject a/nodes/", "DeleteObject a/nodes/"]}'
	run -0 --separate-stderr stowage check --format json
	[ "$(result "nodes get")$(result "nodes delete")" = notenote ]
	[[ $(advice "nodes get") == *gc*s3:GetObject* && $(advice "nodes delete") == *gc*s3:DeleteObject* ]]
	run -0 --separate-stderr stowage check --format json
	[ "$(curl --silent "$S3_CONTROL/objects" | jq -r '.objects[].key')" = a/nodes/.stowage-check ]
	settings '{}'
	run -1 --separate-stderr stowage gc
	[[ $stderr == *"no living node"*"(0 are taken for gone)"* ]]
}

@test "a source that is a directory" {
	source() { printf '[[source]]\ntype = "dir"\npath = "%s"\nlayout = "%s"\n' "$1" "$2" >"$dir/source.toml"; }
	where[1]=$dir/source.toml
	mkdir -p "$dir/empty" "$dir/registry/docker/registry/v2/blobs" "$dir/ours/blobs"
	source "$dir/registry" registry
	run -0 --separate-stderr stowage check --format json
	[ "$(result "source[1]")" = ok ]
	source "$dir/ours" stowage
	run -0 --separate-stderr stowage check --format json
	[ "$(result "source[1]")" = ok ]
	for wrong in registry/docker/registry/v2 registry/docker/registry/v2/blobs; do
		source "$dir/$wrong" registry
		run -1 --separate-stderr stowage check
		[[ $output == *"FAILED  source[1] "*"$dir/$wrong has no docker/registry/v2/blobs"*"-> path = \"$dir/registry\" has"* ]]
	done
	source "$dir" registry
	run -1 --separate-stderr stowage check --format json
	[ "$(advice "source[1]")" = "path = \"$dir/registry\" has" ]
	source "$dir/registry" stowage
	run -1 --separate-stderr stowage check --format json
	[[ $(advice "source[1]") == *'the layout "registry"' ]]
	source "$dir/empty" registry
	run -0 --separate-stderr stowage check --format json
	[ "$(result "source[1]")" = note ]
	source "$dir/nowhere" registry
	run -1 --separate-stderr stowage check --format json
	[ "$(result "source[1]")" = failed ]
}

@test "a source that is a bucket" {
	bucket
	start_daemon
	put one >/dev/null
	run -0 stowage flush --timeout 20s
	stop_daemon
	curl --silent "$S3_CONTROL/objects" | jq -r '.objects[].key' | grep -q a/blobs/
	{
		printf '[[source]]\ntype = "s3"\nlayout = "stowage"\n[source.s3]\n'
		sed -n '/^endpoint/,$p' "$dir/bucket.toml"
	} >"$dir/source.toml"
	where[1]=$dir/source.toml
	# A key that may only read is enough.
	settings '{"deny": ["PutObject", "DeleteObject", "CreateMultipartUpload"]}'
	run -0 --separate-stderr stowage check --format json
	for step in credentials bucket list clock region get; do [ "$(result "source[1] $step")" = ok ]; done
	[ "$(result put)" = "" ]
	while read -r operation step action; do
		settings "{\"deny\": [\"$operation\"]}"
		run -1 --separate-stderr stowage check --format json
		[ "$(result "source[1] $step")" = failed ]
		[[ $(advice "source[1] $step") == *"$action"* ]]
	done <<-EOT
		GetObject get s3:GetObject
		ListObjectsV2 list s3:ListBucket
	EOT
	settings '{}'
	# Another layout has its blobs elsewhere.
	sed -i 's/^layout = .*/layout = "registry"/' "$dir/source.toml"
	run -0 --separate-stderr stowage check --format json
	[ "$(result "source[1] get")" = note ]
	[[ $output == *a/docker/registry/v2/blobs/* && $(advice "source[1] get") == *layout* ]]
	sed -i 's/^bucket = .*/bucket = "other"/' "$dir/source.toml"
	run -1 --separate-stderr stowage check
	[[ $output == *"FAILED  source[1] bucket "*NoSuchBucket*source.s3.bucket* ]]
}

@test "gc says what would go, and calls nodes as they call themselves" {
	bucket
	sed -i 's/^type = "s3"/&\nclaim_interval = "200ms"/' "$dir/bucket.toml"
	start_daemon
	grep -q "msg=serving .*backend=tiered bucket=s3://layers/a node=" "$dir/daemon.log"
	a=$(put one)
	run -0 stowage flush --timeout 20s
	node=$(stowage status --format json | jq -r .node)
	for ((i = 0; i < 100; i++)); do
		run -0 --separate-stderr stowage gc --explain "$a"
		[[ $output != *"holds it, as it told"* ]] || break
		sleep 0.1
	done
	[[ $output == *"node $node ("*"holds it, as it told"* ]]
	grep -q "msg=serving .*node=$node " "$dir/daemon.log"
	"$CTR" --address "$sock" content rm "$a"
	stop_daemon # tells what it holds
	run -0 --separate-stderr stowage gc --dry-run --grace 0 --format json
	[ "$(json '.to_go, .to_go_bytes, .would_remove[0].digest, .would_remove[0].size')" = $'1\n3\n'"$a"$'\n3' ]
	[ "$(json 'has("marked")' || true)" = false ]
	[ -z "$stderr" ]
	run -0 --separate-stderr stowage gc --dry-run --grace 0
	[[ $output == *"would remove $a (3 bytes)"*"to go    1, 3 B"* ]]
	run -0 --separate-stderr stowage gc --grace 0 --format json
	[ "$(json '.marked, .removed')" = $'1\n1' ]
}

@test "a server without conditions is noted" {
	bucket
	settings '{"conditional_put": "refuse", "conditional_complete": "ignore"}'
	run -0 --separate-stderr stowage check --format json
	[ "$(result "conditional put")" = note ]
	[ "$(result "conditional complete")" = note ]
}

@test "a clock that is wrong is noted" {
	bucket
	settings '{"clock_offset_s": 3600}'
	run -0 --separate-stderr stowage check --format json
	[ "$(result clock)" = note ]
}

@test "another region is noted" {
	bucket
	settings '{"region": "eu-central-1"}'
	run -0 --separate-stderr stowage check --format json
	[ "$(result region)" = note ]
	[[ $output == *eu-central-1* ]]
}

@test "no such bucket, no such server, wrong keys" {
	bucket 'bucket="other"'
	run -1 --separate-stderr stowage check --format json
	[ "$(result bucket)" = failed ]
	[[ $output == *NoSuchBucket* && $(advice bucket) == *"make the bucket other"*remote.s3.addressing* ]]
	bucket 'endpoint="http://127.0.0.1:1"'
	run -1 --separate-stderr stowage check --format json
	[ "$(result bucket)" = failed ]
	[[ $(advice bucket) == *remote.s3.endpoint* ]]
	[ "$(json '.steps[] | select(.step == "bucket") | .detail' | grep -o 127.0.0.1 | wc -l)" -eq 1 ]
	# A server, but of something else.
	bucket "endpoint=\"$FAULTS_URL\""
	faults '[{"status": 404, "body": "404 page not found"}]'
	run -1 --separate-stderr stowage check --format json
	[ "$(result bucket)" = failed ]
	[[ $(advice bucket) == *"not what an S3 server answers"*remote.s3.endpoint* ]]
	bucket 'secret_key="wrong"'
	run -1 --separate-stderr stowage check --format json
	[ "$(result bucket)" = failed ]
	[[ $output == *SignatureDoesNotMatch* && $(advice bucket) == *"secret key"* ]]
}

@test "a server that does not answer" {
	bucket "endpoint=\"$FAULTS_URL\"" max_attempts=10
	faults '[{"hang_response": -1}]'
	SECONDS=0
	run -1 --separate-stderr stowage check --format json
	((SECONDS < 60)) # 10 attempts of 30 s, were it a daemon
	[ "$(result bucket)" = failed ]
	[ -z "$stderr" ]
	# On a terminal it is said meanwhile what is tried.
	faults '[]'
	run -0 env TERM=xterm script --quiet --return --command "'$STOWAGE' check ${where[*]} >'$dir/out'" /dev/null
	[[ $output == *"bucket ..."*"multipart ..."* ]]
	grep -q '^ok      bucket ' "$dir/out"
}

@test "an upload that fails is told of without saying anything twice, and flush says why it waits" {
	bucket "endpoint=\"$FAULTS_URL\""
	faults '[{"target": "/blobs/sha256/", "status": 400, "body": "<Error><Code>InvalidRequest</Code><Message>no</Message></Error>"}]'
	start_daemon
	a=$(put one)
	run -1 --separate-stderr stowage flush --timeout 2s
	[[ $stderr == *"1 blob of 3 B is not in the bucket yet; the last upload failed: INTERNAL: s3: "*"$(hex "$a")"*400* ]]
	run -0 stowage status --format json
	[ "$(json .upload_error | grep -o "$(hex "$a")" | wc -l)" -eq 1 ]
	stop_daemon
	# It is away.
	sed -i 's|^endpoint = .*|endpoint = "http://127.0.0.1:1"|' "$dir/bucket.toml"
	start_daemon
	for ((i = 0; i < 200; i++)); do
		stowage status --format json | jq -e '.behind[0].reachable == false' >/dev/null && break
		sleep 0.1
	done
	run -1 --separate-stderr stowage flush --timeout 0s
	[[ $stderr == *"the bucket is away: "*127.0.0.1* ]]
	[[ $(run env TERM=xterm script --quiet --return --command "'$STOWAGE' flush ${where[*]} --timeout 1s" /dev/null && echo "$output") == *"0%  0 B of 3 B  the bucket is away: "* ]]
}

@test "a signal ends what waits for a server that does not answer" {
	local command pid
	bucket "endpoint=\"$FAULTS_URL\"" max_attempts=10
	faults '[]'
	start_daemon
	a=$(put one)
	run -0 stowage flush --timeout 20s
	stop_daemon
	sed 's/"tiered"/"direct"/' "$dir/bucket.toml" >"$dir/direct.toml"
	for command in gc "gc --explain $a" check "verify --config $dir/direct.toml"; do
		for signal in INT TERM; do
			faults '[{"hang_response": -1}]'
			# shellcheck disable=SC2086
			env --default-signal=INT "$STOWAGE" ${command%% *} "${where[@]}" ${command#"${command%% *}"} 2>"$dir/err" >"$dir/out" 3>&- &
			pid=$!
			for ((i = 0; i < 100; i++)); do
				[ "$(curl --silent "$FAULTS_CONTROL/rules" | jq '.[0].applied')" -eq 0 ] || break
				sleep 0.1
			done
			kill -$signal $pid
			SECONDS=0
			status=0
			wait $pid || status=$?
			((SECONDS < 15))
			[ $status -eq $((128 + $(kill -l $signal))) ]
			[ "${command%% *}" != gc ] || grep -q interrupted "$dir/err"
		done
	done
}

@test "commands that are for local bytes say so" {
	MODE=direct bucket
	mkdir "$dir/from"
	run -1 --separate-stderr stowage import --from "$dir/from"
	[[ $stderr == *bucket* ]]
	run -1 --separate-stderr stowage verify --quarantine
	[[ $stderr == *bucket* ]]
}

@test "a daemon on a bucket: put, list, read, verify, remove" {
	MODE=direct bucket
	start_daemon
	run -0 --separate-stderr stowage status --format json
	[ "$(jq -r .backend <<<"$output")" = s3 ]
	a=$(put one)
	[ -z "$(find "$root" -path '*blobs*' -type f)" ]
	[ "$("$CTR" --address "$sock" content get "$a")" = one ]
	run -0 --separate-stderr stowage ls --quiet
	[ "$output" = "$a" ]
	run -0 --separate-stderr stowage verify
	[[ $output == *"1 blob checked"*"all well"* ]]
	"$CTR" --address "$sock" content rm "$a"
	[ "$(curl --silent "$S3_CONTROL/objects" | jq ".objects | length")" -eq 0 ]
}

@test "a node of a fleet: flush, status, info, verify, import" {
	bucket
	start_daemon
	a=$(put one)
	run -0 stowage flush --timeout 20s
	run -0 --separate-stderr stowage status --format json
	[ "$(jq -r '.backend, .pending, .cache_bytes, .behind[0].reachable' <<<"$output")" = $'tiered\n0\n3\ntrue' ]
	[ "$(jq -r '.uploaded, .uploaded_bytes, .upload_error' <<<"$output")" = $'1\n3\nnull' ]
	run -0 stowage status
	[[ $output == *"To upload: 0, 0 B"*"Uploaded:  1, 3 B"*"Behind:    "*layers*reachable* ]]
	run -0 --separate-stderr stowage info --format json "$a"
	[[ $(jq -r .behind <<<"$output") == 20*T*Z ]]
	# What is only in the bucket is nobody's mistake.
	rm -f "$root/blobs/${a/://}"
	run -0 stowage verify
	[[ $output == *"0 blobs checked"*"all well"*"1 not here but in the bucket"* ]]
	run -0 stowage info "$a"
	[[ $output == *"On disk:  not here (in the bucket)"* ]]
	run -0 stowage info --format json "$a"
	[ "$(json .on_disk)" = behind ]
	[ "$("$CTR" --address "$sock" content get "$a")" = one ]
	# What is imported gets there as well.
	mkdir -p "$dir/from/blobs/sha256"
	b=$(printf two | sha256sum | cut -d' ' -f1)
	printf two >"$dir/from/blobs/sha256/$b"
	run -0 stowage import --from "$dir/from"
	run -0 stowage flush
	[ "$(curl --silent "$S3_CONTROL/objects" | jq '[.objects[] | select(.key | contains("/blobs/"))] | length')" -eq 2 ]
	# Removing here removes nothing there.
	"$CTR" --address "$sock" content rm "$a"
	run -0 stowage ls --quiet
	[ "$output" = "sha256:$b" ]
	[ "$(curl --silent "$S3_CONTROL/objects" | jq '[.objects[] | select(.key | contains("/blobs/"))] | length')" -eq 2 ]
}
