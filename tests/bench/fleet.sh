#!/usr/bin/env bash
# fleet.sh RUNS DIR ROUNDS MB: the benchmark's row of nodes on one bucket (see nodes.bash). In each round a first node
# pulls into a fresh prefix of a Ceph gateway's bucket, and when all is there a second one pulls the same; against a
# Stowage without a bucket, and containerd's built-in store. bench runs it.
set -euo pipefail
RUNS=$1 DIR=$2 ROUNDS=$3 MB=$4
# shellcheck source=tests/bench/nodes.bash
. "$(dirname "${BASH_SOURCE[0]}")/nodes.bash"
# shellcheck source=tests/s3/rgw.sh
. "$TOP/tests/s3/rgw.sh"

BUCKET=bench
DAEMON_FLAGS=()

# server_of WHO: a Stowage on the bucket, below this round's prefix.
server_of() {
	cat >"$RUN/stowage.toml" <<-EOT
		root = "$RUN/store"
		[grpc]
		address = "$RUN/stowage.sock"
		[remote]
		type = "s3"
		[remote.s3]
		endpoint = "$RGW_ENDPOINT"
		bucket = "$BUCKET"
		prefix = "round-$round"
		access_key = "$RGW_ACCESS_KEY"
		secret_key = "$RGW_SECRET_KEY"
	EOT
	DAEMON_FLAGS=(--config "$RUN/stowage.toml")
	stowage_start
	DAEMON_FLAGS=()
}

pull() { pctr images pull --plain-http "$REGISTRY/bench:latest"; }

bytes_came() { [[ $(find "$RUN/store/blobs" -type f -size +4M | wc -l) == "$LAYERS" ]]; }

image_serve
rgw_start --bucket "$BUCKET"
for ((round = 0; round < ROUNDS; round++)); do
	for who in local built-in; do
		node_begin "$who"
		timed pull "$who" pull
		layers_there
		node_end
	done
	node_begin first
	timed first stowage pull
	layers_there
	plain_env
	timed flush stowage "${PLAIN[@]}" "$STOWAGE_BIN" flush --config "$RUN/stowage.toml" --timeout 10m
	node_end
	node_begin second
	timed second stowage pull
	retry 20 bytes_came || die "the second node's bytes have not come"
	node_end
done
