#!/usr/bin/env bats
# The bucket is in trouble: no pull fails, none waits long, and afterwards the bucket has everything.

load fleet

# --- what can be wrong, and how it ends ------------------------------------------------------------------

killed_breaks() { at_gateway rgw_kill; }
killed_ends() { at_gateway rgw_resume; }

# The kernel still takes connections, and nobody answers.
frozen_breaks() { kill -s STOP "$(at_gateway pid_of rgw)"; }
frozen_ends() { kill -s CONT "$(at_gateway pid_of rgw)"; }

# answers STATUS CODE [METHOD]: to everything.
answers() {
	server_rules "$FAULTS" "{\"method\": \"${3:-}\", \"status\": $1, \"headers\": {\"Content-Type\": \"application/xml\"},
		\"body\": \"<Error><Code>$2</Code><Message>a test's answer</Message></Error>\"}"
}
answers_end() { server_rules "$FAULTS" '[]'; }

busy_breaks() { answers 503 SlowDown; }
busy_ends() { answers_end; }
forbidden_breaks() { answers 403 AccessDenied; }
forbidden_ends() { answers_end; }
expired_breaks() { answers 400 ExpiredToken; }
expired_ends() { answers_end; }
deleted_breaks() { answers 404 NoSuchBucket; }
deleted_ends() { answers_end; }
full_breaks() { answers 403 QuotaExceeded PUT; }
full_ends() { answers_end; }

# Not even an answer's head comes.
silent_breaks() { server_rules "$FAULTS" '{"hang_response": -1}'; }
silent_ends() { answers_end; }

# Heads come, and the first byte of a body.
stuck_breaks() { server_rules "$FAULTS" '{"hang_response": 1}'; }
stuck_ends() { answers_end; }

setup() {
	fleet_begin
	behind_faults
}

teardown() {
	if [[ -e $GATEWAY_RUN/pids/rgw ]]; then frozen_ends; fi
	fleet_end
}

# --- one trouble, all the way through --------------------------------------------------------------------

says_why() { told '.behind[0].error, .upload_error' | grep -F "$1"; }
reachable() { told_so '.behind[0].reachable'; }

# trouble NAME WHY: before, during and after pulls; WHY is in what the node says of it.
trouble() {
	local name=$1 why=$2
	nodes a b
	at a pull busybox
	at a flushed

	# It begins in the middle of an upload.
	server_rules "$FAULTS" '{"method": "PUT", "target": "partNumber=", "delay_ms": 300}'
	at a pull big &
	local client=$!
	retry 30 taken_some PUT 'partNumber=' 1
	"${name}_breaks"
	wait "$client"
	at a runs big

	# It is there: what one node has is not to be had for the other, which asks its registry.
	CTR_TIMEOUT=60 timed "$name: a pull" at b pull layers
	at b runs layers
	CTR_TIMEOUT=60 timed "$name: a pull of what the bucket has" at b pull busybox
	at b runs busybox
	at b readable_image layers
	at b local_is_sound
	at a retry 30 says_why "$why"
	at a stow status
	[[ $(at a told '.pending') -ge 1 ]]
	at b remove busybox

	# It ends: the circuit closes by itself, and the bucket gets everything.
	"${name}_ends"
	at a flushed
	at b flushed
	at a retry 70 reachable
	at b retry 70 reachable
	bucket_has big
	bucket_has layers
	bucket_is_sound
	no_open_uploads
	at b pull busybox
	at b readable_image busybox
	at a told_so '.pending == 0 and .upload_error == null'
}

@test "the server is killed" { trouble killed s3; }
@test "the server is stopped in its tracks" { trouble frozen "no answer"; }
@test "the server answers 503 to everything" { trouble busy 503; }
@test "the server answers 403 to everything" { trouble forbidden AccessDenied; }
@test "the credentials expire" { trouble expired ExpiredToken; }
@test "the bucket is deleted" { trouble deleted NoSuchBucket; }
@test "the bucket is full" { trouble full QuotaExceeded; }
@test "the server takes requests and says nothing" { trouble silent "no answer"; }

# --- what is particular ----------------------------------------------------------------------------------

@test "there is no bucket from the start" {
	killed_breaks
	nodes a
	CTR_TIMEOUT=60 timed "a pull without a bucket" at a pull big
	at a runs big
	at a retry 30 says_why s3
	killed_ends
	at a flushed
	bucket_has big
}

@test "an open circuit costs nothing: what is unknown is not there, at once" {
	nodes a
	forbidden_breaks
	away() { ! reachable; }
	tries() { at a sctr content get "sha256:$(printf %064d "$1")" >/dev/null 2>&1; }
	local i
	for i in {1..8}; do refute tries "$i"; done
	at a retry 10 away
	curl --silent --request DELETE "$FAULTS/log"
	for i in {11..30}; do refute tries "$i"; done
	# Nobody but the probe has asked.
	[[ $(curl --silent "$FAULTS/log" | jq 'length') -le 3 ]]
	# It is said once.
	[[ $(grep -c AccessDenied "${NODE_RUN[a]}/stowage.log") -le 2 ]]
	forbidden_ends
	at a retry 70 reachable
}

@test "the bucket is away for a moment while a node reads from it: the pull goes on" {
	nodes a b
	at a pull big
	at a flushed
	server_rules "$FAULTS" '{"method": "GET", "target": "/blobs/", "rate": 8000000}'
	at b pull big &
	local client=$!
	retry 30 taken_some GET '/blobs/' 3
	killed_breaks
	sleep 2
	killed_ends
	wait "$client"
	at b asked_nothing
	at b runs big
	at b readable_image big
	at b local_is_sound
}

@test "the bucket stops in the middle of what a node reads: it is told, and the registry has it" {
	nodes a b
	at a pull big
	at a flushed
	stuck_breaks
	# What was adopted cannot be read now.
	CTR_TIMEOUT=90 timed "a pull from a bucket that is stuck" at b pull big || {
		at b forget big
		CTR_TIMEOUT=60 timed "and the next" at b pull big
	}
	at b runs big
	stuck_ends
	at b flushed
	at b readable_image big
	at b local_is_sound
	bucket_has big
}

@test "what was queued survives a kill, and so does what is half sent" {
	nodes a
	server_rules "$FAULTS" '[{"method": "PUT", "target": "partNumber=[1-3]&"}, {"method": "PUT", "status": 503}]'
	at a pull big
	at a pull layers
	[[ $(at a told .pending) -ge 10 ]]
	at a end stowage KILL
	server_rules "$FAULTS" '[]'
	at a stowage_again
	at a flushed
	bucket_has big
	bucket_has layers
	bucket_is_sound
	no_open_uploads
}

@test "flush: says what is missing and why when the time is up" {
	nodes a
	forbidden_breaks
	at a pull busybox
	at a run stow flush --timeout 2s
	echo "$output"
	[[ $status == 1 && $output == *AccessDenied* && $output == *"not in the bucket"* ]]
	forbidden_ends
	at a flushed
}

@test "uploads keep to upload_bandwidth, and pulls do not wait for them" {
	REMOTE='upload_bandwidth = "8MiB"' nodes a
	server_rules "$FAULTS" '{"method": "PUT", "target": "partNumber=", "count": 2, "status": 503}'
	timed "pull" at a pull big
	at a runs big
	at a flushed
	bucket_has big
}
